"""Databases of ASE: SQLite files (``.db``) and fairchem's LMDB files (``.aselmdb``), row by row.

The five columns that describe a crystal are read, and no other: ASE's own reader would open the file for writing and
decode everything else in a row too.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from .ase_files import missing_library
from .database_entries import from_ase_row, own_id
from ...errors import CrystalInputError, UnsupportedFileError, typed_error
from ..limits import LIMITS, ReadingLimits, check_text, exceeded
from .lmdb_pages import RULE, check_pages
from .texts import Item

_SQLITE = "an ASE database (.db) is an SQLite file with a table `systems`"
_COLUMNS = "id, unique_id, numbers, positions, cell, pbc, key_value_pairs"


def is_ase_database(path: Path) -> bool:
    """Whether an SQLite file is an ASE database."""
    try:
        with closing(_connected(path, LIMITS)) as connection:
            return _has_systems(connection)
    except sqlite3.Error:
        return False


def read_sqlite(
    path: Path, label: str, name: str, id_column: str | None = None, limits: ReadingLimits = LIMITS
) -> Iterator[Item]:
    """The rows of an ASE database, in the order of their numbers.

    Yields
    ------
    Crystal or CrystalInputError
        Called by a key-value pair (``material_id``, ``id``, ...), or by the row's ``unique_id``.
    """
    try:
        with closing(_connected(path, limits)) as connection:
            if not _has_systems(connection):
                raise UnsupportedFileError(label, "no table `systems`", _SQLITE, "Export the structures.")
            for values in connection.execute(f"SELECT {_COLUMNS} FROM systems ORDER BY id"):
                called = f"{name} {values[0]}"
                try:
                    row = _row_of(values)
                    yield from_ase_row(row, own_id(row, id_column) or called)
                except CrystalInputError as error:
                    yield error
                except sqlite3.Error:
                    raise
                except Exception as error:
                    yield typed_error(error, f"{label} ({called})")
    except sqlite3.Error as error:
        raise UnsupportedFileError(label, f"cannot be read ({error})", _SQLITE, "Fetch the file again.") from error


def _connected(path: Path, limits: ReadingLimits) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.text_bytes)
    connection.execute("PRAGMA trusted_schema = OFF")  # what the file itself defines may call no function
    return connection


def _has_systems(connection: sqlite3.Connection) -> bool:
    """Whether there is a table, and no view, which could compute rows without end."""
    query = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'systems' AND sql NOT LIKE '%VIRTUAL%'"
    return connection.execute(query).fetchone()[0] == 1


def _row_of(values: tuple) -> dict[str, Any]:
    number, unique_id, numbers, positions, cell, pbc, pairs = values
    return {
        "id": number,
        "unique_id": unique_id,
        "numbers": np.frombuffer(numbers, "<i4"),
        "positions": np.frombuffer(positions, "<f8"),
        "cell": np.frombuffer(cell, "<f8").reshape(3, 3) if cell else [],
        "pbc": [bool(pbc & bit) for bit in (1, 2, 4)],
        "key_value_pairs": json.loads(pairs) if pairs else {},
    }


def read_lmdb(
    path: Path, label: str, name: str, id_column: str | None = None, limits: ReadingLimits = LIMITS
) -> Iterator[Item]:
    """The rows of an ``.aselmdb`` file (OMat24 and others), in the order of their numbers; deleted ones are left out.

    Called as those of :func:`read_sqlite`; ``id_column`` may also name a field of a row's ``data``.
    """
    try:
        import lmdb
    except ImportError as error:
        raise missing_library(label, "lmdb", error) from error

    check_pages(path, label)
    try:
        with (
            lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, create=False) as database,
            database.begin() as reading,
        ):
            entries = database.stat()["entries"]
            last = int(_unpacked(reading.get(b"nextid"), "nextid", limits) or entries + 1) - 1
            deleted = set(_unpacked(reading.get(b"deleted_ids"), "deleted_ids", limits) or ())
            if last > limits.rows or last > entries + len(deleted):
                told = f"rows up to {last}, {len(deleted)} of them deleted, and {entries} keys"
                raise UnsupportedFileError(label, told, RULE, "Fetch the file again.")
            for number in range(1, last + 1):
                if number in deleted:
                    continue
                called = f"{name} {number}"
                try:
                    packed = reading.get(str(number).encode())
                    if packed is None:
                        item = f"{label} ({called})"
                        raise UnsupportedFileError(item, "no such row", RULE, "Fetch the file again.")
                    row = _unpacked(packed, f"{label} ({called})", limits)
                    yield from_ase_row(row, own_id(row, id_column) or called)
                except CrystalInputError as error:
                    yield error
                except lmdb.Error:
                    raise
                except Exception as error:
                    yield typed_error(error, f"{label} ({called})")
    except lmdb.Error as error:
        raise UnsupportedFileError(label, f"cannot be read ({error})", RULE, "Fetch the file again.") from error


def _unpacked(packed: bytes | None, label: str, limits: ReadingLimits) -> Any:
    """A value of the database: JSON compressed by zlib."""
    if packed is None:
        return None
    unpack = zlib.decompressobj()
    data = unpack.decompress(packed, limits.text_bytes)
    if unpack.unconsumed_tail:
        raise exceeded(limits, "text_bytes", "a longer row", label, "bytes of one text")
    if not unpack.eof:
        raise UnsupportedFileError(label, "a row that ends early", RULE, "Fetch the file again.")
    text = data.decode()
    check_text(text, label, limits)
    return json.loads(text)
