"""Search by vectors in crystals on disk: a shortlist by compressed vectors, then the vectors themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import QueryError
from .filters import Filter
from .formulas import read_formula
from .gallery import Searchable
from .sharded_layout import PATTERNS, VECTORS
from .queries import checked_number
from .segments import Segment, shortlist
from .stored_rows import Lookup, StoredColumns, StoredRows, compound_key
from .vectors import nearest_rows, unit_rows

if TYPE_CHECKING:
    from ..crystals.records import Crystal

EXACT_UP_TO = 20_000
"""Number of crystals up to which a search compares the query with all of them by default."""
SHORTLIST = 400
"""At least so many crystals are compared with the query exactly, and more if more answers are asked for."""


@dataclass(frozen=True)
class Files:
    """What a sharded index is searched by.

    Attributes
    ----------
    rows : StoredRows
    columns : StoredColumns or None
        Given by the user.
    segments : dict from str to list of Segment
        Compressed vectors, by the column of the vectors.
    ids, compounds : list of Lookup
    spacing : numpy.ndarray
        Distances of a sample of crystals to their nearest neighbours, ascending.
    """

    rows: StoredRows
    columns: StoredColumns | None
    segments: dict[str, list[Segment]]
    ids: list[Lookup]
    compounds: list[Lookup]
    spacing: np.ndarray


class ShardedGallery(Searchable):
    """Crystals on disk to be searched.

    Parameters
    ----------
    files : Files
    embed : callable
        From a crystal to its vector (F,).
    """

    def __init__(self, files: Files, embed: Callable[[Crystal], np.ndarray]):
        self.files, self._embed = files, embed
        self._masks: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.files.rows)

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.files.rows.width(VECTORS)

    @property
    def has_space_groups(self) -> bool:
        """Whether the space groups of the crystals are known."""
        return "space_group" in self.files.rows.columns

    @property
    def spacing(self) -> np.ndarray:
        """Distances of a sample of crystals to their nearest neighbours, ascending."""
        return self.files.spacing

    def rows_named(self, text: str) -> list[int]:
        """The rows of an id, or of a compound by its formula; none if the text is neither.

        Raises
        ------
        QueryError
            If the text can be read as several compounds of the index.
        """
        rows = [row for lookup in self.files.ids for row in lookup.rows(text)]
        rows = [row for row, known in zip(rows, self.known(rows), strict=True) if known["material_id"] == text]
        if rows:
            return rows
        found = {}
        for key in {compound_key(amounts) for amounts in read_formula(text)}:
            rows = [row for lookup in self.files.compounds for row in lookup.rows(key)]
            if rows:
                found[self.known(rows[:1])[0]["formula"]] = rows
        if len(found) > 1:
            raise QueryError(text, f"may mean {' or '.join(sorted(found))}", "a formula names one compound",
                             "Write the symbols of the elements with their capital letters.")  # fmt: skip
        return next(iter(found.values()), [])

    def vectors_of(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """float32 (len(rows), F), of length 1."""
        return unit_rows(self.files.rows.vectors(rows, VECTORS))

    def known(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """What is known of some crystals."""
        return self.files.rows.known(rows, self.files.columns)

    def mask(self, filter: Filter) -> np.ndarray:
        """Which rows fulfil the conditions, bool (n,); those of the last filter are remembered.

        Raises
        ------
        QueryError
            If there is no such column or element.
        """
        asked = repr(filter)
        if asked not in self._masks:
            self._masks = {asked: self.files.rows.mask(filter, self.files.columns)}
        return self._masks[asked]

    def nearest(
        self,
        queries: np.ndarray,
        k: int,
        filter: Filter | None = None,
        exact: bool | None = None,
        left_out: Sequence[int] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and distances (1 - cosine) of the k nearest, (q, k) each; -1 and infinite beyond the last."""
        k = checked_number(k)
        allowed = None if filter is None else self.mask(filter)
        if len(left_out):
            allowed = np.ones(len(self), bool) if allowed is None else allowed.copy()
            allowed[list(left_out)] = False
        if len(self) <= EXACT_UP_TO if exact is None else exact:
            return self._nearest_of_all(queries, k, allowed, VECTORS)
        listed = shortlist(self.files.segments[VECTORS], queries, max(SHORTLIST, 4 * k), allowed)
        rows, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf)
        for number, (query, near) in enumerate(zip(queries, listed, strict=True)):
            near = near[near >= 0]
            products = self.vectors_of(near) @ query
            best = np.argsort(-products, kind="stable")[:k]
            rows[number, : len(best)] = near[best]
            distances[number, : len(best)] = np.maximum(0.0, 1.0 - products[best])
        return rows, distances

    def _nearest_of_all(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, column: str
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, products = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf)
        for of_block, vectors in self.files.rows.blocks(column):
            kept = slice(None) if allowed is None else allowed[of_block]
            block = of_block[kept]
            if len(block):
                places, found = nearest_rows(unit_rows(vectors[kept]), queries, min(k, len(block)))
                rows, products = np.hstack([rows, block[places]]), np.hstack([products, found])
                order = np.argsort(-products, axis=1, kind="stable")[:, :k]
                rows, products = (np.take_along_axis(part, order, axis=1) for part in (rows, products))
        return rows, np.where(rows < 0, np.inf, np.maximum(0.0, 1.0 - products))

    def nearest_patterns(self, queries: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The k rows whose pattern is most similar to one of several, and the cosines, best first; (k,) each."""
        if len(self) <= EXACT_UP_TO:
            rows, distances = self._nearest_of_all(queries, k, allowed, PATTERNS)
        else:
            listed = np.unique(shortlist(self.files.segments[PATTERNS], queries, max(SHORTLIST, 2 * k), allowed))
            listed = listed[listed >= 0]
            places, products = nearest_rows(unit_rows(self.files.rows.vectors(listed, PATTERNS)), queries, k)
            rows, distances = listed[places], 1.0 - products
        order = np.argsort(distances, axis=None, kind="stable")
        order = order[rows.ravel()[order] >= 0]
        distinct, first = np.unique(rows.ravel()[order], return_index=True)
        best = np.argsort(first)[:k]
        return distinct[best], 1.0 - distances.ravel()[order][first[best]]
