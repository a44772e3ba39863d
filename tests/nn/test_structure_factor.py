"""Shell sums against an enumeration by pymatgen, engines against each other, extinctions, gradients."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import structures_to_graphs
from deepchem_crystalssl.nn import links
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.message_passing import shell_sum
from deepchem_crystalssl.nn.structure_factor import StructureFactorReadout

G_MIN, G_MAX, SHELLS = 1 / 12, 1 / 1.2, 40
ENGINES = ["torch", "fused", pytest.param("dgl", marks=pytest.mark.skipif(links.dgl is None, reason="dgl"))]


@pytest.fixture(scope="module")
def some(prototypes):
    return structures_to_graphs(prototypes[::20])


@pytest.mark.parametrize("engine", ENGINES)
def test_shell_sums_are_those_over_pymatgens_reciprocal_lattice(some, engine):
    batch = GraphBatch.from_graphs(some, engine)
    values = torch.randn(batch.total_sites, 3, generator=torch.Generator().manual_seed(0))
    sums = shell_sum(batch, values, G_MIN, G_MAX, SHELLS).numpy()
    shells = np.linspace(np.log(G_MIN), np.log(G_MAX), SHELLS)
    first = 0
    for graph, ours in zip(some, sums, strict=True):
        v = values[first : first + graph.num_nodes].numpy()
        first += graph.num_nodes
        reciprocal = Lattice(graph.lattice).reciprocal_lattice_crystallographic
        hkl, g, *_ = reciprocal.get_points_in_sphere([[0, 0, 0]], [0, 0, 0], G_MAX, zip_results=False)
        hkl, g = np.round(hkl[g > G_MIN]), g[g > G_MIN]
        factors = np.exp(2j * np.pi * hkl @ graph.frac_coords.T) @ v
        powers = np.abs(factors) ** 2 / g[:, None] ** 2 / len(v) ** 2
        share = np.clip(1 - np.abs(np.log(g)[:, None] - shells) / (shells[1] - shells[0]), 0, None)
        expected = share.T @ powers
        assert np.abs(ours - expected).max() < 2e-5 * expected.max()


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_engines_agree_in_values_and_gradients(some, engine):
    results = []
    for name in ("torch", engine):
        batch = GraphBatch.from_graphs(some, name)
        values = torch.randn(batch.total_sites, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        sums = shell_sum(batch, values, G_MIN, G_MAX, SHELLS)
        (sums * torch.rand(sums.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        results.append((sums.detach(), values.grad))
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_gradient_is_the_derivative(some):
    batch = GraphBatch.from_graphs(some[:3], "torch")
    values = torch.rand(batch.total_sites, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: shell_sum(batch, v, G_MIN, 0.4, 8), values)


@pytest.mark.parametrize("engine", ENGINES)
def test_centred_lattices_have_extinctions(engine):
    """h + k + l odd is dark in a body-centred crystal, and lights up once the two atoms differ."""
    iron = structures_to_graphs(Structure(Lattice.cubic(2.866), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    batch = GraphBatch.from_graphs(iron, engine)
    dark, light = np.log([1.0 / 2.866, 2**0.5 / 2.866])
    shells = np.linspace(np.log(0.2), np.log(0.6), 41)
    near = [np.abs(shells - g).argmin() for g in (dark, light)]
    alike = shell_sum(batch, torch.ones(2, 1), 0.2, 0.6, 41)[0, :, 0]
    assert alike[near[0]] < 1e-6 < 1 < alike[near[1]]
    assert shell_sum(batch, torch.tensor([[1.0], [0.5]]), 0.2, 0.6, 41)[0, near[0], 0] > 0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crystal_without_reflection_in_range_is_dark(engine):
    tiny = structures_to_graphs(Structure(Lattice.cubic(1.0), ["H"], [[0, 0, 0]]))
    sums = shell_sum(GraphBatch.from_graphs(tiny, engine), torch.ones(1, 2), G_MIN, G_MAX, SHELLS)
    assert sums.shape == (1, SHELLS, 2) and (sums == 0).all()


def test_the_readout_tells_stackings_of_close_packed_layers_apart():
    """The sites alone do not: all scatter alike here."""
    a, z = 2.5, 2.5 * (2 / 3) ** 0.5
    places = {"A": (0, 0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}
    crystals = [
        Structure(
            Lattice.hexagonal(a, z * len(stacking)),
            ["Co"] * len(stacking),
            [[*places[layer], k / len(stacking)] for k, layer in enumerate(stacking)],
        )
        for stacking in ("ABABAB", "ABCABC", "AB")
    ]
    batch = GraphBatch.from_graphs(structures_to_graphs(crystals))
    torch.manual_seed(0)
    hexagonal, cubic, again = StructureFactorReadout(4)(batch, torch.ones(batch.total_sites, 4))
    assert torch.allclose(hexagonal, again, atol=1e-3) and (hexagonal - cubic).abs().max() > 0.1
