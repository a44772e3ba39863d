"""Search by vectors in a table of crystals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .answers import Answers, Neighbor
from .catalogue import Facts
from ..crystals.checksums import StoredArray
from ..crystals.formats.tables import as_ids
from ..errors import CrystalInputError, OnError, QueryError, Report
from .filters import Filter, allowed_by
from .formulas import rows_of_formula
from .queries import Asked, checked_number, resolve, with_direction
from .vectors import nearest_rows, unit_rows

if TYPE_CHECKING:
    from ..crystals.records import Crystal

EXACT_UP_TO = 300_000
"""Number of crystals up to which a search is exact by default; in larger indices it is approximate."""
_SAMPLE = 500
_UNLIKE = 0.5
"""Weight of the crystals that answers should not be similar to (Rocchio 1971)."""


class Searchable(ABC):
    """The search by vectors, wherever vectors and facts are kept."""

    _embed: Callable[[Crystal], np.ndarray]

    @property
    @abstractmethod
    def width(self) -> int:
        """Length of a vector."""

    @property
    @abstractmethod
    def has_space_groups(self) -> bool:
        """Whether the space groups of the crystals are known."""

    @property
    @abstractmethod
    def spacing(self) -> np.ndarray:
        """Distances of a sample of crystals to their nearest neighbours, ascending."""

    @abstractmethod
    def rows_named(self, text: str) -> list[int]:
        """The rows of an id, or of a compound by its formula; none if the text is neither."""

    @abstractmethod
    def vectors_of(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """float32 (len(rows), F), of length 1."""

    @abstractmethod
    def known(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """What is known of some crystals."""

    @abstractmethod
    def nearest(
        self,
        queries: np.ndarray,
        k: int,
        filter: Filter | None = None,
        exact: bool | None = None,
        left_out: Sequence[int] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and distances of the k nearest, (q, k) each; rows are -1 where an approximate search found no more."""

    def facts_of(self, row: int) -> Facts:
        """What is known of a crystal."""
        return Facts.of_row(self.known([row])[0])

    def resolve(self, x: Any) -> Asked:
        """The vector of a query, the rows that it names and what is known of it.

        Raises
        ------
        QueryError, CrystalInputError
            If there is no such crystal.
        """
        return resolve(x, self, self._embed)

    def search(
        self,
        x: Any,
        k: int,
        unlike: Any = (),
        filter: Filter | None = None,
        exact: bool | None = None,
        include_self: bool = False,
    ) -> Answers[Neighbor]:
        """The k crystals most similar to a query: :meth:`EmbeddingIndex.query`."""
        wanted = self.resolve(x)
        vector, own = wanted.vector, wanted.rows
        if not isinstance(unlike, Sequence) or len(unlike):
            unwanted = self.resolve(unlike)
            vector, own = with_direction(vector - _UNLIKE * unwanted.vector), own + unwanted.rows
        rows, distances = self.nearest(unit_rows(vector[None]), k, filter, exact, [] if include_self else own)
        return self._answers(rows[0], distances[0], wanted.facts)

    def search_each(
        self,
        items: Iterable[Any],
        k: int,
        filter: Filter | None = None,
        exact: bool | None = None,
        on_error: OnError = "raise",
        report: Report | None = None,
    ) -> list[Answers[Neighbor]]:
        """The answers to many queries, compared with the crystals together: :meth:`EmbeddingIndex.query_each`."""
        k, report = checked_number(k), Report() if report is None else report
        asked: list[Asked | None] = []
        with report.job(on_error):
            for position, item in enumerate(items):
                try:
                    asked.append(self.resolve(item))
                except CrystalInputError as error:
                    report.handle(error, on_error, position)
                    asked.append(None)
        good = [one for one in asked if one is not None]
        answers: list[Answers[Neighbor]] = [Answers([]) for _ in asked]
        if good:
            more = max(len(one.rows) for one in good)
            queries = unit_rows(np.stack([one.vector for one in good]))
            found = iter(zip(good, *self.nearest(queries, k + more, filter, exact, []), strict=True))
            for position, one in enumerate(asked):
                if one is not None:
                    _, rows, distances = next(found)
                    kept = ~np.isin(rows, one.rows)
                    answers[position] = self._answers(rows[kept][:k], distances[kept][:k], one.facts)
        return answers

    def _answers(self, rows: np.ndarray, distances: np.ndarray, facts: Facts | None) -> Answers[Neighbor]:
        """Records of the rows found, with what they share with the query."""
        kept = rows >= 0
        answers = []
        for rank, (row, distance) in enumerate(zip(self.known(rows[kept]), distances[kept].tolist(), strict=True), 1):
            nearer = np.searchsorted(self.spacing, distance) / max(1, len(self.spacing))
            shares = "" if facts is None else facts.shared(Facts.of_row(row))
            name, formula = row.pop("material_id"), row.pop("formula", "") or ""
            answers.append(Neighbor(name, rank, distance, round(100.0 * nearer, 1), shares, formula, row))
        return Answers(answers)


