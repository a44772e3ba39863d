"""Files of XML, alone or in a zip archive: PANalytical xrdml, Bruker brml, Rigaku rasx."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from xml.etree import ElementTree

import numpy as np

from ..errors import PatternError, UnsupportedFileError
from .limits import how_to_raise, limits_in_force
from .patterns import (
    MeasuredPattern,
    PartOfPattern,
    assemble,
    broken,
    check_number_of_points,
    mean_wavelength,
    number_in,
    numbers_in,
)
from .text_columns import decode_text

LONGEST_TAG = 100_000
"""Characters of one tag with its attributes."""
_PIECE = 2**20  # characters parsed at a time, so that a file that exceeds the limits is not read to its end


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree within the limits."""

    def __init__(self, item: str):
        super().__init__()
        self.item, self.depth, self.elements, self.limits = item, 0, 0, limits_in_force()

    def start(self, tag: str, attributes: dict) -> ElementTree.Element:
        """Open an element."""
        self.depth += 1
        self.elements += 1
        for name, number in (("depth", self.depth), ("elements", self.elements)):
            if number > (most := getattr(self.limits, name)):
                what = "levels" if name == "depth" else "elements"
                raise broken(self.item, f"XML with more than {most:,} {what}", "a file of a scan has fewer", name)
        return super().start(tag, attributes)

    def end(self, tag: str) -> ElementTree.Element:
        """Close an element."""
        self.depth -= 1
        return super().end(tag)


def parse_xml(text: str, item: str) -> ElementTree.Element:
    """The root of a text of XML without document type.

    Raises
    ------
    UnsupportedFileError
    """
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise UnsupportedFileError(
            item, "XML with a document type", "a file of a scan has no document type", "Export the scan again."
        )
    _check_tags(text, item)
    parser = ElementTree.XMLParser(target=_Builder(item))
    try:
        for place in range(0, len(text), _PIECE):
            parser.feed(text[place : place + _PIECE])
        return parser.close()
    except ElementTree.ParseError as error:
        raise UnsupportedFileError(
            item, f"broken XML ({error})", "a file of a scan is well-formed XML", "Export the scan again."
        ) from error


def _check_tags(text: str, item: str) -> None:
    """Refuse a tag that the parser would look at again and again."""
    tags = text.count("<")
    if tags > 2 * (most := limits_in_force().elements) + 1_000:
        raise broken(item, f"XML with {tags:,} tags", f"a file of a scan has at most {most:,} elements", "elements")
    characters = np.frombuffer(text.encode(), np.uint8)
    opened, closed = (np.flatnonzero(characters == ord(mark)) for mark in "<>")
    ends = np.append(closed, len(characters))[np.searchsorted(closed, opened)]
    if tags and (ends - opened).max() > LONGEST_TAG:
        raise broken(item, f"a tag of {(ends - opened).max():,} bytes", f"a tag has at most {LONGEST_TAG:,} bytes")


def read_xrdml(text: str, item: str) -> MeasuredPattern:
    """A file .xrdml of PANalytical (schema 1.0 to 2.x).

    ``counts`` are as the detector gave them and are multiplied by the attenuation of the beam; ``intensities`` are
    stored multiplied already. Only scans that move 2Theta are read.

    Raises
    ------
    UnsupportedFileError, PatternError, AngleError, CountsError
    """
    root = parse_xml(text, item)
    parts: list[PartOfPattern] = []
    notes: list[str] = []
    left_out = 0
    scans = root.findall(".//{*}scan")
    if len(scans) > (most := limits_in_force().scans):
        raise PatternError(item, f"{len(scans):,} scans", f"a pattern has at most {most:,} scans",
                           f"Export the powder scan alone. {how_to_raise('scans')}")  # fmt: skip
    for points in (scan.find("{*}dataPoints") for scan in scans):
        part = None if points is None else _scan_of_xrdml(points, item, notes)
        if part is None:
            left_out += 1
        else:
            parts.append(part)
    if not parts:
        raise PatternError(
            item, f"no counts of a scan of the axis 2Theta in {len(scans)} scans",
            "the xrdml holds no counts of a scan" if not scans else "a powder pattern is a scan of the axis 2Theta",
            "Export the powder scan.",
        )  # fmt: skip
    if left_out:
        notes.append(f"scans without counts or of another axis than 2Theta were left out: {left_out}")
    found = {_wavelength_of_xrdml(used, item) for used in root.findall(".//{*}usedWavelength")} - {None}
    wavelengths = sorted(value for value in found if value is not None)
    if wavelengths and wavelengths[-1] - wavelengths[0] > 1e-4:
        raise PatternError(item, f"scans at {wavelengths[0]:g} and {wavelengths[-1]:g} Å",
                           "all scans of a file have one wavelength", "Export them to files of their own.")  # fmt: skip
    wavelength = wavelengths[0] if wavelengths else None
    return assemble(parts, item, "PANalytical xrdml", ("2Theta", "counts"), wavelength, list(dict.fromkeys(notes)))


