"""Compute the layout of the map of materials: crystals in two dimensions, with similar crystals close together."""

from __future__ import annotations

from typing import Any

import numpy as np
from openTSNE import TSNEEmbedding
from openTSNE.affinity import Uniform
from openTSNE.nearest_neighbors import PrecomputedNeighbors
from sklearn.decomposition import PCA
from tqdm import tqdm

from .._names import moved_name
from ..errors import QueryError
from ..processors import thread_count
from .materials_map import NEIGHBORS, MaterialsMap
from .vectors import nearest_to_each

_BARNES_HUT_UP_TO = 10_000
_PHASES = ((250, 12.0, 0.5), (500, 1.0, 0.8))  # steps, exaggeration, momentum
_STEPS_AT_ONCE = 25


def make_map(vectors: np.ndarray, seed: int = 0, progress: bool | None = None) -> MaterialsMap:
    """Lay out a map by t-SNE (van der Maaten & Hinton 2008; openTSNE, Poličar et al. 2024).

    The 15 nearest neighbours attract each other equally, which gives maps like those of perplexity 30 at less cost
    (Böhm et al. 2022). The layout starts from the first two principal components, so that groups that are far apart in
    the space of embeddings stay apart (Kobak & Berens 2019).

    Parameters
    ----------
    vectors : numpy.ndarray
        Vectors of length 1, (n, F). The array may be memory-mapped.
    seed : int
        The same vectors and seed give the same map, except for rounding differences between threads.
    progress : bool, optional
        Whether to show progress bars. By default they are shown on a terminal only.

    Returns
    -------
    MaterialsMap
        The positions, and the nearest neighbours of each crystal.

    Raises
    ------
    QueryError
        If there are no vectors.

    Examples
    --------
    >>> make_map(np.eye(4, dtype=np.float32), progress=False).positions.shape
    (4, 2)
    """
    if not len(vectors):
        raise QueryError("map", "0 crystals", "a map needs at least one crystal", "Add crystals to the index.")
    neighbors, distances = nearest_to_each(vectors, min(NEIGHBORS, len(vectors) - 1), seed, progress)
    # If every crystal attracted every other one, the map would shrink to a point.
    pulling = min(NEIGHBORS, max(1, (len(vectors) - 1) // 3))
    if len(vectors) < 5:
        positions = np.stack([np.linspace(-1, 1, len(vectors)), np.zeros(len(vectors))], axis=1)
        return MaterialsMap(positions.astype(np.float32), neighbors, distances)
    start = PCA(2, svd_solver="randomized", random_state=seed).fit_transform(vectors)
    start *= 1e-4 / max(start[:, 0].std(), 1e-12)
    start += np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)  # separates crystals with equal vectors
    few = len(vectors) <= _BARNES_HUT_UP_TO
    layout = TSNEEmbedding(
        start,
        Uniform(knn_index=PrecomputedNeighbors(neighbors[:, :pulling], distances[:, :pulling]), symmetrize="mean"),
        negative_gradient_method="bh" if few else "fft",
        n_jobs=1 if few else thread_count(),  # threads that wait for each other take longer than the work
        random_state=seed,
    )
    steps_in_all, disable = sum(steps for steps, _, _ in _PHASES), None if progress is None else not progress
    with tqdm(total=steps_in_all, desc="map", disable=disable, delay=1.0) as bar:
        for steps, exaggeration, momentum in _PHASES:
            for _ in range(0, steps, _STEPS_AT_ONCE):
                layout.optimize(_STEPS_AT_ONCE, inplace=True, exaggeration=exaggeration, momentum=momentum)
                bar.update(_STEPS_AT_ONCE)
    return MaterialsMap(_framed(np.asarray(layout)), neighbors, distances)


def _framed(positions: np.ndarray) -> np.ndarray:
    """Scale positions to lie between -1 and 1, both axes by the same factor."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    return ((2 * positions - low - high) / max((high - low).max(), 1e-12)).astype(np.float32)


def __getattr__(name: str) -> Any:
    """A name that has moved to another module."""
    return moved_name(__name__, name)
