"""What an index is asked by."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import QueryError
from ..crystals.records import Crystal
from ..crystals.reading import read_structures
from ..crystals.symmetry import space_group
from .catalogue import Facts
from .gallery import Gallery


@dataclass(frozen=True)
class Asked:
    """A query: its vector, the rows of the index it is, and its facts."""

    vector: np.ndarray
    rows: list[int]
    facts: Facts | None


def is_several(x: Any) -> bool:
    """Whether a query is a list of queries."""
    return isinstance(x, list | tuple) or (isinstance(x, np.ndarray) and x.ndim == 2)


def distinct_names(names: list[str]) -> list[str]:
    """Names, those that come again numbered.

    Examples
    --------
    >>> distinct_names(["Fe", "Fe", "Co"])
    ['Fe', 'Fe (2)', 'Co']
    """
    times: dict[str, int] = {}
    distinct = []
    for name in names:
        times[name] = times.get(name, 0) + 1
        distinct.append(name if times[name] == 1 else f"{name} ({times[name]})")
    return distinct


def resolve(item: Any, gallery: Gallery, embed: Callable[[Crystal], np.ndarray]) -> Asked:
    """What one query means: a vector, an id, a formula, a crystal or its file.

    Raises
    ------
    QueryError, CrystalInputError
        If there is no such crystal in the gallery, or no crystal in the file.
    """
    if isinstance(item, np.ndarray):
        return Asked(_checked(item, gallery), [], None)
    if isinstance(item, str) and item in gallery.row_of:
        return _known(gallery, [gallery.row_of[item]])
    if isinstance(item, str) and "formula" in gallery.table:
        rows = np.flatnonzero(gallery.table["formula"] == item).tolist()
        if rows:
            return _known(gallery, rows)
    if isinstance(item, str) and not os.path.exists(item):
        raise QueryError(item, "neither an id nor a formula of the index, nor a file")
    crystal = next(iter(read_structures(item, "raise", progress=False)))
    row: dict[str, Any] = {"formula": crystal.reduced_formula, "chemical_system": crystal.chemical_system}
    row["space_group"] = space_group(crystal) if "space_group" in gallery.table else None
    return Asked(_checked(embed(crystal), gallery), [], Facts.of_row(row))


def _known(gallery: Gallery, rows: list[int]) -> Asked:
    return Asked(np.mean(gallery.vectors[rows], axis=0), rows, Facts.of_row(dict(gallery.table.iloc[rows[0]])))


def _checked(vector: np.ndarray, gallery: Gallery) -> np.ndarray:
    columns = gallery.vectors.shape[1]
    if vector.shape != (columns,) or not np.isfinite(vector).all():
        raise QueryError("vector", f"shape {vector.shape}", f"a vector has {columns} finite numbers",
                         "Embed with the index's model, in its space.")  # fmt: skip
    return np.asarray(vector, np.float32)
