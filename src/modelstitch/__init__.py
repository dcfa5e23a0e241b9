"""modelstitch: join the bottom of one trained network to the top of another, and measure what is lost.

    import modelstitch as ms
    records = ms.stitch_all(A, B, train, test)

Names are loaded when they are first used, so that importing the package (and asking the command line for help) does
not wait for torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from modelstitch.support.version import VERSION
from modelstitch.vocabulary import FAMILIES, MATCHINGS, TASKS, Word


def _titles(words: Mapping[str, Word]) -> list[str]:
    return [word.title for word in words.values()]


_ROOM_OF = {
    "modelstitch.compute": ("Compute",),
    "modelstitch.comparison": ("Comparison", "calibrate", "compare_all"),
    "modelstitch.connectivity": ("Connectivity", "connectivity"),
    "modelstitch.cut": ("Bottom", "Cut", "Top"),
    "modelstitch.data": ("Arrays", "Batch", "Examples", "Samples", "Split", "Tokens", "as_examples", "load"),
    "modelstitch.errors": ("StitchError",),
    "modelstitch.figures": ("save_figure",),
    "modelstitch.fold": ("Folded", "fold"),
    "modelstitch.matching": (*_titles(MATCHINGS), "Fit", "fit"),
    "modelstitch.measures": ("MEASURES", "permutation_null"),
    "modelstitch.networks": ("Network", "build", "load_network", "prepared", "stem_reset", "untrained"),
    "modelstitch.networks.doors": ("bottom", "capture", "cuts", "top"),
    "modelstitch.parallel": ("launch",),
    "modelstitch.penalty": ("Interval", "Penalty", "evaluate", "penalties", "penalty"),
    "modelstitch.pretraining": ("Schedule", "train_network", "train_supervised"),
    "modelstitch.records": ("Record", "Records", "Store", "open_records"),
    "modelstitch.stitched": ("Stitched", "load_stitched"),
    "modelstitch.stitches": (*_titles(FAMILIES), "Family", "Stitch"),
    "modelstitch.stitching": ("Stitching", "stitch", "stitch_all"),
    "modelstitch.tasks": (*_titles(TASKS), "Outcome", "Score", "Task"),
    "modelstitch.support.tensors": ("rows",),
}
_HOME = {name: room for room, names in _ROOM_OF.items() for name in names}

__version__ = VERSION
# The linter's order: constants, then classes, then functions, each by name.
__all__ = sorted([*_HOME, "__version__"], key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelstitch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps a room from hiding a function of the same name: importing ``modelstitch.penalty`` would set the former."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
