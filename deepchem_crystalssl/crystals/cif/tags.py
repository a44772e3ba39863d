"""Values of a data block of a CIF file, whichever of the spellings of a tag the file uses."""

from __future__ import annotations

import re

import gemmi
import numpy as np

from ...errors import CIFSyntaxError

_UNKNOWN = ("", "?", ".")
_DECISIVE = re.compile(
    r"_(?:cell_(?:length|angle)_|atom_site_(?:label|type_symbol|fract_|occupancy)"
    r"|symmetry_(?:equiv_pos_as|space_group_name|Int)|space_group_(?:symop_operation|name_H-M_alt|name_Hall|IT_))",
    re.IGNORECASE,
)  # tags that decide what the crystal is
_FRACTION = re.compile(r"([-+]?\d{1,3})/([1-9]\d?)")
_FORTRAN_EXPONENT = re.compile(r"(?<=[\d.])[dD](?=[-+]?\d)")
_DOTTED = re.compile(
    r"^([ \t]*_(?:atom_site|cell|space_group|space_group_symop|symmetry|symmetry_equiv|chemical_formula|exptl_crystal))"
    r"\.(?=[A-Za-z])",
    re.MULTILINE | re.IGNORECASE,
)


def number(text: str | None) -> float:
    """A number with or without its uncertainty, as 0.25(1), also in quotes, or as 1/3 or 2.5d-1; NaN if there is none.

    Examples
    --------
    >>> number("0.25(1)"), number("'0.5'"), number("3/4"), number("?")
    (0.25, 0.5, 0.75, nan)
    """
    value = gemmi.cif.as_number(text, np.nan) if text else np.nan
    return value if value == value or is_unknown(text) else _unusual_number(str(text))


def is_unknown(text: str | None) -> bool:
    """Whether a value is not given: missing, or a question mark or a dot, perhaps in quotes."""
    return not text or text in _UNKNOWN or gemmi.cif.as_string(text).strip() in _UNKNOWN


def _unusual_number(text: str) -> float:
    text = gemmi.cif.as_string(text).strip()
    if fraction := _FRACTION.fullmatch(text):
        return int(fraction[1]) / int(fraction[2])
    return gemmi.cif.as_number(_FORTRAN_EXPONENT.sub("e", text), np.nan)


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


def refuse_doubled_tags(block: gemmi.cif.Block, item: str) -> None:
    """Refuse a block that states the cell, the symmetry or the atoms twice in different ways.

    Raises
    ------
    CIFSyntaxError
    """
    stated: dict[str, list[str]] = {}
    for entry in block:
        for tag, column in _columns(entry):
            if not _DECISIVE.match(tag):
                continue
            if stated.setdefault(tag.lower(), column) != column:
                raise CIFSyntaxError(
                    item,
                    f"{tag} twice, as {stated[tag.lower()][0]} and as {column[0]}",
                    "a data block states each tag once",
                    "Remove what is not meant, or make a data block of it.",
                )


def _columns(entry: gemmi.cif.Item) -> list[tuple[str, list[str]]]:
    """The tags of a pair or a loop with their values."""
    if entry.pair is not None:
        return [(str(entry.pair[0]), [str(entry.pair[1])])]  # type: ignore[index]
    if entry.loop is None:
        return []
    tags, cells = list(entry.loop.tags), list(entry.loop.values)
    return [(tag, cells[k :: len(tags)]) for k, tag in enumerate(tags)]


def without_dots(text: str) -> str:
    """The text with the dotted tags of DDLm and mmCIF, as ``_cell.length_a``, in the form of core CIF.

    Examples
    --------
    >>> without_dots("_cell.length_a 5.64")
    '_cell_length_a 5.64'
    """
    return _DOTTED.sub(r"\1_", text)
