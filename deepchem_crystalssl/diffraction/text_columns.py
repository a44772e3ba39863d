"""Columns of text: which column holds what, how numbers are written, and axes that are not two-theta."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .column_names import Names, header_names, stated_wavelength
from ..crystals.formats import encodings
from ..errors import AngleError, PatternError, UnsupportedFileError
from .limits import limits_in_force
from .patterns import MeasuredPattern, PartOfPattern, assemble, number_in, too_many_points

LINES_OF_A_HEADER = 20_000
"""Largest number of lines of a text."""
LONGEST_LINE = 20_000
"""Largest number of characters of a line that holds numbers."""
_COMMENTS = ("#", "!", ";", "'", "*", "//", "%")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_NUMERIC = re.compile(r"[0-9eEdD+\-.,;\s]+")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+(?:,[0-9]+)?(?:[eEdD][+-]?[0-9]+)?")
_SAMPLE = 2_000  # rows that decide how numbers are written


def decode_text(data: bytes, item: str) -> str:
    """Text of a file with line feeds as line ends; :func:`.encodings.decode_text` says which encodings are read.

    Raises
    ------
    UnsupportedFileError
        If the file is not text.
    EmptyFileError
        If it holds nothing but white space.
    """
    text = encodings.decode_text(data, item)
    if _CONTROLS.search(text):
        raise UnsupportedFileError(item, "a binary or compressed file", "a file of this name holds text",
                                   "Unpack it, or export the pattern as text in UTF-8.")  # fmt: skip
    return text.rstrip(" \t\n")


def without_block_comments(text: str) -> str:
    """Text whose comments between ``/*`` and ``*/`` are blank; lines keep their numbers."""
    pieces, place = [], 0
    while (start := text.find("/*", place)) >= 0 and (end := text.find("*/", start + 2)) >= 0:
        pieces += [text[place:start], "\n" * text.count("\n", start, end)]
        place = end + 2
    return "".join([*pieces, text[place:]])


def lines_of(text: str, item: str) -> list[str]:
    """Lines of a text, not too many.

    Raises
    ------
    PatternError
    """
    if text.count("\n") > limits_in_force().points + LINES_OF_A_HEADER:
        raise too_many_points(item, text.count("\n"))
    return text.split("\n")


@dataclass(frozen=True)
class _Table:
    """Numbers of the rows, their lines, and how their fields are separated."""

    values: np.ndarray
    lines: np.ndarray
    separator: str


def read_columns(text: str, item: str, suffix: str, given: float | None) -> MeasuredPattern:
    """A pattern in columns of text.

    Parameters
    ----------
    text : str
        With line feeds as line ends.
    item, suffix : str
        Name in errors; suffix of the file.
    given : float or None
        Wavelength (Å) that the caller gives.

    Raises
    ------
    PatternError, AngleError, CountsError
    """
    lines = lines_of(without_block_comments(text) if "/*" in text else text, item)
    start = _first_row(lines, item, 4 if suffix == ".chi" and len(lines) > 4 else 0)
    separator, decimal = _dialect(lines, start, item)
    table = _read_rows(lines, start, item, separator, decimal)
    header = lines[max(0, start - 200) : start]
    names = _named(header, table, suffix, item)
    notes: list[str] = []
    if names is None:
        if separator == "," and decimal == "." and table.values.shape[1] > 2 and not _has_point(lines, table):
            raise _ambiguous(lines, start, item)
        x, y = _columns_by_place(table, item, suffix, notes)
        axis, factor, columns = "angle", 1.0, (f"column {x + 1}", f"column {y + 1}")
    else:
        x, y, axis, factor = names.x, names.y, names.axis, names.factor
        columns = (names.names[x] or f"column {x + 1}", names.names[y] or f"column {y + 1}")
        if names.note:
            notes.append(names.note)
    stated = stated_wavelength(header, item)
    wavelength = stated if given is None else given
    values, counts = table.values[:, x], table.values[:, y]
    _refuse_swapped(values, counts, table, item)
    if axis != "angle":
        values = _to_two_theta(values, axis, factor, wavelength, item, columns[0], table)
        notes.append(f"{columns[0]} was converted to two-theta at {wavelength:g} Å")
    part = PartOfPattern(values, counts, None, lambda point: f"line {table.lines[point]}")
    form = "fit2d chi" if suffix == ".chi" else f"{table.values.shape[1]} columns of text"
    if suffix == ".chi":
        _check_announced(lines, start, len(values), item)
    return assemble([part], item, form, columns, stated, notes)


def _body(line: str) -> str:
    """A line without comments and quotes."""
    stripped = line.lstrip()
    if not stripped or stripped.startswith(_COMMENTS):
        return ""
    return stripped.split("#")[0].split("!")[0].replace('"', "").strip()


def _are_numbers(fields: list[str]) -> bool:
    try:
        for field in fields:
            number_in(field)
    except ValueError:
        return False
    return True


def _first_row(lines: list[str], item: str, first: int) -> int:
    for number in range(first, len(lines)):
        body = _body(lines[number]) if len(lines[number]) <= LONGEST_LINE else ""
        fields = re.split(r"[\s,;]+", body.strip(" \t,;")) if body and body[0] in "0123456789+-." else []
        if len(fields) > 1 and _are_numbers(fields):
            return number
    raise PatternError(item, "no line holds two numbers")


def _dialect(lines: list[str], start: int, item: str) -> tuple[str, str]:
    """What separates columns (";", ",", " " or "mixed") and the decimal mark."""
    rows = [body for line in lines[start : start + _SAMPLE] if _NUMERIC.fullmatch(body := _body(line[:LONGEST_LINE]))]
    comma, point = any("," in row for row in rows), any("." in row for row in rows)
    if any(";" in row for row in rows):
        if comma and point:
            raise _ambiguous(lines, start, item)
        return ";", "," if comma else "."
    if not comma:
        return " ", "."
    fields = [row.split() for row in rows]
    if not point and all(len(row) > 1 and all(map(_DECIMAL_COMMA.fullmatch, row)) for row in fields):
        return " ", ","
    if not any(re.search(r"[^\s,][ \t]+[^\s,]", row) for row in rows):
        return ",", "."
    if any(re.search(r"[0-9],[0-9]", row) for row in rows):
        raise _ambiguous(lines, start, item)
    return "mixed", "."


def _ambiguous(lines: list[str], start: int, item: str) -> PatternError:
    return PatternError(
        item,
        f"line {start + 1}: {lines[start].strip()[:60]!r}",
        "a comma is either the decimal mark or stands between columns, and here it may be both",
        "Write decimal points, or separate the columns by tabs or semicolons, or name them in a header line.",
    )


def _splitter(separator: str, decimal: str) -> Callable[[str], list[str]]:
    if separator == " ":
        return (lambda body: body.replace(",", ".").split()) if decimal == "," else str.split
    if separator == "mixed":
        return lambda body: body.replace(",", " ").split()

    def split(body: str) -> list[str]:
        body = body.rstrip(separator + " \t")
        return [field.strip() for field in (body.replace(",", ".") if decimal == "," else body).split(separator)]

    return split


def _read_rows(lines: list[str], start: int, item: str, separator: str, decimal: str) -> _Table:
    split = _splitter(separator, decimal)
    values, places, width = array("d"), array("l"), 0
    for number in range(start, len(lines)):
        body = _body(lines[number])
        if not body:
            continue
        if len(body) > LONGEST_LINE:
            raise PatternError(item, f"line {number + 1}: {len(body):,} characters", "rows are shorter")
        fields = split(body)
        try:
            row = [number_in(field) for field in fields]
        except ValueError:
            row = []
        width = width or len(row)
        if not row or len(row) != width:
            _check_footer(lines, number, fields, width, split, item)
            break
        values.extend(row)
        places.append(number + 1)
    if width < 2:
        raise PatternError(item, f"line {start + 1}: {lines[start].strip()[:60]!r}",
                           "a row holds at least two numbers")  # fmt: skip
    return _Table(np.array(values).reshape(-1, width), np.array(places), separator)


def _check_footer(lines: list[str], bad: int, fields: list[str], width: int, split: Callable, item: str) -> None:
    """Refuse a broken row, and text between rows; text below the last row is allowed."""
    shown = f"line {bad + 1}: {lines[bad].strip()[:60]!r}"
    numbers = [_are_numbers([field]) for field in fields]
    if all(numbers) and len(fields) != width:
        raise PatternError(item, f"{shown}, {len(fields)} numbers after rows of {width}",
                           "all rows have the same number of columns", "Complete or remove this line.")  # fmt: skip
    if numbers[0] or len(fields) == width and any(numbers):
        raise PatternError(item, shown, "a row holds numbers alone", "Correct or remove this line.")
    for number in range(bad + 1, len(lines)):
        body = _body(lines[number])
        if body and body[0] in "0123456789+-." and len(later := split(body)) > 1 and _are_numbers(later):
            raise PatternError(
                item, f"{shown}, and numbers again in line {number + 1}", "a file of columns holds one block of rows",
                "Keep each scan in a file of its own, or remove this line.",
            )  # fmt: skip


def _has_point(lines: list[str], table: _Table) -> bool:
    return any("." in lines[number - 1] for number in table.lines[:_SAMPLE])


def _named(header: list[str], table: _Table, suffix: str, item: str) -> Names | None:
    """The columns that a header names; an index that has no name of its own is recognized by its values."""
    first = table.values[:, 0]
    counted = len(first) > 2 and first[0] in (0.0, 1.0) and bool((np.diff(first) == 1.0).all())
    return header_names(header, table.values.shape[1], table.separator, suffix == ".chi", counted, item)


def _columns_by_place(table: _Table, item: str, suffix: str, notes: list[str]) -> tuple[int, int]:
    """Places of angles and counts in rows that have no header."""
    values = table.values
    width = values.shape[1]
    if width == 2 or suffix == ".xye" or len(values) < 3:
        return 0, 1
    steps = np.diff(values[:, 1])
    if (steps > 0).all():
        first = np.diff(values[:, 0])
        if (first == 1.0).all() and values[0, 0] in (0.0, 1.0):
            notes.append("column 1 counts the points and was left out")
            return 1, 2
        if np.ptp(steps) <= 0.05 * np.median(steps) + 1e-9:
            raise PatternError(
                item, f"line {table.lines[0]}: columns 1 and 2 both increase",
                "it must be clear which column holds two-theta",
                "Name the columns in a header line, such as 'time two_theta counts'.",
            )  # fmt: skip
    if width > 3:
        notes.append(f"columns 1 and 2 of {width} were read")
    return 0, 1


def _refuse_swapped(values: np.ndarray, counts: np.ndarray, table: _Table, item: str) -> None:
    """Angles that do not increase beside counts that do are told apart from unsorted angles."""
    steps = np.diff(values)
    if len(steps) > 1 and not (steps > 0).all() and not (steps < 0).all() and (np.diff(counts) > 0).all():
        point = int(np.argmax(steps <= 0)) + 1
        raise AngleError(
            item, f"line {table.lines[point]}: angle {values[point]:g} after {values[point - 1]:g}", None,
            "The column read as counts increases: name the columns in a header line, such as 'counts two_theta'.",
        )  # fmt: skip


def _to_two_theta(
    values: np.ndarray, axis: str, factor: float, wavelength: float | None, item: str, name: str, table: _Table
) -> np.ndarray:
    """Two-theta in degrees of lattice spacings d (Å), or of Q = 4 pi sin(theta) / wavelength (1/Å)."""
    what = "Q" if axis == "q" else "lattice spacings d"
    if wavelength is None:
        raise PatternError(
            item, f"column {name!r} holds {what}, not two-theta",
            f"{what} can be converted to two-theta if the wavelength of the measurement is known",
            "Give the wavelength with wavelength= (on the command line --wavelength), such as 'CuKa', or in Å.",
        )  # fmt: skip
    bad = np.flatnonzero(~np.isfinite(values) | (values <= 0.0))
    if len(bad):
        raise AngleError(item, f"line {table.lines[bad[0]]}: {name} {values[bad[0]]:g}", f"{what} must be positive",
                         "Remove the point.")  # fmt: skip
    scaled = values * factor
    sines = scaled * wavelength / (4 * math.pi) if axis == "q" else wavelength / (2 * scaled)
    bad = np.flatnonzero(sines > 1.0)
    if len(bad):
        limit = 4 * math.pi / wavelength if axis == "q" else wavelength / 2
        unit = "Q is at most 4 pi / wavelength" if axis == "q" else "d is at least half the wavelength"
        raise AngleError(
            item, f"line {table.lines[bad[0]]}: {name} {values[bad[0]]:g}", f"{unit}, {limit:.4g} at {wavelength:g} Å",
            "Check the wavelength, and write the unit into the header, such as 'Q (1/nm)' or 'd (nm)'.",
        )  # fmt: skip
    return 2 * np.degrees(np.arcsin(sines))


def _check_announced(lines: list[str], start: int, number: int, item: str) -> None:
    """Refuse a file of fit2d that holds fewer or more points than its fourth line announces."""
    fields = lines[start - 1].split() if start else []
    if fields and fields[0].isdecimal() and int(fields[0][:12]) != number:
        raise PatternError(item, f"line {start}: {fields[0][:12]} points are announced, the file holds {number:,}",
                           "a file must be whole", "Copy or export the file again.")  # fmt: skip
