"""Read uploads: the limits they must keep, and the conversion of their text into a crystal or a pattern.

Nothing here opens a file.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np

from ..crystals.formats.encodings import decode_text
from ..crystals.formats.json_documents import iterate_documents
from ..crystals.formats.kinds import crystal_kind
from ..crystals.formats.texts import read_structure_text
from ..crystals.limits import ReadingLimits
from ..crystals.records import Crystal
from ..diffraction.pattern_files import PATTERN_SUFFIXES, TEXT_SUFFIXES, read_pattern_bytes
from ..errors import CrystalInputError, LimitError, UnsupportedFileError, UploadError

logger = logging.getLogger(__name__)

LONGEST_NAME = 80
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_EXPANDED_TAGS = ("_atom_site_fract_x", "_symmetry_equiv_pos", "_space_group_symop")
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Limits of one upload.

    Attributes
    ----------
    upload_bytes : int
        Largest size of the file.
    sites : int
        Largest number of sites of a crystal in its full cell.
    points : int
        Largest number of points of a pattern.
    seconds : float
        Time limit for the answer, counted from the moment the worker receives the upload.
    memory_bytes : int
        Memory that the worker may use in addition to what it uses at its start. This limit works on Linux only.
    waiting : int
        Number of uploads that may wait while another one is answered.
    """

    upload_bytes: int = 8_000_000
    sites: int = 2_000
    points: int = 200_000
    seconds: float = 30.0
    memory_bytes: int = 4 * 2**30
    waiting: int = 8


@dataclass(frozen=True)
class Pattern:
    """A measured pattern: angles (degrees) and counts, (n,) each; the wavelength (Å) of the file or None; notes."""

    two_theta: np.ndarray
    counts: np.ndarray
    wavelength: float | None
    notes: tuple[str, ...] = ()


def shown_name(name: str) -> str:
    """Return a file name in a form that can be displayed: printable characters only, cut to 80 characters.

    Examples
    --------
    >>> shown_name("quartz\\x00\\n.cif")
    'quartz.cif'
    """
    return "".join(filter(str.isprintable, name))[:LONGEST_NAME] or "upload"


def read_upload(body: bytes, name: str, limits: Limits, wavelength: str | float | None = None) -> Crystal | Pattern:
    """Read the crystal or the pattern in the content of a file.

    Parameters
    ----------
    body : bytes
        Content of the file.
    name : str
        Name of the file. Its suffix decides how the content is read; it is never used as a path.
    limits : Limits
        Limits on the content.
    wavelength : str or float, optional
        Radiation of the measurement; a pattern over Q or d needs it.

    Returns
    -------
    Crystal or Pattern

    Raises
    ------
    CrystalInputError
        If the content is neither a crystal nor a pattern, or exceeds the limits.
    """
    item = shown_name(name)
    suffix = _pattern_suffix(name, body)
    if suffix is not None:
        return _guarded(lambda: _read_pattern(body, item, suffix, limits, wavelength), item)
    text = _decode(body, item)
    kind = _kind_of(name, text)
    return _guarded(lambda: _read_crystal(text, item, kind, limits), item)


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name.replace("\0", ""))[-1]


def _pattern_suffix(name: str, body: bytes) -> str | None:
    """Return the suffix of a file that holds a pattern, None for a crystal."""
    last = _last_part(name)
    suffix = PurePosixPath(last).suffix.lower()
    if suffix not in PATTERN_SUFFIXES or crystal_kind(last) in ("cif", "json", "poscar"):
        return None
    return None if suffix == ".txt" and b"_cell_length_a" in body else suffix


def _decode(body: bytes, item: str) -> str:
    text = decode_text(body, item)
    if _CONTROL.search(text):
        raise UnsupportedFileError(item, "a binary or compressed file", "crystals and patterns are uploaded as text",
                                   "Unpack it, or export it as text in UTF-8.")  # fmt: skip
    return text


def _kind_of(name: str, text: str) -> str:
    """Return "cif", "json" or "poscar"."""
    last = _last_part(name)
    kind, suffix = crystal_kind(last), PurePosixPath(last).suffix.lower()
    if kind in ("cif", "json", "poscar"):
        return kind
    if suffix in ("", ".txt") and "_cell_length_a" in text:
        return "cif"
    found = f"suffix {suffix[:20]!r}" if suffix else "no suffix"
    raise UnsupportedFileError(shown_name(name), found, "a crystal comes as CIF, mCIF, POSCAR or pymatgen JSON, and a "
                               f"pattern as {', '.join(PATTERN_SUFFIXES)}", "Convert or rename the file.")  # fmt: skip


def _guarded(read: Callable[[], T], item: str) -> T:
    """Call a reader, and turn any error that is not typed into an UnsupportedFileError: the text is at fault."""
    try:
        return read()
    except (CrystalInputError, MemoryError):
        raise
    except Exception as error:
        logger.debug("%s cannot be read", item, exc_info=True)
        raise UnsupportedFileError(item, f"content that cannot be read ({type(error).__name__})") from error


def _read_crystal(text: str, item: str, kind: str, limits: Limits) -> Crystal:
    """Return the first valid crystal of a text, or raise the first error if there is none."""
    rule = f"an upload may have at most {limits.sites:,} sites in its full cell, and as many symmetry operations"
    listed = _count_listed(text, kind)
    if listed > limits.sites:
        raise UploadError(item, f"{listed:,} listed", rule)
    errors = []
    for found in read_structure_text(text, item, kind, limits=ReadingLimits(sites=limits.sites)):
        if isinstance(found, Crystal):
            return found
        errors.append(found)
    if isinstance(errors[0], LimitError):
        raise UploadError(item, errors[0].value, rule)
    raise errors[0]


def _count_listed(text: str, kind: str) -> int:
    """Count the atoms and the symmetry operations in a text, without parsing it; return the larger number."""
    if kind == "json":
        return max(text.count('"abc"'), _longest_list(text))
    lines = text.splitlines()
    if kind == "poscar":  # numbers of atoms are in the sixth line, or in the seventh below the elements
        numbers = (list(takewhile(str.isdecimal, line.split())) for line in lines[5:7])
        return sum(int(number[:12]) for number in next(filter(None, numbers), []))
    most, rows, counted = 0, 0, False
    for line in map(str.lstrip, lines):
        if line.startswith(("_", "loop_", "data_")):
            rows, counted = 0, line.startswith("_") and (line.startswith(_EXPANDED_TAGS) or counted and not rows)
        elif counted and line and not line.startswith("#"):
            rows += 1
            most = max(most, rows)
    return most


def _longest_list(text: str) -> int:
    """The length of the longest list in a text of JSON: every form lists something for each site."""
    longest = 0
    for document in iterate_documents(io.StringIO(text), "upload"):
        waiting = [value for _, _, value in document.pieces]
        longest = max(longest, len(waiting))
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                longest = max(longest, len(value))
            waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return longest


def _read_pattern(body: bytes, item: str, suffix: str, limits: Limits, wavelength: str | float | None) -> Pattern:
    rule = f"an uploaded pattern may have at most {limits.points:,} points"
    remedy = "Cut its range or merge neighbouring points."
    lines = body.count(b"\n") if suffix in TEXT_SUFFIXES else 0
    if lines > limits.points + 20_000:  # a header may be long
        raise UploadError(item, f"{lines:,} lines", rule, remedy)
    pattern = read_pattern_bytes(body, item, suffix, wavelength)
    if len(pattern) > limits.points:
        raise UploadError(item, f"{len(pattern):,} points", rule, remedy)
    return Pattern(pattern.two_theta, pattern.counts, pattern.stated_wavelength, pattern.notes)