class Gallery(Searchable):
    """Crystals to be searched. Immutable: what is derived from the vectors and the table is computed once.

    Parameters
    ----------
    vectors : numpy.ndarray or StoredArray
        float32 (n, F), of length 1.
    table : pandas.DataFrame
        material_id and all else that is known, n rows.
    embed : callable
        From a crystal to its vector (F,).
    spacing : numpy.ndarray, optional
        If it is known already.
    """

    def __init__(
        self,
        vectors: np.ndarray | StoredArray,
        table: pd.DataFrame,
        embed: Callable[[Crystal], np.ndarray],
        spacing: np.ndarray | None = None,
    ):
        self._vectors, self.table = vectors, table
        self._embed, self._spacing = embed, spacing

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def vectors(self) -> np.ndarray:
        """float32 (n, F), of length 1."""
        return np.asarray(self._vectors)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of every material_id."""
        return {name: row for row, name in enumerate(self.table["material_id"])}

    def rows_of_ids(self, ids: Any) -> list[int]:
        """The rows of crystals by their ids.

        Raises
        ------
        QueryError
            If the index does not have one of them.
        """
        names = as_ids(ids)
        for name in names:
            if name not in self.row_of:
                raise QueryError(name, "not in the index", "crystals of an index are named by their ids",
                                 "Check the id; the column material_id of the table lists all.")  # fmt: skip
        return [self.row_of[name] for name in names]

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self._vectors.shape[1]

    @property
    def has_space_groups(self) -> bool:
        """Whether the space groups of the crystals are known."""
        return "space_group" in self.table

    def rows_named(self, text: str) -> list[int]:
        """The rows of an id, or of a compound by its formula; none if the text is neither."""
        return [self.row_of[text]] if text in self.row_of else rows_of_formula(self.table, text)

    def vectors_of(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """float32 (len(rows), F), of length 1."""
        return self.vectors[list(rows)]

    def known(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """What is known of some crystals."""
        return self.table.iloc[list(rows)].to_dict("records")  # type: ignore[return-value]

    @cached_property
    def spacing(self) -> np.ndarray:
        """Distances of a sample of crystals to their nearest neighbours, ascending."""
        if self._spacing is not None:
            return self._spacing
        if len(self) < 2:
            return np.zeros(0)
        chosen = np.sort(np.random.default_rng(0).permutation(len(self))[:_SAMPLE])
        rows, products = nearest_rows(self.vectors, self.vectors[chosen], 2)
        other = np.where(rows[:, 0] == chosen, products[:, 1], products[:, 0])
        return np.sort(1.0 - other.astype(float))

    @cached_property
    def _approximate(self) -> Any:
        from .approximate import ApproximateNeighbors

        return ApproximateNeighbors(self.vectors)

    def nearest(
        self,
        queries: np.ndarray,
        k: int,
        filter: Filter | None = None,
        exact: bool | None = None,
        left_out: Sequence[int] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and distances of the k nearest, (q, k) each; rows are -1 where an approximate search found no more."""
        k = checked_number(k)
        if not len(self):
            raise QueryError("index", "0 crystals", "a search needs at least one crystal", "Add crystals to the index.")
        allowed = None if filter is None else allowed_by(filter, self.table)
        if len(left_out):
            allowed = np.ones(len(self), bool) if allowed is None else allowed
            allowed[list(left_out)] = False
        if len(self) <= EXACT_UP_TO if exact is None else exact:
            rows, products = nearest_rows(self.vectors, queries, k, allowed)
        else:
            rows, products = self._approximate.nearest_rows(queries, k, allowed)
        return rows, np.maximum(0.0, 1.0 - products.astype(float))