def _scan_of_xrdml(points: ElementTree.Element, item: str, notes: list[str]) -> PartOfPattern | None:
    """One scan, None if it moves another axis or has no counts."""
    raw, ready = points.find("{*}counts"), points.find("{*}intensities")
    node = raw if raw is not None else ready
    position = next((p for p in points.findall("{*}positions") if p.get("axis") == "2Theta"), None)
    if node is None or not (node.text or "").strip():
        return None
    if position is None:
        raise PatternError(item, "the xrdml holds no readable positions of the axis 2Theta")
    counts = numbers_in(node.text or "", item, "counts of the xrdml")
    listed = position.findtext("{*}listPositions")
    if listed:
        angles = numbers_in(listed, item, "positions of the axis 2Theta")
    elif position.find("{*}commonPosition") is not None:
        return None
    else:
        start, end = (_float(position, tag, item) for tag in ("startPosition", "endPosition"))
        if start is None or end is None:
            raise PatternError(item, "the xrdml holds no readable positions of the axis 2Theta")
        angles = np.linspace(start, end, len(counts))
    if len(angles) != len(counts):
        raise PatternError(item, f"{len(angles):,} positions and {len(counts):,} counts in one scan")
    factors = points.findtext("{*}beamAttenuationFactors") or points.findtext("{*}commonBeamAttenuationFactor")
    if factors and node is raw:
        values = _per_point(factors, len(counts), item, "beamAttenuationFactors")
        if not (values > 0).all():
            raise PatternError(item, f"beamAttenuationFactors {values.min():g}", "factors are positive",
                               "Export the scan again.")  # fmt: skip
        if (values != 1.0).any():
            counts = counts * values
            notes.append("counts were multiplied by beamAttenuationFactors")
    if points.find("{*}divergenceCorrections") is not None:
        notes.append("the divergence corrections of the file were not applied")
    text = points.findtext("{*}countingTimes") or points.findtext("{*}commonCountingTime")
    times = _per_point(text, len(counts), item, "counting times") if text else None
    if times is not None and node.get("unit") == "cps":
        counts = counts * times
    return PartOfPattern(angles, counts, times)


def _per_point(text: str, number: int, item: str, what: str) -> np.ndarray:
    values = numbers_in(text, item, what)
    if len(values) not in (1, number):
        raise PatternError(
            item, f"{len(values):,} {what} and {number:,} counts", f"{what} are one or as many as the counts",
            "Export the scan again.",
        )  # fmt: skip
    return np.broadcast_to(values, number)


def _float(node: ElementTree.Element, tag: str, item: str) -> float | None:
    text = (node.findtext(f"{{*}}{tag}") or "").strip()
    if not text:
        return None
    try:
        return number_in(text)
    except ValueError as error:
        raise PatternError(item, f"{tag} {text[:40]!r}", f"{tag} is a number", "Export the scan again.") from error


def _wavelength_of_xrdml(used: ElementTree.Element, item: str) -> float | None:
    """The wavelength for which the measurement was intended; of the K-alpha doublet the mean by intensity."""
    alpha1, alpha2, beta = (_float(used, tag, item) or 0.0 for tag in ("kAlpha1", "kAlpha2", "kBeta"))
    ratio = _float(used, "ratioKAlpha2KAlpha1", item)
    intended = (used.get("intended") or "K-Alpha").lower().replace(" ", "")
    lines = {"k-alpha1": alpha1, "k-alpha2": alpha2, "k-beta": beta}
    return lines.get(intended, mean_wavelength(alpha1, alpha2, 0.5 if ratio is None else ratio)) or None


