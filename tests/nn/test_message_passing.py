import numpy as np
import pytest
import torch

from deepchem_crystalssl import structures_to_graphs
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.nn import links
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.links import add_ends, sum_to_centers
from deepchem_crystalssl.nn.message_passing import mean_over_sites, sum_species

ENGINES = ["torch", pytest.param("dgl", marks=pytest.mark.skipif(links.dgl is None, reason="no dgl"))]


@pytest.fixture
def batches(graphs):
    return {engine: GraphBatch.from_graphs(graphs[:12], engine) for engine in ("torch", "dgl")}


@pytest.mark.skipif(links.dgl is None, reason="no dgl")
def test_engines_agree_in_values_and_gradients(batches):
    results = {}
    for engine, batch in batches.items():
        torch.manual_seed(0)
        x = torch.randn(batch.total_sites, 7, dtype=torch.float64, requires_grad=True)
        y = torch.randn(batch.total_sites, 7, dtype=torch.float64, requires_grad=True)
        out = sum_to_centers(batch, torch.tanh(add_ends(batch, x, y)))
        out.square().sum().backward()
        results[engine] = (out.detach(), x.grad, y.grad)
    for ours, theirs in zip(results["dgl"], results["torch"], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_by_hand(graphs, engine):
    batch = GraphBatch.from_graphs(graphs[:3], engine)
    x, y = torch.rand(batch.total_sites, 2), torch.rand(batch.total_sites, 2)
    edges = add_ends(batch, x, y)
    sums = sum_to_centers(batch, edges)
    for e in range(0, len(edges), 97):
        assert torch.allclose(edges[e], x[batch.neighbor[e]] + y[batch.center[e]])
    for site in range(0, batch.total_sites, 5):
        assert torch.allclose(sums[site], edges[batch.center == site].sum(0), atol=1e-4)


def test_mean_over_sites(graphs):
    batch = GraphBatch.from_graphs(graphs[:4])
    values = torch.rand(batch.total_sites, 3)
    for k, mean in enumerate(mean_over_sites(batch, values)):
        assert torch.allclose(mean, values[batch.crystal == k].mean(0), atol=1e-6)


def test_disordered_sites_are_averaged_by_occupancy(graphs):
    mixed = make_crystal([{"Cu": 0.5, "Au": 0.25}], [[0, 0, 0]], 3 * np.eye(3))
    (graph,) = structures_to_graphs(mixed, disorder="average")
    batch = GraphBatch.from_graphs([graphs[0], graph])
    values = torch.rand(119, 4)
    sites = sum_species(batch, values)
    assert torch.allclose(sites[-1], 0.5 * values[29] + 0.25 * values[79])
    assert torch.allclose(sites[: graphs[0].num_nodes], values[torch.from_numpy(graphs[0].atomic_numbers.astype(int))])


def test_dgl_asked_for_but_absent(graphs, monkeypatch):
    monkeypatch.setattr(links, "dgl", None)
    batch = GraphBatch.from_graphs(graphs[:2], "auto")
    assert not batch.uses_dgl
    assert sum_to_centers(batch, torch.ones(len(batch.distance), 1)).sum() == len(batch.distance)
    with pytest.raises(ImportError, match="dgl"):
        add_ends(GraphBatch.from_graphs(graphs[:2], "dgl"), torch.ones(1, 1), torch.ones(1, 1))
