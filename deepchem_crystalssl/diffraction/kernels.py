r"""Powder patterns of many crystals at once: structure factors, corrections of intensity, peaks.

Kinematic intensities of every reflection in range,

.. math::
    I_{hkl} = \Big|\sum_j o_j\, f_j(s)\, e^{-B_j s^2}\, e^{2\pi i\,\mathbf{h}\cdot\mathbf{x}_j}\Big|^2
              \frac{1 + \cos^2 2\theta}{\sin^2\theta\,\cos\theta}, \qquad s = \frac{\sin\theta}{\lambda},

are summed over all :math:`hkl`, so that multiplicities come out by themselves, and drawn with a peak profile.
Peaks are drawn one by one; or, where a pattern need not be exact, each is laid down as a spline, and all of them are
broadened at once by a Fourier transform (:mod:`.peaks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..crystals.compilation import njit
from ..crystals.records import Crystal
from ..crystals.threads import map_in_threads
from .grid import XRDGrid
from .peaks import LORENTZIAN_REACH, broadened, draw_peak, draw_spline, lorentz_polarization
from .structure_factors import scattering_table, structure_factors

_GAUSSIAN_REACH = 3.0  # half width to which Gaussian peaks are drawn, in FWHM: they end at exp(-25)
_FAST_GAUSSIAN_REACH = 2.0  # they end at exp(-11)
_WIDE = 6.0  # bins; splines cannot stand for narrower peaks


class DrawnConditions(NamedTuple):
    """The conditions under which each of S patterns is measured, one value per pattern.

    Attributes
    ----------
    strain : (S,) float64
        Relative change of all cell lengths.
    fwhm : (S,) float64
        Full width at half maximum of the peaks, degrees; 0 draws sticks.
    mixing : (S,) float64
        Lorentzian fraction of the pseudo-Voigt profile.
    zero_shift : (S,) float64
        Error of the zero of two-theta, degrees.
    displacement : (S,) float64
        Shift by displacement of the sample at theta = 0, degrees.
    intensity_deviation : (S,) float64
        Standard deviation of the logarithm of the intensities.
    march : (S,) float64
        March-Dollase coefficient; 1 without preferred orientation.
    axis : (S, 3) float64
        Miller indices of the axis of preferred orientation.
    seed : (S,) int64
        Seed of the deviations of the intensities.
    """

    strain: np.ndarray
    fwhm: np.ndarray
    mixing: np.ndarray
    zero_shift: np.ndarray
    displacement: np.ndarray
    intensity_deviation: np.ndarray
    march: np.ndarray
    axis: np.ndarray
    seed: np.ndarray

    @classmethod
    def of_grid(cls, grid: XRDGrid, n: int) -> DrawnConditions:
        """The conditions of an ideal measurement: nothing but the peak profile of the grid."""
        lorentzian = {"gaussian": 0.0, "lorentzian": 1.0, "pseudo-voigt": float(grid.mixing)}[grid.profile]
        zeros = np.zeros(n)
        return cls(
            strain=zeros,
            fwhm=np.full(n, float(grid.fwhm)),
            mixing=np.full(n, lorentzian),
            zero_shift=zeros,
            displacement=zeros,
            intensity_deviation=zeros,
            march=np.ones(n),
            axis=np.tile([0.0, 0.0, 1.0], (n, 1)),
            seed=np.zeros(n, np.int64),
        )


class _Cells(NamedTuple):
    """S crystals as arrays; those of the atoms are concatenated over all crystals."""

    lengths: np.ndarray  # (S, 3) of the cell vectors, Å
    metrics: np.ndarray  # (S, 3, 3) scalar products of the reciprocal cell vectors, 1/Å^2
    first: np.ndarray  # (S + 1,) where the atoms of each crystal begin
    atomic_numbers: np.ndarray  # (M,)
    positions: np.ndarray  # (M, 3) fractional coordinates
    occupancy: np.ndarray  # (M,)


class _Bins(NamedTuple):
    """The bins of the patterns, and how peaks are drawn into them."""

    wavelength: float  # Å
    two_theta_min: float  # degrees, lower edge of the first bin
    step: float  # degrees
    n_bins: int
    margin: int  # further bins before the first and after the last
    gaussian_reach: float  # half width to which Gaussian peaks are drawn, in FWHM
    g_min: float  # 1/Å
    g_max: float


def compute_patterns(
    crystals: Sequence[Crystal],
    grid: XRDGrid,
    conditions: DrawnConditions,
    debye_waller: Mapping[str, float] | float = 0.0,
    fast: bool = False,
    n_threads: int = 1,
    whole: DrawnConditions | None = None,
) -> np.ndarray:
    """Patterns of crystals before normalisation.

    Parameters
    ----------
    crystals : sequence of S Crystal
    grid : XRDGrid
        Its peak profile plays no part; that of the conditions counts.
    conditions : DrawnConditions
        Of each pattern.
    debye_waller : float or mapping from element symbol to float
        Isotropic displacement parameter B, Å^2.
    fast : bool
        Draw Gaussian peaks less far (the error is less than 3e-5 of their height), and broaden wide peaks with
        Lorentzian tails all at once, in float32, without cutting the tails.
    n_threads : int
        Each thread has a part of the crystals; the patterns do not depend on it.
    whole : DrawnConditions, optional
        Of the batch that these patterns are a part of: its widest peak sets how far the tails of all reach.

    Returns
    -------
    numpy.ndarray
        (S, n_bins): intensity per bin for sticks, per degree otherwise. NaN where an element has no scattering factor.
    """
    factors = scattering_table(grid, debye_waller)
    species = [crystal.species for crystal in crystals]
    first = np.zeros(len(crystals) + 1, np.int64)
    np.cumsum([len(s.site) for s in species], out=first[1:])
    lattices = np.stack([crystal.lattice for crystal in crystals]) * (1.0 + conditions.strain)[:, None, None]
    cells = _Cells(
        np.linalg.norm(lattices, axis=2),
        np.linalg.inv(lattices @ lattices.transpose(0, 2, 1)),
        first,
        np.concatenate([s.atomic_numbers for s in species]),
        np.concatenate([c.frac_coords[s.site] for c, s in zip(crystals, species, strict=True)]),
        np.concatenate([s.occupancy for s in species]),
    )
    step = (grid.two_theta_max - grid.two_theta_min) / grid.n_bins
    fwhm, wide = _wide_peaks(conditions, step, fast)
    widest, counts = (fwhm, wide) if whole is None else _wide_peaks(whole, step, fast)
    margin = int(LORENTZIAN_REACH * widest[counts].max(initial=0.0)) + 3
    g_min, g_max = (
        float(2.0 * np.sin(np.radians(end) / 2) / grid.wavelength_angstrom)
        for end in (grid.two_theta_min, grid.two_theta_max)
    )
    reach = _FAST_GAUSSIAN_REACH if fast else _GAUSSIAN_REACH
    bins = _Bins(
        grid.wavelength_angstrom, float(grid.two_theta_min), step, int(grid.n_bins), margin, reach, g_min, g_max
    )

    def draw(part: slice) -> np.ndarray:
        of_part = cells._replace(
            lengths=cells.lengths[part], metrics=cells.metrics[part], first=first[part.start : part.stop + 1]
        )
        own = wide[part]
        patterns = _powder_patterns(of_part, factors, DrawnConditions(*(v[part] for v in conditions)), bins, own)
        if own.any():
            width, mixing = fwhm[part][own], conditions.mixing[part][own]
            patterns[own] = broadened(patterns[own].astype(np.float32), width, mixing) / step
        return patterns[:, margin : margin + grid.n_bins]

    ends = np.linspace(0, len(crystals), max(1, min(n_threads, len(crystals))) + 1).astype(int).tolist()
    parts = [slice(start, stop) for start, stop in zip(ends[:-1], ends[1:], strict=True)]
    if len(parts) == 1:
        return draw(parts[0])
    return np.concatenate([patterns for _, patterns in map_in_threads(draw, parts, len(parts))])


def _wide_peaks(conditions: DrawnConditions, step: float, fast: bool) -> tuple[np.ndarray, np.ndarray]:
    """Widths of the peaks in bins, and which patterns are broadened all at once, (S,) each."""
    fwhm = conditions.fwhm / step
    return fwhm, (fwhm >= _WIDE) & (conditions.mixing > 0) & fast


@njit(nogil=True, error_model="numpy")
def _powder_patterns(
    cells: _Cells, factors: np.ndarray, conditions: DrawnConditions, bins: _Bins, wide: np.ndarray
) -> np.ndarray:
    """Patterns (S, n_bins and the margins); those that are ``wide`` (S,) are left as splines of the peaks' areas."""
    patterns = np.zeros((len(cells.lengths), bins.n_bins + 2 * bins.margin))
    for s in range(len(cells.lengths)):
        metric, rows = cells.metrics[s], slice(cells.first[s], cells.first[s + 1])
        g2, intensity, hkl = structure_factors(
            cells.lengths[s], metric, cells.atomic_numbers[rows], cells.positions[rows], cells.occupancy[rows],
            factors, bins.g_min, bins.g_max,
        )  # fmt: skip
        fwhm, mixing, march = conditions.fwhm[s], conditions.mixing[s], conditions.march[s]
        zero_shift, displacement = conditions.zero_shift[s], conditions.displacement[s]
        deviation, seed, axis = conditions.intensity_deviation[s], conditions.seed[s], conditions.axis[s]
        for k in range(len(g2)):
            sin2 = 0.25 * bins.wavelength * bins.wavelength * g2[k]  # sin^2 theta
            area = 2.0 * intensity[k] * lorentz_polarization(sin2)  # of hkl and its opposite
            if march != 1.0:  # March-Dollase: more or fewer crystallites with the axis along the scattering vector
                tilt = _squared_cosine(metric, hkl[k], axis, g2[k])
                area *= (march * march * tilt + (1.0 - tilt) / march) ** -1.5
            if deviation > 0.0:
                area *= np.exp(deviation * _normal_of(seed, g2[k]))
            two_theta = np.degrees(2.0 * np.arcsin(np.sqrt(sin2)))
            if displacement != 0.0:  # a displaced sample shifts peaks by cos theta
                two_theta -= displacement * np.sqrt(1.0 - sin2)
            at = (two_theta + zero_shift - bins.two_theta_min) / bins.step
            if fwhm <= 0.0:
                if 0.0 <= at <= bins.n_bins:
                    patterns[s, bins.margin + min(int(at), bins.n_bins - 1)] += area
            elif wide[s]:
                draw_spline(patterns[s], bins.margin + at - 0.5, area)
            elif area > 0.0:
                center = bins.margin + at - 0.5
                draw_peak(patterns[s], center, area, fwhm / bins.step, mixing, bins.step, bins.gaussian_reach)
    return patterns


@njit(nogil=True, error_model="numpy")
def _squared_cosine(metric: np.ndarray, hkl: np.ndarray, axis: np.ndarray, g2: float) -> float:
    """Squared cosine of the angle between two reciprocal lattice vectors, the first of squared length g2."""
    product, axis2 = 0.0, 0.0
    for x in range(3):
        for y in range(3):
            product += hkl[x] * metric[x, y] * axis[y]
            axis2 += axis[x] * metric[x, y] * axis[y]
    return product * product / (g2 * axis2)


@njit(nogil=True, error_model="numpy")
def _normal_of(seed: int, g2: float) -> float:
    """A standard normal number that depends on nothing but the seed and the length of a reciprocal lattice vector.

    Reflections of equal spacing coincide in a powder pattern, and so they deviate together.
    """
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(int(g2 * 1e7 + 0.5))
    total = 0.0
    for _ in range(12):  # the sum of twelve uniform numbers, less six
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
        total += float(state >> np.uint64(11)) / 9007199254740992.0
        state += np.uint64(0x9E3779B97F4A7C15)
    return total - 6.0
