"""Examples held as tensors: inputs in any form that a network is called with, targets in any form that a task reads.

What an example is does not depend on the form: the same tensors, given alone, as a tuple or as a mapping, have the same
ids and the same fingerprint. Beware: the order of a mapping counts, and its first tensor is the main input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modelstitch.data.examples import Batch, Examples, bytes_of, check_finite, copied, digest_of, picked
from modelstitch.errors import DataError
from modelstitch.support.tensors import Inputs, fingerprint, leaves


@dataclass(frozen=True, eq=False)
class Arrays(Examples):
    """Examples held as tensors; axis 0 of every tensor counts them.

    Args:
        name: what the data is called in records.
        inputs: a tensor, a tuple of tensors (``network(x, y)``) or a mapping (``network(**mapping)``).
        targets: a tensor, or tuples, lists and mappings of tensors; None where there are none.
        mask: ``(n, length)``, which positions of the inputs are real and which are padding. Ids leave padding out, so
            that a document is found again when it is padded to another length.

    Example:
        >>> data = Arrays("two", (torch.zeros(3, 2), torch.ones(3, 1)), torch.tensor([0.5, 1.5, 2.5]))
        >>> len(data), [batch.targets.tolist() for batch in data.batches(2)]
        (3, [[0.5, 1.5], [2.5]])
    """

    name: str
    # Left unchecked by shape so that `check_arrays` can say in words what is wrong with them.
    inputs: Inputs
    targets: Any = None
    mask: Tensor | None = None
    held = ("inputs", "targets", "mask")

    def __post_init__(self) -> None:
        # Other mappings and tuples (a tokenizer's, say) are no structures to torch, which would not move them.
        object.__setattr__(self, "inputs", _plain(self.inputs))
        object.__setattr__(self, "targets", _plain(self.targets))

    def __len__(self) -> int:
        return len(leaves(self.inputs)[0])

    def batch(self, index: Tensor | slice) -> Batch:
        """The examples at these indices, in memory of their own."""
        return Batch(*(copied(part, index) for part in (self.inputs, self.targets, self.mask)))

    def take(self, index: Tensor | slice) -> Arrays:
        """The examples at these indices, in that order; a view of them where the index is a slice."""
        inputs, targets, mask = (picked(part, index) for part in (self.inputs, self.targets, self.mask))
        return dataclasses.replace(self, inputs=inputs, targets=targets, mask=mask)

    def with_targets_of(self, others: Examples) -> Arrays:
        """The same inputs beside the targets of others."""
        return dataclasses.replace(self, targets=others.batch(slice(0, len(others))).targets)

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs as they are stored."""
        return sum(leaf.nbytes for leaf in leaves(self.inputs))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any input, any target, the mask, and the order.

        Of one tensor with one integer label an example it is that of `Samples`.
        """
        inputs, targets = leaves(self.inputs), pytree.tree_leaves(self.targets)
        parts = _numbered("inputs", inputs) | _numbered("labels", [one for one in targets if isinstance(one, Tensor)])
        if self.mask is not None:
            parts["mask"] = self.mask
        none = torch.empty(0, dtype=torch.float64)
        return fingerprint({**parts, "mean": none, "std": none})

    def _hashed(self) -> list[bytes]:
        if self.mask is None:
            return super()._hashed()
        real = self.mask.bool().cpu()
        # The mask itself, which a network is often called with, says nothing once padding is left out.
        kept = [leaf for leaf in leaves(self.inputs) if not _is_mask(leaf, real)]
        if all(leaf.shape[:2] != real.shape for leaf in kept):
            kept = leaves(self.inputs)
        tables = [(leaf.detach().cpu(), leaf.shape[:2] == real.shape) for leaf in kept]
        return [
            digest_of(bytes_of((leaf[at][row] if cut else leaf[at])[None])[0] for leaf, cut in tables)
            for at, row in enumerate(real)
        ]


def _is_mask(leaf: Tensor, real: Tensor) -> bool:
    return leaf.shape == real.shape and torch.equal(leaf.cpu(), real.to(leaf.dtype))


def _plain(part: Any) -> Any:
    """The same structure of plain dictionaries, tuples and lists."""
    if isinstance(part, Mapping):
        return {name: _plain(one) for name, one in part.items()}
    if isinstance(part, (tuple, list)):
        return (list if isinstance(part, list) else tuple)(_plain(one) for one in part)
    return part


def _numbered(name: str, tensors: list[Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{place}" if place else name: tensor for place, tensor in enumerate(tensors)}


def check_arrays(arrays: Arrays) -> Arrays:
    """Refuse examples from which no honest number can come.

    Returns:
        The same examples.

    Raises:
        DataError: no examples, tensors of other numbers of rows, or inputs that are not finite.
    """
    tensors = dict(_named(arrays))
    if "inputs" not in {name.split(" ")[0] for name in tensors}:
        do = "give a tensor, a tuple of tensors or a mapping of tensors"
        raise DataError(f"use the examples of {arrays.name!r}", "no inputs", do)
    scalar = next((name for name, tensor in tensors.items() if not tensor.dim()), None)
    if scalar:
        do = "give tensors whose first axis counts the examples"
        raise DataError(f"use the examples of {arrays.name!r}", f"a single number as {scalar}", do)
    asked = f"use the {len(arrays)} examples of {arrays.name!r}"
    first = next(iter(tensors))
    for name, tensor in tensors.items():
        if len(tensor) != len(arrays):
            found = f"{len(tensor)} rows of {name} for {len(arrays)} of {first}"
            raise DataError(asked, found, "give every tensor one row per example")
    if not len(arrays):
        raise DataError(asked, "no examples", "check the folder, filter or split that they come from")
    for leaf in leaves(arrays.inputs):
        check_finite(leaf, asked)
    return arrays


def _named(arrays: Arrays) -> Iterator[tuple[str, Tensor]]:
    """Every tensor with a name for errors: ``inputs``, ``inputs 'x'``, ``targets 1``."""
    for part, held in (("inputs", arrays.inputs), ("targets", arrays.targets), ("mask", arrays.mask)):
        for path, leaf in pytree.tree_flatten_with_path(held)[0]:
            if isinstance(leaf, Tensor):
                yield " ".join([part, *(repr(getattr(key, "key", getattr(key, "idx", key))) for key in path)]), leaf
