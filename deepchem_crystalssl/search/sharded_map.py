"""The map of an index that is too large to be laid out: a sample is laid out, and every other crystal placed on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from tqdm import tqdm

from ..crystals.checksums import replacing
from ..crystals.options import check_seed
from ..crystals.work_folders import alone_in, written_to
from ..errors import IndexFolderError
from .approximate import ApproximateNeighbors
from .index import EmbeddingIndex
from .sharded_layout import VECTORS
from .materials_map import NEIGHBORS
from .sharded import ShardedIndex
from .vectors import EXACT_EACH_UP_TO, nearest_rows, unit_rows

logger = logging.getLogger(__name__)

SAMPLE = 50_000
"""Crystals that are laid out, by default; the page shows these."""
COMPONENTS, CANDIDATES = 96, 3
"""Principal components by which neighbours in a large sample are found, and candidates for each of them."""
_QUERIES_AT_ONCE = 1024
_FOLDER, _POSITIONS = "sample", "positions.npy"


def sample_of(folder: str | Path, seed: int | None = None, n: int = SAMPLE) -> EmbeddingIndex:
    """The sample of a sharded index that is on the map, with its layout; it is chosen and laid out once, and kept.

    Parameters
    ----------
    folder : str or Path
        Of the sharded index.
    seed : int, optional
        Choose and lay out anew from this seed.
    n : int
        Size of the sample.

    Returns
    -------
    EmbeddingIndex
        In the folder ``sample`` of the index, so that page and server open it like any other index; in memory where
        nothing can be written there.
    """
    if seed is not None:
        check_seed("seed", seed)
    kept = sample_folder(folder)
    index = ShardedIndex.load(folder)
    if seed is None and kept.is_dir():
        try:
            found = EmbeddingIndex.load(kept)
            if found.has_map and len(found) == min(n, len(index)):
                return found
        except IndexFolderError:  # interrupted, or of another version
            pass
    if not may_keep_map(folder):
        sample = index.sample(n, seed or 0)
        sample.make_map(seed or 0)
        return sample
    with alone_in(folder, IndexFolderError):
        sample = index.sample(n, seed or 0)
        sample.make_map(seed or 0)
        sample.save(kept)
    return EmbeddingIndex.load(kept)


def may_keep_map(folder: str | Path) -> bool:
    """Whether a map that is laid out is kept in the folder of its index; the log says so where it is not."""
    may_write = os.access(folder, os.W_OK)
    if not may_write:
        logger.warning("%s: cannot be written to; its map is laid out for this time and is not kept there", folder)
    return may_write


def sample_folder(folder: str | Path) -> Path:
    """The folder of the sample of a sharded index, whether there is one yet or not."""
    return Path(folder) / _FOLDER


def place_all(folder: str | Path, sample: EmbeddingIndex, progress: bool | None = None) -> np.ndarray:
    """Positions of all crystals of a sharded index on the map of its sample, float32 (n, 2); kept in the folder.

    A crystal takes the position of one of its neighbours in the sample, as
    :meth:`MaterialsMap.place <deepchem_crystalssl.search.materials_map.MaterialsMap.place>` does.
    """
    index, path = ShardedIndex.load(folder), Path(folder) / _POSITIONS
    nearest = _by_components(sample.vectors) if len(sample) > EXACT_EACH_UP_TO else None
    positions = np.full((len(index), 2), np.nan, np.float32)
    k = min(NEIGHBORS, len(sample))
    with tqdm(total=len(index), desc="placing", disable=None if progress is None else not progress, delay=1.0) as bar:
        for rows, vectors in index.structures.blocks(VECTORS):
            queries = unit_rows(vectors)
            near, products = nearest_rows(sample.vectors, queries, k) if nearest is None else nearest(queries, k)
            positions[rows] = _beside(sample.map.positions, near, products)
            bar.update(len(rows))
    if not os.access(folder, os.W_OK):
        return positions
    with written_to(folder, IndexFolderError), alone_in(folder, IndexFolderError):
        with replacing(path) as part, open(part, "wb") as file:
            np.save(file, positions)
    return positions


def _by_components(vectors: np.ndarray) -> Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]:
    """A search for the nearest of some vectors that looks at few principal components, and then at the vectors.

    To read whole vectors of a cell for each query would take hours for millions of queries.
    """
    components = PCA(min(COMPONENTS, vectors.shape[1]), svd_solver="covariance_eigh").fit(vectors)
    cells = ApproximateNeighbors(unit_rows(components.transform(vectors)))

    def nearest(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        rows, _ = cells.nearest_rows(unit_rows(components.transform(queries)), CANDIDATES * k)
        products = np.empty(rows.shape, np.float32)
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            some = slice(start, start + _QUERIES_AT_ONCE)
            products[some] = np.einsum("qf,qkf->qk", queries[some], vectors[np.maximum(rows[some], 0)], optimize=True)
        products[rows < 0] = -np.inf
        order = np.argsort(-products, axis=1)[:, :k]
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(products, order, axis=1)

    return nearest


def _beside(positions: np.ndarray, near: np.ndarray, products: np.ndarray) -> np.ndarray:
    """For each crystal the position of that neighbour to which the others are nearest, weighted by their nearness."""
    places = positions[np.maximum(near, 0)].astype(float)  # (m, k, 2)
    weights = np.where(near < 0, 0.0, 1.0 / (np.maximum(0.0, 1.0 - products) + 1e-3))
    apart = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1)
    cost = np.einsum("mij,mj->mi", apart, weights)
    best = np.where(near < 0, np.inf, cost).argmin(axis=1)
    return places[np.arange(len(near)), best].astype(np.float32)
