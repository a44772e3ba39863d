import subprocess
import sys
import textwrap

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_crystalssl import CrystalSSLModel, XRDFeaturizer, XRDGrid, simulate_xrd
from deepchem_crystalssl.errors import CheckpointError, CountsError, GridError, Report
from deepchem_crystalssl.diffraction.conditions import HARD
from deepchem_crystalssl.evaluation.metrics import retrieval_recall
from deepchem_crystalssl.pretext.objectives import CrystalXRDTriplet
from deepchem_crystalssl.models.optimizers import WarmUpCosine

GRID = XRDGrid(n_bins=1000, fwhm=0.5)
SMALL = dict(
    objectives="suzuki2022",
    encoder=dict(width=16, n_layers=2, hidden=64, embedding_size=24),
    xrd_encoder=dict(channels=8, hidden=64),
    grid=GRID,
    batch_size=16,
)


@pytest.fixture(scope="module")
def dataset(graphs):
    X = np.empty(33, object)
    X[:] = graphs[:33]
    return dc.data.NumpyDataset(X)


@pytest.fixture(scope="module")
def trained(dataset):
    np.random.seed(0)
    model = CrystalSSLModel(**SMALL, learning_rate=0.003)
    model.fit(dataset, nb_epoch=120)
    return model


def test_learns_to_find_its_training_crystals(trained, dataset):
    patterns = simulate_xrd(list(dataset.X), GRID)
    untrained = CrystalSSLModel(**SMALL)
    before, after = (
        retrieval_recall(model.embed_xrd(patterns), model.embed(dataset), (1, 5)) for model in (untrained, trained)
    )
    assert after[1] > 0.5 > 0.2 > before[1] and after[5] > 0.8


def test_unlabelled_data_have_a_loss(dataset):
    """DeepChem gives unlabelled data the weight 0, which must not silence the loss."""
    assert (dataset.w == 0).all()
    assert CrystalSSLModel(**SMALL).fit(dataset, nb_epoch=1) > 0


def test_labels_do_not_matter(dataset):
    losses = []
    for data in (dataset, dc.data.NumpyDataset(dataset.X, np.random.rand(33, 1))):
        np.random.seed(0)
        losses.append(CrystalSSLModel(**SMALL).fit(data, nb_epoch=2))
    assert losses[0] == losses[1]


def test_batches_are_not_padded_and_a_last_one_alone_is_left_out(dataset):
    model = CrystalSSLModel(**SMALL)
    assert [len(X[0]) for X, _, _ in model.default_generator(dataset)] == [16, 16]
    assert [len(X[0]) for X, _, _ in model.default_generator(dataset, mode="predict")] == [16, 16, 1]


def test_embeddings_keep_order_and_shape(trained, graphs, structures):
    vectors = trained.embed(graphs[:40])
    assert vectors.shape == (40, 24) and vectors.dtype == np.float32
    assert np.allclose(trained.embed(structures), vectors, atol=1e-4)
    assert np.allclose(trained.embed(structures[7])[0], vectors[7], atol=1e-4)
    assert trained.embed([]).shape == (0, 24)


def test_bad_items_are_reported(trained, structures):
    report = Report()
    vectors = trained.embed([structures[0], None, structures[1]], on_error="skip", report=report)
    assert len(vectors) == 2 and [e.index for e in report] == [1]


def test_patterns_on_another_grid(trained):
    with pytest.raises(GridError, match="5000 bins in place of 1000"):
        trained.embed_xrd(np.zeros((2, 5000)))
    assert trained.embed_xrd(np.random.rand(1000)).shape == (1, 24)
    assert trained.embed_xrd(np.empty((0, 1000))).shape == (0, 24)


def test_same_seed_same_weights_other_seed_others():
    models = [CrystalSSLModel(**SMALL, seed=s).model for s in (1, 1, 2)]
    weights = [torch.nn.utils.parameters_to_vector(model.parameters()) for model in models]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_construction_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    CrystalSSLModel(**SMALL)
    assert torch.equal(torch.rand(1), expected)