class _Archive:
    """Members of a zip archive in memory, read within limits; nothing is written and no path is used."""

    def __init__(self, data: bytes, item: str):
        self.item, self.limits = item, limits_in_force()
        self.left = self.limits.unpacked_bytes
        try:
            self.file = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error) as error:
            raise broken(item, f"no zip archive ({error})") from error
        if (members := len(self.file.namelist())) > (most := self.limits.members):
            raise broken(item, f"{members:,} members", f"an archive has at most {most:,}", "members")

    def names(self, pattern: str) -> list[str]:
        """Names of the members that match a pattern, in the order of the numbers in them."""
        names = [name for name in self.file.namelist() if re.fullmatch(pattern, name.replace("\\", "/"))]
        return sorted(names, key=lambda name: ([int(number[:9]) for number in re.findall(r"\d+", name)], name))

    def text(self, name: str) -> str:
        """The text of a member."""
        info = self.file.getinfo(name)
        rule, limit = f"at most {self.limits.unpacked_bytes:,} bytes are unpacked", "unpacked_bytes"
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise broken(self.item, f"{name[:60]}: encrypted or of an unusual compression", "members are deflated")
        if info.file_size > self.left:
            raise broken(self.item, f"{name[:60]}: {info.file_size:,} bytes", rule, limit)
        with self.file.open(info) as member:
            data = member.read(self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise broken(self.item, f"{name[:60]}: more bytes than announced", rule, limit)
        return decode_text(data, self.item)


def read_brml(data: bytes, item: str) -> MeasuredPattern:
    """A file .brml of Bruker, a zip archive; the measured scans of all its members ``RawData*.xml``.

    Raises
    ------
    UnsupportedFileError, PatternError, AngleError, CountsError
    """
    archive = _Archive(data, item)
    parts: list[PartOfPattern] = []
    notes: list[str] = []
    wavelength = None
    for name in archive.names(r"(?:[^/]+/)?RawData\d+\.xml"):
        root = parse_xml(archive.text(name), item)
        lines = {}
        for tag in ("WaveLengthAlpha1", "WaveLengthAlpha2", "WaveLengthRatio", "WaveLengthAverage"):
            node = root.find(f".//{{*}}{tag}")
            lines[tag] = _attribute(node, "Value", item) if node is not None else 0.0
        alpha1, alpha2, ratio, average = lines.values()
        wavelength = wavelength or mean_wavelength(alpha1, alpha2, ratio or 0.5) or mean_wavelength(average)
        routes = root.findall(".//{*}DataRoute")
        for route in [route for route in routes if route.get("RouteFlag") == "Measured"] or routes[:1]:
            part = _scan_of_brml(route, item, notes)
            if part is not None:
                parts.append(part)
    if not parts:
        raise _no_scan(item)
    return assemble(parts, item, "Bruker brml", ("TwoTheta", "Counts"), wavelength, list(dict.fromkeys(notes)))


def _scan_of_brml(route: ElementTree.Element, item: str, notes: list[str]) -> PartOfPattern | None:
    """One scan: a table whose columns the views name; None if it moves another axis."""
    rows = [(node.text or "").split(",") for node in route.iterfind("{*}Datum")]
    places: dict[str, int] = {}
    for view in route.iterfind(".//{*}RawDataView"):
        start, length = int(_attribute(view, "Start", item)), int(_attribute(view, "Length", item))
        if view.get("LogicName"):
            places.setdefault(str(view.get("LogicName")), start)
        for offset, field in enumerate(view.iterfind(".//{*}FieldDefinitions")):
            places.setdefault(str(field.get("AxisId") or field.get("FieldName")), start + offset)
        if view.find("{*}Recording") is not None:
            if length != 1:
                raise PatternError(item, f"{length:,} counts per point", "a powder pattern has one count per point",
                                   "Integrate the frames, and export the pattern.")  # fmt: skip
            places.setdefault("Counts", start)
    if not rows or "TwoTheta" not in places or "Counts" not in places:
        return None
    check_number_of_points(len(rows), item)
    wanted = {key: places[key] for key in ("TwoTheta", "Counts", "MeasuredTime", "AbsorptionFactor") if key in places}
    try:
        table = {key: np.array([number_in(row[place]) for row in rows]) for key, place in wanted.items()}
    except (ValueError, IndexError) as error:
        raise PatternError(item, f"a point that cannot be read ({str(error)[:60]})", "each point holds numbers",
                           "Export the scan again.") from error  # fmt: skip
    angles, counts = table["TwoTheta"], table["Counts"]
    if len(angles) > 1 and np.ptp(angles) == 0.0:
        return None
    factors = table.get("AbsorptionFactor")
    if factors is not None and (factors != 1.0).any():
        counts = counts * factors
        notes.append("counts were multiplied by AbsorptionFactor")
    times = table.get("MeasuredTime")
    return PartOfPattern(angles, counts, times if times is not None and (times > 0).all() else None)


def _no_scan(item: str) -> PatternError:
    return PatternError(item, "no scan of the axis TwoTheta", "a powder pattern is a scan of the axis TwoTheta",
                        "Export the powder scan.")  # fmt: skip


def _attribute(node: ElementTree.Element, name: str, item: str) -> float:
    try:
        value = number_in(node.get(name) or "0")
        return value if 0.0 <= value < 1e9 else 0.0
    except ValueError as error:
        raise broken(item, f"{name} {str(node.get(name))[:40]!r}", f"{name} is a number") from error


def read_rasx(data: bytes, item: str) -> MeasuredPattern:
    """A file .rasx of Rigaku, a zip archive with a table ``Profile`` and a file of conditions for each scan.

    Raises
    ------
    UnsupportedFileError, PatternError, AngleError, CountsError
    """
    archive = _Archive(data, item)
    parts: list[PartOfPattern] = []
    notes: list[str] = []
    wavelength = None
    for name in archive.names(r"Data\d+/Profile\d+\.txt"):
        conditions = archive.names(re.escape(name.split("/")[0]) + r"/Me(?:a)?surementConditions\d+\.xml")
        root = parse_xml(archive.text(conditions[0]), item) if conditions else ElementTree.Element("none")
        axis = (root.findtext(".//{*}ScanInformation/{*}AxisName") or "TwoThetaTheta").replace("-", "").lower()
        if not axis.startswith("twotheta"):
            notes.append(f"a scan of the axis {axis[:20]!r} was left out")
            continue
        lines = [_text_number(root, tag, item) for tag in ("WavelengthKalpha1", "WavelengthKalpha2")]
        wavelength = wavelength or mean_wavelength(*lines)
        parts.append(scan_of_rigaku(archive.text(name).split("\n"), item, notes))
    if not parts:
        raise _no_scan(item)
    columns = ("column 1", "column 2 x column 3")
    return assemble(parts, item, "Rigaku rasx", columns, wavelength, list(dict.fromkeys(notes)))


def _text_number(root: ElementTree.Element, tag: str, item: str) -> float:
    text = (root.findtext(f".//{{*}}{tag}") or "0").strip() or "0"
    try:
        return number_in(text)
    except ValueError as error:
        raise broken(item, f"{tag} {text[:40]!r}", f"{tag} is a number") from error


def scan_of_rigaku(lines: list[str], item: str, notes: list[str]) -> PartOfPattern:
    """Rows of angle, intensity and the factor by which the beam was attenuated.

    Raises
    ------
    PatternError
    """
    check_number_of_points(len(lines) - 2, item)
    rows = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        try:
            angle, count, factor = (*map(number_in, fields[:3]), 1.0)[:3]
        except ValueError as error:
            raise PatternError(item, f"row {number} of a scan: {line.strip()[:60]!r}",
                               "a row holds an angle, a count and a factor") from error  # fmt: skip
        rows.append((angle, count, factor))
    table = np.array(rows).reshape(-1, 3)
    if (table[:, 2] != 1.0).any():
        notes.append("counts were multiplied by the attenuation in the third column")
    return PartOfPattern(table[:, 0], table[:, 1] * table[:, 2])
