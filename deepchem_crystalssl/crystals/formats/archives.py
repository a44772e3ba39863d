"""The files in an archive, one after the other. Nothing is extracted, no link is followed."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from tarfile import InvalidHeaderError, ReadError, TruncatedHeaderError  # type: ignore[attr-defined]
from typing import IO, Any, Self

from .contents import Budget, Content, counted_stream, unpacked_stream
from ..doubts import warn_of
from ...errors import CrystalInputError, UnsupportedFileError
from .kinds import COMPRESSIONS, HEAD, crystal_kind, is_unlike
from .tables import lacks_structures
from ..limits import LIMITS, ReadingLimits

_PEEK = 200
_SHORT = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".txz": ".tar.xz"}


def iterate_members(
    path: Path, limits: ReadingLimits = LIMITS, structure_column: str | None = None
) -> Iterator[tuple[PurePosixPath, Content | CrystalInputError]]:
    """The crystals' files in an archive, in its order, each with its path in there.

    A member is chosen by its name, as a file in a folder is, and a CSV table by its columns unless the caller names
    one. What cannot be read comes as its error: a link, a path that leads out of the archive, an encrypted member, an
    archive in the archive. A member must be read before the next one is asked for, because a compressed tar archive is
    read only once.

    Yields
    ------
    (PurePosixPath, Content or CrystalInputError)

    Raises
    ------
    LimitError
        If there are more members than the limits allow, or the archive unpacks to too much.
    """
    members = _iterate_zip(path, limits) if path.name.lower().endswith(".zip") else _iterate_tar(path, limits)
    for number, (name, member) in enumerate(members, 1):
        limits.check("members", number, str(path), "members of one archive")
        inside = PurePosixPath(name.replace("\\", "/"))
        if _is_of_the_system(inside) or (kind := crystal_kind(inside.name)) is None:
            continue
        label = f"{path}/{inside}"
        if inside.is_absolute() or ".." in inside.parts:
            yield inside, UnsupportedFileError(
                label, "a path that leads out of the archive", "a member lies within its archive", "Pack it again."
            )
        elif kind == "archive":
            yield inside, UnsupportedFileError(
                label, "an archive in an archive", "an archive holds files of crystals", "Unpack the outer one."
            )
        elif isinstance(member, CrystalInputError):
            yield inside, member
        elif member.name != inside.name:  # it is compressed, and may be opened once only
            yield inside, member
        elif kind == "table":
            if structure_column is not None or not lacks_structures(member):
                yield inside, member
        elif not is_unlike(kind, member.head(HEAD)):
            yield inside, member


def holds_crystals(path: Path) -> bool:
    """Whether files of crystals are among the first members of an archive, or it cannot be read."""
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                names: Iterator[str] = iter(archive.namelist())
                return any(crystal_kind(PurePosixPath(name).name) for name in names)
        return any(crystal_kind(PurePosixPath(name).name) for name, _ in islice(_iterate_tar(path, LIMITS), _PEEK))
    except Exception:  # reading it will say what is wrong
        return True


def _is_of_the_system(inside: PurePosixPath) -> bool:
    """Whether macOS added a member for itself."""
    return inside.name.startswith("._") or "__MACOSX" in inside.parts


def _iterate_zip(path: Path, limits: ReadingLimits) -> Iterator[tuple[str, Content | CrystalInputError]]:
    with zipfile.ZipFile(path) as archive:
        budget = Budget(str(path), lambda: path.stat().st_size, limits)
        for info in archive.infolist():
            if info.is_dir():
                continue
            name = _name_in_zip(info)
            label = f"{path}/{name}"
            if info.flag_bits & 1:
                yield name, UnsupportedFileError(
                    label, "encrypted", "a member of an archive is not encrypted", "Pack it without a password."
                )
            elif (info.external_attr >> 28) == 0o12:
                yield name, _no_file(label, "a link")
            else:
                member = info

                def opener(member: zipfile.ZipInfo = member) -> IO[bytes]:
                    return counted_stream(archive.open(member), budget)

                yield name, Content.packed(label, PurePosixPath(name).name, opener, limits=limits)


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """The name of a member, which many programs write in UTF-8 without the flag that says so.

    Info-ZIP repeats it in the extra field 0x7075 (4.6.9 of the ZIP specification), behind a checksum of the name.
    """
    if info.flag_bits & 0x800 or info.orig_filename.isascii():
        return info.filename
    written, extra = info.orig_filename.encode("cp437"), info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and field[1:5] == struct.pack("<L", zlib.crc32(written)):
            written = field[5:]
            break
    try:
        return written.decode()
    except UnicodeDecodeError:
        return info.filename


def _iterate_tar(path: Path, limits: ReadingLimits) -> Iterator[tuple[str, Content | CrystalInputError]]:
    name = path.name.lower()
    name = next((name.removesuffix(short) + full for short, full in _SHORT.items() if name.endswith(short)), name)
    with path.open("rb") as file:
        stream = unpacked_stream(file, name, str(path), limits) if name.endswith(COMPRESSIONS) else file
        # "r:" seeks back to the member that is read, at no cost in a plain file; a compressed one is read once.
        mode = "r:" if stream is file else "r|"
        with tarfile.open(fileobj=stream, mode=mode, tarinfo=_Header) as archive:  # type: ignore[call-overload]
            while (info := _next_of(archive, path)) is not None:
                archive.members = []  # or it would keep the header of every member
                if info.isdir():
                    continue
                label = f"{path}/{info.name}"
                if not info.isreg() or info.issparse():
                    yield info.name, _no_file(label, "a link" if info.islnk() or info.issym() else "no plain file")
                    continue
                yield info.name, _tar_member(archive, info, label, limits)


class _Header(tarfile.TarInfo):
    """The header of a member; one that cannot be read is an error, where tarfile takes it for the end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except (InvalidHeaderError, TruncatedHeaderError) as error:
            raise ReadError(f"no header of a member at byte {tarfile.offset}: {error}") from error


