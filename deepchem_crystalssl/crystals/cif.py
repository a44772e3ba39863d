"""Reading CIF: gemmi reads grammar and numbers, and this file makes crystals of them and checks them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import gemmi
import numpy as np

from .cif_species import merge_shared_sites, number, read_species
from .cif_symmetry import expand_symmetry, read_operations
from .limits import LIMITS, ReadingLimits
from ..errors import (
    CIFSyntaxError,
    CoordinateError,
    CrystalInputError,
    EmptyStructureError,
    LatticeError,
    NoCrystalsError,
    OccupancyError,
    SymmetryError,
    UnsupportedFileError,
    counted,
    typed_error,
)
from .records import Crystal
from .validation import OCCUPANCY_TOLERANCE, lattice_from_parameters, make_crystal

_CELL_TAGS = [f"_cell_{kind}" for kind in ("length_a", "length_b", "length_c")] + [
    f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")
]
_MODULATION_TAGS = ("_cell_modulation_dimension", "_cell_wave_vector_x", "_cell_wave_vector_seq_id")


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


def read_cif(text: str, name: str, limits: ReadingLimits = LIMITS) -> Iterator[Crystal | CrystalInputError]:
    """The crystals of a CIF text, one after the other; a bad data block comes as its error.

    Parameters
    ----------
    text : str
        Content of a CIF or magnetic CIF file.
    name : str
        Name of the source; crystals of a file with several data blocks are ``name:block``.
    limits : ReadingLimits

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
            yield _read_block(block, item, limits)
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
    return NoCrystalsError(name, f"{counted(len(document), 'data block')}, none with atom sites")


def _read_block(block: gemmi.cif.Block, item: str, limits: ReadingLimits) -> Crystal:
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
    limits.check("sites", len(frac), item, "sites of one crystal")
    site_species, occupancies = read_species(block, len(frac), item)
    if not len(site_species):
        raise EmptyStructureError(item, "0 sites")
    present = [k for k, (_, occupancy) in enumerate(zip(site_species, occupancies, strict=True)) if occupancy > 0]
    if len(present) < len(frac):
        frac = frac[present]
        site_species, occupancies = [site_species[k] for k in present], [occupancies[k] for k in present]
    rotations, translations = read_operations(block, item, limits)
    is_full = [
        occupancy * sum(parts.values()) >= 1.0 for parts, occupancy in zip(site_species, occupancies, strict=True)
    ]
    if len(rotations) > 1:
        resolution = None if all(is_full) else _resolution(block, lattice)[present]
        parent, expanded, merged, told_apart = expand_symmetry(
            frac, lattice, rotations, translations, resolution, item, limits
        )
        multiplicities = _multiplicities(block) if (merged > 1).any() else []
        images_of = np.bincount(parent, minlength=len(frac))
        for site in np.flatnonzero((merged > 1) & ~np.array(is_full)):
            images = int(merged[site]), int(told_apart[site])
            total = occupancies[site] * sum(site_species[site].values())
            occupancies[site] *= _shared_by(multiplicities, present[site], int(images_of[site]), images, total, item)
        frac, site_species, occupancies = expanded, [site_species[k] for k in parent], [occupancies[k] for k in parent]
    if all(is_full) and all(len(parts) == 1 for parts in site_species):
        return make_crystal([z for species in site_species for z in species], frac, lattice, item)
    return make_crystal(*merge_shared_sites(site_species, occupancies, frac, lattice, item), lattice, item)


def _resolution(block: gemmi.cif.Block, lattice: np.ndarray) -> np.ndarray:
    """How far apart rounded coordinates may place two images of an atom that lies on a special position, (S,) in Å.

    A coordinate is accurate to half a unit of its last digit, and a difference between two images to three times that.
    """
    decimals = [
        [len(found.group(1)) if (found := re.match(r"[-+]?\d*\.(\d+)", text)) else 0 for text in block.find_values(tag)]
        for tag in ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
    ]
    return 1.5 * 10.0 ** -np.max(decimals, axis=0) * np.linalg.norm(lattice, axis=1).sum()


def _multiplicities(block: gemmi.cif.Block) -> list[list[float]]:
    """The columns of the file that state how many positions each atom has."""
    tags = ("_atom_site_site_symmetry_multiplicity", "_atom_site_symmetry_multiplicity")
    return [[number(text) for text in block.find_values(tag)] for tag in tags]


def _shared_by(
    multiplicities: list[list[float]], site: int, count: int, images: tuple[int, int], occupancy: float, item: str
) -> int:
    """The factor by which the occupancy of a site grows when images of it are merged.

    ``images`` are how many were merged, and how many of these the digits of the coordinates tell apart. If the
    multiplicity in the file counts them separately, their occupancies are added. If the file gives no multiplicity,
    those told apart are added as long as they sum to at most 1; otherwise the atom is taken to lie on a special
    position.
    """
    for multiplicity in multiplicities:
        if site < len(multiplicity) and multiplicity[site] == count:
            return 1
        for n in images:
            if site < len(multiplicity) and multiplicity[site] == count * n:
                if occupancy * n > 1.0 + OCCUPANCY_TOLERANCE:
                    raise OccupancyError(item, f"{n} positions of occupancy {occupancy:g} on site {site}")
                return n
    told_apart = images[1]
    return told_apart if occupancy * told_apart <= 1.0 + OCCUPANCY_TOLERANCE else 1


def _read_lattice(block: gemmi.cif.Block, item: str) -> np.ndarray:
    values = [number(block.find_value(tag)) for tag in _CELL_TAGS]
    missing = [tag for tag, value in zip(_CELL_TAGS, values, strict=True) if not np.isfinite(value)]
    if missing:
        raise LatticeError(item, f"no number for {', '.join(missing)}")
    if min(values) <= 0 or max(values[3:]) >= 180:
        raise LatticeError(item, "cell " + " ".join(f"{value:g}" for value in values))
    alpha, beta, gamma = values[3:]
    # Each angle must be smaller than the sum of the other two, or there is no such cell.
    if alpha + beta + gamma >= 360 or 2 * max(alpha, beta, gamma) >= alpha + beta + gamma:
        raise LatticeError(item, f"angles {alpha:g} {beta:g} {gamma:g} that do not close to a cell")
    return lattice_from_parameters(*values)


def _read_coordinates(block: gemmi.cif.Block, tag: str, item: str) -> list[float]:
    column = list(block.find_values(tag))
    try:
        return [_IDEAL[text] if text in _IDEAL else float(text) for text in column]
    except ValueError:
        pass  # uncertainties such as 0.25(1), or marks such as ? and .
    values = []
    for site, text in enumerate(column):
        value = _IDEAL.get(text, 0.0 if text == "." else number(text))  # "." is the default, zero (core CIF)
        if not np.isfinite(value):
            raise CoordinateError(item, f"{tag} of site {site} is {text}")
        values.append(value)
    return values
