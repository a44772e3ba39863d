"""Symmetry of crystals, by spglib."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import spglib

from .records import Crystal

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
_LAST_GROUP_OF_SYSTEM = (2, 15, 74, 142, 167, 194, 230)
UNKNOWN = "unknown"


def space_group(crystal: Crystal, symprec: float = 0.01) -> int | None:
    """Number of the space group; None if spglib finds no symmetry.

    Parameters
    ----------
    crystal : Crystal
    symprec : float
        Tolerance, Å.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> space_group(bundled_prototypes()[0])
    154
    """
    symmetry = _symmetry(crystal, symprec)
    return None if symmetry is None else symmetry.number


def crystal_system(crystal: Crystal, symprec: float = 0.01) -> str:
    """Crystal system, ``"unknown"`` if spglib finds no symmetry.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> crystal_system(bundled_prototypes()[0])
    'trigonal'
    """
    number = space_group(crystal, symprec)
    return UNKNOWN if number is None else system_of_group(number)


def system_of_group(number: int) -> str:
    """Crystal system of a space group.

    Examples
    --------
    >>> system_of_group(225)
    'cubic'
    """
    return CRYSTAL_SYSTEMS[int(np.searchsorted(_LAST_GROUP_OF_SYSTEM, number))]


def prototype(crystal: Crystal, symprec: float = 0.01) -> str:
    """The prototype of a crystal: anonymous formula, space group, and the sizes of the orbits of each kind of atom.

    Isostructural crystals have the same prototype. Orbits are counted in the primitive cell, so that a crystal and its
    supercell have the same prototype too.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> prototype(bundled_prototypes()[0])
    'AB 154 3-3'
    """
    symmetry = _symmetry(crystal, symprec)
    if symmetry is None:
        return UNKNOWN
    per_cell = crystal.num_nodes // len(set(symmetry.mapping_to_primitive))
    sizes = []
    for z in np.unique(crystal.atomic_numbers):
        counts = np.unique(symmetry.crystallographic_orbits[crystal.atomic_numbers == z], return_counts=True)[1]
        sizes.append("+".join(str(count // per_cell) for count in sorted(counts)))
    from pymatgen.core import Composition

    formula = Composition(crystal.reduced_formula).anonymized_formula
    return f"{formula} {symmetry.number} {'-'.join(sorted(sizes))}"


def orbits(crystal: Crystal, symprec: float = 0.01) -> np.ndarray:
    """A number for each site, (N,), which is the same for sites that the space group maps onto each other.

    If spglib finds no symmetry, every site has a number of its own.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> orbits(bundled_prototypes()[0]).tolist()
    [0, 0, 0, 3, 3, 3]
    """
    symmetry = _symmetry(crystal, symprec)
    return np.arange(crystal.num_nodes) if symmetry is None else symmetry.crystallographic_orbits


def rotations(crystal: Crystal, symprec: float = 0.01) -> np.ndarray:
    """The point group as orthogonal matrices in Cartesian axes, (R, 3, 3); the identity alone if spglib finds none.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> rotations(bundled_prototypes()[0]).shape
    (6, 3, 3)
    """
    symmetry = _symmetry(crystal, symprec)
    if symmetry is None:
        return np.eye(3)[None]
    fractional = np.unique(symmetry.rotations, axis=0)
    return crystal.lattice.T @ fractional @ np.linalg.inv(crystal.lattice.T)


@lru_cache(maxsize=64)  # group, rotations and orbits of one crystal are often computed one after the other
def _symmetry(crystal: Crystal, symprec: float) -> spglib.SpglibDataset | None:
    cell = (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    return spglib.get_symmetry_dataset(cell, symprec=symprec)
