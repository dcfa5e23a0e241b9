"""One stitching: written ``A@layer2.1 -> B@layer2.1``, measured, and kept as one record.

``notation`` reads and writes it, ``prepared`` makes the networks ready and checks them, ``measured`` fits and measures,
``kept`` turns what was fitted into bytes and back,
``provenance`` says what identifies a record and where it was made.
"""

from modelstitch.stitching.kept import stitch_bytes, stitched_from
from modelstitch.stitching.measured import Measured, Place, Setting, asked, measure
from modelstitch.stitching.notation import Stitching
from modelstitch.stitching.prepared import Prepared, check_classes, check_identity, prepare
from modelstitch.stitching.provenance import key_of, provenance

__all__ = [
    "Measured",
    "Place",
    "Prepared",
    "Setting",
    "Stitching",
    "asked",
    "check_classes",
    "check_identity",
    "key_of",
    "measure",
    "prepare",
    "provenance",
    "stitch_bytes",
    "stitched_from",
]
