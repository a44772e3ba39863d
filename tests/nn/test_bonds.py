"""Bond valences of crystals whose oxidation states every chemist knows, and against a plain loop."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import structures_to_graphs
from deepchem_crystalssl.crystals.elements import bond_valence_parameters
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.bonds import bond_valence_sums, rattling_frequencies, unpaired_electrons

KNOWN = [  # space group, lattice, species, places, valence and unpaired electrons of the first
    ("Fm-3m", Lattice.cubic(4.21), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]], 2, 0),
    ("Fm-3m", Lattice.cubic(4.33), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]], 2, 4),
    ("R-3c", Lattice.hexagonal(5.035, 13.75), ["Fe", "O"], [[0, 0, 0.355], [0.306, 0, 0.25]], 3, 5),
    ("P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]], 4, 0),
    ("Fm-3m", Lattice.cubic(5.14), ["Eu", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]], 2, 7),
    ("Im-3m", Lattice.cubic(2.866), ["Fe"], [[0, 0, 0]], 0, 2),
]


@pytest.mark.parametrize("group, lattice, species, places, valence, unpaired", KNOWN)
def test_oxidation_states(group, lattice, species, places, valence, unpaired):
    batch = GraphBatch.from_graphs(structures_to_graphs(Structure.from_spacegroup(group, lattice, species, places)))
    valences = bond_valence_sums(batch)
    assert abs(float(valences[0]) - valence) < 0.45
    assert abs(float(unpaired_electrons(batch, valences)[0]) - unpaired) < 0.8
    assert abs(float(valences.mean())) < 0.05  # what cations give, anions take


def test_against_a_loop(prototypes):
    graph = structures_to_graphs(prototypes[7])[0]
    r, c = bond_valence_parameters().astype(float).T
    expected = np.zeros(graph.num_nodes)
    for j, i, d in zip(
        graph.neighbor, np.repeat(np.arange(graph.num_nodes), np.diff(graph.first_edge)), graph.distance
    ):
        a, b = graph.atomic_numbers[i], graph.atomic_numbers[j]
        length = r[a] + r[b] - r[a] * r[b] * (c[a] ** 0.5 - c[b] ** 0.5) ** 2 / (c[a] * r[a] + c[b] * r[b])
        expected[i] += np.tanh((c[b] - c[a]) / 0.5) * np.exp((length - d) / 0.37)
    assert np.allclose(bond_valence_sums(GraphBatch.from_graphs([graph])).numpy(), expected, atol=1e-4)


def test_parameters_are_those_published_or_near_them():
    parameters = bond_valence_parameters()
    assert parameters[8] == pytest.approx([0.63, 3.15]) and parameters[11] == pytest.approx([1.36, 1.01])
    estimated = parameters[[43, 78, 79, 91]]  # Tc, Pt, Au, Pa are not published
    assert ((0.8 < estimated[:, 0]) & (estimated[:, 0] < 1.8)).all() and (
        (1 < estimated[:, 1]) & (estimated[:, 1] < 2.5)
    ).all()


def test_light_and_tightly_bound_atoms_rattle_fast():
    """Debye temperatures of diamond, silicon, copper, lead and caesium: 2230, 645, 343, 105, 38 K."""
    cells = [
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0] * 3]),
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0] * 3]),
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0] * 3]),
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.950), ["Pb"], [[0] * 3]),
        Structure.from_spacegroup("Im-3m", Lattice.cubic(6.141), ["Cs"], [[0] * 3]),
    ]
    frequencies = [float(rattling_frequencies(GraphBatch.from_graphs(structures_to_graphs(cell)))[0]) for cell in cells]
    assert frequencies == sorted(frequencies, reverse=True) and frequencies[0] > 1.8 * frequencies[1]


def test_closed_shells_have_no_unpaired_electrons():
    batch = GraphBatch.from_graphs(
        structures_to_graphs(
            Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["Zn", "S"], [[0] * 3, [0.25] * 3])
        )
    )
    assert unpaired_electrons(batch, torch.full((8,), 2.0)).abs().max() == 0
