"""The rows of a sharded index on disk: crystals, vectors and facts, mapped into memory and read where needed."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..bulk.output import ShardedOutput
from ..crystals.checksums import FileRecord, RecordedFile, replacing
from ..crystals.elements import symbols
from ..crystals.records import Crystal
from ..crystals.shards import SCHEMA, Shard
from ..errors import IndexFolderError
from .filters import ALIASES, Filter, allowed_by, ends_of, known_elements
from .formulas import system_of
from .mapped_tables import REMEDY, MappedTable

_NOT_SHOWN = {"similarity", "pattern", "elements", *SCHEMA.names} - {"material_id"}
_KEY = np.dtype([("key", np.uint64), ("row", np.int64)])


class StoredRows:
    """The rows of some shards, in order.

    Parameters
    ----------
    outputs : sequence of ShardedOutput
        Of the step :class:`~deepchem_crystalssl.search.index_rows.IndexRows`.

    Raises
    ------
    IndexFolderError
        If a shard cannot be read.
    """

    def __init__(self, outputs: Sequence[ShardedOutput]):
        self.files = [path for output in outputs for path in output.files]
        self._records = [_record_of(line) for output in outputs for line in output.lines]
        counts = [line["rows"] for output in outputs for line in output.lines]
        self.first = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.first[-1])

    def __getitem__(self, row: int) -> Crystal:
        part, place = self._place(row)
        return self._shard(part).record(place)

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return self._table(0).table.column_names

    def vectors(self, rows: Sequence[int] | np.ndarray, column: str) -> np.ndarray:
        """Vectors of some rows, float32 (len(rows), F); zeros where a crystal has none."""
        rows = np.asarray(rows, np.int64)
        parts = np.searchsorted(self.first, rows, side="right") - 1
        found = np.empty((len(rows), self.width(column)), np.float32)
        for part in np.unique(parts):
            chosen = parts == part
            places = rows[chosen] - self.first[part]
            found[chosen] = self._matrix(int(part), column, places)[places]
        return found

    def width(self, column: str) -> int:
        """Length of the vectors of a column."""
        return self._table(0).table.schema.field(column).type.list_size

    def blocks(self, column: str, first: int = 0, stop: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows from one to before another and their vectors, shard by shard, without those that have none."""
        stop = len(self) if stop is None else stop
        for part in range(len(self.files)):
            start, end = max(first, int(self.first[part])), min(stop, int(self.first[part + 1]))
            if start < end:
                rows = np.arange(start, end)
                places = slice(start - int(self.first[part]), end - int(self.first[part]))
                vectors = self._matrix(part, column, places)[places].astype(np.float32)
                there = vectors.any(axis=1)
                yield rows[there], vectors[there]

    def known(self, rows: Sequence[int] | np.ndarray, more: StoredColumns | None = None) -> list[dict[str, Any]]:
        """What is known of some crystals, apart from their vectors and sites."""
        found = []
        for row in rows:
            part, place = self._place(int(row))
            table = self._table(part).columns([name for name in self.columns if name not in _NOT_SHOWN])
            known = {name: table.column(name)[place].as_py() for name in table.column_names}
            found.append(known | (more.known(int(row)) if more is not None else {}))
        return found

    def ids(self) -> Iterator[tuple[int, list[str]]]:
        """First row and ids of each shard."""
        for part, first in enumerate(self.first[:-1].tolist()):
            yield first, self._table(part).columns(["material_id"]).column(0).to_pylist()

    def formulas(self) -> Iterator[tuple[int, list[str]]]:
        """First row and formulas of each shard."""
        for part, first in enumerate(self.first[:-1].tolist()):
            yield first, self._table(part).columns(["formula"]).column(0).to_pylist()

    def mask(self, filter: Filter, more: StoredColumns | None = None) -> np.ndarray:
        """Which rows fulfil the conditions, bool (n,).

        Raises
        ------
        QueryError
            If there is no such column or element.
        """
        rest = replace(filter, elements=(), without=(), only=None, n_elements=None)
        wanted = {ALIASES.get(name, name) for name in filter.where}
        wanted |= {"num_sites"} if filter.n_sites is not None else set()
        wanted |= {"space_group"} if filter.space_group is not None else set()
        allowed = np.ones(len(self), bool)
        for part, first in enumerate(self.first[:-1].tolist()):
            stop = int(self.first[part + 1])
            passes = _by_elements(filter, self._matrix(part, "elements"))
            if wanted:
                table = self._table(part).columns([name for name in self.columns if name in wanted])
                frame = table.to_pandas()
                if more is not None:
                    frame = frame.join(more.frame(first, stop, wanted).set_index(frame.index))
                passes &= allowed_by(rest, frame)
            allowed[first:stop] = passes
        return allowed

    def _place(self, row: int) -> tuple[int, int]:
        if not 0 <= row < len(self):
            raise IndexError(row)
        part = int(np.searchsorted(self.first, row, side="right")) - 1
        return part, int(row - self.first[part])

    @lru_cache(maxsize=4096)
    def _table(self, part: int) -> MappedTable:
        table = MappedTable(RecordedFile(self.files[part], self._records[part], IndexFolderError, REMEDY))
        if len(table) != self.first[part + 1] - self.first[part]:
            raise IndexFolderError(str(self.files[part]), f"{len(table)} rows, the manifest says otherwise")
        return table

    def _matrix(self, part: int, column: str, rows: np.ndarray | slice | None = None) -> np.ndarray:
        """A column of vectors, of which the rows that will be read are verified."""
        values = self._table(part).columns([column], rows).column(0)
        if not values.num_chunks:
            return np.empty((0, values.type.list_size), np.float16)
        return values.chunk(0).values.to_numpy(zero_copy_only=True).reshape(-1, values.type.list_size)

    @lru_cache(maxsize=64)
    def _shard(self, part: int) -> Shard:
        table = self._table(part).columns(SCHEMA.names)
        lattice, numbers, coordinates = (
            table.column(name).chunk(0) for name in ("lattice", "atomic_numbers", "frac_coords")
        )
        return Shard(
            lattice.flatten().to_numpy(zero_copy_only=False).reshape(-1, 3, 3),
            numbers.offsets.to_numpy(),
            numbers.values.to_numpy(),
            coordinates.values.to_numpy().reshape(-1, 3),
            table,
        )


