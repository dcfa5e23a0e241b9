"""Examples: the sets that modelstitch knows by name, and the user's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from modelstitch.data.arrays import Arrays, check_arrays
from modelstitch.data.cifar import cifar10, cifar100, find_cifar
from modelstitch.data.columns import Meaning, Tokenizer, from_columns
from modelstitch.data.digits import digits
from modelstitch.data.distinct import check_distinct, distinct
from modelstitch.data.distortion import distort
from modelstitch.data.examples import Batch, Examples, check_disjoint, side_inputs
from modelstitch.data.fashion_mnist import fashion_mnist, find_fashion_mnist
from modelstitch.data.image_folder import find_image_folder, image_folder
from modelstitch.data.labels import SUPERCLASSES, LabelNoise, Superclasses
from modelstitch.data.order import epoch_order, half, steps_per_epoch, subset
from modelstitch.data.reading import as_examples, as_samples, both_sets
from modelstitch.data.samples import Samples, check_samples
from modelstitch.data.split import Split
from modelstitch.data.tables import is_table
from modelstitch.data.tokens import Tokens
from modelstitch.data.transforms import augment
from modelstitch.errors import DataError, SettingError, did_you_mean
from modelstitch.support.importing import PREFIX, called

DATA_SETS: dict[str, Callable[..., Split]] = {
    "digits": lambda folder: digits(),
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "image_folder": image_folder,
}


def load(
    name: Any,
    *,
    folder: str | Path | None = None,
    size: int | None = None,
    normalise: bool = True,
    text: str | None = None,
    label: str | None = None,
    test: Any = None,
    tokenizer: Tokenizer | None = None,
    next_token: bool = False,
) -> Split:
    """Load a data set by name, from a file, or from a data set of the library ``datasets``.

    Args:
        name: one of

            - a name in ``DATA_SETS``;
            - a file with columns: ``.csv``, ``.tsv``, ``.parquet``, ``.jsonl``, ``.txt``, ``.npz`` or ``.safetensors``
              (`modelstitch.data.tables`);
            - a data set of the library ``datasets``, or a folder that its ``save_to_disk`` wrote;
            - ``py:package.module:function``, a function of yours that returns a train and a test set, each of what
              `as_examples` takes.
        folder: where its files are; by default the usual places are searched. The digits come with the package.
        size: side of an ``image_folder``'s images in pixels, 224 by default; other data sets have a size of their own.
        normalise: False leaves images in [0, 1], for networks that normalise them themselves.
        text: of a file, the column of texts.
        label: of a file, the column of targets: classes by name or number, or floats.
        test: of a file, another one to measure on; by default a fifth is held out.
        tokenizer: turns texts into tokens: that of a network, ``load_network("hf:FOLDER").tokenizer``.
        next_token: of texts, the targets are their own tokens.

    Raises:
        SettingError: no such data set, a size where none is to choose, or texts without a tokenizer.
        DataError: its files are not to be had, or lack a column.
        BadFile: its files are corrupt.
    """
    if is_table(name):
        meaning = Meaning(text, label, tokenizer, next_token, size)
        split: Any = from_columns(name, test, meaning)
    else:
        _check_columns(name, text=text, label=label, test=test)
        split = _named(name, folder, size)
    found: Split = split if normalise else raw(split)
    return found


def raw(split: Any) -> Any:
    """The same examples without normalisation: images in [0, 1]."""
    return Split(*(one.raw() if isinstance(one, Samples) else one for one in (split.train, split.test)))


def _check_columns(name: str, **told: Any) -> None:
    for key, value in told.items():
        if value is not None:
            found, do = f"no file with columns, but {name!r}", f"leave {key} out"
            raise SettingError(f"the {key} {value!r} of {name!r}", found, do)


def _named(name: str, folder: str | Path | None, size: int | None) -> Split:
    if name.startswith(PREFIX):
        return _of_the_user(name)
    if name not in DATA_SETS:
        others = "a file (.csv, .parquet, .jsonl, .txt, .npz), a folder of save_to_disk or py:package.module:function"
        do = did_you_mean(name, DATA_SETS, f"choose one of {', '.join(DATA_SETS)}; {others}")
        raise SettingError(f"load the data set {name!r}", "no data set of that name", do)
    if size is None:
        return DATA_SETS[name](folder)
    if name != "image_folder":
        raise SettingError(
            f"load {name!r} with images of {size} pixels", "images of a fixed size", "leave the size out"
        )
    return image_folder(folder, size=size)


def _of_the_user(reference: str) -> Split:
    asked = f"load the data {reference!r}"
    found = called(reference, asked, DataError)
    if isinstance(found, Split):
        return found
    if not (isinstance(found, (tuple, list)) and len(found) == 2):
        raise DataError(asked, f"a {type(found).__name__} returned by it", "return (train, test)")
    # Whatever examples they are: only what trains on labels, or takes parts by them, asks for `Samples`.
    both: Any = both_sets(*found, name=reference.rpartition(":")[2])
    return Split(*both)


def find(name: str) -> Path | None:
    """Where `load` would read a data set from when no folder is named; None where it is not on this machine.

    Args:
        name: a name in ``DATA_SETS``.

    Raises:
        BadFile: its files are corrupt or incomplete.
    """
    finders: dict[str, Callable[[], Path | None]] = {
        "fashion_mnist": find_fashion_mnist,
        "cifar10": partial(find_cifar, 10),
        "cifar100": partial(find_cifar, 100),
        "image_folder": find_image_folder,
    }
    return finders[name]() if name in finders else Path(__file__).parent


__all__ = [
    "DATA_SETS",
    "SUPERCLASSES",
    "Arrays",
    "Batch",
    "Examples",
    "LabelNoise",
    "Samples",
    "Split",
    "Superclasses",
    "Tokenizer",
    "Tokens",
    "as_examples",
    "as_samples",
    "augment",
    "both_sets",
    "check_arrays",
    "check_disjoint",
    "check_distinct",
    "check_samples",
    "cifar10",
    "cifar100",
    "digits",
    "distinct",
    "distort",
    "epoch_order",
    "fashion_mnist",
    "find",
    "half",
    "image_folder",
    "load",
    "raw",
    "side_inputs",
    "steps_per_epoch",
    "subset",
]
