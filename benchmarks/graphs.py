"""Measure the speed of building crystal graphs (8 Å, 12 nearest) against the code that is commonly used for it.

python benchmarks/graphs.py DATA/mp_structures.parquet
"""

from __future__ import annotations

import logging
import sys
import warnings

import deepchem as dc
import numpy as np
import pandas as pd
from pymatgen.core import Structure
from pymatgen.optimization.neighbors import find_points_in_spheres
from timing import compare

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.elements import element_features


def sample(path: str, n: int = 300, max_sites: int = 52) -> list[dcs.Crystal]:
    """Random crystals of the table, of at most max_sites sites, all with neighbours within 8 Å."""
    table = pd.read_parquet(path)
    table = table[table["n_sites"] <= max_sites].sample(n, random_state=0)
    graphs = dcs.structures_to_graphs(table, on_error="skip", progress=False)
    return [dcs.Crystal(g.atomic_numbers, g.frac_coords, g.lattice, g.material_id) for g in graphs]


def idiom(structures: list[Structure]) -> None:
    """What CGCNN, DeepChem and the two papers do."""
    for structure in structures:
        neighbors = structure.get_all_neighbors(8.0, include_index=True)
        [sorted(near, key=lambda x: x[1])[:12] for near in neighbors]


def points_in_spheres(crystals: list[dcs.Crystal]) -> None:
    """The best kept library: pymatgen's compiled cutoff list, then the 12 nearest of each atom."""
    pbc = np.ones(3, np.int64)
    for crystal in crystals:
        positions = np.ascontiguousarray(crystal.frac_coords @ crystal.lattice)
        center, neighbor, image, distance = find_points_in_spheres(
            positions, positions, r=8.0, pbc=pbc, lattice=np.array(crystal.lattice), tol=1e-8
        )
        keep = distance > 1e-8
        center, neighbor, image, distance = center[keep], neighbor[keep], image[keep], distance[keep]
        order = np.lexsort((distance, center))
        first = np.searchsorted(center[order], np.arange(len(positions)))
        rank = np.arange(len(order)) - first[center[order]]
        kept = order[rank < 12]
        center[kept], neighbor[kept], image[kept], distance[kept]


def main() -> None:
    """Print both tables."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    crystals = sample(sys.argv[1])
    structures = [crystal.to_structure() for crystal in crystals]
    print(f"{len(crystals)} crystals of {np.mean([c.num_nodes for c in crystals]):.1f} sites on average, one thread\n")
    compare(
        {
            "ours, from stored records": (lambda x: dcs.structures_to_graphs(x, n_threads=1), crystals),
            "get_all_neighbors, sort, cut": (idiom, structures),
            "find_points_in_spheres + 12 nearest": (points_in_spheres, crystals),
        },
        "ours, from stored records",
    )
    theirs = dc.feat.CGCNNFeaturizer()  # offline it has no element table: give it ours, so that it works at all
    theirs.atom_features = dict(enumerate(element_features()))
    theirs.valid_atom_number = set(theirs.atom_features)
    compare(
        {
            "ours, CrystalGraphFeaturizer": (dcs.CrystalGraphFeaturizer().featurize, structures),
            "get_all_neighbors, sort, cut": (idiom, structures),
            "dc.feat.CGCNNFeaturizer": (theirs.featurize, structures),
        },
        "ours, CrystalGraphFeaturizer",
    )


if __name__ == "__main__":
    main()
