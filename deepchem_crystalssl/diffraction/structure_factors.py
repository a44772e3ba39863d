"""Structure factors of crystals, and the scattering factors of their atoms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ..crystals.compilation import njit
from ..crystals.elements import N_ELEMENTS, atomic_number_of, scattering_parameters
from ..crystals.reciprocal import are_too_large, fill_phases, largest_indices, list_half_space, size_error
from ..crystals.records import Crystal
from ..errors import UnknownElementError
from .grid import XRDGrid

_N_SCATTERING = 4096  # rows of the interpolated table of scattering factors; its error is below 1e-6 electrons


def scattering_table(grid: XRDGrid, debye_waller: Mapping[str, float] | float) -> np.ndarray:
    """Scattering factors with Debye-Waller factors, f_Z(s) exp(-B_Z s^2), as a function of s = sin(theta) / lambda.

    Parameters
    ----------
    grid : XRDGrid
        Its largest angle is the end of the table.
    debye_waller : float or mapping from element symbol to float
        B of all elements or of each, Å^2; 0 for an element that the mapping does not name.

    Returns
    -------
    numpy.ndarray
        (119, R), for each atomic number on an even grid of s^2 from 0. NaN for an element without scattering factor.

    Raises
    ------
    UnknownElementError
        If the mapping names no element.
    """
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


@lru_cache(maxsize=8)  # it takes as long as a hundred patterns
def _tabulate_scattering(s2_max: float, displacement: tuple[float, ...]) -> np.ndarray:
    s2 = np.linspace(0.0, s2_max, _N_SCATTERING)
    a, b = scattering_parameters()[..., 0, None], scattering_parameters()[..., 1, None]
    z = np.arange(N_ELEMENTS + 1)[:, None]
    factors = z - 41.78214 * s2 * (a * np.exp(-b * s2)).sum(1)
    return factors * np.exp(-np.array(displacement)[:, None] * s2)


def reflections(crystal: Crystal, grid: XRDGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reflections of a crystal within the angular range of a grid: :func:`structure_factors`.

    Intensities are NaN if an element has no scattering factor.

    Raises
    ------
    LimitError
        If the crystal has too many reflections.
    """
    species = crystal.species
    g_min, g_max = 2.0 * np.sin(np.radians([grid.two_theta_min, grid.two_theta_max]) / 2) / grid.wavelength_angstrom
    if are_too_large(crystal.lattice[None], np.array([len(species.site)]), float(g_max))[0]:
        raise size_error(crystal.lattice, crystal.num_nodes, float(g_max), crystal.material_id)
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


@njit(nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
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
    r"""Squared structure factors of one of every two opposite reflections with g_min <= \|g\| <= g_max.

    Each phase factor is the product of three tabulated ones, one for each Miller index, so that the inner loop has a
    few multiplications per atom.

    Parameters
    ----------
    lengths, metric
        Of the cell, as in :func:`.list_half_space`.
    atomic_numbers, positions, occupancy : (M,), (M, 3), (M,)
        Of the atoms; positions are fractional coordinates.
    factors : (119, R)
        Scattering factors from :func:`scattering_table`.
    g_min, g_max : float
        1/Å.

    Returns
    -------
    g2, intensity : (R,) float64
        Squared length of the reciprocal lattice vector (1/Å^2), and \|F\|^2 (electrons squared).
    hkl : (R, 3) int32
        Miller indices.
    """
    hkl, g2 = list_half_space(lengths, metric, g_min, g_max)
    rows_per_g2 = (factors.shape[1] - 1) / (g_max * g_max)

    # With the atoms in the order of their elements, the sum over one element is one contiguous stretch.
    order = np.argsort(atomic_numbers)
    species, start, weight = atomic_numbers[order], np.zeros(len(order) + 1, np.int64), occupancy[order]
    n_species, n_sites = 0, len(order)
    for m in range(n_sites):
        if m == 0 or species[n_species - 1] != atomic_numbers[order[m]]:
            species[n_species], start[n_species] = atomic_numbers[order[m]], m
            n_species += 1
    start[n_species] = n_sites

    h_max, k_max, l_max = largest_indices(lengths, g_max)
    h_re, h_im = np.empty((h_max + 1, n_sites)), np.empty((h_max + 1, n_sites))
    k_re, k_im = np.empty((k_max + 1, n_sites)), np.empty((k_max + 1, n_sites))
    l_re, l_im = np.empty((l_max + 1, n_sites)), np.empty((l_max + 1, n_sites))
    fill_phases(positions[order, 0], h_re, h_im)
    fill_phases(positions[order, 1], k_re, k_im)
    fill_phases(positions[order, 2], l_re, l_im)
    hk_re, hk_im, factor = np.empty(n_sites), np.empty(n_sites), np.empty(n_sites)
    intensity = np.empty(len(g2))
    for n in range(len(g2)):
        h, k, l = hkl[n, 0], hkl[n, 1], hkl[n, 2]
        if n == 0 or h != hkl[n - 1, 0] or k != hkl[n - 1, 1]:
            sign = -1.0 if k < 0 else 1.0
            for m in range(n_sites):
                u, v = k_re[abs(k), m], sign * k_im[abs(k), m]
                hk_re[m] = weight[m] * (h_re[h, m] * u - h_im[h, m] * v)
                hk_im[m] = weight[m] * (h_re[h, m] * v + h_im[h, m] * u)
        row = min(int(g2[n] * rows_per_g2), factors.shape[1] - 2)
        part = g2[n] * rows_per_g2 - row
        for e in range(n_species):
            f = factors[species[e], row] * (1.0 - part) + factors[species[e], row + 1] * part
            for m in range(start[e], start[e + 1]):
                factor[m] = f
        sign = -1.0 if l < 0 else 1.0
        re, im = 0.0, 0.0
        for m in range(n_sites):
            u, v = l_re[abs(l), m], sign * l_im[abs(l), m]
            re += factor[m] * (hk_re[m] * u - hk_im[m] * v)
            im += factor[m] * (hk_re[m] * v + hk_im[m] * u)
        intensity[n] = re * re + im * im
    return g2, intensity, hkl
