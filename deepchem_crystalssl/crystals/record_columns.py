"""Crystals from the columns of a table: atomic numbers, fractional coordinates and the cell, or those of OPTIMADE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..errors import CrystalInputError, UnsupportedObjectError, typed_error
from .formats.database_entries import from_optimade
from .formats.tables import OPTIMADE_COLUMNS
from .formats.texts import Item
from .validation import lattice_from_parameters, make_crystal


def crystals_of_columns(frame: pd.DataFrame, ids: list[str]) -> Iterator[Item]:
    """The crystals of a table with atomic_numbers, frac_coords and lattice or cell, or their errors, row by row."""
    cells = frame["lattice"] if "lattice" in frame else frame["cell"]
    for name, *values in zip(ids, frame["atomic_numbers"], frame["frac_coords"], cells, strict=True):
        try:
            numbers, frac, cell = (_numbers_in(value, name) if isinstance(value, str) else value for value in values)
            plain = isinstance(cell, np.ndarray) and cell.dtype.kind in "fiu"  # nine or six, as Parquet gives them
            flat = cell.ravel() if plain else np.concatenate([np.atleast_1d(row) for row in cell])
            flat = flat.astype(float)
            lattice = lattice_from_parameters(*flat) if len(flat) == 6 else flat.reshape(3, 3)
            coordinates = np.asarray(frac)
            if coordinates.dtype == object:
                coordinates = np.stack(list(coordinates))
            yield make_crystal(numbers, coordinates.reshape(-1, 3), lattice, name)
        except CrystalInputError as error:
            yield error
        except Exception as error:
            yield UnsupportedObjectError(
                name,
                str(error).split("\n")[0],
                "a record needs atomic_numbers, frac_coords and a cell",
                "Check the lengths of the three columns.",
            )


def _numbers_in(text: str, name: str) -> Any:
    """The numbers of a list or an array as pandas writes it to a CSV file, one after the other."""
    try:
        words = re.sub(r"array|[\[\](),]", " ", text.replace("_", "?")).split()  # float("1_0") is 10
        return np.array([int(word) if word.isdecimal() else float(word) for word in words])
    except ValueError as error:
        shown = f"{text[:60]}..." if len(text) > 60 else text
        what = "a list that was shortened when it was written" if "..." in text else "no list of numbers"
        rule, remedy = "a column of numbers holds all of them", "Write the table as Parquet, which keeps lists."
        raise UnsupportedObjectError(name, f"{shown!r}, {what}", rule, remedy) from error


def from_optimade_columns(frame: pd.DataFrame, ids: list[str]) -> Iterator[Item]:
    """The crystals of LeMaterial's columns, which are called as the attributes in OPTIMADE."""
    columns = [column for column in OPTIMADE_COLUMNS if column in frame]
    for name, *values in zip(ids, *(frame[column] for column in columns), strict=True):
        try:
            yield from_optimade(dict(zip(columns, values, strict=True)), name)
        except Exception as error:  # a bad row costs itself alone, whatever its values make a library raise
            yield typed_error(error, name, UnsupportedObjectError)
