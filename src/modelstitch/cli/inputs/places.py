"""Where to compute and where to write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelstitch.cli.inputs.settings import choose
from modelstitch.errors import SettingError

if TYPE_CHECKING:
    from modelstitch.compute import Compute
    from modelstitch.records import Store

_DEVICES = ("cpu", "cuda", "mps", "xpu")


def compute_of(device: str | None, memory: float | None = None, folder: Path | None = None) -> Compute:
    """Where to compute, of several processes each on its own device, and how much room activations may take.

    Raises:
        SettingError: no such kind of device, or none of it in this machine; or a size that cannot be.
    """
    from modelstitch.compute import Compute
    from modelstitch.parallel import ranks

    room = Compute(folder=folder) if memory is None else Compute(memory=memory, folder=folder)
    if ranks().several or device is None:
        return room
    choose("--device", device.partition(":")[0], _DEVICES)
    return room.at(device)


def use_threads(threads: int | None) -> None:
    """Compute with so many CPU threads from here on.

    Raises:
        SettingError: fewer than one.
    """
    import torch

    if threads is None:
        return
    if threads < 1:
        raise SettingError(f"--threads {threads}", "no thread to compute with", "choose 1 or more, or leave it out")
    torch.set_num_threads(threads)


def store_of(path: Path | None) -> Store | None:
    """The file that takes the records, where one was named."""
    from modelstitch.records import Store

    return Store(path) if path else None


def figures_of(paths: Sequence[Path]) -> Sequence[Path]:
    """Paths that a figure can be written to: asked before hours of stitching, not after.

    Raises:
        SettingError: no format has that ending.
    """
    if paths:
        from modelstitch.figures import check_ending

        for path in paths:
            check_ending(path)
    return paths


def tables_of(paths: Sequence[Path]) -> Sequence[Path]:
    """Paths that points can be written to: asked before the work, not after.

    Raises:
        SettingError: another ending than ``.csv`` or ``.json``.
    """
    for path in paths:
        if path.suffix.lower() not in (".csv", ".json"):
            raise SettingError(f"points in {path}", f"the ending {path.suffix!r}", "use one of .csv, .json")
    return paths
