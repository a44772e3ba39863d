"""All checks that a crystal must pass before it becomes a :class:`Crystal` record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .compilation import njit
from .elements import N_ELEMENTS, atomic_number_of, symbols
from ..errors import (
    CoordinateError,
    EmptyStructureError,
    LatticeError,
    OccupancyError,
    OverlappingAtomsError,
    UnknownElementError,
    counted,
)
from .records import Crystal, Occupancies

MIN_THICKNESS = 0.1
"""Smallest distance between opposite faces of a cell, Å."""

MIN_DISTANCE = 0.1
"""Atoms closer than this are an error, Å."""

OCCUPANCY_TOLERANCE = 1e-3
"""Occupancies of a site that exceed 1 in sum by at most this are rounded numbers, and are scaled down to 1."""


def lattice_from_parameters(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> np.ndarray:
    """Cell vectors as rows, (3, 3) in Å, from lengths (Å) and angles (degrees).

    c lies along z and a in the xz plane, as in pymatgen.

    Examples
    --------
    >>> lattice_from_parameters(2, 3, 4, 90, 90, 90).round(6).tolist()
    [[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]]
    """
    cos_alpha, cos_beta, cos_gamma = (math.cos(math.radians(x)) for x in (alpha, beta, gamma))
    sin_alpha, sin_beta = math.sin(math.radians(alpha)), math.sin(math.radians(beta))
    sines = sin_alpha * sin_beta
    cos_gamma_star = min(1.0, max(-1.0, (cos_alpha * cos_beta - cos_gamma) / sines)) if sines else math.nan
    sin_gamma_star = math.sqrt(1.0 - cos_gamma_star**2)
    return np.array(
        [
            [a * sin_beta, 0.0, a * cos_beta],
            [-b * sin_alpha * cos_gamma_star, b * sin_alpha * sin_gamma_star, b * cos_alpha],
            [0.0, 0.0, c],
        ]
    )


def make_crystal(
    species: Sequence[Any],
    frac_coords: Any,
    lattice: Any,
    material_id: str = "",
    min_distance: float = MIN_DISTANCE,
) -> Crystal:
    """Check species, coordinates and lattice, and make a :class:`Crystal` of them.

    Parameters
    ----------
    species : sequence of length N
        Per site an atomic number or a symbol, or a dict from these to occupancies. D and T count as hydrogen.
    frac_coords : array-like (N, 3)
        Fractional coordinates; wrapped into the cell.
    lattice : array-like (3, 3)
        Cell vectors as rows, Å.
    material_id : str
        Name used in errors and results.
    min_distance : float
        Sites closer than this are an error, Å.

    Returns
    -------
    Crystal

    Raises
    ------
    CrystalInputError
        A subclass that names the rule that is broken: EmptyStructureError, CoordinateError, LatticeError,
        UnknownElementError, OccupancyError, OverlappingAtomsError.

    Examples
    --------
    >>> make_crystal([{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]], 2.8 * np.eye(3), "CuAu").formula
    'Cu0.5Au0.5'
    """
    frac = np.array(frac_coords, float)
    if len(species) == 0:
        raise EmptyStructureError(material_id, "0 sites")
    if frac.shape != (len(species), 3):
        raise CoordinateError(material_id, f"coordinates of shape {frac.shape} for {counted(len(species), 'site')}")
    site = wrap_into_cell(frac)
    if site >= 0:
        raise CoordinateError(material_id, f"site {site} at {frac[site].tolist()}")
    atomic_numbers, occupancies = _split_species(species, material_id)
    matrix = check_lattice(lattice, material_id)
    first, second, distance = closest_pair(frac, matrix)
    if distance < min_distance:
        raise OverlappingAtomsError(material_id, f"sites {first} and {second}, {distance:.3f} Å apart")
    return Crystal(atomic_numbers, frac, matrix, material_id, occupancies)


@njit(nogil=True)
def wrap_into_cell(frac: np.ndarray) -> int:
    """Wrap coordinates into [0, 1) in place; return the first site whose coordinates are not finite, or -1."""
    for site in range(len(frac)):
        for axis in range(3):
            x = frac[site, axis]
            if not np.isfinite(x):
                return site
            x -= np.floor(x)
            frac[site, axis] = 0.0 if x >= 1.0 else x  # -1e-17 wraps to 1.0 in floating point
    return -1


@njit(nogil=True)
def cell_size(lattice: np.ndarray) -> tuple[float, float]:
    """Volume of a cell (Å^3) and the smallest distance between its opposite faces (Å)."""
    volume, largest = 0.0, 0.0
    for k in range(3):
        u, v = lattice[(k + 1) % 3], lattice[(k + 2) % 3]
        x, y, z = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
        volume = abs(lattice[k, 0] * x + lattice[k, 1] * y + lattice[k, 2] * z)
        largest = max(largest, np.sqrt(x * x + y * y + z * z))
    return volume, volume / largest if largest > 0.0 else 0.0


@njit(nogil=True)
def closest_pair(frac: np.ndarray, lattice: np.ndarray) -> tuple[int, int, float]:
    """The two sites nearest to each other, and their distance in Å.

    The result is exact for distances below half the thickness of the cell, and only used to find overlapping atoms.
    """
    best, first, second = np.inf, 0, 0
    for i in range(len(frac)):
        for j in range(i + 1, len(frac)):
            u, v, w = frac[j, 0] - frac[i, 0], frac[j, 1] - frac[i, 1], frac[j, 2] - frac[i, 2]
            u, v, w = u - np.floor(u + 0.5), v - np.floor(v + 0.5), w - np.floor(w + 0.5)
            x = u * lattice[0, 0] + v * lattice[1, 0] + w * lattice[2, 0]
            y = u * lattice[0, 1] + v * lattice[1, 1] + w * lattice[2, 1]
            z = u * lattice[0, 2] + v * lattice[1, 2] + w * lattice[2, 2]
            squared = x * x + y * y + z * z
            if squared < best:
                best, first, second = squared, i, j
    return first, second, np.sqrt(best)


def check_lattice(lattice: Any, material_id: str) -> np.ndarray:
    """The lattice as a (3, 3) float array; a LatticeError if it is not one of a crystal."""
    try:
        matrix = np.array(lattice, float)
    except (TypeError, ValueError) as error:
        raise LatticeError(material_id, f"cell vectors {lattice!r}") from error
    if matrix.shape != (3, 3):
        raise LatticeError(material_id, f"cell vectors {matrix.tolist()}")
    volume, thickness = cell_size(matrix)
    if not MIN_THICKNESS <= thickness < np.inf:  # also false of NaN
        raise LatticeError(material_id, f"volume {volume:.3g} Å^3, thinnest direction {thickness:.3g} Å")
    return matrix


def _split_species(species: Sequence[Any], material_id: str) -> tuple[np.ndarray, Occupancies | None]:
    if not any(isinstance(s, dict | str) for s in species):
        return check_atomic_numbers(species, material_id), None
    number_of = atomic_number_of()
    rows: list[tuple[int, int, float]] = []
    for site, parts in enumerate(species):
        amounts: dict[int, float] = {}
        for key, occupancy in (parts if isinstance(parts, dict) else {parts: 1.0}).items():
            z = number_of.get(key, 0) if isinstance(key, str) else int(key)
            if not 1 <= z <= N_ELEMENTS:
                raise UnknownElementError(material_id, f"species {str(key)!r} on site {site}")
            if not 0.0 <= occupancy <= 1.0 + OCCUPANCY_TOLERANCE:
                raise OccupancyError(material_id, f"occupancy {occupancy:g} of {symbols()[z]} on site {site}")
            amounts[z] = amounts.get(z, 0.0) + float(occupancy)
        total = sum(amounts.values())
        if not 0.0 < total <= 1.0 + OCCUPANCY_TOLERANCE:
            raise OccupancyError(material_id, f"total occupancy {total:g} on site {site}")
        rows += [(site, z, x / max(total, 1.0)) for z, x in sorted(amounts.items()) if x > 0.0]
    if len(rows) == len(species) and all(occupancy == 1.0 for _, _, occupancy in rows):
        return np.array([z for _, z, _ in rows], np.int16), None
    sites, numbers, shares = (np.array(column) for column in zip(*rows, strict=True))
    order = np.lexsort((numbers, -shares, sites))
    first = np.searchsorted(sites[order], np.arange(len(species)))
    dominant = numbers[order][first].astype(np.int16)
    return dominant, Occupancies(sites.astype(np.int32), numbers.astype(np.int16), shares.astype(float))


def check_atomic_numbers(numbers: Any, material_id: str) -> np.ndarray:
    """The atomic numbers as an int16 array; an UnknownElementError if one is not an element."""
    z = np.array(numbers)
    if z.dtype.kind not in "iu":
        raise UnknownElementError(material_id, f"species {z[0]!r}")
    if z.min() < 1 or z.max() > N_ELEMENTS:
        site = int(np.argmax((z < 1) | (z > N_ELEMENTS)))
        raise UnknownElementError(material_id, f"atomic number {z[site]} on site {site}")
    return z.astype(np.int16)
