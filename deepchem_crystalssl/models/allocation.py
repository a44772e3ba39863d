"""Memory that a training step frees stays with the process, for its next step."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # as in malloc.h
_LARGEST_BLOCK, _MOST_KEPT = 1 << 30, (1 << 31) - 1
_SET_BY_THE_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """A context in which the allocator of glibc keeps freed blocks of any size; at its end they are returned.

    By default it returns a large block to the system at once. A training step on a CPU allocates the same large blocks
    again and again, and a third of its time would go into pages that the system fills with zeros each time. Where the
    C library is another one, or environment variables set its thresholds, nothing is changed.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else None
    adjustable = hasattr(library, "mallopt") and hasattr(library, "malloc_trim")
    if library is None or not adjustable or any(name in os.environ for name in _SET_BY_THE_USER):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
    library.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
    try:
        yield
    finally:
        library.malloc_trim(0)
