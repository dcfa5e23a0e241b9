"""Documents of tokens, each as long as it is: padded to the longest of a batch, and batched by length.

Padding is no part of a document: ids and targets do not change with the batch that a document comes in. Beware: a
network that reads the padding (one without a mask, or that counts positions from the left) gives answers that do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils import _pytree as pytree

from modelstitch.data.examples import Batch, Examples, bytes_of, copied, digest_of, picked
from modelstitch.data.leaf import is_number
from modelstitch.errors import DataError, SettingError
from modelstitch.support.tensors import Inputs, fingerprint

IGNORED = -100
"""What pads targets that are given token by token, as Hugging Face has it: no target here."""


@dataclass(frozen=True, eq=False)
class Tokens(Examples):
    """Documents of tokens, padded on the right to the longest of their batch.

    Args:
        name: what the data is called in records.
        documents: of each its token ids, one or more: 1-D integer tensors, or lists of integers.
        targets: a tensor ``(n, ...)``, or tuples and mappings of such; or a *list* with one target for each token of
            each document, padded with -100.
        pad: the token that pads. Give the tokenizer's own: some networks find their positions by it.
        masked: inputs come as ``{"input_ids", "attention_mask"}``, with what is in ``beside``, and not as one tensor.
        next_token: the targets are the tokens themselves, padded with -100; the task shifts them.
        most: only the first so many tokens of each document; all by default.
        beside: other integers, one a token, by the name a network takes them under (``token_type_ids``); padded with 0.

    Raises:
        DataError: no documents, an empty one, other than integers, or targets that do not belong to them.
        SettingError: settings that contradict each other.

    Example:
        >>> data = Tokens("two", [[5, 6, 7], [8]], torch.tensor([0, 1]))
        >>> batch = data.batch(slice(0, 2))
        >>> batch.inputs.tolist(), batch.mask.tolist()
        ([[5, 6, 7], [8, 0, 0]], [[True, True, True], [True, False, False]])
    """

    name: str
    documents: Sequence[Any]
    targets: Any = None
    pad: int = 0
    masked: bool = False
    next_token: bool = False
    most: int | None = None
    beside: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        asked = f"use the documents of {self.name!r}"
        self._check_settings(asked)
        documents = _documents(self.documents, self.most, asked, "tokens")
        if not documents:
            raise DataError(asked, "no documents", "check the folder, filter or split that they come from")
        beside = {key: _documents(one, self.most, asked, key) for key, one in self.beside.items()}
        targets = self.targets
        if isinstance(targets, list):
            plain = all(map(is_number, targets))
            targets = torch.tensor(targets) if plain else _documents(targets, self.most, asked, "targets")
        for key, held in {**beside, "targets": targets}.items():
            if held is not None:
                _check_like(documents, held, asked, key)
        for key, value in (("documents", documents), ("beside", beside), ("targets", targets)):
            object.__setattr__(self, key, value)

    def _check_settings(self, asked: str) -> None:
        if self.next_token and self.targets is not None:
            do = "leave the targets out, or next_token=True"
            raise SettingError(asked, "targets, and next_token=True, by which the tokens are the targets", do)
        if self.most is not None and self.most < 1:
            raise SettingError(asked, f"most={self.most} tokens", "choose 1 or more")
        if self.beside and not self.masked:
            found = f"{', '.join(self.beside)} beside the tokens, and inputs of one tensor"
            raise SettingError(asked, found, "set masked=True, which hands out a mapping")

    def __len__(self) -> int:
        return len(self.documents)

    @cached_property
    def lengths(self) -> Int[Tensor, " n"]:
        """How many tokens each document has."""
        return torch.tensor([len(one) for one in self.documents])

    def batch(self, index: Tensor | slice) -> Batch:
        """The documents at these indices, padded to the longest of them."""
        places = _places(index, len(self))
        lengths = self.lengths[places]
        real = torch.arange(int(lengths.max())) < lengths[:, None] if places else torch.ones(0, 0, dtype=torch.bool)
        ids = _padded(self.documents, places, self.pad)
        more = {key: _padded(one, places, 0) for key, one in self.beside.items()}
        inputs: Inputs = {"input_ids": ids, **more, "attention_mask": real.long()} if self.masked else ids
        targets = self.documents if self.next_token else self.targets
        if self.next_token or isinstance(targets, list):
            targets = _padded(targets, places, IGNORED)
        else:
            targets = copied(targets, index)
        return Batch(inputs, targets, None if bool(real.all()) else real)

    def take(self, index: Tensor | slice) -> Tokens:
        """The documents at these indices, in that order."""
        places = _places(index, len(self))

        def some(held: Sequence[Any]) -> list[Any]:
            return [held[place] for place in places]

        targets = some(self.targets) if isinstance(self.targets, list) else picked(self.targets, index)
        beside = {key: some(one) for key, one in self.beside.items()}
        return dataclasses.replace(self, documents=some(self.documents), targets=targets, beside=beside)

    @property
    def example(self) -> Inputs:
        """The first document and the next of another length, so that a trace sees padding; the first two if none."""
        others = (self.lengths != self.lengths[0]).nonzero().flatten()
        return self.batch(torch.tensor([0, int(others[0])]) if len(others) else slice(0, 2)).inputs

    @property
    def longest(self) -> int:
        """The length of the longest document."""
        return int(self.lengths.max())

    @property
    def ragged(self) -> bool:
        """Whether the documents are of different lengths."""
        return bool((self.lengths != self.lengths[0]).any())

    @property
    def sizes(self) -> Tensor:
        """How many tokens each document has."""
        return self.lengths

    def order(self) -> Tensor:
        """By length, shortest first, so that a batch needs little padding; equal lengths as they are stored."""
        return self.lengths.argsort(stable=True)

    @property
    def nbytes(self) -> int:
        """Bytes of the tokens as they are stored."""
        return sum(one.nbytes for held in (self.documents, *self.beside.values()) for one in held)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any token, any target, what a network sees of padding, and the order."""
        parts = {"documents": torch.cat(list(self.documents)), "lengths": self.lengths}
        parts |= {f"beside {key}": torch.cat(list(one)) for key, one in self.beside.items()}
        # One document's targets are as many as its tokens, so that joined ones are told apart by the lengths.
        held = [torch.cat(self.targets)] if isinstance(self.targets, list) else pytree.tree_leaves(self.targets)
        parts |= {f"targets {place}": one for place, one in enumerate(held) if one is not None}
        if self.ragged:
            # Where a mask tells a network which tokens are padding, it does not matter which token pads.
            parts["padding"] = torch.tensor([-1 if self.masked else self.pad])
        return fingerprint({**parts, "next_token": torch.tensor([self.next_token])})

    def _hashed(self) -> list[bytes]:
        held = (self.documents, *self.beside.values())
        return [digest_of(bytes_of(row[None])[0] for row in rows) for rows in zip(*held, strict=True)]


