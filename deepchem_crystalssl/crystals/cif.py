"""CIF text in, crystals out: grammar and numbers by gemmi, chemistry and symmetry checked here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import gemmi
import numpy as np

from .elements import atomic_number_of, symbols
from ..errors import (
    CIFSyntaxError,
    CoordinateError,
    CrystalInputError,
    EmptyStructureError,
    LatticeError,
    NoCrystalsError,
    OccupancyError,
    SymmetryError,
    UnknownElementError,
    UnsupportedFileError,
    typed_error,
)
from .records import Crystal
from .validation import OCCUPANCY_TOLERANCE, lattice_from_parameters, make_crystal

SAME_SITE = 0.1
"""Symmetry images of one atom closer than this are that atom on a special position, Å."""

_CELL_TAGS = [f"_cell_{kind}" for kind in ("length_a", "length_b", "length_c")] + [
    f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")
]
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
_MODULATION_TAGS = ("_cell_modulation_dimension", "_cell_wave_vector_x", "_cell_wave_vector_seq_id")

# Labels of groups of atoms in old files, read as their heavy atom (hydrogens are not placed there).
_GROUP_LABELS = {"WAT": "O", "OH": "O", "OW": "O", "HW": "H", "NO3": "N", "NH4": "N"}
_PLACEHOLDERS = ("VAC", "DUM", "XX")


def _ideal_fractions() -> dict[str, float]:
    """Texts of three to six decimals that stand for thirds and sixths: '0.3333', '.6667', '-0.16667'."""
    texts = {}
    for numerator in (1, 2, 4, 5):
        value = numerator / 6
        for decimals in range(3, 7):
            for rounded in (f"{value:.{decimals}f}", f"{int(value * 10**decimals) / 10**decimals:.{decimals}f}"):
                for text in (rounded, rounded[1:]):
                    texts[text], texts["-" + text] = value, -value
    return texts


_IDEAL = _ideal_fractions()


def read_cif(text: str, name: str) -> Iterator[Crystal | CrystalInputError]:
    """The crystals of a CIF text, one after the other; a bad data block comes as its error.

    Parameters
    ----------
    text : str
        Content of a CIF or magnetic CIF file.
    name : str
        Name of the source; crystals of a file with several data blocks are ``name:block``.

    Yields
    ------
    Crystal or CrystalInputError

    Examples
    --------
    >>> text = '''data_NaCl
    ... _cell_length_a 5.64(1)
    ... _cell_length_b 5.64(1)
    ... _cell_length_c 5.64(1)
    ... _cell_angle_alpha 90
    ... _cell_angle_beta 90
    ... _cell_angle_gamma 90
    ... _space_group_name_H-M_alt 'F m -3 m'
    ... loop_
    ... _atom_site_label
    ... _atom_site_fract_x
    ... _atom_site_fract_y
    ... _atom_site_fract_z
    ... Na1+ 0 0 0
    ... Cl1- .5 .5 .5
    ... '''
    >>> list(read_cif(text, "salt"))
    [Crystal(salt, Na4Cl4, 8 sites)]
    """
    try:
        document = _parse_grammar(text)
    except (ValueError, RuntimeError) as error:
        yield CIFSyntaxError(name, str(error).replace("string:", "line ").split("\n")[0])
        return
    blocks = [block for block in document if any(x != "?" for x in block.find_values("_atom_site_fract_x"))]
    if not blocks:
        yield _why_no_crystal(document, name)
    times: Counter[str] = Counter()
    for block in blocks:
        times[block.name] += 1
        item = name if len(blocks) == 1 else f"{name}:{block.name}"
        if times[block.name] > 1:
            item += f" ({times[block.name]})"
        try:
            yield _read_block(block, item)
        except Exception as error:  # a bad block costs itself alone, whatever it makes a library raise
            yield typed_error(error, item)


# A quoted text that runs over several lines, which the grammar forbids and some programs write.
_BROKEN_QUOTE = re.compile(r"^(_\S+\s+)'[^'\n]*\n(?:[^'_\n][^'\n]*\n|\n)*[^'\n]*'[ \t\r]*$", re.MULTILINE)


def _parse_grammar(text: str) -> gemmi.cif.Document:
    if not text.isascii():  # accents in authors' names; CIF 1.1 is ASCII, and so is every tag read here
        text = text.encode("ascii", "replace").decode()
    try:
        return gemmi.cif.read_string(text, check_level=0)
    except (ValueError, RuntimeError):
        repaired = _BROKEN_QUOTE.sub(r"\1?", text)
        if repaired == text:
            raise
        return gemmi.cif.read_string(repaired, check_level=0)


def _why_no_crystal(document: gemmi.cif.Document, name: str) -> CrystalInputError:
    for block in document:
        if block.find_values("_atom_site.Cartn_x") or block.find_values("_chem_comp_atom.atom_id"):
            return UnsupportedFileError(
                name,
                "a macromolecular mmCIF or monomer dictionary",
                "crystals are read from core CIF and magnetic CIF",
                "Convert it with gemmi to a small-molecule CIF.",
            )
        if block.find_values("_atom_site_label"):
            return CoordinateError(name, "atom sites without numbers for _atom_site_fract_x, _y, _z")
        if all(block.find_value(tag) for tag in _CELL_TAGS):
            return EmptyStructureError(name, "a cell without atom sites")
    return NoCrystalsError(name, f"{len(document)} data blocks, none with atom sites")


def _read_block(block: gemmi.cif.Block, item: str) -> Crystal:
    if any(block.find_values(tag) for tag in _MODULATION_TAGS):
        raise SymmetryError(
            item,
            "an incommensurately modulated structure",
            "a crystal must be periodic in three dimensions",
            "Give a commensurate approximant as a supercell.",
        )
    lattice = _read_lattice(block, item)
    columns = [_read_coordinates(block, f"_atom_site_fract_{axis}", item) for axis in "xyz"]
    if len({len(column) for column in columns}) > 1:
        x, y, z = map(len, columns)
        raise CoordinateError(item, f"{x}, {y} and {z} numbers in _atom_site_fract_x, _y and _z")
    frac = np.array(columns).T
    site_species, occupancies = _read_species(block, len(frac), item)
    if not len(site_species):
        raise EmptyStructureError(item, "0 sites")
    present = [k for k, (_, occupancy) in enumerate(zip(site_species, occupancies, strict=True)) if occupancy > 0]
    if len(present) < len(frac):
        frac = frac[present]
        site_species, occupancies = [site_species[k] for k in present], [occupancies[k] for k in present]
    rotations, translations = _read_operations(block, item)
    if len(rotations) > 1:
        parent, frac = expand_symmetry(frac, lattice, rotations, translations)
        site_species, occupancies = [site_species[k] for k in parent], [occupancies[k] for k in parent]
    if all(occupancy == 1.0 for occupancy in occupancies) and all(len(s) == 1 for s in site_species):
        return make_crystal([z for species in site_species for z in species], frac, lattice, item)
    return make_crystal(*_merge_shared_sites(site_species, occupancies, frac, lattice, item), lattice, item)


def _read_lattice(block: gemmi.cif.Block, item: str) -> np.ndarray:
    values = [_number(block.find_value(tag)) for tag in _CELL_TAGS]
    missing = [tag for tag, value in zip(_CELL_TAGS, values, strict=True) if not np.isfinite(value)]
    if missing:
        raise LatticeError(item, f"no number for {', '.join(missing)}")
    if min(values) <= 0 or max(values[3:]) >= 180:
        raise LatticeError(item, "cell " + " ".join(f"{value:g}" for value in values))
    alpha, beta, gamma = values[3:]
    # The three face angles must close to a cell; clipping would otherwise invent one.
    if alpha + beta + gamma >= 360 or 2 * max(alpha, beta, gamma) >= alpha + beta + gamma:
        raise LatticeError(item, f"angles {alpha:g} {beta:g} {gamma:g} that do not close to a cell")
    return lattice_from_parameters(*values)


def _number(text: str | None) -> float:
    return gemmi.cif.as_number(text, np.nan) if text else np.nan


def _read_coordinates(block: gemmi.cif.Block, tag: str, item: str) -> list[float]:
    column = list(block.find_values(tag))
    try:
        return [_IDEAL[text] if text in _IDEAL else float(text) for text in column]
    except ValueError:
        pass  # uncertainties such as 0.25(1), or marks such as ? and .
    values = []
    for site, text in enumerate(column):
        value = _IDEAL.get(text, 0.0 if text == "." else _number(text))  # "." is the default, zero (core CIF)
        if not np.isfinite(value):
            raise CoordinateError(item, f"{tag} of site {site} is {text}")
        values.append(value)
    return values


def _read_species(block: gemmi.cif.Block, n_sites: int, item: str) -> tuple[list[dict[int, float]], list[float]]:
    """Per site: share of each element, and occupancy."""
    texts = list(block.find_values("_atom_site_type_symbol")) or list(block.find_values("_atom_site_label"))
    if len(texts) != n_sites:
        raise UnknownElementError(item, f"{len(texts)} labels or type symbols for {n_sites} sites")
    species = {text: _parse_species(text) for text in set(texts)}
    for site, text in enumerate(texts):
        if 0 in species[text]:
            raise UnknownElementError(item, f"species {text!r} on site {site}")
    column = list(block.find_values("_atom_site_occupancy")) or ["?"] * n_sites
    numbers = {text: _number(text) for text in set(column)}
    for site, text in enumerate(column):
        if not (np.isnan(numbers[text]) or 0.0 <= numbers[text] <= 1.0 + OCCUPANCY_TOLERANCE):
            raise OccupancyError(item, f"occupancy {text} of site {site} ({texts[site]})")
    occupancy = {text: 1.0 if np.isnan(value) else value for text, value in numbers.items()}
    return [species[text] for text in texts], [occupancy[text] for text in column]


def _parse_species(text: str) -> dict[int, float]:
    return _parse_mixture(text) or {_parse_element(text): 1.0}


@lru_cache(maxsize=4096)
def _parse_element(text: str) -> int:
    """Atomic number from 'Fe', 'Fe3+', 'O2-', 'FE1', 'D', 'Wat'; 0 if it is none."""
    text = gemmi.cif.as_string(text).lstrip("0123456789'\"")
    upper = text.upper()
    if upper.startswith(_PLACEHOLDERS):
        return 0
    for group, element in _GROUP_LABELS.items():
        if upper.startswith(group) and not (upper[len(group) :][:1].isalpha()):
            return atomic_number_of()[element]
    letters = re.match(r"[A-Za-z]*", text).group()  # type: ignore[union-attr]
    number_of = atomic_number_of()
    return number_of.get(letters[:2].title()) or number_of.get(letters[:1].upper()) or 0


@lru_cache(maxsize=1024)
def _parse_mixture(text: str) -> dict[int, float] | None:
    """Shares from a Pauling-file type symbol such as '0.8Nb + 0.2Zr'; None if it is not one."""
    if "+" not in text or not re.search(r"\s\+\s", text):
        return None
    parts = re.findall(r"([\d.]+)(?:\(\d+\))?\s*([A-Z][a-z]?)", text)
    return {atomic_number_of().get(symbol, 0): float(share) for share, symbol in parts} or None


def _values(block: gemmi.cif.Block, tags: tuple[str, ...]) -> list[str]:
    for tag in tags:
        values = [gemmi.cif.as_string(value) for value in block.find_values(tag)]
        if values and any(value not in ("", "?", ".") for value in values):
            return values
    return []


def _read_operations(block: gemmi.cif.Block, item: str) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (M, 3, 3) and translations (M, 3): from operations if listed, else from the space group."""
    magnetic = _values(block, _MAGNETIC_OPERATION_TAGS)
    if magnetic:
        centering = _values(block, _MAGNETIC_CENTERING_TAGS) or ["x,y,z,+1"]
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
    alpha, gamma = (_number(block.find_value(f"_cell_angle_{angle}")) for angle in ("alpha", "gamma"))
    for tag in _NAME_TAGS:
        for name in _values(block, (tag,))[:1]:
            if group := gemmi.find_spacegroup_by_name(name.replace("_", ""), alpha, gamma):
                return group.operations()
    for name in _values(block, _NUMBER_TAGS)[:1]:
        number = _number(name)
        if 1 <= number <= 230:
            return gemmi.find_spacegroup_by_number(int(number)).operations()
    return None


