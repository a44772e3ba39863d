"""Measure springs and tight binding: against experiment, in crystals a second, and beside their peers.

    python benchmarks/physics.py DATA [--crystals 2000] [--all] [--picture FILE]

* Against experiment: highest frequency, moduli, Debye temperature, displacement parameter and gap of some simple
  crystals, beside measured values (for gaps those at room temperature or below).
* Rates: crystals a second on one thread, of crystals of the Materials Project with at most 52 sites; ``--all`` runs
  all of them once on all threads, and says how many have no numbers and why, and the memory.
* ``--picture`` draws bands and densities of states of rutile, nothing else.
* Peers, each where it is installed: phonopy on the same force constants, GFN1-xTB of tblite (one energy at Gamma), and
  CHGNet (energy and forces).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from matplotlib.figure import Figure
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl.physics.columns import MODELS, iterate_physics, model_physics
from deepchem_crystalssl.physics.electrons import electronic_structure
from deepchem_crystalssl.physics.lattice_dynamics import vibrations

F, A, B3 = [0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
KNOWN = {
    # structure; by experiment highest frequency (1/cm), bulk and shear modulus (GPa), Debye temperature (K), gap (eV)
    "diamond": (("Fd-3m", Lattice.cubic(3.567), ["C"], [F]), 1332, 443, 535, 2220, 5.5),
    "Si": (("Fd-3m", Lattice.cubic(5.431), ["Si"], [F]), 520, 98, 66, 645, 1.1),
    "GaAs": (("F-43m", Lattice.cubic(5.653), ["Ga", "As"], [F, B3]), 292, 75, 47, 344, 1.4),
    "MgO": (("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [F, A]), 720, 160, 130, 946, 7.8),
    "NaCl": (("Fm-3m", Lattice.cubic(5.640), ["Na", "Cl"], [F, A]), 264, 25, 15, 321, 8.5),
    "Cu": (("Fm-3m", Lattice.cubic(3.615), ["Cu"], [F]), 240, 140, 48, 343, 0.0),
    "TiO2": (
        ("P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [F, [0.305, 0.305, 0]]),
        810, 210, 112, 760, 3.0,
    ),  # fmt: skip
}


def against_experiment() -> pd.DataFrame:
    """Calculated and measured numbers."""
    rows = {}
    for name, (arguments, *measured) in KNOWN.items():
        structure = Structure.from_spacegroup(*arguments)
        found = vibrations(structure)
        elastic = found.elasticity
        calculated = [
            found.frequencies.max(),
            elastic.bulk_modulus,
            elastic.shear_modulus,
            elastic.debye_temperature,
            electronic_structure(structure).gap,
        ]
        rows[name] = [f"{ours:.3g} ({theirs:g})" for ours, theirs in zip(calculated, measured, strict=True)]
        rows[name].append(", ".join(f"{el} {b:.2f}" for el, b in found.debye_waller(295.0).items()))
    columns = ["frequency 1/cm", "K GPa", "G GPa", "Debye K", "gap eV", "B at 295 K, Å^2"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def draw(path: Path) -> None:
    """Bands and densities of states of rutile."""
    structure = Structure.from_spacegroup(*KNOWN["TiO2"][0])
    figure = Figure(figsize=(9, 6), layout="constrained")
    for row, found in zip(
        figure.subplots(2, 2, width_ratios=(3, 2)),
        (vibrations(structure), electronic_structure(structure)),
        strict=True,
    ):
        found.bands().plot(row[0])
        found.plot(row[1])
    figure.savefig(path, dpi=110)


def rate(graphs: list, models: tuple) -> float:
    """Crystals a second on one thread."""
    model_physics(graphs[:5], models, n_threads=1, progress=False)
    started = time.perf_counter()
    model_physics(graphs, models, n_threads=1, progress=False)
    return len(graphs) / (time.perf_counter() - started)


def peers(graphs: list, ours: dict[str, float]) -> None:
    """Crystals a second of what else gives such numbers, and the ratio."""
    few = [graph.to_structure() for graph in graphs[:20]]
    if find_spec("phonopy"):
        print_peer("phonopy, one mesh of 2 x 2 x 2", phonopy_rate(graphs[:20]), ours["springs"])
    if find_spec("tblite"):
        print_peer("tblite, GFN1-xTB at Gamma", tblite_rate(few), ours["electrons"])
    if find_spec("chgnet"):
        from chgnet.model import CHGNet

        model = CHGNet.load(verbose=False)
        started = time.perf_counter()
        model.predict_structure(few)
        print_peer("CHGNet, energy and forces", len(few) / (time.perf_counter() - started), ours["both"])


def print_peer(name: str, theirs: float, ours: float) -> None:
    """One line."""
    print(f"{name}: {theirs:.1f} crystals/s, ours {ours:.0f}, ratio {ours / theirs:.0f}")


def phonopy_rate(graphs: list) -> float:
    """phonopy on a supercell of 2 x 2 x 2 with force constants of the right size: diagonalisation alone."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    started = time.perf_counter()
    for graph in graphs:
        atoms = PhonopyAtoms(numbers=graph.atomic_numbers, cell=graph.lattice, scaled_positions=graph.frac_coords)
        phonopy = Phonopy(atoms, np.diag([2, 2, 2]), primitive_matrix=np.eye(3), log_level=0)
        n = len(phonopy.supercell)
        phonopy.force_constants = np.broadcast_to(np.eye(3), (n, n, 3, 3)).copy()
        phonopy.run_mesh([2, 2, 2], is_mesh_symmetry=False)
    return len(graphs) / (time.perf_counter() - started)


def tblite_rate(structures: list) -> float:
    """One self-consistent energy with the periodic cell; those that do not converge count as done."""
    from tblite.interface import Calculator

    started = time.perf_counter()
    for structure in structures:
        try:
            calculator = Calculator(
                "GFN1-xTB",
                np.array(structure.atomic_numbers),
                structure.cart_coords * 1.8897259886,
                lattice=structure.lattice.matrix * 1.8897259886,
                periodic=np.array([True] * 3),
            )
            calculator.set("verbosity", 0)
            calculator.singlepoint()
        except RuntimeError:
            continue
    return len(structures) / (time.perf_counter() - started)


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--crystals", type=int, default=2000)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if options.picture:
        draw(options.picture)
        return
    warnings.filterwarnings("ignore")
    print(against_experiment().to_string())
    table = pd.read_parquet(options.data / "mp_structures.parquet").set_index("material_id", drop=False)
    drawn = table[table["n_sites"] <= 52].sample(options.crystals, random_state=0)
    graphs = dcs.structures_to_graphs(drawn, progress=False)
    rates = {
        "springs": rate(graphs, ("springs",)),
        "electrons": rate(graphs, ("electrons",)),
        "both": rate(graphs, MODELS),
    }
    print(f"\n{len(graphs)} crystals of {np.mean([g.num_nodes for g in graphs]):.0f} sites on average, one thread:")
    print(", ".join(f"{name} {value:.0f} crystals/s" for name, value in rates.items()))
    peers(graphs, rates)
    if options.all:
        report, started = dcs.Report(), time.perf_counter()
        done = sum(1 for _ in iterate_physics(table, on_error="skip", report=report))
        seconds = time.perf_counter() - started
        memory = psutil.Process().memory_info().rss / 2**30
        print(
            f"all: {done} crystals in {seconds:.0f} s, {done / seconds:.0f} crystals/s on all threads, {memory:.1f} GiB"
        )
        print(f"without numbers: {len(report)}, {dict(Counter(str(error.value)[:40] for error in report))}")


if __name__ == "__main__":
    main()
