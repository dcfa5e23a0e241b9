"""CIFAR-10: 50,000 + 10,000 colour photographs, 32 x 32, ten classes (Krizhevsky 2009), from the user's own copy.

Both official forms are read, unpacked or as the ``.tar.gz`` they come in: the binary version, and the Python version,
whose batches are pickles. A pickle can run code, so only what describes an array is let through.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
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

_STEMS = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]

# NumPy moved the function that rebuilds arrays; old and new pickles mean the same one.
_ARRAY_PARTS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}

Batch = tuple[Tensor, Tensor]


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
    places = data_folders(folder) if folder is not None else _usual_places()
    batches = next((found for place in places if (found := _batches(place))), None)
    if batches is None:
        do = f"fetch an official archive from {HOME} and name the folder it lies in"
        raise DataError("read CIFAR-10", f"no batches in {' or '.join(map(str, places))}", do)
    images, labels = (torch.cat(part) for part in zip(*batches[:-1], strict=True))
    sizes = (len(labels), len(batches[-1][1]))
    name = "cifar10" if sizes == (50_000, 10_000) else f"cifar10-{sizes[0]}+{sizes[1]}"
    mean, std = channel_moments(images)

    def half(pixels: Tensor, classes: Tensor) -> Samples:
        return check_samples(Samples(name, pixels, classes, 10, mean, std, crop=4, flip=True))

    return Split(half(images, labels), half(*batches[-1]))


def find_cifar10() -> Path | None:
    """The place that `cifar10` reads when none is named, or None.

    Raises:
        BadFile: there are batches, but corrupt or incomplete ones.
    """
    return next((place for place in _usual_places() if _batches(place)), None)


def _usual_places() -> list[Path]:
    return [*data_folders(), cache_folder() / "cifar10"]


def read_binary(content: bytes, name: str) -> Batch:
    """Decode a binary batch: per image one byte of label, then 3 x 32 x 32 bytes of red, green and blue.

    Raises:
        BadFile: not a whole number of images, or a label above 9.
    """
    if not content or len(content) % (1 + PIXELS):
        raise BadFile(
            f"read {name}", f"{len(content)} bytes, not a multiple of {1 + PIXELS}", f"fetch it again from {HOME}"
        )
    table = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    if table[:, 0].max() > 9:
        raise BadFile(f"read {name}", f"a label {table[:, 0].max()}, above 9", f"fetch it again from {HOME}")
    return _images(table[:, 1:]), torch.from_numpy(table[:, 0].astype(np.int64))


def read_python(content: bytes, name: str) -> Batch:
    """Decode a Python batch: a pickled dictionary with ``data`` ``(n, 3072)`` and ``labels``.

    Raises:
        BadFile: no pickle, one that asks for anything but arrays, or one without images and labels.
    """
    try:
        held: Any = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    # A damaged pickle is a damaged program: it can fail in any way at all.
    except Exception as error:
        raise BadFile(f"read {name}", f"{type(error).__name__}: {error}", f"fetch it again from {HOME}") from error
    array, labels = (held.get(key) for key in (b"data", b"labels")) if isinstance(held, dict) else (None, None)
    data = _pixels(array)
    if data is None:
        found = f"no array of unsigned bytes with {PIXELS} columns under b'data'"
        raise BadFile(f"read {name}", found, f"fetch it again from {HOME}")
    if not (isinstance(labels, list) and len(labels) == len(data) and all(map(_is_class, labels))):
        found = f"no list of {len(data)} integers from 0 to 9 under b'labels'"
        raise BadFile(f"read {name}", found, f"fetch it again from {HOME}")
    return _images(data), torch.tensor(labels)


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


def _is_class(label: object) -> bool:
    return type(label) is int and 0 <= label <= 9


def _images(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32).copy())


def _batches(place: Path) -> list[Batch] | None:
    """The six batches in or below a folder, or in an archive; None where there is no trace of them."""
    decoders: dict[str, Callable[[bytes, str], Batch]] = {".bin": read_binary, "": read_python}
    for suffix, below, archive in ((".bin", "batches-bin", "binary"), ("", "batches-py", "python")):
        files = [stem + suffix for stem in _STEMS]
        for folder in (place, place / f"cifar-10-{below}"):
            present = [file for file in files if (folder / file).is_file()]
            if present:
                _check_all(present, files, folder)
                return [decoders[suffix]((folder / file).read_bytes(), str(folder / file)) for file in files]
        packed = place / f"cifar-10-{archive}.tar.gz"
        contents = _unpack(place if place.is_file() else packed, files)
        if contents:
            _check_all(contents, files, place)
            return [decoders[suffix](contents[file], f"{place}: {file}") for file in files]
    return None


def _unpack(archive: Path, files: list[str]) -> dict[str, bytes]:
    """The named members of an archive, read without writing anything to disk; none where there is no archive."""
    if not archive.is_file():
        return {}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                file = packed.extractfile(member) if Path(member.name).name in files else None
                if file is not None:
                    contents[Path(member.name).name] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BadFile(f"open {archive}", f"{type(error).__name__}: {error}", f"fetch it again from {HOME}") from error
    return contents


def _check_all(present: list[str] | dict[str, bytes], files: list[str], place: Path) -> None:
    missing = [file for file in files if file not in present]
    if missing:
        raise BadFile(f"read CIFAR-10 in {place}", f"no {', '.join(missing)}", f"fetch it again from {HOME}")
