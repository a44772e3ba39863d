"""Crystals of an index in the format of Chemiscope, with their map and all that is known of them.

The format is that of chemiscope.org (Fraux, Cersonsky & Ceriotti, J. Open Source Softw. 5 (2020) 2117). Numbers that
are not known are written as NaN, as Chemiscope itself writes them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.elements import symbols
from ..crystals.records import Crystal
from ..crystals.work_folders import writing
from ..errors import QueryError, an_object, counted
from ..search.coloring import unit_in
from ..search.index import EmbeddingIndex

MOST_CRYSTALS = 20_000
"""Largest number of crystals in one file; Chemiscope reads all of it before it shows the first."""
_MAP = ("map x", "map y")


def write_chemiscope(
    index: EmbeddingIndex,
    path: str | Path,
    ids: Iterable[Any] | None = None,
    *,
    units: Mapping[str, str] | None = None,
    title: str = "Map of materials",
) -> Path:
    """Write crystals of an index as a file that Chemiscope shows.

    Each column of the index becomes a property, and the positions on the map are the properties "map x" and "map y",
    which are shown at first. Of mixed sites the majority species is written.

    Parameters
    ----------
    index : EmbeddingIndex
        With structures. If it has no map yet, the map is laid out.
    path : str or Path
        A name that ends in ``.json`` or ``.json.gz``.
    ids : iterable, optional
        Ids of the crystals, such as :attr:`MapWidget.selection`; by default all.
    units : mapping of str to str, optional
        Units of columns. Units that the name of a column tells, as in "gap (eV)", are known.
    title : str

    Returns
    -------
    Path

    Raises
    ------
    QueryError
        If there are no structures, no crystals, or more than 20,000; an id or a column is not in the index; or the
        name of the file has another ending.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> index = EmbeddingIndex.from_structures(bundled_prototypes()[:20], model="small", progress=False)
    >>> path = write_chemiscope(index, tempfile.mkdtemp() + "/some.json", index.table["material_id"][:5])
    >>> content = json.loads(path.read_text())
    >>> len(content["structures"]), list(content["properties"])[:4]
    (5, ['map x', 'map y', 'material_id', 'formula'])
    """
    path = Path(path)
    if not path.name.endswith((".json", ".json.gz")):
        raise QueryError(
            "path", path.name, "Chemiscope reads .json and .json.gz", "Give the file one of these endings."
        )
    rows = _rows(index, ids)
    units = dict(units or {})
    for name in units:
        if name not in index.table:
            raise QueryError("units", repr(name), "units are given for columns of the index",
                             f"It has {', '.join(map(str, index.table))}.")  # fmt: skip
    assert index.structures is not None
    content = {
        "meta": {"name": title},
        "structures": [structure_of(index.structures[row]) for row in rows],
        "properties": _properties(index, rows, units),
        "settings": {
            "map": {axis: {"property": name} for axis, name in zip("xy", _MAP, strict=True)},
            "structure": [{"unitCell": True}],
        },
    }
    text = json.dumps(content).encode()
    with writing(path) as part:
        part.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


def structure_of(crystal: Crystal) -> dict[str, Any]:
    """A crystal as Chemiscope has it: symbols, Cartesian coordinates (Å) and the nine numbers of the cell."""
    x, y, z = (crystal.frac_coords @ crystal.lattice).T.tolist()
    return {
        "size": crystal.num_nodes,
        "names": [symbols()[number] for number in crystal.atomic_numbers],
        "x": x,
        "y": y,
        "z": z,
        "cell": crystal.lattice.ravel().tolist(),
    }


def _rows(index: EmbeddingIndex, ids: Iterable[Any] | None) -> list[int]:
    if not isinstance(index, EmbeddingIndex):
        raise QueryError("index", an_object(index), "crystals of an EmbeddingIndex are written",
                         "Take a part of a ShardedIndex, for example index.sample(5000).")  # fmt: skip
    if index.structures is None:
        raise QueryError("index", "no structures", "Chemiscope shows structures",
                         "Give structures= when building the index.")  # fmt: skip
    rows = list(range(len(index))) if ids is None else index.gallery.rows_of_ids(ids)
    if not 1 <= len(rows) <= MOST_CRYSTALS:
        raise QueryError("ids", counted(len(rows), "crystal"), f"a file has from 1 to {MOST_CRYSTALS:,} crystals",
                         "Pass the ids of a selection.")  # fmt: skip
    return rows


def _properties(index: EmbeddingIndex, rows: list[int], units: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found = {name: _property(values) for name, values in zip(_MAP, index.map.positions[rows].T, strict=True)}
    for name in map(str, index.table):
        found[name] = _property(_values(index.table[name].iloc[rows]))
        unit = units.get(name) or unit_in(name)
        if unit is not None:
            found[name]["units"] = unit
    return found


def _property(values: np.ndarray) -> dict[str, Any]:
    return {"target": "structure", "values": values.tolist()}


def _values(column: pd.Series) -> np.ndarray:
    """Numbers with NaN, or words, empty where unknown; true and false become words."""
    if pd.api.types.is_bool_dtype(column):
        return column.map({True: "yes", False: "no"}).fillna("").to_numpy(str)
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(float, na_value=np.nan)
    return column.astype(object).where(column.notna(), "").to_numpy(str)
