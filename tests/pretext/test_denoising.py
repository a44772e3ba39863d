"""Noise in sites and cells, heads that turn with a crystal, and the objectives made of both."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from deepchem_crystalssl import structures_to_graphs
from deepchem_crystalssl.errors import OptionError
from deepchem_crystalssl.nn.crystal_encoder import CrystalEncoder
from deepchem_crystalssl.nn.equivariant import CrystalTensors, SiteVectors
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.pretext.batch import PretextBatch
from deepchem_crystalssl.pretext.noise import Noise, add_noise
from deepchem_crystalssl.pretext.objectives import DenoisedCell, DenoisedSites, objective_from_configuration
from deepchem_crystalssl.pretext.views import noised

NOISE = Noise((0.03, 0.15), (0.008, 0.05), 0.5)


@pytest.fixture(scope="module")
def batch(graphs):
    return GraphBatch.from_graphs(graphs[:24])


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def encoder_of(**options):
    torch.manual_seed(0)
    settings = dict(width=16, n_layers=2, hidden=16, embedding_size=8, readout="means", conditioned=True)
    return CrystalEncoder(**{**settings, **options})


def pretext(batch, seed=0, **options):
    same = torch.eye(len(batch), dtype=torch.bool)
    return PretextBatch(
        batch, None, same, encoder_of(**options), None, torch.Generator().manual_seed(seed), views_alone=False
    )


def turned(batch, rotation):
    return replace(batch, lattice=batch.lattice @ rotation)


def awake(head, seed=0):
    """A head whose answer is not zero, as it is at the start of a training."""
    torch.manual_seed(seed)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


# Noise


def test_distances_and_volumes_are_those_of_the_moved_structure(structures):
    crystal = structures[3]
    batch = GraphBatch.from_graphs(structures_to_graphs(crystal))
    rng = np.random.default_rng(0)
    shift, square = rng.normal(0, 0.1, (len(crystal), 3)), rng.normal(0, 0.03, (3, 3))
    strain = (square + square.T) / 2
    view = noised(batch, torch.tensor(shift).float(), torch.tensor(strain).float()[None])
    moved = Structure(
        Lattice(crystal.lattice.matrix @ (np.eye(3) + strain)),
        crystal.species,
        crystal.frac_coords + shift @ np.linalg.inv(crystal.lattice.matrix),
    )
    assert float(view.volume) == pytest.approx(moved.volume, rel=1e-4)
    for edge in range(0, len(view.distance), 7):
        i, j, image = int(view.center[edge]), int(view.neighbor[edge]), view.image[edge].numpy()
        vector = (moved.frac_coords[j] + image - moved.frac_coords[i]) @ moved.lattice.matrix
        assert float(view.distance[edge]) == pytest.approx(np.linalg.norm(vector), abs=1e-4)
        assert np.allclose(view.direction[edge], vector / np.linalg.norm(vector), atol=1e-4)


def test_edges_tell_nothing_of_the_noise(batch, generator):
    """Which sites are neighbours is the same for every draw, so that only positions differ."""
    one, other = (add_noise(batch, NOISE, generator).view for _ in range(2))
    assert not torch.allclose(one.distance, other.distance)
    for name in ("neighbor", "center", "image", "atomic_numbers"):
        assert getattr(one, name) is getattr(batch, name) is getattr(other, name)


def test_noise_has_no_mean_unit_variance_and_no_preferred_direction(batch, generator):
    drawn = [add_noise(batch, NOISE, generator) for _ in range(200)]
    shift = torch.stack([d.shift for d in drawn])
    several = (batch.num_sites > 1)[batch.crystal]
    mean = torch.zeros(len(batch), 3).index_add_(0, batch.crystal, shift[0])
    assert mean.abs().max() < 1e-4
    assert shift[:, several].square().mean() == pytest.approx(1.0, abs=0.02)
    assert shift[:, ~several].abs().max() < 1e-6 if (~several).any() else True
    strain = torch.cat([d.strain for d in drawn])
    assert torch.equal(strain, strain.transpose(1, 2))
    turn = torch.tensor(Rotation.random(random_state=1).as_matrix()).float()
    for values in (strain, turn @ strain @ turn.T):
        variance = values.square().mean(0)
        assert torch.allclose(variance, 0.5 + 0.5 * torch.eye(3), atol=0.05)
    told = torch.cat([d.remembered for d in drawn])
    assert told.mean() == pytest.approx(0.5, abs=0.03) and set(told.unique().tolist()) == {0.0, 1.0}


def test_the_level_of_the_noise_is_that_of_the_moves(batch, generator):
    """A level of (log 2, log 2) is a displacement of .06 Å and a strain of .02."""
    still = add_noise(batch, Noise((0.06, 0.06), (0.02, 0.02), 0.0), generator)
    assert torch.allclose(still.level, torch.full_like(still.level, 2.0).log())
    moved = still.view.frac_coords - batch.frac_coords
    angstrom = torch.einsum("na,nab->nb", moved, batch.lattice[batch.crystal])
    assert torch.allclose(angstrom, 0.06 * still.shift, atol=1e-4)
    strained = torch.linalg.inv(batch.lattice) @ still.view.lattice - torch.eye(3)
    assert torch.allclose(strained, 0.02 * still.strain, atol=1e-4)
    none = add_noise(batch, Noise((0.0, 0.0), (0.0, 0.0), 0.0), generator)
    assert torch.allclose(none.view.distance, batch.distance, atol=1e-3)


def test_atoms_that_meet_have_a_distance(batch, generator):
    drawn = add_noise(batch, Noise((3.0, 5.0), (0.5, 0.9), 0.0), generator)
    assert drawn.view.distance.min() >= 0.3
    parts = pretext(batch, attributes=True)
    for objective in (DenoisedSites((3.0, 5.0), (0.5, 0.9)), DenoisedCell((3.0, 5.0), (0.5, 0.9))):
        assert torch.isfinite(objective(parts, awake(objective.build_head(parts.crystal_encoder))))


# Heads


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_vectors_and_tensors_turn_with_the_crystal(batch, seed):
    rotation = torch.tensor(Rotation.random(random_state=seed).as_matrix()).float()
    sites = encoder_of().encode_sites(batch)[-1].detach()
    vectors, tensors = awake(SiteVectors(16), seed), awake(CrystalTensors(16), seed)
    other = turned(batch, rotation)
    assert torch.allclose(vectors(batch, sites) @ rotation, vectors(other, sites), rtol=1e-3, atol=1e-2)
    expected = rotation.T @ tensors(batch, sites) @ rotation
    assert torch.allclose(expected, tensors(other, sites), rtol=1e-3, atol=1e-2)
    assert torch.allclose(expected, expected.transpose(1, 2), atol=1e-3)
    assert vectors(batch, sites).abs().max() > 0.1 and tensors(batch, sites).abs().max() > 0.1


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_heads_by_hand(graphs, engine):
    """The sums over edges, written out with plain tensors."""
    batch = GraphBatch.from_graphs(graphs[:4], engine)
    sites = encoder_of().encode_sites(batch)[-1].detach()
    head = awake(CrystalTensors(16), 3)
    vectors = awake(SiteVectors(16), 4)
    r = batch.direction
    for module, power in ((vectors, r[:, :, None]), (head, r[:, :, None] * r[:, None, :] - torch.eye(3) / 3)):
        gaussians = torch.exp(-(((batch.distance[:, None] - torch.linspace(0, 8, 41)) / 0.2) ** 2))
        weight = module.from_center(sites)[batch.center] * module.from_neighbor(sites)[batch.neighbor]
        weight = (weight * (gaussians @ module.from_edge.weight.T)).sum(1)
        total = torch.zeros(batch.total_sites, 3, power.shape[2])
        total.index_add_(0, batch.center, weight[:, None, None] * power)
        if module is vectors:
            assert torch.allclose(total[:, :, 0], module(batch, sites), rtol=2e-2, atol=2e-2)
            continue
        means = torch.zeros(4, 3, 3).index_add_(0, batch.crystal, total) / batch.num_sites[:, None, None]
        found = module(batch, sites)
        traceless = found - torch.eye(3) * found.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] / 3
        assert torch.allclose(means * 1.5**0.5, traceless, rtol=2e-2, atol=5e-2)


# Objectives


def test_untrained_answers_cost_the_variance(batch):
    """Heads begin with the answer zero, which is off by one standard deviation."""
    for objective in (DenoisedSites(), DenoisedCell()):
        costs = [
            float(objective((parts := pretext(batch, seed)), objective.build_head(parts.crystal_encoder)))
            for seed in range(20)
        ]
        assert np.mean(costs) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("objective", [DenoisedSites(forgotten=0.0), DenoisedCell(forgotten=0.0)])
def test_noise_is_learned_to_be_undone(batch, objective):
    parts = pretext(batch)
    head = objective.build_head(parts.crystal_encoder)
    optimizer = torch.optim.Adam([*parts.crystal_encoder.parameters(), *head.parameters()], lr=0.01)
    costs = []
    for step in range(60):
        fresh = replace(parts, generator=torch.Generator().manual_seed(step), _noised={})
        fresh.__dict__.pop("pooled", None), fresh.__dict__.pop("site_layers", None)
        loss = objective(fresh, head)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        costs.append(loss.item())
    assert np.mean(costs[-10:]) < 0.9 * np.mean(costs[:10])


def test_a_perfect_answer_costs_nothing(batch):
    parts = pretext(batch)
    drawn = parts.noised(DenoisedSites().noise)[0]
    assert float(DenoisedSites()(parts, lambda view, sites: drawn.shift)) == 0.0
    assert float(DenoisedCell()(parts, lambda view, sites: drawn.strain)) == 0.0
    assert float(DenoisedCell(weight=3.0)(parts, lambda view, sites: 0 * drawn.strain)) == pytest.approx(
        3.0 * float(drawn.strain.square().sum((1, 2)).mean()) / 6.0
    )


def test_both_read_the_same_noised_crystals(batch, monkeypatch):
    reads = []
    encode = CrystalEncoder.encode_sites
    monkeypatch.setattr(CrystalEncoder, "encode_sites", lambda *a: (reads.append(len(a)), encode(*a))[1])
    for objectives, expected in (
        ([DenoisedSites(), DenoisedCell()], 2),
        ([DenoisedSites(), DenoisedCell(strain=(0.01, 0.02))], 3),
    ):
        reads.clear()
        parts = pretext(batch)
        for objective in objectives:
            objective(parts, objective.build_head(parts.crystal_encoder))
        assert len(reads) == expected


def test_the_clean_crystal_is_told_and_can_be_forgotten(batch):
    """Gradients reach the clean reading through what is told, and do not where it is forgotten."""
    for forgotten, reached in ((0.0, True), (1.0, False)):
        parts = pretext(batch)
        objective = DenoisedSites(forgotten=forgotten)
        objective(parts, awake(objective.build_head(parts.crystal_encoder))).backward()
        memory = parts.crystal_encoder.memory[0].weight.grad
        assert bool(memory[:, :48].abs().max() > 0) == reached
        assert memory[:, 48:].abs().max() > 0  # the level of the noise is always told


def test_only_clean_crystals_move_the_statistics(batch):
    parts = pretext(batch)
    clean = pretext(batch)
    _ = clean.pooled
    DenoisedSites()(parts, DenoisedSites().build_head(parts.crystal_encoder))
    for one, other in zip(parts.crystal_encoder.convolutions, clean.crystal_encoder.convolutions, strict=True):
        assert torch.equal(one.norm.mean, other.norm.mean) and one.norm.mean.abs().max() > 0


def test_odd_crystals_have_a_loss():
    """One atom, one element, and an atom without neighbours."""
    lone = Structure(Lattice.cubic(30.0), ["Ar"], [[0, 0, 0]])
    iron = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    copper = Structure(Lattice.from_parameters(2.55, 2.55, 2.55, 60, 60, 60), ["Cu"], [[0, 0, 0]])
    for structures in ([lone, lone], [copper, copper], [iron, copper, lone]):
        batch = GraphBatch.from_graphs(structures_to_graphs(structures, isolated_atoms="keep"))
        for objective in (DenoisedSites(), DenoisedCell()):
            parts = pretext(batch, attributes=True)
            loss = objective(parts, awake(objective.build_head(parts.crystal_encoder)))
            loss.backward()
            assert torch.isfinite(loss)
            if isinstance(objective, DenoisedSites) and iron not in structures:
                assert float(loss) == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"displacement": (0.2, 0.1)},
        {"displacement": 0.1},
        {"strain": (-0.1, 0.1)},
        {"strain": (0.0, float("inf"))},
        {"strain": "small"},
        {"forgotten": 1.5},
        {"weight": -1.0},
        {"weight": float("nan")},
    ],
)
def test_noise_that_cannot_be(options):
    with pytest.raises(OptionError):
        DenoisedSites(**options)


def test_an_encoder_that_cannot_be_told(batch, generator):
    parts = replace(pretext(batch), crystal_encoder=encoder_of(conditioned=False))
    with pytest.raises(ValueError, match="conditioned"):
        DenoisedSites()(parts, SiteVectors(16))


def test_configurations_come_back():
    for objective in (DenoisedSites((0.01, 0.02)), DenoisedCell(strain=(0.0, 0.1), forgotten=0.1)):
        fields = {"class": type(objective).__name__, **vars(objective)}
        fields = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
        assert objective_from_configuration(fields) == objective
