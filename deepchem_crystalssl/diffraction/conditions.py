"""Patterns as measured: what a diffractometer and a sample do to the ideal pattern, each with a physical parameter."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..crystals.records import Crystal
from ..errors import CrystalInputError, GridError
from .grid import PowderPatterns, XRDGrid
from .kernels import DrawnConditions
from .simulation import simulate

_AXES = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]], float)


@dataclass(frozen=True)
class MeasurementConditions:
    """Ranges of the conditions under which patterns are measured; each pattern draws its own from them.

    Every effect is off by default. A range given by one number is symmetric around zero unless stated otherwise.

    Parameters
    ----------
    strain : float
        Largest relative change of the cell lengths. All three lengths change alike.
    fwhm : (float, float)
        Range of the full width at half maximum of the peaks, degrees; (0, 0) draws sticks.
    mixing : (float, float)
        Range of the Lorentzian fraction of the pseudo-Voigt profile.
    zero_shift : float
        Largest error of the zero of two-theta, degrees.
    displacement : float
        Largest peak shift by displacement of the sample, degrees at theta = 0. The shift decreases with cos theta.
    intensity_deviation : float
        Standard deviation of the logarithm of each reflection's intensity, as from poor grain statistics.
    preferred_orientation : float
        Smallest March-Dollase coefficient r, in (0, 1]. r is drawn between it and its inverse, the axis among the
        directions of low index. 1 is a powder without preferred orientation.
    background : float
        Largest height of a smooth background, relative to the highest peak.
    noise : float
        Largest standard deviation of the noise, relative to the highest peak.
    missing : float
        Largest fraction of the angular range that is missing, at either end.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> measure_patterns(bundled_prototypes()[:3], HARD, XRDGrid(), seed=0).shape
    (3, 5000)
    """

    strain: float = 0.0
    fwhm: tuple[float, float] = (0.0, 0.0)
    mixing: tuple[float, float] = (0.0, 0.0)
    zero_shift: float = 0.0
    displacement: float = 0.0
    intensity_deviation: float = 0.0
    preferred_orientation: float = 1.0
    background: float = 0.0
    noise: float = 0.0
    missing: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MeasurementConditions:
        """From a table of JSON or TOML, where a range is a list of two numbers.

        Raises
        ------
        GridError
            If a parameter is unknown.

        Examples
        --------
        >>> MeasurementConditions.from_dict({"fwhm": [0.1, 0.4]}).fwhm
        (0.1, 0.4)
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise GridError(
                    f"MeasurementConditions.{name}", values[name], "there is no such parameter",
                    f"The parameters are {', '.join(known)}.",
                )  # fmt: skip
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**given)

    def check(self) -> MeasurementConditions:
        """The conditions themselves, or a GridError that names the parameter."""
        rules = {
            "strain": 0 <= self.strain < 0.5,
            "fwhm": 0 <= self.fwhm[0] <= self.fwhm[1] < np.inf,
            "mixing": 0 <= self.mixing[0] <= self.mixing[1] <= 1,
            "zero_shift": 0 <= self.zero_shift < np.inf,
            "displacement": 0 <= self.displacement < np.inf,
            "intensity_deviation": 0 <= self.intensity_deviation < np.inf,
            "preferred_orientation": 0 < self.preferred_orientation <= 1,
            "background": 0 <= self.background < np.inf,
            "noise": 0 <= self.noise < np.inf,
            "missing": 0 <= self.missing < 0.5,
        }
        for name, kept in rules.items():
            if not kept:
                raise GridError(
                    f"MeasurementConditions.{name}",
                    getattr(self, name),
                    "the parameter is out of its range",
                    "See the parameter's description.",
                )
        return self

    def draw(self, n: int, rng: np.random.Generator) -> DrawnConditions:
        """Conditions for n patterns."""
        march = np.exp(rng.uniform(-1, 1, n) * -np.log(self.preferred_orientation))
        return DrawnConditions(  # drawn in this order, so that the same seed always gives the same patterns
            march=march,
            fwhm=rng.uniform(*self.fwhm, n),
            mixing=rng.uniform(*self.mixing, n),
            zero_shift=rng.uniform(-1, 1, n) * self.zero_shift,
            displacement=rng.uniform(-1, 1, n) * self.displacement,
            intensity_deviation=np.full(n, float(self.intensity_deviation)),
            axis=_AXES[rng.integers(len(_AXES), size=n)],
            seed=rng.integers(2**62, size=n),
            strain=rng.uniform(-1, 1, n) * self.strain,
        )


CLEAN = MeasurementConditions()
"""The ideal pattern, drawn as sticks, as in Suzuki et al. 2022."""
REALISTIC = MeasurementConditions(strain=0.01, fwhm=(0.28, 0.28), noise=0.01)
"""Strain up to 1 %, peaks of 0.28 degrees, noise up to 1 %."""
HARD = MeasurementConditions(
    strain=0.01,
    fwhm=(0.1, 0.4),
    mixing=(0.0, 1.0),
    zero_shift=0.05,
    intensity_deviation=0.3,
    background=0.15,
    noise=0.02,
)
"""A poor measurement: also pseudo-Voigt peaks of 0.1-0.4 degrees, zero shift, background and wrong intensities."""

