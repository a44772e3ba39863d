"""Using a model while it trains changes nothing in its training."""

import threading
from concurrent.futures import ThreadPoolExecutor

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


def test_threads_may_embed_with_one_model_at_once(dataset):
    """A norm that was in training mode for a moment would learn from what is embedded, and all later vectors differ."""
    model = load_pretrained("small")
    assert model.model.training  # as it is opened: the mode that blocks of other threads must not restore too early
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    expected = model.embed(dataset, progress=False)
    started = threading.Barrier(4)

    def embed_again(_):
        started.wait()
        return [model.embed(dataset.select(range(n)), progress=False) for n in (1, 30, 3, 48, 2)][3]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(embed_again, range(4)))
    assert all(np.abs(vectors - expected).max() < 1e-6 for vectors in found)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.model.state_dict().items())
    assert all(part.training for part in model.model.modules())
