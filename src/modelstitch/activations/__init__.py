"""The one room that runs networks over examples.

``run`` gives the activations of one captured network, batch by batch, run or kept; ``cache`` keeps them; ``sources``
holds those of several networks over one set of examples; ``own`` runs bottoms with batch statistics of their own;
``rows`` says what a measure compares; ``moments`` sums the rows of two networks; ``answered`` takes a network's answers
for targets, where the task asks for that.
"""

from modelstitch.activations.answered import Answered, answered, with_task
from modelstitch.activations.cache import Room
from modelstitch.activations.moments import Pair, moments_or_failures, paired_moments
from modelstitch.activations.own import OwnStatistics
from modelstitch.activations.rows import LAYOUTS, Layout, laid_out, real_rows
from modelstitch.activations.run import Activations, autocast, outputs_over
from modelstitch.activations.sources import Sources

__all__ = [
    "LAYOUTS",
    "Activations",
    "Answered",
    "Layout",
    "OwnStatistics",
    "Pair",
    "Room",
    "Sources",
    "answered",
    "autocast",
    "laid_out",
    "moments_or_failures",
    "outputs_over",
    "paired_moments",
    "real_rows",
    "with_task",
]
