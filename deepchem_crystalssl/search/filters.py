"""Which crystals of an index may be answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.elements import N_ELEMENTS, symbols
from ..crystals.formats.tables import as_ids
from ..errors import QueryError, an_object
from .formulas import read_formula, read_system, rows_of_formula

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
    space_group : int, (int, int) or list of int, optional
        Number of the space group, a range of numbers, or a choice of them, as in ``where``.
    where : mapping from str to value, (low, high) or list of values
        Conditions on any column. A pair (a tuple) of numbers or times is a range, whose ends belong to it and may be
        None (open); a list is a choice of values; anything else must be equal to the value in the column, and None
        finds the crystals without one. Formulas are compared as compositions (``"O2Ti"`` is TiO2), and chemical systems
        as sets of elements.

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
    space_group: Range | Sequence[int] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    def mask(self, table: pd.DataFrame) -> np.ndarray:
        """Whether each row of a catalogue fulfils the conditions, bool (n,).

        Raises
        ------
        QueryError
            If an element does not exist, the catalogue does not have a column that is asked for, or a value is of
            another kind than those of the column.
        """
        allowed = np.ones(len(table), bool)
        if len(self.elements) or len(self.without) or self.only is not None or self.n_elements is not None:
            allowed &= self._has_elements(_column(table, "chemical_system"))
        if self.n_sites is not None:
            allowed &= _within(_column(table, "num_sites"), self.n_sites)
        _check_groups(self.space_group)
        others = self.where if self.space_group is None else {"space_group": self.space_group, **self.where}
        for name, wanted in others.items():
            allowed &= _fulfils(table, ALIASES.get(name, name), wanted)
        return allowed

    def _has_elements(self, systems: pd.Series) -> np.ndarray:
        needed, unwanted = known_elements(self.elements), known_elements(self.without)
        most = None if self.only is None else known_elements(self.only)
        low, high = (0.0, N_ELEMENTS) if self.n_elements is None else ends_of("n_elements", self.n_elements)
        codes, distinct = pd.factorize(systems)  # -1 where the chemical system is unknown
        passes = [
            needed <= elements and not unwanted & elements and (most is None or elements <= most)
            and low <= len(elements) <= high
            for elements in (set(str(system).split("-")) for system in distinct)
        ]  # fmt: skip
        return np.array([*passes, False], bool)[codes]


def _check_groups(wanted: Any) -> None:
    """Refuse the numbers of space groups that there are not; a pair is a range, which may reach beyond."""
    for number in wanted if isinstance(wanted, list | np.ndarray) else [wanted]:
        if isinstance(number, Real) and not 1 <= float(number) <= 230:
            raise QueryError("filter", f"space_group {number}", "a space group is its number, 1 to 230",
                             "Correct the number.")  # fmt: skip


def allowed_by(filter: Filter | None, table: pd.DataFrame) -> np.ndarray:
    """Whether each row of a catalogue may be an answer, bool (n,); without a filter all may.

    Raises
    ------
    QueryError
        If it is no filter, or cannot be used with this catalogue.
    """
    if filter is None:
        return np.ones(len(table), bool)
    if not isinstance(filter, Filter):
        raise QueryError("filter", an_object(filter), "conditions on the answers are a Filter",
                         "Write, for example, Filter(elements=['O'], where={'band_gap': (1, None)}).")  # fmt: skip
    return filter.mask(table)


def of_elements(elements: Sequence[str] | None, allowed: Sequence[str] | None, excluded: Sequence[str]) -> Filter:
    """The condition on each phase of a sample that contains, may contain and does not contain some elements.

    Raises
    ------
    QueryError
        If an element is excluded and contained, or a name is no element.

    Examples
    --------
    >>> of_elements(["O"], ["Fe"], []).only
    ['Fe', 'O']
    """
    contained, may, no = (known_elements(names or ()) for names in (elements, allowed, excluded))
    both = sorted((contained | may) & no)
    if both:
        raise QueryError("excluded", both[0], "an element that the sample contains, or may contain, is not excluded",
                         "Name it in one of elements, allowed and excluded.")  # fmt: skip
    given = elements is not None or allowed is not None
    return Filter(without=sorted(no), only=sorted(contained | may) if given else None)


def known_elements(elements: Iterable[str]) -> set[str]:
    """Symbols of elements as a set; one symbol may be given alone.

    Raises
    ------
    QueryError
        If one is no symbol.
    """
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
    column = table[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return pd.Series(np.asarray(column), name=name)
    return pd.to_datetime(column) if pd.api.types.infer_dtype(column) == "date" else column


def _fulfils(table: pd.DataFrame, name: str, wanted: Any) -> np.ndarray:
    """Which rows have a value within a range, equal to one of a list, or equal to the one that is given."""
    column = _column(table, name)
    if isinstance(wanted, tuple) and (_is_ordered(column) or any(end is None for end in wanted)):
        return _within(column, wanted)
    several = isinstance(wanted, Iterable) and not isinstance(wanted, str | bytes | Mapping)
    values = list(np.atleast_1d(wanted) if isinstance(wanted, np.ndarray) else wanted) if several else [wanted]
    known = [value for value in values if not (pd.api.types.is_scalar(value) and pd.isna(value))]
    fulfilled = column.isna().to_numpy(bool) if len(known) < len(values) else np.zeros(len(column), bool)
    if name == "formula":
        for text in known:
            fulfilled[_rows_of_compound(table, text)] = True
        return fulfilled
    return fulfilled | column.isin(_converted(column, known)).to_numpy(bool)


def _rows_of_compound(table: pd.DataFrame, text: Any) -> list[int]:
    same = np.flatnonzero((table["formula"] == text).to_numpy(bool, na_value=False)).tolist()
    if not same and (not isinstance(text, str) or not read_formula(text)):
        raise QueryError("filter", f"formula={text!r}", "a compound is named by its formula",
                         "Write it with the symbols of its elements, as Fe2O3.")  # fmt: skip
    return same + rows_of_formula(table, text)


def _is_ordered(column: pd.Series) -> bool:
    """Whether a pair of values is a range of the column: of numbers and times, not of words or of yes and no."""
    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column) or types.is_datetime64_any_dtype(column)


def ends_of(name: str, span: Any) -> tuple[Any, Any]:
    """The two ends of a range, infinite where they are open.

    Raises
    ------
    QueryError
        If it is no range.
    """
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
    low, high = ends_of(name, span)
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


def _converted(column: pd.Series, values: list[Any]) -> list[Any]:
    """Values as the column holds them; what is of another kind would equal none of them, and is refused."""
    if column.name == "material_id":
        return as_ids(values)
    kind = "chemical systems" if column.name == "chemical_system" else _kind(column)
    converted = []
    for value in values:
        try:
            converted.append(_CONVERSIONS[kind](value) if kind in _CONVERSIONS else value)
            if kind == "times" and (converted[-1].tz is None) != (column.dt.tz is None):
                raise TypeError("one of them has a time zone and the other has none")
        except (TypeError, ValueError) as error:
            raise QueryError("filter", f"{column.name}={value!r}", f"the column {column.name} holds {kind}",
                             f"Give a value of the same kind ({error}).") from error  # fmt: skip
    return converted


def _kind(column: pd.Series) -> str:
    """What a column holds, in words."""
    if _is_ordered(column):
        return "times" if pd.api.types.is_datetime64_any_dtype(column) else "numbers"
    kind = pd.api.types.infer_dtype(column, skipna=True)
    return {"string": "text", "boolean": "yes or no"}.get(kind, kind)


def _number(value: Any) -> Any:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{an_object(value)} is not a number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{an_object(value)} is not text")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, Real | np.bool_) or value not in (0, 1):
        raise TypeError("write True or False")
    return bool(value)


def _time(value: Any) -> pd.Timestamp:
    if isinstance(value, Real):
        raise TypeError("a number is not a time; write a date, as '2000-01-31'")
    return pd.Timestamp(value)


def _system(value: Any) -> str:
    system = read_system(value) if isinstance(value, str) else None
    if system is None:
        raise TypeError("a chemical system is symbols of elements, as Fe-O")
    return system


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "numbers": _number, "text": _text, "yes or no": _truth, "times": _time, "chemical systems": _system,
}  # fmt: skip
