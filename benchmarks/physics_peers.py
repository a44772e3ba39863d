"""Measure what a number of springs or tight binding is worth beside that of a potential or of xTB.

    python benchmarks/physics_peers.py DATA [--crystals 300]

Needs ``chgnet`` and ``tblite``. For the phonon set the number is the highest frequency at Gamma of the primitive cell:
ours, and that of CHGNet by finite displacements of .01 Å. For the HSE gaps it is the gap: ours, and that of GFN1-xTB at
Gamma (tblite), self-consistent. Drawn are the crystals of the test part (fold100 15-19) and as many of the training
part as asked for, with at most 12 sites; crystals that a peer cannot do are left out for all, and counted. Given are
the seconds a crystal, the error on the test part of a line through the number, and that of kernel ridge on the
descriptor with the number as one more block, whose weight is chosen in the training part.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from pathlib import Path

import numpy as np
from chgnet.model import CHGNet
from pymatgen.core import Structure
from tblite.interface import Calculator

import deepchem_crystalssl as dcs
from deepchem_crystalssl.physics.columns import column_names, model_physics
from deepchem_crystalssl.physics.springs import PER_CM

from materials import kernel_ridge, label_sets

BOHR, HARTREE = 0.529177210903, 27.211386245988
STEP = 0.01
MOST_SITES = 12


def frequency_of_chgnet(structure: Structure, model: CHGNet) -> float:
    """Highest frequency at Gamma, 1/cm, from forces at displaced positions."""
    moved = []
    for site in range(len(structure)):
        for axis in range(3):
            for sign in (1, -1):
                other = structure.copy()
                other.translate_sites([site], sign * STEP * np.eye(3)[axis], frac_coords=False)
                moved.append(other)
    forces = np.array([found["f"].ravel() for found in model.predict_structure(moved, task="ef", batch_size=16)])
    hessian = -(forces[::2] - forces[1::2]) / (2 * STEP)
    mass = np.repeat([float(site.specie.atomic_mass) for site in structure], 3)
    squared = np.linalg.eigvalsh((hessian + hessian.T) / 2 / np.sqrt(np.outer(mass, mass)))
    return float(PER_CM * np.sqrt(max(squared[-1], 0.0)))


def gap_of_xtb(structure: Structure) -> float:
    """Gap at Gamma, eV."""
    numbers, lattice = np.array(structure.atomic_numbers), structure.lattice.matrix / BOHR
    calculator = Calculator(
        "GFN1-xTB", numbers, structure.cart_coords / BOHR, lattice=lattice, periodic=np.full(3, True)
    )
    calculator.set("verbosity", 0)
    result = calculator.singlepoint()
    energies, occupied = result.get("orbital-energies"), result.get("orbital-occupations")
    filled = occupied > 1.0
    return float(max(energies[~filled].min() - energies[filled].max(), 0.0) * HARTREE)


def compare(name: str, graphs: list, y: np.ndarray, train: np.ndarray, column: str, peer, peer_name: str) -> None:
    """Print the table of one set."""
    theirs, kept, failed = [], [], 0
    started = time.process_time()
    for k, graph in enumerate(graphs):
        try:
            theirs.append(peer(graph.to_structure()))
            kept.append(k)
        except (RuntimeError, ValueError, TypeError):
            failed += 1
    seconds = (time.process_time() - started) / len(graphs)
    started = time.process_time()
    ours = model_physics(graphs, disorder="average", n_threads=1, progress=False)[kept]
    our_seconds = (time.process_time() - started) / len(graphs)
    graphs, y, train, test = [graphs[k] for k in kept], y[kept], train[kept], ~train[kept]
    descriptor = dcs.load_pretrained("general").embed(graphs, space="descriptor", progress=False)
    systems = np.array([graph.chemical_system for graph in graphs])
    numbers = {"ours": ours[:, column_names().index(column)], peer_name: np.array(theirs)}
    print(f"\n{name}: {train.sum()} / {test.sum()} crystals, {failed} left out by {peer_name}")
    print(f"seconds a crystal: ours {our_seconds:.4f} (all 89 numbers), {peer_name} {seconds:.2f}, "
          f"ratio {seconds / our_seconds:.0f}")  # fmt: skip

    def error(columns: np.ndarray, blocks: list[str] | None) -> float:
        x = np.hstack([descriptor, columns])
        guess, _ = kernel_ridge(x[train], y[train], systems[train], x[test], blocks)
        return float(np.abs(guess - y[test]).mean())

    own = ["attributes"] * 173 + ["learned"] * (descriptor.shape[1] - 173)
    print(f"descriptor alone: {error(np.empty((len(y), 0)), None):.4g}")
    for label, values in numbers.items():
        slope, start = np.polyfit(values[train], y[train], 1)
        line = np.abs(slope * values[test] + start - y[test]).mean()
        scaled = 3 * (values - values[train].mean()) / values[train].std()
        joined = error(scaled[:, None], [*own, "number"])
        print(f"{label}: a line {line:.4g}, with the descriptor {joined:.4g}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--crystals", type=int, default=300)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    sets, model = label_sets(options.data), CHGNet.load(verbose=False)
    for name, column, peer, peer_name in (
        ("HSE gap", "band gap (eV)", gap_of_xtb, "GFN1-xTB"),
        ("phonons", "highest frequency at Gamma (1/cm)", lambda s: frequency_of_chgnet(s, model), "CHGNet"),
    ):
        graphs, y, folds = sets[name]
        small = np.array([graph.num_nodes <= MOST_SITES for graph in graphs])
        drawn = np.random.default_rng(0).permutation(np.flatnonzero((folds >= 20) & small))[: options.crystals]
        rows = np.sort(np.concatenate([drawn, np.flatnonzero((folds < 20) & small)]))
        compare(name, [graphs[k] for k in rows], np.asarray(y)[rows], folds[rows] >= 20, column, peer, peer_name)


if __name__ == "__main__":
    main()
