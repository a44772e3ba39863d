"""Whether a crystal is what its file states of it, and whether its atoms are as far apart as atoms are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from .cif.statements import Statements
from .compilation import njit
from .elements import element_table, symbols
from ..errors import CrystalInputError, OverlappingAtomsError, StatementError
from .proximity import squared_distance
from .records import Crystal

CLOSEST = 0.6
"""Atoms nearer than this share of the sum of their covalent radii are nearer than in bonds: 26 of 40,000 calculated
crystals of the Materials Project have such a pair, all of them far from any measured distance."""

AMOUNT_TOLERANCE = 0.03
"""Relative deviation of amounts and densities that is blamed on rounded numbers and on the state of refinement."""

VOLUME_TOLERANCE = 0.01
"""Relative deviation of volumes that is blamed on rounded numbers."""

MAX_SITES = 20_000
"""Distances are not compared in larger cells: there are too many pairs."""

DENSITY_UNIT = 1.66053907
"""Density of one atomic mass unit in 1 Å^3, g/cm^3."""


def composition_of(crystal: Crystal) -> dict[int, float]:
    """Atoms of each atomic number in the cell.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> composition_of(make_crystal([{"Cu": 0.5, "Au": 0.5}, "O"], [[0, 0, 0], [.5, .5, .5]], 3 * np.eye(3)))
    {8: 1.0, 29: 0.5, 79: 0.5}
    """
    amounts = np.bincount(crystal.species.atomic_numbers, crystal.species.occupancy)
    return {int(z): float(amounts[z]) for z in np.flatnonzero(amounts)}


def density_of(crystal: Crystal) -> float:
    """Density in g/cm^3.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> silicon = make_crystal([14, 14], [[0, 0, 0], [.25, .25, .25]], 2.715 * (1 - np.eye(3)))
    >>> round(density_of(silicon), 2)
    2.33
    """
    mass = element_table()["mass_u"]
    return float(DENSITY_UNIT * sum(n * mass[z - 1] for z, n in composition_of(crystal).items()) / crystal.volume)


def find_contradictions(crystal: Crystal, stated: Statements) -> list[CrystalInputError]:
    """What a crystal and the statements of its file say differently, each as an error that is not raised.

    The formula and Z are compared with the atoms, and the stated volume with the cell. Hydrogen that is stated and not
    listed is told as such. The density is compared only where formula and Z agree, or are not stated.

    Returns
    -------
    list of CrystalInputError

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> salt = make_crystal(["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]], 5.64 * np.eye(3), "salt")
    >>> for error in find_contradictions(salt, Statements({11: 1.0, 17: 1.0}, formula_units=4)):
    ...     print(error.value)
    1 formula unit of ClNa in the cell, Z = 4 is stated
    """
    found = list(_of_amounts(composition_of(crystal), stated))
    density = density_of(crystal)
    if not found and _differ(density, stated.density, AMOUNT_TOLERANCE):
        found.append(f"density {density:.3f} g/cm^3, {stated.density:g} is stated")
    if _differ(crystal.volume, stated.volume, VOLUME_TOLERANCE):
        found.append(f"volume {crystal.volume:.2f} Å^3, {stated.volume:g} is stated")
    return [StatementError(crystal.material_id, text) for text in found]


def _differ(value: float, stated: float, tolerance: float) -> bool:
    return abs(value - stated) > tolerance * stated  # false where nothing is stated


def _agrees(units: float, stated: float) -> bool:
    return not _differ(units, stated, AMOUNT_TOLERANCE)


def _of_amounts(amounts: Mapping[int, float], stated: Statements) -> Iterator[str]:
    """What formula and Z contradict, in words."""
    if stated.formula is None:
        return
    heavy = {z: n for z, n in stated.formula.items() if z > 1} or dict(stated.formula)
    units = sum(amounts.get(z, 0.0) for z in heavy) / sum(heavy.values())
    listed = f"{formula_text(amounts)} in the cell"
    if not _agree({z: n for z, n in amounts.items() if z in heavy or z > 1}, heavy, units):
        yield f"{listed}, {formula_text(stated.formula)} is stated"
        return
    missing = units * stated.formula.get(1, 0.0) - amounts.get(1, 0.0)
    if 1 not in heavy and abs(missing) > _tolerance(units * stated.formula.get(1, 0.0), units):
        what = f"{abs(missing):g} hydrogen atoms {'fewer' if missing > 0 else 'more'}"
        yield f"{listed}, {what} than {formula_text(stated.formula)} states"
    if not any(_agrees(units * times, stated.formula_units) for times in _divisors(stated.formula)):
        plural = "" if math.isclose(units, 1.0) else "s"
        formula = formula_text(stated.formula)
        yield f"{units:.4g} formula unit{plural} of {formula} in the cell, Z = {stated.formula_units:g} is stated"


def _divisors(formula: Mapping[int, float]) -> list[int]:
    """How many smaller formulas a formula may hold: pymatgen writes that of the cell, and Z of the reduced one."""
    whole = [round(n) for n in formula.values()]
    greatest = math.gcd(*whole) if all(n == k for n, k in zip(formula.values(), whole, strict=True)) else 1
    return [times for times in range(1, greatest + 1) if greatest % times == 0]


def _agree(amounts: Mapping[int, float], formula: Mapping[int, float], units: float) -> bool:
    return units > 0 and all(
        abs(amounts.get(z, 0.0) - units * formula.get(z, 0.0)) <= _tolerance(units * formula.get(z, 0.0), units)
        for z in {*amounts, *formula}
    )


def _tolerance(amount: float, units: float) -> float:
    return AMOUNT_TOLERANCE * amount + 0.02 * units  # formulas are printed with two decimals


def formula_text(amounts: Mapping[int, float]) -> str:
    """A formula as text: carbon, hydrogen, then the others by their symbols.

    Examples
    --------
    >>> formula_text({8: 1.0, 1: 6.0, 6: 2.0}), formula_text({26: 0.95, 8: 1})
    ('C2H6O', 'Fe0.95O')
    """
    order = sorted(amounts, key=lambda z: ((6, 1).index(z) if z in (6, 1) and 6 in amounts else 2, symbols()[z]))
    return "".join(symbols()[z] + ("" if math.isclose(amounts[z], 1.0) else f"{amounts[z]:.5g}") for z in order)


def find_close_pair(crystal: Crystal) -> list[CrystalInputError]:
    """The two atoms that are nearest to each other for their radii, if they are nearer than :data:`CLOSEST`.

    Sites whose occupancies sum to at most 1 hold one atom or the other, and may be as near as they are.

    Returns
    -------
    list of CrystalInputError
        An error that is not raised, or none.
    """
    if crystal.num_nodes > MAX_SITES:
        return []
    species = crystal.species
    occupancy = np.bincount(species.site, species.occupancy)
    radius = element_table()["covalent_radius_angstrom"][crystal.atomic_numbers - 1]
    first, second, distance, share = closest_by_radius(crystal.frac_coords, crystal.lattice, radius, occupancy)
    if share >= CLOSEST:
        return []
    one, other = (f"{symbols()[crystal.atomic_numbers[site]]} (site {site})" for site in (first, second))
    return [
        OverlappingAtomsError(
            crystal.material_id,
            f"{one} and {other} are {distance:.2f} Å apart, {share:.0%} of the sum of their covalent radii",
            f"atoms that are there together are at least {CLOSEST:.0%} of the sum of their covalent radii apart",
            "Check coordinates, cell and symmetry operations, or give alternative positions partial occupancies.",
        )
    ]


@njit(nogil=True)
def closest_by_radius(
    frac: np.ndarray, lattice: np.ndarray, radius: np.ndarray, occupancy: np.ndarray
) -> tuple[int, int, float, float]:
    """The pair of sites with the smallest distance for its radii, among those that can be occupied together.

    Returns
    -------
    first, second : int
    distance : float
        Å.
    share : float
        The distance over the sum of the radii; infinite if there is no pair.
    """
    best, first, second, nearest = np.inf, 0, 0, np.inf
    for i in range(len(frac)):
        for j in range(i + 1, len(frac)):
            if occupancy[i] + occupancy[j] <= 1.001:
                continue
            distance = np.sqrt(squared_distance(frac, i, j, lattice))
            share = distance / (radius[i] + radius[j])
            if share < best:
                best, first, second, nearest = share, i, j, distance
    return first, second, nearest, best
