"""Binary files of diffractometers: Bruker (Siemens) RAW versions 1 to 4, and Rigaku RAW.

The layouts follow the format descriptions in the sources of xylib (M. Wojdyr) and the files themselves.
"""

from __future__ import annotations

import struct

import numpy as np

from ..errors import PatternError, UnsupportedFileError
from .limits import limits_in_force
from .patterns import (
    MeasuredPattern,
    PartOfPattern,
    assemble,
    broken,
    check_number_of_points,
    mean_wavelength,
    steps_from,
)

_COUPLED = ("Locked Coupled", "Unlocked Coupled", "Detector Scan", "2Theta", "TwoTheta")  # axes that are two-theta


class _Bytes:
    """Little-endian numbers at places of a file; a place outside the file is a typed error."""

    def __init__(self, data: bytes, item: str):
        self.data, self.item = data, item

    def at(self, place: int, code: str) -> float:
        """A number: "H" and "I" are integers without sign, "f" and "d" are floats."""
        if place < 0 or place + struct.calcsize("<" + code) > len(self.data):
            raise broken(self.item, f"the file ends at byte {len(self.data):,}, byte {place:,} is needed")
        return struct.unpack_from("<" + code, self.data, place)[0]

    def whole(self, place: int) -> int:
        """A 32-bit integer without sign."""
        return int(self.at(place, "I"))

    def text(self, place: int, length: int) -> str:
        """Text that ends with a zero."""
        return self.data[place : place + length].split(b"\0")[0].decode("latin-1").strip()

    def counts(self, place: int, number: int, size: int = 4) -> np.ndarray:
        """The first float of each of some records."""
        check_number_of_points(number, self.item)
        if size < 4 or size > 4096:
            raise broken(self.item, f"records of {size:,} bytes at byte {place:,}")
        if place + number * size > len(self.data):
            raise broken(
                self.item, f"{number:,} points are announced, the file holds {max(0, len(self.data) - place) // size:,}"
            )
        with np.errstate(invalid="ignore"):  # what is not finite is refused later
            return np.ndarray((number,), "<f4", self.data, place, (size,)).astype(float)


def read_raw(data: bytes, item: str) -> MeasuredPattern:
    """A file .raw of Bruker or Rigaku.

    Raises
    ------
    UnsupportedFileError, PatternError, AngleError, CountsError
    """
    kinds = {b"RAW ": _bruker1, b"RAW2": _bruker2, b"RAW1.01": _bruker3, b"RAW4.00": _bruker4, b"FI": _rigaku}
    for magic, read in kinds.items():
        if data.startswith(magic):
            return read(_Bytes(data, item))
    raise UnsupportedFileError(
        item,
        f"a file that begins with {data[:8]!r}",
        "a file .raw begins with the mark of Bruker ('RAW ', 'RAW2', 'RAW1.01', 'RAW4.00') or Rigaku ('FI')",
        "Export two columns, two-theta and counts, as text.",
    )


def _time(seconds: float) -> float | None:
    return round(seconds, 6) if 0.0 < seconds < 1e9 else None  # a float of 32 bits


def _bruker1(file: _Bytes) -> MeasuredPattern:
    parts: list[PartOfPattern] = []
    place, wavelength, more = 4, None, 1
    while more and len(parts) < limits_in_force().scans:
        if parts and file.data[place : place + 4] == b"RAW ":  # early files do not repeat it
            place += 4
        number = file.whole(place)
        time, step, start = file.at(place + 4, "f"), file.at(place + 8, "f"), file.at(place + 20, "f")
        lines = file.at(place + 68, "f"), file.at(place + 72, "f")
        more = file.whole(place + 148)
        counts = file.counts(place + 152, number)
        parts.append(PartOfPattern(steps_from(start, step, number, file.item), counts, _time(time)))
        wavelength = wavelength or mean_wavelength(*lines)
        place += 152 + 4 * number
    return assemble(parts, file.item, "Bruker RAW version 1", wavelength=wavelength)


def _bruker2(file: _Bytes) -> MeasuredPattern:
    wavelength = mean_wavelength(file.at(190, "f"), file.at(194, "f"), file.at(198, "f"))
    parts, place = [], 256
    for _ in range(_ranges(int(file.at(4, "H")), file.item)):
        header, number = int(file.at(place, "H")), int(file.at(place + 2, "H"))
        if header < 48:
            raise broken(file.item, f"the header of a scan of {header} bytes at byte {place:,}")
        time, step, start = (file.at(place + offset, "f") for offset in (8, 12, 16))
        counts = file.counts(place + header, number)
        parts.append(PartOfPattern(steps_from(start, step, number, file.item), counts, _time(time)))
        place += header + 4 * number
    return assemble(parts, file.item, "Bruker RAW version 2", wavelength=wavelength)


