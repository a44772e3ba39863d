"""Nearest neighbours by vectors: the one place where they are searched for, exactly or approximately."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_ROWS_AT_ONCE = 65_536
_QUERIES_AT_ONCE = 2_048
EXACT_EACH_UP_TO = 20_000
"""Crystals up to which :func:`nearest_to_each` compares every one with every other."""


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a row of zeros stays as it is."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def nearest_rows(
    vectors: np.ndarray, queries: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of largest inner product with each query, exactly, and the products.

    Parameters
    ----------
    vectors : numpy.ndarray
        (n, F), may be memory-mapped.
    queries : numpy.ndarray
        (q, F).
    k : int
    allowed : numpy.ndarray, optional
        bool (n,), rows that may be answers.

    Returns
    -------
    rows, products : numpy.ndarray
        (q, k) each, best first; fewer columns if fewer rows are allowed.

    Examples
    --------
    >>> nearest_rows(np.eye(3, dtype=np.float32), np.array([[0.2, 0.9, 0.0]], np.float32), k=2)[0]
    array([[1, 0]])
    """
    candidates = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
    k = min(k, len(candidates))
    best_rows, best = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(candidates), _ROWS_AT_ONCE):
        part = candidates[start : start + _ROWS_AT_ONCE]
        whole = slice(part[0], part[-1] + 1)  # without a copy where no row is left out
        block = vectors[whole] if part[-1] - part[0] + 1 == len(part) else vectors[part]
        products = np.ascontiguousarray(queries) @ block.T
        top = _largest(products, k)
        best_rows = np.concatenate([best_rows, part[top]], axis=1)
        best = np.concatenate([best, np.take_along_axis(products, top, axis=1)], axis=1)
        top = _largest(best, k)
        best_rows, best = np.take_along_axis(best_rows, top, axis=1), np.take_along_axis(best, top, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(best_rows, order, axis=1), np.take_along_axis(best, order, axis=1)


def nearest_to_any(
    vectors: np.ndarray, queries: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows whose largest product with one of several queries is largest, and these products; (k,) each."""
    rows, products = nearest_rows(vectors, queries, k, allowed)
    order = np.argsort(-products, axis=None, kind="stable")
    distinct, first = np.unique(rows.ravel()[order], return_index=True)
    best = np.argsort(first)[:k]
    return distinct[best], products.ravel()[order][first[best]]


def nearest_to_each(
    vectors: np.ndarray, k: int, seed: int = 0, progress: bool | None = None, queries: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k other rows nearest to each row, and 1 - product; approximately where there are many.

    Parameters
    ----------
    vectors : numpy.ndarray
        (n, F), for the approximate search of length 1.
    k : int
        Less than n.
    seed : int
        Of the approximate search.
    progress : bool, optional
        Progress bar; by default on a terminal only.
    queries : numpy.ndarray, optional
        (n, F), the rows as they are compared with others, if other than ``vectors``; the search is exact then.

    Returns
    -------
    neighbors, distances : numpy.ndarray
        int32 and float32 (n, k), nearest first.
    """
    from tqdm import tqdm

    exact: Callable = lambda asked, k: nearest_rows(vectors, asked, k)  # noqa: E731
    find = exact
    if queries is None and len(vectors) > EXACT_EACH_UP_TO:
        from .approximate import ApproximateNeighbors

        find = ApproximateNeighbors(vectors, seed).nearest_rows
    asked_by = vectors if queries is None else queries
    neighbors, distances = np.zeros((len(vectors), k), np.int32), np.zeros((len(vectors), k), np.float32)
    disable = None if progress is None else not progress
    for start in tqdm(range(0, len(vectors), _QUERIES_AT_ONCE), "neighbours", disable=disable, delay=1.0):
        asked = np.asarray(asked_by[start : start + _QUERIES_AT_ONCE])
        rows, products = find(asked, k + 1)
        short = (rows < 0).any(axis=1)  # the cells that were looked into held too few crystals
        if short.any():
            rows[short], products[short] = exact(asked[short], k + 1)
        own = rows == np.arange(start, start + len(asked))[:, None]
        own[~own.any(axis=1), -1] = True  # among many equal vectors a row may not be in its own list
        others = ~own
        neighbors[start : start + len(asked)] = rows[others].reshape(len(asked), k)
        distances[start : start + len(asked)] = np.maximum(0.0, 1.0 - products[others].reshape(len(asked), k))
    return neighbors, distances


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest values of each row, in any order."""
    if values.shape[1] <= k:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    return np.argpartition(-values, k - 1, axis=1)[:, :k]
