"""All atoms of the cell from those that a CIF file lists: symmetry images, atoms listed twice, shared sites."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from ..compilation import njit
from ..elements import symbols
from ..doubts import warn_of
from ...errors import LimitError, OccupancyError, OverlappingAtomsError
from ..limits import LIMITS, ReadingLimits
from ..proximity import distinct_images, squared_distance
from ..records import Crystal
from ..validation import OCCUPANCY_ROUNDING, OCCUPANCY_TOLERANCE, closest_pair

SAME_SITE = 0.1
"""Atoms closer than this share one site; symmetry images of one atom closer than this are one site, Å."""

SAME_ATOM = 0.25
"""An atom of the list this close to a symmetry image of an equal one is that image, rounded, Å."""

CLOSEST = 0.8
"""Two atoms without vacancies closer than this are an error or a warning, Å."""

CLOSEST_HYDROGEN = 0.6
"""The same if one of them is hydrogen, Å."""

MAX_SHARING = 200
"""Rows that may share one site on average."""

_MOST_COMPARED = 50_000_000  # distances between images and rows of the list
_FEW = 300  # sites that are compared one by one
_SAME_POINT = 1e-6
"""Images closer than this are equal but for the arithmetic, Å."""


def expand_symmetry(
    frac: np.ndarray,
    lattice: np.ndarray,
    rotations: np.ndarray,
    translations: np.ndarray,
    resolution: np.ndarray | None = None,
    item: str = "crystal",
    limits: ReadingLimits = LIMITS,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All atoms of the cell from those of the asymmetric unit.

    Symmetry images of an atom within ``SAME_SITE`` of each other become one site at their mean. Either the atom lies
    on a special position, and coordinates printed with few digits keep the images apart; or the atom is one of several
    positions of a split site, which share the atoms.

    Parameters
    ----------
    frac : numpy.ndarray
        (S, 3), fractional coordinates.
    lattice : numpy.ndarray
        (3, 3), rows, Å.
    rotations, translations : numpy.ndarray
        (M, 3, 3) and (M, 3).
    resolution : numpy.ndarray, optional
        (S,), how far apart images of an atom on a special position may be because of the digits of its coordinates, Å.
        By default ``SAME_SITE``.
    item : str
        For errors.
    limits : ReadingLimits

    Returns
    -------
    parent : numpy.ndarray
        (N,), which atom of the asymmetric unit each atom of the cell is an image of.
    frac : numpy.ndarray
        (N, 3), fractional coordinates.
    merged : numpy.ndarray
        (S,), how many different images became one site; 1 on an exact special position.
    told_apart : numpy.ndarray
        (S,), how many of them ``resolution`` tells apart.
    """
    positions, n_sites = [], 0
    counts = np.zeros(len(frac), int)
    merged, told_apart = np.ones((2, len(frac)), int)
    for site, position in enumerate(frac):
        images = rotations @ position + translations
        shift = images - position
        shift -= np.round(shift)
        distance = np.linalg.norm(shift @ lattice, axis=1)
        itself = distance < SAME_SITE
        if itself.sum() > 1:
            if resolution is not None:
                merged[site] = round(itself.sum() / (distance < _SAME_POINT).sum())
                told_apart[site] = round(itself.sum() / (distance < min(SAME_SITE, resolution[site])).sum())
            position = position + shift[itself].mean(0)
            images = rotations @ position + translations
        images -= np.floor(images)
        positions.append(images[distinct_images(images, lattice, SAME_SITE)])
        counts[site] = len(positions[-1])
        n_sites += len(positions[-1])
        limits.check("sites", n_sites, item, "sites of one crystal")
    return np.repeat(np.arange(len(frac)), counts), np.concatenate(positions), merged, told_apart


