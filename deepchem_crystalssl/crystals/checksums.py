"""Checksums of files: what was written is what is read, or an error names the file.

A manifest keeps, for each file of its folder, the size and one CRC-32 of every block of 64 KiB. A file that is read
whole is verified whole; of a large file that is mapped into memory only the blocks that are read are verified, each
once. A manifest carries a checksum of its own content. Folders of earlier versions have no checksums; they are read
without, after the checks that their formats allow. A checksum tells damage, not intent: it is no signature.
"""

from __future__ import annotations

import errno
import io
import json
import math
import mmap
import os
import socket
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa

from ..errors import CrystalInputError
from ..processors import thread_count

BLOCK = 65_536
"""Bytes that have one checksum."""
_OF_A_THREAD = 256  # blocks, which take 4 ms
SEAL = "checksum"
"""Name of the checksum of a manifest within it."""
WHOLE = "a file must hold what was written into it"
REMEDY = "Copy it again from where it is whole, or write it again; `crystalssl verify` lists all damage in a folder."


class FileRecord(TypedDict):
    """What a manifest keeps of a file: its size, and the CRC-32 of each of its blocks as 8 hexadecimal digits."""

    bytes: int
    crc32: str


def is_file(path: str | Path, kind: type[CrystalInputError]) -> bool:
    """Whether there is a regular file of this name.

    Raises
    ------
    CrystalInputError
        Of the kind given, if the system does not say, for want of a right to look into its folder.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except ValueError:  # no name of a file
        return False
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE):
            return False
        rule, remedy = "a folder must be one that can be read", "Ask for the right to read it, or name another folder."
        raise kind(str(path), f"cannot be read ({error.strerror})", rule, remedy) from error


def read_regular(path: str | Path) -> bytes:
    """The content of a regular file; from a pipe or a device, which may have no end, nothing is read.

    Raises
    ------
    OSError
        Also if it is no regular file.
    """
    check_regular(path)
    return Path(path).read_bytes()


def check_regular(path: str | Path) -> None:
    """Raise an OSError unless a path is that of a regular file, whose reading ends."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))


def record_file(path: str | Path) -> FileRecord:
    """Size and checksums of a file, for a manifest.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "text")
    >>> path.write_text("a crystal")
    9
    >>> record_file(path)
    {'bytes': 9, 'crc32': '4e812378'}
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return {"bytes": 0, "crc32": ""}
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return {"bytes": size, "crc32": "".join(f"{one:08x}" for one in _crc32_of(view, range(_blocks(size))))}


def record_files(folder: str | Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Size and checksums of some files of a folder, by their names within it."""
    return {name: record_file(Path(folder, name)) for name in names}


