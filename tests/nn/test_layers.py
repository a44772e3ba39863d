import numpy as np
import pytest
import torch

from deepchem_crystalssl.nn.layers import CrystalConvolution, GaussianExpansion, mlp
from deepchem_crystalssl.nn.graph_batch import GraphBatch


def test_gaussian_expansion_is_the_records(graphs):
    ours = GaussianExpansion()(torch.from_numpy(graphs[0].distance.copy())).numpy()
    assert np.allclose(ours, graphs[0].edge_features, atol=1e-6)


@pytest.mark.parametrize("engine", ["torch", pytest.param("dgl", marks=pytest.mark.needs_dgl)])
def test_convolution_equals_a_loop_in_numpy(graphs, engine):
    """The published formula with concatenation, written edge by edge."""
    torch.manual_seed(0)
    graph, width = graphs[0], 6
    layer = CrystalConvolution(width).double()
    x = torch.randn(graph.num_nodes, width, dtype=torch.float64)
    layer(GraphBatch.from_graphs([graph], "torch"), x)  # statistics to normalise by
    layer.eval()
    grid = np.linspace(0, 8, 801)
    rows = np.exp(-(((grid[:, None] - np.linspace(0, 8, 41)) / 0.2) ** 2))
    e = np.stack([np.interp(graph.distance, grid, column) for column in rows.T], axis=1)
    assert np.abs(e - graph.edge_features).max() < 1e-3  # the table is the expansion, read linearly
    weight = torch.cat([layer.from_center.weight, layer.from_neighbor.weight, layer.from_edge.weight], 1)
    w, b = weight.detach().numpy(), layer.from_center.bias.detach().numpy()

    def softplus(v):
        return np.log1p(np.exp(v))

    sums = np.zeros((graph.num_nodes, width))
    for k, (j, i) in enumerate(graph.edge_index.T):
        z = w @ np.concatenate([x[i], x[j], e[k]]) + b
        sums[i] += 1 / (1 + np.exp(-z[:width])) * softplus(z[width:])
    mean, variance = layer.norm.mean.numpy(), layer.norm.variance.numpy()
    normed = (sums - mean) / np.sqrt(variance + layer.norm.eps)
    expected = softplus(x.numpy() + normed)
    out = layer(GraphBatch.from_graphs([graph], engine), x).detach().numpy()
    assert np.allclose(out, expected, atol=1e-7)
    out = layer.float()(GraphBatch.from_graphs([graph], "fused"), x.float()).detach().numpy()
    assert np.allclose(out, expected, atol=1e-5)


def test_messages_flow_from_neighbor_to_center(graphs):
    """Changing an atom changes those that list it, and nobody else."""
    torch.manual_seed(0)
    graph = next(g for g in graphs if g.num_nodes > 30)
    layer = CrystalConvolution(4).eval()
    batch = GraphBatch.from_graphs([graph])
    x = torch.randn(graph.num_nodes, 4)
    changed = x.clone()
    changed[0] += 1
    differs = (layer(batch, x) - layer(batch, changed)).abs().sum(1) > 1e-6
    hears = set(graph.edge_index[1][graph.edge_index[0] == 0].tolist()) | {0}
    assert set(torch.nonzero(differs)[:, 0].tolist()) == hears and len(hears) < graph.num_nodes


def test_mlp_shapes():
    assert mlp([3, 5, 2])(torch.rand(4, 3)).shape == (4, 2)
    assert mlp([3, 2])(torch.rand(4, 3)).shape == (4, 2)
