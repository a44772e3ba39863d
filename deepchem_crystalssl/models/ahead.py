"""Preparing the next training step in a thread while the model computes the one before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def computed_ahead(calls: Iterator[Callable[[], Result]]) -> Generator[Result, None, None]:
    """The results of some calls, in order; while one is used, the next is computed in a thread.

    The iterator itself is advanced in the thread that asks for results. An error of a call is raised where its result
    is asked for. The thread ends with the iteration, also if that is broken off.

    Parameters
    ----------
    calls : iterator of callable
        Functions without arguments; they must not depend on what is done with earlier results.

    Examples
    --------
    >>> list(computed_ahead(iter([lambda: 1, lambda: 2])))
    [1, 2]
    """
    with ThreadPoolExecutor(1, thread_name_prefix="next-batch") as pool:
        pending: Future[Result] | None = None
        try:
            for call in calls:
                following = pool.submit(call)
                if pending is not None:
                    yield pending.result()
                pending = following
            if pending is not None:
                yield pending.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
