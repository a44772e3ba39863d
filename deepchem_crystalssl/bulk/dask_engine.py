"""Units on a cluster of Dask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ..errors import OptionError
from .parts import Line
from .units import Unit, run_unit
from .workers import ATTEMPTS, ONE_THREAD, killed

_AT_ONCE = 20  # units in the hands of the scheduler, for each worker: few enough for its memory, enough to keep it busy


def run_on_dask(units: Sequence[Unit], workers: int, address: Any = None) -> Iterator[Line]:
    """On the cluster at an address, or of a ``distributed.Client``; without one, on a local cluster of processes.

    Raises
    ------
    OptionError
        If Dask is not installed, or does not answer.
    StoreError
        If workers that did the same unit were killed again and again.
    """
    try:
        import dask
        from distributed import Client, KilledWorker, LocalCluster, as_completed
    except ImportError as error:
        raise OptionError("engine", "dask", f"Dask is not installed ({error})",
                          "Run pip install 'deepchem_crystalssl[dask]'.") from error  # fmt: skip
    given = isinstance(address, Client)
    cluster = None
    with dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS}):
        if address is None:
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, env=ONE_THREAD)
        try:
            client = address if given else Client(address or cluster)
        except (OSError, ValueError) as error:  # a time that has run out is an OSError, too
            rule = f"no scheduler of Dask answers there ({error})"
            remedy = "Start one by dask scheduler, and give the address that it prints."
            raise OptionError("address", address, rule, remedy) from error
        try:
            waiting, running = iter(units), dict[Any, Unit]()

            def submit(unit: Unit) -> Any:
                future = client.submit(run_unit, unit, pure=False)
                running[future.key] = unit
                return future

            limit = _AT_ONCE * max(workers, len(client.scheduler_info(n_workers=-1)["workers"]))
            found = as_completed([submit(unit) for unit in islice(waiting, limit)])
            for future in found:
                unit = running.pop(future.key)
                try:
                    yield future.result()
                except KilledWorker as error:
                    raise killed(unit) from error
                if (following := next(waiting, None)) is not None:
                    found.add(submit(following))
        finally:
            if not given:
                client.close()
            if cluster is not None:
                cluster.close()
