"""What a CIF file states of its crystal beside atoms and cell: formula, formula units, density and volume."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import gemmi

from ..elements import atomic_number_of
from .tags import first_value, number

_FORMULA_TAGS = ("_chemical_formula_sum", "_chemical_formula.sum")
_UNITS_TAGS = ("_cell_formula_units_Z", "_cell.formula_units_Z")
_DENSITY_TAGS = ("_exptl_crystal_density_diffrn", "_exptl_crystal.density_diffrn")
_VOLUME_TAGS = ("_cell_volume", "_cell.volume")
_SITE_TAGS = ("_atom_site_fract_x", "_atom_site.fract_x")
_PART = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*|\.\d+)?")


@dataclass(frozen=True)
class Statements:
    """What a data block states; NaN and None for what it does not say.

    Attributes
    ----------
    formula : dict from int to float, or None
        Atoms of each atomic number in a formula unit.
    formula_units : float
        Formula units in the cell, Z.
    density : float
        As calculated from the cell, g/cm^3.
    volume : float
        Å^3.
    """

    formula: Mapping[int, float] | None = None
    formula_units: float = math.nan
    density: float = math.nan
    volume: float = math.nan


def read_statements(text: str, name: str) -> dict[str, Statements]:
    """The statements of the data blocks that list atoms, by the names that :func:`.read_cif` gives their crystals.

    Parameters
    ----------
    text : str
        A CIF. If it cannot be parsed, nothing is stated.
    name : str
        Name of the source.

    Examples
    --------
    >>> text = "data_NaCl\\n_chemical_formula_sum 'Cl Na'\\n_cell_formula_units_Z 4\\n_cell_volume 179.4(2)\\n"
    >>> text += "loop_ _atom_site_label _atom_site_fract_x Na 0 Cl .5"
    >>> read_statements(text, "salt")
    {'salt': Statements(formula={17: 1.0, 11: 1.0}, formula_units=4.0, density=nan, volume=179.4)}
    """
    try:
        document = gemmi.cif.read_string(text.encode("ascii", "replace").decode(), check_level=0)
    except (ValueError, RuntimeError):
        return {}
    blocks = [block for block in document if any(block.find_values(tag) for tag in _SITE_TAGS)]
    if len(blocks) == 1:
        return {name: statements_of(blocks[0])}
    names = [block.name for block in blocks]
    return {f"{name}:{block.name}": statements_of(block) for block in blocks if names.count(block.name) == 1}


def statements_of(block: gemmi.cif.Block) -> Statements:
    """The statements of a data block."""
    formula = parse_formula(formula_sum(block))
    return Statements(formula, formula_units(block), density(block), _positive(block, _VOLUME_TAGS))


def formula_sum(block: gemmi.cif.Block) -> str:
    """The text of the formula sum; empty if there is none."""
    return first_value(block, *_FORMULA_TAGS)


def formula_units(block: gemmi.cif.Block) -> float:
    """The formula units in the cell, Z; NaN if they are not stated."""
    return _positive(block, _UNITS_TAGS)


def density(block: gemmi.cif.Block) -> float:
    """The calculated density, g/cm^3; NaN if it is not stated."""
    return _positive(block, _DENSITY_TAGS)


def _positive(block: gemmi.cif.Block, tags: tuple[str, ...]) -> float:
    value = number(first_value(block, *tags))
    return value if value > 0 else math.nan


@lru_cache(maxsize=1024)
def parse_formula(text: str) -> dict[int, float] | None:
    """The atoms of each atomic number in a formula sum; None if it is no list of elements with numbers.

    Capitals alone, as in ``CO2`` or ``NI``, may be one element or two, and say nothing.

    Examples
    --------
    >>> parse_formula("C2 H6 O"), parse_formula("Fe0.95O"), parse_formula("(H2 O)n")
    ({6: 2.0, 1: 6.0, 8: 1.0}, {26: 0.95, 8: 1.0}, None)
    """
    if re.search("[A-Z]{2}", text) and not re.search("[a-z]", text):
        return None
    formula: dict[int, float] = {}
    for word in text.replace(",", " ").split():
        if re.fullmatch(r"\d*[+-]\d*", word):  # the charge of an ion
            continue
        parts = _PART.findall(word)
        if "".join(symbol + amount for symbol, amount in parts) != word:
            return None
        for symbol, amount in parts:
            if symbol not in atomic_number_of():
                return None
            z = atomic_number_of()[symbol]
            formula[z] = formula.get(z, 0.0) + float(amount or 1)
    return {z: amount for z, amount in formula.items() if amount > 0} or None
