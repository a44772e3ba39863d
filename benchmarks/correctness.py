"""Check graphs and patterns of real crystals against pymatgen, and against the same crystals written in another way.

python benchmarks/correctness.py DATA/mp_structures.parquet [NUMBER]
"""

from __future__ import annotations

import logging
import sys

import numpy as np
import pandas as pd
import spglib
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.optimization.neighbors import find_points_in_spheres
from tqdm import tqdm

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.testing import edge_table, permuted, recelled, rotated, supercell, translated

GRID = dcs.XRDGrid(fwhm=0.1)


def graph_of(crystal: dcs.Crystal) -> dcs.CrystalGraph:
    """The crystal's graph."""
    return dcs.structures_to_graphs(crystal, n_threads=1, progress=False)[0]


def distance_mismatches(graph: dcs.CrystalGraph) -> int:
    """Atoms whose neighbour distances differ from pymatgen's by more than 1e-6 Å."""
    positions = np.ascontiguousarray(graph.frac_coords @ graph.lattice)
    center, neighbor, image, distance = find_points_in_spheres(
        positions, positions, r=8.01, pbc=np.ones(3, np.int64), lattice=np.array(graph.lattice), tol=1e-8
    )
    other = ~((center == neighbor) & (image == 0).all(1))
    center, distance = center[other], distance[other]
    wrong = 0
    for atom, (start, stop) in enumerate(zip(graph.first_edge[:-1], graph.first_edge[1:], strict=True)):
        expected = np.sort(distance[center == atom])[: stop - start]
        wrong += not np.allclose(graph.distance[start:stop], expected, rtol=0, atol=1e-6)
    return wrong


def edge_set(graph: dcs.CrystalGraph, order=None, change=None, frac=None) -> set[tuple]:
    """(neighbour, centre, image) in the names, the cell and the wrapping of the original crystal.

    ``order`` renames sites; ``change`` is the new cell in terms of the old; ``frac`` are the original coordinates,
    up to a common shift.
    """
    neighbor, center = graph.edge_index
    positions, image = graph.frac_coords, graph.image.astype(float)
    if change is not None:
        positions, image = positions @ change, image @ change
    if order is not None:
        inverse = np.argsort(order)
        positions = positions[inverse]
        neighbor, center = order[neighbor], order[center]
    if frac is not None:
        shift = positions - frac
        wrapped = np.round(shift - shift[0])
        image = image + wrapped[neighbor] - wrapped[center]
    return set(zip(neighbor.tolist(), center.tolist(), map(tuple, np.round(image).astype(int).tolist()), strict=True))


def same_edges(small: dcs.CrystalGraph, large: dcs.CrystalGraph) -> bool:
    """Whether two cells of one crystal have the same edges per atom: elements and distances, with multiplicity."""
    z = [graph.atomic_numbers.astype(int) for graph in (small, large)]
    tables = [edge_table(graph, numbers, 6) for graph, numbers in zip((small, large), z, strict=True)]
    times = large.num_nodes // small.num_nodes
    if small.num_nodes * times != large.num_nodes or len(tables[0]) * times != len(tables[1]):
        return False
    first, second = (np.array(table) for table in (sorted(tables[0] * times), tables[1]))
    return bool((first[:, :2] == second[:, :2]).all() and np.abs(first[:, 2] - second[:, 2]).max() < 2e-4)


def standard_cell(crystal: dcs.Crystal, primitive: bool) -> dcs.Crystal | None:
    """spglib's primitive or conventional cell, atoms left where they are."""
    cell = (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    found = spglib.standardize_cell(cell, to_primitive=primitive, no_idealize=True, symprec=1e-5)
    return found and make_crystal(found[2], found[1], found[0], crystal.material_id)


def pattern_cosine(crystal: dcs.Crystal) -> float:
    """Our broadened pattern against pymatgen's sticks, broadened here."""
    sticks = XRDCalculator("CuKa").get_pattern(
        crystal.to_structure(), two_theta_range=(GRID.two_theta_min, GRID.two_theta_max)
    )
    theirs = np.zeros(GRID.n_bins)
    for x, y in zip(sticks.x, sticks.y, strict=True):
        near = slice(*np.searchsorted(GRID.two_theta, [x - 0.5, x + 0.5]))
        theirs[near] += y * np.exp(-4 * np.log(2) * ((GRID.two_theta[near] - x) / GRID.fwhm) ** 2)
    ours = dcs.simulate_xrd(crystal, GRID, dtype=float, n_threads=1, progress=False)[0]
    return float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs))


def main() -> None:
    """Print the counts."""
    logging.disable(logging.WARNING)
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    table = pd.read_parquet(sys.argv[1]).sample(number, random_state=1)
    graphs = dcs.structures_to_graphs(table, on_error="skip", progress=False)
    changes = dict.fromkeys(
        ["rotation", "translation", "permutation", "other cell", "supercell", "primitive", "conventional"], 0
    )
    wrong, cosines = 0, []
    for graph in tqdm(graphs):
        rng = np.random.default_rng(0)
        crystal = dcs.Crystal(graph.atomic_numbers, graph.frac_coords, graph.lattice, graph.material_id)
        frac, edges = graph.frac_coords, edge_set(graph)
        wrong += distance_mismatches(graph)
        changes["rotation"] += edges != edge_set(graph_of(rotated(crystal, rng)))
        changes["translation"] += edges != edge_set(graph_of(translated(crystal, rng)), frac=frac)
        other, order = permuted(crystal, rng)
        changes["permutation"] += edges != edge_set(graph_of(other), order=order)
        other = recelled(crystal, rng)
        change = np.round(other.lattice @ np.linalg.inv(crystal.lattice))
        changes["other cell"] += edges != edge_set(graph_of(other), change=change, frac=frac)
        changes["supercell"] += not same_edges(graph, graph_of(supercell(crystal, (1, 2, 1))[0]))
        primitive, conventional = standard_cell(crystal, True), standard_cell(crystal, False)
        if primitive and conventional:
            smallest = graph_of(primitive)
            changes["primitive"] += not same_edges(smallest, graph)
            changes["conventional"] += not same_edges(smallest, graph_of(conventional))
        cosines.append(pattern_cosine(crystal))
    atoms = sum(graph.num_nodes for graph in graphs)
    print(f"{len(graphs)} crystals, {atoms:,} atoms, {sum(graph.num_edges for graph in graphs):,} edges")
    print(f"atoms with a distance off by more than 1e-6 Å from pymatgen's: {wrong}")
    for name, count in changes.items():
        print(f"crystals whose edges change under {name}: {count}")
    print(
        f"broadened patterns, cosine with pymatgen's: smallest {min(cosines):.9f}, "
        f"below 0.99999: {sum(c < 0.99999 for c in cosines)}"
    )


if __name__ == "__main__":
    main()
