r"""How well phases describe a measured pattern: the R factors of Rietveld refinement.

With the measured intensities :math:`y_i`, the calculated ones :math:`y_{c,i}` and the background :math:`b_i` at the N
measured points, and weights :math:`w_i = 1 / y_i` (Toby, Powder Diffr. 21, 67, 2006),

.. math::
    R_{wp}^2 = \frac{\sum_i w_i (y_i - y_{c,i})^2}{\sum_i w_i y_i^2}, \qquad
    R_{exp}^2 = \frac{N - P}{\sum_i w_i y_i^2}, \qquad
    \text{goodness of fit} = \frac{R_{wp}}{R_{exp}} = \sqrt{\chi^2} .

Measured and calculated intensities both include the background here. P is the number of parameters. The background of
the search passes below the noise, so that it is too low on average; a polynomial of six terms is fitted to what the
phases leave between the lines, and added to it, as refinement programs refine their background too.

:math:`R_{exp}` supposes that the variance of each intensity is the intensity itself. That is so for counts, but not for
counts that were divided by their maximum, smoothed or averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Chebyshev

from ..crystals.records import Crystal
from ..diffraction.fitting import Fit, allowed_strains
from ..diffraction.measurement import Measurement
from ..diffraction.measured import Scan

_BACKGROUND_TERMS = 6
_PROFILE_TERMS = 4  # of each phase: scale, zero shift, width and mixing
_SCATTER_OF_COUNTS = (0.6, 1.5)  # variance over mean
_LOWEST = 1e-3  # of the highest intensity; weights do not grow below it if intensities are no counts
_ROUNDS, _OUTSTANDING = 10, 5.0  # medians of the absolute differences; 3.4 standard deviations of normal noise
_MEDIAN_OF_SQUARES = 0.4549  # of normal numbers


@dataclass(frozen=True)
class Agreement:
    """R factors of all phases together, as fractions.

    Attributes
    ----------
    r_wp : float
        Weighted profile R factor, with the background in the measured and in the calculated intensities.
    r_wp_above_background : float
        The same with the background subtracted from the intensities in the denominator.
    r_exp : float or None
        What it would be if counting noise were the only difference; None if the intensities are no counts.
    goodness_of_fit : float or None
        ``r_wp / r_exp``, whose square is the reduced chi squared. 1 is a perfect fit.
    n_points, n_parameters : int
        Measured points that were compared, and parameters that were fitted to them.
    background : numpy.polynomial.Chebyshev
        What is added to the background of the search, as a function of the angle in degrees.
    """

    r_wp: float
    r_wp_above_background: float
    r_exp: float | None
    goodness_of_fit: float | None
    n_points: int
    n_parameters: int
    background: Chebyshev

    @classmethod
    def of(cls, scan: Scan, measurement: Measurement, fitted: Sequence[tuple[Crystal, Fit]]) -> Agreement:
        """Compare the sum of fitted patterns with the measured points within the range of the fit.

        Parameters
        ----------
        scan : Scan
            The intensities as they were recorded.
        measurement : Measurement
            What was fitted.
        fitted : sequence of (Crystal, Fit)
            The phases.
        """
        bins = measurement.grid.two_theta
        inside = (scan.angles >= bins[0]) & (scan.angles <= bins[-1])
        angles, measured = scan.angles[inside], scan.counts[inside]
        counted = are_counts(scan.counts)
        weight = 1.0 / np.maximum(measured, 1.0 if counted else _LOWEST * measured.max())
        phases = np.interp(angles, bins, np.sum([fit.calculated for _, fit in fitted], axis=0))
        background = np.interp(angles, bins, measurement.background)
        added = _smooth(angles, measured - background - phases, weight)
        background = background + added(angles)
        left = (weight * (measured - background - phases) ** 2).sum()
        whole = (weight * measured**2).sum()
        above = (weight * (measured - background) ** 2).sum()
        n = _BACKGROUND_TERMS + sum(len(allowed_strains(crystal)) + _PROFILE_TERMS for crystal, _ in fitted)
        r_wp = float(np.sqrt(left / whole))
        r_exp = float(np.sqrt((len(angles) - n) / whole)) if counted and len(angles) > n else None
        ratio = None if r_exp is None else r_wp / r_exp
        return cls(r_wp, float(np.sqrt(left / above)), r_exp, ratio, len(angles), n, added)


def are_counts(intensities: np.ndarray) -> bool:
    """Whether measured intensities (n,) can be counts, whose variance is their mean.

    They must be whole numbers and scatter as counts do. Counts that were divided by their maximum are no whole numbers,
    or scatter too little; those that were smoothed or averaged scatter too little, and those multiplied too much.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(100.0, 1000).astype(float)
    >>> are_counts(counts), are_counts(counts / counts.max()), are_counts(10 * counts)
    (True, False, False)
    >>> are_counts(np.round(np.convolve(counts, np.ones(5) / 5, "valid")))
    False
    """
    low, high = _SCATTER_OF_COUNTS
    return bool(np.array_equal(intensities, np.round(intensities)) and low <= variance_ratio(intensities) <= high)


def variance_ratio(intensities: np.ndarray) -> float:
    """Variance of the noise of measured intensities (n,), divided by their mean, where they are lowest; 1 for counts.

    Fourth differences do not see what is smooth over five points, such as the background. The median of their squares
    does not see the few points where a peak is not. If counts are divided by a number, so is this ratio.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(1000.0, 10_000).astype(float)
    >>> round(variance_ratio(counts)), round(10 * variance_ratio(counts / 10))
    (1, 1)
    """
    if len(intensities) < 9:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(intensities, 5)
    means, differences = windows.mean(axis=1), windows @ np.array([1.0, -4.0, 6.0, -4.0, 1.0])
    known = means > 0
    lowest = known & (means <= np.median(means[known])) if known.any() else known
    if not lowest.any():
        return 0.0
    return float(np.median(differences[lowest] ** 2 / (70.0 * means[lowest])) / _MEDIAN_OF_SQUARES)


def _smooth(angles: np.ndarray, values: np.ndarray, weight: np.ndarray) -> Chebyshev:
    """The polynomial that describes values best by weighted least squares, without those that stand out of the noise.

    What stands out are lines that the phases do not describe; they would draw the polynomial towards them.
    """
    kept = np.ones(len(angles), bool)
    degree, roots = min(_BACKGROUND_TERMS, len(angles)) - 1, np.sqrt(weight)
    domain = [float(angles[0]), float(angles[-1])]
    for _ in range(_ROUNDS):
        found = Chebyshev.fit(angles[kept], values[kept], degree, domain, w=roots[kept])
        left = roots * (values - found(angles))
        again = left <= _OUTSTANDING * np.median(np.abs(left[kept]))
        if again.sum() <= 2 * _BACKGROUND_TERMS or np.array_equal(again, kept):
            break
        kept = again
    return found
