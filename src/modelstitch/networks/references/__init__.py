"""How a network is named: a folder, or ``scheme:name``, each scheme in the file of its name.

A scheme is one file here, with ``TAKES`` (its options) and ``load`` (from a reference to a network), and its line in
`modelstitch.vocabulary.SCHEMES`.
"""

from modelstitch.networks.references.loading import (
    AnyNetwork,
    both_networks,
    load_network,
    module_of,
    network_of,
    told_apart,
)
from modelstitch.networks.references.reference import OPTIONS, Reference
from modelstitch.networks.references.suited import is_published, with_outputs_for

__all__ = [
    "OPTIONS",
    "AnyNetwork",
    "Reference",
    "both_networks",
    "is_published",
    "load_network",
    "module_of",
    "network_of",
    "told_apart",
    "with_outputs_for",
]
