"""Using a model while it trains changes nothing in its training."""

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_crystalssl import CrystalSSLModel, NEGNNModel, XRDGrid, load_pretrained

ENCODERS = dict(encoder=dict(width=16, n_layers=2, hidden=32), xrd_encoder=dict(channels=8, hidden=32))


def numpy_dataset(graphs, y=None):
    X = np.empty(len(graphs), object)
    X[:] = graphs
    return dc.data.NumpyDataset(X, y)


@pytest.fixture(scope="module")
def dataset(graphs):
    few = [graph for graph in graphs if graph.num_nodes <= 24][:48]
    return numpy_dataset(few, np.array([np.log(graph.volume / graph.num_nodes) for graph in few]))


def pretraining_model():
    return CrystalSSLModel("joint", **ENCODERS, grid=XRDGrid(n_bins=500, fwhm=0.5), batch_size=16)


def property_model(**options):
    return NEGNNModel(pretrained="small", batch_size=16, hidden=32, kernel_share=0.0, **options)


def tuned_model():
    return property_model(fine_tune=1e-3)


def embed(model, dataset):
    model.embed(dataset, progress=False)
    model.embed(dataset, level="site", progress=False)


def embed_patterns(model, dataset):
    model.embed_xrd(np.random.default_rng(0).random((3, 500)), progress=False, grid=model.xrd_grid)


def expected_patterns(model, dataset):
    model.embed(dataset, space="pattern", progress=False)


def predict(model, dataset):
    model.predict(dataset)


def validate(model, dataset):
    model.validate(dataset)


def sample(model, dataset):
    model.predict_uncertainty(dataset, masks=2)


def history(build, dataset, callbacks=()):
    """The loss of every step and the weights after the last one."""
    model, losses = build(), []
    model.fit(dataset, nb_epoch=4, callbacks=[*callbacks, lambda m, step: losses.append(sum(m.last_losses.values()))])
    return losses, {name: value.clone() for name, value in model.model.state_dict().items()}


@pytest.mark.parametrize(
    "build, use",
    [
        (pretraining_model, embed),
        (pretraining_model, embed_patterns),
        (pretraining_model, expected_patterns),
        (pretraining_model, predict),
        (pretraining_model, validate),
        (property_model, predict),
        (property_model, validate),
        (tuned_model, predict),
        (lambda: property_model(uncertainty=True), sample),
    ],
)
def test_a_model_used_in_a_callback_trains_as_if_it_had_not_been(dataset, build, use):
    alone = history(build, dataset)
    used = history(build, dataset, [lambda model, step: use(model, dataset)])
    assert used[0] == alone[0]
    assert all(torch.equal(value, used[1][name]) for name, value in alone[1].items())


def test_a_validation_callback_of_deepchem_changes_nothing(dataset, tmp_path):
    metric = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    alone = history(property_model, dataset)
    with (tmp_path / "scores.txt").open("w") as file:
        callback = dc.models.ValidationCallback(dataset, 2, [metric], output_file=file)
        used = history(property_model, dataset, [callback])
    assert used[0] == alone[0]
    assert all(torch.equal(value, used[1][name]) for name, value in alone[1].items())
    assert (tmp_path / "scores.txt").read_text().count("validation") == 6


@pytest.mark.parametrize("training", [True, False])
def test_every_module_gets_its_mode_back(dataset, training):
    model = load_pretrained("small")
    model.model.train(training)
    model.xrd_encoder.train(not training)
    before = {name: module.training for name, module in model.model.named_modules()}
    model.embed(dataset, progress=False)
    model.embed_xrd(np.random.default_rng(0).random((2, model.xrd_grid.n_bins)), progress=False, grid=model.xrd_grid)
    model.predict(dataset)
    assert {name: module.training for name, module in model.model.named_modules()} == before
    with pytest.raises(ValueError):
        model.embed([dataset.X[0], "nowhere.cif"], progress=False)
    assert {name: module.training for name, module in model.model.named_modules()} == before
