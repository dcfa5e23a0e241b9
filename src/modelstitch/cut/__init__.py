"""Cutting a network where exactly one tensor crosses: bottom, top, and the list of legal cuts.

Two ways lead there: ``exported`` splits the graph of ``torch.export``, ``replayed`` falls back on hooks. ``blueprint``
keeps the last graphs for networks that are made alike, which ``likeness`` tells. ``place``
picks one cut a block and names them, ``trace`` reads a graph, ``told`` says which values count as crossing,
``lengths`` tells its varying lengths, ``part`` holds the captured network and its halves, ``form`` what it is called
with and what form its answer has, ``run`` the module that runs a half and ``spelling`` its graph in plain values,
``norms`` gives a half batch statistics, ``identity`` says which networks compute the same, ``frozen`` is the frozen
network below them all.
"""

from modelstitch.cut.capture import bottom, capture, cuts, kinds_at, top
from modelstitch.cut.captured import Capture, capture_of, shared_bottoms
from modelstitch.cut.form import Entry
from modelstitch.cut.part import Bottom, Part, Top
from modelstitch.cut.place import Cut

__all__ = [
    "Bottom",
    "Capture",
    "Cut",
    "Entry",
    "Part",
    "Top",
    "bottom",
    "capture",
    "capture_of",
    "cuts",
    "kinds_at",
    "shared_bottoms",
    "top",
]
