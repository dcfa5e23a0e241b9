"""The one room that runs networks over examples.

``run`` gives the activations of one captured network, batch by batch, run or kept; ``cache`` keeps them; ``rows`` says
what of them a measure compares; ``moments`` sums the rows of two networks.
"""

from modelstitch.activations.cache import Room
from modelstitch.activations.moments import Pair, moments_or_failures, paired_moments
from modelstitch.activations.rows import LAYOUTS, Layout, laid_out, real_rows
from modelstitch.activations.run import Activations, autocast

__all__ = [
    "LAYOUTS",
    "Activations",
    "Layout",
    "Pair",
    "Room",
    "autocast",
    "laid_out",
    "moments_or_failures",
    "paired_moments",
    "real_rows",
]
