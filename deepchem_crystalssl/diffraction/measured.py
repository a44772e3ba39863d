"""Measured powder patterns, prepared for comparison with simulated ones."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pybaselines import Baseline

from ..errors import AngleError, CountsError, PatternError, PatternRangeError
from .grid import PowderPatterns, XRDGrid
from .limits import PatternLimits
from .pattern_files import read_pattern
from .patterns import MOST_COUNTS
from .radiation import Radiation

Background = Literal["snip", "none"]
_BACKGROUND_WINDOW = 1.5  # degrees; wider than a peak, narrower than the curvature of a background

_MOST_STEPS = 2e8  # points times the window of a background that is found without merging points
_FINEST_STEP = 0.001  # degrees


def prepare_measured_pattern(
    two_theta: Any,
    intensity: Any = None,
    grid: XRDGrid = XRDGrid(),
    *,
    wavelength: str | float | None = None,
    background: Background = "snip",
    normalize: bool = True,
    limits: PatternLimits = PatternLimits(),
) -> PowderPatterns:
    """Bring a measured pattern onto the grid on which patterns are simulated.

    The background is subtracted (SNIP, Ryan et al. 1988, by pybaselines), the angles are converted to the
    wavelength of the grid by Bragg's law, and the counts are averaged over each bin. Bins outside the measured
    range are 0.

    Parameters
    ----------
    two_theta : array-like (n,) or path
        Angles 2 theta, degrees, increasing; or a file in one of the formats that
        :func:`~deepchem_crystalssl.read_pattern` reads.
    intensity : array-like (n,), optional
        Counts. Leave them out for a file.
    grid : XRDGrid
        Grid of the result.
    wavelength : str or float, optional
        Radiation of the measurement, by name or in Å. By default that which the file states, else Cu K-alpha; a
        warning says so if the grid has another wavelength, because then the angles depend on the assumption.
    background : {"snip", "none"}
        How the background is removed.
    normalize : bool
        Whether the pattern is divided by its maximum.
    limits : PatternLimits
        What a file may cost, as in :func:`~deepchem_crystalssl.read_pattern`.

    Returns
    -------
    PowderPatterns
        float64 (n_bins,), a NumPy array that knows its grid.

    Raises
    ------
    AngleError, CountsError, PatternRangeError, PatternError
        If the angles are NaN, unsorted or duplicate, if the counts are NaN, negative or all zero, if the measured
        range does not overlap the grid, or if the columns cannot be read.
    GridError
        If the radiation is unknown.

    Examples
    --------
    >>> angles = np.arange(20, 60, 0.05)
    >>> counts = 50 + 1000 * np.exp(-((angles - 38.2) / 0.1) ** 2)
    >>> grid = XRDGrid(wavelength="CuKa1")
    >>> pattern = prepare_measured_pattern(angles, counts, grid, wavelength="CoKa1")
    >>> pattern.shape, round(float(grid.two_theta[pattern.argmax()]), 1)
    ((5000,), 32.7)
    """
    grid.check()
    scan = Scan.of(two_theta, intensity, wavelength, limits)
    if scan.radiation.source == "assumed" and XRDGrid().difference(XRDGrid(wavelength=grid.wavelength)):
        warnings.warn(
            f"{scan.item}: the wavelength is {scan.radiation}, while that of the grid is "
            f"{grid.wavelength_angstrom:g} Å. Give the wavelength of the measurement with wavelength=",
            stacklevel=2,
        )
    return place_on_grid(scan, grid, scan.radiation.wavelength, background, normalize)


@dataclass(frozen=True)
class Scan:
    """A measured pattern as it was recorded, checked.

    Attributes
    ----------
    angles : numpy.ndarray
        2 theta in degrees, (n,), increasing.
    counts : numpy.ndarray
        (n,), not negative.
    radiation : Radiation
    item : str
        The file, or "pattern"; errors name it.
    """

    angles: np.ndarray
    counts: np.ndarray
    radiation: Radiation
    item: str

    @classmethod
    def of(
        cls,
        two_theta: Any,
        intensity: Any = None,
        wavelength: str | float | None = None,
        limits: PatternLimits = PatternLimits(),
    ) -> Scan:
        """From a file or from angles and counts; see :func:`prepare_measured_pattern`.

        Raises
        ------
        PatternError, AngleError, CountsError, GridError, UnsupportedFileError, EmptyFileError
        """
        item, in_file = "pattern", None
        if isinstance(two_theta, str | Path):
            pattern = read_pattern(two_theta, wavelength, limits=limits)
            item, in_file = pattern.item, pattern.stated_wavelength
            two_theta, intensity = pattern.two_theta, pattern.counts
        return cls(
            *check_pattern(two_theta, intensity, item), Radiation.of_measurement(wavelength, in_file, item), item
        )


def place_on_grid(
    scan: Scan, grid: XRDGrid, wavelength: float, background: Background = "snip", normalize: bool = True
) -> PowderPatterns:
    """The pattern of a scan on a grid, as if it had been taken at a wavelength (Å).

    Takes the other arguments of :func:`prepare_measured_pattern`.
    """
    angles, counts = scan.angles, scan.counts
    if background not in ("snip", "none"):
        raise ValueError(f"background: {background!r}; must be 'snip' or 'none'")
    if background == "snip":
        window = int(min(round(_BACKGROUND_WINDOW / np.median(np.diff(angles))), len(angles)))
        if window * len(angles) > _MOST_STEPS:
            angles, counts = _merge_points(angles, counts)
            window = int(min(round(_BACKGROUND_WINDOW / _FINEST_STEP), len(angles)))
        window = max(2, min(window, (len(angles) - 1) // 2))
        baseline, _ = Baseline(angles).snip(counts, max_half_window=window, decreasing=True, smooth_half_window=1)
        counts = np.clip(counts - baseline, 0.0, None)
    angles, counts = _convert_wavelength(angles, counts, wavelength, grid.wavelength_angstrom)
    if len(angles) < 2 or angles[-1] <= grid.two_theta_min or angles[0] >= grid.two_theta_max:
        span = f"{angles[0]:g}-{angles[-1]:g}°" if len(angles) else "no angle"
        raise PatternRangeError(
            scan.item,
            f"{span} at the wavelength of the grid, which covers {grid.two_theta_min:g}-{grid.two_theta_max:g}°",
        )
    pattern = _average_into_bins(angles, counts, grid.edges)
    top = pattern.max()
    if top <= 0.0:
        raise CountsError(scan.item, "there are no counts above background within the grid")
    return PowderPatterns(pattern / top if normalize else pattern, grid)


def check_pattern(two_theta: Any, intensity: Any, item: str = "pattern") -> tuple[np.ndarray, np.ndarray]:
    """Angles and counts as float arrays (n,), checked.

    Raises
    ------
    PatternError, AngleError, CountsError
    """
    try:
        given = np.asarray(two_theta), np.asarray(intensity)
        if any(array.dtype.kind in "cSUbmM" for array in given):  # NumPy would drop imaginary parts and parse texts
            raise TypeError(f"arrays of {given[0].dtype} and {given[1].dtype}")
        angles, counts = (array.astype(float, copy=False) for array in given)
    except (TypeError, ValueError, OverflowError) as error:
        raise PatternError(item, f"not numbers ({str(error)[:100]})") from error
    if angles.ndim != 1 or angles.shape != counts.shape or len(angles) < 3:
        raise PatternError(item, f"{angles.shape} angles and {counts.shape} counts", remedy="Give at least 3 points.")
    if not np.isfinite(angles).all():
        raise AngleError(item, f"angle {angles[~np.isfinite(angles)][0]} at point {np.isfinite(angles).argmin()}")
    steps = np.diff(angles)
    if (steps <= 0).any():
        point = int(np.argmax(steps <= 0)) + 1
        kind = "duplicate" if steps[point - 1] == 0 else "unsorted"
        raise AngleError(item, f"{kind} angle {angles[point]:g} at point {point}")
    if angles[0] < 0 or angles[-1] > 180:
        raise AngleError(item, f"angles {angles[0]:g}-{angles[-1]:g}°", "two-theta lies between 0 and 180 degrees")
    if not np.isfinite(counts).all():
        raise CountsError(item, f"count {counts[~np.isfinite(counts)][0]} at point {np.isfinite(counts).argmin()}")
    if counts.min() < 0:
        raise CountsError(item, f"count {counts.min():g} at point {counts.argmin()}")
    if counts.max() == 0:
        raise CountsError(item, "all counts are 0")
    if counts.max() > MOST_COUNTS:
        raise CountsError(item, f"count {counts.max():g} at point {counts.argmax()}", "counts must be below 1e30")
    return angles, counts


def _merge_points(angles: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of all points within the same thousandth of a degree."""
    first = np.unique(np.floor(angles / _FINEST_STEP), return_index=True)[1]
    number = np.diff(np.append(first, len(angles)))
    return np.add.reduceat(angles, first) / number, np.add.reduceat(counts, first) / number


def _convert_wavelength(
    angles: np.ndarray, counts: np.ndarray, source: float, target: float
) -> tuple[np.ndarray, np.ndarray]:
    """Angles of the same lattice spacings at another wavelength; those that cannot be reached are left out."""
    sines = np.sin(np.radians(angles) / 2) * (target / source)
    reachable = sines < 1.0
    return 2 * np.degrees(np.arcsin(sines[reachable])), counts[reachable]


def _average_into_bins(angles: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of the linearly interpolated counts over each bin, whether the steps are smaller or larger than the bins."""
    inside = np.clip(edges, angles[0], angles[-1])
    points = np.unique(np.concatenate([angles, inside]))
    values = np.interp(points, angles, counts)
    area = np.concatenate([[0.0], np.cumsum(np.diff(points) * (values[1:] + values[:-1]) / 2)])
    return np.diff(area[np.searchsorted(points, inside)]) / np.diff(edges)