def _bruker3(file: _Bytes) -> MeasuredPattern:
    wavelength = mean_wavelength(file.at(624, "d"), file.at(632, "d"), file.at(648, "d"))
    parts, place = [], 712
    for _ in range(_ranges(file.whole(12), file.item)):
        header, number = file.whole(place), file.whole(place + 4)
        if not 260 <= header <= 10_000:
            raise broken(file.item, f"the header of a scan of {header:,} bytes at byte {place:,}")
        start, step, time = file.at(place + 16, "d"), file.at(place + 176, "d"), file.at(place + 192, "f")
        size, extra = file.whole(place + 252), file.whole(place + 256)
        used = file.at(place + 240, "d")
        counts = file.counts(place + header + extra, number, size)
        parts.append(PartOfPattern(steps_from(start, step, number, file.item), counts, _time(time)))
        wavelength = wavelength or mean_wavelength(used)
        place += header + extra + size * number
    return assemble(parts, file.item, "Bruker RAW version 3", wavelength=wavelength)


def _bruker4(file: _Bytes) -> MeasuredPattern:
    place, wavelength = 61, None
    while (kind := file.whole(place)) not in (0, 160):  # records about the file; scans follow
        length = file.whole(place + 4)
        if length < 8:
            raise broken(file.item, f"a record of {length} bytes at byte {place:,}")
        if kind == 30:
            wavelength = mean_wavelength(*(file.at(place + offset, "d") for offset in (80, 88, 104)))
            wavelength = wavelength or mean_wavelength(file.at(place + 72, "d"))
        place += length
    parts: list[PartOfPattern] = []
    left_out: list[str] = []
    while place + 160 <= len(file.data) and file.whole(place) in (0, 160):
        if len(parts) + len(left_out) >= (most := limits_in_force().scans):
            raise broken(file.item, f"more than {most:,} scans", f"a file holds 1 to {most:,} scans", "scans")
        scan = file.text(place + 32, 24)
        start, step, number = file.at(place + 72, "d"), file.at(place + 80, "d"), file.whole(place + 88)
        time, used = file.at(place + 92, "f"), file.at(place + 112, "d")
        size, extra = file.whole(place + 136), file.whole(place + 140)
        counts = file.counts(place + 160 + extra, number, size)
        if scan in _COUPLED:
            parts.append(PartOfPattern(steps_from(start, step, number, file.item), counts, _time(time)))
            wavelength = wavelength or mean_wavelength(used)
        else:
            left_out.append(repr(scan))
        place += 160 + extra + size * number
    if not parts:
        found = ", ".join(left_out[:3]) or "no scan"
        raise PatternError(
            file.item, f"scans of the type {found}",
            f"a powder pattern is a scan of the type {', '.join(_COUPLED[:3])}",
            "Export the coupled scan, as two columns of text.",
        )  # fmt: skip
    notes = [f"scans of other axes were left out: {', '.join(left_out[:3])}"] if left_out else []
    return assemble(parts, file.item, "Bruker RAW version 4", wavelength=wavelength, notes=notes)


def _ranges(number: int, item: str) -> int:
    if not 1 <= number <= (most := limits_in_force().scans):
        raise broken(item, f"{number:,} scans are announced", f"a file holds 1 to {most:,} scans", "scans")
    return number


_RIGAKU_LINES, _RIGAKU_SCAN, _RIGAKU_DATA = 0x4BC, 0xB92, 0xC42


def _rigaku(file: _Bytes) -> MeasuredPattern:
    if file.data[_RIGAKU_DATA : _RIGAKU_DATA + 2] != b"DA":
        raise UnsupportedFileError(
            file.item, "a Rigaku file of another layout", f"the data of a Rigaku file begin at byte {_RIGAKU_DATA:,}",
            "Export the scan as .ras, .rasx or two columns of text.",
        )  # fmt: skip
    wavelength = mean_wavelength(file.at(_RIGAKU_LINES, "d"), file.at(_RIGAKU_LINES + 8, "d"))
    start, stop, step = (file.at(_RIGAKU_SCAN + offset, "f") for offset in (0, 4, 8))
    number = file.whole(_RIGAKU_DATA + 16)
    counts = file.counts(_RIGAKU_DATA + 20, number)
    angles = steps_from(start, step, number, file.item)
    if number > 1 and not abs(angles[-1] - stop) < 0.5 * abs(step):
        raise broken(file.item, f"{number:,} points from {start:g}° in steps of {step:g}° do not end at {stop:g}°")
    angles = np.linspace(start, stop, number)  # the step is rounded
    return assemble([PartOfPattern(angles, counts)], file.item, "Rigaku RAW", wavelength=wavelength)
