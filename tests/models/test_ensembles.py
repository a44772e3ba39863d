"""Several networks in one NEGNN: each is trained as if it were alone, and how far they differ is the deviation."""

import json
from functools import partial

import deepchem as dc
import numpy as np
import pytest
import torch

import deepchem_crystalssl as dcs
from deepchem_crystalssl import NEGNNModel, site_labels
from deepchem_crystalssl.errors import OptionError

# Gradients are clipped in every step, so that a norm over several networks would be noticed.
SMALL = {"pretrained": None, "width": 8, "hidden": 8, "batch_size": 8, "dropout": 0.5, "max_gradient": 0.05}
THREE = {**SMALL, "n_networks": 3}


@pytest.fixture(scope="module")
def few(graphs):
    X = np.empty(24, object)
    X[:] = [graph for graph in graphs if graph.num_nodes <= 12][:24]
    return X


@pytest.fixture(scope="module")
def dataset(few):
    return dc.data.NumpyDataset(few, np.array([np.log(graph.volume / graph.num_nodes) for graph in few]))


@pytest.fixture(scope="module")
def classes(few):
    return dc.data.NumpyDataset(few, np.array([len(set(graph.atomic_numbers)) % 3 for graph in few]))


@pytest.fixture(scope="module")
def sites(few):
    return dc.data.NumpyDataset(few, site_labels([graph.atomic_numbers / 10.0 for graph in few]))


def trained(data, epochs=2, **options):
    """A model after some epochs in the order of the data, which is then the same for all models."""
    model, losses = NEGNNModel(**options), []
    model.fit(data, nb_epoch=epochs, deterministic=True, callbacks=lambda m, step: losses.append(m.last_losses))
    return model, [next(iter(loss.values())) for loss in losses]


def networks(model):
    return [part for name, part in model.components.items() if name.startswith("network")]


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.equal(value, b[name]) for name, value in a.items())


def learned_variance(model, data):
    model.model.eval()
    with torch.no_grad():
        return model.model(model._prepare_batch(([data.X], None, None))[0])[1].numpy()


def test_one_network_is_the_plain_model(dataset):
    plain, losses = trained(dataset, **SMALL)
    one, losses_of_one = trained(dataset, **SMALL, n_networks=1)
    assert losses == losses_of_one and np.array_equal(plain.predict(dataset), one.predict(dataset))
    assert list(one.components) == ["network", "labels"] and plain.config == one.config


@pytest.mark.parametrize("uncertainty", [False, True])
def test_each_network_is_bit_for_bit_that_of_a_model_of_its_own(dataset, uncertainty):
    """In spite of the common step, clipping among it; and the prediction, loss and deviation are made of theirs."""
    ensemble, losses = trained(dataset, **THREE, uncertainty=uncertainty, seed=5)
    alone, losses_alone = zip(
        *(trained(dataset, **SMALL, uncertainty=uncertainty, seed=5 + k) for k in range(3)), strict=True
    )
    assert all(same(a, model.components["network"]) for a, model in zip(networks(ensemble), alone, strict=True))
    assert np.allclose(losses, np.mean(losses_alone, axis=0), atol=1e-6)
    of_each = np.array([model.predict(dataset) for model in alone])
    values, deviations = ensemble.predict_uncertainty(dataset)
    assert np.allclose(values, of_each.mean(0), atol=1e-6)
    variance = of_each.var(0, ddof=1)
    assert (variance > 0).all()
    if uncertainty:
        variance = variance + np.mean([learned_variance(model, dataset) for model in alone], axis=0)
    assert values.shape == (24, 1) and np.allclose(deviations, np.sqrt(variance), rtol=1e-4)


def test_networks_that_are_alike_do_not_differ(dataset):
    model, _ = trained(dataset, epochs=1, **THREE)
    assert (model.predict_uncertainty(dataset)[1] > 0).all()
    for network in networks(model)[1:]:
        network.load_state_dict(model.components["network"].state_dict())
    assert np.allclose(model.predict_uncertainty(dataset)[1], 0.0, atol=1e-6)


def test_resumed_ensemble_is_the_uninterrupted_one(dataset, tmp_path):
    build = partial(NEGNNModel, **THREE)
    whole = build(model_dir=str(tmp_path / "whole"))
    whole.fit(dataset, nb_epoch=3)

    class Stop(Exception):
        pass

    def stop(model, step):
        if step == 4:
            model.save_checkpoint()
            raise Stop

    with pytest.raises(Stop):
        build(model_dir=str(tmp_path / "parts")).fit(dataset, nb_epoch=3, callbacks=stop)
    resumed = build(model_dir=str(tmp_path / "parts"))
    torch.rand(7)
    resumed.fit(dataset, nb_epoch=3, restore=True)
    assert all(same(a, b) for a, b in zip(networks(whole), networks(resumed), strict=True))


