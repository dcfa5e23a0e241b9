"""Examples: inputs in whatever form a network is called with, targets in whatever form a task reads.

Order and identity matter more than speed here: a stitching compares two networks on the same examples in the same
order, and never fits on an example that it is judged on. So examples are addressed by index, and each has an id.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modelstitch.errors import DataError, SettingError
from modelstitch.support.tensors import Inputs, all_finite, leaves

E = TypeVar("E", bound="Examples")

# Bytes of inputs, as a network sees them, that are hashed at a time.
_HASHED = 1 << 20


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples at once; it unpacks as ``inputs, targets``.

    Args:
        inputs: what a network is called with; axis 0 of every tensor counts the examples.
        targets: what the task reads, of the same examples; None where there are none.
        mask: which positions of the inputs are real and which are padding, ``(n, length)``; None where all are real.
    """

    inputs: Inputs
    targets: Any = None
    mask: Tensor | None = None

    @property
    def n(self) -> int:
        """How many examples there are."""
        tensors = [leaf for leaf in pytree.tree_leaves((self.inputs, self.targets)) if isinstance(leaf, Tensor)]
        return len(tensors[0])

    def __iter__(self) -> Iterator[Any]:
        return iter((self.inputs, self.targets))

    def to(self, device: str | torch.device) -> Batch:
        """The same batch with every tensor on a device."""
        return Batch(*(moved(part, device) for part in (self.inputs, self.targets, self.mask)))

    def part(self, rows: slice) -> Batch:
        """Some of the examples, in their order."""
        return Batch(*(picked(part, rows) for part in (self.inputs, self.targets, self.mask)))