def _blocks(size: int) -> int:
    return -(-size // BLOCK)


def _crc32_of(view: memoryview, blocks: Sequence[int]) -> list[int]:
    def sums(part: Sequence[int]) -> list[int]:
        return [zlib.crc32(view[block * BLOCK : (block + 1) * BLOCK]) for block in part]

    parts = [blocks[start : start + _OF_A_THREAD] for start in range(0, len(blocks), _OF_A_THREAD)]
    if len(parts) <= 1:
        return sums(blocks)
    with ThreadPoolExecutor(min(thread_count(), len(parts))) as threads:  # zlib lets other threads run meanwhile
        return [one for found in threads.map(sums, parts) for one in found]


class RecordedFile:
    """A file and what the manifest of its folder says of it.

    What is verified is what is used: the file is mapped into memory once, when it is first needed, and stays what it
    was if another one takes its place.

    Parameters
    ----------
    path : str or Path
    record : dict, optional
        As :func:`record_file` gives it; without one, of a folder of an earlier version, nothing can be verified.
    kind : type of CrystalInputError
        Of the errors.
    remedy : str
        How such a file is written again.

    Raises
    ------
    CrystalInputError
        Of this kind, if the file is missing or of another size than the record says.
    """

    def __init__(
        self, path: str | Path, record: FileRecord | None, kind: type[CrystalInputError], remedy: str = REMEDY
    ):
        self.path, self._kind, self._remedy = Path(path), kind, remedy
        try:
            self.size = self.path.stat().st_size
            is_file = self.path.is_file()
        except OSError as error:
            raise self._error(f"missing or not readable ({error.strerror})") from error
        if not is_file:
            raise self._error("no file")
        self._sums: np.ndarray | None = None
        if record is not None:
            size, self._sums = _parsed(record)
            if self._sums is None:
                raise self._error("the manifest has no valid checksums of it")
            if size != self.size:
                raise self._error(f"{self.size:,} bytes, and {size:,} were written")
            self._is_verified = np.zeros(len(self._sums), bool)

    @property
    def is_recorded(self) -> bool:
        """Whether there are checksums."""
        return self._sums is not None

    @cached_property
    def content(self) -> mmap.mmap | bytes:
        """The content of the file, mapped into memory; nothing of it is verified by this."""
        try:
            with open(self.path, "rb") as file:
                found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""
        except (OSError, ValueError) as error:
            raise self._error(f"cannot be read ({error})") from error
        if len(found) != self.size:
            raise self._error("another file has taken its place")
        return found

    def verify(self, start: int = 0, stop: int | None = None) -> None:
        """Compare the blocks that hold some bytes, by default all, with their checksums, unless that is done already.

        Raises
        ------
        CrystalInputError
            If a block is not what was written.
        """
        if self._sums is not None:
            first, end = start // BLOCK, _blocks(self.size if stop is None else min(stop, self.size))
            self._verify_blocks(first + np.flatnonzero(~self._is_verified[first:end]))

    def verify_ranges(self, starts: np.ndarray, stops: np.ndarray) -> None:
        """Compare the blocks that hold some ranges of bytes, such as rows of an array, with their checksums."""
        if self._sums is None or not len(starts):
            return
        first = np.asarray(starts, np.int64) // BLOCK
        number = np.maximum(0, -(-np.asarray(stops, np.int64) // BLOCK) - first)
        blocks = np.repeat(first, number) + np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
        blocks = np.unique(blocks[blocks < len(self._sums)])
        self._verify_blocks(blocks[~self._is_verified[blocks]])

    def _verify_blocks(self, blocks: np.ndarray) -> None:
        assert self._sums is not None
        if not len(blocks):
            return
        with memoryview(self.content) as view:
            found = np.array(_crc32_of(view, blocks.tolist()), np.uint32)
        wrong = blocks[found != self._sums[blocks]]
        if len(wrong):
            start = int(wrong[0]) * BLOCK
            raise self._error(f"damaged between the bytes {start:,} and {min(start + BLOCK, self.size):,}")
        self._is_verified[blocks] = True

    def read_bytes(self) -> bytes:
        """The whole content, verified."""
        self.verify()
        return bytes(self.content)

    def map_array(self) -> StoredArray:
        """The array of an ``.npy`` file, which is verified as a whole when it is first used.

        Raises
        ------
        CrystalInputError
            If the file has another form.
        """
        return StoredArray(self, _header_of(self))

    def map_table(self) -> pa.Table:
        """The table of an Arrow file, verified and mapped into memory; without checksums, checked by Arrow."""
        self.verify()
        try:
            table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self.content))).read_all()
            if self._sums is None:
                table.validate(full=True)  # offsets that point outside would end the process
        except (OSError, pa.ArrowException, ValueError) as error:
            raise self._error(f"no Arrow table ({str(error)[:80]})") from error
        return table

    def _error(self, value: str) -> CrystalInputError:
        return self._kind(str(self.path), value, WHOLE, self._remedy)


