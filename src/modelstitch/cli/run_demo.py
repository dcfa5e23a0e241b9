"""The demo: two networks that differ in their seed alone, stitched at every cut on data that comes with the package.

Its recipe is chosen to take about a minute on two CPU cores and still to show the three things that a penalty is read
by: trained bottoms that lose little, untrained ones that lose much, self-stitches that lose exactly nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelstitch.data import load
from modelstitch.figures import penalty_curves, save_figure
from modelstitch.matching import TaskLoss
from modelstitch.networks import load_folder
from modelstitch.pretraining import train_network
from modelstitch.records import Records, Store
from modelstitch.stitching import stitch_all

# A quarter of the usual 500 steps, at ten times the usual rate: a demo should not keep anybody waiting.
_BY = TaskLoss(epochs=5, learning_rate=1e-2)
_ARCHITECTURE = "resnet18"
_OPTIONS: dict[str, Any] = {"width": 8}


def run_demo(folder: str | Path, *, seed: int = 0) -> Records:
    """Train two ResNet-18 of width 8 on the digits and stitch them at every cut, both ways, with controls.

    Args:
        folder: gets ``nets``, ``records.sqlite``, ``penalty.png`` and ``penalty.html``; what it holds is not done
            again.
        seed: of the first network; the second has the next.

    Returns:
        The records.

    Raises:
        NotWritable: the folder refuses.
        SettingError: the folder holds other networks.
    """
    folder, split = Path(folder), load("digits")
    seeds = (seed, seed + 1)
    for one in seeds:
        train_network(_ARCHITECTURE, split, seed=one, folder=folder / "nets" / f"seed{one}", **_OPTIONS)
    first, second = (load_folder(folder / "nets" / f"seed{one}")[0] for one in seeds)
    names = (f"seed{seeds[0]}", f"seed{seeds[1]}")
    store = Store(folder / "records.sqlite")
    records = stitch_all(first, second, split.train, split.test, names=names, by=_BY, seed=seed, store=store)
    chart = penalty_curves(records.to_pandas())
    for ending in ("png", "html"):
        save_figure(chart, folder / f"penalty.{ending}")
    return records