def test_checkpoint_restores_the_vectors(trained, dataset, tmp_path):
    trained.save_checkpoint(model_dir=str(tmp_path))
    other = CrystalSSLModel(**SMALL, seed=5)
    assert not np.allclose(other.embed(dataset), trained.embed(dataset), atol=1e-3)
    other.restore(model_dir=str(tmp_path))
    assert np.allclose(other.embed(dataset), trained.embed(dataset), atol=1e-5)


def test_engines_train_alike(dataset):
    losses = []
    for engine in ("torch", "auto"):
        np.random.seed(0)
        losses.append(CrystalSSLModel(**{**SMALL, "objectives": "joint"}, engine=engine).fit(dataset, nb_epoch=2))
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # Adam makes steps of rounding noise too


def test_components_can_be_frozen_and_transferred(trained, dataset):
    other = CrystalSSLModel(**SMALL, seed=9)
    other.load_from_pretrained(trained, components=["crystal_encoder"])
    assert np.allclose(other.embed(dataset), trained.embed(dataset), atol=1e-6)
    other.freeze_components(["crystal_encoder"])
    other.fit(dataset, nb_epoch=1)
    assert np.allclose(other.embed(dataset), trained.embed(dataset), atol=1e-6)


def test_objectives_given_as_parts():
    given = {**SMALL, "objectives": [CrystalXRDTriplet(margin=0.5)]}
    assert CrystalSSLModel(**given).objectives[0].margin == 0.5
    for wrong in ("clip", [], [CrystalXRDTriplet(), CrystalXRDTriplet()]):
        with pytest.raises(ValueError, match="objectives"):
            CrystalSSLModel(wrong)


def test_bad_grid():
    with pytest.raises(GridError):
        CrystalSSLModel(**{**SMALL, "grid": XRDGrid(n_bins=0)})


# Checkpoints


def weights(model):
    return torch.nn.utils.parameters_to_vector(model.model.parameters()).detach()


def joint(folder, **changes):
    options = {**SMALL, "objectives": "joint", "model_dir": str(folder), **changes}
    return CrystalSSLModel(**options, optimizer=dc.models.optimizers.AdamW(WarmUpCosine(0.003, 12)))


def test_resumed_run_is_the_uninterrupted_one(dataset, tmp_path):
    whole = joint(tmp_path / "whole")
    losses = []
    whole.fit(dataset, nb_epoch=6, callbacks=lambda m, step: losses.append(sum(m.last_losses.values())))
    parts = []
    for epochs in (2, 3, 6):  # each time a new model, as after a kill
        model = joint(tmp_path / "parts")
        model.fit(
            dataset, nb_epoch=epochs, restore=True, callbacks=lambda m, step: parts.append(sum(m.last_losses.values()))
        )
    assert losses == pytest.approx(parts, rel=1e-4) and len(parts) == 12
    assert torch.allclose(weights(whole), weights(model), atol=1e-5)


