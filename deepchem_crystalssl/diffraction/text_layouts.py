"""Texts with a layout of their own: GSAS, DBWS, ILL and PSI, Bruker uxd, Rigaku ras, Philips (PANalytical) udf."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from ..errors import PatternError, UnsupportedFileError
from .column_names import stated_wavelength
from .patterns import (
    MeasuredPattern,
    PartOfPattern,
    assemble,
    broken,
    check_number_of_points,
    mean_wavelength,
    number_in,
    numbers_in,
    steps_from,
)
from .text_columns import lines_of
from .xml_patterns import scan_of_rigaku

_UXD_DATA = re.compile(r"_(2THETA)?(COUNTS|CPS)\b")
_TITLES = 6  # lines among which start, step and stop stand


def layout_of(text: str, suffix: str) -> Callable[[str, str], MeasuredPattern] | None:
    """The reader of a text with a layout of its own, None for columns."""
    head = text[:20_000]
    first = head.lstrip()
    if suffix == ".ras" or first.startswith(("*RAS_", "*DSC_")):
        return read_ras
    if suffix == ".uxd" or re.search(r"^_(?:FILEVERSION|2THETA|STEPSIZE|DRIVE)", head, re.MULTILINE):
        return read_uxd
    if suffix == ".udf" or first.startswith("SampleIdent"):
        return read_udf
    if suffix in (".gsa", ".gss", ".gsas", ".fxye", ".xra") or re.search(r"^BANK +[0-9]+ +[0-9]+", head, re.MULTILINE):
        return read_gsas
    if suffix not in (".csv", ".tsv", ".chi", ".xye") and _start_step_stop(head.split("\n")[: _TITLES + 2]) is not None:
        return read_start_step_stop
    return None


def _leading_numbers(line: str) -> list[float]:
    """Numbers at the beginning of a line, up to the first word."""
    found: list[float] = []
    for token in line[:500].split():
        try:
            found.append(number_in(token.rstrip(",")))
        except ValueError:
            break
    return found


def _start_step_stop(lines: list[str]) -> tuple[int, float, float, int] | None:
    """Line, start, step and number of points, if one of the first lines states them above rows of another width."""
    for place, line in enumerate(lines[:_TITLES]):
        numbers = _leading_numbers(line)
        if len(numbers) < 3 or not np.isfinite(numbers[:3]).all():
            continue
        start, step, stop = numbers[:3]
        steps = (stop - start) / step if step > 0.0 else 0.0
        if not 3 <= steps < 1e12 or abs(steps - round(steps)) > 0.02 or not -180.0 <= start < stop <= 180.0:
            continue
        below = lines[place + 1] if place + 1 < len(lines) else ""
        width = len(_leading_numbers(below))
        if width in (0, 2, len(numbers)) or width == 3 and len(numbers) <= 3:
            continue
        return place, start, step, round(steps) + 1
    return None


def read_start_step_stop(text: str, item: str) -> MeasuredPattern:
    """A text with a line "start step stop", then counts in rows, then perhaps their deviations.

    So write DBWS, RIET7, the diffractometers D1A and D2B of the ILL, and DMC and HRPT of the PSI. Points below 0° are
    left out.

    Raises
    ------
    PatternError, AngleError, CountsError
    """
    lines = lines_of(text, item)
    found = _start_step_stop(lines[: _TITLES + 2])
    if found is None:
        raise PatternError(item, "no line with start, step and stop")
    place, start, step, number = found
    check_number_of_points(number, item)
    values: list[float] = []
    width = row = 0
    for row, line in enumerate(lines[place + 1 :], place + 2):
        tokens = line.split()
        try:
            numbers = [number_in(token) for token in tokens]
        except ValueError:
            break
        values += numbers
        width = max(width, len(numbers))
        check_number_of_points(len(values) / 2, item)
    notes = []
    padding = len(values) - number
    if padding == -1:
        number, padding = number - 1, 0
        notes.append("the file holds one point less than its first lines announce; the stop is not measured")
    deviations = len(values) == 2 * number and width > 2
    if not deviations and not (0 <= padding < max(width, 1) and not any(values[number:])):
        raise PatternError(
            item, f"line {place + 1} announces {number:,} counts, the lines up to {row} hold {len(values):,}",
            "the counts are as many as start, step and stop say, or twice as many with deviations",
            "Copy or export the file again.",
        )  # fmt: skip
    if deviations:
        notes.append("the second half of the numbers, the deviations, was left out")
    angles = steps_from(start, step, number, item)
    counts = np.array(values[:number])
    if (angles < 0).any():
        notes.append("points below 0° were left out")
        counts, angles = counts[angles >= 0], angles[angles >= 0]
    header = lines[: place + 1]
    wavelength = stated_wavelength(header, item) or _wavelength_of_title(header)
    form = "start, step and stop above rows of counts"
    return assemble([PartOfPattern(angles, counts)], item, form, wavelength=wavelength, notes=notes)


def _wavelength_of_title(lines: list[str]) -> float | None:
    """A wavelength such as "1.9114 A", as the ILL writes it into titles."""
    for line in lines:
        found = re.search(r"(?:^|\s)([0-9]\.[0-9]{2,6})\s?(?:A|Å)(?:\s|$)", line[:500])
        if found and 0.1 < float(found[1]) < 10.0:
            return float(found[1])
    return None


def read_gsas(text: str, item: str) -> MeasuredPattern:
    """A powder file of GSAS: one bank with constant steps (CONST) as STD or ESD, or FXYE or FXY with angles.

    Angles are hundredths of a degree in the file.

    Raises
    ------
    PatternError, AngleError, CountsError
    """
    lines = lines_of(text, item)
    banks = [place for place, line in enumerate(lines) if line.startswith("BANK")]
    if len(banks) != 1:
        raise PatternError(item, f"{len(banks)} lines that begin with BANK", "a pattern has one bank",
                           "Export one bank to a file of its own.")  # fmt: skip
    fields = lines[banks[0]].split()
    kind = fields[-1].upper() if fields[-1][:1].isalpha() else "STD"
    binning = next((field.upper() for field in fields[1:] if field[:1].isalpha()), "")
    kind = "STD" if kind == binning else kind
    shown = f"line {banks[0] + 1}: {lines[banks[0]].strip()[:60]!r}"
    if not binning.startswith("CONS") or kind not in ("STD", "ESD", "FXYE", "FXY"):
        raise PatternError(
            item, shown, "GSAS files with constant steps (CONST) as STD, ESD, FXYE or FXY are read",
            "Export the pattern as two columns of text; times of flight cannot be read.",
        )  # fmt: skip
    try:
        announced, start, step = int(fields[2]), float(fields[5]) / 100, float(fields[6]) / 100
    except (ValueError, IndexError) as error:
        raise PatternError(item, shown, "the line BANK states points, start and step") from error
    check_number_of_points(announced, item)
    rows = [line for line in lines[banks[0] + 1 :] if line.strip() and not line.startswith("#")]
    if kind.startswith("FXY"):
        table = [_leading_numbers(row) for row in rows]
        if any(len(row) < (3 if kind == "FXYE" else 2) for row in table):
            raise PatternError(item, f"{shown}: a row has too few numbers", "rows hold angle, counts and deviation")
        angles = np.array([row[0] for row in table]) / 100
        counts = np.array([row[1] for row in table])
    else:
        skipped = 2 if kind == "STD" else 0  # two characters state the number of detectors
        every = 1 if kind == "STD" else 2
        fixed = [row[place + skipped : place + 8] for row in rows for place in range(0, min(len(row.rstrip()), 80), 8)]
        counts = numbers_in(" ".join(field for field in fixed[::every] if field.strip()), item, "counts")
        if counts[announced:].any():
            raise PatternError(item, f"{shown}, {len(counts):,} found", "the counts are as many as BANK says")
        counts = counts[:announced]
        angles = steps_from(start, step, announced, item)
    if len(counts) != announced:
        raise PatternError(item, f"{shown}, {len(counts):,} found", "the counts are as many as BANK says",
                           "Copy or export the file again.")  # fmt: skip
    wavelength = stated_wavelength(lines[: banks[0]], item)
    return assemble([PartOfPattern(angles, counts)], item, f"GSAS {kind}", wavelength=wavelength)


def read_uxd(text: str, item: str) -> MeasuredPattern:
    """A file .uxd of Bruker: keys with values, and counts with or without their angles, for one or more ranges.

    Raises
    ------
    PatternError, AngleError, CountsError
    """
    parts: list[PartOfPattern] = []
    keys: dict[str, str] = {}
    numbers: list[float] | None = None
    for place, line in enumerate([*lines_of(text, item), "_END"], 1):
        line = line.split(";")[0].strip()
        if line.startswith("_"):
            if numbers is not None:
                parts.append(_range_of_uxd(keys, numbers, item))
                numbers = None
            found = _UXD_DATA.fullmatch(line)
            if found:
                keys |= {"angles": found[1] or "", "unit": found[2]}
                numbers = []
            elif "=" in line:
                key, _, value = line.partition("=")
                keys[key.strip()] = value.strip().strip("'")
        elif line and numbers is not None:
            try:
                numbers += [number_in(token) for token in line.replace(",", " ").split()]
            except ValueError as error:
                raise PatternError(item, f"line {place}: {line[:60]!r}", "a row of counts holds numbers") from error
    if not parts:
        raise PatternError(item, "no line _2THETACOUNTS or _COUNTS", "a file .uxd holds counts of a scan")
    lines = (_value(keys, key, item) or 0.0 for key in ("_WL1", "_WL2", "_WLRATIO"))
    return assemble(parts, item, "Bruker uxd", wavelength=mean_wavelength(*lines))


def _value(keys: dict[str, str], key: str, item: str) -> float | None:
    if not keys.get(key):
        return None
    try:
        return number_in(keys[key])
    except ValueError as error:
        raise PatternError(item, f"{key}={keys[key][:40]!r}", f"{key} is a number", "Export the scan again.") from error


def _range_of_uxd(keys: dict[str, str], numbers: list[float], item: str) -> PartOfPattern:
    start, step, time = (_value(keys, key, item) for key in ("_START", "_STEPSIZE", "_STEPTIME"))
    drive = keys.get("_DRIVE", "COUPLED").upper()
    if drive not in ("COUPLED", "2THETA", "TWOTHETA", "LOCKED COUPLED", "UNLOCKED COUPLED", "DETECTOR SCAN"):
        raise PatternError(item, f"_DRIVE={drive[:40]!r}", "a powder pattern is a coupled scan", "Export that scan.")
    counts = np.array(numbers)
    announced = _value(keys, "_STEPCOUNT", item)
    if announced is not None and announced != len(counts) // (2 if keys["angles"] else 1):
        raise broken(item, f"_STEPCOUNT={announced:g}, and {len(counts):,} numbers below it")
    steps = None if start is None or not step else steps_from(start, step, len(counts), item)
    angles = steps
    if keys["angles"]:
        if len(counts) % 2:
            raise broken(item, f"{len(counts):,} numbers below _2THETACOUNTS", "each row holds an angle and a count")
        angles, counts = counts[::2], counts[1::2]
        if steps is not None and np.abs(steps[: len(angles)] - angles).max(initial=0.0) < 0.0101:
            angles = steps[: len(angles)]  # printed angles are rounded
    if angles is None:
        raise PatternError(item, "no _START or _STEPSIZE", "a range states its start and step", "Export it again.")
    time = time if time and time > 0 else None
    if keys["unit"] == "CPS" and time:
        counts = counts * time
    return PartOfPattern(angles, counts, time)


def read_udf(text: str, item: str) -> MeasuredPattern:
    """A file .udf of Philips: keys with values, and counts below RawScan up to a slash.

    Raises
    ------
    PatternError, AngleError, CountsError
    """
    header, mark, data = text.partition("RawScan")
    if not mark:
        raise PatternError(item, "no line RawScan", "a file .udf holds counts below the line RawScan")
    keys = {}
    for line in lines_of(header, item):
        fields = [field.strip() for field in line.split(",")]
        keys[fields[0]] = fields[1] if len(fields) > 1 else ""
        if fields[0] == "DataAngleRange" and len(fields) > 2:
            keys["stop"] = fields[2]
    start, stop, step = (_value(keys, key, item) for key in ("DataAngleRange", "stop", "ScanStepSize"))
    if start is None or not step:
        raise PatternError(item, "no DataAngleRange or ScanStepSize", "a file .udf states its start and step")
    data, slash, _ = data.partition("/")
    counts = numbers_in(data.replace(",", " "), item, "counts")
    if not slash or stop is not None and abs(start + step * (len(counts) - 1) - stop) > 1.5 * abs(step):
        raise broken(item, f"{len(counts):,} counts from {start:g}° in steps of {step:g}°", "a file ends with its stop")
    time = _value(keys, "ScanStepTime", item)
    alpha1, alpha2, ratio = (_value(keys, key, item) for key in ("LabdaAlpha1", "LabdaAlpha2", "RatioAlpha21"))
    wavelength = mean_wavelength(alpha1 or 0.0, alpha2 or 0.0, 0.5 if ratio is None else ratio)
    part = PartOfPattern(steps_from(start, step, len(counts), item), counts, time if time and time > 0 else None)
    return assemble([part], item, "Philips udf", wavelength=wavelength)


def read_ras(text: str, item: str) -> MeasuredPattern:
    """A file .ras of Rigaku: for each scan, keys with values and rows of angle, intensity and attenuation.

    Raises
    ------
    UnsupportedFileError, PatternError, AngleError, CountsError
    """
    lines = lines_of(text, item)
    parts: list[PartOfPattern] = []
    notes: list[str] = []
    keys: dict[str, str] = {}
    rows: list[str] | None = None
    for line in lines:
        line = line.strip()
        if line == "*RAS_INT_START":
            rows = []
        elif line == "*RAS_INT_END":
            axis = keys.get("MEAS_SCAN_AXIS_X_INTERNAL", keys.get("MEAS_SCAN_AXIS_X", "TwoTheta"))
            axis = axis.replace("-", "").replace("2", "two", 1).lower()
            if axis.startswith(("twotheta", "two θ", "twoθ")):
                parts.append(scan_of_rigaku(rows or [], item, notes))
            else:
                notes.append(f"a scan of the axis {axis[:20]!r} was left out")
            rows = None
        elif rows is not None:
            rows.append(line.split("#")[0])
        elif line.startswith("*"):
            key, _, value = line[1:].partition(" ")
            keys[key] = value.strip().strip('"')
    if rows is not None:
        raise broken(item, "no line *RAS_INT_END after the last scan")
    if not parts:
        raise UnsupportedFileError(item, "no scan of the axis two-theta", "a file .ras holds rows of a scan",
                                   "Export the powder scan.")  # fmt: skip
    found = [_value(keys, f"HW_XG_WAVE_LENGTH_ALPHA{line}", item) or 0.0 for line in (1, 2)]
    columns = ("column 1", "column 2 x column 3")
    return assemble(parts, item, "Rigaku ras", columns, mean_wavelength(*found), list(dict.fromkeys(notes)))
