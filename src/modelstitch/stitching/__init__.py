"""Stitchings: written ``A@layer2.1 -> B@layer2.1``, fitted, measured, and kept as one record each.

``notation`` reads and writes one, ``places`` says where, ``checks`` come before any number, ``pairing`` is one pair of
networks one way, ``controls`` (and ``noise``) are pairings whose answer is known, ``measure`` fits and measures,
``groups`` goes through many, ``stitch_file`` turns what was fitted into bytes and back, ``provenance`` says what
identifies a record and where it was made; ``calls`` holds what users call.
"""

from modelstitch.stitching.calls import pairings, stitch, stitch_all
from modelstitch.stitching.checks import check_identity, settled_task
from modelstitch.stitching.controls import CONTROLS, check_controls, controls
from modelstitch.stitching.groups import Keeper, run
from modelstitch.stitching.measure import Measured, measure
from modelstitch.stitching.notation import Stitching
from modelstitch.stitching.pairing import Pairing, Pairings, Setting
from modelstitch.stitching.places import Cuts, pairs_at
from modelstitch.stitching.provenance import key_of, provenance
from modelstitch.stitching.stitch_file import stitch_bytes, stitched_from

__all__ = [
    "CONTROLS",
    "Cuts",
    "Keeper",
    "Measured",
    "Pairing",
    "Pairings",
    "Setting",
    "Stitching",
    "check_controls",
    "check_identity",
    "controls",
    "key_of",
    "measure",
    "pairings",
    "pairs_at",
    "provenance",
    "run",
    "settled_task",
    "stitch",
    "stitch_all",
    "stitch_bytes",
    "stitched_from",
]
