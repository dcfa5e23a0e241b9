"""Are two networks connected? The stitching chain from one to the other, beside three paths through their weights.

``chain`` stitches, ``weights`` mixes weights and matches units, ``curve`` trains a bent path, ``result`` holds the
answer, ``connectivity`` is the call.
"""

from modelstitch.connectivity.connectivity import connectivity
from modelstitch.connectivity.result import Barrier, Connectivity, Point
from modelstitch.connectivity.weights import match_units

__all__ = ["Barrier", "Connectivity", "Point", "connectivity", "match_units"]
