"""The three engines of the gated sum, against each other and against double precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepchem_crystalssl.nn import fused_convolution, links, message_passing
from deepchem_crystalssl.nn.graph_batch import GraphBatch, TABLE_ROWS
from deepchem_crystalssl.nn.message_passing import gated_sum

WIDTH = 16
ENGINES = ["torch", "fused"] + (["dgl"] if links.dgl is not None else [])


def results(batch, dtype=torch.float32):
    """Value and gradients of the gated sum for fixed inputs."""
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(n, 2 * WIDTH, generator=generator).to(dtype).requires_grad_()
        for n in (batch.total_sites, batch.total_sites, TABLE_ROWS + 2)
    ]
    out = gated_sum(batch, *inputs)
    (out * torch.randn(out.shape, generator=generator).to(dtype)).sum().backward()
    return [out.detach(), *(x.grad for x in inputs)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_engines_agree(graphs, masked, threads):
    hidden = torch.rand(sum(g.num_edges for g in graphs[:30]), generator=torch.Generator().manual_seed(1)) < 0.3
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        batch = GraphBatch.from_graphs(graphs[:30], masked_edges=hidden if masked else None)
        exact = results(GraphBatch.from_graphs(graphs[:30], "torch", batch.masked_edges), torch.float64)
        for engine in ENGINES:
            for ours, theirs in zip(
                results(GraphBatch.from_graphs(graphs[:30], engine, batch.masked_edges)), exact, strict=True
            ):
                assert torch.allclose(ours.double(), theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item()), engine
    finally:
        torch.set_num_threads(before)


def test_derivative_is_that_of_the_value(graphs):
    """Central differences of the compiled value against the compiled gradient, along random directions."""
    batch = GraphBatch.from_graphs(graphs[:4], "fused")
    torch.manual_seed(0)
    inputs = [torch.randn(n, 8) for n in (batch.total_sites, batch.total_sites, TABLE_ROWS + 2)]
    for k in range(3):
        variable = [x.clone().requires_grad_() for x in inputs]
        gated_sum(batch, *variable).sum().backward()
        step = torch.randn(inputs[k].shape) * 1e-2
        moved = []
        for sign in (1, -1):
            shifted = [x + sign * step if i == k else x for i, x in enumerate(inputs)]
            moved.append(gated_sum(batch, *shifted).double().sum())
        assert (moved[0] - moved[1]).item() / 2 == pytest.approx((variable[k].grad * step).sum().item(), rel=2e-2)


def test_functions_are_good_to_float32():
    x = np.linspace(-40, 40, 20001).astype(np.float32)
    tanh = np.array([fused_convolution._half_tanh(v) for v in x])
    assert np.abs(tanh - np.tanh(x.astype(float) / 2)).max() < 6e-7
    softplus = np.array([fused_convolution._softplus(v, t) for v, t in zip(x, tanh, strict=True)])
    assert np.abs(softplus - np.logaddexp(0, x.astype(float))).max() < 2e-6


def test_a_site_without_edges_receives_nothing(graphs):
    from deepchem_crystalssl import structures_to_graphs
    from deepchem_crystalssl.crystals.validation import make_crystal

    (lonely,) = structures_to_graphs(make_crystal([18], [[0, 0, 0]], 20 * np.eye(3)), isolated_atoms="keep")
    for engine in ENGINES:
        batch = GraphBatch.from_graphs([graphs[0], lonely], engine)
        values = [torch.ones(n, 4) for n in (batch.total_sites, batch.total_sites, TABLE_ROWS + 2)]
        assert (gated_sum(batch, *values)[-1] == 0).all()


def test_hidden_distances_are_hidden(graphs):
    """A hidden edge gives the same message whatever its distance."""
    graph = graphs[0]
    for engine in ENGINES:
        outs = []
        for scale in (1.0, 1.3):
            batch = GraphBatch.from_graphs([graph], engine, torch.ones(graph.num_edges, dtype=torch.bool))
            batch = replace(batch, distance=batch.distance * scale)
            torch.manual_seed(0)
            outs.append(gated_sum(batch, *[torch.randn(n, 4) for n in (graph.num_nodes, graph.num_nodes, 803)]))
        assert torch.equal(*outs)


def test_fused_where_it_cannot_run(graphs):
    batch = GraphBatch.from_graphs(graphs[:2], "fused")
    with pytest.raises(ValueError, match="float32"):
        results(batch, torch.float64)


def test_without_numba_auto_takes_another(graphs, monkeypatch):
    expected = results(GraphBatch.from_graphs(graphs[:3], "torch"))
    monkeypatch.setattr(message_passing, "FusedGatedSum", None)
    for ours, theirs in zip(results(GraphBatch.from_graphs(graphs[:3], "auto")), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
