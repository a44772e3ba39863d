r"""Reflections of the phases in a measured pattern: indices, spacings, structure factors and intensities.

Where reflections overlap, the measured counts are divided among them in proportion to their calculated profiles
(Rietveld, J. Appl. Cryst. 2, 65, 1969): with the profile :math:`\phi_{ki}` of reflection k, of area 1, its calculated
area :math:`A_k` and the calculated pattern :math:`y_{c,i} = \sum_k A_k \phi_{ki}` of all phases above the background
:math:`b_i`, the measured area is

.. math:: A_k^{obs} = A_k \sum_i \phi_{ki} \frac{y_i - b_i}{y_{c,i}} \Big/ \sum_i \phi_{ki} .
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..crystals.symmetry import StandardSetting
from ..diffraction.fitting import Fit
from ..diffraction.measurement import Measurement
from ..diffraction.grid import XRDGrid
from ..diffraction.peaks import LORENTZIAN_REACH, draw_peak, lorentz_polarization
from ..diffraction.structure_factors import reflections

_FAINTEST = 1e-5  # of the strongest reflection of the phase
_GAUSSIAN_REACH = 3.0  # full widths to which the profile of a reflection is drawn
_PARTITION_REACH = 4.0  # full widths within which measured counts are divided
COLUMNS = "h k l multiplicity d two_theta f_squared intensity_calculated intensity_observed".split()


@dataclass(frozen=True)
class _Families:
    """Sets of equivalent reflections: indices (R, 3), multiplicities, 1/d^2 and mean squared structure factors (R,)."""

    hkl: np.ndarray
    multiplicity: np.ndarray
    g2: np.ndarray
    f_squared: np.ndarray


def list_reflections(
    measurement: Measurement, net: np.ndarray, calculated: np.ndarray, setting: StandardSetting, fit: Fit
) -> pd.DataFrame:
    """The reflections of one phase within the measured range.

    Parameters
    ----------
    measurement : Measurement
    net : numpy.ndarray
        Measured counts above background, (n,).
    calculated : numpy.ndarray
        The fitted patterns of all phases together, (n,).
    setting : StandardSetting
        The refined crystal in its standard cell.
    fit : Fit
        How it was fitted.

    Returns
    -------
    pandas.DataFrame
        One row for each set of equivalent reflections, by increasing angle: h, k, l, multiplicity, d (Å), two_theta
        (degrees, with the zero shift), f_squared (electrons squared, of the standard cell), and the calculated and
        measured areas (counts times degrees).
    """
    grid, families = measurement.grid, _families(measurement.grid, setting, fit.zero_shift)
    lines = [(1.0, 1.0)] if measurement.second_line == 1.0 else [(1.0, 2 / 3), (measurement.second_line, 1 / 3)]
    places, areas = [], []
    for ratio, share in lines:
        sin2 = np.minimum(0.25 * (ratio * grid.wavelength_angstrom) ** 2 * families.g2, 1.0 - 1e-9)
        places.append(2 * np.degrees(np.arcsin(np.sqrt(sin2))) + fit.zero_shift)
        factors = np.array([lorentz_polarization(one) for one in sin2])
        areas.append(share * families.multiplicity * families.f_squared * factors)
    profiles = [_profile(grid, fit, [p[k] for p in places], [a[k] for a in areas]) for k in range(len(families.g2))]
    whole = np.zeros(len(calculated))
    for start, profile in profiles:
        whole[start : start + len(profile)] += profile
    scale = float(whole @ fit.calculated / max(whole @ whole, 1e-300))
    ratio_of_counts = np.divide(net, calculated, out=np.zeros(len(net)), where=calculated > 1e-9 * calculated.max())
    rows = []
    for k, (start, profile) in enumerate(profiles):
        near = _near(grid, fit, start, len(profile), [p[k] for p in places])
        weight = profile * near
        ratios = ratio_of_counts[start : start + len(profile)]
        area = scale * sum(a[k] for a in areas)
        observed = area * float(weight @ ratios / max(weight.sum(), 1e-300))
        rows.append(
            (*families.hkl[k].tolist(), int(families.multiplicity[k]), families.g2[k] ** -0.5, places[0][k],
             families.f_squared[k], area, observed)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("two_theta", kind="stable", ignore_index=True)


def _families(grid: XRDGrid, setting: StandardSetting, zero_shift: float) -> _Families:
    """Equivalent reflections of a crystal whose places, after the zero shift, are within a grid."""
    low, high = max(grid.two_theta_min - zero_shift, 0.1), min(grid.two_theta_max - zero_shift, 179.9)
    seen = XRDGrid(low, high, 1, grid.wavelength_angstrom)
    g2, f_squared, hkl = reflections(setting.crystal, seen)
    strong = f_squared / g2 > _FAINTEST * np.max(f_squared / g2, initial=0.0)
    g2, f_squared, hkl = g2[strong], f_squared[strong], hkl[strong].astype(np.int64)
    keys, base = np.full(len(hkl), -1, np.int64), 2 * int(np.abs(hkl).max(initial=0)) * 3 + 3
    for rotation in np.unique(setting.rotations, axis=0):
        for turned in (hkl @ rotation, -hkl @ rotation):  # Friedel's law
            negative = (turned < 0).sum(axis=1)
            numbers = (turned + base // 2) @ np.array([base**2, base, 1])
            keys = np.maximum(keys, (3 - negative) * base**3 + numbers)
    kinds, family, members = np.unique(keys, return_inverse=True, return_counts=True)
    numbers = kinds % base**3
    named = np.stack([numbers // base**2, numbers // base % base, numbers % base], axis=1) - base // 2
    mean = [np.bincount(family, values, len(kinds)) / members for values in (g2, f_squared)]
    return _Families(named, 2 * members, *mean)


def _profile(grid: XRDGrid, fit: Fit, places: list[float], areas: list[float]) -> tuple[int, np.ndarray]:
    """First bin and profile of a reflection with its lines of the radiation, in counts on an arbitrary scale."""
    reach = LORENTZIAN_REACH * fit.fwhm
    start = max(0, int((min(places) - reach - grid.two_theta_min) / grid.step))
    end = min(grid.n_bins, int((max(places) + reach - grid.two_theta_min) / grid.step) + 1)
    profile = np.zeros(max(end - start, 0))
    for place, area in zip(places, areas, strict=True):
        at = (place - grid.two_theta_min) / grid.step - 0.5 - start
        draw_peak(profile, at, area, fit.fwhm / grid.step, fit.mixing, grid.step, _GAUSSIAN_REACH)
    return start, profile


def _near(grid: XRDGrid, fit: Fit, start: int, length: int, places: list[float]) -> np.ndarray:
    """Which bins of a profile are near the lines of its reflection, bool (length,)."""
    angles = grid.two_theta[start : start + length]
    return np.min([np.abs(angles - place) for place in places], axis=0) < _PARTITION_REACH * fit.fwhm
