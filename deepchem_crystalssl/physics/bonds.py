"""The bonds of a crystal: directions, lengths and bond valences, in double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..crystals.records import CrystalGraph

SOFTNESS = 0.37
"""Length over which the valence of a bond falls by a factor e, Å (Brown and Altermatt 1985)."""


@dataclass(frozen=True)
class Bonds:
    """The edges of a graph, with lengths and directions.

    Attributes
    ----------
    center, neighbor : numpy.ndarray
        int64 (E,).
    image : numpy.ndarray
        int64 (E, 3), cell of the neighbour.
    direction : numpy.ndarray
        float64 (E, 3), of length 1, from the centre to the neighbour.
    length : numpy.ndarray
        float64 (E,), Å.
    """

    center: np.ndarray
    neighbor: np.ndarray
    image: np.ndarray
    direction: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, graph: CrystalGraph) -> Bonds:
        """The bonds of a graph.

        Examples
        --------
        >>> from deepchem_crystalssl import structures_to_graphs
        >>> from deepchem_crystalssl.crystals.validation import make_crystal
        >>> iron = make_crystal([26], [[0, 0, 0]], 2.4 * np.eye(3), "Fe")
        >>> Bonds.of(structures_to_graphs(iron, max_neighbors=6)[0]).length.round(3).tolist()
        [2.4, 2.4, 2.4, 2.4, 2.4, 2.4]
        """
        neighbor, center = graph.edge_index
        image, frac = graph.image.astype(np.int64), graph.frac_coords
        vectors = (frac[neighbor] + image - frac[center]) @ graph.lattice
        length = np.linalg.norm(vectors, axis=1)
        return cls(center, neighbor, image, vectors / length[:, None], length)


def single_bond_lengths(bonds: Bonds, radius: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Length that a bond of valence one has between the two atoms of each edge, (E,) Å.

    Parameters
    ----------
    bonds : Bonds
    radius, c : numpy.ndarray
        (N,), of each site; see :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`.
    """
    (r, r_), (c, c_) = ((x[bonds.center], x[bonds.neighbor]) for x in (radius, c))
    return r + r_ - r * r_ * (np.sqrt(c) - np.sqrt(c_)) ** 2 / (c * r + c_ * r_)