@pytest.mark.once
def test_killed_run_goes_on_to_the_same_end(tmp_path):
    """kill -9 at a step between checkpoints: what was done since the last one is done again."""
    code = """
        import os, numpy as np, deepchem as dc, torch
        torch.set_num_threads(1)
        from deepchem_crystalssl import *
        from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
        graphs = structures_to_graphs(bundled_prototypes()[:33])
        X = np.empty(33, object); X[:] = graphs
        small = dict(encoder=dict(width=8, n_layers=1, hidden=16, embedding_size=8),
                     xrd_encoder=dict(channels=4, hidden=16), grid=XRDGrid(n_bins=500, fwhm=1.0), batch_size=16)
        for folder, kill_at in [("whole", 0), ("killed", 4), ("killed", 7), ("killed", 9), ("killed", 0)]:
            child = os.fork()
            if child:
                print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
                continue
            model = CrystalSSLModel("joint", **small, model_dir=folder)
            kill = lambda m, step: step == kill_at and os.kill(os.getpid(), 9)
            model.fit(dc.data.NumpyDataset(X), nb_epoch=5, restore=True, checkpoint_interval=3, callbacks=kill)
            print(float(np.abs(model.embed(graphs)).sum()), model.get_global_step(), flush=True)
            os._exit(0)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=tmp_path)
    whole, end, *killed, again, end_again, last = run.stdout.split()
    assert killed == ["0", "9", "9", "9"] and last == "0"
    assert end == end_again == "10" and float(whole) == pytest.approx(float(again), rel=1e-4)


def test_patterns_as_measured_differ_from_step_to_step(dataset, tmp_path):
    model = joint(tmp_path, conditions=HARD)
    model._ensure_built()
    batch = ([dataset.X[:4]], [], [])
    first, again = (model._prepare_batch(batch)[0].patterns for _ in range(2))
    model._global_step = 1
    assert torch.equal(first, again) and not torch.equal(first, model._prepare_batch(batch)[0].patterns)
    assert np.isfinite(model.fit(dataset, nb_epoch=1))


def test_checkpoint_before_fit(tmp_path):
    model = joint(tmp_path)
    model.save_checkpoint()
    assert joint(tmp_path).get_checkpoints()


def test_restore_of_components_brings_no_optimizer(trained, dataset, tmp_path):
    trained.save_checkpoint(model_dir=str(tmp_path))
    other = joint(tmp_path / "other", objectives="kong2024", encoder=SMALL["encoder"])
    other.restore(components=["crystal_encoder"], model_dir=str(tmp_path))
    vectors = [model.embed(dataset, layers=[0, 1, 2]) for model in (other, trained)]
    assert np.allclose(*vectors, atol=1e-6)
    assert not other._pytorch_optimizer.state_dict()["state"] and other.get_global_step() == 0
    assert np.isfinite(other.fit(dataset, nb_epoch=1))


@pytest.mark.parametrize(
    "change",
    [
        dict(objectives="suzuki2022"),
        dict(grid=XRDGrid(n_bins=900)),
        dict(encoder=dict(width=8, n_layers=2, hidden=64, embedding_size=24)),
    ],
)
def test_checkpoint_of_another_configuration(tmp_path, change):
    joint(tmp_path).save_checkpoint()
    with pytest.raises(CheckpointError, match="this model has"):
        joint(tmp_path, **change).restore()


def test_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        joint(tmp_path).restore()


def test_short_runs_log_their_losses(dataset, tmp_path):
    model, losses = joint(tmp_path), []
    model.fit(dataset, nb_epoch=1, all_losses=losses)
    assert len(losses) == 1 and set(model.last_losses) == {"crystals_patterns_infonce", "masked_sites", "descriptors"}


def test_gradients_are_clipped(dataset, tmp_path):
    still = joint(tmp_path / "a", max_gradient=1e-12)
    before = weights(still)
    still.fit(dataset, nb_epoch=1)
    moved = joint(tmp_path / "b")
    moved.fit(dataset, nb_epoch=1)
    assert all(p.grad is None or p.grad.norm() <= 1e-11 for p in still.model.parameters())
    assert not torch.equal(before, weights(moved))


def test_warm_up_and_cosine():
    schedule = WarmUpCosine(1.0, 100, warm_up=0.1)
    rates = [schedule.factor(step) for step in range(120)]
    assert rates[0] < 0.1 and np.argmax(rates) == 10 and rates[10] == pytest.approx(1.0)
    assert (np.diff(rates[:11]) > 0).all() and (np.diff(rates[10:100]) < 0).all() and rates[-1] == pytest.approx(0.01)


# Embedding by level and layer


def test_levels_and_layers(trained, graphs):
    sites = sum(g.num_nodes for g in graphs[:6])
    assert trained.embed(graphs[:6], level="site").shape == (sites, 16)
    assert trained.embed(graphs[:6], level="site", layers=[0, 1, 2]).shape == (sites, 48)
    assert trained.embed(graphs[:6], layers=[0, 2]).shape == (6, 64)
    assert trained.embed([], level="site").shape[0] == 0
    with pytest.raises(ValueError, match="level"):
        trained.embed(graphs[:2], level="atom")


def test_crystal_vectors_have_unit_length(trained, graphs):
    """Of every preset but the one published otherwise."""
    for preset in ("joint", "kong2024", "kong2024-contrastive"):
        vectors = CrystalSSLModel(preset, encoder=SMALL["encoder"], grid=GRID).embed(graphs[:9])
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.ptp(np.linalg.norm(trained.embed(graphs[:9]), axis=1)) > 0.1


def test_large_cells_are_embedded_alone(trained, graphs):
    from deepchem_crystalssl.models.embedding import batches_of_sites

    batches = list(batches_of_sites(iter(graphs[:50]), 60))
    assert [g.material_id for b in batches for g in b] == [g.material_id for g in graphs[:50]]
    assert all(len(b) == 1 or sum(g.num_nodes for g in b) <= 60 for b in batches)


def test_objectives_without_patterns_train_no_pattern_encoder(dataset, tmp_path):
    model = joint(tmp_path, objectives="kong2024")
    model.fit(dataset, nb_epoch=1)
    assert "xrd_encoder" not in model.components
    with pytest.raises(ValueError, match="encoder of patterns"):
        model.embed_xrd(np.zeros(1000))


def test_patterns_are_taken_on_the_grid_of_the_model_alone(trained, graphs):
    other = XRDGrid(n_bins=1000, two_theta_max=90.0)  # as many bins, other angles
    with pytest.raises(GridError, match="90"):
        trained.embed_xrd(simulate_xrd(graphs[:2], other, progress=False))
    plain = np.asarray(simulate_xrd(graphs[:2], GRID, progress=False))
    with pytest.raises(GridError, match="90"):
        trained.embed_xrd(plain, grid=other)
    with pytest.warns(UserWarning, match="grid="):
        guessed = trained.embed_xrd(plain)
    assert np.array_equal(trained.embed_xrd(plain, grid=GRID), guessed)
    assert np.array_equal(trained.predict_embedding(dc.data.NumpyDataset(np.array([*graphs[:2], None])[:2])),
                          trained.embed(graphs[:2]))  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 0.0])
def test_patterns_without_intensities_are_bad_items(trained, graphs, value):
    patterns = simulate_xrd(graphs[:4], GRID, progress=False).copy()
    patterns[2] = value
    with pytest.raises(CountsError, match="^pattern 2: "):
        trained.embed_xrd(patterns)
    report = Report()
    vectors = trained.embed_xrd(patterns, on_error="skip", report=report)
    assert np.array_equal(vectors, trained.embed_xrd(patterns[[0, 1, 3]])) and report.indices == [2]
    with pytest.warns(UserWarning, match="^pattern 2: "):
        assert len(trained.embed_xrd(patterns, on_error="warn")) == 3
    with pytest.raises(CountsError, match="^pattern 0: "):
        trained.embed_xrd(patterns[2])


def test_patterns_from_a_disk_that_do_not_state_their_grid_are_taken_with_a_warning(trained, graphs, tmp_path):
    X = XRDFeaturizer(two_theta_max=90.0, n_bins=1000).featurize(graphs[:3])
    stored = dc.data.DiskDataset.from_numpy(X, data_dir=str(tmp_path)).X
    for given in (stored, np.vstack([X, simulate_xrd(graphs[:2], GRID, progress=False)])):
        with pytest.warns(UserWarning, match="does not state its grid is taken to lie on 10-110°.*grid="):
            trained.embed_xrd(given)
    with pytest.raises(GridError, match="10-90°"):
        trained.embed_xrd(stored, grid=XRDFeaturizer(two_theta_max=90.0, n_bins=1000).grid)
