"""Symmetry of crystals, by spglib."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import spglib

from .compilation import njit
from .records import Crystal, Occupancies

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


@lru_cache(maxsize=None)
def symbol_of_group(number: int) -> str:
    """Short Hermann-Mauguin symbol of a space group in its standard setting.

    Examples
    --------
    >>> symbol_of_group(225), symbol_of_group(14)
    ('Fm-3m', 'P2_1/c')
    """
    groups = (spglib.get_spacegroup_type(hall_number) for hall_number in range(1, 531))
    return next(group.international_short for group in groups if group.number == number)


@lru_cache(maxsize=1)
def full_symbols() -> dict[str, tuple[str, ...]]:
    """Full and extended Hermann-Mauguin symbols of the settings of all space groups, by Hall symbol.

    Examples
    --------
    >>> full_symbols()["-F 4 2 3"]
    ('F 4/m -3 2/m', 'F m -3 m')
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # spglib announces another way to raise errors
        groups = [spglib.get_spacegroup_type(hall_number) for hall_number in range(1, 531)]
    return {
        group.hall_symbol: tuple(
            symbol.strip().replace("_", "") for symbol in (group.international_full, *group.international.split("="))
        )
        for group in groups
    }


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


def primitive_cell(crystal: Crystal, symprec: float = 1e-3) -> tuple[Crystal, np.ndarray]:
    """The crystal in a primitive cell, which holds the atoms of one lattice point.

    Orientation, positions and occupancies stay as they are. Nearly all cells are seen to be primitive without spglib: a
    translation maps the rarest kind of atom onto itself, and the number of atoms of each kind is a multiple of the
    number of lattice points.

    Parameters
    ----------
    crystal : Crystal
    symprec : float
        Tolerance, Å.

    Returns
    -------
    primitive : Crystal
        The crystal itself if its cell is primitive.
    site : numpy.ndarray
        int64 (N,), the site of the primitive cell that each site of the crystal is.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> iron = make_crystal([26, 26], [[0, 0, 0], [.5, .5, .5]], 2.866 * np.eye(3), "Fe")
    >>> primitive, site = primitive_cell(iron)
    >>> primitive.num_nodes, site.tolist()
    (1, [0, 0])
    """
    kinds = _kinds(crystal)
    same = crystal, np.arange(crystal.num_nodes)
    if np.gcd.reduce(np.bincount(kinds)) == 1 or not _has_translation(
        crystal.lattice, crystal.frac_coords, kinds, symprec
    ):
        return same
    symmetry = spglib.get_symmetry_dataset((crystal.lattice, crystal.frac_coords, kinds + 1), symprec=symprec)
    if symmetry is None:
        return same
    _, kept, site = np.unique(symmetry.mapping_to_primitive, return_index=True, return_inverse=True)
    if len(kept) == crystal.num_nodes:
        return same
    lattice = symmetry.primitive_lattice
    frac = crystal.frac_coords[kept] @ crystal.lattice @ np.linalg.inv(lattice)
    occupancies = crystal.occupancies
    if occupancies is not None:
        place = np.full(crystal.num_nodes, -1)
        place[kept] = np.arange(len(kept))
        order = np.flatnonzero(np.isin(occupancies.site, kept))
        order = order[np.argsort(place[occupancies.site[order]], kind="stable")]
        occupancies = Occupancies(
            place[occupancies.site[order]].astype(np.int32),
            occupancies.atomic_numbers[order],
            occupancies.occupancy[order],
        )
    wrapped = (frac % 1.0) % 1.0
    return Crystal(crystal.atomic_numbers[kept], wrapped, lattice, crystal.material_id, occupancies), site


def _kinds(crystal: Crystal) -> np.ndarray:
    """A number for each site, (N,) from 0; sites with the same species and occupancies have the same number."""
    if crystal.occupancies is None:
        return np.unique(crystal.atomic_numbers, return_inverse=True)[1]
    contents: list[list] = [[] for _ in range(crystal.num_nodes)]
    species = crystal.occupancies
    for site, z, occupancy in zip(species.site, species.atomic_numbers, species.occupancy, strict=True):
        contents[site].append((int(z), round(float(occupancy), 6)))
    known: dict[tuple, int] = {}
    return np.array([known.setdefault(tuple(sorted(content)), len(known)) for content in contents])


@njit(nogil=True)
def _has_translation(lattice: np.ndarray, frac: np.ndarray, kinds: np.ndarray, tolerance: float) -> bool:
    """Whether a translation shorter than the cell vectors maps every atom onto one of its kind."""
    rarest = np.argmin(np.bincount(kinds))
    first = -1
    for j in range(len(frac)):
        if kinds[j] != rarest:
            continue
        if first < 0:
            first = j
            continue
        mapped_all = True
        for a in range(len(frac)):
            mapped = False
            for b in range(len(frac)):
                if kinds[b] != kinds[a]:
                    continue
                apart = frac[a] + frac[j] - frac[first] - frac[b]
                apart = (apart - np.round(apart)) @ lattice
                if (apart * apart).sum() < 4.0 * tolerance * tolerance:
                    mapped = True
                    break
            if not mapped:
                mapped_all = False
                break
        if mapped_all:
            return True
    return False