def _record_of(line: Mapping[str, Any]) -> FileRecord | None:
    """Size and checksums in the line of a shard; earlier versions have only a digest, which takes reading it whole."""
    return {"bytes": line["bytes"], "crc32": line["crc32"]} if "crc32" in line else None


def _by_elements(filter: Filter, elements: np.ndarray) -> np.ndarray:
    """Which crystals fulfil the conditions on elements; ``elements`` are bits, uint64 (n, 2)."""
    passes = np.ones(len(elements), bool)
    if len(filter.elements):
        needed = _bits(filter.elements)
        passes &= ((elements & needed) == needed).all(axis=1)
    if len(filter.without):
        passes &= ((elements & _bits(filter.without)) == 0).all(axis=1)
    if filter.only is not None:
        passes &= ((elements & ~_bits(filter.only)) == 0).all(axis=1)
    if filter.n_elements is not None:
        low, high = ends_of("n_elements", filter.n_elements)
        number = np.bitwise_count(elements).sum(axis=1) if hasattr(np, "bitwise_count") else _count(elements)
        passes &= (number >= low) & (number <= high)
    return passes


def bits_of(atomic_numbers: Sequence[int]) -> np.ndarray:
    """Elements as bits of two numbers, uint64 (2,): Z = 1-63 in the first, the others in the second.

    Examples
    --------
    >>> bits_of([1, 64]).tolist()
    [2, 1]
    """
    words = [0, 0]
    for z in atomic_numbers:
        words[z // 64] |= 1 << (z % 64)
    return np.array(words, np.uint64)


def _bits(elements: Sequence[str]) -> np.ndarray:
    return bits_of(sorted(symbols().index(symbol) for symbol in known_elements(elements)))


def _count(elements: np.ndarray) -> np.ndarray:
    """Number of bits that are set in each row; NumPy before version 2 cannot count them."""
    return np.unpackbits(np.ascontiguousarray(elements).view(np.uint8), axis=1).sum(axis=1)


class Lookup:
    """Rows by a text, on disk: sorted digests that are searched by bisection.

    Parameters
    ----------
    path : Path
    record : FileRecord, optional
        Size and checksums of the file.

    Raises
    ------
    IndexFolderError
        If it cannot be read; later, if what is read of it is not what was written.
    """

    def __init__(self, path: Path, record: FileRecord | None = None):
        self._entries = RecordedFile(path, record, IndexFolderError, REMEDY).map_array()
        if self._entries.dtype != _KEY or self._entries.ndim != 1:
            raise IndexFolderError(str(path), f"numbers of the type {self._entries.dtype}", remedy=REMEDY)

    def rows(self, text: str) -> list[int]:
        """Rows whose text has the same digest, in order."""
        key = int(_digest(text))
        places = range(len(self._entries))
        first, stop = (bisect_left(places, value, key=self._key) for value in (key, key + 1))
        return sorted(self._entries.take(np.arange(first, stop))["row"].tolist())

    def _key(self, place: int) -> int:
        return int(self._entries.take(np.array([place]))["key"][0])

    @staticmethod
    def write(path: Path, texts: Iterator[tuple[int, list[str]]]) -> None:
        """Write a lookup of the texts of all rows; an empty text is not looked up."""
        parts = []
        for first, given in texts:
            parts.append(np.array([(_digest(text), first + k) for k, text in enumerate(given) if text], _KEY))
        keys = np.sort(np.concatenate(parts) if parts else np.empty(0, _KEY), order=("key", "row"))
        with replacing(path) as part, open(part, "wb") as file:
            np.save(file, keys)


def _digest(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def compound_key(amounts: dict[str, float] | None) -> str:
    """A text that is the same for formulas of one compound, empty if there is no composition.

    Examples
    --------
    >>> compound_key({"Ti": 2, "O": 4})
    'O-Ti 0.667 0.333'
    """
    if not amounts:
        return ""
    total = sum(amounts.values())
    return system_of(amounts) + " " + " ".join(f"{amounts[symbol] / total:.3f}" for symbol in sorted(amounts))


class StoredColumns:
    """Columns that the user gave, by row, in an Arrow file beside the index.

    Parameters
    ----------
    path : Path
    record : FileRecord, optional
        Size and checksums of the file.

    Raises
    ------
    IndexFolderError
        If it cannot be read; later, if what is read of it is not what was written.
    """

    def __init__(self, path: Path, record: FileRecord | None = None):
        self._table = MappedTable(RecordedFile(path, record, IndexFolderError, REMEDY))

    def __len__(self) -> int:
        return len(self._table)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._table.table.column_names

    def frame(self, first: int, stop: int, columns: set[str]) -> pd.DataFrame:
        """The rows from the first up to before the second."""
        chosen = [name for name in self.columns if name in columns]
        return self._table.columns(chosen, slice(first, stop)).slice(first, stop - first).to_pandas()

    def known(self, row: int) -> dict[str, Any]:
        """What is known of one row."""
        table = self._table.columns(self.columns, [row])
        return {name: table.column(name)[row].as_py() for name in self.columns}