def _parse_operations(texts: tuple[str, ...], item: str) -> tuple[np.ndarray, np.ndarray]:
    for text in texts:
        operation = _parse_operation(text)
        if operation is None:
            raise SymmetryError(item, f"operation {text!r}")
        if abs(abs(np.linalg.det(operation[0])) - 1.0) > 1e-6:
            raise SymmetryError(item, f"operation {text!r}, which changes volumes")
    operations = [_parse_operation(text) for text in texts]
    return np.array([op[0] for op in operations if op]), np.array([op[1] for op in operations if op])


@lru_cache(maxsize=4096)
def _parse_operation(text: str) -> tuple[np.ndarray, np.ndarray] | None:
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
    frac: np.ndarray, lattice: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All atoms of the cell from those of the asymmetric unit.

    An atom whose symmetry images come within ``SAME_SITE`` of it lies on a special position; it is first
    moved onto it, to the mean of those images, so that coordinates printed with few digits do no harm.

    Parameters
    ----------
    frac : (S, 3) fractional coordinates
    lattice : (3, 3) rows, Å
    rotations, translations : (M, 3, 3) and (M, 3)

    Returns
    -------
    parent, frac : (N,) int and (N, 3) float, which atom each comes from, and where it is
    """
    parents, positions = [], []
    for site, position in enumerate(frac):
        images = rotations @ position + translations
        shift = images - position
        shift -= np.round(shift)
        itself = np.linalg.norm(shift @ lattice, axis=1) < SAME_SITE
        if itself.sum() > 1:
            position = position + shift[itself].mean(0)
            images = rotations @ position + translations
        images -= np.floor(images)
        while len(images):
            shift = images - images[0]
            shift -= np.round(shift)
            apart = np.linalg.norm(shift @ lattice, axis=1) >= SAME_SITE
            parents.append(site)
            positions.append(images[0])
            images = images[apart]
    return np.array(parents), np.array(positions)


def _merge_shared_sites(
    site_species: list[dict[int, float]], occupancies: list[float], frac: np.ndarray, lattice: np.ndarray, item: str
) -> tuple[list[dict[int, float]], np.ndarray]:
    """Sites listed once per species become one site; their occupancies must sum to at most 1."""
    species = [
        {z: share * occupancy for z, share in parts.items()}
        for parts, occupancy in zip(site_species, occupancies, strict=True)
    ]
    merged: list[dict[int, float]] = []
    kept: list[int] = []
    for site, parts in enumerate(species):
        shift = frac[kept] - frac[site]
        shift -= np.round(shift)
        near = np.flatnonzero(np.linalg.norm(shift @ lattice, axis=1) < SAME_SITE)
        if not len(near):
            kept.append(site)
            merged.append(dict(parts))
            continue
        target = merged[near[0]]
        for z, occupancy in parts.items():
            target[z] = target.get(z, 0.0) + occupancy
        total = sum(target.values())
        if total > 1.0 + OCCUPANCY_TOLERANCE:
            names = " + ".join(f"{x:g} {symbols()[z]}" for z, x in target.items())
            raise OccupancyError(item, f"occupancies {names} = {total:g} on one site")
    return merged, frac[kept]
