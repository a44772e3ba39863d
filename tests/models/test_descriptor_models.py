"""A model whose crystals and sites are described by the encoder of another one."""

import deepchem as dc
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deepchem_crystalssl import CrystalEmbedding, CrystalSSLModel, NEGNNModel, SiteEmbedding, load_pretrained
from deepchem_crystalssl import save_pretrained
from deepchem_crystalssl.models.model_physics import PHYSICS_BLOCKS, PREDICTED_BLOCKS, descriptor_blocks
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.physics.columns import MODELS, column_names
from deepchem_crystalssl.pretext.objectives import DenoisedSites, InfoNCE, Labels, ModelPhysics

PARTS = dict(readout="means", attributes=True, hidden=16)


@pytest.fixture(scope="module")
def describing(graphs):
    X = np.empty(24, object)
    X[:] = graphs[:24]
    y = [graph.volume / graph.num_nodes for graph in X]
    model = CrystalSSLModel(
        [DenoisedSites(), ModelPhysics(), Labels(["0"])],
        encoder=dict(width=8, n_layers=2, embedding_size=4, **PARTS),
        batch_size=12,
    )
    model.fit(dc.data.NumpyDataset(X, y), nb_epoch=2, progress=False)
    return model


@pytest.fixture(scope="module")
def comparing(graphs, describing):
    """It meets patterns with an encoder of its own; both have been trained."""
    X = np.empty(24, object)
    X[:] = graphs[:24]
    model = CrystalSSLModel(
        [InfoNCE()],
        encoder=dict(width=12, n_layers=1, embedding_size=6, long_range=True, **PARTS),
        xrd_encoder=dict(channels=4, hidden=16),
        descriptor_model=describing,
        batch_size=12,
    )
    model.fit(dc.data.NumpyDataset(X), nb_epoch=1, progress=False)
    return model


def test_each_encoder_gives_what_it_is_for(comparing, describing, graphs):
    few = graphs[:6]

    def vectors(model, *args, **options):
        return model.embed(few, *args, progress=False, **options)

    for args, options in (
        (("crystal",), {"space": "descriptor"}),
        (("crystal", [0, 2]), {}),
        (("site",), {}),
        (("site",), {"space": "descriptor"}),
    ):
        assert np.array_equal(vectors(comparing, *args, **options), vectors(describing, *args, **options))
    assert vectors(comparing).shape == (6, 6) and vectors(describing).shape == (6, 4)
    similar = vectors(comparing, space="similarity")
    assert similar.shape == (6, describing.crystal_encoder.pooled_size + 6)
    assert np.allclose(np.linalg.norm(similar, axis=1), 1.0, atol=1e-5)
    shared = similar[:, -6:] / np.linalg.norm(similar[:, -6:], axis=1, keepdims=True)
    assert np.allclose(shared, vectors(comparing), atol=1e-4)
    alone = vectors(describing, space="similarity")
    assert np.allclose(alone[:, :-4], similar[:, :-6], atol=1e-5)


def test_training_leaves_the_described_alone(comparing, describing, graphs):
    before = {name: part.clone() for name, part in describing.crystal_encoder.state_dict().items()}
    X = np.empty(12, object)
    X[:] = graphs[30:42]
    comparing.fit(dc.data.NumpyDataset(X), nb_epoch=1, progress=False)
    for name, part in describing.crystal_encoder.state_dict().items():
        assert torch.equal(part, before[name])


def test_it_is_saved_and_opened_as_one(comparing, graphs, tmp_path):
    folder = save_pretrained(comparing, tmp_path / "both", {"data": "few"}, half=False)
    opened = load_pretrained(folder)
    for options in ({}, {"space": "descriptor"}, {"space": "similarity"}, {"level": "site"}):
        one, other = (model.embed(graphs[:5], progress=False, **options) for model in (comparing, opened))
        assert np.array_equal(one, other)
    assert opened.label_columns == ["0"]
    control = opened.untrained(1)
    assert control.descriptor_encoder.answers == opened.descriptor_encoder.answers
    described = control.embed(graphs[:5], space="descriptor", progress=False)
    assert not np.allclose(described, opened.embed(graphs[:5], space="descriptor", progress=False), atol=1e-2)


def test_checkpoints_hold_both(comparing, describing, graphs, tmp_path):
    X = np.empty(12, object)
    X[:] = graphs[:12]
    options = dict(
        encoder=comparing.encoder_arguments, xrd_encoder=comparing.xrd_encoder_arguments, batch_size=6, seed=2
    )
    model = CrystalSSLModel([InfoNCE()], **options, descriptor_model=describing, model_dir=str(tmp_path))
    model.fit(dc.data.NumpyDataset(X), nb_epoch=1, progress=False)
    opened = load_pretrained(tmp_path)
    assert np.array_equal(*(m.embed(graphs[:5], space="descriptor", progress=False) for m in (model, opened)))


def test_columns_have_names_and_blocks(comparing):
    for embedding, names in (
        (CrystalEmbedding(comparing), column_names(MODELS) + ["0"]),
        (SiteEmbedding(comparing), column_names(MODELS, "site")),
    ):
        labels = embedding.feature_labels()
        assert len(set(labels)) == len(labels)
        assert labels[-len(names) :] == [f"model predicted {name}" for name in names]
    encoder = comparing.descriptor_encoder
    blocks = CrystalEmbedding(comparing).blocks
    assert blocks == descriptor_blocks(encoder) and len(blocks) == encoder.descriptor_size
    assert blocks[-1] == "predicted labels" and blocks[-90:-1] == list(PREDICTED_BLOCKS)
    both = CrystalEmbedding(comparing, physics=True).blocks
    assert both[-89:] == list(PHYSICS_BLOCKS) and both.count("predicted model physics") == 89
    assert len(CrystalEmbedding(comparing, space="similarity").feature_labels()) == encoder.pooled_size + 6


def test_descriptors_do_not_depend_on_their_company(comparing, structures):
    embedding = CrystalEmbedding(comparing)
    together = np.array(embedding.featurize_many(structures[:4], pbar=False))
    assert np.allclose(together, [embedding.featurize(s) for s in structures[:4]], atol=1e-4)
    assert together.shape[1] == len(embedding.feature_labels())


@pytest.mark.parametrize("physics", [False, True])
def test_networks_are_told_the_answers(comparing, describing, graphs, physics):
    X = np.empty(24, object)
    X[:] = graphs[:24]
    dataset = dc.data.NumpyDataset(X, [graph.volume / graph.num_nodes for graph in X])
    model = NEGNNModel(pretrained=comparing, width=8, hidden=8, physics=physics, batch_size=12)
    n_answers = 89 + 1 + 11
    assert model.components["network"].embed_pretrained.in_features == 2 * 8 + n_answers + 100 * physics
    model.fit(dataset, nb_epoch=1, progress=False)
    told = model._site_vectors.get(graphs[:3], "cpu", remember=False)[:, : 2 * 8 + n_answers]
    batch = GraphBatch.from_graphs(graphs[:3])
    with torch.no_grad():
        encoder = describing.crystal_encoder.eval()
        layers = encoder.encode_sites(batch)
        answers = encoder.all_answers(encoder.pool(batch, layers))[batch.crystal]
        assert F.l1_loss(told[:, -90:], answers) < 1e-2
        assert F.l1_loss(told[:, 16:27], encoder.all_site_answers(batch, layers)) < 1e-2
    assert float(model.components["kernel"].share) > 0 and np.isfinite(model.predict(dataset)).all()
