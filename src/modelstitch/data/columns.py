"""Columns made examples: a text becomes tokens, images become bytes of one size, names of classes become numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelstitch.data.arrays import Arrays, check_arrays
from modelstitch.data.batches import LABELS
from modelstitch.data.examples import Examples
from modelstitch.data.image_folder import MEAN, SIZE, STD, as_input
from modelstitch.data.leaf import Documents, Unreadable, as_leaf, counts
from modelstitch.data.samples import Samples, check_samples
from modelstitch.data.split import Split
from modelstitch.data.tables import Columns, read_columns, saved_sets
from modelstitch.data.tokens import Tokens
from modelstitch.errors import DataError, SettingError, did_you_mean
from modelstitch.support.files import expanded
from modelstitch.support.seeding import seed_of

Tokenizer = Callable[..., Any]
"""Turns texts into tokens: one of transformers, or a function from a list of texts to a list of lists of integers."""

_TRAIN, _TESTS = "train", ("test", "validation", "val")
# Of five examples one is held out.
_HELD_OUT = 5
# What tokenizers without a limit state as theirs is a number with thirty digits.
_UNLIMITED = 1 << 20


@dataclass(frozen=True)
class Meaning:
    """What the columns of a table are.

    Args:
        text: the column of texts; by default the only one that holds texts and is not the label.
        label: the column of targets: names or numbers of classes, or floats; by default one called ``label``.
        tokenizer: turns texts into tokens.
        next_token: the targets are the texts' own tokens.
        size: side of images in pixels.
    """

    text: str | None = None
    label: str | None = None
    tokenizer: Tokenizer | None = None
    next_token: bool = False
    size: int | None = None


def from_columns(source: Any, test: Any, meaning: Meaning) -> Split[Examples]:
    """A train and a test set from files, saved folders or data sets of the library ``datasets``.

    Args:
        source: to fit on; of a data set that has one, its train set.
        test: to measure on; by default the source's test set, or else a fifth of it, chosen by what the examples are,
            so that equal ones stay together.
        meaning: of the columns.

    Raises:
        DataError: no such column, or one that cannot be read.
        SettingError: texts without a tokenizer.
    """
    sets, name = _sets(source)
    if test is not None:
        sets["test"] = next(iter(_sets(test)[0].values()))
    numbers = _Numbers.of(list(sets.values()), meaning, name)
    found = {key: _examples(columns, name, meaning, numbers) for key, columns in sets.items()}
    if "test" in found:
        return Split(found[_TRAIN], found["test"])
    whole = found[_TRAIN]
    held = torch.tensor([seed_of("held out", one.hex()) % _HELD_OUT == 0 for one in whole.ids])
    if not held.any() or held.all():
        raise DataError(f"hold out a fifth of {name!r}", f"{len(whole)} examples", "name a test set, or give more")
    return Split(*(whole.take(chosen.nonzero().flatten()) for chosen in (~held, held)))


def _sets(source: Any) -> tuple[dict[str, Columns], str]:
    """The train set and, where there is one, the test set, each as columns; and what to call the data."""
    name = "data"
    if isinstance(source, (str, Path)):
        path = expanded(source)
        name = path.stem
        if not path.is_dir():
            return {_TRAIN: read_columns(path)}, name
        source = saved_sets(path)
    if not isinstance(source, Mapping):
        return {_TRAIN: _columns_of(source)}, name
    train = source.get(_TRAIN)
    if train is None:
        told = ", ".join(map(repr, source))
        raise DataError(f"read the data set {name!r}", f"no set 'train', but {told}", "give one of them")
    test = next((source[key] for key in _TESTS if key in source), None)
    return {_TRAIN: _columns_of(train), **({} if test is None else {"test": _columns_of(test)})}, name


def _columns_of(data: Any) -> Columns:
    """A data set of the library ``datasets``, without whatever format it was given."""
    plain = data.with_format(None)
    return {name: plain[name][:] for name in plain.column_names}


@dataclass(frozen=True)
class _Numbers:
    """Which column is the label, and the number of each class that has a name."""

    label: str | None
    classes: tuple[str, ...]

    @classmethod
    def of(cls, sets: Sequence[Columns], meaning: Meaning, name: str) -> _Numbers:
        label = meaning.label or next((one for one in LABELS if one in sets[0]), None)
        if label is None:
            return cls(None, ())
        for columns in sets:
            _column(columns, label, name)
        held = {str(value) for columns in sets for value in columns[label] if isinstance(value, str)}
        return cls(label, tuple(sorted(held)))

    def targets(self, columns: Columns) -> Tensor | None:
        """The label of each example as a number."""
        if self.label is None:
            return None
        column = columns[self.label]
        if self.classes:
            numbers = {one: place for place, one in enumerate(self.classes)}
            return torch.tensor([numbers[str(value)] for value in column])
        found = _leaf(column, self.label)
        return found.long() if counts(found) else found


def _column(columns: Columns, wanted: str, name: str) -> Any:
    if wanted not in columns:
        do = did_you_mean(wanted, columns, f"name one of {', '.join(columns)}")
        raise DataError(f"read the column {wanted!r} of {name!r}", "no column of that name", do)
    return columns[wanted]


def _leaf(column: Any, called: str) -> Tensor:
    try:
        found = as_leaf(list(column) if isinstance(column, list) else column)
        if isinstance(found, Documents):
            raise Unreadable("values of different lengths", "cut or pad them to one length")
    except (Unreadable, TypeError) as error:
        do = getattr(error, "do", "") or "give numbers"
        raise DataError(f"read the column {called!r}", str(error).splitlines()[0], do) from error
    return found


def _examples(columns: Columns, name: str, meaning: Meaning, numbers: _Numbers) -> Examples:
    """The examples of one set: texts, images, or all other columns."""
    rest = {key: column for key, column in columns.items() if key != numbers.label}
    if not rest or not len(next(iter(rest.values()))):
        raise DataError(f"read the examples of {name!r}", "no examples", "check the file that they come from")
    targets = numbers.targets(columns)
    text = meaning.text or _only(rest, name)
    if text is not None:
        return _texts(_column(rest, text, name), text, name, meaning, targets)
    image = next((key for key, column in rest.items() if hasattr(column[0], "convert")), None)
    if image is not None:
        size = meaning.size or SIZE
        pixels = torch.from_numpy(np.stack([as_input(one, size) for one in rest[image]]))
        if targets is not None and counts(targets):
            classes = len(numbers.classes) or int(targets.max()) + 1
            return check_samples(Samples(name, pixels, targets, classes, MEAN, STD, crop=size // 8, flip=True))
        return check_arrays(Arrays(name, pixels.float() / 255, targets))
    return _numeric(rest, name, targets, len(numbers.classes))


def _only(columns: Columns, name: str) -> str | None:
    """The column that holds texts, where there is one."""
    held = [key for key, column in columns.items() if isinstance(column[0], str)]
    if len(held) > 1:
        found = f"several columns of text: {', '.join(held)}"
        raise DataError(f"read the texts of {name!r}", found, f"name one: text={held[0]!r} (--text {held[0]})")
    return held[0] if held else None


def _texts(column: Any, called: str, name: str, meaning: Meaning, targets: Tensor | None) -> Examples:
    asked = f"turn the texts of {name!r} into tokens"
    if meaning.tokenizer is None:
        do = "name a network that comes with a tokenizer (hf:FOLDER), or give one: load(…, tokenizer=…)"
        raise SettingError(asked, "no tokenizer", do)
    texts = [str(one) for one in column]
    pad = getattr(meaning.tokenizer, "pad_token_id", None)
    documents = tokens_of(meaning.tokenizer, texts)
    empty = next((place for place, one in enumerate(documents) if not len(one)), None)
    if empty is not None:
        found = f"no token in row {empty} of {called!r}: {texts[empty][:30]!r}"
        raise DataError(asked, found, "leave empty texts out")
    held = None if meaning.next_token else targets
    return Tokens(name, documents, held, pad or 0, masked=True, next_token=meaning.next_token)


def tokens_of(tokenizer: Tokenizer, texts: list[str]) -> list[Any]:
    """The tokens of each text, no more than the network has positions for.

    Example:
        >>> tokens_of(lambda texts: [[len(word) for word in text.split()] for text in texts], ["one three"])
        [[3, 5]]
    """
    most = getattr(tokenizer, "model_max_length", None)
    if most is None:
        return list(tokenizer(texts))
    limit = {"truncation": True, "max_length": most} if most < _UNLIMITED else {}
    return list(tokenizer(texts, **limit)["input_ids"])


def _numeric(columns: Columns, name: str, targets: Tensor | None, classes: int) -> Examples:
    """One tensor as it is; several numbers an example side by side; several tensors by name."""
    leaves = {key: _leaf(column, key) for key, column in columns.items()}
    inputs: Any = leaves
    if all(one.dim() == 1 for one in leaves.values()):
        inputs = torch.stack([one.float() for one in leaves.values()], 1)
    elif len(leaves) == 1:
        inputs = next(iter(leaves.values()))
    labels = targets is not None and targets.dim() == 1 and counts(targets) and int(targets.min()) >= 0
    if isinstance(inputs, Tensor) and labels:
        assert targets is not None
        return check_samples(Samples(name, inputs, targets, classes or int(targets.max()) + 1))
    return check_arrays(Arrays(name, inputs, targets))
