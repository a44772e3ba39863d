"""The map of materials: crystals in two dimensions, each beside those that are like it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from openTSNE import TSNEEmbedding
from openTSNE.affinity import Uniform
from openTSNE.nearest_neighbors import PrecomputedNeighbors
from sklearn.decomposition import PCA
from tqdm import tqdm

from ..errors import QueryError
from .vectors import ApproximateNeighbors, nearest_rows

NEIGHBORS = 15
_EXACT_UP_TO = 20_000
_ROWS_AT_ONCE = 2_048
_BARNES_HUT_UP_TO = 10_000
_PHASES = ((250, 12.0, 0.5), (500, 1.0, 0.8))  # steps, exaggeration, momentum
_STEPS_AT_ONCE = 25


@dataclass(frozen=True)
class MaterialsMap:
    """Where crystals are on the map, and what is next to them in the space of embeddings.

    Attributes
    ----------
    positions : numpy.ndarray
        float32 (n, 2), within -1 and 1.
    neighbors : numpy.ndarray
        int32 (n, k), rows of the nearest crystals, nearest first.
    distances : numpy.ndarray
        float32 (n, k), 1 - cosine.

    Examples
    --------
    >>> clusters = np.repeat(np.eye(3), 20, axis=0) + 0.1 * np.random.default_rng(0).normal(size=(60, 3))
    >>> map = make_map(clusters / np.linalg.norm(clusters, axis=1, keepdims=True), progress=False)
    >>> map.positions.shape, bool(map.neighbors[0].max() < 20)
    ((60, 2), True)
    """

    positions: np.ndarray
    neighbors: np.ndarray
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def place(self, rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Where a new crystal belongs on the map as it is, (2,).

        It goes to that one of its neighbours which the others are nearest to, neighbours counting by their nearness:
        a mean of places would lie in the empty land between two clusters.

        Parameters
        ----------
        rows, distances : numpy.ndarray
            (k,) each, its neighbours among the crystals of the map, 1 - cosine.

        Raises
        ------
        QueryError
            If there is no neighbour.
        """
        if not len(rows):
            raise QueryError("place", "no neighbour", "a crystal is placed beside its neighbours")
        places = self.positions[rows].astype(float)
        weights = 1.0 / (np.asarray(distances, float) + 1e-3)
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        return places[int((apart @ weights).argmin())]

    def moved(self, kept: np.ndarray | None, n: int) -> MaterialsMap:
        """For n crystals: those kept (all, if None) stay where they are, and new ones wait for :func:`place_new`."""
        old = self.positions if kept is None else self.positions[kept]
        positions = np.full((n, 2), np.nan, np.float32)
        positions[: len(old)] = old
        return MaterialsMap(positions, self.neighbors[:0], self.distances[:0])


def make_map(vectors: np.ndarray, seed: int = 0, progress: bool | None = None) -> MaterialsMap:
    """Lay out a map by t-SNE (van der Maaten & Hinton 2008; openTSNE, Poličar et al. 2024).

    The 15 nearest neighbours attract each other equally, which gives the maps of perplexity 30 at less cost (Böhm et
    al. 2022); the first two principal components are the start, so that what is far apart stays so (Kobak & Berens
    2019).

    Parameters
    ----------
    vectors : numpy.ndarray
        (n, F) of length 1, may be memory-mapped.
    seed : int
        The same vectors and seed give the same map, but for rounding among threads.
    progress : bool, optional
        Progress bars; by default on a terminal only.

    Returns
    -------
    MaterialsMap
    """
    neighbors, distances = nearest_to_each(vectors, min(NEIGHBORS, len(vectors) - 1), seed, progress)
    pulling = min(NEIGHBORS, max(1, (len(vectors) - 1) // 3))  # were all neighbours of all, one dot would be the map
    if len(vectors) < 5:
        positions = np.stack([np.linspace(-1, 1, len(vectors)), np.zeros(len(vectors))], axis=1)
        return MaterialsMap(positions.astype(np.float32), neighbors, distances)
    start = PCA(2, svd_solver="randomized", random_state=seed).fit_transform(vectors)
    start *= 1e-4 / max(start[:, 0].std(), 1e-12)
    start += np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)  # crystals with equal vectors part
    layout = TSNEEmbedding(
        start,
        Uniform(knn_index=PrecomputedNeighbors(neighbors[:, :pulling], distances[:, :pulling]), symmetrize="mean"),
        negative_gradient_method="fft" if len(vectors) > _BARNES_HUT_UP_TO else "bh",
        n_jobs=-1,
        random_state=seed,
    )
    with tqdm(total=sum(steps for steps, _, _ in _PHASES), desc="map", disable=_off(progress), delay=1.0) as bar:
        for steps, exaggeration, momentum in _PHASES:
            for _ in range(0, steps, _STEPS_AT_ONCE):
                layout.optimize(_STEPS_AT_ONCE, inplace=True, exaggeration=exaggeration, momentum=momentum)
                bar.update(_STEPS_AT_ONCE)
    return MaterialsMap(_framed(np.asarray(layout)), neighbors, distances)


def place_new(positions: np.ndarray, vectors: np.ndarray, seed: int = 0) -> MaterialsMap:
    """A map that stays as it is, new crystals placed into it.

    Parameters
    ----------
    positions : numpy.ndarray
        (n, 2), NaN for new crystals.
    vectors : numpy.ndarray
        (n, F), of length 1.
    """
    neighbors, distances = nearest_to_each(vectors, min(NEIGHBORS, len(vectors) - 1), seed, False)
    known = np.isfinite(positions).all(axis=1)
    if not known.any():
        return make_map(vectors, seed)
    before, placed = MaterialsMap(positions, neighbors, distances), positions.copy()
    new = np.flatnonzero(~known)
    rows, products = nearest_rows(vectors, np.asarray(vectors[new]), NEIGHBORS, known)
    for row, of_row, product in zip(new, rows, products, strict=True):
        placed[row] = before.place(of_row, 1.0 - product)
    return MaterialsMap(placed, neighbors, distances)


def nearest_to_each(
    vectors: np.ndarray, k: int, seed: int = 0, progress: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other rows of every row, and 1 - cosine; by the approximate engine where there are many."""
    engine = ApproximateNeighbors(vectors, seed) if len(vectors) > _EXACT_UP_TO else None
    neighbors = np.zeros((len(vectors), k), np.int32)
    distances = np.zeros((len(vectors), k), np.float32)
    for start in tqdm(range(0, len(vectors), _ROWS_AT_ONCE), "neighbours", disable=_off(progress), delay=1.0):
        queries = np.asarray(vectors[start : start + _ROWS_AT_ONCE])
        found = nearest_rows(vectors, queries, k + 1) if engine is None else engine.nearest_rows(queries, k + 1)
        rows, products = found
        short = (rows < 0).any(axis=1)  # cells with too few crystals
        if short.any():
            rows[short], products[short] = nearest_rows(vectors, queries[short], k + 1)
        own = rows == np.arange(start, start + len(queries))[:, None]
        own[~own.any(axis=1), -1] = True  # among many of equal vectors it may not be in its own list
        others = ~own
        neighbors[start : start + len(queries)] = rows[others].reshape(len(queries), k)
        distances[start : start + len(queries)] = np.maximum(0.0, 1.0 - products[others].reshape(len(queries), k))
    return neighbors, distances


def _framed(positions: np.ndarray) -> np.ndarray:
    """Within -1 and 1, both axes on one scale."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    return ((2 * positions - low - high) / max((high - low).max(), 1e-12)).astype(np.float32)


def _off(progress: bool | None) -> bool | None:
    return None if progress is None else not progress
