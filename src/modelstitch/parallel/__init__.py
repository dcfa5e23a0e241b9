"""One training over several processes, each with a device of its own, on one host or on several.

``launch`` starts the processes through Lightning Fabric and runs a function in each; within it ``ranks()`` says which
of them this one is. ``ranks`` holds what they tell each other, ``exchange`` what travels within a forward pass with its
gradients, ``norm`` the batch norms that see the whole batch.
"""

from modelstitch.parallel.launch import STRATEGIES, launch
from modelstitch.parallel.ranks import Ranks, among, by_first, ranks

__all__ = ["STRATEGIES", "Ranks", "among", "by_first", "launch", "ranks"]
