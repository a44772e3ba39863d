"""Values of a data block of a CIF file, whichever of the spellings of a tag the file uses."""

from __future__ import annotations

import re

import gemmi
import numpy as np

_UNKNOWN = ("", "?", ".")
_DOTTED = re.compile(
    r"^([ \t]*_(?:atom_site|cell|space_group|space_group_symop|symmetry|symmetry_equiv|chemical_formula|exptl_crystal))"
    r"\.(?=[A-Za-z])",
    re.MULTILINE | re.IGNORECASE,
)


def number(text: str | None) -> float:
    """A number with or without its uncertainty, as 0.25(1); NaN if there is none."""
    return gemmi.cif.as_number(text, np.nan) if text else np.nan


def values(block: gemmi.cif.Block, tags: tuple[str, ...]) -> list[str]:
    """The values, without quotes, of the first of some tags that has any; an empty list if all are unknown."""
    for tag in tags:
        column = block.find_values(tag)
        if column:
            found = [gemmi.cif.as_string(value) for value in column]
            if any(value not in _UNKNOWN for value in found):
                return found
    return []


def first_value(block: gemmi.cif.Block, *tags: str) -> str:
    """The first value, without quotes, of the first of some tags that has any; an empty text if there is none."""
    for tag in tags:
        value = block.find_value(tag)
        if value and (text := gemmi.cif.as_string(value)) not in _UNKNOWN:
            return text.strip()
    return ""


def without_dots(text: str) -> str:
    """The text with the dotted tags of DDLm and mmCIF, as ``_cell.length_a``, in the form of core CIF.

    Examples
    --------
    >>> without_dots("_cell.length_a 5.64")
    '_cell_length_a 5.64'
    """
    return _DOTTED.sub(r"\1_", text)
