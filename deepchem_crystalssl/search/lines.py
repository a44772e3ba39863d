"""Lines that speak for and against a crystal whose pattern was fitted: those it explains, and those it lacks."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from ..diffraction.measurement import Measurement

_FAINTEST = 0.01
"""Lines below this share of the strongest one are not asked for."""
_SHARE = 0.25
"""A line is explained if the other pattern has at least this share of its area there."""


def unexplained(measurement: Measurement, calculated: np.ndarray) -> float:
    """Share of the measured lines where a pattern (n,) has less than a quarter of their area."""
    signal = np.where(measurement.roots > 0, measurement.counts, 0.0)
    ours, theirs = _areas(measurement, measurement.counts), _areas(measurement, calculated)
    at = _lines(measurement, signal)
    return _share(ours[at], theirs[at] < _SHARE * ours[at])


def absent(measurement: Measurement, calculated: np.ndarray, others: np.ndarray | float = 0.0) -> float:
    """Share of the lines of a pattern (n,) where the measured one has less than a quarter of their area.

    Lines under stronger ones of ``others`` are not asked for, and of the measured counts theirs are taken off.
    """
    ours, theirs = _areas(measurement, measurement.counts - others), _areas(measurement, calculated)
    at = _lines(measurement, calculated)
    at = at[theirs[at] > _areas(measurement, others + np.zeros(len(ours)))[at]]
    return _share(theirs[at], ours[at] < _SHARE * theirs[at])


def _width(measurement: Measurement) -> int:
    return max(3, int(round(2 * measurement.fwhm / measurement.grid.step)))


def _areas(measurement: Measurement, pattern: np.ndarray) -> np.ndarray:
    """Mean of a pattern over twice the width of a line around each bin."""
    return uniform_filter1d(pattern, _width(measurement))


def _lines(measurement: Measurement, pattern: np.ndarray) -> np.ndarray:
    """Positions of the lines of a pattern."""
    prominence, distance = _FAINTEST * pattern.max(initial=0.0), max(1, _width(measurement) // 2)
    return find_peaks(pattern, prominence=prominence, distance=distance)[0]


def _share(areas: np.ndarray, chosen: np.ndarray) -> float:
    weights = np.sqrt(np.clip(areas, 0.0, None))
    return float((weights * chosen).sum() / max(weights.sum(), 1e-12))
