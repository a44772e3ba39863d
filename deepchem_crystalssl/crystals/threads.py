"""Compiled kernels over many chunks, on all processors, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def map_in_threads(
    function: Callable, chunks: Iterable[Any], n_threads: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """Map over chunks in threads, in order, only a few chunks ahead.

    Threads, not a parallel kernel: the compiled loops release the interpreter, and a thread pool survives the
    ``fork`` that host libraries do, which OpenMP does not.
    """
    workers = n_threads or os.cpu_count() or 1
    if workers == 1:
        yield from ((chunk, function(chunk)) for chunk in chunks)
        return
    with ThreadPoolExecutor(workers) as pool:
        pending: list = []
        for chunk in chunks:
            pending.append((chunk, pool.submit(function, chunk)))
            if len(pending) > workers:
                done, future = pending.pop(0)
                yield done, future.result()
        for done, future in pending:
            yield done, future.result()
