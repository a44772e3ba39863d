"""The numbers of model physics in units of their spread, as kernels and networks want them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np

from .columns import MODELS, Level, Model, column_names

FARTHEST = 6.0
"""Numbers farther than this many standard deviations from the mean are set to this many."""


def standardized(numbers: np.ndarray, models: Sequence[Model] = MODELS, level: Level = "crystal") -> np.ndarray:
    """Subtract the mean of each column and divide by its standard deviation, over crystals of the Materials Project.

    Parameters
    ----------
    numbers : numpy.ndarray
        (n, F), of :func:`~deepchem_crystalssl.physics.columns.model_physics` or of its sites.
    models : sequence of {"springs", "electrons"}
        The models that the columns are of.
    level : {"crystal", "site"}

    Returns
    -------
    numpy.ndarray
        float32 (n, F), between -6 and 6.

    Examples
    --------
    >>> standardized(np.zeros((2, 40)), ["electrons"]).shape
    (2, 40)
    """
    known = _statistics(level)
    mean, std = np.array([known[name] for name in column_names(models, level)]).T
    return np.clip((numbers - mean) / std, -FARTHEST, FARTHEST).astype(np.float32)


@cache
def _statistics(level: Level) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each column; ``tools/scale_physics.py`` writes the table."""
    with files(__package__).joinpath("data", "scales.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    return {row["column"]: (float(row["mean"]), float(row["std"])) for row in rows if row["level"] == level}
