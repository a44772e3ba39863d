"""What a CIF file says of symmetry: its operations, and all atoms of the cell from those of the asymmetric unit."""

from __future__ import annotations

import re
from functools import lru_cache

import gemmi
import numpy as np

from .cif_species import SAME_SITE, number
from ..errors import SymmetryError
from .limits import LIMITS, ReadingLimits
from .proximity import distinct_images

_SAME_POINT = 1e-6
"""Images closer than this are equal but for the arithmetic, Å."""

_LONGEST_OPERATION = 100  # characters; the parsers take long for longer ones

_OPERATION_TAGS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz", "_space_group_symop.operation_xyz")
_MAGNETIC_OPERATION_TAGS = (
    "_space_group_symop_magn_operation.xyz",
    "_space_group_symop.magn_operation_xyz",
    "_space_group_symop_magn_operation_xyz",
    "_space_group_symop.magn_operation_xyz",
)
_MAGNETIC_CENTERING_TAGS = (
    "_space_group_symop_magn_centering.xyz",
    "_space_group_symop.magn_centering_xyz",
    "_space_group_symop_magn_centering_xyz",
)
_HALL_TAGS = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall")
_NAME_TAGS = ("_space_group_name_H-M_alt", "_symmetry_space_group_name_H-M", "_symmetry_space_group_name_H_M")
_NUMBER_TAGS = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_MAGNETIC_NAME_TAGS = ("_space_group_magn.name_BNS", "_space_group.magn_name_BNS", "_space_group_magn_name_BNS")


def _values(block: gemmi.cif.Block, tags: tuple[str, ...]) -> list[str]:
    for tag in tags:
        values = [gemmi.cif.as_string(value) for value in block.find_values(tag)]
        if values and any(value not in ("", "?", ".") for value in values):
            return values
    return []


def read_operations(block: gemmi.cif.Block, item: str, limits: ReadingLimits = LIMITS) -> tuple[np.ndarray, np.ndarray]:
    """The symmetry operations of a data block.

    Returns
    -------
    rotations, translations : numpy.ndarray
        (M, 3, 3) and (M, 3): those that are listed, otherwise those of the space group that is named, otherwise the
        identity alone.

    Raises
    ------
    SymmetryError
        If an operation cannot be understood, or the space group is unknown.
    """
    for tags in (_MAGNETIC_OPERATION_TAGS, _MAGNETIC_CENTERING_TAGS, _OPERATION_TAGS):
        for tag in tags:
            limits.check("operations", len(block.find_values(tag)), item, "symmetry operations")
    magnetic = _values(block, _MAGNETIC_OPERATION_TAGS)
    if magnetic:
        centering = _values(block, _MAGNETIC_CENTERING_TAGS) or ["x,y,z,+1"]
        limits.check("operations", len(magnetic) * len(centering), item, "symmetry operations")
        return _combine(_parse_operations(tuple(magnetic), item), _parse_operations(tuple(centering), item))
    if name := _values(block, _MAGNETIC_NAME_TAGS):
        return _magnetic_group_operations(name[0], item)
    if operations := _values(block, _OPERATION_TAGS):
        return _parse_operations(tuple(operations), item)
    group = _find_space_group(block)
    if group is None:
        named = _values(block, _NAME_TAGS + _HALL_TAGS + _NUMBER_TAGS)
        if named:
            raise SymmetryError(item, f"unknown space group {named[0]!r} and no symmetry operations")
        return np.eye(3)[None], np.zeros((1, 3))  # nothing said: all atoms are listed
    return (np.array([op.rot for op in group]) / gemmi.Op.DEN, np.array([op.tran for op in group]) / gemmi.Op.DEN)


def _find_space_group(block: gemmi.cif.Block) -> gemmi.GroupOps | None:
    for name in _values(block, _HALL_TAGS)[:1]:
        try:
            return gemmi.symops_from_hall(name)
        except (ValueError, RuntimeError):
            pass
    alpha, gamma = (number(block.find_value(f"_cell_angle_{angle}")) for angle in ("alpha", "gamma"))
    for tag in _NAME_TAGS:
        for name in _values(block, (tag,))[:1]:
            if group := gemmi.find_spacegroup_by_name(name.replace("_", ""), alpha, gamma):
                return group.operations()
    for name in _values(block, _NUMBER_TAGS)[:1]:
        listed = number(name)
        if 1 <= listed <= 230:
            return gemmi.find_spacegroup_by_number(int(listed)).operations()
    return None


def _parse_operations(texts: tuple[str, ...], item: str) -> tuple[np.ndarray, np.ndarray]:
    for text in texts:
        operation = _parse_operation(text)
        if operation is None:
            raise SymmetryError(item, f"operation {text[:_LONGEST_OPERATION]!r}")
        if abs(abs(np.linalg.det(operation[0])) - 1.0) > 1e-6:
            raise SymmetryError(item, f"operation {text!r}, which changes volumes")
    operations = [_parse_operation(text) for text in texts]
    return np.array([op[0] for op in operations if op]), np.array([op[1] for op in operations if op])


@lru_cache(maxsize=4096)
def _parse_operation(text: str) -> tuple[np.ndarray, np.ndarray] | None:
    if len(text) > _LONGEST_OPERATION:
        return None
    triplet = ",".join(text.split(",")[:3])  # a magnetic operation has a fourth part, time reversal
    try:
        operation = gemmi.Op(triplet)
    except (ValueError, RuntimeError):
        return _parse_unusual_operation(triplet)
    return np.array(operation.rot) / gemmi.Op.DEN, np.array(operation.tran) / gemmi.Op.DEN


def _parse_unusual_operation(triplet: str) -> tuple[np.ndarray, np.ndarray] | None:
    """An operation with a translation such as 5/17, which gemmi's twenty-fourths cannot hold."""
    from pymatgen.core.operations import SymmOp

    if not re.fullmatch(r"[-+xyzXYZ\d/.\s]+(,[-+xyzXYZ\d/.\s]+){2}", triplet):
        return None
    try:
        operation = SymmOp.from_xyz_str(triplet)
    except (ValueError, ZeroDivisionError, IndexError):
        return None
    return operation.rotation_matrix, operation.translation_vector


def _combine(
    operations: tuple[np.ndarray, np.ndarray], centering: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    rotations = np.repeat(operations[0], len(centering[0]), axis=0)
    translations = (operations[1][:, None] + centering[1][None]).reshape(-1, 3)
    return rotations, translations


def _magnetic_group_operations(name: str, item: str) -> tuple[np.ndarray, np.ndarray]:
    from pymatgen.symmetry.maggroups import MagneticSpaceGroup

    try:
        operations = MagneticSpaceGroup(name).symmetry_ops
    except Exception as error:  # the table raises whatever its SQL lookup raises
        raise SymmetryError(item, f"unknown magnetic space group {name!r}") from error
    return (np.array([op.rotation_matrix for op in operations]), np.array([op.translation_vector for op in operations]))


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
