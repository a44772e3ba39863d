r"""Powder X-ray diffraction: crystals in, patterns on an angular grid out.

Kinematic intensities of every reflection in range,

.. math::
    I_{hkl} = \Big|\sum_j o_j\, f_j(s)\, e^{-B_j s^2}\, e^{2\pi i\,\mathbf{h}\cdot\mathbf{x}_j}\Big|^2
              \frac{1 + \cos^2 2\theta}{\sin^2\theta\,\cos\theta}, \qquad s = \frac{\sin\theta}{\lambda},

summed over all :math:`hkl` (so multiplicities are counted, not looked up), drawn with a peak profile.
The kernel walks half of reciprocal space (Friedel) and reads each phase factor as a product of three
tabulated ones, so the inner loop is a handful of multiplications per atom. Peaks are drawn one by one; or, where a
pattern need not be exact, each is laid down as a spline and all are broadened at once, by a Fourier transform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from scipy.fft import irfft, next_fast_len, rfft

from ..crystals.elements import N_ELEMENTS, atomic_number_of, scattering_parameters
from ..errors import UnknownElementError
from ..crystals.records import Crystal
from .grid import XRDGrid

_N_SCATTERING = 4096  # rows of the interpolated scattering-factor table; error below 1e-6 electrons
_GAUSSIAN_REACH = 3.0  # half width drawn, in FWHM: exp(-25)
_FAST_GAUSSIAN_REACH = 2.0  # exp(-11)
_LORENTZIAN_REACH = 25.0
_WIDE = 6.0  # bins; below, splines alias


def scattering_table(grid: XRDGrid, debye_waller: Mapping[str, float] | float) -> np.ndarray:
    """f_Z(s) exp(-B_Z s^2) on an even grid of s^2 up to the largest in range, (119, rows)."""
    s2_max = (np.sin(np.radians(grid.two_theta_max) / 2) / grid.wavelength_angstrom) ** 2
    if isinstance(debye_waller, Mapping):
        displacement = np.zeros(N_ELEMENTS + 1)
        for symbol, value in debye_waller.items():
            if symbol not in atomic_number_of():
                raise UnknownElementError("debye_waller", f"species {symbol!r}")
            displacement[atomic_number_of()[symbol]] = value
    else:
        displacement = np.full(N_ELEMENTS + 1, float(debye_waller))
    return _tabulate_scattering(float(s2_max), tuple(displacement.tolist()))


@lru_cache(maxsize=8)  # 20 ms, as much as a hundred patterns
def _tabulate_scattering(s2_max: float, displacement: tuple[float, ...]) -> np.ndarray:
    s2 = np.linspace(0.0, s2_max, _N_SCATTERING)
    a, b = scattering_parameters()[..., 0, None], scattering_parameters()[..., 1, None]
    z = np.arange(N_ELEMENTS + 1)[:, None]
    factors = z - 41.78214 * s2 * (a * np.exp(-b * s2)).sum(1)
    return factors * np.exp(-np.array(displacement)[:, None] * s2)


@dataclass(frozen=True)
class DrawnConditions:
    """Under which each of S patterns is taken; one number per crystal.

    Attributes
    ----------
    strain : (S,), relative change of all cell lengths
    peaks : (S, 6), fwhm (degrees), Lorentzian fraction, zero shift (degrees), shift by sample displacement at
        theta = 0 (degrees), standard deviation of the logarithm of intensities, March coefficient (1 is none)
    axis : (S, 3), Miller indices of the preferred orientation
    seed : (S,) int64, of the intensities' deviations
    """

    strain: np.ndarray
    peaks: np.ndarray
    axis: np.ndarray
    seed: np.ndarray

    @classmethod
    def of_grid(cls, grid: XRDGrid, n: int) -> DrawnConditions:
        """The ideal instrument: only the grid's peak profile."""
        lorentzian = {"gaussian": 0.0, "lorentzian": 1.0, "pseudo-voigt": float(grid.mixing)}[grid.profile]
        peaks = np.tile([float(grid.fwhm), lorentzian, 0.0, 0.0, 0.0, 1.0], (n, 1))
        return cls(np.zeros(n), peaks, np.tile([0.0, 0.0, 1.0], (n, 1)), np.zeros(n, np.int64))


