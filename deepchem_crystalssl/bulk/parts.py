"""Dividing a source of crystals into parts that can be read independently, in any process and in any order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..crystals.formats.files import NamedFile, find_files, name_files
from ..crystals.formats.kinds import crystal_kind, is_url
from ..crystals.formats.tables import Rows, row_groups
from ..crystals.shards import MANIFEST, Shard, read_manifest
from ..crystals.store import RecordStore
from ..errors import CrystalInputError, StoreError, counted

LINES = "lines"
Line = dict[str, Any]
"""What the manifest says of one part; see :func:`~deepchem_crystalssl.bulk.units.run_unit`."""
SHARD_SIZE, FILES_OF_A_SHARD = 4096, 512
"""Crystals of a shard by default: rows of tables and stores, and files that hold one each."""
LARGEST_GROUP = 65_536
"""Groups of at most so many rows of a Parquet file are divided further; rows far into a larger one are read slowly."""


@dataclass(frozen=True)
class Part:
    """A part of a source: files, or rows of files, that one worker reads.

    Attributes
    ----------
    number : int
        Its place in the source.
    files : tuple of NamedFile
    """

    number: int
    files: tuple[NamedFile, ...]

    @property
    def items(self) -> str:
        """Digest of what is read of its files, and under which names."""
        return _digest(f"{file.name} {file.rows}" for file in self.files)

    @property
    def state(self) -> str:
        """Digest of the sizes and times of its files, which says quickly whether they are unchanged."""
        return _digest(_state_of(file.path) for file in self.files)

    @property
    def checksum(self) -> str:
        """SHA-256 of all that is read of its files; a file that cannot be read counts as empty."""
        digest = hashlib.sha256()
        for file in self.files:
            try:
                for block in _bytes_of(file):
                    digest.update(block)
            except (OSError, CrystalInputError):
                pass  # reading it will say why
            digest.update(b"|")
        return digest.hexdigest()


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _state_of(path: Path) -> str:
    try:
        state = os.stat(path)
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"  # the last one cannot be set


def _bytes_of(file: NamedFile) -> Iterator[bytes]:
    """What is read of a file, in blocks: all of it, or the groups of a Parquet file that hold its rows."""
    spans = [(0, os.path.getsize(file.path))]
    if file.rows is not None and crystal_kind(file.path.name) == "table":
        spans = _spans_of_rows(file.path, file.rows)
    with open(file.path, "rb") as opened:
        for start, size in spans:
            opened.seek(start)
            while size > 0 and (block := opened.read(min(size, 1 << 20))):
                size -= len(block)
                yield block


def _spans_of_rows(path: Path, rows: Rows) -> list[tuple[int, int]]:
    """Place and length of the columns of the groups that hold some rows of a Parquet file."""
    import pyarrow.parquet

    metadata, spans = pyarrow.parquet.read_metadata(path), []
    for number, (first, stop) in enumerate(row_groups(path)):
        if first < rows[1] and stop > rows[0]:
            group = metadata.row_group(number)
            for column in map(group.column, range(group.num_columns)):
                start = min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
                spans.append((start, column.total_compressed_size))
    return spans


def is_divisible(source: Any) -> bool:
    """Whether a source can be divided without reading it: a store, a folder, a pattern, Parquet, or a list of paths."""
    if isinstance(source, RecordStore):
        return True
    if isinstance(source, list | tuple):
        return bool(source) and all(isinstance(entry, Path) or _is_plain_path(entry) for entry in source)
    if not _is_plain_path(source) and not isinstance(source, Path):
        return False
    path = Path(source)
    if path.is_file() and crystal_kind(path.name) == "table" and path.suffix == ".parquet":
        return all(stop - first <= LARGEST_GROUP for first, stop in row_groups(path))
    return not path.is_file()


def _is_plain_path(entry: Any) -> bool:
    is_text = isinstance(entry, str) and ("\n" in entry or entry.lstrip().startswith(("{", "[")))
    return isinstance(entry, str) and not is_text and not is_url(entry)


def divide(source: Any, size: int | None = None, known: Sequence[Part] = ()) -> list[Part]:
    """Divide a source into parts of about ``size`` crystals.

    Parameters
    ----------
    source
        One for which :func:`is_divisible` is true.
    size : int, optional
        Crystals of a part, by default ``SHARD_SIZE`` or ``FILES_OF_A_SHARD``. A file that holds several crystals and is
        no Parquet table is a part of its own.
    known : sequence of Part
        How the source was divided before. These parts stay as they are, and what is new in the source follows.

    Returns
    -------
    list of Part

    Raises
    ------
    StoreError
        If the source lacks files or rows that are known.
    NoCrystalsError
        If the source does not exist, or is a folder without crystal files.
    """
    before: dict[Path, int] = {}
    names = set()
    for file in (file for part in known for file in part.files):
        before[file.path] = max(before.get(file.path, 0), 0 if file.rows is None else file.rows[1])
        names.add(file.name)
    paths = _paths_of(source)
    _check_known(before, paths, source)
    fresh = [path for path in paths if path not in before]
    called = dict(zip(fresh, name_files(fresh, names), strict=True))
    files: list[NamedFile] = []
    for path in paths:
        groups = _groups_of(path)
        if groups is None:
            files += [] if path in before else [NamedFile(path, called[path])]
        else:
            name, first = called.get(path, path.stem), before.get(path, 0)
            files += [NamedFile(path, name, rows) for rows in _divided(groups, first, size or SHARD_SIZE)]
    return [*known, *(Part(len(known) + k, group) for k, group in enumerate(_grouped(files, size)))]


def _check_known(before: dict[Path, int], paths: Sequence[Path], source: Any) -> None:
    gone = [path for path in before if path not in set(paths)] if before else []
    if gone and len(gone) == len(before):
        raise StoreError(str(source), f"another source: it has none of {counted(len(gone), 'file')} that the work was "
                         f"begun with, such as {gone[0]}", "work goes on with the source it was begun with",
                         "Name that source, or write to another folder.")  # fmt: skip
    short = [path for path, rows in before.items() if rows and path not in gone and _rows_in(path) < rows]
    if gone or short:
        path = (gone or short)[0]
        value = "is not in the source any more" if gone else "has fewer rows than before"
        raise StoreError(str(path), value, "work goes on with the source it was begun with",
                         "Bring the file back, or write to another folder.")  # fmt: skip


def _paths_of(source: Any) -> list[Path]:
    """All files of a source."""
    if isinstance(source, RecordStore) or (not isinstance(source, list | tuple) and Path(source, MANIFEST).is_file()):
        folder = Path(source.path if isinstance(source, RecordStore) else source).absolute()
        return [folder / shard["file"] for shard in read_manifest(folder)["shards"]]
    listed = source if isinstance(source, list | tuple) else [source]
    return list(dict.fromkeys(path.absolute() for entry in listed for path in find_files(entry)))


def _groups_of(path: Path) -> list[Rows] | None:
    """The rows of a shard of a store, or of each group of a Parquet file; None for a file that is read as a whole."""
    if crystal_kind(path.name) == "shard":
        return [(0, len(Shard.open(path)))]
    if crystal_kind(path.name) != "table" or path.suffix != ".parquet":
        return None
    try:
        return row_groups(path)
    except Exception:  # a broken file is one item, and reading it says why
        return None


def _rows_in(path: Path) -> int:
    groups = _groups_of(path)
    return groups[-1][1] if groups else 0


def _divided(groups: Sequence[Rows], first: int, size: int) -> Iterator[Rows]:
    """The rows from the first that is not known, in pieces of the size; large groups stay whole."""
    for start, stop in groups:
        start = max(start, first)
        step = size if stop - start <= LARGEST_GROUP else stop - start
        yield from ((row, min(row + step, stop)) for row in range(start, stop, step))


def _grouped(files: Sequence[NamedFile], size: int | None) -> Iterator[tuple[NamedFile, ...]]:
    """Files of one crystal together, files or rows of many crystals as far as they fit."""
    group: list[NamedFile] = []
    filled = 0.0
    for file in files:
        single = file.rows is None and crystal_kind(file.path.name) in ("cif", "poscar", "vasprun")
        if single:
            share = 1 / (size or FILES_OF_A_SHARD)
        else:
            share = 1.0 if file.rows is None else (file.rows[1] - file.rows[0]) / (size or SHARD_SIZE)
        if group and filled + share > 1 + 1e-9:
            yield tuple(group)
            group, filled = [], 0.0
        group.append(file)
        filled += share
    if group:
        yield tuple(group)
