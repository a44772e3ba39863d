"""Crystals from the columns of a table: atomic numbers, fractional coordinates and the cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..errors import CrystalInputError, UnsupportedObjectError, typed_error
from .texts import Item
from .validation import lattice_from_parameters, make_crystal


def crystals_of_columns(frame: pd.DataFrame, ids: list[str]) -> Iterator[Item]:
    """The crystals of a table with atomic_numbers, frac_coords and lattice or cell, or their errors, row by row."""
    cells = frame["lattice"] if "lattice" in frame else frame["cell"]
    for name, numbers, frac, cell in zip(ids, frame["atomic_numbers"], frame["frac_coords"], cells, strict=True):
        try:
            plain = (
                isinstance(cell, np.ndarray) and cell.dtype.kind in "fiu"
            )  # nine or six numbers, as Parquet gives them
            flat = cell.ravel() if plain else np.concatenate([np.atleast_1d(row) for row in cell])
            flat = flat.astype(float)
            lattice = lattice_from_parameters(*flat) if len(flat) == 6 else flat.reshape(3, 3)
            coordinates = np.asarray(frac)
            if coordinates.dtype == object:
                coordinates = np.stack(list(coordinates))
            yield make_crystal(numbers, coordinates.reshape(-1, 3), lattice, name)
        except CrystalInputError as error:
            yield typed_error(error, name)
        except Exception as error:
            yield UnsupportedObjectError(
                name,
                str(error).split("\n")[0],
                "a record needs atomic_numbers, frac_coords and a cell",
                "Check the lengths of the three columns.",
            )
