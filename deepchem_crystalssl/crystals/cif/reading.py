"""Reading CIF: gemmi reads grammar and numbers, and this file makes crystals of them and checks them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

import gemmi
import numpy as np

from .building import Listing, build_crystal
from .claims import Claims
from ...errors import (
    CIFSyntaxError,
    CoordinateError,
    CrystalInputError,
    EmptyStructureError,
    LatticeError,
    NoCrystalsError,
    SymmetryError,
    UnsupportedFileError,
    counted,
    typed_error,
    warn_of,
)
from ..limits import LIMITS, ReadingLimits
from ..records import Crystal
from .species import read_species
from .symmetry import read_symmetry
from .tags import number, refuse_doubled_tags, without_dots
from ..validation import lattice_from_parameters

_CELL_TAGS = [f"_cell_{kind}" for kind in ("length_a", "length_b", "length_c")] + [
    f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")
]
_COORDINATE_TAGS = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
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
        document, is_doubled = _parse_grammar(text)
    except (ValueError, RuntimeError) as error:
        yield CIFSyntaxError(name, str(error).replace("string:", "line ").split("\n")[0])
        return
    blocks = _blocks_of_crystals(document)
    if not all(block.find_value("_cell_length_a") for block in blocks) or not blocks:
        blocks = _blocks_of_crystals(_parse_grammar(without_dots(text))[0]) or blocks
    if not blocks:
        yield _why_no_crystal(document, name)
    for block, item in zip(blocks, _name_blocks(blocks, name), strict=True):
        try:
            if is_doubled:
                refuse_doubled_tags(block, item)
            yield _read_block(block, item, limits)
        except Exception as error:  # a bad block costs itself alone, whatever it makes a library raise
            yield typed_error(error, item)


def _name_blocks(blocks: list[gemmi.cif.Block], name: str) -> list[str]:
    """The names of the crystals of the blocks of a file."""
    if len(blocks) == 1:
        return [name]
    times: Counter[str] = Counter()
    names = []
    for block in blocks:
        times[block.name] += 1
        names.append(f"{name}:{block.name}" + (f" ({times[block.name]})" if times[block.name] > 1 else ""))
    return names


def _blocks_of_crystals(document: gemmi.cif.Document) -> list[gemmi.cif.Block]:
    return [block for block in document if any(x != "?" for x in block.find_values("_atom_site_fract_x"))]


# A quoted text that runs over several lines, which the grammar forbids and some programs write.
_BROKEN_QUOTE = re.compile(r"^(_\S+\s+)'[^'\n]*\n(?:[^'_\n][^'\n]*\n|\n)*[^'\n]*'[ \t\r]*$", re.MULTILINE)


# The value of a tag, to the end of its line.
_VALUE = re.compile(r"^(_\S+)[ \t]+(\S[^\n]*?)[ \t\r]*$", re.MULTILINE)
# A word, a quoted text or the begin of a loop's values, each perhaps before a comment.
_WELL_FORMED = re.compile(r"(?:'.*'|\".*\"|[^'\"#;\s]\S*)(?:\s+#.*)?$|[#;]")


def _quoted(line: re.Match[str]) -> str:
    """A line whose value has several words without quotes, or more behind them, with the value in quotes."""
    tag, value = line.groups()
    if _WELL_FORMED.match(value):
        return line[0]
    bare = value.strip("'\" ,;")
    return f'{tag} "{bare}"' if '"' not in bare else f"{tag} ?"


def _parse_grammar(text: str) -> tuple[gemmi.cif.Document, bool]:
    """The data blocks of a text, and whether a block or tag may be in it twice."""
    if not text.isascii():  # accents in authors' names; CIF 1.1 is ASCII, and so is every tag read here
        text = text.encode("ascii", "replace").decode()
    try:
        return gemmi.cif.read_string(text, check_level=1), False
    except (ValueError, RuntimeError):
        pass
    try:
        return gemmi.cif.read_string(text, check_level=0), True
    except (ValueError, RuntimeError):
        repaired = _VALUE.sub(_quoted, _BROKEN_QUOTE.sub(r"\1?", text))
        if repaired == text:
            raise
        return gemmi.cif.read_string(repaired, check_level=0), True


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
    _remove_dummies(block)
    lattice = _read_lattice(block, item)
    columns, dots = zip(*(_read_coordinates(block, tag, item) for tag in _COORDINATE_TAGS), strict=True)
    if len({len(column) for column in columns}) > 1:
        x, y, z = map(len, columns)
        raise CoordinateError(item, f"{x}, {y} and {z} numbers in _atom_site_fract_x, _y and _z")
    frac = np.array(columns).T
    if not len(frac):
        raise EmptyStructureError(item, "0 sites")
    limits.check("sites", len(frac), item, "sites of one crystal")
    claims = Claims.of(block)
    species = read_species(block, len(frac), item, claims.amounts)
    if any(dots):
        _refuse_unknown_positions(block, species.parts, item)
    for note in species.notes:
        warn_of(item, note)
    symmetry = read_symmetry(block, lattice, item, claims.count_atoms, limits)

    listing = Listing.of(block, frac, species.parts, species.occupancies, limits)

    def with_short_symbols() -> Listing:
        short = read_species(block, len(frac), item, claims.amounts, prefer_short=True)
        return Listing.of(block, frac, short.parts, short.occupancies, limits)

    crystal = build_crystal(
        listing, symmetry, claims, lattice, item, with_short_symbols if species.open_labels else None
    )
    _tell_of_hydrogen(block, claims, crystal, item)
    return crystal


def _remove_dummies(block: gemmi.cif.Block) -> None:
    """Remove the rows that the file marks as no atoms: centroids and other dummies."""
    flags = block.find_values("_atom_site_calc_flag")
    if not flags or not any("dum" in flag.lower() for flag in flags):
        return
    table = block.find(["_atom_site_calc_flag"])
    for row in reversed(range(len(table))):
        if gemmi.cif.as_string(table[row][0]).lower() == "dum":
            table.remove_row(row)


def _refuse_unknown_positions(block: gemmi.cif.Block, species: list[dict[int, float]], item: str) -> None:
    """Refuse rows without any coordinate, unless it is one atom that may well lie at the origin, which is told."""
    columns = [list(block.find_values(tag)) for tag in _COORDINATE_TAGS]
    unknown = [site for site, texts in enumerate(zip(*columns, strict=True)) if set(texts) == {"."}]
    if len(unknown) > 1 or any(1 in species[site] for site in unknown):
        raise CoordinateError(item, f"no coordinates on {counted(len(unknown), 'site')}, first site {unknown[0]}")
    warn_of(item, "coordinates given as '.' are read as zero, the default of the dictionary")


def _tell_of_hydrogen(block: gemmi.cif.Block, claims: Claims, crystal: Crystal, item: str) -> None:
    """Warn of hydrogen that the file counts but does not list."""
    column = block.find_values("_atom_site_attached_hydrogens")
    if column and (attached := sum(n for n in map(number, column) if n > 0)):
        warn_of(item, f"{attached:g} hydrogen atoms are given as attached to others, without positions, and left out")
    elif claims.missing_hydrogen(crystal) and not claims.contradiction(crystal):
        warn_of(item, f"{crystal.formula} has fewer hydrogen atoms than the formula sum {claims.formula}")


def _read_lattice(block: gemmi.cif.Block, item: str) -> np.ndarray:
    stated = [block.find_value(tag) for tag in _CELL_TAGS]
    cell = [number(text) for text in stated]
    if None in stated[3:]:
        cell[3:] = [90.0 if text is None else x for text, x in zip(stated[3:], cell[3:], strict=True)]  # the default
    if not all(map(math.isfinite, cell)):
        missing = [tag for tag, value in zip(_CELL_TAGS, cell, strict=True) if not math.isfinite(value)]
        raise LatticeError(item, f"no number for {', '.join(missing)}")
    if min(cell) <= 0 or max(cell[3:]) >= 180:
        raise LatticeError(item, "cell " + " ".join(f"{value:g}" for value in cell))
    alpha, beta, gamma = cell[3:]
    # Each angle must be smaller than the sum of the other two, or there is no such cell.
    if alpha + beta + gamma >= 360 or 2 * max(alpha, beta, gamma) >= alpha + beta + gamma:
        raise LatticeError(item, f"angles {alpha:g} {beta:g} {gamma:g} that do not close to a cell")
    lattice = lattice_from_parameters(*cell)
    _check_volume(block, lattice, None not in stated, item)
    return lattice


def _check_volume(block: gemmi.cif.Block, lattice: np.ndarray, has_angles: bool, item: str) -> None:
    """Compare the cell with the volume that the file states: an error where angles are not given, else a warning."""
    stated = number(block.find_value("_cell_volume"))
    volume = float(lattice[0, 0] * lattice[1, 1] * lattice[2, 2])  # the other half of the matrix is zero
    if not abs(stated - volume) > 0.01 * volume:
        return
    if not has_angles:
        raise LatticeError(
            item, f"no angles, with which the volume is {volume:.5g} Å^3, and a volume of {stated:.5g} Å^3"
        )
    warn_of(item, f"the volume of the cell is {volume:.5g} Å^3, and {stated:.5g} by the file")


def _read_coordinates(block: gemmi.cif.Block, tag: str, item: str) -> tuple[list[float], bool]:
    """The numbers of a column of coordinates, and whether there are dots, which stand for the default, zero."""
    column = list(block.find_values(tag))
    try:
        if "_" in "".join(column):  # which Python ignores in a number
            raise ValueError
        if _IDEAL.keys().isdisjoint(column):
            return list(map(float, column)), False
        return [_IDEAL[text] if text in _IDEAL else float(text) for text in column], False
    except ValueError:
        pass  # uncertainties such as 0.25(1), or marks such as ? and .
    found = []
    for site, text in enumerate(column):
        value = _IDEAL.get(text, 0.0 if text == "." else number(text))
        if not math.isfinite(value):
            raise CoordinateError(item, f"{tag} of site {site} is {text}")
        found.append(value)
    return found, "." in column
