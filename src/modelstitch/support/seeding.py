"""One door to randomness: every random stream is keyed by what it is for, never by the order of calls.

The same keys give the same stream on every machine and in any job order; different keys give independent streams.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Key = str | int | float | bool | None


def seed_of(*keys: Key) -> int:
    """A 63-bit seed that depends on the keys alone.

    Example:
        >>> seed_of("shuffle", 0) == seed_of("shuffle", 0), seed_of("shuffle", 0) == seed_of("shuffle", 1)
        (True, False)
    """
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def numpy_generator(*keys: Key) -> np.random.Generator:
    """The numpy stream for these keys."""
    return np.random.default_rng(seed_of(*keys))


def generator(*keys: Key) -> torch.Generator:
    """The torch stream for these keys, on the CPU so that every device sees the same numbers."""
    import torch

    return torch.Generator().manual_seed(seed_of(*keys))


@contextlib.contextmanager
def seeded(*keys: Key) -> Iterator[None]:
    """Run code that draws from torch's global stream (module constructors) under a keyed seed.

    The caller's global stream is as it was when the block ends.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(*keys))
        yield
