"""Which crystals of an index may be answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.elements import N_ELEMENTS, symbols
from ..errors import QueryError

ALIASES = {"chemsys": "chemical_system", "n_sites": "num_sites", "spacegroup": "space_group"}
"""Other names under which columns are understood."""
Range = int | tuple[float | None, float | None]


@dataclass(frozen=True)
class Filter:
    """Conditions that every answer must fulfil. A crystal of which the index does not know a value is left out.

    Parameters
    ----------
    elements : sequence of str
        Elements that the crystal must contain.
    without : sequence of str
        Elements that it must not contain.
    only : sequence of str, optional
        It may contain no other elements than these.
    n_elements, n_sites : int or (int, int), optional
        Number of elements, and of sites in the cell: exactly so many, or from the first to the second number. None in
        place of a number leaves that end open.
    space_group : int or sequence of int, optional
        Numbers of the space groups.
    where : mapping from str to value, (low, high) or sequence of values
        Conditions on any other column. A pair of numbers is a range, whose ends belong to it and may be None (open); a
        list is a choice of values; anything else must be equal to the value in the column.

    Examples
    --------
    >>> table = pd.DataFrame({"chemical_system": ["Fe-O", "Fe", "Li-O"], "gap": [2.0, 0.0, 4.5]})
    >>> Filter(elements=["O"]).mask(table).tolist()
    [True, False, True]
    >>> Filter(only=["Fe", "O"], where={"gap": (1, None)}).mask(table).tolist()
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
        """Whether each row of a catalogue fulfils the conditions, bool (n,).

        Raises
        ------
        QueryError
            If an element does not exist, the catalogue does not have a column that is asked for, or a value cannot be
            compared with those of the column.
        """
        allowed = np.ones(len(table), bool)
        if len(self.elements) or len(self.without) or self.only is not None or self.n_elements is not None:
            allowed &= self._has_elements(_column(table, "chemical_system"))
        if self.n_sites is not None:
            allowed &= _within(_column(table, "num_sites"), self.n_sites)
        if self.space_group is not None:
            allowed &= _is_one_of(_column(table, "space_group"), np.atleast_1d(self.space_group).tolist())
        for name, wanted in self.where.items():
            column = _column(table, name)
            if isinstance(wanted, tuple) and (_is_ordered(column) or None in wanted):
                allowed &= _within(column, wanted)
            else:
                allowed &= _is_one_of(column, [wanted] if wanted is None or np.isscalar(wanted) else list(wanted))
        return allowed

    def _has_elements(self, systems: pd.Series) -> np.ndarray:
        needed, unwanted = _known(self.elements), _known(self.without)
        most = None if self.only is None else _known(self.only)
        low, high = (0.0, N_ELEMENTS) if self.n_elements is None else _ends("n_elements", self.n_elements)
        codes, distinct = pd.factorize(systems)  # -1 where the chemical system is unknown
        passes = [
            needed <= elements and not unwanted & elements and (most is None or elements <= most)
            and low <= len(elements) <= high
            for elements in (set(str(system).split("-")) for system in distinct)
        ]  # fmt: skip
        return np.array([*passes, False], bool)[codes]


def _known(elements: Iterable[str]) -> set[str]:
    given = {elements} if isinstance(elements, str) else set(elements)
    strange = sorted(map(str, given - set(symbols()[1:])))
    if strange:
        raise QueryError("elements", repr(strange[0]), "an element is named by its symbol", "Write Fe, not iron or FE.")
    return given


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    name = ALIASES.get(name, name)
    if name not in table:
        known = ", ".join(map(str, table.columns))
        raise QueryError("filter", f"column {name!r}", "a filter can use only the columns of the index",
                         f"It has {known}; give others as metadata= when building it.")  # fmt: skip
    return table[name]


def _is_ordered(column: pd.Series) -> bool:
    """Whether a pair of values is a range of the column: of numbers and times, not of words or of yes and no."""
    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column) or types.is_datetime64_any_dtype(column)


def _ends(name: str, span: Any) -> tuple[Any, Any]:
    if isinstance(span, Real) and not isinstance(span, bool):
        return span, span
    if not isinstance(span, Sequence) or isinstance(span, str) or len(span) != 2:
        raise QueryError("filter", f"{name}={span!r}", "a range is one number or a pair, (from, to)",
                         "Write None in the pair for an end that is open.")  # fmt: skip
    low, high = (-np.inf if span[0] is None else span[0]), (np.inf if span[1] is None else span[1])
    return low, high


def _within(column: pd.Series, span: Any) -> np.ndarray:
    name = str(column.name)
    if not _is_ordered(column):
        raise QueryError("filter", f"{name}={span!r}", f"the column {name} does not hold numbers, so it has no ranges",
                         "Give the values themselves, as a list.")  # fmt: skip
    low, high = _ends(name, span)
    fulfilled = pd.Series(column.notna())
    try:
        if pd.api.types.is_datetime64_any_dtype(column):
            low, high = (None if isinstance(end, float) else pd.Timestamp(end) for end in (low, high))
        elif not all(isinstance(end, Real) and end == end for end in (low, high)):
            raise TypeError("an end is not a number")
        empty = low is not None and high is not None and low > high
        fulfilled &= True if low is None else (column >= low).fillna(False)
        fulfilled &= True if high is None else (column <= high).fillna(False)
    except (TypeError, ValueError) as error:
        raise QueryError("filter", f"{name}={span!r}", f"the ends of a range of {name} are {column.dtype} or None",
                         f"Correct the range ({error}).") from error  # fmt: skip
    if empty:
        raise QueryError("filter", f"{name}={span!r}", "a range goes from its smaller to its larger end",
                         "Exchange the two.")  # fmt: skip
    return fulfilled.to_numpy(bool)


def _is_one_of(column: pd.Series, values: list[Any]) -> np.ndarray:
    name, numbers = str(column.name), _is_ordered(column) and not pd.api.types.is_datetime64_any_dtype(column)
    for value in values:
        unlike = (
            isinstance(value, str)
            if numbers
            else isinstance(value, Real) and column.map(lambda known: isinstance(known, str)).any()
        )
        if unlike:
            kind = "numbers" if numbers else "text"
            raise QueryError("filter", f"{name}={value!r}", f"the column {name} holds {kind}",
                             "Give a value of the same kind.")  # fmt: skip
    return column.isin(values).to_numpy(bool)
