"""Two networks compared by their activations alone: every cut against every cut, in one pass over each network."""

from modelstitch.comparison.all_pairs import calibrate, compare_all
from modelstitch.comparison.comparison import Comparison, Similarity
from modelstitch.comparison.layout import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Comparison", "Layout", "Similarity", "calibrate", "compare_all"]
