"""Approximate nearest neighbours by cells of similar vectors: faiss's inverted file (Jégou et al. 2011)."""

from __future__ import annotations

import faiss
import numpy as np

_ROWS_AT_ONCE = 65_536
_ROWS_PER_CELL = 256
_TRAINING_ROWS = 20_000
_PROBES = 24


class ApproximateNeighbors:
    """Search for the nearest vectors in the cells nearest to a query.

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
        """As :func:`~deepchem_crystalssl.search.vectors.nearest_rows`.

        Where a query has fewer answers, rows are -1 and products -inf.
        """
        parameters = faiss.SearchParametersIVF(nprobe=probes)
        if allowed is not None:
            selected = np.packbits(allowed, bitorder="little")
            parameters = faiss.SearchParametersIVF(nprobe=probes, sel=faiss.IDSelectorBitmap(selected))
        products, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        return rows, np.where(rows < 0, -np.inf, products)
