"""Tools to test whether a representation of crystals respects their symmetries.

A representation must not depend on how a crystal is written down. Most functions here write the same crystal in another
way: rotated, translated, with its sites in another order, or in another cell. The others list the edges of a graph so
that two graphs can be compared.
"""

from __future__ import annotations

import numpy as np

from .crystals.records import Crystal, CrystalGraph
from .crystals.validation import make_crystal

# Unimodular matrices: each gives another cell of the same lattice.
_CELL_CHANGES = (
    ((1, 1, 0), (0, 1, 0), (0, 0, 1)),
    ((1, 0, 0), (-1, 1, 0), (0, 1, 1)),
    ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    ((1, 0, 1), (1, 1, 1), (0, 0, 1)),
)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation matrix, uniformly distributed, (3, 3).

    Examples
    --------
    >>> r = random_rotation(np.random.default_rng(0))
    >>> np.allclose(r @ r.T, np.eye(3))
    True
    """
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


def rotated(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """The crystal in a random orientation."""
    return _like(crystal, crystal.frac_coords, crystal.lattice @ random_rotation(rng))


def translated(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """The crystal with a random origin."""
    return _like(crystal, crystal.frac_coords + rng.random(3), crystal.lattice)


def permuted(crystal: Crystal, rng: np.random.Generator) -> tuple[Crystal, np.ndarray]:
    """The crystal with its sites in a random order, and that order, (N,)."""
    order = rng.permutation(crystal.num_nodes)
    species = [_site_species(crystal)[i] for i in order]
    return make_crystal(species, crystal.frac_coords[order], crystal.lattice, crystal.material_id), order


def recelled(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """The crystal in another cell of the same lattice, by a random unimodular change of the cell vectors."""
    change = np.array(_CELL_CHANGES[rng.integers(len(_CELL_CHANGES))])
    return _like(crystal, crystal.frac_coords @ np.linalg.inv(change), change @ crystal.lattice)


def supercell(crystal: Crystal, repeats: tuple[int, int, int] = (2, 1, 2)) -> tuple[Crystal, np.ndarray]:
    """The crystal in a supercell, and for each of its sites the site of the small cell that it repeats."""
    shifts = np.stack(np.meshgrid(*map(range, repeats), indexing="ij"), -1).reshape(-1, 3)
    frac = ((crystal.frac_coords[None] + shifts[:, None]) / repeats).reshape(-1, 3)
    parent = np.tile(np.arange(crystal.num_nodes), len(shifts))
    species = [_site_species(crystal)[i] for i in parent]
    lattice = crystal.lattice * np.array(repeats)[:, None]
    return make_crystal(species, frac, lattice, crystal.material_id), parent


def edge_table(graph: CrystalGraph, parent: np.ndarray | None = None, decimals: int = 4) -> list[tuple]:
    """The edges as a sorted list of (centre, neighbour, distance), which can be compared between cells of one crystal.

    Parameters
    ----------
    graph : CrystalGraph
    parent : numpy.ndarray, optional
        (N,), the number by which each site is called; by default its own.
    decimals : int
        Decimals that the distances in Å are rounded to.
    """
    names = np.arange(graph.num_nodes) if parent is None else parent
    neighbor, center = names[graph.edge_index]
    return sorted(zip(center.tolist(), neighbor.tolist(), graph.distance.round(decimals).tolist(), strict=True))


def edge_vectors(graph: CrystalGraph) -> np.ndarray:
    """The vector from each centre to its neighbour, (E, 3) in Å, from the coordinates and images of the graph."""
    neighbor, center = graph.edge_index
    delta = graph.frac_coords[neighbor] + graph.image - graph.frac_coords[center]
    return delta @ graph.lattice


def _site_species(crystal: Crystal) -> list:
    if crystal.occupancies is None:
        return crystal.atomic_numbers.tolist()
    sites: list[dict[int, float]] = [{} for _ in range(crystal.num_nodes)]
    rows = crystal.occupancies
    for site, z, occupancy in zip(rows.site, rows.atomic_numbers, rows.occupancy, strict=True):
        sites[site][int(z)] = float(occupancy)
    return sites


def _like(crystal: Crystal, frac: np.ndarray, lattice: np.ndarray) -> Crystal:
    return make_crystal(_site_species(crystal), frac, lattice, crystal.material_id)
