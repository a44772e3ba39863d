"""The entries in JSON as databases and libraries write it, and how they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from .convert import is_one
from .database_entries import ENTRY_IDS, HOLDERS, is_entry, own_id
from ...errors import EmptyFileError, NoCrystalsError, UnsupportedFileError, UnsupportedObjectError
from .json_documents import Document, Piece
from ..limits import LIMITS, ReadingLimits
from .tables import as_ids

_OF_THE_FILE = {"ids", "nextid", "metadata", "deleted_ids"}  # beside the rows in the JSON of an ASE database
_RECORD = {*ENTRY_IDS, *HOLDERS, "@class", "lattice", "sites"}

Entry = tuple[Any, str, bool]
"""What an entry is, how it is called, and whether it is called so whatever it says itself."""


def named_entries(
    documents: Iterable[Document],
    name: str,
    structure_column: str | None = None,
    id_column: str | None = None,
    limits: ReadingLimits = LIMITS,
) -> Iterator[Entry]:
    """The entries in JSON, one after the other.

    These forms are known: an entry, a list of entries, JSON lines of them; lists in one of the fields
    :data:`~deepchem_crystalssl.crystals.formats.json_documents.LISTS` (Alexandria, OPTIMADE); an object whose
    fields are ids and whose values are entries (also an ASE database); and pandas' "split" form (matbench).

    Parameters
    ----------
    documents : iterable of Document
    name : str
        Entries without an id are called by it and their position.
    structure_column, id_column : str, optional
        Fields of an entry that hold its structure and its id.
    limits : ReadingLimits

    Yields
    ------
    (object, str, bool)

    Raises
    ------
    CrystalInputError
        If there are none, or the file is an error that a server has answered.
    """
    found, is_empty = False, True
    for document in documents:
        is_empty = False
        default = name if document.is_alone else f"{name} {document.number}"
        for entry, called, is_key in _entries_of(document, default, document.is_alone, limits):
            found = True
            if structure_column is not None and isinstance(entry, Mapping) and structure_column in entry:
                called = (not is_key and own_id(entry, id_column)) or called
                entry = entry[structure_column]
            yield entry, called, is_key
    if is_empty:
        raise EmptyFileError(name, "0 characters")
    if not found:
        raise NoCrystalsError(name, "JSON without structures")


def _entries_of(document: Document, name: str, is_alone: bool, limits: ReadingLimits) -> Iterator[Entry]:
    pieces = document.pieces
    first = next(pieces, None)
    if first is None:
        return
    kind, at, value = first
    if kind == "value":
        raise NoCrystalsError(name, f"JSON without structures ({type(value).__name__})")
    if kind == "item":
        for _, at, value in chain([first], pieces):
            yield value, name if at is None else f"{name} {at}", False
        return
    yield from _of_object(chain([first], pieces), name, is_alone, limits)


def _of_object(pieces: Iterator[Piece], name: str, is_alone: bool, limits: ReadingLimits) -> Iterator[Entry]:
    """The entries of an object. Its fields are kept until one shows which form it has."""
    fields: dict[str, Any] = {}
    is_mapping = has_list = False
    for kind, key, value in pieces:
        if kind == "entry":
            if fields.keys() & {*HOLDERS, "lattice", "sites"}:
                continue  # properties of a crystal
            has_list = True
            if isinstance(value, list):
                yield _row(fields, key, value, name)
            elif not is_other_type(value):
                yield value, f"{name} {key}", False
            continue
        if is_mapping:
            if key not in _OF_THE_FILE:
                yield _keyed(key, value, name)
            continue
        fields[key] = value
        limits.check("fields", len(fields), name, "fields before a structure")
        if key not in HOLDERS and key != "data" and _is_crystal(value) and not _RECORD & fields.keys():
            is_mapping = True
            yield from (_keyed(key, value, name) for key, value in fields.items())
            fields = {}
    if is_mapping or has_list:
        return
    if fields.get("errors"):
        raise UnsupportedFileError(
            name, f"an error of the server ({_reason(fields['errors'])})", "an answer holds structures", "Ask again."
        )
    if fields.keys() & {"x-optimade", "meta"} and not is_entry(fields) and not is_entry(fields.get("data")):
        if is_alone:
            raise NoCrystalsError(name, "an answer without structures")
        return  # the first line of OPTIMADE's JSON lines
    if not is_alone and is_other_type(fields):
        return
    if not is_entry(fields) and fields and all(isinstance(value, Mapping | str | None) for value in fields.values()):
        texts = [value for value in fields.values() if isinstance(value, str) and "\n" in value]
        if texts:  # ids and texts of structures
            yield from ((value, key, True) for key, value in fields.items())
            return
    yield fields, name, False


def _keyed(key: str, value: Any, name: str) -> Entry:
    """An entry called by its key, which in an ASE database is only the number of a row."""
    if isinstance(value, Mapping) and "numbers" in value:
        return value, f"{name} {key}", False
    return value, str(key), True


def _is_crystal(value: Any) -> bool:
    """Whether a value is an entry, or an object of a library that is a crystal."""
    return is_entry(value) or (not isinstance(value, Mapping | str | Path) and is_one(value))


def _row(fields: Mapping, at: int, values: Sequence, name: str) -> Entry:
    """A row of pandas' "split" form, whose columns and index stand before the data."""
    columns = fields.get("columns")
    if not isinstance(columns, list):
        return UnsupportedObjectError(name, "rows before the names of their columns"), f"{name} {at}", False
    if len(columns) != len(values):
        return (
            UnsupportedObjectError(
                f"{name} {at}", f"{len(values)} values for {len(columns)} columns", "a row has a value for each column"
            ),
            f"{name} {at}",
            False,
        )
    index = fields.get("index")
    row = dict(zip(map(str, columns), values, strict=True))
    called = index[at] if isinstance(index, list) and at < len(index) and isinstance(index[at], str) else None
    return row, called or f"{name} {at}", False


def is_other_type(value: Any) -> bool:
    """Whether something is an entry of OPTIMADE that describes no structure."""
    return isinstance(value, Mapping) and value.get("type") in ("info", "references", "links", "files", "trajectories")


def _reason(errors: Any) -> str:
    first = errors[0] if isinstance(errors, list) else errors
    detail = first.get("detail") or first.get("title") if isinstance(first, Mapping) else first
    return as_ids([detail])[0][:200]
