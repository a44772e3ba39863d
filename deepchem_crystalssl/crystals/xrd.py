r"""Powder X-ray diffraction: crystals in, patterns on an angular grid out.

Kinematic intensities of every reflection in range,

.. math::
    I_{hkl} = \Big|\sum_j o_j\, f_j(s)\, e^{-B_j s^2}\, e^{2\pi i\,\mathbf{h}\cdot\mathbf{x}_j}\Big|^2
              \frac{1 + \cos^2 2\theta}{\sin^2\theta\,\cos\theta}, \qquad s = \frac{\sin\theta}{\lambda},

summed over all :math:`hkl` (so multiplicities are counted, not looked up), drawn with a peak profile.
The kernel walks half of reciprocal space (Friedel) and reads each phase factor as a product of three
tabulated ones, so the inner loop is a handful of multiplications per atom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from itertools import islice
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from .elements import N_ELEMENTS, atomic_number_of, scattering_parameters, symbols
from .disorder import Disorder
from .errors import CrystalInputError, NoReflectionsError, OnError, Report, ScatteringFactorError
from .graph import Crystal
from .io import read_structures
from .threads import map_in_threads
from .xrd_grid import XRDGrid

_CHUNK = 128
_N_SCATTERING = 4096  # rows of the interpolated scattering-factor table; error below 1e-6 electrons
_GAUSSIAN_REACH = 3.0  # half width drawn, in FWHM: exp(-25)
_LORENTZIAN_REACH = 25.0


def simulate_xrd(
    structures: Any,
    grid: XRDGrid = XRDGrid(),
    *,
    debye_waller: Mapping[str, float] | float = 0.0,
    normalize: bool = True,
    disorder: Disorder = "refuse",
    on_error: OnError = "raise",
    report: Report | None = None,
    dtype: DTypeLike = np.float32,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> np.ndarray:
    """Powder patterns of crystals.

    Parameters
    ----------
    structures
        Anything :func:`~deepchem_crystalssl.read_structures` reads.
    grid : XRDGrid
        Angular range, bins, radiation and peak profile.
    debye_waller : float or mapping from element symbol to float
        Isotropic displacement parameter B in Å^2, of all or of each element (0 where not named).
    normalize : bool
        Divide each pattern by its maximum (default); otherwise intensities per cell, in electrons squared,
        per bin for sticks and per degree for a broadened profile.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy; ``"average"`` scatters by occupancy.
    on_error, report
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.
    dtype : numpy dtype
        Of the result.
    n_threads : int, optional
        Threads; all processors by default.
    progress : bool, optional
        Progress bar; by default on a terminal only.

    Returns
    -------
    numpy.ndarray
        (n, n_bins), in the order of the source, bad items left out.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> iron = Structure(Lattice.cubic(2.866), ["Fe", "Fe"], [[0, 0, 0], [.5, .5, .5]])
    >>> pattern = simulate_xrd(iron)
    >>> pattern.shape, round(float(XRDGrid().two_theta[pattern[0].argmax()]), 2)
    ((1, 5000), 44.71)
    """
    report = Report() if report is None else report
    patterns = list(
        iterate_patterns(
            structures,
            grid,
            debye_waller=debye_waller,
            normalize=normalize,
            disorder=disorder,
            on_error=on_error,
            report=report,
            dtype=dtype,
            n_threads=n_threads,
            progress=progress,
        )
    )
    report.log()
    return np.array([pattern for _, pattern in patterns], dtype).reshape(-1, grid.n_bins)


def iterate_patterns(
    structures: Any,
    grid: XRDGrid = XRDGrid(),
    *,
    debye_waller: Mapping[str, float] | float = 0.0,
    normalize: bool = True,
    disorder: Disorder = "refuse",
    on_error: OnError = "raise",
    report: Report | None = None,
    dtype: DTypeLike = np.float32,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[Crystal, np.ndarray]]:
    """Like :func:`simulate_xrd`, lazily: yields (crystal, pattern) with flat memory."""
    grid.check()
    report = Report() if report is None else report
    reader = read_structures(structures, on_error=on_error, report=report, disorder=disorder, progress=progress)
    draw = partial(
        _draw_chunk, grid=grid, factors=_scattering_table(grid, debye_waller), normalize=normalize, dtype=dtype
    )
    crystals = reader.enumerate()
    chunks = iter(lambda: list(islice(crystals, _CHUNK)), [])
    for chunk, (patterns, errors) in map_in_threads(draw, chunks, n_threads):
        for (index, crystal), pattern, error in zip(chunk, patterns, errors, strict=True):
            if error is None:
                yield crystal, pattern
            else:
                report.handle(error, on_error, index)


def _scattering_table(grid: XRDGrid, debye_waller: Mapping[str, float] | float) -> np.ndarray:
    """f_Z(s) exp(-B_Z s^2) on an even grid of s^2 up to the largest in range, (119, rows)."""
    s2_max = (np.sin(np.radians(grid.two_theta_max) / 2) / grid.wavelength_angstrom) ** 2
    if isinstance(debye_waller, Mapping):
        displacement = np.zeros(N_ELEMENTS + 1)
        for symbol, value in debye_waller.items():
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


def _draw_chunk(
    chunk: list[tuple[int, Crystal]], grid: XRDGrid, factors: np.ndarray, normalize: bool, dtype: DTypeLike
) -> tuple[np.ndarray, list[CrystalInputError | None]]:
    crystals = [crystal for _, crystal in chunk]
    species = [crystal.species for crystal in crystals]
    first = np.zeros(len(crystals) + 1, np.int64)
    np.cumsum([len(s.site) for s in species], out=first[1:])
    atomic_numbers = np.concatenate([s.atomic_numbers for s in species])
    positions = np.concatenate([c.frac_coords[s.site] for c, s in zip(crystals, species, strict=True)])
    occupancy = np.concatenate([s.occupancy for s in species])
    lorentzian = {"gaussian": 0.0, "lorentzian": 1.0, "pseudo-voigt": float(grid.mixing)}[grid.profile]
    patterns = powder_patterns(
        np.stack([crystal.lattice for crystal in crystals]),
        first,
        atomic_numbers,
        positions,
        occupancy,
        factors,
        grid.wavelength_angstrom,
        float(grid.two_theta_min),
        float(grid.two_theta_max),
        int(grid.n_bins),
        float(grid.fwhm),
        lorentzian,
    )
    top = patterns.max(axis=1)
    if normalize:
        patterns /= np.where(top > 0.0, top, 1.0)[:, None]
    missing = np.isnan(factors[:, -1])
    errors: list[CrystalInputError | None] = []
    for crystal, s, maximum in zip(crystals, species, top.tolist(), strict=True):
        error: CrystalInputError | None = None
        if not maximum > 0.0:  # also true of NaN, the mark of an element without scattering factor
            heavy = [symbols()[z] for z in np.unique(s.atomic_numbers) if missing[z]]
            if heavy:
                error = ScatteringFactorError(crystal.material_id, ", ".join(heavy))
            else:
                span = f"{grid.two_theta_min:g}-{grid.two_theta_max:g}°"
                error = NoReflectionsError(crystal.material_id, f"no reflection within {span}")
        errors.append(error)
    return patterns.astype(dtype, copy=False), errors


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def powder_patterns(
    lattices: np.ndarray,
    first: np.ndarray,
    atomic_numbers: np.ndarray,
    positions: np.ndarray,
    occupancy: np.ndarray,
    factors: np.ndarray,
    wavelength: float,
    two_theta_min: float,
    two_theta_max: float,
    n_bins: int,
    fwhm: float,
    lorentzian: float,
) -> np.ndarray:
    """Patterns of many crystals: arrays in, (S, n_bins) float64 out.

    Parameters
    ----------
    lattices : (S, 3, 3) float64, Å
    first : (S + 1,) int64, rows of each crystal in the next three
    atomic_numbers, positions, occupancy : (M,), (M, 3), (M,)
    factors : (119, R), scattering factors on an even grid of s^2
    wavelength : Å
    two_theta_min, two_theta_max, n_bins, fwhm : degrees
    lorentzian : Lorentzian fraction of the profile
    """
    patterns = np.zeros((len(lattices), n_bins))
    two_pi = 2.0 * np.pi
    step = (two_theta_max - two_theta_min) / n_bins
    per_step = 1.0 / step
    sin_min, sin_max = np.sin(np.radians(two_theta_min) / 2), np.sin(np.radians(two_theta_max) / 2)
    g2_min, g2_max = (2 * sin_min / wavelength) ** 2, (2 * sin_max / wavelength) ** 2
    g_max = np.sqrt(g2_max)
    rows_per_g2 = (factors.shape[1] - 1) / g2_max
    last_row = factors.shape[1] - 2
    degrees = 180.0 / np.pi

    for s in range(len(lattices)):
        begin, end = first[s], first[s + 1]
        n = end - begin
        pattern = patterns[s]

        # Reciprocal basis (no 2 pi) and the metric of h, k, l.
        a, b, c = lattices[s, 0], lattices[s, 1], lattices[s, 2]
        bc, ca, ab = np.cross(b, c), np.cross(c, a), np.cross(a, b)
        volume = (a * bc).sum()
        ra, rb, rc = bc / volume, ca / volume, ab / volume
        g_hh, g_kk, g_ll = (ra * ra).sum(), (rb * rb).sum(), (rc * rc).sum()
        g_hk, g_hl, g_kl = 2 * (ra * rb).sum(), 2 * (ra * rc).sum(), 2 * (rb * rc).sum()
        h_max = int(g_max * np.sqrt((a * a).sum()) + 1e-9)
        k_max = int(g_max * np.sqrt((b * b).sum()) + 1e-9)
        l_max = int(g_max * np.sqrt((c * c).sum()) + 1e-9)

        # Atoms in order of element: the sum over one element is one contiguous stretch.
        order = np.argsort(atomic_numbers[begin:end], kind="mergesort")
        n_species = 0
        species = np.empty(n, np.int64)
        start = np.empty(n + 1, np.int64)
        x, y, z, weight = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for m in range(n):
            j = begin + order[m]
            if n_species == 0 or species[n_species - 1] != atomic_numbers[j]:
                species[n_species] = atomic_numbers[j]
                start[n_species] = m
                n_species += 1
            x[m], y[m], z[m] = two_pi * positions[j, 0], two_pi * positions[j, 1], two_pi * positions[j, 2]
            weight[m] = occupancy[j]
        start[n_species] = n

        # Phase factors of k and l by table, of h directly (each is needed once).
        y_re, y_im = np.empty((k_max + 1, n)), np.empty((k_max + 1, n))
        for k in range(k_max + 1):
            for m in range(n):
                y_re[k, m], y_im[k, m] = np.cos(k * y[m]), np.sin(k * y[m])
        z_re, z_im = np.empty((l_max + 1, n)), np.empty((l_max + 1, n))
        for l in range(l_max + 1):
            for m in range(n):
                z_re[l, m], z_im[l, m] = np.cos(l * z[m]), np.sin(l * z[m])
        h_re, h_im, hk_re, hk_im = np.empty(n), np.empty(n), np.empty(n), np.empty(n)

        for h in range(h_max + 1):
            for m in range(n):
                h_re[m], h_im[m] = weight[m] * np.cos(h * x[m]), weight[m] * np.sin(h * x[m])
            for k in range(-k_max if h > 0 else 0, k_max + 1):
                # l range from g_ll l^2 + (g_hl h + g_kl k) l + g2_hk <= g2_max.
                g2_hk = g_hh * h * h + g_hk * h * k + g_kk * k * k
                half = 0.5 * (g_hl * h + g_kl * k)
                inside = half * half - g_ll * (g2_hk - g2_max)
                if inside < 0.0:
                    continue
                root = np.sqrt(inside)
                l_low = int(np.ceil((-half - root) / g_ll))
                l_high = int(np.floor((-half + root) / g_ll))
                if h == 0 and k == 0:
                    l_low = 1
                l_low, l_high = max(l_low, -l_max), min(l_high, l_max)
                if l_low > l_high:
                    continue
                sign = -1.0 if k < 0 else 1.0
                for m in range(n):
                    u, v = y_re[abs(k), m], sign * y_im[abs(k), m]
                    hk_re[m] = h_re[m] * u - h_im[m] * v
                    hk_im[m] = h_re[m] * v + h_im[m] * u
                for l in range(l_low, l_high + 1):
                    g2 = g2_hk + 2.0 * half * l + g_ll * l * l
                    if g2 < g2_min or g2 > g2_max:
                        continue
                    row = min(int(g2 * rows_per_g2), last_row)
                    t = g2 * rows_per_g2 - row
                    re, im = 0.0, 0.0
                    zr, zi = z_re[abs(l)], z_im[abs(l)]
                    for e in range(n_species):
                        cc, ss, cs, sc = 0.0, 0.0, 0.0, 0.0
                        for m in range(start[e], start[e + 1]):
                            cc += hk_re[m] * zr[m]
                            ss += hk_im[m] * zi[m]
                            cs += hk_re[m] * zi[m]
                            sc += hk_im[m] * zr[m]
                        f = factors[species[e], row] * (1.0 - t) + factors[species[e], row + 1] * t
                        if l >= 0:
                            re += f * (cc - ss)
                            im += f * (cs + sc)
                        else:
                            re += f * (cc + ss)
                            im += f * (sc - cs)
                    sin2 = 0.25 * wavelength * wavelength * g2
                    cos_2theta = 1.0 - 2.0 * sin2
                    lorentz_polarization = (1.0 + cos_2theta * cos_2theta) / (sin2 * np.sqrt(1.0 - sin2))
                    intensity = 2.0 * (re * re + im * im) * lorentz_polarization
                    if intensity == 0.0:
                        continue
                    two_theta = 2.0 * degrees * np.arcsin(np.sqrt(sin2))
                    at = (two_theta - two_theta_min) * per_step
                    if fwhm <= 0.0:
                        pattern[min(int(at), n_bins - 1)] += intensity
                    else:
                        _draw_peak(pattern, at - 0.5, intensity, fwhm * per_step, lorentzian, step)
    return patterns


@njit(nogil=True, cache=True)
def _draw_peak(pattern: np.ndarray, at: float, area: float, fwhm: float, lorentzian: float, step: float) -> None:
    """Add one peak; ``at`` and ``fwhm`` in bins (bin centres at integers), height per degree."""
    if lorentzian < 1.0:
        alpha = 4.0 * np.log(2.0) / (fwhm * fwhm)
        low = max(0, int(np.ceil(at - _GAUSSIAN_REACH * fwhm)))
        high = min(len(pattern) - 1, int(np.floor(at + _GAUSSIAN_REACH * fwhm)))
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
