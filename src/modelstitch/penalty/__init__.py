"""The penalty of a stitched network: how much worse it classifies than the network that lent its top.

Two networks answer the same test examples, and only the examples on which they differ tell them apart. Everything is
paired, therefore: the interval resamples examples, each with both networks' answers, and is much narrower than the
intervals of the two errors would suggest.

Beware: the interval covers the choice of test examples only. It says nothing about other seeds of either network or
of the stitch.
"""

from modelstitch.penalty.difference import Interval, Penalty, penalty, penalty_of
from modelstitch.penalty.outcome import Network, Outcome, agreement, evaluate, joined_outcome, outcome_of
from modelstitch.penalty.together import evaluate_all

__all__ = [
    "Interval",
    "Network",
    "Outcome",
    "Penalty",
    "agreement",
    "evaluate",
    "evaluate_all",
    "joined_outcome",
    "outcome_of",
    "penalty",
    "penalty_of",
]
