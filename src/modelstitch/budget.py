"""How much room activations may take, in memory and on disk: a bound that changes no result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelstitch.errors import SettingError

GB = 1e9


@dataclass(frozen=True)
class Budget:
    """Room for activations; the networks themselves and what a forward pass needs come on top.

    Half of ``memory`` bounds the activations of one batch at all cuts: where they would take more, the cuts are done in
    several passes. The other half keeps activations from one epoch to the next, so that the bottom network need not
    run again. With a folder they are kept there instead, as memory-mapped ``.npy`` files, and later calls find them.

    Args:
        memory: in GB (10⁹ bytes).
        folder: where to keep activations on disk; by default they are kept in memory and forgotten afterwards.
        disk: how much of the folder's disk one call may fill, in GB.

    Raises:
        SettingError: a negative or infinite size.

    Example:
        >>> Budget(memory=1.0).chunks([200_000_000, 200_000_000, 200_000_000, 900_000_000])
        [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """

    memory: float = 2.0
    folder: str | Path | None = None
    disk: float = 20.0

    def __post_init__(self) -> None:
        for name in ("memory", "disk"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise SettingError(f"a budget with {name}={value}", "no such size", "give GB, 0 or more")

    @property
    def kept_bytes(self) -> float:
        """Bytes of activations that may be kept between epochs."""
        return GB * (self.memory / 2 if self.folder is None else self.disk)

    def chunks(self, sizes: Sequence[int]) -> list[slice]:
        """Split cuts, in their order, into runs of which one batch of activations fits; each run has at least one.

        Args:
            sizes: bytes of one batch at each cut.
        """
        found: list[slice] = []
        begin, total = 0, 0.0
        for index, size in enumerate(sizes):
            if index > begin and total + size > GB * self.memory / 2:
                found.append(slice(begin, index))
                begin, total = index, 0.0
            total += size
        return [*found, slice(begin, len(sizes))] if sizes else []
