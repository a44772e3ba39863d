"""The table of an index: what is known of each crystal, from its structure and from the user's metadata."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ..crystals.formats.tables import as_ids, id_column
from ..crystals.records import Crystal
from ..errors import QueryError, an_object, counted
from .filters import ALIASES
from .formulas import formula_type, parse_formula, read_system, system_of

_FIRST_COLUMNS = ("material_id", "formula", "chemical_system", "num_sites", "space_group", "crystal_system")


class Crystals(Protocol):
    """A list of crystals, or a :class:`~deepchem_crystalssl.crystals.store.RecordStore`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Crystal: ...


class Joined:
    """Crystals of several lists or stores as one sequence, of which some may be left out.

    Parameters
    ----------
    parts : sequence of Crystals
    part, place : numpy.ndarray
        (n,) each: the part that holds a crystal, and its position there.
    """

    def __init__(self, parts: Sequence[Crystals], part: np.ndarray, place: np.ndarray):
        self.parts, self.part, self.place = parts, part, place

    @classmethod
    def of(cls, *parts: Crystals) -> Joined:
        """All crystals of all parts, in order."""
        if len(parts) == 1 and isinstance(parts[0], Joined):
            return parts[0]
        sizes = [len(part) for part in parts]
        return cls(parts, np.repeat(np.arange(len(parts)), sizes), np.concatenate([np.arange(n) for n in sizes]))

    def select(self, rows: np.ndarray) -> Joined:
        """The crystals of some rows, in that order."""
        return Joined(self.parts, self.part[rows], self.place[rows])

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> Crystal:
        return self.parts[self.part[index]][int(self.place[index])]


def describe(crystals: Iterable[Crystal]) -> pd.DataFrame:
    """What the structures tell: columns formula, chemical_system and num_sites."""
    reduced: dict[str, str] = {}
    rows = []
    for crystal in crystals:
        contents = crystal.formula
        if contents not in reduced:
            reduced[contents] = crystal.reduced_formula
        rows.append((reduced[contents], crystal.chemical_system, crystal.num_nodes))
    return pd.DataFrame(rows, columns=["formula", "chemical_system", "num_sites"])


def catalogue(
    material_ids: Sequence[Any], structures: Crystals | None, metadata: pd.DataFrame | pd.Series | None
) -> pd.DataFrame:
    """One table of all that is known: what the structures tell, then the columns of the metadata.

    Parameters
    ----------
    material_ids : sequence
        Identifiers, compared as text.
    structures : Crystals, optional
        In the order of the ids.
    metadata : pandas.DataFrame or pandas.Series, optional
        Matched by id; see :func:`by_id`.

    Raises
    ------
    QueryError
        If the ids are not unique, if structures or metadata cannot be matched with them, or if a column cannot be kept.
    """
    ids = as_ids(material_ids)
    table = pd.DataFrame({"material_id": pd.Series(ids, dtype=object)})
    _check_ids(table["material_id"])
    if structures is not None:
        if len(structures) != len(ids):
            raise QueryError("structures", f"{len(structures)} for {counted(len(ids), 'id')}",
                             "each id has exactly one structure",
                             "Leave out the ids of structures that could not be read.")  # fmt: skip
        table = table.join(describe(_in_order(structures, ids)))
    if metadata is not None and ids:
        for name, column in _matched(by_id(metadata, without=table.columns), ids).items():
            table[str(name)] = column.array
        if "chemical_system" not in table and "formula" in table:
            parsed = [parse_formula(text) if isinstance(text, str) else None for text in table["formula"]]
            table["chemical_system"] = [None if amounts is None else system_of(amounts) for amounts in parsed]
    return _with_symmetry(table, structures)


