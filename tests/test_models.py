import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_crystalssl import CrystalSSLModel, XRDGrid, simulate_xrd
from deepchem_crystalssl.crystals.errors import GridError, Report
from deepchem_crystalssl.metrics import retrieval_recall
from deepchem_crystalssl.pretext.objectives import CrystalXRDTriplet

GRID = XRDGrid(n_bins=1000, fwhm=0.5)
SMALL = dict(width=16, n_layers=2, embedding_size=24, xrd_channels=8, grid=GRID, batch_size=16)


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
    with pytest.raises(GridError, match="1000 bins"):
        trained.embed_xrd(np.zeros((2, 5000)))
    assert trained.embed_xrd(np.random.rand(1000)).shape == (1, 24)
    assert trained.embed_xrd(np.empty((0, 1000))).shape == (0, 24)


def test_same_seed_same_weights_other_seed_others():
    weights = [next(CrystalSSLModel(**SMALL, seed=s).model.parameters()) for s in (1, 1, 2)]
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
        losses.append(CrystalSSLModel(**SMALL, engine=engine).fit(dataset, nb_epoch=2))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_components_can_be_frozen_and_transferred(trained, dataset):
    other = CrystalSSLModel(**SMALL, seed=9)
    other.load_from_pretrained(trained, components=["crystal_encoder"])
    assert np.allclose(other.embed(dataset), trained.embed(dataset), atol=1e-6)
    other.freeze_components(["crystal_encoder"])
    other.fit(dataset, nb_epoch=1)
    assert np.allclose(other.embed(dataset), trained.embed(dataset), atol=1e-6)


def test_objectives_given_as_parts():
    assert CrystalSSLModel([CrystalXRDTriplet(margin=0.5)], **SMALL).objectives[0].margin == 0.5
    with pytest.raises(ValueError, match="suzuki2022"):
        CrystalSSLModel("clip", **SMALL)


def test_bad_grid():
    with pytest.raises(GridError):
        CrystalSSLModel(**{**SMALL, "grid": XRDGrid(n_bins=0)})
