"""Making the crystal that a CIF file means: of the symmetries it may mean, that which the rest of the file confirms."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import gemmi
import numpy as np

from .claims import Claims
from ..contacts import CLOSEST as CLOSEST_CONTACT, closest_contact
from ..doubts import warn_of
from ...errors import OccupancyError, OverlappingAtomsError, StatementError, SymmetryError, UnknownElementError
from .expansion import (
    CLOSEST,
    SAME_ATOM,
    SAME_SITE,
    check_contacts,
    expand_symmetry,
    merge_shared_sites,
    without_listed_images,
    without_listed_orbits,
)
from .groups import Operations
from ..limits import LIMITS, ReadingLimits
from ..records import Crystal
from .symmetry import Symmetry
from .tags import number
from ..validation import OCCUPANCY_TOLERANCE, make_crystal

_MULTIPLICITY_TAGS = ("_atom_site_site_symmetry_multiplicity", "_atom_site_symmetry_multiplicity")
_MANY_IMAGES, _MOST_IMAGES = 5_000, 2_000_000  # images of the rows, among which those in the list are looked for
_MOST_COMPARED = 2_000  # atoms of which all distances are compared
_USUAL_CONTACT = 0.85  # of the sum of covalent radii; only multiple bonds are shorter
_MISFIT = (OverlappingAtomsError, OccupancyError)  # what wrong operations lead to


@dataclass(frozen=True, eq=False)
class Listing:
    """The occupied rows of atoms of a data block.

    Attributes
    ----------
    block : gemmi.cif.Block
    rows : numpy.ndarray
        int (S,), their numbers in the block.
    frac : numpy.ndarray
        (S, 3), fractional coordinates.
    parts : list of dict
        For each row the share of each atomic number.
    occupancies : list of float
    limits : ReadingLimits
        On the crystal that is made of them.
    """

    block: gemmi.cif.Block
    rows: np.ndarray
    frac: np.ndarray
    parts: list[dict[int, float]]
    occupancies: list[float]
    limits: ReadingLimits = LIMITS

    @classmethod
    def of(
        cls, block: gemmi.cif.Block, frac: np.ndarray, parts: list, occupancies: list, limits: ReadingLimits = LIMITS
    ) -> Listing:
        """The rows whose occupancy is not zero."""
        whole = cls(block, np.arange(len(frac)), frac, parts, occupancies, limits)
        return whole if min(occupancies) > 0 else whole.only(np.flatnonzero(np.array(occupancies) > 0))

    def only(self, kept: np.ndarray) -> Listing:
        """Some of the rows."""
        return Listing(
            self.block, self.rows[kept], self.frac[kept], [self.parts[k] for k in kept],
            [self.occupancies[k] for k in kept], self.limits,
        )  # fmt: skip

    @cached_property
    def is_full(self) -> list[bool]:
        """Which rows are occupied without vacancies."""
        return [
            occupancy * sum(parts.values()) >= 1.0
            for parts, occupancy in zip(self.parts, self.occupancies, strict=True)
        ]

    def resolution(self, lattice: np.ndarray) -> np.ndarray:
        """How far apart rounded coordinates may place two images of an atom on a special position, (S,) in Å.

        A coordinate is accurate to half a unit of its last digit, and a difference between two images to three times
        that.
        """
        decimals = [
            [len(found.group(1)) if (found := re.match(r"[-+]?\d*\.(\d+)", text)) else 0 for text in column]
            for column in (self.block.find_values(f"_atom_site_fract_{axis}") for axis in "xyz")
        ]
        return 1.5 * 10.0 ** -np.max(decimals, axis=0)[self.rows] * np.linalg.norm(lattice, axis=1).sum()

    def shared_by(self, site: int, count: int, images: tuple[int, int], item: str) -> int:
        """The factor by which the occupancy of a site grows when images of it are merged.

        ``images`` are how many were merged, and how many of these the digits of the coordinates tell apart. If the
        multiplicity in the file counts them separately, their occupancies are added. If the file gives no multiplicity,
        those told apart are added as long as they sum to at most 1; otherwise the atom is taken to lie on a special
        position.
        """
        row, occupancy = self.rows[site], self.occupancies[site] * sum(self.parts[site].values())
        for tag in _MULTIPLICITY_TAGS:
            multiplicity = [number(text) for text in self.block.find_values(tag)]
            if row < len(multiplicity) and multiplicity[row] == count:
                return 1
            for n in images:
                if row < len(multiplicity) and multiplicity[row] == count * n:
                    if occupancy * n > 1.0 + OCCUPANCY_TOLERANCE:
                        raise OccupancyError(item, f"{n} positions of occupancy {occupancy:g} on site {row}")
                    return n
        told_apart = images[1]
        return told_apart if occupancy * told_apart <= 1.0 + OCCUPANCY_TOLERANCE else 1


def build_crystal(
    listing: Listing,
    symmetry: Symmetry,
    claims: Claims,
    lattice: np.ndarray,
    item: str,
    with_short_symbols: Callable[[], Listing] | None = None,
) -> Crystal:
    """The crystal that the rows of atoms and the symmetry of a file make.

    If the atoms overlap, or contradict the formula sum, the formula units or the density of the file, the other
    settings that the file may mean are tried.

    Parameters
    ----------
    listing : Listing
    symmetry : Symmetry
    claims : Claims
    lattice : numpy.ndarray
        (3, 3), rows, Å.
    item : str
        For errors.
    with_short_symbols : callable, optional
        The rows with open labels read the other way.

    Raises
    ------
    CrystalInputError
        If the atoms overlap in every setting, or the file does not say which of several settings it means.
    """
    crystal: Crystal | None = None
    try:
        crystal = expand(listing, symmetry.first, lattice, item)
        objection = claims.contradiction(crystal) or (_improbable(listing, crystal) if symmetry.is_guess else "")
    except _MISFIT as error:
        objection, refusal = str(error.value), error
    if objection and crystal is not None and with_short_symbols is not None:
        other = expand(with_short_symbols(), symmetry.first, lattice, item)
        if not claims.contradiction(other):
            return other
        raise UnknownElementError(
            item,
            f"labels that leave the element open, and {objection}",
            "labels without type symbols must lead to the formula sum",
            "Add _atom_site_type_symbol.",
        )
    is_settled = not symmetry.doubt or (symmetry.is_short and claims.count_atoms)
    if not objection and crystal is not None and is_settled:
        return crystal
    fitting = _fitting(listing, symmetry, claims, lattice, item)
    probable = fitting
    if symmetry.is_guess:
        probable = [(name, other) for name, other in fitting if not _improbable(listing, other)]
        if crystal is not None and not objection:
            objection, probable = _odd_contact(crystal, probable)
    if crystal is None or objection:
        if len(probable) == 1 and not symmetry.is_listed:
            name, found = probable[0]
            warn_of(
                item, f"read with the operations of {name}, because those of {symmetry.first.name} lead to {objection}"
            )
            return found
        if probable and (crystal is None or claims.count_atoms or symmetry.is_guess):
            names = ", ".join(name for name, _ in probable)
            raise SymmetryError(
                item,
                f"the operations of {symmetry.first.name} lead to {objection}, and those of {names} do not",
                "a file must say which setting of its space group it means",
                "Write the symmetry operations that belong to the coordinates.",
            )
        if crystal is None:
            raise refusal
    assert crystal is not None
    rivals = [other for _, other in fitting if not _is_same(crystal, other)]
    if symmetry.is_open and rivals:
        raise SymmetryError(
            item,
            symmetry.doubt,
            "a file must say which setting of its space group it means",
            "Write the symmetry operations, or _space_group_IT_coordinate_system_code.",
        )
    if objection:
        warn_of(item, objection, StatementError if claims.contradiction(crystal) else OverlappingAtomsError)
    elif rivals or (symmetry.is_short and not fitting):
        warn_of(item, symmetry.doubt)
    return crystal


def _fitting(
    listing: Listing, symmetry: Symmetry, claims: Claims, lattice: np.ndarray, item: str
) -> list[tuple[str, Crystal]]:
    """The different crystals of the other settings that contradict nothing in the file, with the names of these."""
    found: list[tuple[str, Crystal]] = []
    for operations in symmetry.others():
        try:
            crystal = expand(listing, operations, lattice, item)
        except _MISFIT:
            continue
        if not claims.contradiction(crystal) and not any(_is_same(crystal, other) for _, other in found):
            found.append((operations.name, crystal))
    return found


def _improbable(listing: Listing, crystal: Crystal) -> str:
    """Why the operations of a crystal are hardly those that the file means, in words; empty if nothing speaks so."""
    if crystal.num_nodes > _MOST_COMPARED:
        return ""
    column = next((found for tag in _MULTIPLICITY_TAGS if (found := list(listing.block.find_values(tag)))), [])
    if len(column) > listing.rows.max() and all(listing.is_full):
        stated = sum(number(column[row]) for row in listing.rows)
        if stated > 0 and stated != crystal.num_nodes:
            return f"{crystal.num_nodes} atoms in the cell, {stated:g} by the multiplicities in the file"
    told, share = closest_contact(crystal)
    return told if share < CLOSEST_CONTACT else ""


def _odd_contact(crystal: Crystal, others: list[tuple[str, Crystal]]) -> tuple[str, list[tuple[str, Crystal]]]:
    """Why a crystal has distances that few crystals have, and those of the others that have none; empty if it has none.

    Short bonds within the list of atoms, as that of uranyl, are the same in all settings.
    """
    if crystal.num_nodes > _MOST_COMPARED:
        return "", others
    told, share = closest_contact(crystal)
    usual = [] if share >= _USUAL_CONTACT else [one for one in others if closest_contact(one[1])[1] >= _USUAL_CONTACT]
    return (told, usual) if usual else ("", others)


def _is_same(crystal: Crystal, other: Crystal) -> bool:
    """Whether two crystals in one cell have the same atoms in the same places, in any order."""
    if crystal.num_nodes != other.num_nodes:
        return False
    tables = []
    for one in (crystal, other):
        rows = np.column_stack([one.atomic_numbers, (one.frac_coords * 1000.0).round() % 1000.0])
        tables.append(rows[np.lexsort(rows.T)])
    return bool((tables[0] == tables[1]).all())


def expand(listing: Listing, operations: Operations, lattice: np.ndarray, item: str) -> Crystal:
    """The crystal of the rows of atoms and the operations of a space group.

    An atom of the list that is a symmetry image of an earlier one is that atom, and not another.

    Raises
    ------
    OverlappingAtomsError
        If two fully occupied atoms come closer than atoms can be.
    OccupancyError
        If the occupancies of one site sum to more than 1.
    """
    if operations.is_identity:
        return _checked(listing.parts, listing.occupancies, listing.is_full, listing.frac, lattice, item, False)
    all_full = all(listing.is_full)
    resolution = None if all_full else listing.resolution(lattice)
    if _MANY_IMAGES < len(listing.frac) * len(operations.rotations) <= _MOST_IMAGES:
        tolerance = _same_atom(listing, resolution)
        kinds = [(tuple(parts.items()), n) for parts, n in zip(listing.parts, listing.occupancies, strict=True)]
        kept = without_listed_orbits(
            listing.frac, kinds, operations.rotations, operations.translations, lattice, tolerance
        )
        if kept is not None and len(kept) < len(listing.frac):
            return expand(listing.only(kept), operations, lattice, item)
    parent, frac, merged, told_apart = expand_symmetry(
        listing.frac, lattice, operations.rotations, operations.translations, resolution, item, listing.limits
    )
    if resolution is not None:
        tolerance = _same_atom(listing, resolution)
        if (rest := _without_images(listing, parent, frac, lattice, tolerance, item)) is not None:
            return expand(rest, operations, lattice, item)
    occupancies = list(listing.occupancies)
    for site in np.flatnonzero((merged > 1) & ~np.array(listing.is_full)):
        images = int(merged[site]), int(told_apart[site])
        occupancies[site] *= listing.shared_by(int(site), int((parent == site).sum()), images, item)
    try:
        return _checked(
            [listing.parts[k] for k in parent], [occupancies[k] for k in parent], [listing.is_full[k] for k in parent],
            frac, lattice, item, True,
        )  # fmt: skip
    except OverlappingAtomsError:
        tolerance = _same_atom(listing, None)
        if all_full and (rest := _without_images(listing, parent, frac, lattice, tolerance, item)) is not None:
            return expand(rest, operations, lattice, item)
        raise


def _same_atom(listing: Listing, resolution: np.ndarray | None) -> np.ndarray:
    """(S,), how far apart two records of an atom may be, Å."""
    if resolution is None:
        return np.full(len(listing.frac), SAME_ATOM)
    return np.where(listing.is_full, SAME_ATOM, np.minimum(resolution, SAME_SITE))


def _without_images(
    listing: Listing, parent: np.ndarray, frac: np.ndarray, lattice: np.ndarray, tolerance: np.ndarray, item: str
) -> Listing | None:
    """The rows without those that are images of earlier ones; None if there are none of these."""
    kinds = list(zip(listing.parts, listing.occupancies, strict=True))
    kept = without_listed_images(listing.frac, kinds, parent, frac, lattice, tolerance, item)
    return listing.only(kept) if len(kept) < len(listing.frac) else None


def _checked(
    parts: list[dict[int, float]], occupancies: list[float], is_full: list[bool], frac: np.ndarray,
    lattice: np.ndarray, item: str, is_expanded: bool,
) -> Crystal:  # fmt: skip
    """The crystal of all atoms of the cell, none of them too close."""
    species: list = [z for part in parts for z in part]
    if not all(is_full) or len(species) > len(parts):
        species, frac = merge_shared_sites(parts, occupancies, frac, lattice, item)
    try:
        return make_crystal(species, frac, lattice, item, CLOSEST)
    except OverlappingAtomsError:
        crystal = make_crystal(species, frac, lattice, item)
    check_contacts(crystal, item, is_expanded)
    return crystal
