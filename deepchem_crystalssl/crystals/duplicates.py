"""Which records are the same crystal, whatever cell they are written in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from .records import CrystalGraph

TOLERANCE = 1e-4
"""Two crystals are the same if none of their :func:`invariants` differs by more than this fraction."""


def invariants(graphs: Sequence[CrystalGraph]) -> np.ndarray:
    r"""Numbers that do not depend on the choice of the cell.

    .. math:: \frac1N \Big(\sum_s Z_s o_s,\ \sum_s Z_s^{2.5} o_s,\ V,\ \sum_e d_e,\ \sum_e d_e^3\Big)

    of a crystal with N sites, volume V, species s of atomic number Z and occupancy o, and edges e of length d.

    Parameters
    ----------
    graphs : sequence of CrystalGraph

    Returns
    -------
    numpy.ndarray
        (n, 5) float64; Å^3, Å and Å^3 in the last three columns.
    """
    if not len(graphs):
        return np.empty((0, 5))
    species = [graph.species for graph in graphs]
    z = np.concatenate([s.atomic_numbers for s in species]).astype(float)
    occupancy = np.concatenate([s.occupancy for s in species])
    distance = np.concatenate([graph.distance for graph in graphs]).astype(float)
    of_species = np.repeat(np.arange(len(graphs)), [len(s.site) for s in species])
    of_edge = np.repeat(np.arange(len(graphs)), [graph.num_edges for graph in graphs])
    sums = [np.bincount(of_species, z**power * occupancy, len(graphs)) for power in (1.0, 2.5)]
    moments = [np.bincount(of_edge, distance**power, len(graphs)) for power in (1, 3)]
    volumes = np.array([graph.volume for graph in graphs])
    return np.stack([*sums, volumes, *moments], 1) / np.array([graph.num_nodes for graph in graphs])[:, None]


def duplicate_groups(graphs: Sequence[CrystalGraph]) -> np.ndarray:
    """Group records that are the same crystal: equal labels for equal crystals, whatever their cells.

    Two crystals count as the same if composition, volume per site and moments of the neighbour distances agree to one
    part in ten thousand (:func:`invariants`). Retrieval counts duplicates as right answers, and the pretext losses
    leave them out of the negatives of a batch, by this one rule.

    Parameters
    ----------
    graphs : sequence of CrystalGraph

    Returns
    -------
    numpy.ndarray
        (n,) int, labels from 0; ``len(set(...))`` is the number of different crystals.

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> duplicate_groups(structures_to_graphs([salt, salt * 2, salt.get_primitive_structure()])).tolist()
    [0, 0, 0]
    """
    return equal_groups(invariants(graphs))


def equal_groups(numbers: np.ndarray) -> np.ndarray:
    """The groups of crystals by their :func:`invariants`, (n, 5) to (n,) int."""
    if not len(numbers):
        return np.empty(0, int)
    logarithms = np.log(numbers.clip(min=1e-12))
    pairs = KDTree(logarithms).query_pairs(TOLERANCE, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(numbers), len(numbers)))
    return connected_components(links, directed=False)[1]
