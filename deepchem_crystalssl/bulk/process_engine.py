"""Units in a pool of processes on this machine."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from .parts import Line
from .units import Unit, run_unit
from .workers import ATTEMPTS, ONE_THREAD, killed


def run_in_processes(units: Sequence[Unit], workers: int, address: Any = None) -> Iterator[Line]:
    """In a pool of processes on this machine; when one of them is killed, a new pool goes on.

    Raises
    ------
    StoreError
        If a unit was being done each time that one of three processes was killed.
    """
    waiting, attempts = deque(units), Counter[int]()
    while waiting:
        pool, running = _pool(min(workers, len(waiting))), dict[Future, Unit]()
        is_whole = False
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    suspects = [unit for unit in (*running.values(), waiting[0]) if attempts[unit.part.number]]
                    if running and suspects:  # one that was there when a worker was killed runs alone, to clear others
                        break
                    unit = waiting.popleft()
                    running[pool.submit(run_unit, unit)] = unit
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    line = future.result()
                    del running[future]
                    yield line
            is_whole = True
        except BrokenProcessPool as error:
            attempts.update(unit.part.number for unit in running.values())
            given_up = [unit for unit in running.values() if attempts[unit.part.number] >= ATTEMPTS]
            if given_up:
                raise killed(given_up[0]) from error
            waiting.extendleft(reversed(running.values()))  # a unit that was finished is not done again
        finally:
            pool.shutdown(wait=True, kill_workers=not is_whole)


def _pool(workers: int) -> Any:
    from loky import ProcessPoolExecutor  # unlike the standard library's pool it needs no guard in a user's script

    return ProcessPoolExecutor(max_workers=workers, env=ONE_THREAD)
