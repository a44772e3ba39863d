"""Patterns as measured: what an instrument and a sample do to the ideal pattern, each with a physical parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernels import Conditions, compute_patterns, scattering_table
from ..errors import CrystalInputError, GridError
from ..crystals.records import Crystal
from .simulation import pattern_error
from .grid import PowderPatterns, XRDGrid

_AXES = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]], float)


@dataclass(frozen=True)
class Instrument:
    """A family of instruments and samples, from which each pattern draws its own. Everything is off by default.

    Parameters
    ----------
    strain : float
        Largest relative change of all cell lengths, either way.
    fwhm : (float, float)
        Range of peak widths, degrees; (0, 0) draws sticks.
    mixing : (float, float)
        Range of the Lorentzian fraction.
    zero_shift : float
        Largest shift of the zero of two-theta, degrees, either way.
    displacement : float
        Largest shift by a displaced sample, at theta = 0, degrees; it falls with cos theta.
    intensity_deviation : float
        Standard deviation of the logarithm of each reflection's intensity (grain statistics).
    preferred_orientation : float
        Smallest March coefficient r, in (0, 1]; r is drawn between it and its inverse, about a random low-index
        axis. 1 is a random powder.
    background : float
        Largest height of a smooth background, relative to the highest peak.
    noise : float
        Largest standard deviation of the noise, relative to the highest peak.
    missing : float
        Largest share of the angular range that was not measured, at either end.

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
    def from_dict(cls, values: Mapping[str, Any]) -> Instrument:
        """From what JSON, TOML or YAML can hold: a range is a list there."""
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**plain)

    def check(self) -> Instrument:
        """The instrument itself, or a GridError that names the parameter."""
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
                    f"Instrument.{name}",
                    getattr(self, name),
                    "the parameter is out of its range",
                    "See the parameter's description.",
                )
        return self

    def draw(self, n: int, rng: np.random.Generator) -> Conditions:
        """Conditions for n patterns."""
        march = np.exp(rng.uniform(-1, 1, n) * -np.log(self.preferred_orientation))
        peaks = [
            rng.uniform(*self.fwhm, n),
            rng.uniform(*self.mixing, n),
            rng.uniform(-1, 1, n) * self.zero_shift,
            rng.uniform(-1, 1, n) * self.displacement,
            np.full(n, self.intensity_deviation),
            march,
        ]
        axis = _AXES[rng.integers(len(_AXES), size=n)]
        seed = rng.integers(2**62, size=n)
        return Conditions(rng.uniform(-1, 1, n) * self.strain, np.stack(peaks, axis=1), axis, seed)


CLEAN = Instrument()
"""The ideal pattern, sticks, as in Suzuki et al. 2022."""
REALISTIC = Instrument(strain=0.01, fwhm=(0.28, 0.28), noise=0.01)
"""Strain up to 1 %, peaks of 0.28 degrees, 1 % noise."""
HARD = Instrument(
    strain=0.01,
    fwhm=(0.1, 0.4),
    mixing=(0.0, 1.0),
    zero_shift=0.05,
    intensity_deviation=0.3,
    background=0.15,
    noise=0.02,
)
"""A powder on a poor day: also pseudo-Voigt peaks of 0.1-0.4 degrees, zero shift, background, wrong intensities."""

TRAINING = Instrument(
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
"""Whatever a pattern may have been measured with: what models meant for measurements are trained on."""


def measure_patterns(
    crystals: Sequence[Crystal], instrument: Instrument, grid: XRDGrid = XRDGrid(), seed: int = 0
) -> PowderPatterns:
    """Simulated measurements, each under conditions of its own.

    Parameters
    ----------
    crystals : sequence of Crystal
    instrument : Instrument
        What is drawn; it takes the place of the grid's peak profile.
    grid : XRDGrid
    seed : int
        The same seed, the same patterns.

    Returns
    -------
    PowderPatterns
        float32 (n, n_bins), a NumPy array that knows its grid; highest point 1, nowhere negative.

    Raises
    ------
    ScatteringFactorError, NoReflectionsError
        If a crystal has no pattern.
    """
    patterns, errors = try_patterns(crystals, grid, instrument, seed)
    for error in errors:
        if error is not None:
            raise error
    return patterns


def try_patterns(
    crystals: Sequence[Crystal], grid: XRDGrid = XRDGrid(), instrument: Instrument | None = None, seed: int = 0
) -> tuple[PowderPatterns, list[CrystalInputError | None]]:
    """As :func:`measure_patterns`, but a crystal without a pattern gets a row of zeros and its error.

    Without an instrument, the ideal patterns with the grid's own peak profile.
    """
    rng = np.random.default_rng(seed)
    n = len(crystals)
    conditions = Conditions.of_grid(grid.check(), n) if instrument is None else instrument.check().draw(n, rng)
    patterns = compute_patterns(crystals, grid, scattering_table(grid, 0.0), conditions, fast=True)
    top = patterns.max(axis=1)
    errors = [pattern_error(crystal, maximum, grid) for crystal, maximum in zip(crystals, top.tolist(), strict=True)]
    top = np.where(top > 0.0, top, 1.0)
    patterns = (patterns / top[:, None]).astype(np.float32)
    if instrument is not None:
        _disturb(patterns, instrument, rng)
    return PowderPatterns(patterns, grid), errors


def _disturb(patterns: np.ndarray, instrument: Instrument, rng: np.random.Generator) -> None:
    """Background, noise and missing ranges, in place; the highest point is 1 again."""
    n, n_bins = patterns.shape
    x = np.linspace(-1, 1, n_bins)
    if instrument.background > 0:
        patterns += instrument.background * rng.uniform(0, 1, (n, 1)) * _smooth_backgrounds(x, n, rng)
    if instrument.noise > 0:
        noise = rng.standard_normal(patterns.shape, np.float32)
        noise *= rng.uniform(0, instrument.noise, (n, 1)).astype(np.float32)
        patterns += noise
    np.clip(patterns, 0.0, None, out=patterns)
    if instrument.missing > 0:
        low, high = rng.uniform(0, instrument.missing, (2, n, 1))
        patterns[(x < -1 + 2 * low) | (x > 1 - 2 * high)] = 0.0
    patterns /= np.maximum(patterns.max(axis=1, keepdims=True), 1e-12)


def _smooth_backgrounds(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, bins) in [0, 1]: a low polynomial plus a broad amorphous hump."""
    smooth = np.polynomial.chebyshev.chebval(x, rng.standard_normal((5, n)) / np.arange(1, 6)[:, None])
    center, width = rng.uniform(-0.9, 0.0, (n, 1)), rng.uniform(0.1, 0.4, (n, 1))
    smooth = smooth + rng.uniform(0, 2, (n, 1)) * np.exp(-(((x - center) / width) ** 2))
    smooth -= smooth.min(axis=1, keepdims=True)
    return smooth / np.maximum(smooth.max(axis=1, keepdims=True), 1e-12)
