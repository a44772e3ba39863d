"""Vectors and what is known of them, row by row: the part of an index that answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..errors import QueryError
from .answers import Answers, Neighbor
from .catalogue import Facts
from .filters import Filter
from .queries import checked_k
from .vectors import ApproximateNeighbors, nearest_rows

EXACT_UP_TO = 300_000
"""Crystals; in larger indices the approximate engine answers, unless told otherwise."""
_SAMPLE = 500


class Gallery:
    """Crystals to be found. Immutable: what is derived from it is computed once.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32 (n, F), of length 1.
    table : pandas.DataFrame
        material_id and all that is known, (n,).
    spacing : numpy.ndarray, optional
        If known already.
    """

    def __init__(self, vectors: np.ndarray, table: pd.DataFrame, spacing: np.ndarray | None = None):
        self.vectors = vectors
        self.table = table
        if spacing is not None:
            self.__dict__["spacing"] = spacing

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of every material_id."""
        return {name: row for row, name in enumerate(self.table["material_id"])}

    @cached_property
    def spacing(self) -> np.ndarray:
        """Distances of a sample of crystals to their nearest neighbours, ascending."""
        if len(self) < 2:
            return np.zeros(0)
        chosen = np.sort(np.random.default_rng(0).permutation(len(self))[:_SAMPLE])
        rows, products = nearest_rows(self.vectors, self.vectors[chosen], 2)
        other = np.where(rows[:, 0] == chosen, products[:, 1], products[:, 0])
        return np.sort(1.0 - other.astype(float))

    @cached_property
    def _approximate(self) -> ApproximateNeighbors:
        return ApproximateNeighbors(self.vectors)

    def nearest(
        self,
        queries: np.ndarray,
        k: int,
        filter: Filter | None = None,
        exact: bool | None = None,
        left_out: Sequence[int] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and distances of the k nearest, (q, k) each; rows of -1 where the approximate engine found no more."""
        k = checked_k(k)
        if not len(self):
            raise QueryError("index", "0 crystals", "a search needs at least one crystal", "Add crystals to the index.")
        allowed = None if filter is None else filter.mask(self.table)
        if len(left_out):
            allowed = np.ones(len(self), bool) if allowed is None else allowed
            allowed[list(left_out)] = False
        if exact is None:
            exact = len(self) <= EXACT_UP_TO
        if exact:
            rows, products = nearest_rows(self.vectors, queries, k, allowed)
        else:
            rows, products = self._approximate.nearest_rows(queries, k, allowed)
        return rows, np.maximum(0.0, 1.0 - products.astype(float))

    def answer(self, rows: np.ndarray, distances: np.ndarray, facts: Facts | None) -> Answers[Neighbor]:
        """Records of the rows found, and what they share with the query."""
        kept = rows >= 0
        known: list[dict[str, Any]] = self.table.iloc[rows[kept]].to_dict("records")  # type: ignore[assignment]
        answers = []
        for rank, (row, distance) in enumerate(zip(known, distances[kept].tolist(), strict=True), start=1):
            nearer = np.searchsorted(self.spacing, distance) / max(1, len(self.spacing))
            shares = "" if facts is None else facts.shared(Facts.of_row(row))
            name, formula = row.pop("material_id"), row.pop("formula", "") or ""
            answers.append(Neighbor(name, rank, distance, round(100.0 * nearer, 1), shares, formula, row))
        return Answers(answers)
