"""Images decoded once into one file that is mapped into memory: the next reading decodes nothing, and holds little.

A ``.npy`` file appears under its name when it is whole; until then it is a ``.part``, which a later call goes on with
if this one was cut off. One process at a time fills it, and others wait. The file may be removed at any time: it is
made again. Beware: what is mapped must not be written to, which would end the process.
"""

from __future__ import annotations

import fcntl
import io
import math
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from modelstitch.errors import BadFile, NotWritable
from modelstitch.support.memory import GB
from modelstitch.support.progress import track

Decode = Callable[[Path], NDArray[np.uint8]]

# Bytes of images that are decoded at a time, and the most that a power cut costs.
_CHUNK = 1 << 24
_NAMED = 5


def decoded_once(
    paths: Sequence[Path], decode: Decode, shape: tuple[int, ...], folder: Path, key: tuple[str, str]
) -> UInt8[Tensor, "n ..."]:
    """The images, mapped from a file in a folder; decoded into it where it is not there.

    Args:
        paths: of the images, one or more.
        decode: turns one into an array; called from several threads at once.
        shape: of that array.
        folder: where the file lies.
        key: what names the images wherever they change, and their state. Files of other states are removed.

    Raises:
        BadFile: images that cannot be decoded, or the file is damaged.
        NotWritable: the folder refuses, or has no room.
    """
    path = folder / f"{'-'.join(key)}.npy"
    if not path.exists():
        try:
            _make(path, paths, decode, shape)
            for other in folder.glob(f"{key[0]}-*"):
                if other != path:
                    other.unlink(missing_ok=True)
        except NotWritable:
            raise
        except OSError as error:
            raise _no_cache(path, error.strerror or str(error)) from error
    return _mapped(path, (len(paths), *shape))


def _make(path: Path, paths: Sequence[Path], decode: Decode, shape: tuple[int, ...]) -> None:
    """Fill the unfinished file and give it its name, unless another process has done so in the meantime."""
    part = path.with_suffix(".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        # The system drops the lock with the process, however that ends, so a killed one blocks nobody.
        fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists():
            _fill(file, path, paths, decode, shape)
            os.replace(part, path)


def _fill(file: BinaryIO, path: Path, paths: Sequence[Path], decode: Decode, shape: tuple[int, ...]) -> None:
    each, header = math.prod(shape), _header((len(paths), *shape))
    per_chunk = max(1, _CHUNK // each)
    done = _done(file, header, each * per_chunk) * per_chunk
    _check_room(path, each * (len(paths) - done))
    if not done:
        file.seek(0)
        file.write(header)
    file.truncate(len(header) + done * each)
    file.seek(0, os.SEEK_END)
    starts, bad = range(done, len(paths), per_chunk), list[str]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in track(starts, f"decode {len(paths):,} images", len(starts)):
            found = list(pool.map(lambda one: _tried(decode, one), paths[start : start + per_chunk]))
            bad += [one for one in found if isinstance(one, str)]
            # Where one is bad the file is lost, but the others are looked at, so that all can be mended at once.
            if not bad:
                file.writelines(one.tobytes() for one in found if not isinstance(one, str))
                file.flush()
                os.fsync(file.fileno())
    if bad:
        file.truncate(0)
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        told = f"{len(bad)} that cannot be decoded: {'; '.join(bad[:_NAMED])}{more}"
        raise BadFile(f"read {len(paths)} images", told, "mend or remove them")


def _header(shape: tuple[int, ...]) -> bytes:
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return written.getvalue()


def _done(file: BinaryIO, header: bytes, chunk: int) -> int:
    """How many chunks an earlier call left for certain: all whole ones but the last, which a power cut may have hit."""
    if file.read(len(header)) != header:
        return 0
    return max(0, (os.fstat(file.fileno()).st_size - len(header)) // chunk - 1)


def _tried(decode: Decode, path: Path) -> NDArray[np.uint8] | str:
    """The image, or why there is none."""
    try:
        return decode(path)
    # A damaged image can fail in any way at all.
    except Exception as error:
        return f"{path} ({type(error).__name__}: {error})"


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise _no_cache(path, f"{free / GB:,.1f} GB free, and {needed / GB:,.1f} GB needed")


def _no_cache(path: Path, found: str) -> NotWritable:
    do = "set XDG_CACHE_HOME to a folder with room, or take smaller images"
    return NotWritable(f"keep decoded images in {path}", found, do)


def _mapped(path: Path, shape: tuple[int, ...]) -> Tensor:
    do = "remove the file, and it is made again"
    try:
        # Not "c", copy on write: Linux counts such a mapping as memory, and refuses one larger than it.
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise BadFile(f"decoded images in {path}", str(error), do) from error
    if array.dtype != np.uint8 or array.shape != shape:
        raise BadFile(f"decoded images in {path}", f"{array.dtype} of shape {array.shape}, not {shape}", do)
    with warnings.catch_warnings():
        # Torch warns that it cannot keep anyone from writing to it.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
