"""Measured powder patterns onto the grid of simulated ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from pybaselines import Baseline

from ..errors import AngleError, CountsError, EmptyFileError, PatternError, PatternRangeError, UnsupportedFileError
from .grid import PowderPatterns, XRDGrid, resolve_wavelength

PATTERN_SUFFIXES = (".xy", ".xye", ".dat", ".txt", ".csv", ".tsv", ".xrdml")
"""Of files that hold a pattern."""
Background = Literal["snip", "none"]
_BACKGROUND_WINDOW = 1.5  # degrees; wider than a peak, narrower than the bends of a background


def prepare_measured_pattern(
    two_theta: Any,
    intensity: Any = None,
    grid: XRDGrid = XRDGrid(),
    *,
    wavelength: str | float | None = None,
    background: Background = "snip",
    normalize: bool = True,
) -> PowderPatterns:
    """Bring a measurement onto the grid on which patterns are simulated.

    The background is subtracted (SNIP, Ryan et al. 1988, by pybaselines), angles are converted to the
    grid's wavelength through Bragg's law, and the counts are averaged over each bin. Bins outside the measured
    range are 0.

    Parameters
    ----------
    two_theta : array-like (n,) or path
        Angles, degrees, increasing; or a file: two columns of text (``.xy``, ``.dat``, ``.txt``, ``.csv``) or
        PANalytical ``.xrdml``.
    intensity : array-like (n,), optional
        Counts; left out for a file.
    grid : XRDGrid
        Where the result lives.
    wavelength : str or float, optional
        Radiation of the measurement, by name or in Å; by default what the file says, else the grid's.
    background : {"snip", "none"}
        How the background is removed.
    normalize : bool
        Divide by the maximum.

    Returns
    -------
    PowderPatterns
        float64 (n_bins,), a NumPy array that knows its grid.

    Raises
    ------
    AngleError, CountsError, PatternRangeError, PatternError
        If the angles are NaN, unsorted or duplicate, the counts NaN, negative or all zero, the range does not
        meet the grid, or the columns are broken.

    Examples
    --------
    >>> angles = np.arange(20, 60, 0.05)
    >>> counts = 50 + 1000 * np.exp(-((angles - 38.2) / 0.1) ** 2)
    >>> grid = XRDGrid(wavelength="CuKa1")
    >>> pattern = prepare_measured_pattern(angles, counts, grid, wavelength="CoKa1")
    >>> pattern.shape, round(float(grid.two_theta[pattern.argmax()]), 1)
    ((5000,), 32.7)
    """
    grid.check()
    if isinstance(two_theta, str | Path):
        item = str(two_theta)
        two_theta, intensity, file_wavelength = read_pattern_file(two_theta)
        wavelength = file_wavelength if wavelength is None else wavelength
    else:
        item = "pattern"
    angles, counts = check_pattern(two_theta, intensity, item)
    if background not in ("snip", "none"):
        raise ValueError(f"background: {background!r}; must be 'snip' or 'none'")
    if background == "snip":
        window = int(round(_BACKGROUND_WINDOW / np.median(np.diff(angles))))
        window = max(2, min(window, (len(angles) - 1) // 2))
        baseline, _ = Baseline(angles).snip(counts, max_half_window=window, decreasing=True, smooth_half_window=1)
        counts = np.clip(counts - baseline, 0.0, None)
    source = grid.wavelength_angstrom if wavelength is None else resolve_wavelength(wavelength, item)
    angles, counts = _convert_wavelength(angles, counts, source, grid.wavelength_angstrom)
    if len(angles) < 2 or angles[-1] <= grid.two_theta_min or angles[0] >= grid.two_theta_max:
        span = f"{angles[0]:g}-{angles[-1]:g}°" if len(angles) else "no angle"
        raise PatternRangeError(
            item, f"{span} at the grid's wavelength, grid {grid.two_theta_min:g}-" f"{grid.two_theta_max:g}°"
        )
    pattern = _average_into_bins(angles, counts, grid.edges)
    top = pattern.max()
    if top <= 0.0:
        raise CountsError(item, "no counts above background within the grid")
    return PowderPatterns(pattern / top if normalize else pattern, grid)


def check_pattern(two_theta: Any, intensity: Any, item: str = "pattern") -> tuple[np.ndarray, np.ndarray]:
    """Angles and counts as checked float arrays, or a typed error."""
    try:
        angles, counts = np.asarray(two_theta, float), np.asarray(intensity, float)
    except (TypeError, ValueError) as error:
        raise PatternError(item, f"not numbers ({error})") from error
    if angles.ndim != 1 or angles.shape != counts.shape or len(angles) < 3:
        raise PatternError(item, f"{angles.shape} angles and {counts.shape} counts", remedy="Give at least 3 points.")
    if not np.isfinite(angles).all():
        raise AngleError(item, f"angle {angles[~np.isfinite(angles)][0]} at point {np.isfinite(angles).argmin()}")
    steps = np.diff(angles)
    if (steps <= 0).any():
        point = int(np.argmax(steps <= 0)) + 1
        kind = "duplicate" if steps[point - 1] == 0 else "unsorted"
        raise AngleError(item, f"{kind} angle {angles[point]:g} at point {point}")
    if angles[0] < 0 or angles[-1] > 180:
        raise AngleError(item, f"angles {angles[0]:g}-{angles[-1]:g}°", "two-theta lies between 0 and 180 degrees")
    if not np.isfinite(counts).all():
        raise CountsError(item, f"count {counts[~np.isfinite(counts)][0]} at point {np.isfinite(counts).argmin()}")
    if counts.min() < 0:
        raise CountsError(item, f"count {counts.min():g} at point {counts.argmin()}")
    if counts.max() == 0:
        raise CountsError(item, "all counts are 0")
    return angles, counts


def _convert_wavelength(
    angles: np.ndarray, counts: np.ndarray, source: float, target: float
) -> tuple[np.ndarray, np.ndarray]:
    sines = np.sin(np.radians(angles) / 2) * (target / source)
    reachable = sines < 1.0
    return 2 * np.degrees(np.arcsin(sines[reachable])), counts[reachable]


def _average_into_bins(angles: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of the linearly interpolated counts over each bin: right for finer and for coarser measurements."""
    inside = np.clip(edges, angles[0], angles[-1])
    points = np.unique(np.concatenate([angles, inside]))
    values = np.interp(points, angles, counts)
    area = np.concatenate([[0.0], np.cumsum(np.diff(points) * (values[1:] + values[:-1]) / 2)])
    return np.diff(area[np.searchsorted(points, inside)]) / np.diff(edges)


