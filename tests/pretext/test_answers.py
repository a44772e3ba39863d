"""Objectives that ask the encoder for numbers of model physics, or for labels."""

import json

import deepchem as dc
import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import CrystalSSLModel, structures_to_graphs
from deepchem_crystalssl.errors import LabelError, OptionError
from deepchem_crystalssl.models import targets as targets_module
from deepchem_crystalssl.models.targets import KEPT, PhysicsTargets
from deepchem_crystalssl.physics import model_physics, standardized
from deepchem_crystalssl.physics.columns import MODELS, column_names, site_physics
from deepchem_crystalssl.pretext.answers import N_CRYSTAL, N_SITE
from deepchem_crystalssl.pretext.objectives import (
    DenoisedSites,
    Labels,
    MaskedSites,
    ModelPhysics,
    needed_of_encoder,
    objective_from_configuration,
)

ENCODER = dict(width=16, n_layers=1, hidden=16, embedding_size=8, readout="means", attributes=True)


def dataset_of(graphs, y=None, w=None):
    X = np.empty(len(graphs), object)
    X[:] = graphs
    return dc.data.NumpyDataset(X, y, w)


def model_of(*objectives, folder=None, **options):
    settings = dict(encoder=ENCODER, batch_size=8, model_dir=folder and str(folder), log_frequency=1)
    return CrystalSSLModel(list(objectives), **{**settings, **options})


# Model physics


def test_sizes_are_those_of_the_physics():
    assert (N_CRYSTAL, N_SITE) == (len(column_names(MODELS)), len(column_names(MODELS, "site")))


def test_targets_are_the_standardised_numbers(graphs):
    few = graphs[:6]
    numbers, sites = PhysicsTargets().get(few)
    assert np.allclose(numbers, standardized(model_physics(few)), atol=5e-3)
    assert np.allclose(sites, standardized(site_physics(few), level="site"), atol=5e-3)


def test_targets_are_computed_once_and_kept(graphs, tmp_path, monkeypatch):
    asked = []
    compute = targets_module.iterate_physics
    monkeypatch.setattr(
        targets_module, "iterate_physics", lambda given, **k: (asked.append(len(given)), compute(given, **k))[1]
    )
    targets = PhysicsTargets()
    first = targets.get(graphs[:5])
    again = targets.get([graphs[2], *graphs[:8]])
    assert asked == [5, 3] and len(targets) == 8
    assert torch.equal(again[0][1:6], first[0]) and torch.equal(again[0][0], first[0][2])
    targets.save(tmp_path)
    other = PhysicsTargets()
    other.load(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(other.get(graphs[:8]), targets.get(graphs[:8]), strict=True))
    assert asked == [5, 3]
    written = (tmp_path / KEPT).stat().st_mtime_ns
    targets.save(tmp_path)  # nothing is new
    assert (tmp_path / KEPT).stat().st_mtime_ns == written


def test_a_crystal_without_numbers_has_no_part(graphs):
    """Element 110 has no orbitals: it is reported once, and its sites do not count."""
    heavy = structures_to_graphs(Structure(Lattice.cubic(3.0), ["Ds"], [[0, 0, 0]]))
    targets = PhysicsTargets()
    for _ in range(2):
        numbers, sites = targets.get([*graphs[:2], *heavy])
    assert torch.isfinite(numbers[:2]).all() and torch.isnan(numbers[2]).all() and torch.isnan(sites[-1]).all()
    assert len(targets.left_out) == 1
    model = model_of(ModelPhysics())
    model.fit(dataset_of([*graphs[:3], *heavy]), nb_epoch=2, progress=False)
    assert np.isfinite(model.last_losses["model_physics"])


def test_answers_are_learned_and_are_columns(graphs):
    model = model_of(ModelPhysics(), learning_rate=0.01, batch_size=16)
    dataset = dataset_of(graphs[:48])
    before = model.validate(dataset)["loss"]
    model.fit(dataset, nb_epoch=12, progress=False)
    assert model.validate(dataset)["loss"] < 0.6 * before
    encoder = model.crystal_encoder
    described = model.embed(graphs[:48], space="descriptor", progress=False)
    assert described.shape == (48, encoder.pooled_size + N_CRYSTAL)
    exact = standardized(model_physics(graphs[:48]))
    right = [np.corrcoef(described[:, encoder.pooled_size + k], exact[:, k])[0, 1] for k in range(N_CRYSTAL)]
    assert np.nanmedian(right) > 0.7
    sites = model.embed(graphs[:48], "site", space="descriptor", progress=False)
    assert sites.shape[1] == encoder.site_size and encoder.site_size == 42 + 2 * 16 + N_SITE