class StoredArray:
    """An array in a file, mapped into memory; ``numpy.asarray`` gives it, verified when it is first asked for.

    Parameters
    ----------
    file : RecordedFile
    header : tuple
        Shape, type of the numbers, place of the first one, and whether they are in Fortran's order.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    """

    def __init__(self, file: RecordedFile, header: tuple[tuple[int, ...], np.dtype, int, bool]):
        self._file = file
        self.shape, self.dtype, offset, is_fortran = header
        numbers = np.frombuffer(file.content, self.dtype, offset=offset)
        self._array = numbers.reshape(self.shape, order="F" if is_fortran else "C")

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._file.verify()
        return self._array if dtype is None else self._array.astype(dtype, copy=False)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, of which only the blocks that hold them are verified."""
        if not self._array.flags.c_contiguous:
            return np.asarray(self)[rows]
        width = self._array.strides[0]
        starts = np.asarray(rows, np.int64) * width + self._file.size - self._array.nbytes
        self._file.verify_ranges(starts, starts + width)
        return self._array[rows]


def _header_of(file: RecordedFile) -> tuple[tuple[int, ...], np.dtype, int, bool]:
    """Shape, type and first byte of the array in an ``.npy`` file, checked against the size of the file."""
    file.verify(0, BLOCK)
    start = io.BytesIO(file.content[:BLOCK])
    try:
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, is_fortran, dtype = read[np.lib.format.read_magic(start)[0]](start)
        offset, size = start.tell(), math.prod(shape) * dtype.itemsize
    except Exception as error:  # the parser of headers raises much
        raise file._error(f"no array ({str(error)[:80]})") from error
    if dtype.hasobject or not shape or min(shape) < 0 or offset + size != file.size:
        raise file._error(f"an array {shape} of {dtype} in {file.size:,} bytes")
    return shape, dtype, offset, is_fortran


def read_archive(path: str | Path, kind: type[CrystalInputError], remedy: str = REMEDY) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file. It has a checksum of each array, of which NumPy does not read to the end.

    Raises
    ------
    CrystalInputError
        Of the kind given, if it is no such file, or damaged.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            content = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
        return {name: np.load(io.BytesIO(array), allow_pickle=False) for name, array in content.items()}
    except Exception as error:  # the readers of archives raise much
        raise kind(str(path), f"no archive that can be read ({str(error)[:80]})", WHOLE, remedy) from error


def _parsed(record: Any) -> tuple[int, np.ndarray | None]:
    """Size and checksums of a record; no checksums if it is none."""
    try:
        size, digits = record["bytes"], record["crc32"]
        sums = np.frombuffer(bytes.fromhex(digits), ">u4").astype(np.uint32)
    except (KeyError, TypeError, ValueError):
        return 0, None
    is_valid = isinstance(size, int) and size >= 0 and len(sums) == _blocks(size)
    return size, sums if is_valid else None


def path_within(folder: str | Path, name: Any, kind: type[CrystalInputError]) -> Path:
    """The file that a manifest names, which must be in the folder of the manifest.

    Raises
    ------
    CrystalInputError
        Of the kind given, if the name is that of a file elsewhere.

    Examples
    --------
    >>> from deepchem_crystalssl.errors import StoreError
    >>> path_within("store", "shard-00000.arrow", StoreError).as_posix()
    'store/shard-00000.arrow'
    """
    text = name if isinstance(name, str) else ""
    parts = PurePosixPath(text.replace("\\", "/")).parts
    if not parts or "\0" in text or ".." in parts or parts[0] == "/" or parts[0].endswith(":"):
        raise kind(str(folder), f"its manifest names the file {name!r}", "a manifest names files of its own folder",
                   "Do not use a folder that you do not trust; write it again.")  # fmt: skip
    return Path(folder, text)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a manifest with its checksum.

    Examples
    --------
    >>> sealed({"format": 1})
    {'format': 1, 'checksum': 'e234bd89'}
    """
    rest = {name: value for name, value in content.items() if name != SEAL}
    return {**rest, SEAL: f"{zlib.crc32(json.dumps(rest, sort_keys=True).encode()):08x}"}


def read_sealed(path: str | Path, kind: type[CrystalInputError], remedy: str = REMEDY) -> dict[str, Any]:
    """The content of a manifest in JSON, without its checksum, which is verified if it has one.

    Raises
    ------
    CrystalInputError
        Of the kind given, if the file is missing, no JSON object, or not what was written.
    """
    try:
        content = json.loads(read_regular(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)[:120]
        raise kind(str(path), f"missing or cannot be read ({text})", WHOLE, remedy) from error
    if not isinstance(content, dict):
        raise kind(str(path), "no table of names and values", WHOLE, remedy)
    if SEAL in content and sealed(content)[SEAL] != content[SEAL]:
        edited = f"{remedy} If you have changed it yourself, remove its entry {SEAL!r}."
        raise kind(str(path), "damaged: its content is not what was written", WHOLE, edited)
    return {name: value for name, value in content.items() if name != SEAL}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A new file beside another one, which it replaces when the block ends without an error: whole or not at all.

    It is made anew with the permissions that the umask leaves, so that a link that someone has put there is not
    followed; several processes may write at once.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "numbers.txt")
    >>> with replacing(path) as part:
    ...     part.write_text("1 2 3")
    5
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('1 2 3', 1)
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def is_unfinished(path: Path) -> bool:
    """Whether a file is one that :func:`replacing` has begun and a process that was killed has left."""
    return path.name.startswith(".") and path.name.endswith(".part")


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed has left in a folder, in which no other one is at work."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def write_sealed(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a manifest in JSON with its checksum, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(sealed(content), indent=1), encoding="utf-8")
