"""A table of the nearest neighbours of every crystal in an embedding space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..crystals.formats.tables import as_ids
from ..errors import QueryError, counted
from .vectors import nearest_to_each


def neighbor_table(embeddings: np.ndarray, material_ids: Sequence[str], k: int = 10) -> pd.DataFrame:
    """The k other crystals nearest to every crystal, exactly, by Euclidean distance.

    Parameters
    ----------
    embeddings : numpy.ndarray
        (n, F).
    material_ids : sequence of str
        Names of the rows.
    k : int
        Neighbours per crystal; fewer if there are not so many others.

    Returns
    -------
    pandas.DataFrame
        Columns ``material_id``, ``rank`` (from 1), ``neighbor_id``, ``distance``.

    Raises
    ------
    QueryError
        If there is not one id for each row.

    Examples
    --------
    >>> neighbor_table(np.array([[0.0], [1.0], [3.0]]), ["a", "b", "c"], k=1)
      material_id  rank neighbor_id  distance
    0           a     1           b       1.0
    1           b     1           a       1.0
    2           c     1           b       2.0
    """
    points, names = np.asarray(embeddings, float), as_ids(material_ids)
    if points.ndim != 2 or len(points) != len(names):
        raise QueryError("embeddings", f"shape {points.shape} for {counted(len(names), 'id')}",
                         "each id has one vector", "Check the ids and the embeddings.")  # fmt: skip
    k = max(0, min(k, len(points) - 1))
    # |a - b|^2 = |a|^2 - 2 (a.b - |b|^2 / 2): the nearest points are those of the largest inner product of (a, 1) with
    # (b, -|b|^2 / 2).
    centred = points - points.mean(axis=0) if len(points) else points
    keys = np.column_stack([centred, -0.5 * (centred**2).sum(axis=1)])
    neighbor, _ = nearest_to_each(keys, k, progress=False, queries=np.column_stack([centred, np.ones(len(points))]))
    distance = np.sqrt(sum((points[neighbor][..., f] - points[:, None, f]) ** 2 for f in range(points.shape[1])))
    order = np.argsort(distance, axis=1, kind="stable")
    neighbor, distance = np.take_along_axis(neighbor, order, axis=1), np.take_along_axis(distance, order, axis=1)
    ids = np.asarray(names, object)
    return pd.DataFrame(
        {
            "material_id": np.repeat(ids, k),
            "rank": np.tile(np.arange(1, k + 1), len(ids)),
            "neighbor_id": ids[neighbor].ravel(),
            "distance": distance.ravel(),
        }
    )