@pytest.mark.parametrize("n_networks", [1, 3])
def test_saved_and_opened(dataset, tmp_path, n_networks):
    model = NEGNNModel(**SMALL, n_networks=n_networks, model_dir=str(tmp_path / "run"))
    model.fit(dataset, nb_epoch=1)
    saved = dcs.save_pretrained(model, tmp_path / "saved", half=False)
    if n_networks == 1:  # as it was written before there were ensembles
        for path in (tmp_path / "run" / "config.json", saved / "card.json"):
            content = json.loads(path.read_text())
            content.pop("checksum")  # versions up to 0.1 wrote none
            del content.get("config", content)["n_networks"]
            path.write_text(json.dumps(content))
    for folder in (tmp_path / "run", saved):
        for again in (NEGNNModel.from_folder(folder), dcs.load_pretrained(folder)):
            assert again.n_networks == n_networks and np.array_equal(again.predict(dataset), model.predict(dataset))
    NEGNNModel(**SMALL, n_networks=n_networks, model_dir=str(tmp_path / "run")).restore()
    with pytest.raises(dcs.CrystalInputError, match="n_networks"):
        NEGNNModel(**SMALL, n_networks=2, model_dir=str(tmp_path / "run")).restore()


@pytest.mark.parametrize("n_tasks", [1, 2])
def test_probabilities_are_averaged(few, classes, n_tasks):
    data = dc.data.NumpyDataset(few, np.column_stack([classes.y] * n_tasks))
    options = {"mode": "classification", "n_classes": 3, "n_tasks": n_tasks}
    ensemble, _ = trained(data, **THREE, **options)
    of_each = np.array([trained(data, **SMALL, **options, seed=k)[0].predict(data) for k in range(3)])
    assert np.allclose(ensemble.predict(data), of_each.mean(0), atol=1e-6)
    probabilities, deviations = ensemble.predict_uncertainty(data)
    assert np.allclose(probabilities, of_each.mean(0), atol=1e-6)
    assert np.allclose(deviations, of_each.std(0, ddof=1), atol=1e-5) and (deviations > 0).all()
    of_the_class = np.take_along_axis(of_each.mean(0).reshape(24, n_tasks, 3), data.y[..., None].astype(int), 2)
    assert ensemble.validate(data)["loss"] == pytest.approx(-np.log(of_the_class).mean(), rel=1e-5)


def test_sites(sites):
    ensemble, _ = trained(sites, **THREE, level="site")
    of_each = np.array([trained(sites, **SMALL, level="site", seed=k)[0].predict(sites) for k in range(3)])
    values, deviations = ensemble.predict_uncertainty(sites)
    assert values.shape == (sum(graph.num_nodes for graph in sites.X), 1)
    assert np.allclose(values, of_each.mean(0), atol=1e-5)
    assert np.allclose(deviations, of_each.std(0, ddof=1), atol=1e-5)


def test_embeddings_lie_side_by_side(dataset):
    ensemble, _ = trained(dataset, epochs=1, **THREE)
    alone = [trained(dataset, epochs=1, **SMALL, seed=k)[0].predict_embedding(dataset) for k in range(3)]
    assert np.array_equal(ensemble.predict_embedding(dataset), np.hstack(alone))


class Own(torch.nn.Module):
    width = 8

    def forward(self, batch, sites):
        return sites


@pytest.mark.parametrize(
    "options, rule",
    [
        *[({"n_networks": value}, "at least 1") for value in (0, -1, 1.5, "two", None)],
        ({"n_networks": 2, "backbone": Own()}, "share weights.*seed"),
        ({"n_networks": 2, "pretrained": "small", "fine_tune": 1e-4}, "encoder.*seed"),
    ],
)
def test_ensembles_that_cannot_be_trained(options, rule):
    with pytest.raises(OptionError, match=f"n_networks.*{rule}"):
        NEGNNModel(**{"pretrained": None, **options})


def test_a_module_is_a_backbone_of_one_network():
    assert NEGNNModel(pretrained=None, backbone=Own(), n_networks=1).n_networks == 1


def test_a_single_network_that_learned_no_error_has_no_deviation(dataset):
    with pytest.raises(OptionError, match="uncertainty=True or n_networks=5"):
        NEGNNModel(**SMALL).predict_uncertainty(dataset)
