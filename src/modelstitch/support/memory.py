"""Memory that is used again instead of given back to the system at every step.

On Linux, glibc's allocator returns large blocks to the kernel as soon as they are freed and asks for them again at the
next step; the kernel must then zero every page anew. A forward and backward of a convolutional top frees and takes
tens of megabytes a step, and spends a fifth of its time on that.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator

# From <malloc.h>: the free memory at the top of the heap above which it is returned, and the size of a block above
# which it is mapped on its own and unmapped when freed.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MOST, _USUAL = 2**31 - 1, 32 * 2**20
_inside = False

GB = 1e9
"""Bytes in a gigabyte."""


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Within it, freed memory stays with the process; afterwards it is returned. Without glibc it does nothing.

    Example:
        >>> with kept_memory():
        ...     pass
    """
    global _inside
    # Only the outermost gives memory back: what it holds is still in use when an inner one ends.
    if platform.libc_ver()[0] != "glibc" or _inside:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_TRIM_THRESHOLD, _MOST)
    libc.mallopt(_MMAP_THRESHOLD, 2**30)
    _inside = True
    try:
        yield
    finally:
        _inside = False
        libc.mallopt(_TRIM_THRESHOLD, _USUAL)
        libc.mallopt(_MMAP_THRESHOLD, _USUAL)
        libc.malloc_trim(0)
