"""Files that ASE writes: extended XYZ, XSF, and trajectories, one frame at a time.

ASE parses the frames of XYZ and XSF. Its own reader of XYZ would look for all frames before it gives the first, and its
reader of trajectories takes on trust how much memory the file asks for.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from .convert import from_ase
from .database_entries import from_ase_row, own_id
from .encodings import joined_digits
from ...errors import CrystalInputError, UnsupportedFileError, UnsupportedObjectError, counted, typed_error
from ..limits import LIMITS, ReadingLimits, check_text
from .texts import Item

MAX_LINE = 2**16
"""Characters of one line of a text."""

_XYZ = 'extended XYZ has the number of atoms, a line with Lattice="..." and Properties=..., and a line for each atom'
_XSF = "an XSF file has CRYSTAL, PRIMVEC with three vectors, PRIMCOORD with the number of atoms, and the atoms"
_TRAJECTORY = "a trajectory of ASE begins with '- of Ulm' and holds numbers, positions, cells and pbc"
_NUMBERS = {"float64", "float32", "int64", "int32", "bool", "int8", "uint8", "int16"}


def require_ase(label: str) -> None:
    """An UnsupportedFileError that says what to install, if ASE is missing."""
    try:
        import ase.io  # noqa: F401
    except ImportError as error:
        raise missing_library(label, "ASE", error) from error


def missing_library(label: str, library: str, error: ImportError) -> CrystalInputError:
    """The error of a file that needs a library which is not installed."""
    return UnsupportedFileError(
        label,
        f"{library} is not installed ({error})",
        f"files of this kind are read with {library}",
        "Install it with: pip install 'deepchem_crystalssl[ase]'",
    )


def read_xyz(
    stream: IO[str], label: str, name: str, id_column: str | None = None, limits: ReadingLimits = LIMITS
) -> Iterator[Item]:
    """The frames of an extended XYZ file; one that ASE cannot parse costs itself alone.

    Yields
    ------
    Crystal or CrystalInputError
        Called by the frame's ``material_id``, ``id``, ... (see
        :data:`~deepchem_crystalssl.crystals.formats.database_entries.ENTRY_IDS`), or by ``name`` and its position.
    """
    require_ase(label)
    frames = _xyz_frames(stream, label, limits)
    first = next(frames, None)
    second = next(frames, None)
    if first is None:
        raise UnsupportedFileError(label, "no frame", _XYZ, "Check that the file is whole.")
    for k, lines in enumerate(_chained(first, second, frames)):
        called = name if second is None else f"{name} {k}"
        try:
            if isinstance(lines, CrystalInputError):
                raise lines
            yield from_ase(_parse_frame(lines, called), called, id_column)
        except CrystalInputError as error:
            yield error
        except Exception as error:  # ASE raises KeyError, ValueError, XYZError, ...
            yield UnsupportedFileError(called, f"a frame that cannot be read ({error})", _XYZ, "Check the frame.")


def _chained(first: Any, second: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    if second is not None:
        yield second
    yield from rest


def _xyz_frames(stream: IO[str], label: str, limits: ReadingLimits) -> Iterator[list[str] | CrystalInputError]:
    """The lines of each frame. A frame with more or fewer lines than it says is followed by the next that is found."""
    lost = False
    while line := stream.readline(MAX_LINE):
        if not line.strip():
            continue
        if not (word := line.strip()).isdecimal() or len(word) > 12:
            if not lost:
                lost = True
                yield UnsupportedFileError(
                    label, f"{word[:40]!r} where a number of atoms must stand", _XYZ, "Check the numbers of atoms."
                )
            continue
        number = int(word)
        limits.check("sites", number, label, "sites of one crystal")
        lost = False
        comment = stream.readline(MAX_LINE)
        lines, size = [line, comment], 0
        for _ in range(number):
            if not (line := stream.readline(MAX_LINE)):
                break
            lines.append(line)
            size += len(line)
            limits.check("text_bytes", size, label, "characters of one frame")
        if len(lines) < number + 2:
            told = f"the text ends early, after {counted(len(lines) - 2, 'atom')} of {number}"
            yield UnsupportedFileError(label, told, _XYZ, "Fetch or export the file again.")
        else:
            yield lines


def _parse_frame(lines: list[str], name: str) -> Any:
    from ase.io.extxyz import read_xyz as parse

    if not re.search(r"(^|\s)Lattice\s*=", lines[1]):
        raise UnsupportedFileError(name, "XYZ without a lattice", _XYZ, "Write extended XYZ, with the cell.")
    columns = sum(int(number) for number in re.findall(r":[RISL]:(\d+)", lines[1])[:100])
    if len(lines) > 2 and columns > len(lines[2].split()):
        told = f"{columns} columns in Properties, and {len(lines[2].split())} in the line of the first atom"
        raise UnsupportedFileError(name, told, _XYZ, "Check Properties.")
    if wrong := joined_digits("".join(lines[2:])):
        raise UnsupportedFileError(name, f"a number {wrong!r}", "numbers have no underscore", "Correct this number.")
    return next(parse(io.StringIO("".join(lines)), 0))


def read_xsf(stream: IO[str], label: str, name: str, limits: ReadingLimits = LIMITS) -> Iterator[Item]:
    """The crystals of an XSF file, one for each step of an animation; grids of data are passed over."""
    require_ase(label)
    from ase.io.xsf import iread_xsf

    steps: dict[str, int] = {}

    def lines() -> Iterator[str]:
        size = 0
        while line := stream.readline(MAX_LINE):
            size += len(line)
            limits.check("text_bytes", size, label, "characters before the grids of data")
            if wrong := joined_digits(line):
                raise UnsupportedFileError(label, f"a number {wrong!r}", _XSF, "Correct this number.")
            if line.startswith("ANIMSTEPS"):
                steps["all"] = int(line.split()[1])
            if line.startswith("BEGIN_BLOCK"):  # ASE would look for the next step behind it
                return
            yield line

    found = 0
    try:
        for atoms in iread_xsf(_Lines(lines())):
            called = f"{name} {found}" if steps else name
            found += 1
            try:
                yield from_ase(atoms, called)
            except CrystalInputError as error:
                yield error
    except CrystalInputError:
        raise
    except Exception as error:  # StopIteration as RuntimeError, AssertionError, ValueError, KeyError, ...
        reason = "the text ends early" if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}"
        raise UnsupportedFileError(label, f"cannot be read ({reason.strip(': ')})", _XSF, "Check the file.") from error


class _Lines:
    """Lines as ASE takes an open file."""

    def __init__(self, lines: Iterator[str]):
        self.lines = lines

    def __iter__(self) -> Iterator[str]:
        return self.lines

    def read(self) -> str:
        return "".join(self.lines)


def read_trajectory(
    stream: IO[bytes], label: str, name: str, id_column: str | None = None, limits: ReadingLimits = LIMITS
) -> Iterator[Item]:
    """The frames of an ASE trajectory (``.traj``), a file in the format of ``ase.io.ulm``.

    The format is JSON with the places of arrays of numbers; no object is pickled in it, and only arrays of the types
    in a short list are read, after their size is compared with that of the file. A trajectory of ASE before 3.9, which
    is a pickle, does not begin with ``- of Ulm`` and is refused.

    Parameters
    ----------
    stream : binary file that can be searched
    """
    file = _Ulm(stream, label, limits)
    header: Mapping = {}
    for k in range(file.items):
        called = name if file.items == 1 else f"{name} {k}"
        try:
            frame = file.item(k)
            header = frame if k == 0 else header
            kept = {key: header[key] for key in ("numbers", "pbc") if key in header}
            info = frame.get("info")
            row = {key: file.array(value) for key, value in {**kept, **frame}.items() if key in _OF_A_FRAME}
            if not {"numbers", "positions"} <= row.keys():
                raise UnsupportedObjectError(called, "a frame without numbers and positions")
            own = own_id(info, id_column) if isinstance(info, Mapping) else None
            yield from_ase_row(row, own or called)
        except CrystalInputError as error:
            yield error
        except Exception as error:
            yield typed_error(error, f"{label} ({called})")


_OF_A_FRAME = ("numbers", "positions", "cell", "pbc")


class _Ulm:
    """The items of a file of ``ase.io.ulm``, in the layout that its documentation describes."""

    def __init__(self, stream: IO[bytes], label: str, limits: ReadingLimits):
        self.stream, self.label, self.limits = stream, label, limits
        self.size = stream.seek(0, io.SEEK_END)
        head = self._read(0, 48) if self.size >= 48 else b""
        if head[:8] not in (b"- of Ulm", b"AFFormat") or head[8:24].strip() != b"ASE-Trajectory":
            raise UnsupportedFileError(label, f"begins with {head[:24]!r}", _TRAJECTORY, "Write it again with ASE.")
        _, self.items, place = struct.unpack("<3q", head[24:48])
        if not 0 < self.items <= self.size // 8:
            raise UnsupportedFileError(label, f"{self.items} frames", _TRAJECTORY, "Write it again with ASE.")
        self.place = place

    def _read(self, place: int, length: int) -> bytes:
        if not 0 <= place <= place + length <= self.size:
            told = f"{length} bytes at {place}, in a file of {self.size}"
            raise UnsupportedFileError(self.label, told, _TRAJECTORY, "Fetch the file again.")
        self.stream.seek(place)
        return self.stream.read(length)

    def item(self, k: int) -> dict[str, Any]:
        """The JSON of an item."""
        (place,) = struct.unpack("<q", self._read(self.place + 8 * k, 8))
        (length,) = struct.unpack("<q", self._read(place, 8))
        self.limits.check("text_bytes", length, self.label, "bytes of one frame")
        text = self._read(place + 8, length).decode()
        check_text(text, self.label, self.limits)
        fields = json.loads(text)
        is_little = fields.get("_little_endian", True)
        return {key.rstrip("."): {**v, "<": is_little} if key.endswith(".") else v for key, v in fields.items()}

    def array(self, value: Any) -> Any:
        """An array of numbers from the file, or what was in the JSON."""
        if not isinstance(value, Mapping) or "ndarray" not in value:
            return value
        shape, kind, place = value["ndarray"]
        if kind not in _NUMBERS or not all(isinstance(length, int) and length >= 0 for length in shape):
            raise UnsupportedObjectError(self.label, f"an array of {kind} with shape {shape}")
        dtype = np.dtype(kind).newbyteorder("<" if value["<"] else ">")
        count = 1
        for length in shape:
            count *= length
        return np.frombuffer(self._read(place, count * dtype.itemsize), dtype).reshape(shape)
