"""Whether the atoms of a crystal are as far apart as atoms are."""

from __future__ import annotations

import numpy as np

from .compilation import njit
from .elements import element_table, symbols
from ..errors import CrystalInputError, OverlappingAtomsError
from .proximity import squared_distance
from .records import Crystal

CLOSEST = 0.6
"""Atoms nearer than this share of the sum of their covalent radii are nearer than in bonds: 26 of 40,000 calculated
crystals of the Materials Project have such a pair, all of them far from any measured distance."""

MAX_SITES = 20_000
"""Distances are not compared in larger cells: there are too many pairs."""


def find_close_pair(crystal: Crystal) -> list[CrystalInputError]:
    """The two atoms that are nearest to each other for their radii, if they are nearer than :data:`CLOSEST`.

    Sites whose occupancies sum to at most 1 hold one atom or the other, and may be as near as they are.

    Returns
    -------
    list of CrystalInputError
        An error that is not raised, or none.
    """
    told, share = closest_contact(crystal)
    if share >= CLOSEST:
        return []
    return [
        OverlappingAtomsError(
            crystal.material_id,
            told,
            f"atoms that are there together are at least {CLOSEST:.0%} of the sum of their covalent radii apart",
            "Check coordinates, cell and symmetry operations, or give alternative positions partial occupancies.",
        )
    ]


def closest_contact(crystal: Crystal) -> tuple[str, float]:
    """The two atoms that are nearest to each other for their radii, in words, and the share of the sum of these.

    Sites whose occupancies sum to at most 1 are left out, and so are all in cells with more than :data:`MAX_SITES`; if
    nothing remains, the text is empty and the share infinite.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> closest_contact(make_crystal(["C", "O"], [[0, 0, 0], [.1, 0, 0]], 9 * np.eye(3)))[0]
    'C (site 0) and O (site 1), 0.90 Å apart, 65% of the sum of their covalent radii'
    """
    if crystal.num_nodes > MAX_SITES:
        return "", np.inf
    species = crystal.species
    occupancy = np.bincount(species.site, species.occupancy)
    radius = element_table()["covalent_radius_angstrom"][crystal.atomic_numbers - 1]
    first, second, distance, share = closest_by_radius(crystal.frac_coords, crystal.lattice, radius, occupancy)
    if not np.isfinite(share):
        return "", np.inf
    one, other = (f"{symbols()[crystal.atomic_numbers[site]]} (site {site})" for site in (first, second))
    told = f"{one} and {other}, {distance:.2f} Å apart, {share:.0%} of the sum of their covalent radii"
    return told, float(share)


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
