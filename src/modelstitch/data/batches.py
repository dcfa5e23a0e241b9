"""Going once through what yields examples: every batch taken apart into inputs and targets, and all of them joined.

The order that a source happens to give is kept: it is the order that every network sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from modelstitch.data.leaf import Documents, Leaf, Unreadable, as_leaf, counts, different_shapes, is_number, is_text

Parts = Any
"""Inputs or targets: a `Leaf`, tuples or dictionaries of such, or None."""

LABELS = ("labels", "label", "label_ids", "labels_ids")
"""What a mapping calls its targets."""
IDS, MASK = "input_ids", "attention_mask"
"""What a mapping calls its tokens, and which of them are no padding."""
_BATCH = 256


def yields(source: Any) -> bool:
    """Whether a source has to be gone through: a torch or Hugging Face data set, or a loader."""
    return isinstance(source, (Dataset, DataLoader)) or is_hugging_face(source)


def is_hugging_face(source: Any) -> bool:
    """Whether it is a data set of the library ``datasets``, which is not imported here."""
    return hasattr(source, "features") and hasattr(source, "with_format")


def gathered(source: Any, targets: bool = True) -> tuple[Parts, Parts, int]:
    """All examples of a source.

    Args:
        source: see `yields`.
        targets: whether to read them.

    Returns:
        Inputs, targets, and the token that pads the inputs (0 where none was seen).

    Raises:
        Unreadable: in words.
    """
    batches = list(_batches(source))
    # What a list of inputs is may be told by other batches alone: of three documents of three tokens each it is open.
    lists = any(_lists_documents(batch) for batch in batches)
    flat = [pytree.tree_flatten(apart(batch, targets, lists)) for batch in batches]
    if not flat:
        raise Unreadable("no batches")
    rows, spec = [leaves for leaves, _ in flat], flat[0][1]
    if any(other != spec for _, other in flat):
        raise Unreadable("batches of different forms", "yield the same inputs and targets in every batch")
    differ = [_differ(column) for column in zip(*rows, strict=True)]
    pad = 0
    if any(differ):
        # Where each part of a batch stands in its list.
        places, _ = pytree.tree_unflatten(list(range(len(differ))), spec)
        named = places if isinstance(places, dict) else {}
        rows, pad = _unpadded(rows, differ, named.get(MASK), named.get(IDS))
    inputs, found = pytree.tree_unflatten([_joined(column) for column in zip(*rows, strict=True)], spec)
    return inputs, found, pad


def apart(batch: Any, targets: bool = True, lists: bool = False) -> tuple[Parts, Parts]:
    """The inputs and the targets of a batch: a pair, a mapping, or inputs alone.

    Args:
        batch: as a loader yields it.
        targets: whether to read them.
        lists: whether a list of inputs is one document each, and not several inputs.

    Raises:
        Unreadable: neither.
    """
    if isinstance(batch, Mapping):
        held = {str(key): value for key, value in batch.items() if not is_text(value)}
        key = next((one for one in LABELS if one in held), None)
        found = held.pop(key) if key else None
        return parts_of(held), parts_of(found) if targets else None
    if isinstance(batch, (tuple, list)) and not is_documents(batch):
        if len(batch) == 1:
            return parts_of(batch[0]), None
        if len(batch) != 2:
            do = "give (inputs, targets): several inputs as ((x, y), targets), inputs alone as (inputs, None)"
            raise Unreadable(f"{len(batch)} parts where inputs and targets are two", do)
        inputs, found = batch
        return _inputs_of(inputs, lists), parts_of(found) if targets else None
    return parts_of(batch), None


def _inputs_of(inputs: Any, lists: bool) -> Parts:
    """The inputs of one batch of pairs, where a list of tensors is several inputs unless it is one document each."""
    if not (isinstance(inputs, list) and inputs and all(map(_is_array, inputs))):
        return parts_of(inputs)
    if lists and all(map(_is_document, inputs)):
        return Documents([torch.as_tensor(one).detach().cpu().long() for one in inputs])
    return parts_of(tuple(inputs))


def _lists_documents(batch: Any) -> bool:
    """Whether a batch is a pair whose inputs are a list of one document an example, beyond doubt."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not isinstance(batch[0], list):
        return False
    inputs, n = batch[0], _n(batch[1])
    arrays = len(inputs) == n and all(_is_array(one) and _is_document(one) for one in inputs)
    return arrays and any(len(one) != n for one in inputs)


def _n(targets: Any) -> int:
    """How many examples a batch's targets are of; -1 where they do not tell."""
    if isinstance(targets, Mapping):
        targets = list(targets.values())
    if isinstance(targets, (tuple, list)) and targets and _is_array(targets[0]):
        targets = targets[0]
    return len(targets) if hasattr(targets, "__len__") else -1


def parts_of(part: Any) -> Parts:
    """The same form with every array as a `Leaf`."""
    if part is None:
        return None
    if isinstance(part, Mapping):
        return {str(key): parts_of(value) for key, value in part.items()}
    if isinstance(part, tuple) and part and not all(map(is_number, part)) and not is_documents(part):
        return tuple(parts_of(one) for one in part)
    return as_leaf(part)


