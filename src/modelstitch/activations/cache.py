"""Activations at one cut, kept in memory or in a memory-mapped file, to be read in any order; and the room for them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modelstitch.errors import BadFile
from modelstitch.support.files import refusal


class Room:
    """How many bytes may be kept by all that share it; what is not in use gives way, the longest unused first.

    Args:
        size: bytes.

    Example:
        >>> room = Room(10)
        >>> with room.held("a", print):
        ...     room.take("a", [4, 4, 4])
        2
    """

    def __init__(self, size: float) -> None:
        self._size = size
        self._taken: dict[object, float] = {}
        self._drop: dict[object, Callable[[], None]] = {}
        self._in_use: list[object] = []

    @contextlib.contextmanager
    def held(self, owner: object, drop: Callable[[], None]) -> Iterator[None]:
        """Within it, the owner's room is its own.

        Args:
            owner: who asks.
            drop: frees the owner's room, when it is asked to give way.
        """
        self._drop[owner] = drop
        # Put at the end: the others have been unused for longer.
        self._taken[owner] = self._taken.pop(owner, 0.0)
        self._in_use.append(owner)
        try:
            yield
        finally:
            self._in_use.remove(owner)

    def take(self, owner: object, sizes: Sequence[int]) -> int:
        """How many of these, from the first on, the owner may keep, in place of what it kept before."""
        self._taken[owner] = 0.0
        wanted = sum(sizes)
        for other in [one for one in self._taken if one not in self._in_use]:
            if self._left() >= wanted:
                break
            self._drop[other]()
            del self._taken[other]
        count, left = 0, self._left()
        while count < len(sizes) and sum(sizes[: count + 1]) <= left:
            count += 1
        self._taken[owner] = float(sum(sizes[:count]))
        return count

    def _left(self) -> float:
        return self._size - sum(self._taken.values())


class Kept(ABC):
    """Rows of activations, by the index of their example; room for them is made when the first come.

    Args:
        n: how many examples there are.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._there = torch.zeros(n, dtype=torch.bool)
        self._rows: Tensor | None = None

    def has(self, index: Tensor) -> bool:
        """Whether all of these examples are there."""
        return bool(self._there[index].all())

    def put(self, index: Tensor, rows: Tensor) -> None:
        """Keep the rows of these examples."""
        if self._rows is None:
            self._rows = self._room(rows)
        self._rows[index] = rows.to(self._rows)
        self._there[index] = True

    def get(self, index: Tensor) -> Tensor:
        """The rows of these examples, where they are kept."""
        assert self._rows is not None
        return self._rows[index]

    @abstractmethod
    def _room(self, like: Tensor) -> Tensor:
        """Room for the rows of all examples."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the rows; what is whole and on disk stays there."""


class InMemory(Kept):
    """On the device where the rows were made."""

    def _room(self, like: Tensor) -> Tensor:
        return like.new_empty(self.n, *like.shape[1:])

    def close(self) -> None:
        """Free the memory."""
        self._rows = None


class OnDisk(Kept):
    """In a ``.npy`` file that is mapped into memory: written under another name, and renamed once every row is there.

    The name is a hash of all that the rows depend on. While one process writes, another does without.
    """

    def __init__(self, path: Path, n: int, lock: int | None) -> None:
        super().__init__(n)
        self.path, self._lock = path, lock

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def claim(cls, folder: str | Path, key: dict[str, str], n: int) -> OnDisk | None:
        """The file of these activations, whole or to be filled; None where another process is filling it.

        Raises:
            NotWritable: the folder refuses.
            BadFile: the file is no such array.
        """
        name = hashlib.blake2b(repr(sorted(key.items())).encode(), digest_size=16).hexdigest()
        path = Path(folder) / f"{name}.npy"
        if path.exists():
            return cls._read(path, n)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path.with_suffix(".part"), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise refusal(path, error) from error
        try:
            # The system drops the lock with the process, however that ends, so a killed writer blocks nobody.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return cls(path, n, lock)

    @classmethod
    def _read(cls, path: Path, n: int) -> OnDisk:
        found = cls(path, n, None)
        try:
            # Copy on write: nothing that is done to the tensor reaches the file.
            rows = np.load(path, mmap_mode="c")
        except (OSError, ValueError) as error:
            raise BadFile(f"activations in {path}", str(error), "remove the file, and it is made again") from error
        if len(rows) != n:
            found_rows = f"{len(rows)} rows for {n} examples"
            raise BadFile(f"activations in {path}", found_rows, "remove the file, and it is made again")
        found._rows = torch.from_numpy(rows)
        found._there[:] = True
        return found

    def put(self, index: Tensor, rows: Tensor) -> None:
        """Keep the rows of these examples; the last of them make the file whole."""
        super().put(index, rows)
        if self._lock is not None and bool(self._there.all()):
            os.fsync(self._lock)
            os.replace(self.path.with_suffix(".part"), self.path)
            os.close(self._lock)
            self._lock = None

    def _room(self, like: Tensor) -> Tensor:
        assert self._lock is not None
        part, shape = self.path.with_suffix(".part"), (self.n, *like.shape[1:])
        dtype = torch.empty(0, dtype=like.dtype).numpy().dtype
        try:
            rows = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
            # Asked for in advance: a mapped page that finds the disk full would kill the process.
            os.posix_fallocate(self._lock, 0, os.fstat(self._lock).st_size)
        except OSError as error:
            raise refusal(part, error) from error
        return torch.from_numpy(rows)

    def close(self) -> None:
        """Unmap; remove a file that is not whole."""
        self._rows = None
        if self._lock is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.with_suffix(".part").unlink()
            os.close(self._lock)
            self._lock = None
