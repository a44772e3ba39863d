"""The map of materials: where each crystal is in two dimensions, and which crystals are nearest to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import QueryError
from .vectors import nearest_rows, nearest_to_each

NEIGHBORS = 15
"""Nearest crystals that a map keeps of each crystal."""


@dataclass(frozen=True)
class MaterialsMap:
    """Positions of crystals on the map, and their nearest neighbours in the space of embeddings.

    Attributes
    ----------
    positions : numpy.ndarray
        float32 (n, 2), between -1 and 1; NaN for crystals that have no position yet.
    neighbors : numpy.ndarray
        int32 (n, k), rows of the nearest crystals, nearest first.
    distances : numpy.ndarray
        float32 (n, k), 1 - cosine.

    Examples
    --------
    >>> from deepchem_crystalssl.search import make_map
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

    @property
    def is_complete(self) -> bool:
        """Whether every crystal has a position and neighbours."""
        return len(self.neighbors) == len(self.positions)

    def place(self, rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Position for a new crystal on the map as it is, (2,).

        The crystal takes the position of one of its neighbours: the one to which the others are nearest, weighted by
        their nearness to the crystal. The mean of the positions could lie in the empty space between two clusters.

        Parameters
        ----------
        rows, distances : numpy.ndarray
            (k,) each: its neighbours among the crystals of the map, and 1 - cosine to them.

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

    def select(self, rows: np.ndarray) -> MaterialsMap:
        """The crystals of some rows at their positions, their neighbours forgotten."""
        return MaterialsMap(self.positions[rows], self.neighbors[:0], self.distances[:0])

    def extended(self, n: int) -> MaterialsMap:
        """With n more crystals, which wait for :func:`place_new`."""
        new = np.full((n, 2), np.nan, np.float32)
        return MaterialsMap(np.concatenate([self.positions, new]), self.neighbors[:0], self.distances[:0])


def place_new(positions: np.ndarray, vectors: np.ndarray, seed: int = 0) -> MaterialsMap:
    """Place new crystals on a map on which the others stay where they are.

    Parameters
    ----------
    positions : numpy.ndarray
        (n, 2), NaN for new crystals; at least one crystal has a position.
    vectors : numpy.ndarray
        (n, F), of length 1.
    seed : int
        Of the approximate search for neighbours.

    Returns
    -------
    MaterialsMap
    """
    neighbors, distances = nearest_to_each(vectors, min(NEIGHBORS, len(vectors) - 1), seed, False)
    known = np.isfinite(positions).all(axis=1)
    before, placed = MaterialsMap(positions, neighbors, distances), positions.copy()
    new = np.flatnonzero(~known)
    rows, products = nearest_rows(vectors, np.asarray(vectors[new]), NEIGHBORS, known)
    for row, of_row, product in zip(new, rows, products, strict=True):
        placed[row] = before.place(of_row, 1.0 - product)
    return MaterialsMap(placed, neighbors, distances)