def is_documents(part: Any) -> bool:
    """Whether it is lists of integers of different lengths."""
    if not isinstance(part, (list, tuple)) or len({len(one) if hasattr(one, "__len__") else -1 for one in part}) < 2:
        return False
    return all(_is_document(one) for one in part)


def _is_document(one: Any) -> bool:
    if isinstance(one, Tensor) or hasattr(one, "dtype"):
        return bool(one.ndim == 1) and counts(torch.as_tensor(one))
    return isinstance(one, (list, tuple)) and all(isinstance(value, int) for value in one)


def _is_array(one: Any) -> bool:
    return (isinstance(one, Tensor) or hasattr(one, "__array__")) and not is_number(one)


def _batches(source: Any) -> Iterator[Any]:
    if is_hugging_face(source):
        yield from _hugging_face(source.with_format("torch"))
    elif isinstance(source, (Dataset, IterableDataset)):
        yield from DataLoader(source, batch_size=_BATCH, collate_fn=_collated)
    else:
        yield from source


def _hugging_face(source: Any) -> Iterator[Any]:
    if hasattr(source, "__len__"):
        for start in range(0, len(source), _BATCH):
            yield source[start : start + _BATCH]
        return
    rows: list[Any] = []
    for row in source:
        rows.append(row)
        if len(rows) == _BATCH:
            yield _collated(rows)
            rows = []
    if rows:
        yield _collated(rows)


def _collated(items: Sequence[Any], whole: bool = True) -> Any:
    """A batch of examples as torch's `default_collate` makes it, but that lists of numbers stay rows.

    Args:
        items: one an example, or one of its parts each.
        whole: whether they are whole examples; then a list is a pair, as a tuple is.
    """
    first = items[0]
    if isinstance(first, Mapping):
        return {key: _collated([one[key] for one in items], False) for key in first}
    if isinstance(first, tuple) or (isinstance(first, list) and (whole or any(map(_is_array, first)))):
        if not (isinstance(first, list) and all(map(is_number, first))):
            return tuple(_collated(column, False) for column in zip(*items, strict=True))
    elif isinstance(first, (str, bytes)):
        return list(items)
    elif isinstance(first, Tensor) and len({one.shape for one in items}) == 1:
        return default_collate(list(items))
    return as_leaf(list(items))


def _differ(column: Sequence[Leaf | None]) -> bool:
    """Whether the batches of one part cannot be joined as they are."""
    shapes = {one.shape[1:] if isinstance(one, Tensor) else None for one in column}
    return len(shapes) > 1 or any(isinstance(one, Documents) for one in column)


def _joined(column: Sequence[Leaf | None]) -> Leaf | None:
    tensors = [one for one in column if isinstance(one, Tensor)]
    if len(tensors) < len(column):
        held = [one for one in column if one is not None]
        return Documents([row for one in held for row in rows_of(one)]) if held else None
    if _differ(column):
        raise different_shapes({one.shape[1:] for one in tensors})
    return torch.cat(tensors)


def rows_of(leaf: Leaf) -> list[Tensor]:
    """The examples of a part, one by one."""
    return leaf.rows if isinstance(leaf, Documents) else list(leaf)


def _unpadded(
    rows: Sequence[list[Any]], differ: Sequence[bool], mask: int | None, ids: int | None
) -> tuple[list[list[Any]], int]:
    """Batches of different lengths as documents, and the token that padded them.

    Args:
        rows: the parts of each batch.
        differ: which of the parts are not of one shape in all batches.
        mask: which of the parts says what is padding.
        ids: which of them are the tokens.
    """
    cut: list[list[Any]] = []
    pads: set[int] = set()
    for parts in rows:
        real = parts[mask] if mask is not None else None
        if not isinstance(real, Tensor) or real.dim() != 2:
            cut.append([_alone(one) if other else one for one, other in zip(parts, differ, strict=True)])
            continue
        real = _one_run(real.bool())
        if ids is not None and isinstance(parts[ids], Tensor):
            pads |= set(parts[ids][~real].unique().tolist())
        cut.append([_cut(one, real) if other else one for one, other in zip(parts, differ, strict=True)])
    return cut, pads.pop() if len(pads) == 1 else 0


def _one_run(real: Tensor) -> Tensor:
    """Refuse a mask with a hole: what is left out in the middle is no padding."""
    runs = (real[:, 1:] & ~real[:, :-1]).sum(1) + real[:, 0]
    if bool((runs != 1).any()):
        found = f"an {MASK} with {int(runs[runs != 1][0])} runs of ones in an example"
        raise Unreadable(found, "mask nothing but padding at the ends, and leave empty documents out")
    return real


def _cut(leaf: Any, real: Tensor) -> Any:
    if isinstance(leaf, Tensor) and leaf.shape == real.shape and counts(leaf):
        return Documents([row[kept] for row, kept in zip(leaf, real, strict=True)])
    return leaf


def _alone(leaf: Any) -> Any:
    """Of a batch without a mask: a single row has no padding, and several may have."""
    if not isinstance(leaf, Tensor) or leaf.dim() != 2 or not counts(leaf):
        return leaf
    if len(leaf) > 1:
        found = f"batches of tokens padded to different lengths, such as {leaf.shape[1]}, and no {MASK}"
        do = f"yield {{'{IDS}', '{MASK}'}}, or give modelstitch.data.Tokens the documents without padding"
        raise Unreadable(found, do)
    return Documents(list(leaf))