class Examples(ABC):
    """Examples in one fixed order, handed out as `Batch`.

    Attributes:
        name: what records call them.
        held: names of the attributes whose tensors `on` may move.
    """

    name: str
    held: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, index: Tensor | slice) -> Batch:
        """The examples at these indices, as a network sees them."""

    @abstractmethod
    def take(self: E, index: Tensor | slice) -> E:
        """The examples at these indices, in that order, as examples of their own."""

    def without_main(self, index: Tensor | slice) -> Batch:
        """The examples without their main input: side inputs, targets and mask, for a top that is given the rest."""
        batch = self.batch(index)
        return Batch(side_inputs(batch.inputs), batch.targets, batch.mask)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """16 hex digits that change with any input, any target, and the order."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of the inputs as they are stored."""

    @property
    def ids(self) -> list[bytes]:
        """16 bytes an example, equal for two examples exactly when a network sees the same input in both."""
        if "_ids" not in self.__dict__:
            # Set behind the back of frozen dataclasses, as `functools.cached_property` does.
            self.__dict__["_ids"] = self._hashed()
        found: list[bytes] = self.__dict__["_ids"]
        return found

    @property
    def example(self) -> Inputs:
        """The first two inputs as a network sees them: enough to trace it with a batch axis."""
        return self.batch(slice(0, 2)).inputs

    @property
    def longest(self) -> int:
        """The length of the longest axis of an example: more than any length that a network may leave open."""
        return max((size for leaf in leaves(self.example) for size in leaf.shape[1:]), default=1)

    @property
    def ragged(self) -> bool:
        """Whether the shape of an example depends on the batch that it comes in."""
        return False

    def with_targets_of(self, others: Examples) -> Examples:
        """The same inputs beside the targets of as many other examples.

        Raises:
            SettingError: these examples hold their targets in a form of their own.
        """
        found = f"a {type(self).__name__}, which cannot take them"
        raise SettingError(f"the targets of {others.name!r} for {self.name!r}", found, "give (inputs, targets)")

    @property
    def sizes(self) -> Tensor:
        """How many values each example has, ``(n,)``; padding is not counted."""
        width = sum(leaf.shape[1:].numel() for leaf in leaves(self.batch(slice(0, 1)).inputs))
        return torch.full((len(self),), width)

    def order(self) -> Tensor:
        """The order in which batches are cheapest to run; what is found is put back into the stored order."""
        return torch.arange(len(self))

    def on(self: E, device: str) -> E:
        """The same examples stored on a device, as compactly as before, where they can be."""
        twin = copy.copy(self)
        # Set behind the back of frozen dataclasses: nothing else changes, and what was found out stays known.
        vars(twin).update({name: moved(getattr(self, name), device) for name in self.held})
        return twin

    def first(self: E, n: int) -> E:
        """The first ``n`` examples, or all of them where there are fewer."""
        return self.take(slice(0, n))

    def batches(
        self, size: int = 256, order: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield batches; the last one may be as small as one example.

        Args:
            size: examples a batch.
            order: which examples, in which order; all in the stored order if absent.
            generator: draws what the data vary at random while a network is trained; without one they come as stored.
        """
        for start in range(0, len(self) if order is None else len(order), size):
            yield self.batch(slice(start, start + size) if order is None else order[start : start + size])

    def _hashed(self) -> list[bytes]:
        ids: list[bytes] = []
        width = sum(4 * leaf.shape[1:].numel() for leaf in leaves(self.batch(slice(0, 1)).inputs))
        size = min(1024, max(1, _HASHED // max(1, width)))
        for batch in self.batches(size):
            tables = [bytes_of(leaf) for leaf in leaves(batch.inputs)]
            ids.extend(digest_of(rows) for rows in zip(*tables, strict=True))
        return ids


def bytes_of(leaf: Tensor) -> Any:
    """The bytes of each row, as a numpy table ``(n, bytes)``."""
    rows = leaf.detach().cpu().contiguous().reshape(len(leaf), -1)
    return rows.view(torch.uint8).numpy()


def digest_of(rows: Iterable[Any]) -> bytes:
    """16 bytes for one example: the digest of the bytes of its tensors in order."""
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(row)
    return digest.digest()


def side_inputs(inputs: Inputs) -> Inputs:
    """The inputs but the main one, which is the first: what a top is given beside the activation at its cut.

    Example:
        >>> side_inputs({"ids": torch.zeros(1), "mask": torch.ones(1)}), side_inputs(torch.zeros(1))
        ({'mask': tensor([1.])}, ())
    """
    if isinstance(inputs, Tensor):
        return ()
    if isinstance(inputs, Mapping):
        return dict(list(inputs.items())[1:])
    return tuple(inputs[1:])


def moved(part: Any, device: str | torch.device) -> Any:
    """The same structure with every tensor on a device."""
    return pytree.tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, part)


def picked(part: Any, index: Tensor | slice) -> Any:
    """The same structure with some rows of every tensor.

    Example:
        >>> picked({"x": torch.arange(4)}, slice(1, 3))
        {'x': tensor([1, 2])}
    """
    return pytree.tree_map(lambda leaf: leaf[_near(index, leaf)] if isinstance(leaf, Tensor) else leaf, part)


def copied(part: Any, index: Tensor | slice) -> Any:
    """The same structure with some rows of every tensor, in memory of their own.

    A network may write into its input; what a batch holds must therefore never be the data themselves.

    Example:
        >>> data = torch.zeros(2)
        >>> copied(data, slice(0, 1)).add_(1), data
        (tensor([1.]), tensor([0., 0.]))
    """
    rows = picked(part, index)
    # Picking by indices copies already.
    return pytree.tree_map_only(Tensor, torch.clone, rows) if isinstance(index, slice) else rows


def _near(index: Tensor | slice, leaf: Tensor) -> Tensor | slice:
    return index.to(leaf.device) if isinstance(index, Tensor) else index


def check_finite(inputs: Tensor, asked: str) -> None:
    """Refuse inputs with values that are infinite or NaN.

    Args:
        inputs: examples on axis 0.
        asked: the first line of the error.

    Raises:
        DataError: says how many examples have such values, and which is the first.
    """
    if not inputs.is_floating_point() or all_finite(inputs):
        return
    bad = ~inputs.reshape(len(inputs), -1).isfinite().all(dim=1)
    found = f"{int(bad.sum())} inputs with a value that is not finite, the first at index {int(bad.int().argmax())}"
    raise DataError(asked, found, "remove or repair them")


def check_disjoint(fit: Examples, test: Examples) -> None:
    """Refuse a test that was seen while fitting: examples are compared by what a network sees, not by position.

    Raises:
        DataError: some of the test inputs are also in ``fit``.
    """
    seen = set(fit.ids)
    shared = sum(one in seen for one in test.ids)
    if shared:
        found = f"{shared} of the {len(test)} test examples are also among the {len(fit)} fitted on"
        raise DataError(f"fit on {fit.name!r} and test on {test.name!r}", found, "split them without overlap")
