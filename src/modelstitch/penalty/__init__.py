"""The penalty of a stitched network: how much worse it does its task than the network that lent its top.

Two networks answer the same test examples, and only the examples on which they differ tell them apart. Everything is
paired, therefore: the interval resamples examples, each with what both networks add to the score, and is much narrower
than the intervals of the two scores would suggest.

Beware: the interval covers the choice of test examples only. It says nothing about other seeds of either network or
of the stitch.
"""

from modelstitch.penalty.evaluate import BATCH, Evaluated, evaluate, evaluate_all, judged, penalties, penalty
from modelstitch.penalty.penalty import Interval, Penalty, penalties_of

__all__ = [
    "BATCH",
    "Evaluated",
    "Interval",
    "Penalty",
    "evaluate",
    "evaluate_all",
    "judged",
    "penalties",
    "penalties_of",
    "penalty",
]
