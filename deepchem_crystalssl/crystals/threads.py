"""Calling a compiled function on many chunks of data in parallel threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..processors import thread_count


def map_in_threads(
    function: Callable, chunks: Iterable[Any], n_threads: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """Call a function on every chunk in parallel threads, and yield each chunk with its result, in order.

    Only a few chunks are read ahead, so that memory stays flat. Threads suffice because compiled code releases the
    interpreter's lock; unlike the threads of OpenMP they survive the ``fork`` that DeepChem and matminer do.

    Parameters
    ----------
    function : callable
        Takes one chunk.
    chunks : iterable
    n_threads : int, optional
        By default, and with -1 as in scikit-learn, that of :func:`~deepchem_crystalssl.processors.thread_count`.

    Yields
    ------
    (chunk, result)
    """
    workers = thread_count(n_threads)
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