TRAINING = MeasurementConditions(
    strain=0.012,
    fwhm=(0.05, 0.45),
    mixing=(0.0, 1.0),
    zero_shift=0.06,
    displacement=0.05,
    intensity_deviation=0.3,
    preferred_orientation=0.8,
    background=0.15,
    noise=0.02,
)
"""The conditions of laboratory measurements at large, for training models that are meant for measured patterns."""


def measure_patterns(
    crystals: Sequence[Crystal],
    conditions: MeasurementConditions | None = None,
    grid: XRDGrid = XRDGrid(),
    seed: int = 0,
    *,
    instrument: MeasurementConditions | None = None,
) -> PowderPatterns:
    """Simulated measurements, each under conditions of its own.

    Parameters
    ----------
    crystals : sequence of Crystal
    conditions : MeasurementConditions
        Ranges from which the conditions are drawn. They replace the peak profile of the grid.
    grid : XRDGrid
    seed : int
        The same seed gives the same patterns.
    instrument : MeasurementConditions, optional
        Old name of ``conditions``; it warns.

    Returns
    -------
    PowderPatterns
        float32 (n, n_bins), a NumPy array that knows its grid. The highest point of each pattern is 1, and no point is
        negative.

    Raises
    ------
    ScatteringFactorError, NoReflectionsError
        If a crystal has no pattern.
    """
    if instrument is not None:
        warnings.warn("measure_patterns(instrument=) is called conditions= now", FutureWarning, stacklevel=2)
        conditions = instrument
    if conditions is None:
        raise TypeError("measure_patterns: the argument conditions is missing")
    patterns, errors = try_patterns(crystals, grid, conditions, seed)
    for error in errors:
        if error is not None:
            raise error
    return patterns


def try_patterns(
    crystals: Sequence[Crystal],
    grid: XRDGrid = XRDGrid(),
    conditions: MeasurementConditions | None = None,
    seed: int = 0,
    rows: slice = slice(None),
    n_rows: int | None = None,
    n_threads: int = 1,
) -> tuple[PowderPatterns, list[CrystalInputError | None]]:
    """Like :func:`measure_patterns`, but for a crystal without a pattern its error is returned; its row means nothing.

    Without conditions the patterns are ideal and have the peak profile of the grid. If the crystals are the ``rows`` of
    a batch of ``n_rows``, they have the patterns that they have in this batch.
    """
    grid.check()
    if not len(crystals):
        return PowderPatterns(np.empty((0, grid.n_bins), np.float32), grid), []
    rng = np.random.default_rng(seed)
    n = len(crystals) if n_rows is None else n_rows
    whole = DrawnConditions.of_grid(grid, n) if conditions is None else conditions.check().draw(n, rng)
    drawn = DrawnConditions(*(values[rows] for values in whole))
    patterns, errors = simulate(crystals, grid, drawn, fast=True, n_threads=n_threads, whole=whole)
    if conditions is not None:
        _disturb(patterns, conditions, rng, rows, n)
    return PowderPatterns(patterns, grid), errors


def _disturb(
    patterns: np.ndarray, conditions: MeasurementConditions, rng: np.random.Generator, rows: slice, n: int
) -> None:
    """Add background and noise and remove the missing ranges, in place; then the highest point is 1 again.

    The patterns are rows of n, for all of which is drawn.
    """
    n_bins = patterns.shape[1]
    x = np.linspace(-1, 1, n_bins)
    if conditions.background > 0:
        height = conditions.background * rng.uniform(0, 1, (n, 1))[rows]
        patterns += height * _smooth_backgrounds(x, n, rng, rows)
    if conditions.noise > 0:
        noise = rng.standard_normal((n, n_bins), np.float32)[rows]
        noise *= rng.uniform(0, conditions.noise, (n, 1)).astype(np.float32)[rows]
        patterns += noise
    np.clip(patterns, 0.0, None, out=patterns)
    if conditions.missing > 0:
        low, high = rng.uniform(0, conditions.missing, (2, n, 1))[:, rows]
        patterns[(x < -1 + 2 * low) | (x > 1 - 2 * high)] = 0.0
    patterns /= np.maximum(patterns.max(axis=1, keepdims=True), 1e-12)


def _smooth_backgrounds(x: np.ndarray, n: int, rng: np.random.Generator, rows: slice) -> np.ndarray:
    """Backgrounds (n, bins) in [0, 1]: a polynomial of low degree plus the broad hump of an amorphous part."""
    smooth = np.polynomial.chebyshev.chebval(x, rng.standard_normal((5, n))[:, rows] / np.arange(1, 6)[:, None])
    center, width = rng.uniform(-0.9, 0.0, (n, 1))[rows], rng.uniform(0.1, 0.4, (n, 1))[rows]
    smooth = smooth + rng.uniform(0, 2, (n, 1))[rows] * np.exp(-(((x - center) / width) ** 2))
    smooth -= smooth.min(axis=1, keepdims=True)
    return smooth / np.maximum(smooth.max(axis=1, keepdims=True), 1e-12)


def __getattr__(name: str) -> Any:
    """Serve the old name of MeasurementConditions, with a warning."""
    if name == "Instrument":
        warnings.warn("Instrument is called MeasurementConditions now", FutureWarning, stacklevel=2)
        return MeasurementConditions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
