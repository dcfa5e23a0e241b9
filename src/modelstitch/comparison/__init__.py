"""Two networks compared by their activations alone: every cut against every cut, in one pass over each network."""

from modelstitch.comparison.all_pairs import calibrate, compare_all
from modelstitch.comparison.comparison import Comparison, Similarity

__all__ = ["Comparison", "Similarity", "calibrate", "compare_all"]
