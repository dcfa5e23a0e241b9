"""One network of the catalogue: how it is built small, what it is called with, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

Draw = Callable[[int, Generator], Any]
"""So many examples, from a stream of random numbers."""


@dataclass(frozen=True)
class Entry:
    """A network and a job for it.

    Attributes:
        source: ``timm``, ``torchvision``, ``transformers`` or ``awkward``.
        name: what its source calls it.
        make: builds it with weights from torch's global stream.
        inputs: what it is called with.
        targets: of those inputs; without them its answers are imitated.
        wide: builds it with other numbers of channels, and else nothing changed.
        unequal: the offered cuts whose halves do not make it whole, since it goes another way than when it was
            captured; stitching must refuse them.
        cannot: what the library says, in part, where the network cannot be captured or stitched.
        unknown: the offered cuts of which nothing in the network says where the channels are.
        quarter: one of those that every check looks at.
    """

    source: str
    name: str
    make: Callable[[], nn.Module]
    inputs: Draw
    targets: Callable[[Any, Generator], Any] | None = None
    wide: Callable[[], nn.Module] | None = None
    unequal: tuple[str, ...] = ()
    cannot: str = ""
    unknown: tuple[str, ...] = ()
    quarter: bool = False

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


def images(side: int, channels: int = 3) -> Draw:
    """Noise as images."""
    return numbers(channels, side, side)


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Draw:
    """Noise of a shape."""
    return lambda n, stream: torch.randn(n, *shape, generator=stream).to(dtype)


def words(length: int = 9, vocabulary: int = 50) -> Draw:
    """Sentences of one length, without padding."""
    return lambda n, stream: torch.randint(1, vocabulary - 1, (n, length), generator=stream)


def named(**draws: Draw) -> Draw:
    """Arguments by keyword."""
    return lambda n, stream: {name: draw(n, stream) for name, draw in draws.items()}


def both(*draws: Draw) -> Draw:
    """Several arguments."""
    return lambda n, stream: tuple(draw(n, stream) for draw in draws)


def _rows(inputs: Any) -> int:
    return len(torch.utils._pytree.tree_leaves(inputs)[0])


def labels(classes: int) -> Callable[[Any, Generator], Tensor]:
    """One class an example."""
    return lambda inputs, stream: torch.arange(_rows(inputs)) % classes


def several(count: int) -> Callable[[Any, Generator], Tensor]:
    """Several labels an example, each there or not."""
    return lambda inputs, stream: torch.randint(0, 2, (_rows(inputs), count), generator=stream)


def values(*shape: int) -> Callable[[Any, Generator], Tensor]:
    """Numbers."""
    return lambda inputs, stream: torch.randn(_rows(inputs), *shape, generator=stream)


def pixels(classes: int, side: int) -> Callable[[Any, Generator], Tensor]:
    """One class a pixel."""
    return lambda inputs, stream: torch.randint(0, classes, (_rows(inputs), side, side), generator=stream)


def same(inputs: Any, stream: Generator) -> Any:
    """The inputs themselves: the tokens of a text, or the image that an autoencoder shall give back."""
    return inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
