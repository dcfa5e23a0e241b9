"""Moments of paired rows, streamed: all that linear measures and closed-form matching need to know.

The rows of two networks' activations come in batches of any size; memory depends on the channels alone. Everything is
kept in float64, whatever comes in, and centred batch by batch: the textbook ``sum of squares - n · mean²`` loses every
digit when the mean is large beside the spread, as it is after a ReLU or for raw pixels.

Reference: Chan, Golub & LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979: the
pairwise update, written for matrices; the same for the fourth moments that unbiased estimates need.
"""

from modelstitch.moments.moments import Moments, varying
from modelstitch.moments.table import MomentsTable

__all__ = ["Moments", "MomentsTable", "varying"]
