"""What a file holds, unpacked while it is read, and never more than the limits declared here.

A small file can be made that unpacks to petabytes. Everything compressed is therefore read through a
:class:`Budget`, which counts the bytes unpacked and compares them with the packed ones.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any

from ..errors import EmptyFileError, LimitError
from .kinds import COMPRESSIONS, without_compression

MAX_RATIO = 100
"""A file may unpack to this many times its size. Coordinates compress to a fifth, JSON of structures to a tenth."""
FREE_BYTES = 2**26
"""Bytes that are unpacked whatever the ratio."""
MAX_UNPACKED_BYTES = 2**38
"""Bytes that are unpacked from one file, all its members together."""
MAX_TEXT_BYTES = 2**28
"""Bytes of a text that is read as a whole: a CIF, a POSCAR, one entry of a JSON file."""

_OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class Budget:
    """Counts the bytes unpacked from a file.

    Parameters
    ----------
    label : str
        The file, as errors name it.
    packed : callable
        The packed bytes that were read so far, or that there are.
    """

    def __init__(self, label: str, packed: Callable[[], int]):
        self.label = label
        self.packed = packed
        self.unpacked = 0

    def take(self, number: int) -> None:
        """Count bytes; raise a LimitError if they are too many."""
        self.unpacked += number
        if self.unpacked <= FREE_BYTES:
            return
        if self.unpacked > MAX_UNPACKED_BYTES:
            raise LimitError(self.label, "more", f"at most {MAX_UNPACKED_BYTES:,} bytes are unpacked from one file")
        if self.unpacked > MAX_RATIO * (packed := self.packed()):
            raise LimitError(
                self.label,
                f"{self.unpacked:,} bytes unpacked from {packed:,}",
                f"after {FREE_BYTES:,} bytes, a file may unpack to at most {MAX_RATIO} times its size",
            )


class _Counted(io.RawIOBase):
    """A stream whose bytes are counted; it also closes what lies beneath."""

    def __init__(self, stream: IO[bytes], count: Callable[[int], None], beneath: IO[bytes] | None = None):
        self.stream, self.count, self.beneath = stream, count, beneath

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        self.count(len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.stream.close()
            if self.beneath is not None:
                self.beneath.close()
        super().close()


def counted_stream(stream: IO[bytes], budget: Budget) -> IO[bytes]:
    """A stream that stops with a LimitError when its budget is used up."""
    return io.BufferedReader(_Counted(stream, budget.take), 2**16)


def unpacked_stream(packed: IO[bytes], name: str, label: str) -> IO[bytes]:
    """What a compressed stream holds, within the limits; ``name`` says how it is compressed."""
    read: list[int] = [0]

    def count(number: int) -> None:
        read[0] += number

    beneath = io.BufferedReader(_Counted(packed, count), 2**16)
    stream = _OPEN[PurePath(name).suffix.lower()](beneath)
    return io.BufferedReader(_Counted(stream, Budget(label, lambda: read[0]).take, beneath), 2**16)


@dataclass(frozen=True)
class Content:
    """The bytes of a file on disk, of a compressed one, or of a member of an archive.

    Attributes
    ----------
    label : str
        As errors name it: the path, followed by that of the member.
    name : str
        Name without that of a compression: it tells what the bytes are.
    opener : callable
        Opens the bytes, unpacked, from their beginning.
    path : Path, optional
        Where these very bytes lie on disk.
    first : bytes, optional
        The first of them, if they can be opened only once.
    packed_path : Path, optional
        Where they lie on disk as a compressed file of their own.
    """

    label: str
    name: str
    opener: Callable[[], IO[bytes]]
    path: Path | None = None
    first: bytes | None = None
    packed_path: Path | None = None

    @classmethod
    def of(cls, path: Path) -> Content:
        """What a file holds that may be compressed."""
        return cls.packed(str(path), path.name, lambda: path.open("rb"), path)

    @classmethod
    def packed(
        cls,
        label: str,
        name: str,
        opener: Callable[[], IO[bytes]],
        path: Path | None = None,
        first: bytes | None = None,
    ) -> Content:
        """What a stream holds, if its name says that it is compressed, or the stream itself."""
        if not name.lower().endswith(COMPRESSIONS):
            return cls(label, name, opener, path, first)
        return cls(label, without_compression(name), lambda: unpacked_stream(opener(), name, label), packed_path=path)

    def open(self) -> IO[bytes]:
        """The bytes, from their beginning; to be closed by the caller."""
        return self.opener()

    def head(self, size: int) -> bytes:
        """The first bytes."""
        if self.first is not None:
            return self.first[:size]
        with self.open() as stream:
            return stream.read(size)

    def text(self) -> str:
        """The whole text.

        Raises
        ------
        EmptyFileError
            If it has none.
        LimitError
            If it is longer than :data:`MAX_TEXT_BYTES`.
        """
        with self.open() as stream:
            data = stream.read(MAX_TEXT_BYTES + 1)
        return decoded(data, self.label)

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path of the bytes: their own, or that of a copy that is removed afterwards."""
        if self.path is not None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="crystals-") as folder:
            copy = Path(folder, f"unpacked{PurePath(self.name).suffix.lower()}")  # no name from a stranger
            with self.open() as stream, copy.open("wb") as target:
                shutil.copyfileobj(stream, target, 2**20)
            yield copy


def gunzipped(data: bytes) -> bytes | None:
    """What gzip has packed in one piece, unpacked at once; None if it is anything else, or :data:`FREE_BYTES` or more.

    For a small file this takes a third of the time that a counted stream takes.
    """
    unpack = zlib.decompressobj(wbits=31)
    try:
        text = unpack.decompress(data, FREE_BYTES)
    except zlib.error:
        return None
    return text if unpack.eof and not unpack.unused_data else None


def decoded(data: bytes, label: str) -> str:
    """A text in UTF-8.

    Raises
    ------
    EmptyFileError, LimitError
    """
    if len(data) > MAX_TEXT_BYTES:
        raise LimitError(label, "a longer text", f"at most {MAX_TEXT_BYTES:,} bytes are read as one text")
    text = data.decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise EmptyFileError(label, "0 characters")
    return text
