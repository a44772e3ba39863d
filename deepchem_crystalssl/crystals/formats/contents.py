"""What a file holds, unpacked while it is read, and never more than the limits allow.

A small file can be made that unpacks to petabytes. Everything compressed is therefore read through a
:class:`Budget`, which counts the bytes unpacked and compares them with the packed ones.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any

from .encodings import TextStream, decode_text
from ...errors import LimitError
from .kinds import COMPRESSIONS, without_compression
from ..limits import LIMITS, ReadingLimits, exceeded

_OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class Budget:
    """Counts the bytes unpacked from a file.

    Parameters
    ----------
    label : str
        The file, as errors name it.
    packed : callable
        The packed bytes that were read so far, or that there are.
    limits : ReadingLimits
    """

    def __init__(self, label: str, packed: Callable[[], int], limits: ReadingLimits = LIMITS):
        self.label = label
        self.packed = packed
        self.limits = limits
        self.unpacked = 0

    def take(self, number: int) -> None:
        """Count bytes; raise a LimitError if they are too many."""
        self.unpacked += number
        limits = self.limits
        if self.unpacked <= limits.free_bytes:
            return
        if self.unpacked > limits.unpacked_bytes:
            raise exceeded(limits, "unpacked_bytes", "more", self.label, "bytes unpacked from one file")
        if self.unpacked > limits.ratio * (packed := self.packed()):
            raise LimitError(
                self.label,
                f"{self.unpacked:,} bytes unpacked from {packed:,}",
                f"after {limits.free_bytes:,} bytes, a file may unpack to at most {limits.ratio} times its size",
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


def unpacked_stream(packed: IO[bytes], name: str, label: str, limits: ReadingLimits = LIMITS) -> IO[bytes]:
    """What a compressed stream holds, within the limits; ``name`` says how it is compressed."""
    read: list[int] = [0]

    def count(number: int) -> None:
        read[0] += number

    beneath = io.BufferedReader(_Counted(packed, count), 2**16)
    stream = _OPEN[PurePath(name).suffix.lower()](beneath)
    return io.BufferedReader(_Counted(stream, Budget(label, lambda: read[0], limits).take, beneath), 2**16)


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
    limits : ReadingLimits
        Within which they are read.
    """

    label: str
    name: str
    opener: Callable[[], IO[bytes]]
    path: Path | None = None
    first: bytes | None = None
    packed_path: Path | None = None
    limits: ReadingLimits = LIMITS

    @classmethod
    def of(cls, path: Path, limits: ReadingLimits = LIMITS) -> Content:
        """What a file holds that may be compressed."""
        return cls.packed(str(path), path.name, lambda: path.open("rb"), path, limits=limits)

    @classmethod
    def packed(
        cls,
        label: str,
        name: str,
        opener: Callable[[], IO[bytes]],
        path: Path | None = None,
        first: bytes | None = None,
        limits: ReadingLimits = LIMITS,
    ) -> Content:
        """What a stream holds, if its name says that it is compressed, or the stream itself."""
        if not name.lower().endswith(COMPRESSIONS):
            return cls(label, name, opener, path, first, limits=limits)

        def unpacked() -> IO[bytes]:
            return unpacked_stream(opener(), name, label, limits)

        return cls(label, without_compression(name), unpacked, packed_path=path, limits=limits)

    def open(self) -> IO[bytes]:
        """The bytes, from their beginning; to be closed by the caller."""
        return self.opener()

    def head(self, size: int) -> bytes:
        """The first bytes."""
        if self.first is not None:
            return self.first[:size]
        with self.open() as stream:
            return stream.read(size)

    def open_text(self) -> IO[str]:
        """The characters, from their beginning, with line feeds as line ends; to be closed by the caller."""
        return TextStream(self.open())

    def text(self) -> str:
        """The whole text, with line feeds as line ends.

        Raises
        ------
        EmptyFileError
            If it has none.
        UnsupportedFileError
            If it is no text.
        LimitError
            If it is too long.
        """
        data = None
        if self.packed_path is not None and self.packed_path.suffix.lower() == ".gz":
            if self.packed_path.stat().st_size < self.limits.free_bytes:
                data = gunzipped(self.packed_path.read_bytes(), min(self.limits.free_bytes, self.limits.text_bytes))
        if data is None:
            if self.path is not None:
                self.limits.check("text_bytes", os.stat(self.path).st_size, self.label, "bytes of one text")
                return decode_text(self.path.read_bytes(), self.label)
            with self.open() as stream:
                data = stream.read(self.limits.text_bytes + 1)
        self.limits.check("text_bytes", len(data), self.label, "bytes of one text")
        return decode_text(data, self.label)

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path of the bytes: their own, or that of a copy that is removed afterwards."""
        if self.path is not None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="crystals-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder, f"unpacked{PurePath(self.name).suffix.lower()}")  # no name from a stranger
            with self.open() as stream, copy.open("wb") as target:
                shutil.copyfileobj(stream, target, 2**20)
            yield copy


def gunzipped(data: bytes, most: int) -> bytes | None:
    """What gzip has packed in one piece, unpacked at once; None if it is anything else, or has ``most`` bytes or more.

    For a small file this takes a third of the time that a counted stream takes.
    """
    unpack = zlib.decompressobj(wbits=31)
    try:
        text = unpack.decompress(data, most)
    except zlib.error:
        return None
    return text if unpack.eof and not unpack.unused_data else None