def read_pattern_file(path: str | Path) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Angles (degrees), counts and, where the file says it, the wavelength (Å).

    Parameters
    ----------
    path : str or Path
        ``.xy``, ``.dat``, ``.txt``, ``.csv`` (two columns, comments and one header line allowed) or ``.xrdml``.

    Raises
    ------
    UnsupportedFileError, EmptyFileError, PatternError
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in PATTERN_SUFFIXES:
        raise UnsupportedFileError(
            str(path),
            f"suffix {path.suffix!r}",
            "a pattern comes as .xy, .xye, .dat, .txt, " ".csv or .xrdml",
            "Export two columns, two-theta and counts.",
        )
    if not path.exists():
        raise UnsupportedFileError(str(path), "no such file", "the file must exist", "Check the path.")
    return read_pattern_text(path.read_text(errors="replace"), str(path), suffix)


def read_pattern_text(text: str, item: str, suffix: str = ".xy") -> tuple[np.ndarray, np.ndarray, float | None]:
    """What :func:`read_pattern_file` gives, from text in memory; no file is opened.

    Parameters
    ----------
    text : str
    item : str
        For errors.
    suffix : str
        ".xrdml", or another: two columns.

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
        raise PatternError(item, "no line with two numbers")
    angles, counts = np.array(rows).T
    return angles, counts


def _read_xrdml(text: str, item: str) -> tuple[np.ndarray, np.ndarray, float | None]:
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise UnsupportedFileError(item, "XML with a document type", "xrdml is plain XML", "Export the scan again.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UnsupportedFileError(
            item, f"broken XML ({error})", "xrdml is well-formed XML", "Export the scan again."
        ) from error
    points = root.find(".//{*}scan/{*}dataPoints")
    counts_text = None
    if points is not None:
        found = [points.find(f"{{*}}{tag}") for tag in ("counts", "intensities")]
        counts_text = next((node.text for node in found if node is not None), None)
    if points is None or not counts_text:
        raise PatternError(item, "xrdml without a scan's counts")
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
        raise PatternError(item, "xrdml without readable 2Theta positions") from error
    alpha1 = root.findtext(".//{*}usedWavelength/{*}kAlpha1")
    alpha2 = root.findtext(".//{*}usedWavelength/{*}kAlpha2")
    if not alpha1:
        return angles, counts, None
    # A laboratory tube shines K-alpha 2 at half the intensity of K-alpha 1; the pair acts as its mean.
    return angles, counts, (2 * float(alpha1) + float(alpha2)) / 3 if alpha2 else float(alpha1)
