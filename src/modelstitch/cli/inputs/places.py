"""Where to compute and where to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelstitch.cli.inputs.settings import choose
from modelstitch.compute import Compute
from modelstitch.errors import SettingError

if TYPE_CHECKING:
    from modelstitch.records import Store

_DEVICES = ("cpu", "cuda", "mps", "xpu")


def compute_of(typed: str | None) -> Compute | None:
    """Where to compute; None where nothing was typed.

    Raises:
        SettingError: no such kind of device, or none of it in this machine.
    """
    if typed is None:
        return None
    choose("--device", typed.partition(":")[0], _DEVICES)
    return Compute(typed)


def with_room(compute: Compute | None, memory: float | None, folder: Path | None = None) -> Compute:
    """The same place, with the room that activations may take.

    Raises:
        SettingError: a size that cannot be.
    """
    compute = compute or Compute()
    return replace(compute, folder=folder, memory=compute.memory if memory is None else memory)


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
