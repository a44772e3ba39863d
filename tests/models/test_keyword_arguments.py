"""Arguments: unknown ones are refused, known ones change the model, also in DeepChem's search over them."""

from functools import partial

import deepchem as dc
import numpy as np
import pytest

from deepchem_crystalssl import CrystalSSLModel, NEGNNModel
from deepchem_crystalssl.diffraction.conditions import MeasurementConditions
from deepchem_crystalssl.errors import OptionError


@pytest.mark.parametrize(
    "model, misspelt, meant",
    [
        (NEGNNModel, "lerning_rate", "learning_rate"),
        (NEGNNModel, "batchsize", "batch_size"),
        (NEGNNModel, "widht", "width"),
        (NEGNNModel, "n_task", "n_tasks"),
        (CrystalSSLModel, "encodr", "encoder"),
        (CrystalSSLModel, "log_freqency", "log_frequency"),
        (CrystalSSLModel, "max_neighbours", "max_neighbors"),
    ],
)
def test_unknown_arguments_are_refused(model, misspelt, meant):
    with pytest.raises(TypeError, match=f"unknown argument '{misspelt}'; did you mean '{meant}'"):
        model(**{misspelt: 9})
    with pytest.raises(TypeError, match="there are .*batch_size.*learning_rate"):
        model(xyzzy=1)


@pytest.mark.parametrize("model", [NEGNNModel, CrystalSSLModel])
def test_those_of_deepchem_are_taken(model, tmp_path):
    optimizer = dc.models.optimizers.Adam(0.01)
    options = dict(batch_size=5, model_dir=str(tmp_path), log_frequency=7, device="cpu", regularization_loss=None)
    built = model(**options, optimizer=optimizer, tensorboard=False, wandb=False, wandb_logger=None)
    assert (built.batch_size, built.model_dir, built.log_frequency) == (5, str(tmp_path), 7)
    assert built.optimizer is optimizer


def test_the_old_name_of_the_conditions_warns():
    conditions = MeasurementConditions(fwhm=(0.1, 0.2))
    with pytest.warns(FutureWarning, match="conditions="):
        model = CrystalSSLModel("joint", encoder=dict(width=8), xrd_encoder=dict(channels=4), instrument=conditions)
    assert model.conditions == conditions
    with pytest.warns(FutureWarning, match="conditions"):
        assert model.instrument == conditions


@pytest.fixture(scope="module")
def parts(graphs):
    few = [graph for graph in graphs if graph.num_nodes <= 12][:48]
    X = np.empty(48, object)
    X[:] = few
    dataset = dc.data.NumpyDataset(X, np.array([np.log(graph.volume / graph.num_nodes) for graph in few]))
    return dataset.select(range(32)), dataset.select(range(32, 48))


@pytest.mark.parametrize(
    "name, values, read",
    [
        ("width", [8, 24], lambda model: model.components["network"].backbone.width),
        ("hidden", [8, 16], lambda model: model.components["network"].output.in_features),
        ("dropout", [0.0, 0.5], lambda model: model.components["network"].dropout),
        ("learning_rate", [0.001, 0.01], lambda model: model.optimizer.learning_rate.initial_rate),
        ("backbone", ["cgcnn", "megnet"], lambda model: type(model.components["network"].backbone).__name__.lower()),
    ],
)
def test_a_grid_search_varies_the_model(parts, tmp_path, name, values, read):
    built = []

    def build(**options):
        built.append(NEGNNModel(pretrained=None, batch_size=16, **options))
        return built[-1]

    search = dc.hyper.GridHyperparamOpt(build)
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    best, chosen, scores = search.hyperparam_search(
        {name: values}, *parts, metric, nb_epoch=2, use_max=False, logdir=str(tmp_path)
    )
    assert [read(model) for model in built] == values
    assert len(set(scores.values())) == 2 and read(best) == chosen[name]
    assert NEGNNModel.from_folder(best.model_dir).config == best.config  # the search saves every model


def test_a_grid_search_over_what_does_not_exist_fails(parts):
    search = dc.hyper.GridHyperparamOpt(NEGNNModel)
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    with pytest.raises(TypeError, match="n_leyers"):
        search.hyperparam_search({"n_leyers": [1, 2]}, *parts, metric, nb_epoch=1, use_max=False)


NEGNN = partial(NEGNNModel, pretrained=None)
SSL = partial(CrystalSSLModel, "kong2024")


@pytest.mark.parametrize(
    "model, options, rule",
    [
        *[(m, {"max_gradient": v}, "above 0") for m in (NEGNN, SSL) for v in (0, -1.0, float("nan"))],
        *[(m, {"engine": "cuda"}, "auto, dgl, torch, fused") for m in (NEGNN, SSL)],
        *[(m, {"cutoff": v}, "above 0 Å") for m in (NEGNN, SSL) for v in (0, -8.0, "8")],
        *[(m, {"max_neighbors": v}, "at least 1") for m in (NEGNN, SSL) for v in (0, 2.5)],
        *[(m, {"learning_rate": v}, "above 0") for m in (NEGNN, SSL) for v in (0, -1e-3, "fast", None, float("inf"))],
        *[(partial(NEGNNModel, pretrained="small"), {"fine_tune": v}, "above 0") for v in (0, -1e-4, True)],
        *[(partial(NEGNNModel, pretrained="small"), {"layers": v}, "from 0") for v in ([9], [-9], [], 1, ["a"])],
        *[(NEGNN, {"dropout": v}, "at least 0 and below 1") for v in (1.0, -0.1, "half")],
        *[(NEGNN, {name: 0}, "at least 1") for name in ("hidden", "width")],
        *[(SSL, {"encoder": {name: 0}}, "at least 1") for name in ("hidden", "width", "n_layers", "embedding_size")],
        (SSL, {"encoder": {"hidden": [64, 0]}}, "at least 1"),
        (partial(CrystalSSLModel, "joint"), {"xrd_encoder": {"channels": -1}}, "at least 1"),
    ],
)
def test_values_that_cannot_be_used_are_refused_at_construction(model, options, rule):
    (name,) = options
    with pytest.raises(OptionError, match=f"^{name}.*{rule}.*[A-Z].*") as caught:
        model(**options)
    assert caught.value.remedy


def test_misspelt_arguments_of_encoders_get_the_nearest_name():
    with pytest.raises(TypeError, match="encoder: unknown argument 'widht'; did you mean 'width'"):
        CrystalSSLModel(encoder=dict(widht=16))
    with pytest.raises(TypeError, match="xrd_encoder: unknown argument 'chanels'; did you mean 'channels'"):
        CrystalSSLModel(xrd_encoder=dict(chanels=16))
    with pytest.raises(TypeError, match="'widht'; did you mean 'width'"):
        CrystalSSLModel(widht=16)
    with pytest.raises(TypeError, match=r"'width'; it is one of encoder=dict\(width=...\)"):
        CrystalSSLModel(width=16)
