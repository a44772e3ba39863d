"""Answers of a search: a sequence of records, which can be turned into a table and is shown in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar, overload

import pandas as pd


@dataclass(frozen=True)
class Answer:
    """One crystal found.

    Attributes
    ----------
    material_id : str
    rank : int
        From 1.
    """

    material_id: str
    rank: int

    def __getitem__(self, name: str) -> Any:
        """A field or a column of the index, by its name."""
        try:
            return self.as_row()[name]
        except KeyError:
            raise KeyError(f"{name!r}; there are {', '.join(self.as_row())}") from None

    def as_row(self) -> dict[str, Any]:
        """The answer as a row of a table."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}
        known = row.pop("known", {})
        return {**row, **known}


@dataclass(frozen=True)
class Neighbor(Answer):
    """A crystal similar to the query, and its distance.

    Attributes
    ----------
    distance : float
        1 - cosine, from 0 to 2.
    percentile : float
        Percentage of the crystals of the index whose nearest neighbour is nearer than this: 50 is the usual distance of
        nearest neighbours, 100 is larger than any.
    shares : str
        What it has in common with the query: elements, formula type, space group.
    formula : str
        Empty if the index does not know it.
    known : dict
        The other columns of the catalogue.
    """

    distance: float
    percentile: float
    shares: str = ""
    formula: str = ""
    known: dict[str, Any] = field(default_factory=dict)


A = TypeVar("A", bound=Answer)


class Answers(Sequence[A], Generic[A]):
    """Answers, best first.

    Examples
    --------
    >>> found = Answers([Neighbor("mp-1", 1, 0.01, 40.0, "Fe-O", "Fe2O3", {"gap": 2.0})])
    >>> found[0].material_id, found[0]["gap"], len(found)
    ('mp-1', 2.0, 1)
    >>> found.to_frame().columns.tolist()
    ['material_id', 'rank', 'distance', 'percentile', 'shares', 'formula', 'gap']
    """

    _shown: Sequence[str] | None = None
    """Columns that a notebook shows; None for all."""

    def __init__(self, answers: Sequence[A]):
        self._answers = list(answers)

    @overload
    def __getitem__(self, at: int) -> A: ...

    @overload
    def __getitem__(self, at: slice) -> list[A]: ...

    def __getitem__(self, at: int | slice) -> A | list[A]:
        return self._answers[at]

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[A]:
        return iter(self._answers)

    @property
    def material_ids(self) -> list[str]:
        """The ids of the answers, in order."""
        return [answer.material_id for answer in self]

    def to_frame(self) -> pd.DataFrame:
        """One row per answer."""
        return pd.DataFrame([answer.as_row() for answer in self])

    def __repr__(self) -> str:
        return self.to_frame().to_string(index=False, float_format="{:.4g}".format) if len(self) else "no answers"

    def _repr_html_(self) -> str:
        from .displays import table_html

        return table_html(self.to_frame(), self._shown) if len(self) else "no answers"