def test_physics_of_a_killed_run_is_not_computed_again(graphs, tmp_path, monkeypatch):
    dataset = dataset_of(graphs[:24])
    whole = model_of(ModelPhysics(), DenoisedSites(), MaskedSites(whole_species=True), folder=tmp_path / "whole")
    whole.fit(dataset, nb_epoch=4, progress=False)
    model_of(ModelPhysics(), DenoisedSites(), MaskedSites(whole_species=True), folder=tmp_path / "part").fit(
        dataset, nb_epoch=2, progress=False, checkpoint_interval=3
    )
    resumed = model_of(ModelPhysics(), DenoisedSites(), MaskedSites(whole_species=True), folder=tmp_path / "part")

    def refuse(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(targets_module, "iterate_physics", refuse)
    resumed.fit(dataset, nb_epoch=4, restore=True, progress=False)
    for one, other in zip(
        whole.crystal_encoder.state_dict().values(), resumed.crystal_encoder.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


# Labels


@pytest.fixture(scope="module")
def volumes(graphs):
    return np.array([np.log(graph.volume / graph.num_nodes) for graph in graphs[:48]])


def test_labels_with_gaps_are_learned(graphs, volumes):
    """Two columns, half of one unknown in every way a label can be, and one that is not asked for."""
    y = np.stack([np.full(48, 7.0), 100.0 * volumes, -volumes], axis=1)
    w = np.ones_like(y)
    y[::4, 1], y[1::4, 1] = np.nan, np.inf
    w[2::8, 1] = 0.0
    model = model_of(Labels(["1", "2"]), learning_rate=0.01, batch_size=16)
    dataset = dataset_of(graphs[:48], y, w)
    model.fit(dataset, nb_epoch=20, progress=False)
    assert model.last_losses["labels"] < 0.5
    answers = model.embed(graphs[:48], space="descriptor", progress=False)[:, -2:]
    assert np.corrcoef(answers[:, 0], volumes)[0, 1] > 0.9 and np.corrcoef(answers[:, 1], -volumes)[0, 1] > 0.9
    scale = model.components["labels_head"]
    known = np.isfinite(y[:, 1]) & (w[:, 1] > 0)
    assert float(scale.center[0]) == pytest.approx(np.sort(y[known, 1])[(known.sum() - 1) // 2], rel=1e-5)
    assert float(scale.width[0]) == pytest.approx(y[known, 1].std(), rel=1e-4)


def test_unknown_labels_change_nothing(graphs, volumes):
    losses = []
    for unknown in (np.nan, np.inf, 1e9):
        y, w = volumes[:16].copy(), np.ones(16)
        y[::3], w[::3] = unknown, 0.0 if unknown == 1e9 else 1.0
        model = model_of(Labels(["0"]), seed=3)
        model.fit(dataset_of(graphs[:16], y, w), nb_epoch=2, progress=False)
        losses.append(model.last_losses["labels"])
    assert losses[0] == losses[1] == losses[2] and np.isfinite(losses[0])


@pytest.mark.parametrize(
    ("columns", "y", "named"),
    [
        (["gap"], np.arange(8.0), "gap"),
        (["0"], np.full(8, 2.5), "the same label"),
        (["0"], np.full(8, np.nan), "no known label"),
        (["0"], np.array(list("abcdefgh")), "numbers"),
    ],
)
def test_labels_that_teach_nothing_are_refused(graphs, columns, y, named):
    with pytest.raises(LabelError, match=named):
        model_of(Labels(columns)).fit(dataset_of(graphs[:8], y), nb_epoch=1, progress=False)


@pytest.mark.parametrize("columns", [[], ["a", "a"], ""])
def test_columns_that_cannot_be(columns):
    with pytest.raises(OptionError):
        Labels(columns)


def test_labels_have_no_part_unless_they_are_asked_for(graphs, volumes):
    vectors = []
    for y in (volumes[:16], -volumes[:16]):
        model = model_of(MaskedSites(whole_species=True))
        model.fit(dataset_of(graphs[:16], y), nb_epoch=1, progress=False)
        vectors.append(model.embed(graphs[:16], progress=False))
    assert np.array_equal(*vectors)


def test_needs_are_joined_and_win():
    needs = needed_of_encoder([ModelPhysics(), Labels(["a", "b"]), DenoisedSites(), MaskedSites()])
    assert needs == {
        "answers": {"model physics": N_CRYSTAL, "labels": 2},
        "site_answers": {"model physics": N_SITE},
        "conditioned": True,
    }
    model = model_of(DenoisedSites(), encoder={**ENCODER, "conditioned": False})
    assert model.crystal_encoder.memory is not None


def test_configurations_come_back():
    for objective in (ModelPhysics(weight=2.0), Labels(("gap", "energy"), weight=0.5)):
        fields = json.loads(json.dumps({"class": type(objective).__name__, **vars(objective)}))
        assert objective_from_configuration(fields) == objective
