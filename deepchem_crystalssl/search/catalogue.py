"""What is known of the crystals of an index, and which of them may be answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
from pymatgen.core import Composition

from ..crystals.elements import N_ELEMENTS, symbols
from ..errors import QueryError
from ..crystals.records import Crystal

ALIASES = {"chemsys": "chemical_system", "n_sites": "num_sites", "spacegroup": "space_group"}
"""Columns that come under another name."""
Range = int | tuple[int, int]


class Crystals(Protocol):
    """A list of crystals, or a :class:`~deepchem_crystalssl.crystals.store.RecordStore`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Crystal: ...


class Joined:
    """Crystals of several lists or stores as one, some left out.

    Parameters
    ----------
    parts : sequence of Crystals
    part, place : numpy.ndarray
        (n,) each: which part a crystal is in, and where there.
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
        """Some of them."""
        return Joined(self.parts, self.part[rows], self.place[rows])

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> Crystal:
        return self.parts[self.part[index]][int(self.place[index])]


def describe(crystals: Iterable[Crystal]) -> pd.DataFrame:
    """What can be read off crystals: formula, chemical_system, num_sites."""
    reduced: dict[str, str] = {}
    rows = []
    for crystal in crystals:
        contents = crystal.formula
        if contents not in reduced:
            reduced[contents] = crystal.reduced_formula
        rows.append((reduced[contents], crystal.chemical_system, crystal.num_nodes))
    return pd.DataFrame(rows, columns=["formula", "chemical_system", "num_sites"])


def catalogue(material_ids: Sequence[str], structures: Crystals | None, metadata: pd.DataFrame | None) -> pd.DataFrame:
    """One table of all that is known: the columns of ``metadata``, and what structures tell besides.

    Raises
    ------
    QueryError
        If ids are not unique, or do not match the rows of the others.
    """
    table = pd.DataFrame({"material_id": pd.Series(np.asarray(material_ids, object))})
    twice = table["material_id"].duplicated()
    if twice.any():
        name = table["material_id"][twice].iloc[0]
        raise QueryError("ids", f"{name!r} twice", "every crystal has an id of its own", "Remove or rename doubles.")
    if structures is not None:
        if len(structures) != len(table):
            raise QueryError("structures", f"{len(structures)} for {len(table)} ids", "one structure goes with one id")
        table = table.join(describe(structures[k] for k in range(len(structures))))
    if metadata is not None:
        if "material_id" in metadata:
            metadata = metadata.set_index("material_id").reindex(table["material_id"])
        elif len(metadata) != len(table):
            raise QueryError("metadata", f"{len(metadata)} rows for {len(table)} ids",
                             "rows go with ids, in order or by a column material_id")  # fmt: skip
        for name, column in metadata.rename(columns=ALIASES).items():
            if name not in table:
                table[str(name)] = column.to_numpy()
    return table


@dataclass(frozen=True)
class Filter:
    """Which crystals may be answers; all that is given must hold.

    Parameters
    ----------
    elements : sequence of str
        Elements a crystal must have.
    without : sequence of str
        Elements it must not have.
    only : sequence of str, optional
        Elements besides which it has none.
    n_elements, n_sites : int or (int, int), optional
        How many elements, or sites in the cell; a pair is from, to.
    space_group : int or sequence of int, optional
        Numbers of space groups.
    where : mapping from str to value, (low, high) or sequence of values
        For any other column: equal to the value, within the pair of numbers, or one of the values.

    Examples
    --------
    >>> table = pd.DataFrame({"chemical_system": ["Fe-O", "Fe", "Li-O"], "gap": [2.0, 0.0, 4.5]})
    >>> Filter(elements=["O"]).mask(table).tolist()
    [True, False, True]
    >>> Filter(only=["Fe", "O"], where={"gap": (1, 3)}).mask(table).tolist()
    [True, False, False]
    """

    elements: Sequence[str] = ()
    without: Sequence[str] = ()
    only: Sequence[str] | None = None
    n_elements: Range | None = None
    n_sites: Range | None = None
    space_group: int | Sequence[int] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    def mask(self, table: pd.DataFrame) -> np.ndarray:
        """Whether each row of a catalogue may be an answer, bool (n,).

        Raises
        ------
        QueryError
            If an element does not exist, or the catalogue does not have a column that is asked for.
        """
        allowed = np.ones(len(table), bool)
        if self.elements or self.without or self.only is not None or self.n_elements is not None:
            systems, rows = np.unique(_column(table, "chemical_system").to_numpy(str), return_inverse=True)
            allowed &= np.array([self._holds(set(system.split("-"))) for system in systems], bool)[rows]
        if self.n_sites is not None:
            allowed &= _within(_column(table, "num_sites"), self.n_sites)
        if self.space_group is not None:
            allowed &= _column(table, "space_group").isin(np.atleast_1d(self.space_group)).to_numpy()
        for name, wanted in self.where.items():
            column = _column(table, name)
            if isinstance(wanted, tuple) and len(wanted) == 2 and pd.api.types.is_numeric_dtype(column):
                allowed &= _within(column, wanted)
            else:
                allowed &= column.isin([wanted] if np.isscalar(wanted) else list(wanted)).to_numpy()
        return allowed

    def _holds(self, elements: set[str]) -> bool:
        only = elements if self.only is None else _known(self.only)
        low, high = _ends(self.n_elements) if self.n_elements is not None else (0, N_ELEMENTS)
        return (
            _known(self.elements) <= elements
            and not _known(self.without) & elements
            and elements <= only
            and low <= len(elements) <= high
        )


def _known(elements: Sequence[str]) -> set[str]:
    given = {elements} if isinstance(elements, str) else set(elements)
    strange = sorted(given - set(symbols()[1:]))
    if strange:
        raise QueryError("elements", repr(strange[0]), "an element is named by its symbol", "Write Fe, not iron or FE.")
    return given


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    name = ALIASES.get(name, name)
    if name not in table:
        known = ", ".join(map(str, table.columns))
        raise QueryError("filter", f"column {name!r}", "a filter asks for a column the index has",
                         f"It has {known}; give more as metadata= when building it.")  # fmt: skip
    return table[name]


def _ends(span: Range) -> tuple[float, float]:
    return (span, span) if isinstance(span, int | np.integer) else (span[0], span[1])


def _within(column: pd.Series, span: Range) -> np.ndarray:
    low, high = _ends(span)
    return column.between(low, high).to_numpy()


@dataclass(frozen=True)
class Facts:
    """What two crystals may share."""

    elements: frozenset[str]
    kind: str
    space_group: int | None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Facts:
        """From a row of a catalogue."""
        system, group = row.get("chemical_system"), row.get("space_group")
        elements = frozenset(system.split("-")) if isinstance(system, str) else frozenset()
        return cls(elements, anonymous(row.get("formula")), None if pd.isna(group) else int(group))

    def shared(self, other: Facts) -> str:
        """In words: elements, formula type, space group."""
        both = sorted(self.elements & other.elements)
        parts = ["-".join(both)] if both else []
        if self.kind and self.kind == other.kind:
            parts.append(self.kind)
        if self.space_group is not None and self.space_group == other.space_group:
            parts.append(f"space group {self.space_group}")
        return ", ".join(parts)


def anonymous(formula: Any) -> str:
    """The formula type, as AB2; nothing of what is no formula."""
    return Composition(formula).anonymized_formula if isinstance(formula, str) and formula else ""
