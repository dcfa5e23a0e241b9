"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28 x 28, ten classes (Xiao, Rasul and Vollgraf 2017).

The four idx files are looked for in a named folder, in ``$MODELSTITCH_DATA``, where Debian's ``dataset-fashion-mnist``
puts them, and in the cache; failing all, they are fetched from their official home into the cache. Distributors
recompress them, so the checksums are of the decoded bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modelstitch.data.files import cache_folder, data_folders
from modelstitch.data.samples import Samples, channel_moments, check_samples
from modelstitch.data.split import Split
from modelstitch.errors import BadFile, DataError, NotWritable
from modelstitch.support.files import write_whole

HOME = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")

CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of each file once decompressed."""

# How an idx file of unsigned bytes starts.
_IDX = bytes([0, 0, 8])

Opener = Callable[[str], bytes]


def fashion_mnist(folder: str | Path | None = None, *, opener: Opener | None = None) -> Split:
    """Read Fashion-MNIST, fetching it once if no folder has it.

    Args:
        folder: where the four ``*-ubyte.gz`` files are, compressed or not; a smaller set in the same format is welcome
            here, and its name then shows its size.
        opener: turns an address into bytes; the standard library's by default.

    Returns:
        uint8 images ``(n, 1, 28, 28)``, normalised by the training set's mean and standard deviation.

    Raises:
        BadFile: a file is corrupt, or the full set differs from the official one.
        DataError: the named folder lacks a file, or no folder has them and they cannot be fetched.
        NotWritable: the cache refuses.
    """
    contents = _contents(folder, opener or _open)
    images = {half: read_idx(contents[f"{half}-images-idx3-ubyte.gz"], 3, half) for half in ("train", "t10k")}
    labels = {half: read_idx(contents[f"{half}-labels-idx1-ubyte.gz"], 1, half) for half in ("train", "t10k")}
    n_train, n_test = len(images["train"]), len(images["t10k"])
    name = "fashion_mnist"
    if (n_train, n_test) == (60_000, 10_000):
        for file, content in contents.items():
            _check_official(file, content)
    else:
        name = f"fashion_mnist-{n_train}+{n_test}"
    mean, std = channel_moments(images["train"].unsqueeze(1))

    def half(key: str) -> Samples:
        pixels = images[key].unsqueeze(1)
        return check_samples(Samples(name, pixels, labels[key].long(), 10, mean, std, crop=2, flip=True))

    return Split(half("train"), half("t10k"))


def read_idx(content: bytes, axes: int, name: str) -> Tensor:
    """Decode an idx array of unsigned bytes: two zeros, type 8, the number of axes, their sizes, then the values.

    Args:
        content: the decompressed file.
        axes: how many axes there should be.
        name: what to call the file in an error.

    Returns:
        A uint8 tensor with ``axes`` axes.

    Raises:
        BadFile: another magic number, or another number of values than the sizes announce.

    Example:
        >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), 1, "labels")
        tensor([7, 9], dtype=torch.uint8)
    """
    start = 4 + 4 * axes
    asked = f"read the idx file {name}"
    if content[:4] != bytes([0, 0, 8, axes]) or len(content) < start:
        found = f"the first bytes {content[:4].hex(' ') or '(none)'} instead of 00 00 08 {axes:02x} and {axes} sizes"
        raise BadFile(asked, found, "fetch the file again")
    shape = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        found = f"{len(content) - start} values where the sizes {shape} announce {math.prod(shape)}"
        raise BadFile(asked, found, "fetch the file again")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


def find_fashion_mnist() -> Path | None:
    """The folder that `fashion_mnist` reads when none is named; None where it would have to fetch."""
    return next((place for place in _places(None) if all(_found(place, file) for file in CHECKSUMS)), None)


def _places(folder: str | Path | None) -> list[Path]:
    return [*data_folders(folder), DEBIAN, cache_folder() / "fashion_mnist"]


def _found(place: Path, file: str) -> Path | None:
    """The file in a folder, or what is left of its name where it was decompressed."""
    return next((path for path in (place / file, place / file.removesuffix(".gz")) if path.is_file()), None)


def _contents(folder: str | Path | None, opener: Opener) -> dict[str, bytes]:
    """The four files decompressed, from the first folder that has them all, else from the official home."""
    for place in _places(folder):
        held = {file: _found(place, file) for file in CHECKSUMS}
        paths = {file: path for file, path in held.items() if path}
        missing = [file for file in CHECKSUMS if file not in paths]
        if not missing:
            return {file: _decompress(path.read_bytes(), str(path)) for file, path in paths.items()}
        if folder is not None:
            do = "name the folder that holds the four *-ubyte.gz files, or name none to have them fetched"
            raise DataError(f"read Fashion-MNIST from {place}", f"no {missing[0]} there", do)
    return {file: _fetch(file, opener) for file in CHECKSUMS}


def _fetch(file: str, opener: Opener) -> bytes:
    """Download one file into the cache and return it decompressed; a wrong one is never stored."""
    try:
        packed = opener(HOME + file)
    except OSError as error:
        do = "connect once, or `apt-get install dataset-fashion-mnist`, or name the folder that holds the files"
        raise DataError(f"fetch {HOME + file}", f"{type(error).__name__}: {error}", do) from error
    content = _decompress(packed, HOME + file)
    _check_official(file, content)
    try:
        write_whole(cache_folder() / "fashion_mnist" / file, packed)
    except NotWritable as refused:
        do = "name another folder, or set XDG_CACHE_HOME or MODELSTITCH_DATA"
        raise NotWritable(refused.asked, refused.found, do) from refused
    return content


def _decompress(packed: bytes, name: str) -> bytes:
    if packed[:3] == _IDX:
        # Browsers decompress what a server calls compressed, and keep its name.
        return packed
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"decompress {name}", f"{type(error).__name__}: {error}", "fetch the file again") from error


def _check_official(file: str, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != CHECKSUMS[file]:
        found = f"decoded bytes with SHA-256 {digest}, not {CHECKSUMS[file]}"
        raise BadFile(f"read the official {file}", found, "delete the file and fetch it again")


def _open(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as response:
        content: bytes = response.read()
    return content