def compute_patterns(
    crystals: Sequence[Crystal], grid: XRDGrid, factors: np.ndarray, conditions: DrawnConditions, fast: bool = False
) -> np.ndarray:
    """Patterns before normalisation, (S, n_bins); NaN for an element without scattering factor.

    ``fast`` draws Gaussian peaks less far (wrong by less than 3e-5 of their height), and broadens wide peaks with
    Lorentzian tails all at once, in float32, without cutting the tails.
    """
    species = [crystal.species for crystal in crystals]
    first = np.zeros(len(crystals) + 1, np.int64)
    np.cumsum([len(s.site) for s in species], out=first[1:])
    lattices = np.stack([crystal.lattice for crystal in crystals]) * (1.0 + conditions.strain)[:, None, None]
    step = (grid.two_theta_max - grid.two_theta_min) / grid.n_bins
    fwhm, lorentzian = conditions.peaks[:, 0] / step, conditions.peaks[:, 1]
    wide = (fwhm >= _WIDE) & (lorentzian > 0) & fast
    margin = int(_LORENTZIAN_REACH * fwhm[wide].max(initial=0.0)) + 3
    patterns = powder_patterns(
        np.linalg.norm(lattices, axis=2),
        np.linalg.inv(lattices @ lattices.transpose(0, 2, 1)),
        first,
        np.concatenate([s.atomic_numbers for s in species]),
        np.concatenate([c.frac_coords[s.site] for c, s in zip(crystals, species, strict=True)]),
        np.concatenate([s.occupancy for s in species]),
        factors,
        grid.wavelength_angstrom,
        float(grid.two_theta_min),
        float(grid.two_theta_max),
        int(grid.n_bins),
        conditions.peaks,
        conditions.axis,
        conditions.seed,
        wide,
        margin,
        _FAST_GAUSSIAN_REACH if fast else _GAUSSIAN_REACH,
    )
    inner = slice(margin, margin + grid.n_bins)
    if wide.any():
        patterns[wide] = broadened(patterns[wide].astype(np.float32), fwhm[wide], lorentzian[wide]) / step
    return patterns[:, inner]


