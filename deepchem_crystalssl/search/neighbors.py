"""Nearest neighbours in an embedding space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors


def neighbor_table(embeddings: np.ndarray, material_ids: Sequence[str], k: int = 10) -> pd.DataFrame:
    """The k nearest other crystals of every crystal, exactly.

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

    Examples
    --------
    >>> neighbor_table(np.array([[0.0], [1.0], [3.0]]), ["a", "b", "c"], k=1)
      material_id  rank neighbor_id  distance
    0           a     1           b       1.0
    1           b     1           a       1.0
    2           c     1           b       2.0
    """
    k = min(k, len(embeddings) - 1)
    index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(embeddings)
    distance, neighbor = index.kneighbors()  # without arguments a point is not its own neighbour
    ids = np.asarray(material_ids, object)
    return pd.DataFrame(
        {
            "material_id": np.repeat(ids, k),
            "rank": np.tile(np.arange(1, k + 1), len(ids)),
            "neighbor_id": ids[neighbor].ravel(),
            "distance": distance.ravel(),
        }
    )
