from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import eval_legendre

from deepchem_crystalssl.nn.harmonics import spherical_harmonics
from deepchem_crystalssl.nn.layers import AngularMoments, CrystalConvolution
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.message_passing import directed_sum
from deepchem_crystalssl.pretext.views import masked


@given(st.integers(0, 10**6))
def test_addition_theorem(seed):
    generator = torch.Generator().manual_seed(seed)
    r, s = (
        torch.nn.functional.normalize(torch.randn(5, 3, generator=generator, dtype=torch.float64), dim=1)
        for _ in range(2)
    )
    products = spherical_harmonics(r) * spherical_harmonics(s)
    cosine = (r * s).sum(1).numpy()
    first = 0
    for degree in range(1, 5):
        n = 2 * degree + 1
        assert np.allclose(products[:, first : first + n].sum(1), eval_legendre(degree, cosine), atol=1e-12)
        first += n
    assert first == products.shape[1]


def test_degree_out_of_range():
    with pytest.raises(ValueError, match="max_degree"):
        spherical_harmonics(torch.zeros(1, 3), 5)


def test_directions_point_to_neighbors(graphs):
    graph = graphs[5]
    batch = GraphBatch.from_graphs(graphs[:10])
    first = sum(g.num_edges for g in graphs[:5])
    structure = graph.to_structure()
    for k in range(0, graph.num_edges, 7):
        j, i = graph.edge_index[:, k]
        there = structure.lattice.get_cartesian_coords(graph.frac_coords[j] + graph.image[k])
        here = structure.lattice.get_cartesian_coords(graph.frac_coords[i])
        expected = (there - here) / np.linalg.norm(there - here)
        assert np.allclose(batch.direction[first + k], expected, atol=1e-5)


def test_moments_are_the_sum_over_pairs_of_neighbors(graphs):
    """The layer's formula against a loop over the angles themselves."""
    torch.manual_seed(0)
    graph = graphs[7]
    batch = GraphBatch.from_graphs([graph], "torch")
    values, table = torch.randn(graph.num_nodes, 3), torch.randn(803, 3)
    sums = directed_sum(batch, values, table, 4)
    powers = [part.square().sum(1) for part in sums.split([3, 5, 7, 9], dim=1)]
    row, part = batch.table_position
    weight = values[batch.neighbor] * (table[row] * (1 - part[:, None]) + table[row + 1] * part[:, None])
    cosine = (batch.direction @ batch.direction.T).numpy()
    for degree, power in enumerate(powers, 1):
        for i in range(graph.num_nodes):
            mine = (batch.center == i).numpy()
            legendre = torch.from_numpy(eval_legendre(degree, cosine[mine][:, mine])).float()
            expected = torch.einsum("jc,kc,jk->c", weight[mine], weight[mine], legendre)
            assert torch.allclose(power[i], expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("engine", [pytest.param("dgl", marks=pytest.mark.needs_dgl), "fused"])
def test_engines_agree(graphs, engine):
    torch.manual_seed(0)
    table = torch.randn(803, 4)
    results = []
    for name in ("torch", engine):
        batch = GraphBatch.from_graphs(graphs[:12], name)
        inputs = [torch.randn(batch.total_sites, 4, generator=torch.Generator().manual_seed(1)), table.clone()]
        for x in inputs:
            x.requires_grad_()
        out = directed_sum(batch, *inputs, 3)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
        results.append([out, *torch.autograd.grad((out * weights).sum(), inputs)])
    for ours, reference in zip(*results, strict=True):
        assert torch.allclose(ours, reference, atol=1e-5 * float(reference.detach().abs().max()))


def test_masked_edges_take_no_part(graphs):
    """Other directions of the masked edges change nothing; of the other edges, they do."""
    torch.manual_seed(0)
    layer, expansion = AngularMoments(8).eval(), CrystalConvolution(8).table_expansion
    batch = GraphBatch.from_graphs(graphs[:3])
    chosen = torch.rand(len(batch.distance)) < 0.4
    sites = torch.randn(batch.total_sites, 8)
    moved = replace(batch, image=torch.where(chosen[:, None], batch.image + 1, batch.image))
    assert not torch.allclose(layer(batch, sites, expansion), layer(moved, sites, expansion))
    one, other = (layer(masked(b, None, chosen), sites, expansion) for b in (batch, moved))
    assert torch.equal(one, other)
