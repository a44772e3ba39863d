"""A few numbers of model physics for tables of crystals, under names that say that they are model values."""

from __future__ import annotations

import logging
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..crystals.disorder import Disorder
from ..crystals.records import Crystal
from ..errors import OnError, Report
from .columns import column_names, iterate_physics
from .elasticity import debye_temperature, sound_velocities
from .parameters import SiteParameters
from .spring_columns import SOFTEST

if TYPE_CHECKING:
    import pandas as pd

VALUE_COLUMNS = (
    "model_gap_eV",
    "model_highest_frequency_per_cm",
    "model_bulk_modulus_GPa",
    "model_shear_modulus_GPa",
    "model_debye_temperature_K",
)
"""Columns of :func:`model_values`."""

logger = logging.getLogger(__name__)

_GAP, _HIGHEST = map(column_names().index, ("band gap (eV)", "highest frequency (1/cm)"))
_MODULI = np.array(
    [
        [column_names().index(f"log10 {kind} modulus {average} relaxed (log10 GPa)") for average in ("Voigt", "Reuss")]
        for kind in ("bulk", "shear")
    ]
)
"""(2, 2): bulk and shear modulus, each after Voigt and Reuss."""


def model_values(
    structures: Any,
    *,
    disorder: Disorder = "refuse",
    on_error: OnError = "skip",
    report: Report | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Compute gap, highest frequency, moduli and Debye temperature of crystals from springs and tight binding.

    The moduli are the means of the averages after Voigt and Reuss (Hill 1952) with relaxed positions, and the Debye
    temperature follows from them (Anderson 1963). A modulus of no more than .3 GPa counts as 0, and without a shear
    modulus the Debye temperature is 0.

    Parameters
    ----------
    structures
        Anything :func:`~deepchem_crystalssl.read_structures` reads.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy.
    on_error : {"raise", "warn", "skip"}
        A crystal without numbers stops everything, or has NaN in its row, with a warning of its own or without. With
        the last two the log names the number of these crystals.
    report : Report, optional
        Filled with the typed error of every crystal without numbers.
    n_threads, progress
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.

    Returns
    -------
    pandas.DataFrame
        float64 (n, 5): ``model_gap_eV``, ``model_highest_frequency_per_cm``, ``model_bulk_modulus_GPa``,
        ``model_shear_modulus_GPa`` and ``model_debye_temperature_K``, in the order of the source; the index is the
        position of a crystal there. The numbers are those of a model and no substitute for a measurement.

    Raises
    ------
    CrystalInputError
        A typed error of the first crystal without numbers, if ``on_error`` is "raise".

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])
    >>> model_values(diamond).round(1).to_dict("records")[0]["model_gap_eV"]
    4.0
    """
    import pandas as pd

    without = Report()
    found = iterate_physics(
        structures, disorder=disorder, on_error=on_error, report=without, n_threads=n_threads, progress=progress
    )
    rows = [(position, _values(crystal, numbers)) for position, crystal, numbers, _ in found]
    rows += [(error.index or 0, np.full(len(VALUE_COLUMNS), np.nan)) for error in without]
    rows.sort(key=itemgetter(0))
    if without:
        logger.warning("no model values: %s", without.summary())
    if report is not None:
        for error in without:
            report.handle(error, "skip", error.index)
    values = np.array([row for _, row in rows]).reshape(-1, len(VALUE_COLUMNS))
    return pd.DataFrame(values, index=[position for position, _ in rows], columns=list(VALUE_COLUMNS))


def _values(crystal: Crystal, numbers: np.ndarray) -> np.ndarray:
    """(5,), in the order of ``VALUE_COLUMNS``, from the numbers of :func:`iterate_physics`."""
    logarithms = numbers[_MODULI]
    solid = logarithms > np.log10(SOFTEST) + 1e-9
    bulk, shear = np.where(solid, 10**logarithms, 0.0).mean(1)
    mass = SiteParameters.of(crystal).mass.sum()
    velocities = sound_velocities(bulk, shear, mass / crystal.volume)
    debye = debye_temperature(velocities, crystal.num_nodes / crystal.volume)
    return np.array([numbers[_GAP], numbers[_HIGHEST], bulk, shear, debye])
