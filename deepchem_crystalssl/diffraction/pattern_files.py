"""Files of measured powder patterns: columns of text, and PANalytical xrdml."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ..errors import EmptyFileError, PatternError, UnsupportedFileError

PATTERN_SUFFIXES = (".xy", ".xye", ".dat", ".txt", ".csv", ".tsv", ".xrdml")
"""Suffixes of files that hold a measured pattern."""


def read_pattern_file(path: str | Path) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Angles (degrees), counts and, if the file states it, the wavelength (Å).

    Parameters
    ----------
    path : str or Path
        Two columns of text with one of the :data:`PATTERN_SUFFIXES`; comments and header lines are skipped. Or
        PANalytical ``.xrdml``.

    Returns
    -------
    two_theta, counts : numpy.ndarray
        (n,) each.
    wavelength : float or None
        Of a K-alpha doublet the mean, weighted by intensity.

    Raises
    ------
    UnsupportedFileError, EmptyFileError, PatternError
        If the format is unknown, or the file is missing, empty or cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in PATTERN_SUFFIXES:
        raise UnsupportedFileError(
            str(path),
            f"suffix {path.suffix!r}",
            f"a file of a pattern has one of the suffixes {', '.join(PATTERN_SUFFIXES)}",
            "Export two columns, two-theta and counts.",
        )
    if not path.is_file():
        raise UnsupportedFileError(str(path), "no such file", "the file must exist", "Check the path.")
    return read_pattern_text(path.read_text(errors="replace"), str(path), suffix)


def read_pattern_text(text: str, item: str, suffix: str = ".xy") -> tuple[np.ndarray, np.ndarray, float | None]:
    """Like :func:`read_pattern_file`, from text in memory; no file is opened.

    Parameters
    ----------
    text : str
        Content of the file.
    item : str
        Name of the pattern in errors.
    suffix : str
        ".xrdml"; any other stands for two columns of text.

    Raises
    ------
    UnsupportedFileError, EmptyFileError, PatternError

    Examples
    --------
    >>> angles, counts, wavelength = read_pattern_text("# quartz\\n20.0 15\\n20.1 17", "quartz")
    >>> angles.tolist(), counts.tolist(), wavelength
    ([20.0, 20.1], [15.0, 17.0], None)
    """
    if not text.strip():
        raise EmptyFileError(item, "0 characters")
    return _read_xrdml(text, item) if suffix == ".xrdml" else (*_read_columns(text, item), None)


def _read_columns(text: str, item: str) -> tuple[np.ndarray, np.ndarray]:
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = re.split(r"[\s,;]+", line.split("#")[0].split("!")[0].strip())
        try:
            rows.append((float(fields[0]), float(fields[1])))
        except (ValueError, IndexError):
            if rows and line.strip() and line.strip()[0] not in "#!;'":
                raise PatternError(item, f"line {number}: {line.strip()[:60]!r}") from None
    if not rows:
        raise PatternError(item, "no line holds two numbers")
    angles, counts = np.array(rows).T
    return angles, counts


def _read_xrdml(text: str, item: str) -> tuple[np.ndarray, np.ndarray, float | None]:
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise UnsupportedFileError(
            item, "XML with a document type", "an xrdml file has no document type", "Export the scan again."
        )
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UnsupportedFileError(
            item, f"broken XML ({error})", "an xrdml file is well-formed XML", "Export the scan again."
        ) from error
    points = root.find(".//{*}scan/{*}dataPoints")
    counts_text = None
    if points is not None:
        found = [points.find(f"{{*}}{tag}") for tag in ("counts", "intensities")]
        counts_text = next((node.text for node in found if node is not None), None)
    if points is None or not counts_text:
        raise PatternError(item, "the xrdml holds no counts of a scan")
    try:
        counts = np.array(counts_text.split(), float)
        position = next(p for p in points.findall("{*}positions") if p.get("axis") == "2Theta")
        listed = position.findtext("{*}listPositions")
        if listed:
            angles = np.array(listed.split(), float)
        else:
            start, end = (float(position.findtext(f"{{*}}{tag}") or "nan") for tag in ("startPosition", "endPosition"))
            angles = np.linspace(start, end, len(counts))
    except (StopIteration, ValueError) as error:
        raise PatternError(item, "the xrdml holds no readable positions of the axis 2Theta") from error
    return angles, counts, _wavelength_of_xrdml(root, item)


def _wavelength_of_xrdml(root: ElementTree.Element, item: str) -> float | None:
    """The wavelength for which the measurement was intended; of the K-alpha doublet the mean by intensity."""
    used = root.find(".//{*}usedWavelength")
    if used is None:
        return None
    defaults = {"kAlpha1": 0.0, "kAlpha2": 0.0, "kBeta": 0.0, "ratioKAlpha2KAlpha1": 0.5}
    try:
        values = [float(used.findtext(f"{{*}}{tag}") or default) for tag, default in defaults.items()]
    except ValueError as error:
        raise PatternError(item, f"the wavelengths of the xrdml are not numbers ({error})") from error
    alpha1, alpha2, beta, ratio = values
    intended = (used.get("intended") or "K-Alpha").lower().replace(" ", "")
    lines = {"k-alpha1": alpha1, "k-alpha2": alpha2, "k-beta": beta}
    mean = (alpha1 + ratio * alpha2) / (1.0 + ratio) if alpha2 else alpha1
    return lines.get(intended, mean) or None