def _with_symmetry(table: pd.DataFrame, structures: Crystals | None) -> pd.DataFrame:
    """Columns space_group, found by spglib where the metadata does not give it, and crystal_system."""
    if structures is not None:
        from ..crystals.symmetry import space_group

        groups = table.get("space_group", pd.Series(pd.NA, index=table.index, dtype="Int64")).copy()
        for row in np.flatnonzero(groups.isna()):
            found = space_group(structures[int(row)])
            groups.iloc[int(row)] = pd.NA if found is None else found
        table["space_group"] = groups
    if "space_group" in table:
        from ..crystals.symmetry import system_of_group

        systems = [None if pd.isna(group) else system_of_group(group) for group in table["space_group"]]
        table["crystal_system"] = systems
    first = [name for name in _FIRST_COLUMNS if name in table]
    return table[first + [name for name in table if name not in first]]


def by_id(metadata: pd.DataFrame | pd.Series, without: Iterable[str] = ()) -> pd.DataFrame:
    """Metadata indexed by ids as text, its columns checked and under the names that filters use.

    The ids are the column ``material_id``, else the index of the table if it is named so or is of text, else the first
    of the columns ``id`` and ``name``. Rows are never taken by their position.

    Parameters
    ----------
    metadata : pandas.DataFrame or pandas.Series
    without : iterable of str
        Columns that are left out because the structures tell them.

    Raises
    ------
    QueryError
        If the table has no ids, or holds values that cannot be stored or understood.
    """
    if isinstance(metadata, pd.Series):
        metadata = metadata.to_frame("value" if metadata.name is None else metadata.name)
    if not isinstance(metadata, pd.DataFrame):
        raise QueryError("metadata", an_object(metadata), "metadata is a pandas.DataFrame with ids",
                         "Pass a DataFrame with a column material_id; pandas.DataFrame makes one of a dict, "
                         "crystals.read_table one of a file.")  # fmt: skip
    frame = metadata
    ids: pd.Series | pd.Index
    index_is_text = isinstance(frame.index.dtype, pd.StringDtype) or frame.index.inferred_type == "string"
    column = id_column(frame)
    if column == "material_id" or column is not None and frame.index.name != "material_id" and not index_is_text:
        ids, frame = frame[column], frame.drop(columns=column)
    elif frame.index.nlevels == 1 and (index_is_text or frame.index.name in ("material_id", "id", "name")):
        ids = frame.index
    else:
        raise QueryError("metadata", f"columns {', '.join(map(str, frame.columns))}",
                         "rows are matched to crystals by id, never by position",
                         "Add a column material_id, or make the ids the index of the table.")  # fmt: skip
    frame = frame.set_axis(pd.Index(as_ids(ids), dtype=object, name="material_id"), axis=0)
    frame = frame.rename(columns={name: ALIASES.get(name, str(name)) for name in frame.columns})
    frame = frame.loc[:, ~frame.columns.isin(list(without))]
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise QueryError("metadata", f"column {twice[0]!r} twice", "each column has a name of its own",
                         "Rename or remove one of them.")  # fmt: skip
    if "chemical_system" in frame:
        frame["chemical_system"] = [_chemical_system(value) for value in frame["chemical_system"]]
    if "space_group" in frame:
        frame["space_group"] = _group_numbers(frame["space_group"])
    for name in frame:
        _check_storable(str(name), frame[name])
    return frame


def _check_ids(ids: pd.Series) -> None:
    if (ids == "").any():
        raise QueryError("ids", f"none in row {int((ids == '').argmax())}", "every crystal has an id",
                         "Fill the missing ids.")  # fmt: skip
    twice = ids.duplicated()
    if twice.any():
        raise QueryError("ids", f"{ids[twice].iloc[0]!r} twice", "every crystal has an id of its own",
                         "Rename or remove the repeated ones.")  # fmt: skip


