"""The engines that run units: each only calls :func:`~deepchem_crystalssl.bulk.units.run_unit` on some processes.

An engine is a function of the units, the number of workers and an address, and yields the lines of the units as they
are finished. What a killed worker was doing is done again by another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Literal

from ..errors import check_choice
from .parts import Line
from .units import Unit, run_unit

EngineName = Literal["processes", "dask", "ray", "serial"]
Run = Callable[[Sequence[Unit], int, Any], Iterator[Line]]
_PLACES = {
    "processes": ("process_engine", "run_in_processes"),
    "dask": ("dask_engine", "run_on_dask"),
    "ray": ("ray_engine", "run_on_ray"),
}


def engine(name: EngineName) -> Run:
    """The engine of a name; its library is loaded only now.

    Raises
    ------
    OptionError
        If there is none.
    """
    check_choice("engine", name, (*_PLACES, "serial"))
    if name == "serial":
        return run_here
    module, function = _PLACES[name]
    return getattr(import_module(f".{module}", __package__), function)


def run_here(units: Sequence[Unit], workers: int, address: Any = None) -> Iterator[Line]:
    """One unit after the other in this process."""
    return map(run_unit, units)
