"""The rows of a matrix nearest to a vector: exactly, or through cells of like vectors."""

from __future__ import annotations

import faiss
import numpy as np

_ROWS_AT_ONCE = 65_536
_ROWS_PER_CELL = 256
_TRAINING_ROWS = 20_000
_PROBES = 24


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32; a row of zeros stays."""
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
        whole = slice(part[0], part[-1] + 1)  # without a copy where nothing is left out
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


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest values of each row, in any order."""
    if values.shape[1] <= k:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    return np.argpartition(-values, k - 1, axis=1)[:, :k]


class ApproximateNeighbors:
    """The same, looking only into the cells nearest to a query: faiss's inverted file (Jégou et al. 2011).

    Parameters
    ----------
    vectors : numpy.ndarray
        (n, F) of length 1; the library keeps a copy.
    seed : int
    """

    def __init__(self, vectors: np.ndarray, seed: int = 0):
        n_cells = max(1, len(vectors) // _ROWS_PER_CELL)
        self._quantizer = faiss.IndexFlatIP(vectors.shape[1])
        self._index = faiss.IndexIVFFlat(self._quantizer, vectors.shape[1], n_cells, faiss.METRIC_INNER_PRODUCT)
        self._index.cp.seed = seed
        self._index.cp.niter = 8
        chosen = np.random.default_rng(seed).permutation(len(vectors))[:_TRAINING_ROWS]
        self._index.cp.min_points_per_centroid = 1
        self._index.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            self._index.add(np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE]))

    def nearest_rows(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None, probes: int = _PROBES
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :func:`nearest_rows`; where a query has fewer answers, rows are -1 and products -inf."""
        parameters = faiss.SearchParametersIVF(nprobe=probes)
        if allowed is not None:
            selected = np.packbits(allowed, bitorder="little")
            parameters = faiss.SearchParametersIVF(nprobe=probes, sel=faiss.IDSelectorBitmap(selected))
        products, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        return rows, np.where(rows < 0, -np.inf, products)
