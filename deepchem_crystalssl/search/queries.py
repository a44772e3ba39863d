"""What a search may be asked with: an id, a formula, a crystal, its file, or a vector."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .catalogue import Facts
from ..crystals.formats.files import in_short
from ..crystals.formats.tables import as_ids
from ..errors import QueryError, an_object

if TYPE_CHECKING:
    from ..crystals.records import Crystal


class Searched(Protocol):
    """The rows of an index, whether they are in memory or on disk."""

    @property
    def width(self) -> int:
        """Length of a vector."""

    @property
    def has_space_groups(self) -> bool:
        """Whether the space groups of the crystals are known."""

    def rows_named(self, text: str) -> list[int]:
        """The rows of an id, or of a compound by its formula; none if the text is neither."""

    def vectors_of(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """float32 (len(rows), F), of length 1."""

    def facts_of(self, row: int) -> Facts:
        """What is known of a crystal."""


@dataclass(frozen=True)
class Asked:
    """A query: its vector, the rows of the index that it names, and the facts that answers are compared with."""

    vector: np.ndarray
    rows: list[int]
    facts: Facts | None


def is_several(x: Any) -> bool:
    """Whether a query is a list of queries."""
    return isinstance(x, list | tuple | set | frozenset) or isinstance(x, np.ndarray) and x.ndim == 2


def checked_number(number: Any, name: str = "k", of: str = "answers", example: str = "Pass k=10, say.") -> int:
    """How many answers or phases are asked for.

    Raises
    ------
    QueryError
        If it is not a whole number of at least 1.
    """
    if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
        raise QueryError(name, repr(number), f"the number of {of} is a whole number of at least 1", example)
    return int(number)


def distinct_names(names: list[str]) -> list[str]:
    """Names made distinct: those that come again are numbered.

    Examples
    --------
    >>> distinct_names(["Fe", "Fe", "Fe (2)", "Co"])
    ['Fe', 'Fe (3)', 'Fe (2)', 'Co']
    """
    taken, times = set(names), dict[str, int]()
    distinct = []
    for name in names:
        times[name] = times.get(name, 0) + 1
        numbered = name
        while times[name] > 1 and numbered in taken:
            numbered = f"{name} ({times[name]})"
            times[name] += numbered in taken
        taken.add(numbered)
        distinct.append(numbered)
    return distinct


def read_one(source: Any) -> Crystal:
    """The crystal of a source that holds exactly one.

    Parameters
    ----------
    source
        A structure or the path of its file, as :func:`~deepchem_crystalssl.read_structures` reads them.

    Raises
    ------
    QueryError
        If the source is a folder, or holds several crystals.
    CrystalInputError
        If it holds none that can be read.
    """
    from ..crystals.reading import read_structures

    item = in_short(source) if isinstance(source, str | os.PathLike) else an_object(source)
    rule, remedy = "a query is one crystal", "Give one of its files or structures, or a list of them."
    if isinstance(source, str | os.PathLike) and os.path.isdir(source):
        raise QueryError(item, "a folder", rule, remedy)
    found = list(islice(read_structures(source, "raise", progress=False), 2))
    if len(found) != 1:
        raise QueryError(item, "several crystals" if found else "no crystal", rule, remedy)
    return found[0]


def resolve(x: Any, gallery: Searched, embed: Callable[[Crystal], np.ndarray]) -> Asked:
    """What a query means: a vector, an id, a formula, a crystal or its file; or several of these, whose mean counts.

    Raises
    ------
    QueryError, CrystalInputError
        If the index has no such crystal, or a file does not hold exactly one.
    """
    if _is_list_of_numbers(x):
        x = np.asarray(x, float)
    if not is_several(x):
        return _resolve_one(x, gallery, embed)
    parts = [_resolve_one(one, gallery, embed) for one in x]
    if not parts:
        raise QueryError("query", "an empty list", "a search needs at least one crystal to compare with",
                         "Give an id, a formula, a structure, a file or a vector.")  # fmt: skip
    vector = with_direction(np.mean([part.vector for part in parts], axis=0))
    return Asked(vector, [row for part in parts for row in part.rows], parts[0].facts if len(parts) == 1 else None)


def _is_list_of_numbers(x: Any) -> bool:
    """Whether a query is a vector that was given as a list; whole numbers alone are ids."""
    numbers = isinstance(x, list | tuple) and all(isinstance(one, Real) and not isinstance(one, bool) for one in x)
    return numbers and not all(isinstance(one, Integral) for one in x)


def _resolve_one(item: Any, gallery: Searched, embed: Callable[[Crystal], np.ndarray]) -> Asked:
    if isinstance(item, np.ndarray):
        return Asked(_checked(item, gallery), [], None)
    if isinstance(item, Integral) and not isinstance(item, bool):
        [item] = as_ids([item])
    if isinstance(item, str):
        if not item.strip():
            raise QueryError("query", "an empty text")
        if rows := gallery.rows_named(item):
            return Asked(np.mean(gallery.vectors_of(rows), axis=0), rows, gallery.facts_of(rows[0]))
        if "\n" not in item and not os.path.exists(item):
            raise QueryError(item, "neither an id nor a formula of the index, nor a file")
    crystal = read_one(item)
    row: dict[str, Any] = {"formula": crystal.reduced_formula, "chemical_system": crystal.chemical_system}
    if gallery.has_space_groups:
        from ..crystals.symmetry import space_group

        row["space_group"] = space_group(crystal)
    return Asked(_checked(embed(crystal), gallery), [], Facts.of_row(row))


def _checked(vector: np.ndarray, gallery: Searched) -> np.ndarray:
    columns, remedy = gallery.width, "Embed with the index's model, in its space."
    if vector.shape != (columns,) or vector.dtype.kind not in "fiu" or not np.isfinite(vector).all():
        raise QueryError("vector", f"shape {vector.shape}, {vector.dtype}", f"a vector has {columns} finite numbers",
                         remedy)  # fmt: skip
    return with_direction(np.asarray(vector, np.float32))


def with_direction(vector: np.ndarray) -> np.ndarray:
    """A vector, unless its length is 0.

    Raises
    ------
    QueryError
        Its distance from every crystal would be the same.
    """
    if not vector.any():
        raise QueryError("query", "a vector of length 0", "a vector of length 0 has no direction to compare",
                         "Check how the vector was made, or query by a structure.")  # fmt: skip
    return vector
