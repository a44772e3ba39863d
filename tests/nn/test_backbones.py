"""Backbones and the networks around them: laws, formulas, and what the line graph holds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepchem_crystalssl import structures_to_graphs
from deepchem_crystalssl.nn.backbones import BACKBONES, CGCNN, EdgeGatedConvolution, LineGraph
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.negnn import NEGNN, LabelScale
from deepchem_crystalssl.testing import permuted, recelled, rotated, supercell, translated

ENGINES = ["torch", pytest.param("dgl", marks=pytest.mark.needs_dgl)]


def network(name, level="crystal", n_pretrained=0):
    torch.manual_seed(0)
    return NEGNN(BACKBONES[name](width=12), n_outputs=2, n_pretrained=n_pretrained, level=level)


def seen(name, graphs, **kwargs):
    """A network that has statistics to normalise by."""
    model = network(name, **kwargs)
    model(GraphBatch.from_graphs(graphs))
    return model.eval()


@pytest.mark.parametrize("name", BACKBONES)
@settings(max_examples=8, deadline=None)
@given(k=st.integers(0, 287), seed=st.integers(0, 1000))
def test_predictions_do_not_depend_on_how_a_crystal_is_written(prototypes, graphs, name, k, seed):
    rng = np.random.default_rng(seed)
    crystal = prototypes[k]
    if crystal.num_nodes > 40:
        crystal = prototypes[0]
    ways = [crystal, rotated(crystal, rng), translated(crystal, rng), permuted(crystal, rng)[0]]
    ways += [recelled(crystal, rng), supercell(crystal)[0]]
    model = seen(name, graphs[:20])
    with torch.no_grad():
        values = model(GraphBatch.from_graphs(structures_to_graphs(ways, progress=False)))
    assert torch.allclose(values, values[:1].expand_as(values), atol=2e-3)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_batch_is_its_crystals(graphs, name):
    model = seen(name, graphs[:20])
    with torch.no_grad():
        together = model(GraphBatch.from_graphs(graphs[:6]))
        alone = torch.cat([model(GraphBatch.from_graphs([graph])) for graph in graphs[:6]])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_sites_follow_their_order(prototypes, graphs, name):
    crystal = max(prototypes[:60], key=lambda c: c.num_nodes)
    other, order = permuted(crystal, np.random.default_rng(0))
    model = seen(name, graphs[:20], level="site")
    with torch.no_grad():
        a, b = (model(GraphBatch.from_graphs(structures_to_graphs(c, progress=False))) for c in (crystal, other))
    assert torch.allclose(a[torch.as_tensor(order)], b, atol=2e-3) and len(a) == crystal.num_nodes


@pytest.mark.needs_dgl
@pytest.mark.parametrize("name", BACKBONES)
def test_engines_agree(graphs, name):
    model = seen(name, graphs[:20])
    outputs, gradients = [], []
    for engine in ("torch", "dgl"):
        model.zero_grad()
        value = model(GraphBatch.from_graphs(graphs[:8], engine))
        value.square().sum().backward()
        outputs.append(value.detach())
        gradients.append(model.embed_elements.weight.grad.clone())
    assert torch.allclose(*outputs, atol=1e-4)
    assert torch.allclose(*gradients, atol=1e-3 * gradients[0].abs().max().item())


@pytest.mark.parametrize("engine", ENGINES)
def test_line_graph_holds_every_angle_once(graphs, engine):
    graph = graphs[3]
    reach = 1.25
    batch = GraphBatch.from_graphs([graph], engine)
    angles = LineGraph.of(batch, reach)
    neighbor, center = graph.edge_index
    direction = batch.direction.numpy()
    nearest = np.array([graph.distance[center == i].min() for i in range(graph.num_nodes)])
    expected = set()
    for after in range(graph.num_edges):
        for before in np.flatnonzero(center == neighbor[after]):
            straight_back = neighbor[before] == center[after] and (graph.image[before] == -graph.image[after]).all()
            if graph.distance[before] <= reach * nearest[center[before]] and not straight_back:
                cosine = -direction[before] @ direction[after]
                expected.add((int(before), after, round(float(np.clip(cosine, -1, 1)), 3)))
    found = zip(angles.neighbor.tolist(), angles.center.tolist(), angles.cosine.tolist(), strict=True)
    found = [(before, after, round(cosine, 3)) for before, after, cosine in found]
    assert len(found) == len(set(found)) == len(expected) and {f[:2] for f in found} == {e[:2] for e in expected}
    assert max(abs(a[2] - b[2]) for a, b in zip(sorted(found), sorted(expected), strict=True)) < 2e-3


def test_angles_of_diamond():
    from pymatgen.core import Lattice, Structure

    carbon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])
    batch = GraphBatch.from_graphs(structures_to_graphs(carbon, progress=False))
    angles = LineGraph.of(batch, 1.25)
    bonded = batch.distance[angles.center] < 1.6
    assert torch.allclose(angles.cosine[bonded], torch.tensor(-1 / 3), atol=1e-5)
    assert bonded.sum() == 8 * 4 * 3  # each bond's far end has three others


def test_edge_gated_convolution_equals_a_loop_in_numpy(graphs):
    torch.manual_seed(1)
    graph, width = graphs[0], 5
    layer = EdgeGatedConvolution(width).double()
    batch = GraphBatch.from_graphs([graph], "torch")
    x, y = (torch.randn(n, width, dtype=torch.float64) for n in (graph.num_nodes, graph.num_edges))
    layer(batch, x, y)
    layer.eval()

    def silu(v):
        return v / (1 + np.exp(-v))

    def normed(norm, v):
        weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
        return (v - norm.mean.numpy()) / np.sqrt(norm.variance.numpy() + norm.eps) * weight + bias

    def matrix(linear):
        return linear.weight.detach().numpy()

    xs, ys = x.numpy(), y.numpy()
    raw = np.empty_like(ys)
    sums, gates = np.zeros_like(xs), np.zeros_like(xs)
    for k, (j, i) in enumerate(graph.edge_index.T):
        raw[k] = (
            matrix(layer.from_neighbor) @ xs[j] + matrix(layer.from_center) @ xs[i] + matrix(layer.from_link) @ ys[k]
        )
        raw[k] += layer.from_center.bias.detach().numpy()
        gate = 1 / (1 + np.exp(-raw[k]))
        sums[i] += gate * (matrix(layer.value) @ xs[j])
        gates[i] += gate
    own = xs @ matrix(layer.own).T + layer.own.bias.detach().numpy()
    sites, edges = layer(batch, x, y)
    assert np.allclose(sites.detach(), xs + silu(normed(layer.norm, own + sums / (gates + 1e-6))))
    assert np.allclose(edges.detach(), ys + silu(normed(layer.norm_link, raw)))


def test_pretrained_vectors_are_seen(graphs):
    model = network("cgcnn", n_pretrained=3)
    batch = GraphBatch.from_graphs(graphs[:6])
    vectors = torch.randn(batch.total_sites, 3)
    model(batch, vectors)
    model.eval()
    assert not torch.allclose(model(batch, vectors), model(batch, vectors + torch.randn(1, 3)))
    assert torch.allclose(model(batch, vectors), model(batch, vectors))


def test_dropout_is_for_training_and_sampling(graphs):
    model = seen("cgcnn", graphs[:20])
    batch = GraphBatch.from_graphs(graphs[:6])
    assert torch.equal(model(batch), model(batch))
    model.sampling = True
    assert not torch.equal(model(batch), model(batch))


def test_scale_of_labels():
    scale = LabelScale(2)
    labels = torch.tensor([[1.0, 5.0], [3.0, 0.0], [5.0, 7.0]])
    scale.learn(labels, torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
    assert scale.center.tolist() == [3.0, 5.0] and scale.width[1] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="weight"):
        LabelScale(1).learn(labels[:, :1], torch.zeros(3, 1))


def test_a_constant_label_has_a_width():
    scale = LabelScale(1)
    scale.learn(torch.full((4, 1), 2.0), torch.ones(4, 1))
    assert 0 < scale.width.item() < 1e-3


def test_width_is_the_only_thing_asked_of_a_backbone(graphs):
    class Mean(torch.nn.Module):
        width = 7

        def forward(self, batch, sites):
            return sites * 2

    assert NEGNN(Mean(), 4)(GraphBatch.from_graphs(graphs[:3])).shape == (3, 4)
    assert CGCNN(8, 1, angles=True)(GraphBatch.from_graphs(graphs[:3]), torch.zeros(0, 8).new_zeros(
        sum(g.num_nodes for g in graphs[:3]), 8)).shape[1] == 8  # fmt: skip
