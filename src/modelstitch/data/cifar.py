"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour photographs each, 32 x 32 (Krizhevsky 2009), from the user's own copy.

Both official forms are read, unpacked, as the ``.tar.gz`` they come in, or as the ``.tar`` that a browser makes of it:
the binary version, and the Python version, whose batches are pickles. A pickle can run code, so only what describes an
array is let through. Of CIFAR-100's two kinds of labels the fine ones are read, 100 classes.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelstitch.data.files import cache_folder, data_folders
from modelstitch.data.samples import Samples, channel_moments, check_samples
from modelstitch.data.split import Split
from modelstitch.errors import BadFile, DataError

HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
PIXELS = 3 * 32 * 32

# NumPy moved the function that rebuilds arrays; old and new pickles mean the same one.
_ARRAY_PARTS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Form:
    """One of the forms that a set comes in: what its folder, its archive and its batches are called, the test last."""

    folder: str
    archive: str
    batches: tuple[str, ...]
    decode: Callable[[bytes, str], Batch]


def cifar10(folder: str | Path | None = None) -> Split:
    """Read CIFAR-10.

    Args:
        folder: the folder of the batches, one that holds it or an official archive, or the archive itself; by
            default ``$MODELSTITCH_DATA`` and the cache are searched.

    Returns:
        uint8 images ``(n, 3, 32, 32)``, normalised by the training set's mean and standard deviation per channel;
        with other than 50,000 + 10,000 of them, the name shows how many.

    Raises:
        DataError: no batches there.
        BadFile: a batch is corrupt, incomplete or hostile.
    """
    return _read(10, folder)


def cifar100(folder: str | Path | None = None) -> Split:
    """Read CIFAR-100 with its 100 fine labels; all else is as `cifar10` has it."""
    return _read(100, folder)


def _read(classes: int, folder: str | Path | None) -> Split:
    places = data_folders(folder) if folder is not None else _usual_places(classes)
    batches = next((found for place in places if (found := _batches(place, classes))), None)
    if batches is None:
        do = f"fetch an official archive from {HOME} and name the folder it lies in"
        raise DataError(f"read CIFAR-{classes}", f"no batches in {' or '.join(map(str, places))}", do)
    images, labels = (torch.cat(part) for part in zip(*batches[:-1], strict=True))
    sizes = (len(labels), len(batches[-1][1]))
    name = f"cifar{classes}" if sizes == (50_000, 10_000) else f"cifar{classes}-{sizes[0]}+{sizes[1]}"
    mean, std = channel_moments(images)

    def half(pixels: Tensor, fine: Tensor) -> Samples:
        return check_samples(Samples(name, pixels, fine, classes, mean, std, crop=4, flip=True))

    return Split(half(images, labels), half(*batches[-1]))


def find_cifar(classes: int) -> Path | None:
    """The place that `cifar10` or `cifar100` reads when none is named, or None.

    Raises:
        BadFile: there are batches, but corrupt or incomplete ones.
    """
    return next((place for place in _usual_places(classes) if _batches(place, classes)), None)


def _usual_places(classes: int) -> list[Path]:
    return [*data_folders(), cache_folder() / f"cifar{classes}"]


def read_binary(content: bytes, name: str, *, classes: int = 10) -> Batch:
    """Decode a binary batch: per image its label in one byte, then 3 x 32 x 32 bytes of red, green and blue.

    Args:
        content: the file.
        name: what to call it in an error.
        classes: 10, or 100: then a coarse label, below 20, stands before the fine one.

    Raises:
        BadFile: not a whole number of images, or a label that is too high.
    """
    highest = [9] if classes == 10 else [19, classes - 1]
    size = len(highest) + PIXELS
    if not content or len(content) % size:
        raise _bad(name, f"{len(content)} bytes, not a multiple of {size}")
    table = np.frombuffer(content, np.uint8).reshape(-1, size)
    for column, most in enumerate(highest):
        if table[:, column].max() > most:
            raise _bad(name, f"a label {table[:, column].max()}, above {most}")
    return _images(table[:, len(highest) :]), torch.from_numpy(table[:, len(highest) - 1].astype(np.int64))


