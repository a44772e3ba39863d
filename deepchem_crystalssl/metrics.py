"""Exact measures of what embeddings know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def retrieval_recall(
    queries: np.ndarray, gallery: np.ndarray, k: Sequence[int] = (1, 5, 10), block: int = 1024
) -> dict[int, float]:
    """Share of queries whose own partner is among the k nearest of the gallery.

    Exact and row by row: query i is found only if gallery row i is nearer than all but k - 1 others. An equally near
    other row counts against it, so constant vectors score nothing.

    Parameters
    ----------
    queries, gallery : numpy.ndarray
        (n, F); row i of both belongs to one crystal. Euclidean distance.
    k : sequence of int
        Ranks.
    block : int
        Queries at a time.

    Returns
    -------
    dict from int to float

    Examples
    --------
    >>> points = np.eye(4)
    >>> retrieval_recall(points, points[[0, 1, 3, 2]], k=(1, 4))
    {1: 0.5, 4: 1.0}
    """
    queries, gallery = np.asarray(queries, float), np.asarray(gallery, float)
    if queries.shape != gallery.shape:
        raise ValueError(f"{queries.shape} queries and {gallery.shape} gallery rows; they must be partners, row by row")
    norms = (gallery**2).sum(1)
    ranks = np.empty(len(queries), int)
    for start in range(0, len(queries), block):
        rows = np.arange(start, min(start + block, len(queries)))
        distance = norms - 2 * queries[rows] @ gallery.T
        own = distance[np.arange(len(rows)), rows]
        ranks[rows] = (distance <= own[:, None]).sum(1)
    return {int(n): float((ranks <= n).mean()) for n in k}
