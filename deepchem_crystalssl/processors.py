"""How many threads the package uses, and how they wait for each other.

Only the standard library is needed here, because this must happen before PyTorch is loaded: OpenMP reads its
environment once, when it is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from math import ceil

OF_COMPILED_LOOPS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that state the number of threads of compiled loops; the first that is set counts."""
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Environment variables that together state the number of threads of every library."""
CONTROL_GROUPS = "/sys/fs/cgroup"
"""Folder of the control groups of Linux."""
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""Environment variables that say how threads wait for each other, and what they are set to."""
_ALSO_WAITING = "KMP_BLOCKTIME"  # of another OpenMP
_stated: list[int] = []


def processors() -> int:
    """Number of processors that this process may use, as its affinity and the quota of its control group say.

    Examples
    --------
    >>> 1 <= processors() <= os.cpu_count()
    True
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *map(ceil, _quotas())]))


def thread_count(n_threads: int | None = None) -> int:
    """Number of threads of a compiled loop.

    Parameters
    ----------
    n_threads : int, optional
        The number itself. With None, 0 or -1 it is that of :func:`set_num_threads`, else that of the environment
        variable ``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS``, else the number of :func:`processors`.

    Raises
    ------
    OptionError
        If it is no number of threads.

    Examples
    --------
    >>> thread_count(3)
    3
    """
    if n_threads not in (None, 0, -1):
        return _checked("n_threads", n_threads)
    named = (_number(os.environ.get(name, "")) for name in OF_COMPILED_LOOPS)
    return next(iter([*_stated, *filter(None, named)]), None) or processors()


def set_num_threads(n_threads: int) -> None:
    """State the number of threads of this process: of compiled loops, PyTorch and linear algebra.

    Processes that this one starts inherit it. The argument ``n_threads`` of a function counts more, for the compiled
    loops of that call.

    Parameters
    ----------
    n_threads : int

    Raises
    ------
    OptionError
        If it is less than 1.

    Examples
    --------
    >>> import torch
    >>> before = torch.get_num_threads()
    >>> set_num_threads(1)
    >>> thread_count(), torch.get_num_threads()
    (1, 1)
    >>> set_num_threads(before)
    """
    number = _checked("n_threads", n_threads)
    names = [name for name in VARIABLES if "numba" not in sys.modules or not name.startswith("NUMBA")]
    os.environ.update(dict.fromkeys(names, str(number)))  # numba does not allow a change once its threads run
    _stated[:] = [number]
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(number)
    if "numpy" in sys.modules:  # its linear algebra has read the environment already
        from threadpoolctl import threadpool_limits

        threadpool_limits(number)


def let_threads_yield() -> None:
    """Set the environment variables by which threads do not take processors from each other, where none is set.

    A thread of OpenMP that waits for the others computes in a loop, for milliseconds. If another program needs the
    processor, the thread that is waited for does not run meanwhile. ``GOMP_SPINCOUNT=1000`` lets it sleep after some
    50 µs, which is as long as waking it takes. Other libraries than GNU's OpenMP do not know this variable; there
    ``OMP_WAIT_POLICY=PASSIVE`` lets it sleep at once. In a container whose share of processors is smaller than their
    number, ``OMP_NUM_THREADS`` is that share.
    """
    if not any(name in os.environ for name in (*WAITING, _ALSO_WAITING)):
        os.environ.update(WAITING)
    quotas = [*map(ceil, _quotas())]
    if quotas and "OMP_NUM_THREADS" not in os.environ and min(quotas) < (os.cpu_count() or 1):
        os.environ["OMP_NUM_THREADS"] = str(processors())


def _checked(name: str, value: object) -> int:
    if not isinstance(value, bool) and hasattr(value, "__index__") and value.__index__() >= 1:
        return value.__index__()
    from .errors import OptionError

    raise OptionError(name, repr(value), "a number of threads is an integer of at least 1",
                      "Pass 1 or more, or leave it out for one thread per processor.")  # fmt: skip


def _number(text: str) -> int | None:
    """The number of threads in a variable, None without one; OpenMP allows a list, of which the first counts."""
    first = text.partition(",")[0].strip()
    return int(first) if first.isdecimal() and len(first) < 6 and int(first) else None


def _quotas() -> Iterator[float]:
    """Processors that the control groups of this process allow (Linux), in versions 1 and 2."""
    for folder in _control_groups():
        try:
            if os.path.exists(f"{folder}/cpu.max"):
                quota, period = _read(f"{folder}/cpu.max").split()
            else:
                quota, period = (_read(f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
            if quota != "max" and int(quota) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):  # not limited here
            continue


def _control_groups() -> Iterator[str]:
    """Folders of the control groups of this process and of those around it."""
    try:
        lines = _read("/proc/self/cgroup").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            root = CONTROL_GROUPS + ("/cpu" if controllers else "")
            parts = [part for part in place.split("/") if part not in ("", "..")]
            yield from ("/".join([root, *parts[:depth]]) for depth in range(len(parts), -1, -1))


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
