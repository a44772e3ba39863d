"""Files of measured powder patterns, in whatever form an instrument or a program has written them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..errors import EmptyFileError, UnsupportedFileError, typed_error
from .binary_patterns import read_raw
from .limits import PatternLimits, how_to_raise, reading_within
from .patterns import MeasuredPattern
from .radiation import resolve_wavelength
from .text_columns import decode_text, read_columns
from .text_layouts import layout_of
from .xml_patterns import read_brml, read_rasx, read_xrdml

TEXT_SUFFIXES = (
    ".xy", ".xye", ".dat", ".txt", ".csv", ".tsv", ".asc", ".chi", ".uxd", ".ras", ".udf",
    ".gsa", ".gss", ".gsas", ".fxye", ".xra", ".xrdml",
)  # fmt: skip
"""Suffixes of texts that hold a measured pattern."""
BINARY_SUFFIXES = {".raw": read_raw, ".brml": read_brml, ".rasx": read_rasx}
"""Suffixes of other files that hold one, and their readers."""
PATTERN_SUFFIXES = (*TEXT_SUFFIXES, *BINARY_SUFFIXES)
"""Suffixes of files that hold a measured pattern."""


def read_pattern(
    path: str | Path, wavelength: str | float | None = None, *, limits: PatternLimits = PatternLimits()
) -> MeasuredPattern:
    """Read a measured powder pattern from a file.

    Columns of text are found by the names in the header, else by their places: angles, then counts. Decimal commas,
    comments, and all common encodings and line ends are understood. A column of Q or d is converted to two-theta, which
    needs the wavelength. The files of Bruker (``.raw``, ``.brml``, ``.uxd``), PANalytical (``.xrdml``, ``.udf``),
    Rigaku (``.ras``, ``.rasx``, ``.raw``), GSAS, fit2d and pyFAI (``.chi``), DBWS, the ILL and the PSI are read too.
    Scans of one file over the same range are summed, those of other ranges joined, at the same counting time.

    Parameters
    ----------
    path : str or Path
        File with one of the :data:`~deepchem_crystalssl.diffraction.pattern_files.PATTERN_SUFFIXES`.
    wavelength : str or float, optional
        Radiation of the measurement, by name or in Å. By default that which the file states.
    limits : PatternLimits
        What the file may cost; larger ones are for files that can be trusted.

    Returns
    -------
    MeasuredPattern
        Immutable. It says which columns were read and what was done to them.

    Raises
    ------
    UnsupportedFileError, EmptyFileError
        If the format is unknown, or if the file is missing, empty, broken or larger than the
        limits allow.
    PatternError, AngleError, CountsError
        If it is not clear which numbers are angles and counts, or if they are absurd: not finite, negative, unsorted.
    GridError
        If the radiation is unknown.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "quartz.csv"
    >>> _ = path.write_text("point;counts;2theta\\n1;15;20,00\\n2;17;20,02\\n3;16;20,04\\n")
    >>> pattern = read_pattern(path)
    >>> pattern.two_theta.tolist(), pattern.counts.tolist(), pattern.columns
    ([20.0, 20.02, 20.04], [15.0, 17.0, 16.0], ('2theta', 'counts'))
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in PATTERN_SUFFIXES:
        raise _unknown_suffix(str(path), path.suffix)
    if not path.is_file():
        raise UnsupportedFileError(str(path), "no such file", "the file must exist", "Check the path.")
    try:
        with path.open("rb") as file:
            data = file.read(limits.file_bytes + 1)
    except OSError as error:
        raise typed_error(error, str(path)) from error
    return read_pattern_bytes(data, str(path), suffix, wavelength, limits=limits)


def read_pattern_bytes(
    data: bytes,
    item: str,
    suffix: str = ".xy",
    wavelength: str | float | None = None,
    *,
    limits: PatternLimits = PatternLimits(),
) -> MeasuredPattern:
    """Like :func:`read_pattern`, from the content of a file; no file is opened.

    Parameters
    ----------
    data : bytes
        Content of the file.
    item : str
        Name of the pattern in errors.
    suffix : str
        Suffix of the file, with its point.
    wavelength : str or float, optional
        Radiation of the measurement.
    limits : PatternLimits
        As in :func:`read_pattern`.

    Raises
    ------
    UnsupportedFileError, EmptyFileError, PatternError, AngleError, CountsError, GridError

    Examples
    --------
    >>> print(read_pattern_bytes(b"20.0 15\\r\\n20.1 17\\r\\n20.2 14\\r\\n\\x1a", "quartz"))
    quartz: 2 columns of text, 3 points, 20-20.2°, no wavelength
    """
    suffix = suffix.lower()
    if suffix not in PATTERN_SUFFIXES:
        raise _unknown_suffix(item, suffix)
    if not data:
        raise EmptyFileError(item, "0 bytes")
    if len(data) > (most := limits.file_bytes):
        size = f"{most // 10**6} MB" if most >= 10**6 else f"{most:,} bytes"
        raise UnsupportedFileError(item, f"more than {size}", "a file of a pattern is smaller",
                                   f"Export the pattern alone. {how_to_raise('file_bytes')}")  # fmt: skip
    given = None if wavelength is None else resolve_wavelength(wavelength, item)
    try:
        with reading_within(limits):
            if suffix in BINARY_SUFFIXES:
                pattern = BINARY_SUFFIXES[suffix](data, item)
            else:
                pattern = _read_text(decode_text(data, item), item, suffix, given)
    except Exception as error:  # whatever a library raises when a file is not what it says
        raise typed_error(error, item) from error
    return pattern if given is None else dataclasses.replace(pattern, wavelength=given)


def read_pattern_file(
    path: str | Path, *, limits: PatternLimits = PatternLimits()
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Angles (degrees), counts and, if the file states it, the wavelength (Å), as :func:`read_pattern` reads them.

    Raises
    ------
    UnsupportedFileError, EmptyFileError, PatternError
    """
    pattern = read_pattern(path, limits=limits)
    return pattern.two_theta, pattern.counts, pattern.wavelength


def read_pattern_text(
    text: str, item: str, suffix: str = ".xy", *, limits: PatternLimits = PatternLimits()
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Like :func:`read_pattern_file`, from text in memory; no file is opened.

    Parameters
    ----------
    text : str
        Content of the file.
    item : str
        Name of the pattern in errors.
    suffix : str
        One of :data:`TEXT_SUFFIXES`.
    limits : PatternLimits
        As in :func:`read_pattern`.

    Raises
    ------
    UnsupportedFileError, EmptyFileError, PatternError

    Examples
    --------
    >>> angles, counts, wavelength = read_pattern_text("# quartz\\n20.0 15\\n20.1 17\\n20.2 14", "quartz")
    >>> angles.tolist(), counts.tolist(), wavelength
    ([20.0, 20.1, 20.2], [15.0, 17.0, 14.0], None)
    """
    pattern = read_pattern_bytes(text.encode(errors="replace"), item, suffix, limits=limits)
    return pattern.two_theta, pattern.counts, pattern.wavelength


def _read_text(text: str, item: str, suffix: str, given: float | None) -> MeasuredPattern:
    if suffix == ".xrdml":
        return read_xrdml(text, item)
    layout = layout_of(text, suffix)
    return read_columns(text, item, suffix, given) if layout is None else layout(text, item)


def _unknown_suffix(item: str, suffix: str) -> UnsupportedFileError:
    return UnsupportedFileError(
        item,
        f"suffix {suffix[:20]!r}",
        f"a file of a pattern has one of the suffixes {', '.join(PATTERN_SUFFIXES)}",
        "Export two columns, two-theta and counts.",
    )
