"""Rows of Parquet files, within the limits on what a file may unpack to.

A text of a dictionary is stored once, however many cells hold it: a file of 50 kB can have 100,000 cells of 1 MB. Such
columns are read as they are stored, their cells are measured, and only what the limits allow is written out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..limits import ReadingLimits
from .contents import Budget


def iterate_rows(
    path: Path,
    label: str,
    limits: ReadingLimits,
    rows: int,
    groups: Sequence[int] | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, in pieces of at most so many, each of which fits into memory.

    Parameters
    ----------
    path : Path
    label : str
        As errors name it.
    limits : ReadingLimits
        Whose ``unpacked_bytes``, ``ratio`` and ``free_bytes`` hold for all cells together, ``text_bytes`` for a piece
        of several rows.
    rows : int
    groups, columns : optional
        Numbers of the groups of rows and names of the columns that are read; by default all.

    Raises
    ------
    LimitError
    """
    size = os.path.getsize(path)
    budget = Budget(label, lambda: size, limits)
    with pq.ParquetFile(path) as table:
        stored = _stored_bytes(table.metadata)
        budget.take(stored)
        rows = max(1, min(rows, limits.text_bytes * table.metadata.num_rows // max(1, stored)))
        types, repeated = table.schema_arrow, _repeated(path, table.metadata, limits)
    with pq.ParquetFile(path, read_dictionary=repeated, page_checksum_verification=True) as table:
        if not repeated:
            yield from table.iter_batches(rows, row_groups=groups, columns=columns)
            return
        for batch in table.iter_batches(rows, row_groups=groups, columns=columns):
            places = [k for k, column in enumerate(batch.columns) if next(_dictionaries(column), None) is not None]
            of_rows = sum((row_bytes(batch.column(k)) for k in places), np.zeros(len(batch), np.int64))
            budget.take(int(of_rows.sum()))
            for start, stop in _pieces(of_rows, limits.text_bytes):
                piece = batch.slice(start, stop - start)
                for k in places:
                    field = types.field(batch.schema[k].name)
                    piece = piece.set_column(k, field, piece.column(k).cast(field.type))
                yield piece


def _stored_bytes(metadata: pq.FileMetaData) -> int:
    """Bytes of all columns after they are unpacked, each text of a dictionary once."""
    return sum(metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups))


def _repeated(path: Path, metadata: pq.FileMetaData, limits: ReadingLimits) -> list[str]:
    """The columns of texts of a dictionary whose cells may take more memory than a file may unpack to."""
    possible = []
    for k in range(metadata.num_row_groups):
        for column in map(metadata.row_group(k).column, range(metadata.num_columns)):
            is_text = column.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in name for name in column.encodings)
            if is_text and column.num_values * column.total_uncompressed_size > limits.free_bytes:
                possible.append((k, column.path_in_schema, column.num_values))
    with pq.ParquetFile(path, read_dictionary=sorted({name for _, name, _ in possible})) as table:
        return sorted({n for k, n, cells in possible if cells * _longest(table, k, n) > limits.free_bytes})


def _longest(table: pq.ParquetFile, group: int, name: str) -> int:
    """Bytes of the longest text in the dictionary of a column of a group of rows."""
    for batch in table.iter_batches(1, row_groups=[group], columns=[name]):
        return max((int(row_bytes(entries).max(initial=0)) for entries in _dictionaries(batch.column(0))), default=0)
    return 0


def _dictionaries(array: pa.Array) -> Iterator[pa.Array]:
    """The dictionaries in an array, which may lie within lists and structures."""
    if pa.types.is_dictionary(array.type):
        yield array.dictionary
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from _dictionaries(array.values)
    elif pa.types.is_struct(array.type):
        for part in array.flatten():
            yield from _dictionaries(part)


def row_bytes(array: pa.Array) -> np.ndarray:
    """Bytes of each row of an array, (n,), after texts of a dictionary are written out.

    Examples
    --------
    >>> row_bytes(pa.array(["iron", "iron", None]).dictionary_encode()).tolist()
    [4, 4, 0]
    >>> row_bytes(pa.array([[1.0, 2.0], []])).tolist()
    [16, 0]
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        of_entries = np.append(row_bytes(array.dictionary), 0)
        return of_entries[pc.fill_null(array.indices, len(of_entries) - 1).to_numpy(zero_copy_only=False)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        ends = np.concatenate([[0], np.cumsum(row_bytes(array.values))])
        places = array.offsets.to_numpy()
        return ends[places[1:]] - ends[places[:-1]]
    if pa.types.is_struct(kind):
        return sum((row_bytes(part) for part in array.flatten()), np.zeros(len(array), np.int64))
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind):
        return pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.full(len(array), array.nbytes // max(1, len(array)), np.int64)


def _pieces(of_rows: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """First row and end of pieces that have at most so many bytes, or one row."""
    ends, start = np.cumsum(of_rows), 0
    while start < len(of_rows):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield start, stop
        start = stop