def _in_order(structures: Crystals, ids: list[str]) -> Iterator[Crystal]:
    """The structures, one after the other, unless one carries the id of another row: then the lists are shifted."""
    row_of = {name: row for row, name in enumerate(ids)}
    for row in range(len(ids)):
        crystal = structures[row]
        own = row_of.get(crystal.material_id, row)
        if own != row and structures[own].material_id != crystal.material_id:
            raise QueryError("structures", f"structure {row} carries the id {crystal.material_id!r}, which belongs to "
                             f"row {own}", "structures come in the order of the ids",
                             "Sort both alike, or remove the ids inside the structures.")  # fmt: skip
        yield crystal


def rows_of(frame: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """The rows of the metadata that belong to some ids, one for each at most.

    Raises
    ------
    QueryError
        If there are none, or several for one id.
    """
    frame = frame[frame.index.isin(ids)]
    if frame.empty:
        raise QueryError("metadata", "none of its ids is an id of the index", "rows are matched to crystals by id",
                         f"Ids of the index look like {ids[0]!r}.")  # fmt: skip
    twice = frame.index[frame.index.duplicated()]
    if len(twice):
        raise QueryError("metadata", f"id {twice[0]!r} in several rows", "one crystal has one row",
                         "Keep one row of each id, for example with drop_duplicates.")  # fmt: skip
    return frame


def _matched(frame: pd.DataFrame, ids: list[str]) -> pd.DataFrame:
    """The rows of the metadata in the order of the ids, missing values for crystals that it does not know."""
    unused = frame.index[~frame.index.isin(ids)]
    frame = rows_of(frame, ids)
    if len(frame) < len(ids):
        unknown = [name for name in ids if name not in frame.index]
        message = (
            f"the metadata has no row for {len(unknown)} of {counted(len(ids), 'crystal')}, such as {unknown[0]!r}"
        )
        if len(unused):
            message += f", and no crystal has the id of {counted(len(unused), 'row')}, such as {unused[0]!r}"
        warnings.warn(message, UserWarning, stacklevel=5)
        # Whole numbers and yes/no stay what they are beside missing values.
        nullable = {name: {"i": "Int64", "u": "UInt64", "b": "boolean"}.get(column.dtype.kind)
                    for name, column in frame.items()}  # fmt: skip
        frame = frame.astype({name: kind for name, kind in nullable.items() if kind})
    return frame.reindex(ids)


def _chemical_system(value: Any) -> str | None:
    if value is None or value is pd.NA or value != value:
        return None
    system = read_system(value)
    if system is None:
        raise QueryError("metadata", f"chemical_system {value!r}", "a chemical system is symbols of elements, as Fe-O",
                         "Correct the value or rename the column.")  # fmt: skip
    return system


def _group_numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column.notna() & ~(numbers.between(1, 230) & (numbers % 1 == 0))
    if wrong.any():
        raise QueryError("metadata", f"space_group {column[wrong].iloc[0]!r}", "a space group is its number, 1 to 230",
                         "Convert the symbols to numbers, or rename the column.")  # fmt: skip
    return numbers.round().astype("Int64")


def _check_storable(name: str, column: pd.Series) -> None:
    import pyarrow as pa

    try:
        pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise QueryError("metadata", f"column {name!r} ({error})", "a column holds values of one kind",
                         "Convert the column to numbers or to text, or remove it.") from error  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What two crystals may have in common."""

    elements: frozenset[str]
    kind: str
    space_group: int | None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Facts:
        """From a row of a catalogue."""
        system, group = row.get("chemical_system"), row.get("space_group")
        elements = frozenset(system.split("-")) if isinstance(system, str) else frozenset()
        return cls(elements, formula_type(row.get("formula")), None if pd.isna(group) else int(group))

    def shared(self, other: Facts) -> str:
        """In words: common elements, formula type and space group."""
        both = sorted(self.elements & other.elements)
        parts = ["-".join(both)] if both else []
        if self.kind and self.kind == other.kind:
            parts.append(self.kind)
        if self.space_group is not None and self.space_group == other.space_group:
            parts.append(f"space group {self.space_group}")
        return ", ".join(parts)