def read_python(content: bytes, name: str, *, classes: int = 10) -> Batch:
    """Decode a Python batch: a pickled dictionary with ``data`` ``(n, 3072)`` and ``labels``, or ``fine_labels``.

    Args:
        content: the file.
        name: what to call it in an error.
        classes: 10 or 100.

    Raises:
        BadFile: no pickle, one that asks for anything but arrays, or one without images and labels.
    """
    try:
        held: Any = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    # A damaged pickle is a damaged program: it can fail in any way at all.
    except Exception as error:
        raise _bad(name, f"{type(error).__name__}: {error}") from error
    key = b"labels" if classes == 10 else b"fine_labels"
    array, labels = (held.get(one) for one in (b"data", key)) if isinstance(held, dict) else (None, None)
    data = _pixels(array)
    if data is None:
        raise _bad(name, f"no array of unsigned bytes with {PIXELS} columns under b'data'")
    if not (isinstance(labels, list) and len(labels) == len(data) and all(_is_class(one, classes) for one in labels)):
        raise _bad(name, f"no list of {len(data)} integers from 0 to {classes - 1} under {key!r}")
    return _images(data), torch.tensor(labels)


def _bad(name: str, found: str) -> BadFile:
    return BadFile(f"read {name}", found, f"fetch it again from {HOME}")


class _Part:
    """Stands for an array or its type: keeps what the pickle says of it, and does nothing."""

    def __init__(self, *args: object) -> None:
        self.args = args
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _ArrayUnpickler(pickle.Unpickler):
    """Lets through plain containers and parts of arrays, and refuses to look up anything else."""

    def find_class(self, module_name: str, global_name: str, /) -> type[_Part]:
        if (module_name, global_name) not in _ARRAY_PARTS:
            raise pickle.UnpicklingError(f"the pickle asks for {module_name}.{global_name}, which is no array")
        return _Part


def _pixels(array: object) -> NDArray[np.uint8] | None:
    """The bytes that an array's parts describe: version, shape, type, whether columns come first, contents."""
    match array.state if isinstance(array, _Part) else None:
        case (1, (int(n), 3072), _Part(args=(b"u1" | "u1", *_)), False, bytes(content)) if len(content) == n * PIXELS:
            return np.frombuffer(content, np.uint8).reshape(n, PIXELS)
    return None


def _is_class(label: object, classes: int) -> bool:
    return type(label) is int and 0 <= label < classes


def _images(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32).copy())


_TEN, _HUNDRED = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"), ("train", "test")
_FORMS = {
    10: (
        _Form("cifar-10-batches-bin", "cifar-10-binary.tar.gz", tuple(f"{one}.bin" for one in _TEN), read_binary),
        _Form("cifar-10-batches-py", "cifar-10-python.tar.gz", _TEN, read_python),
    ),
    100: (
        _Form(
            "cifar-100-binary",
            "cifar-100-binary.tar.gz",
            tuple(f"{one}.bin" for one in _HUNDRED),
            partial(read_binary, classes=100),
        ),
        _Form("cifar-100-python", "cifar-100-python.tar.gz", _HUNDRED, partial(read_python, classes=100)),
    ),
}


def _batches(place: Path, classes: int) -> list[Batch] | None:
    """All batches in or below a folder, or in an archive; None where there is no trace of them."""
    for form in _FORMS[classes]:
        for folder in (place, place / form.folder):
            present = [file for file in form.batches if (folder / file).is_file()]
            if present:
                _check_all(present, form, folder)
                return [form.decode((folder / file).read_bytes(), str(folder / file)) for file in form.batches]
        contents = _unpack(_archive(place, form), form.batches)
        if contents:
            _check_all(contents, form, place)
            return [form.decode(contents[file], f"{place}: {file}") for file in form.batches]
    return None


def _archive(place: Path, form: _Form) -> Path:
    """The archive that a place is or holds; browsers may have unpacked its outer layer and shortened its name."""
    if place.is_file():
        return place
    named = [place / form.archive, place / form.archive.removesuffix(".gz")]
    return next((one for one in named if one.is_file()), named[0])


def _unpack(archive: Path, files: Sequence[str]) -> dict[str, bytes]:
    """The named members of an archive, read without writing anything to disk; none where there is no archive."""
    if not archive.is_file():
        return {}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                file = packed.extractfile(member) if Path(member.name).name in files else None
                if file is not None:
                    contents[Path(member.name).name] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        told = (str(error).splitlines() or [""])[0]
        raise BadFile(f"open {archive}", f"{type(error).__name__}: {told}", f"fetch it again from {HOME}") from error
    return contents


def _check_all(present: Iterable[str], form: _Form, place: Path) -> None:
    missing = [file for file in form.batches if file not in present]
    if missing:
        raise _bad(f"{form.folder} in {place}", f"no {', '.join(missing)}")