def reflections(crystal: Crystal, grid: XRDGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What :func:`structure_factors` gives within a grid's range; NaN for an element without scattering factor."""
    species = crystal.species
    g_min, g_max = 2.0 * np.sin(np.radians([grid.two_theta_min, grid.two_theta_max]) / 2) / grid.wavelength_angstrom
    return structure_factors(
        np.linalg.norm(crystal.lattice, axis=1),
        np.linalg.inv(crystal.lattice @ crystal.lattice.T),
        species.atomic_numbers,
        crystal.frac_coords[species.site],
        species.occupancy,
        scattering_table(grid, 0.0),
        float(g_min),
        float(g_max),
    )


def broadened(splines: np.ndarray, fwhm: np.ndarray, lorentzian: np.ndarray) -> np.ndarray:
    """Rows of quintic B-splines to rows of pseudo-Voigt peaks; widths in bins."""
    n = next_fast_len(splines.shape[1], real=True)
    omega = (2 * np.pi / n * np.arange(n // 2 + 1)).astype(np.float32)
    spline = (66 + 52 * np.cos(omega) + 2 * np.cos(2 * omega)) / 120
    width, mix = fwhm[:, None].astype(np.float32), lorentzian[:, None].astype(np.float32)
    profile = np.exp((width * omega) ** 2 * np.float32(-1 / (16 * np.log(2))))
    profile += mix * (np.exp(width * omega * np.float32(-0.5)) - profile)
    transform = rfft(splines, n, axis=1)
    transform *= profile
    transform /= spline
    return np.maximum(irfft(transform, n, axis=1)[:, : splines.shape[1]], np.float32(0.0))


@njit(nogil=True, cache=True, error_model="numpy")
def powder_patterns(
    lengths: np.ndarray,
    metrics: np.ndarray,
    first: np.ndarray,
    atomic_numbers: np.ndarray,
    positions: np.ndarray,
    occupancy: np.ndarray,
    factors: np.ndarray,
    wavelength: float,
    two_theta_min: float,
    two_theta_max: float,
    n_bins: int,
    peaks: np.ndarray,
    axis: np.ndarray,
    seed: np.ndarray,
    wide: np.ndarray,
    margin: int,
    reach: float,
) -> np.ndarray:
    """Patterns of many crystals: arrays in, (S, n_bins and a margin on both sides) float64 out.

    Parameters
    ----------
    lengths : (S, 3) float64, lengths of the cell vectors, Å
    metrics : (S, 3, 3) float64, scalar products of the reciprocal vectors (no 2 pi), 1/Å^2
    first : (S + 1,) int64, rows of each crystal in the next three
    atomic_numbers, positions, occupancy : (M,), (M, 3), (M,)
    factors : (119, R), scattering factors on an even grid of s^2
    wavelength : Å
    two_theta_min, two_theta_max : degrees
    n_bins : int
    peaks, axis, seed : see :class:`DrawnConditions`
    wide : (S,) bool, whose peaks are left as quintic B-splines of their area
    margin : int, bins before and after the pattern
    reach : half width to which Gaussian peaks are drawn, in FWHM
    """
    patterns = np.zeros((len(lengths), n_bins + 2 * margin))
    step = (two_theta_max - two_theta_min) / n_bins
    g_min = 2.0 * np.sin(np.radians(two_theta_min) / 2) / wavelength
    g_max = 2.0 * np.sin(np.radians(two_theta_max) / 2) / wavelength
    for s in range(len(lengths)):
        rows = slice(first[s], first[s + 1])
        g2, intensity, hkl = structure_factors(
            lengths[s], metrics[s], atomic_numbers[rows], positions[rows], occupancy[rows], factors, g_min, g_max
        )
        fwhm, lorentzian, zero_shift, displacement, deviation, march = peaks[s]
        for k in range(len(g2)):
            sin2 = 0.25 * wavelength * wavelength * g2[k]  # sin^2 theta
            cos_2theta = 1.0 - 2.0 * sin2
            lorentz_polarization = (1.0 + cos_2theta * cos_2theta) / (sin2 * np.sqrt(1.0 - sin2))
            area = 2.0 * intensity[k] * lorentz_polarization  # h and -h
            if march != 1.0:  # March-Dollase: more or fewer crystallites with the axis along the scattering vector
                tilt = _squared_cosine(metrics[s], hkl[k], axis[s], g2[k])
                area *= (march * march * tilt + (1.0 - tilt) / march) ** -1.5
            if deviation > 0.0:
                area *= np.exp(deviation * _normal_of(seed[s], g2[k]))
            two_theta = np.degrees(2.0 * np.arcsin(np.sqrt(sin2)))
            if displacement != 0.0:  # a displaced sample moves peaks by cos theta
                two_theta -= displacement * np.sqrt(1.0 - sin2)
            at = (two_theta + zero_shift - two_theta_min) / step
            if fwhm <= 0.0:
                if 0.0 <= at <= n_bins:
                    patterns[s, margin + min(int(at), n_bins - 1)] += area
            elif wide[s]:
                _draw_spline(patterns[s], margin + at - 0.5, area)
            elif area > 0.0:
                _draw_peak(patterns[s], margin + at - 0.5, area, fwhm / step, lorentzian, step, reach)
    return patterns


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def structure_factors(
    lengths: np.ndarray,
    metric: np.ndarray,
    atomic_numbers: np.ndarray,
    positions: np.ndarray,
    occupancy: np.ndarray,
    factors: np.ndarray,
    g_min: float,
    g_max: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Every reflection of half of reciprocal space with g_min <= \|g\| <= g_max.

    Returns
    -------
    g2, intensity : (R,) float64
        Squared length of the reciprocal vector (1/Å^2), and \|F\|^2 (electrons squared).
    hkl : (R, 3) int32
    """
    # An index is the product of g with a cell vector, and so at most their lengths'.
    h_max, k_max, l_max = int(g_max * lengths[0] + 1e-9), int(g_max * lengths[1] + 1e-9), int(g_max * lengths[2] + 1e-9)
    g2_min, g2_max = g_min * g_min, g_max * g_max
    rows_per_g2 = (factors.shape[1] - 1) / g2_max

    # Atoms in order of element: the sum over one element is one contiguous stretch.
    order = np.argsort(atomic_numbers)
    species, start, weight = atomic_numbers[order], np.zeros(len(order) + 1, np.int64), occupancy[order]
    n_species = 0
    for m in range(len(order)):
        if m == 0 or species[n_species - 1] != atomic_numbers[order[m]]:
            species[n_species], start[n_species] = atomic_numbers[order[m]], m
            n_species += 1
    start[n_species] = len(order)
    n_sites = len(order)
    h_re, h_im = np.empty((h_max + 1, n_sites)), np.empty((h_max + 1, n_sites))
    k_re, k_im = np.empty((k_max + 1, n_sites)), np.empty((k_max + 1, n_sites))
    l_re, l_im = np.empty((l_max + 1, n_sites)), np.empty((l_max + 1, n_sites))
    fill_phases(positions[order, 0], h_re, h_im)
    fill_phases(positions[order, 1], k_re, k_im)
    fill_phases(positions[order, 2], l_re, l_im)
    hk_re, hk_im, factor = np.empty(n_sites), np.empty(n_sites), np.empty(n_sites)

    room = 4096
    g2_of, intensity_of, hkl_of = np.empty(room), np.empty(room), np.empty((room, 3), np.int32)
    n = 0
    for h in range(h_max + 1):
        for k in range(-k_max if h > 0 else 0, k_max + 1):
            # g^2 = a + 2 b l + c l^2 <= g2_max bounds l.
            a = metric[0, 0] * h * h + 2.0 * metric[0, 1] * h * k + metric[1, 1] * k * k
            b = metric[0, 2] * h + metric[1, 2] * k
            c = metric[2, 2]
            inside = b * b - c * (a - g2_max)
            if inside < 0.0:
                continue
            l_low = max(int(np.ceil((-b - np.sqrt(inside)) / c)), -l_max)
            l_high = min(int(np.floor((-b + np.sqrt(inside)) / c)), l_max)
            if h == 0 and k == 0:
                l_low = 1
            if l_low > l_high:
                continue
            sign = -1.0 if k < 0 else 1.0
            for m in range(len(order)):
                u, v = k_re[abs(k), m], sign * k_im[abs(k), m]
                hk_re[m] = weight[m] * (h_re[h, m] * u - h_im[h, m] * v)
                hk_im[m] = weight[m] * (h_re[h, m] * v + h_im[h, m] * u)
            for l in range(l_low, l_high + 1):
                g2 = a + 2.0 * b * l + c * l * l
                if g2 < g2_min or g2 > g2_max:
                    continue
                row = min(int(g2 * rows_per_g2), factors.shape[1] - 2)
                part = g2 * rows_per_g2 - row
                for e in range(n_species):
                    f = factors[species[e], row] * (1.0 - part) + factors[species[e], row + 1] * part
                    for m in range(start[e], start[e + 1]):
                        factor[m] = f
                turn = -1.0 if l < 0 else 1.0
                re, im = 0.0, 0.0
                for m in range(n_sites):
                    u, v = l_re[abs(l), m], turn * l_im[abs(l), m]
                    re += factor[m] * (hk_re[m] * u - hk_im[m] * v)
                    im += factor[m] * (hk_re[m] * v + hk_im[m] * u)
                if n == room:
                    room *= 2
                    g2_of, intensity_of = _grown(g2_of, room), _grown(intensity_of, room)
                    hkl_of = _grown(hkl_of, room)
                g2_of[n], intensity_of[n] = g2, re * re + im * im
                hkl_of[n, 0], hkl_of[n, 1], hkl_of[n, 2] = h, k, l
                n += 1
    return g2_of[:n], intensity_of[:n], hkl_of[:n]


@njit(nogil=True, cache=True, error_model="numpy")
def fill_phases(x: np.ndarray, re: np.ndarray, im: np.ndarray) -> None:
    """Real and imaginary part of exp(2 pi i n x), n = 0, 1, ..., into (n_max + 1, N) each, by powers of the first."""
    for m in range(len(x)):
        c, s = np.cos(2.0 * np.pi * x[m]), np.sin(2.0 * np.pi * x[m])
        u, v = 1.0, 0.0
        for n in range(len(re)):
            re[n, m], im[n, m] = u, v
            u, v = u * c - v * s, u * s + v * c


@njit(nogil=True, cache=True, error_model="numpy")
def _squared_cosine(metric: np.ndarray, hkl: np.ndarray, axis: np.ndarray, g2: float) -> float:
    """Of the angle between two reciprocal vectors, the first of squared length g2."""
    product, axis2 = 0.0, 0.0
    for x in range(3):
        for y in range(3):
            product += hkl[x] * metric[x, y] * axis[y]
            axis2 += axis[x] * metric[x, y] * axis[y]
    return product * product / (g2 * axis2)


@njit(nogil=True, cache=True, error_model="numpy")
def _normal_of(seed: int, g2: float) -> float:
    """A standard normal number that depends on the seed and the length of a reciprocal vector only.

    Reflections of equal spacing, which no powder pattern can tell apart, deviate together.
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


@njit(nogil=True, cache=True, error_model="numpy")
def draw_lines(
    hkl: np.ndarray,
    intensity: np.ndarray,
    metrics: np.ndarray,
    wavelengths: np.ndarray,
    shares: np.ndarray,
    zero_shift: np.ndarray,
    two_theta_min: float,
    step: float,
    patterns: np.ndarray,
) -> None:
    """Add the lines of known reflections, as quintic B-splines of their area, under several metrics.

    Parameters
    ----------
    hkl, intensity : (R, 3), (R,), from :func:`structure_factors`
    metrics : (S, 3, 3), scalar products of the reciprocal vectors, 1/Å^2
    wavelengths, shares : (W,) each, of the radiation
    zero_shift : (S,), degrees
    two_theta_min, step : degrees, of the first bin's lower edge
    patterns : (S, n_bins), drawn into
    """
    for s in range(len(metrics)):
        m = metrics[s]
        for k in range(len(hkl)):
            h, j, l = float(hkl[k, 0]), float(hkl[k, 1]), float(hkl[k, 2])
            g2 = m[0, 0] * h * h + m[1, 1] * j * j + m[2, 2] * l * l
            g2 += 2.0 * (m[0, 1] * h * j + m[0, 2] * h * l + m[1, 2] * j * l)
            for w in range(len(wavelengths)):
                sin2 = 0.25 * wavelengths[w] * wavelengths[w] * g2
                if sin2 >= 1.0:
                    continue
                cos_2theta = 1.0 - 2.0 * sin2
                area = 2.0 * shares[w] * intensity[k] * (1.0 + cos_2theta * cos_2theta) / (sin2 * np.sqrt(1.0 - sin2))
                two_theta = np.degrees(2.0 * np.arcsin(np.sqrt(sin2)))
                _draw_spline(patterns[s], (two_theta + zero_shift[s] - two_theta_min) / step - 0.5, area)


@njit(nogil=True, cache=True, error_model="numpy")
def _grown(values: np.ndarray, size: int) -> np.ndarray:
    larger = np.empty((size, *values.shape[1:]), values.dtype)
    larger[: len(values)] = values
    return larger


@njit(nogil=True, cache=True, error_model="numpy")
def _draw_spline(pattern: np.ndarray, at: float, area: float) -> None:
    """Add a quintic B-spline, six bins wide; ``at`` in bins (bin centres at integers)."""
    i = int(np.floor(at))
    if i < 2 or i > len(pattern) - 4:
        return
    t, a = at - i, area / 120.0
    u, t2 = 1.0 - t, t * t
    u2 = u * u
    pattern[i - 2] += a * u2 * u2 * u
    pattern[i - 1] += a * (26.0 + t * (-50.0 + t * (20.0 + t * (20.0 + t * (-20.0 + t * 5.0)))))
    pattern[i] += a * (66.0 + t2 * (-60.0 + t2 * (30.0 - t * 10.0)))
    pattern[i + 1] += a * (26.0 + t * (50.0 + t * (20.0 + t * (-20.0 + t * (-20.0 + t * 10.0)))))
    pattern[i + 2] += a * (1.0 + t * (5.0 + t * (10.0 + t * (10.0 + t * (5.0 - t * 5.0)))))
    pattern[i + 3] += a * t2 * t2 * t


@njit(nogil=True, cache=True, error_model="numpy")
def _draw_peak(
    pattern: np.ndarray, at: float, area: float, fwhm: float, lorentzian: float, step: float, reach: float
) -> None:
    """Add one peak; ``at`` and ``fwhm`` in bins (bin centres at integers), height per degree."""
    if lorentzian < 1.0:
        alpha = 4.0 * np.log(2.0) / (fwhm * fwhm)
        low = max(0, int(np.ceil(at - reach * fwhm)))
        high = min(len(pattern) - 1, int(np.floor(at + reach * fwhm)))
        # exp(-alpha x^2) at x0, x0 + 1, ...: each ratio is the last one times exp(-2 alpha).
        x = low - at
        height = (1.0 - lorentzian) * area * np.sqrt(alpha / np.pi) / step * np.exp(-alpha * x * x)
        ratio, shrink = np.exp(-alpha * (2.0 * x + 1.0)), np.exp(-2.0 * alpha)
        for i in range(low, high + 1):
            pattern[i] += height
            height *= ratio
            ratio *= shrink
    if lorentzian > 0.0:
        low = max(0, int(np.ceil(at - _LORENTZIAN_REACH * fwhm)))
        high = min(len(pattern) - 1, int(np.floor(at + _LORENTZIAN_REACH * fwhm)))
        gamma = 0.5 * fwhm
        top = lorentzian * area / (np.pi * gamma) / step
        for i in range(low, high + 1):
            x = (i - at) / gamma
            pattern[i] += top / (1.0 + x * x)
