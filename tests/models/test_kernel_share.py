"""The kernel ridge in a NEGNN: what fit says of it, and its part in validation and deviations."""

import logging

import deepchem as dc
import numpy as np
import pytest

from deepchem_crystalssl import NEGNNModel, load_pretrained
from deepchem_crystalssl.evaluation.kernel_ridge import LaplacianRidgeCV
from deepchem_crystalssl.models.model_physics import descriptor_blocks

SHARE = 0.4
SMALL = {"pretrained": "small", "width": 8, "hidden": 8, "batch_size": 16, "dropout": 0.0, "kernel_share": SHARE}


@pytest.fixture(scope="module")
def few(graphs):
    X = np.empty(48, object)
    X[:] = [graph for graph in graphs if graph.num_nodes <= 12][:48]
    return X


@pytest.fixture(scope="module")
def labels(few):
    return 100.0 + np.array([np.log(graph.volume / graph.num_nodes) for graph in few])


@pytest.fixture(scope="module")
def train(few, labels):
    return dc.data.NumpyDataset(few[:32], labels[:32])


@pytest.fixture(scope="module")
def unseen(few, labels):
    return dc.data.NumpyDataset(few[32:], labels[32:])


@pytest.fixture(scope="module")
def ridge(train):
    """The same regression, outside of the model."""
    source = load_pretrained("small")
    x, blocks = source.embed(train, space="descriptor"), descriptor_blocks(source.descriptor_encoder)
    return LaplacianRidgeCV(blocks=blocks).fit(x, train.y.ravel(), [graph.chemical_system for graph in train.X])


def trained(data, **options):
    model = NEGNNModel(**{**SMALL, **options})
    model.fit(data, nb_epoch=1)
    return model


def test_fit_says_what_the_kernel_does(train, ridge, caplog):
    with caplog.at_level(logging.INFO, "deepchem_crystalssl"):
        model = trained(train)
        model.fit(train, nb_epoch=1)
    (said,) = [record.getMessage() for record in caplog.records if "kernel ridge" in record.getMessage()]  # once
    assert "fitted to 32 crystals" in said and "makes 40 % of the prediction" in said
    assert f"is {ridge.cv_error_:.3g} in the units of the labels" in said


def test_fit_says_that_there_are_too_few_labels(train, caplog):
    with caplog.at_level(logging.INFO, "deepchem_crystalssl"):
        model = trained(train.select(range(9)))
    (said,) = [record.getMessage() for record in caplog.records if "kernel ridge" in record.getMessage()]
    assert said.startswith("No kernel ridge was fitted") and "10 crystals" in said
    assert not model.components["kernel"].share


def test_there_is_nothing_to_say_without_a_kernel(train, caplog):
    with caplog.at_level(logging.INFO, "deepchem_crystalssl"):
        trained(train, kernel_share=0.0)
        trained(train, pretrained=None)
    assert not [record for record in caplog.records if "kernel ridge" in record.getMessage()]


@pytest.mark.parametrize("n_networks", [1, 2])
def test_validation_judges_the_whole_prediction(train, unseen, n_networks):
    model = trained(train, n_networks=n_networks)
    width = train.y.std()
    whole = np.abs(model.predict(unseen) - unseen.y.reshape(-1, 1)).mean() / width
    assert model.validate(unseen)["loss"] == pytest.approx(whole, rel=1e-4)
    model.components["kernel"].share.zero_()
    alone = np.abs(model.predict(unseen) - unseen.y.reshape(-1, 1)).mean() / width
    assert model.validate(unseen)["loss"] == pytest.approx(alone, rel=1e-4) and abs(alone - whole) > 0.01


@pytest.mark.parametrize("n_networks", [1, 2])
def test_validation_judges_the_whole_deviation(train, unseen, n_networks):
    """The likelihood of a Laplace distribution with the predicted deviation."""
    model = trained(train, uncertainty=True, n_networks=n_networks)
    values, deviations = model.predict_uncertainty(unseen, masks=1)
    scale = deviations / np.sqrt(2) / train.y.std()
    misses = np.abs(values - unseen.y.reshape(-1, 1)) / train.y.std()
    assert model.validate(unseen)["loss"] == pytest.approx((misses / scale + np.log(scale)).mean(), rel=1e-3)


def test_the_kernel_knows_its_error(train, ridge):
    error = np.sqrt(np.square(ridge.cv_prediction_ - train.y.ravel()).mean())
    assert trained(train).components["kernel"].error.tolist() == [pytest.approx(error, rel=1e-4)]


def parts(model, data):
    """Standard deviations of the networks alone, that of the kernel alone, and that of both."""
    kernel = model.components["kernel"]
    both = model.predict_uncertainty(data, masks=1)[1]
    kernel.share.fill_(1.0)
    of_kernel = model.predict_uncertainty(data, masks=1)[1]
    kernel.share.zero_()
    of_networks = model.predict_uncertainty(data, masks=1)[1]
    kernel.share.fill_(SHARE)
    assert np.allclose(of_kernel, kernel.error.item(), rtol=1e-4)
    return of_networks, of_kernel, both


def test_deviations_between_networks_and_the_error_of_the_kernel_are_independent(train, unseen):
    of_networks, of_kernel, both = parts(trained(train, n_networks=2), unseen)
    assert np.allclose(both, np.hypot((1 - SHARE) * of_networks, SHARE * of_kernel), rtol=1e-3)


def test_a_learned_error_and_that_of_the_kernel_are_added(train, unseen):
    """Both are errors on the same labels. If they are equal, the blend has the same error, and not a smaller one."""
    model = trained(train, uncertainty=True)
    of_network, of_kernel, both = parts(model, unseen)
    assert np.allclose(both, (1 - SHARE) * of_network + SHARE * of_kernel, rtol=1e-3)
    assert not np.allclose(both, of_network, rtol=1e-2)


def test_all_parts_together(train, unseen):
    model = trained(train, uncertainty=True, n_networks=2)
    of_networks, of_kernel, both = parts(model, unseen)
    networks = [model.components[name] for name in ("network", "network_2")]
    states = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
    model.components["kernel"].share.zero_()
    alone = []
    for state in states:
        for network in networks:
            network.load_state_dict(state)
        alone.append(model.predict_uncertainty(unseen))  # without a spread
    (first, error), (second, other_error) = alone
    spread = np.abs(first - second) / np.sqrt(2)
    learned = np.hypot(error, other_error) / np.sqrt(2)
    assert np.allclose(of_networks, np.hypot(spread, learned), rtol=1e-3)
    expected = np.hypot((1 - SHARE) * spread, (1 - SHARE) * learned + SHARE * of_kernel)
    assert np.allclose(both, expected, rtol=1e-3)


def test_kernels_saved_before_their_error_was_kept(train, unseen):
    """The learned error of the network stands for that of the kernel, as it did then."""
    model = trained(train, uncertainty=True)
    of_network = parts(model, unseen)[0]
    state = model.components["kernel"].state_dict()
    del state["error"]
    again = NEGNNModel(**SMALL, uncertainty=True)
    again.take_over({name: part.state_dict() for name, part in model.components.items()}, model.components, "memory")
    again.take_over({"kernel": state}, ["kernel"], "memory")
    assert (again.components["kernel"].error < 0).all()
    values, deviations = again.predict_uncertainty(unseen, masks=1)
    assert np.allclose(values, model.predict_uncertainty(unseen, masks=1)[0], atol=1e-4)
    assert np.allclose(deviations, of_network, rtol=1e-4)
