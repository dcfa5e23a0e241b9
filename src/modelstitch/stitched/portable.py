"""What a network can do that is a graph and a set of tensors: be saved in a folder and exported to a file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from modelstitch.compute import home_of
from modelstitch.cut import Entry
from modelstitch.support.seeding import generator
from modelstitch.support.tensors import Inputs

_LENGTH = 5  # where a length may vary


class Portable(nn.Module):
    """A network that knows what it is called with, and can be saved and exported."""

    @abstractmethod
    def takes(self) -> tuple[Entry, ...]:
        """The inputs that the network is called with, the main input first."""

    def save(self, folder: str | Path) -> None:
        """Save the network in a folder, to be read by `modelstitch.load_stitched`.

        See `modelstitch.stitched.saved`.
        """
        from modelstitch.stitched.saved import save

        save(self, self.takes(), folder)

    def export(self, path: str | Path) -> None:
        """Write the network to one file for other programs: ``.pt2`` for torch, ``.onnx`` for ONNX runtimes.

        See `modelstitch.stitched.export`.
        """
        from modelstitch.stitched.export import export

        export(self, self.takes(), path)


def example_of(entries: Sequence[Entry], rows: int, network: nn.Module) -> Inputs:
    """Inputs of the right shapes and types, in the form in which a network was captured.

    Numbers are drawn at random; whole numbers are 1, which is a token of every vocabulary and lets a mask pass.

    Args:
        entries: what the network takes.
        rows: how many examples.
        network: on whose device they are needed.
    """
    made = [_values(entry, rows).to(home_of(network)) for entry in entries]
    if entries[0].keyword:
        return dict(zip((entry.name for entry in entries), made, strict=True))
    return made[0] if len(made) == 1 else tuple(made)


def _values(entry: Entry, rows: int) -> Tensor:
    shape = (rows, *(_LENGTH if size is None else size for size in entry.shape))
    if not entry.dtype.is_floating_point:
        return torch.ones(shape, dtype=entry.dtype)
    return torch.randn(shape, generator=generator("example", entry.name)).to(entry.dtype)
