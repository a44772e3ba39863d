"""All checks that a crystal must pass before it becomes a :class:`Crystal` record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from .compilation import njit
from .elements import N_ELEMENTS, atomic_number_of, symbols
from ..errors import (
    CoordinateError,
    CrystalInputError,
    EmptyStructureError,
    LatticeError,
    OccupancyError,
    OverlappingAtomsError,
    UnknownElementError,
    UnsupportedObjectError,
    an_object,
    counted,
)
from .proximity import coinciding_sites, squared_distance
from .records import Crystal, Occupancies

MIN_THICKNESS = 0.1
"""Smallest distance between opposite faces of a cell, Å."""

MIN_DISTANCE = 0.1
"""Atoms closer than this are an error, Å."""

MAX_LENGTH = 10_000.0
"""Longest cell vector, Å."""

_CHECKED = "_is_checked"  # name under which a record remembers it
_FEW = 300  # sites of which all pairs are compared

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
        UnknownElementError, OccupancyError, OverlappingAtomsError; UnsupportedObjectError if the species are no list.

    Examples
    --------
    >>> make_crystal([{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]], 2.8 * np.eye(3), "CuAu").formula
    'Cu0.5Au0.5'
    """
    if type(species) is not list and (
        isinstance(species, Mapping | str | bytes | set | np.ma.MaskedArray) or not hasattr(species, "__len__")
    ):
        what = f"{an_object(species)} as the species"
        raise UnsupportedObjectError(material_id, what, "the species are a list, one entry for each site")
    if getattr(species, "ndim", 1) != 1:
        raise UnknownElementError(material_id, f"species in an array of {species.ndim} dimensions")  # type: ignore
    frac = real_numbers(frac_coords, CoordinateError, material_id, "coordinates")
    if len(species) == 0:
        raise EmptyStructureError(material_id, "0 sites")
    if frac.shape != (len(species), 3):
        raise CoordinateError(material_id, f"coordinates of shape {frac.shape} for {counted(len(species), 'site')}")
    site = wrap_into_cell(frac)
    if site >= 0:
        raise CoordinateError(material_id, f"site {site} at {frac[site].tolist()}")
    atomic_numbers, occupancies = _split_species(species, material_id)
    matrix = check_lattice(lattice, material_id)
    few = len(frac) <= _FEW
    first, second, distance = closest_pair(frac, matrix) if few else _near_pair(frac, matrix, min_distance)
    if distance < min_distance:
        raise OverlappingAtomsError(material_id, f"sites {first} and {second}, {distance:.3f} Å apart")
    crystal = Crystal(atomic_numbers, frac, matrix, material_id, occupancies)
    vars(crystal)[_CHECKED] = True
    return crystal


def check_record(crystal: Crystal) -> Crystal:
    """The crystal, after a check of the values of one that was made by its constructor.

    Raises
    ------
    CrystalInputError
        If there are no sites or no volume, or a value is no number, or no element.
    """
    if _CHECKED in vars(crystal):  # by an earlier call: a record does not change
        return crystal
    name, species = crystal.material_id, crystal.occupancies
    if not crystal.num_nodes:
        raise EmptyStructureError(name, "0 sites")
    fault = _first_fault(crystal.atomic_numbers, crystal.frac_coords, crystal.lattice)
    if fault >= 0:
        site = f"of site {fault}"
        if not 1 <= crystal.atomic_numbers[fault] <= N_ELEMENTS:
            raise UnknownElementError(name, f"atomic number {crystal.atomic_numbers[fault]} {site}")
        if not np.isfinite(crystal.frac_coords[fault]).all():
            raise CoordinateError(name, f"coordinates {crystal.frac_coords[fault].tolist()} {site}")
        raise LatticeError(name, f"cell vectors {crystal.lattice.tolist()}")
    if species is not None:
        if species.atomic_numbers.min() < 1 or species.atomic_numbers.max() > N_ELEMENTS:
            raise UnknownElementError(name, f"atomic numbers {species.atomic_numbers.tolist()[:100]}")
        if not 0.0 < species.occupancy.min() <= species.occupancy.max() <= 1.0 + OCCUPANCY_TOLERANCE:
            raise OccupancyError(name, f"occupancies {species.occupancy.tolist()[:100]}")
    vars(crystal)[_CHECKED] = True
    return crystal


@njit(nogil=True)
def _first_fault(numbers: np.ndarray, frac: np.ndarray, lattice: np.ndarray) -> int:
    """The first site that is no element or lies nowhere, 0 for a cell without volume; -1 if nothing is wrong."""
    volume = 0.0
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        volume += lattice[0, k] * (lattice[1, i] * lattice[2, j] - lattice[1, j] * lattice[2, i])
    if not 0.0 < abs(volume) < np.inf:
        return 0
    for site in range(len(numbers)):
        total = frac[site, 0] + frac[site, 1] + frac[site, 2]
        if not (1 <= numbers[site] <= N_ELEMENTS and np.isfinite(total)):
            return site
    return -1


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
def _longest_vector(lattice: np.ndarray) -> float:
    """Length of the longest cell vector, Å; infinite where its square is."""
    squared = 0.0
    for k in range(3):
        squared = max(squared, lattice[k, 0] ** 2 + lattice[k, 1] ** 2 + lattice[k, 2] ** 2)
    return np.sqrt(squared)


