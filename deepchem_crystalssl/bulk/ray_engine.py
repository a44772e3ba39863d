"""Units on a cluster of Ray, as a data set whose rows are mapped by actors that open the model once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import CrystalInputError, OptionError
from .parts import Line
from .units import Unit, run_unit
from .workers import ATTEMPTS, killed

_UNITS_OF_A_BLOCK = 8


class UnitActor:
    """A worker of Ray, which lives as long as the work and keeps the model open.

    Parameters
    ----------
    units : sequence of Unit
    """

    def __init__(self, units: Sequence[Unit]):
        self.units = units

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the units of the numbers in a batch."""
        return {"line": [json.dumps(run_unit(self.units[int(k)])) for k in batch["unit"]]}


def run_on_ray(units: Sequence[Unit], workers: int, address: Any = None) -> Iterator[Line]:
    """On the cluster at an address; without one, on that which is initialised already, or on this machine.

    Raises
    ------
    OptionError
        If Ray is not installed, or does not answer.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError("engine", "ray", f"Ray is not installed ({error})",
                          "Run pip install 'deepchem_crystalssl[ray]'.") from error  # fmt: skip
    own = not ray.is_initialized()
    if own:
        local: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
        except ConnectionError as error:
            raise OptionError("address", address, f"no cluster of Ray answers there ({error})",
                              "Start one by ray start --head, and give its address.") from error  # fmt: skip
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        blocks = max(1, min(len(units), max(2 * workers, len(units) // _UNITS_OF_A_BLOCK)))
        numbers = ray.data.from_items([{"unit": k} for k in range(len(units))], override_num_blocks=blocks)
        done = numbers.map_batches(
            UnitActor,
            fn_constructor_args=(list(units),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(units))),
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=ATTEMPTS,
        )
        for row in done.iter_rows():
            yield json.loads(row["line"])
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        raise cause if isinstance(cause, CrystalInputError) else error
    except ray.exceptions.RayActorError as error:
        raise killed(next(unit for unit in units if unit.finished() is None)) from error
    finally:
        if own:
            ray.shutdown()