def _documents(held: Sequence[Any], most: int | None, asked: str, called: str) -> list[Tensor]:
    """Each as a 1-D tensor of int64, cut to the first ``most``."""
    found = []
    for place, one in enumerate(held):
        try:
            tensor = torch.as_tensor(one).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            told = f"{called} of document {place}: {str(error).splitlines()[0]}"
            raise DataError(asked, told, "give a list of integers for each document") from error
        if tensor.dim() != 1 or not tensor.numel():
            told = f"{called} of document {place} of shape {tuple(tensor.shape)}"
            raise DataError(asked, told, "give one integer or more for each document, and leave empty ones out")
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise DataError(asked, f"{called} of document {place} of type {tensor.dtype}", "give integers")
        found.append(tensor[:most].long())
    return found


def _check_like(documents: list[Tensor], held: Any, asked: str, called: str) -> None:
    """Refuse what does not have a row for each document, or of a list what does not have a value for each token."""
    if isinstance(held, list):
        if len(held) != len(documents):
            raise DataError(asked, f"{called} of {len(held)} documents for {len(documents)}", "give them of each")
        for place, (document, one) in enumerate(zip(documents, held, strict=True)):
            if len(document) != len(one):
                found = f"{len(one)} {called} for the {len(document)} tokens of document {place}"
                raise DataError(asked, found, "give one for each token")
    for leaf in [] if isinstance(held, list) else pytree.tree_leaves(held):
        if not isinstance(leaf, Tensor) or not leaf.dim() or len(leaf) != len(documents):
            told = f"of shape {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else f"a {type(leaf).__name__}"
            found = f"{called} {told} for {len(documents)} documents"
            raise DataError(asked, found, "give a tensor with one row for each document")


def _places(index: Tensor | slice, n: int) -> list[int]:
    places: list[int] = list(range(*index.indices(n))) if isinstance(index, slice) else index.tolist()
    return places


def _padded(held: Sequence[Tensor], places: list[int], value: int) -> Tensor:
    if not places:
        return torch.empty(0, 0, dtype=torch.long)
    return pad_sequence([held[place] for place in places], batch_first=True, padding_value=value)