def close_pairs(frac: np.ndarray, lattice: np.ndarray, distance: float, item: str) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of sites that are closer than a distance, periodic images included.

    Parameters
    ----------
    frac : numpy.ndarray
        (N, 3), fractional coordinates.
    lattice : numpy.ndarray
        (3, 3), rows, Å.
    distance : float
        Å.
    item : str
        For errors.

    Returns
    -------
    pairs : numpy.ndarray
        int (P, 2), the smaller site first, sorted.
    distances : numpy.ndarray
        (P,), Å.

    Raises
    ------
    LimitError
        If the sites are crowded so much that their pairs cannot be listed.
    """
    if len(frac) <= _FEW:
        pairs, distances = _close_pairs_of_few(frac, lattice, distance)
        return pairs, distances
    from scipy.spatial import KDTree

    heights = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    scaled = np.minimum((frac % 1.0) * heights, np.nextafter(heights, 0.0))
    scaled[:, heights <= 2.0 * distance] = 0.0  # in a thin cell every site is near along this direction
    tree = KDTree(scaled, boxsize=heights)
    if tree.count_neighbors(tree, distance, p=np.inf) > MAX_SHARING * len(frac):
        raise LimitError(item, f"{len(frac)} sites, more than {MAX_SHARING} of them within {distance:g} Å on average")
    pairs = tree.query_pairs(distance, p=np.inf, output_type="ndarray").reshape(-1, 2)
    pairs = np.sort(pairs, axis=1)
    shift = frac[pairs[:, 1]] - frac[pairs[:, 0]]
    distances = np.linalg.norm((shift - np.round(shift)) @ lattice, axis=1)
    near = distances < distance
    pairs, distances = pairs[near], distances[near]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], distances[order]


@njit(nogil=True)
def _close_pairs_of_few(frac: np.ndarray, lattice: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """All pairs, compared one by one."""
    pairs = np.empty((len(frac) * (len(frac) - 1) // 2, 2), np.int64)
    distances = np.empty(len(pairs))
    found = 0
    for i in range(len(frac)):
        for j in range(i + 1, len(frac)):
            squared = squared_distance(frac, i, j, lattice)
            if squared < distance * distance:
                pairs[found, 0], pairs[found, 1], distances[found] = i, j, np.sqrt(squared)
                found += 1
    return pairs[:found].copy(), distances[:found].copy()


def without_listed_images(
    frac: np.ndarray,
    kinds: Sequence,
    parent: np.ndarray,
    expanded: np.ndarray,
    lattice: np.ndarray,
    tolerance: np.ndarray,
    item: str,
) -> np.ndarray:
    """The atoms of a list without those that are symmetry images of earlier ones.

    Files of molecules often list a whole molecule that lies on a symmetry element, and some programs list all atoms of
    the cell, beside the operations of the space group.

    Parameters
    ----------
    frac : numpy.ndarray
        (S, 3), fractional coordinates of the list.
    kinds : sequence of length S
        What occupies each site; only equal ones can be images of each other.
    parent, expanded : numpy.ndarray
        (N,) and (N, 3), as :func:`expand_symmetry` returns them.
    lattice : numpy.ndarray
        (3, 3), rows, Å.
    tolerance : numpy.ndarray
        (S,), how far apart two records of the same atom may be, Å.
    item : str
        For errors.

    Returns
    -------
    numpy.ndarray
        The rows of the list that remain, int (R,).
    """
    pairs, distances = close_pairs(expanded, lattice, float(tolerance.max()), item)
    if not len(pairs):
        return np.arange(len(frac))
    rows = np.sort(parent[pairs], axis=1)
    near = distances < np.minimum(*tolerance[rows].T)
    images = set()
    for first, second in np.unique(rows[near & (rows[:, 0] != rows[:, 1])], axis=0):
        apart = frac[first] - frac[second]
        apart_listed = np.linalg.norm((apart - np.round(apart)) @ lattice)
        if kinds[first] == kinds[second] and apart_listed >= min(tolerance[first], tolerance[second]):
            images.add(int(second))
    return np.array([row for row in range(len(frac)) if row not in images])


def without_listed_orbits(
    frac: np.ndarray,
    kinds: Sequence[Hashable],
    rotations: np.ndarray,
    translations: np.ndarray,
    lattice: np.ndarray,
    tolerance: np.ndarray,
) -> np.ndarray | None:
    """Like :func:`without_listed_images` before any atom is expanded, for long lists and many operations.

    Returns
    -------
    numpy.ndarray or None
        None if no image of the first atom is listed, or too many distances would have to be compared.
    """
    numbers: dict[Hashable, int] = {}
    kind_of = np.array([numbers.setdefault(kind, len(numbers)) for kind in kinds])
    left, kept, compared = np.ones(len(frac), bool), [], 0
    for row, position in enumerate(frac):
        if not left[row]:
            continue
        kept.append(row)
        rows = row + 1 + np.flatnonzero(left[row + 1 :] & (kind_of[row + 1 :] == kind_of[row]))
        compared += len(rotations) * len(rows)
        if compared > _MOST_COMPARED:
            return None
        if not len(rows):
            continue
        shift = (rotations @ position + translations)[:, None] - frac[rows]
        shift -= np.round(shift)
        nearest = np.linalg.norm(shift @ lattice, axis=2).min(axis=0)
        apart = frac[rows] - position
        listed = np.linalg.norm((apart - np.round(apart)) @ lattice, axis=1)
        limit = np.minimum(tolerance[rows], tolerance[row])
        images = rows[(nearest < limit) & (listed >= limit)]
        if row == 0 and not len(images):
            return None
        left[images] = False
    return np.array(kept)


def check_contacts(crystal: Crystal, item: str, is_expanded: bool) -> None:
    """Refuse or tell of atoms that are closer than atoms can be.

    Atoms whose occupancies sum to at most 1 may be alternatives of each other. If the atoms come from symmetry
    operations, two full ones so close show that these do not fit; otherwise the file lists them so.

    Raises
    ------
    OverlappingAtomsError
        If two fully occupied atoms are closer than ``CLOSEST`` (``CLOSEST_HYDROGEN``) after symmetry operations.
    """
    if crystal.num_nodes <= _FEW and closest_pair(crystal.frac_coords, crystal.lattice)[2] >= CLOSEST:
        return
    pairs, distances = close_pairs(crystal.frac_coords, crystal.lattice, CLOSEST, item)
    species = crystal.occupancies
    occupied = np.ones(crystal.num_nodes) if species is None else np.bincount(species.site, species.occupancy)
    z = crystal.atomic_numbers
    of_hydrogen = (z[pairs] == 1).any(axis=1)
    close = (distances < CLOSEST_HYDROGEN) | ~of_hydrogen
    full = (occupied[pairs] > 1.0 - OCCUPANCY_TOLERANCE).all(axis=1)
    for pair, distance in zip(pairs[close & full], distances[close & full], strict=True):
        first, second = (f"{symbols()[z[site]]} on site {site}" for site in pair)
        found = f"{first} and {second}, {distance:.3f} Å apart"
        if not is_expanded:
            warn_of(item, f"the file lists {found}", OverlappingAtomsError)
            return
        raise OverlappingAtomsError(
            item,
            f"{found} by the symmetry operations",
            f"fully occupied atoms must be at least {CLOSEST:g} Å apart, {CLOSEST_HYDROGEN:g} Å from hydrogen",
            "Check that the space group, its setting and its origin are those of the coordinates, and that alternative "
            "positions have partial occupancies.",
        )
    crowded = close & (occupied[pairs].sum(axis=1) > 1.1)
    if crowded.any():
        first, second = pairs[crowded][0]
        warn_of(
            item, f"sites {first} and {second}, {distances[crowded][0]:.3f} Å apart, are occupied by more than an atom"
        )


def merge_shared_sites(
    site_species: list[dict[int, float]], occupancies: list[float], frac: np.ndarray, lattice: np.ndarray, item: str
) -> tuple[list[dict[int, float]], np.ndarray]:
    """Make one site of those listed once for each of their species.

    Parameters
    ----------
    site_species, occupancies
        As :func:`~deepchem_crystalssl.crystals.cif.species.read_species` returns them.
    frac : numpy.ndarray
        (N, 3), fractional coordinates.
    lattice : numpy.ndarray
        (3, 3), rows, Å.
    item : str
        For errors.

    Returns
    -------
    species : list of dict
        From atomic number to occupancy, for each site that remains.
    frac : numpy.ndarray
        Their fractional coordinates.

    Raises
    ------
    OccupancyError
        If the occupancies of one site sum to more than 1.
    """
    earlier: dict[int, list[int]] = {}
    for first, second in close_pairs(frac, lattice, SAME_SITE, item)[0].tolist():
        earlier.setdefault(second, []).append(first)
    merged: list[dict[int, float]] = []
    kept: list[int] = []
    place: dict[int, int] = {}
    for site, (parts, occupancy) in enumerate(zip(site_species, occupancies, strict=True)):
        near = next((place[other] for other in earlier.get(site, ()) if other in place), None)
        if near is None:
            place[site] = len(kept)
            kept.append(site)
            merged.append({z: share * occupancy for z, share in parts.items()})
            continue
        target = merged[near]
        for z, share in parts.items():
            target[z] = target.get(z, 0.0) + share * occupancy
        total = sum(target.values())
        if total > 1.0 + OCCUPANCY_TOLERANCE:
            names = " + ".join(f"{x:g} {symbols()[z]}" for z, x in target.items())
            if total > 1.0 + OCCUPANCY_ROUNDING:
                raise OccupancyError(item, f"occupancies {names} = {total:g} on one site")
            warn_of(item, f"occupancies {names} = {total:g} on one site, which are taken as 1 in sum")
            target.update({z: x / total for z, x in target.items()})
    return merged, frac[kept]