@njit(nogil=True)
def closest_pair(frac: np.ndarray, lattice: np.ndarray) -> tuple[int, int, float]:
    """The two sites nearest to each other, and their distance in Å.

    The result is exact for distances below half the thickness of the cell, and only used to find overlapping atoms.
    """
    best, first, second = np.inf, 0, 0
    for i in range(len(frac)):
        for j in range(i + 1, len(frac)):
            squared = squared_distance(frac, i, j, lattice)
            if squared < best:
                best, first, second = squared, i, j
    return first, second, np.sqrt(best)


def _near_pair(frac: np.ndarray, lattice: np.ndarray, nearer_than: float) -> tuple[int, int, float]:
    """Two sites closer than a distance, and how far they are apart in Å, which is infinite if there are none."""
    same = coinciding_sites(frac, lattice, nearer_than)
    later = np.flatnonzero(same != np.arange(len(frac)))
    if not len(later):
        return 0, 0, np.inf
    pair = [int(same[later[0]]), int(later[0])]
    return *pair, closest_pair(frac[pair], lattice)[2]


def real_numbers(values: Any, kind: type[CrystalInputError], material_id: str, what: str) -> np.ndarray:
    """A new float array of real numbers; texts, complex or masked numbers, and ragged lists are an error.

    Parameters
    ----------
    values : array-like
    kind : subclass of CrystalInputError
    material_id, what : str
        For the error: whose, and which numbers these are.
    """
    try:
        array = np.array(values)
        if array.dtype.kind in "iuf" and not isinstance(values, np.ma.MaskedArray):
            return array.astype(float, copy=False)
        if array.dtype.kind == "O" and not any(isinstance(x, str | bytes | complex) for x in array.flat):
            array = array.astype(float)  # such as decimals
        masked = np.ma.getmask(values) if isinstance(values, np.ma.MaskedArray) else False
    except (TypeError, ValueError, OverflowError) as error:
        raise kind(material_id, f"{what} that are no table of numbers ({str(error)[:100]})") from error
    if np.any(masked) or (array.dtype.kind not in "iuf" and array.size):
        shown = "masked" if np.any(masked) else f"of type {array.dtype}, first {str(array.flat[0])[:40]!r}"
        raise kind(material_id, f"{what} {shown}")
    return array.astype(float, copy=False)


def check_lattice(lattice: Any, material_id: str) -> np.ndarray:
    """The lattice as a (3, 3) float array; a LatticeError if it is not one of a crystal."""
    matrix = real_numbers(lattice, LatticeError, material_id, "cell vectors")
    if matrix.shape != (3, 3):
        raise LatticeError(material_id, f"cell vectors of shape {matrix.shape}")
    volume, thickness = cell_size(matrix)
    if not MIN_THICKNESS <= thickness < np.inf:  # also false of NaN
        raise LatticeError(material_id, f"volume {volume:.3g} Å^3, thinnest direction {thickness:.3g} Å")
    if (longest := _longest_vector(matrix)) > MAX_LENGTH:
        raise LatticeError(
            material_id, f"a cell vector of {longest:.6g} Å", f"cell vectors are at most {MAX_LENGTH:,.0f} Å long"
        )
    return matrix


def _split_species(species: Sequence[Any], material_id: str) -> tuple[np.ndarray, Occupancies | None]:
    kinds = set() if isinstance(species, np.ndarray) and species.dtype.kind in "iu" else set(map(type, species))
    if not any(issubclass(kind, dict | str | Mapping) for kind in kinds):
        return check_atomic_numbers(species, material_id), None
    number_of = atomic_number_of()
    rows: list[tuple[int, int, float]] = []
    for site, parts in enumerate(species):
        amounts: dict[int, float] = {}
        if type(parts) is dict and len(parts) == 1:  # a site of one species without vacancies, as most are
            [(key, occupancy)] = parts.items()
            if type(occupancy) in (float, int) and occupancy == 1 and type(key) is str and key in number_of:
                rows.append((site, number_of[key], 1.0))
                continue
        if isinstance(parts, str):
            z = number_of.get(parts, 0)
            if not z:
                raise UnknownElementError(material_id, f"species {parts[:40]!r} on site {site}")
            rows.append((site, z, 1.0))
            continue
        for key, occupancy in parts.items() if isinstance(parts, dict | Mapping) else ((parts, 1.0),):
            z = number_of.get(key, 0) if isinstance(key, str) else _whole(key)
            if not 1 <= z <= N_ELEMENTS:
                raise UnknownElementError(material_id, f"species {str(key)[:40]!r} on site {site}")
            if (
                not isinstance(occupancy, float | int | Real)
                or not 0.0 <= float(occupancy) <= 1.0 + OCCUPANCY_TOLERANCE
            ):
                told = f"occupancy {str(occupancy)[:40]} of {symbols()[z]} on site {site}"
                raise OccupancyError(material_id, told)
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


def _whole(number: Any) -> int:
    """A whole number as an int; 0, which is no element, for anything else."""
    return int(number) if isinstance(number, Integral) or isinstance(number, float) and number.is_integer() else 0


def check_atomic_numbers(numbers: Any, material_id: str) -> np.ndarray:
    """The atomic numbers as an int16 array; an UnknownElementError if one is not an element."""
    try:
        z = np.array(numbers)
    except ValueError as error:  # ragged
        raise UnknownElementError(material_id, f"species {str(numbers[0])[:40]!r} and others") from error
    if z.dtype.kind not in "iu" or z.ndim != 1:
        raise UnknownElementError(material_id, f"species {str(z[0])[:40]!r}")
    if z.min() < 1 or z.max() > N_ELEMENTS:
        site = int(np.argmax((z < 1) | (z > N_ELEMENTS)))
        raise UnknownElementError(material_id, f"atomic number {z[site]} on site {site}")
    return z.astype(np.int16)