def _behind_the_end(archive: tarfile.TarFile, path: Path) -> str:
    """What stands behind the first block of zeros, which ends an archive, in words; empty if it is zeros only."""
    stream = archive.fileobj
    assert stream is not None  # it is open
    if stream.tell() == archive.offset:
        warn_of(str(path), "the archive has no block that ends it; if it was cut, its last members are lost")
    while data := stream.read(2**16):
        if data.count(0) != len(data):
            return f"there is more behind its end at byte {archive.offset}"
    return ""


def _next_of(archive: tarfile.TarFile, path: Path) -> tarfile.TarInfo | None:
    """The next member of a tar archive; at its end, None if there is nothing behind.

    Raises
    ------
    UnsupportedFileError
        If the archive is cut or damaged, so that members may be lost.
    """
    before = archive.offset
    try:
        if (info := archive.next()) is not None:
            return info
        found = _behind_the_end(archive, path)
    except ReadError as error:
        found = str(error)
    if found:
        raise UnsupportedFileError(
            str(path),
            f"damaged or cut ({found}); members from byte {before} on are not read",
            "an archive must be whole",
            "Fetch or pack the archive again.",
        )
    return None


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo, label: str, limits: ReadingLimits) -> Content:
    """A member whose first bytes can be looked at before it is read, though a compressed archive is read only once."""
    stream = archive.extractfile(info)
    assert stream is not None  # it is a regular file
    first = stream.read(HEAD)

    def opener() -> IO[bytes]:
        if stream.tell() != len(first):
            raise RuntimeError(f"{label} was read before")
        return io.BufferedReader(_Replayed(first, stream), 2**16)

    return Content.packed(label, PurePosixPath(info.name).name, opener, first=first, limits=limits)


class _Replayed(io.RawIOBase):
    """A stream, preceded by the bytes that were read from it before."""

    def __init__(self, first: bytes, rest: IO[bytes]):
        self.first, self.rest = first, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.first[: len(buffer)] or self.rest.read(len(buffer))
        self.first = self.first[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def _no_file(label: str, what: str) -> CrystalInputError:
    return UnsupportedFileError(label, what, "a member of an archive is a plain file", "Pack the file itself.")
