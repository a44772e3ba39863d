"""The engines that run units: each only calls :func:`~deepchem_crystalssl.bulk.units.run_unit` on some processes.

An engine is a function of the units, the number of workers and an address, and yields the lines of the units as they
are finished. What a killed worker was doing is done again by another one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal

from ..errors import StoreError, check_choice
from .parts import Line
from .units import Unit, run_unit

EngineName = Literal["processes", "dask", "ray", "serial"]
Run = Callable[[Sequence[Unit], int, Any], Iterator[Line]]
ATTEMPTS = 3
"""So many workers may die with a unit before it is given up."""
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
"""Environment of a worker: as many workers as processors leave one thread to each."""


def engine(name: EngineName) -> Run:
    """The engine of a name.

    Raises
    ------
    OptionError
        If there is none.
    """
    check_choice("engine", name, ("processes", "dask", "ray", "serial"))
    if name == "dask":
        from .dask_engine import run_on_dask

        return run_on_dask
    if name == "ray":
        from .ray_engine import run_on_ray

        return run_on_ray
    return run_in_processes if name == "processes" else run_here


def run_here(units: Sequence[Unit], workers: int, address: Any = None) -> Iterator[Line]:
    """One unit after the other in this process."""
    return map(run_unit, units)


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


def killed(unit: Unit) -> StoreError:
    """The error of a unit whose worker dies again and again."""
    files = ", ".join(str(file.path) for file in unit.part.files[:3])
    return StoreError(
        f"part {unit.part.number}",
        f"{ATTEMPTS} workers were killed while they worked on it ({files})",
        "a worker needs about 1.5 GB of memory",
        "Check the memory limits, or the files of that part; what is done stays done.",
    )