@lru_cache(maxsize=64)  # group, rotations and orbits of one crystal are often computed one after the other
def _symmetry(crystal: Crystal, symprec: float) -> spglib.SpglibDataset | None:
    cell = (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    return spglib.get_symmetry_dataset(cell, symprec=symprec)


@dataclass(frozen=True, eq=False)
class StandardSetting:
    """A crystal in the conventional cell of its space group, as tables and refinement programs list it.

    The cell is that of the International Tables: unique axis b, hexagonal axes, and the origin at a centre of inversion
    where there is a choice.

    Attributes
    ----------
    crystal : Crystal
        In this cell, with positions that obey the symmetry exactly.
    kinds : numpy.ndarray
        int64 (N,), a number for each site, the same for sites that are occupied in the same way.
    number : int
        Of the space group.
    symbol : str
        Short Hermann-Mauguin symbol, such as ``"P2_1/c"`` or ``"Fm-3m"``.
    hall : str
        Hall symbol, which names the setting too.
    rotations, translations : numpy.ndarray
        int (S, 3, 3) and float64 (S, 3): all symmetry operations of the cell, on fractional coordinates.
    transformation : numpy.ndarray
        (3, 3); the cell is this matrix times the lattice of the crystal that was given, but for a rotation.
    """

    crystal: Crystal
    kinds: np.ndarray
    number: int
    symbol: str
    hall: str
    rotations: np.ndarray
    translations: np.ndarray
    transformation: np.ndarray

    @classmethod
    def of(cls, crystal: Crystal, symprec: float = 0.01) -> StandardSetting:
        """Of a crystal in any cell; P 1 in its own cell if spglib finds no symmetry.

        Parameters
        ----------
        crystal : Crystal
        symprec : float
            Tolerance, Å.

        Examples
        --------
        >>> from deepchem_crystalssl.crystals.validation import make_crystal
        >>> silicon = make_crystal([14, 14], [[0, 0, 0], [.25, .25, .25]], 2.715 * (1 - np.eye(3)), "Si")
        >>> setting = StandardSetting.of(silicon)
        >>> setting.symbol, setting.crystal.num_nodes, setting.hall
        ('Fd-3m', 8, '-F 4vw 2vw 3')
        """
        kinds = _kinds(crystal)
        cell = (crystal.lattice, crystal.frac_coords, kinds + 1)
        found = _dataset(cell, symprec)
        if found is None:
            group = spglib.get_spacegroup_type(1)
            one = np.eye(3, dtype=int)
            return cls(crystal, kinds, 1, "P1", group.hall_symbol, one[None], np.zeros((1, 3)), one)
        found = _dataset(cell, symprec, _centred(found.hall_number)) or found
        group = spglib.get_spacegroup_type(found.hall_number)
        operations = spglib.get_symmetry_from_database(found.hall_number)
        of_kind = [int(np.argmax(kinds == kind)) for kind in found.std_types - 1]
        sites = Crystal(
            crystal.atomic_numbers[of_kind],
            (found.std_positions % 1.0) % 1.0,
            crystal.lattice,
            crystal.material_id,
            None if crystal.occupancies is None else _repeated(crystal.occupancies, of_kind),
        )
        setting = cls(
            sites, found.std_types - 1, int(found.number), group.international_short, group.hall_symbol,
            operations["rotations"], operations["translations"], np.linalg.inv(found.transformation_matrix).T,
        )  # fmt: skip
        return setting.with_lattice(crystal.lattice)

    def with_lattice(self, lattice: np.ndarray) -> StandardSetting:
        """The same with another lattice of the crystal that was given, made to obey the symmetry exactly.

        Parameters
        ----------
        lattice : numpy.ndarray
            Cell vectors as rows, Å, (3, 3), in the cell in which the crystal was given.
        """
        vectors = self.transformation @ lattice
        products = np.einsum("nki,kl,nlj->ij", self.rotations, vectors @ vectors.T, self.rotations)
        cell = np.linalg.cholesky(products / len(self.rotations))
        one = self.crystal
        return replace(
            self, crystal=Crystal(one.atomic_numbers, one.frac_coords, cell, one.material_id, one.occupancies)
        )

    def orbits(self) -> np.ndarray:
        """Number of the first site, for each site, that the symmetry maps onto it, int64 (N,)."""
        first = np.full(self.crystal.num_nodes, -1)
        for site, position in enumerate(self.crystal.frac_coords):
            if first[site] >= 0:
                continue
            same = np.flatnonzero(self.kinds == self.kinds[site])
            images = self.rotations @ position + self.translations
            apart = images[:, None] - self.crystal.frac_coords[same]
            distances = np.linalg.norm((apart - np.round(apart)) @ self.crystal.lattice, axis=2)
            first[same[distances.argmin(axis=1)]] = site
        return first


def _dataset(cell: tuple, symprec: float, hall_number: int = 0) -> spglib.SpglibDataset | None:
    return spglib.get_symmetry_dataset(cell, symprec=symprec, hall_number=hall_number)


def _centred(hall_number: int) -> int:
    """The number of the setting whose origin is at a centre of inversion, where spglib's first one has it elsewhere."""
    number = spglib.get_spacegroup_type(hall_number).number
    for other in range(hall_number + 1, min(hall_number + 8, 531)):
        group = spglib.get_spacegroup_type(other)
        if group.number == number and group.choice == "2":
            return other
    return hall_number


def _repeated(occupancies: Occupancies, sites: Sequence[int]) -> Occupancies:
    """The occupancies of sites in a given order, each as often as it is named."""
    rows = [np.flatnonzero(occupancies.site == site) for site in sites]
    at = np.concatenate(rows)
    site = np.repeat(np.arange(len(sites), dtype=np.int32), [len(row) for row in rows])
    return Occupancies(site, occupancies.atomic_numbers[at], occupancies.occupancy[at])
