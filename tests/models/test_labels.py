"""Labels that cannot be used are refused before the first step, and unknown ones have no part in anything."""

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_crystalssl import CrystalSSLModel, NEGNNModel, site_labels
from deepchem_crystalssl.errors import LabelError, NoCrystalsError, OptionError, UnsupportedObjectError
from deepchem_crystalssl.models.labels import LabelReader

REGRESSION = LabelReader("regression", 1, 2, "crystal")
TWO_TASKS = LabelReader("regression", 2, 2, "crystal")
CLASSES = LabelReader("classification", 1, 3, "crystal")
SITES = LabelReader("regression", 1, 2, "site")
SMALL = dict(pretrained=None, batch_size=8, hidden=16)


def crystals(graphs, n=16):
    return [graph for graph in graphs if graph.num_nodes <= 12][:n]


def numpy_dataset(datapoints, *labels):
    X = np.empty(len(datapoints), object)
    X[:] = datapoints
    return dc.data.NumpyDataset(X, *labels)


# The reader alone


@pytest.mark.parametrize("value, weight", [(np.nan, 1.0), (np.inf, 1.0), (-np.inf, 0.0), (1e300, 0.0), (1e300, 1.0)])
def test_unknown_labels_get_value_and_weight_zero(value, weight):
    values, weights = REGRESSION.read([1.0, value], [1.0, weight])
    assert values.tolist() == [[1.0], [0.0]] and weights.tolist() == [[1.0], [0.0]]


def test_weights_of_one_column_count_for_all_tasks():
    values, weights = TWO_TASKS.read(np.ones((3, 2)), np.array([[1.0], [0.0], [0.5]]))
    assert weights.tolist() == [[1, 1], [0, 0], [0.5, 0.5]] and values[1].tolist() == [0, 0]


@pytest.mark.parametrize(
    "reader, y, word",
    [
        (REGRESSION, np.zeros((16, 2)), "n_tasks=1"),
        (LabelReader("regression", 3, 2, "crystal"), np.zeros(16), "n_tasks=3"),
        (TWO_TASKS, np.zeros((16, 2, 1)), "n_tasks=2"),
        (REGRESSION, ["a"] * 16, "could not convert"),
        (REGRESSION, site_labels([[0.0, 1.0]] * 8 + [[0.0]] * 8), "level"),
    ],
)
def test_labels_of_another_shape(reader, y, word):
    with pytest.raises(LabelError, match=word):
        reader.read(y, np.ones((16, 1)))


@pytest.mark.parametrize("w", [np.ones((16, 2)), np.ones(15), np.full(16, -1.0), np.full(16, np.nan)])
def test_weights_that_do_not_fit(w):
    with pytest.raises(LabelError, match="w"):
        REGRESSION.read(np.zeros(16), w)


@pytest.mark.parametrize("wrong, said", [(-1.0, "-1"), (3.0, "3"), (0.2, "0.2")])
def test_classes_that_do_not_exist(wrong, said):
    with pytest.raises(LabelError, match=rf"class {said};.*0 to 2.*LabelEncoder"):
        CLASSES.read([0.0, wrong, 2.0], np.ones(3))
    assert CLASSES.read([0.0, wrong, 2.0], [1.0, 0.0, 1.0])[0].flatten().tolist() == [0, 0, 2]


def test_sites_are_counted():
    y = site_labels([[1.0, np.nan], [3.0]])
    values, weights = SITES.read(y, np.ones((2, 1)), [2, 1])
    assert values.flatten().tolist() == [1, 0, 3] and weights.flatten().tolist() == [1, 0, 1]
    with pytest.raises(LabelError, match="crystal 1"):
        SITES.read(y, np.ones((2, 1)), [2, 2])


# What a model does with them


def history(model, dataset):
    losses = []
    model.fit(dataset, nb_epoch=2, callbacks=lambda m, step: losses.append(m.last_losses["regression"]))
    return losses, model.validate(dataset), model.predict(dataset)


@pytest.mark.parametrize("unknown, weight", [(np.nan, 0.0), (np.inf, 1.0), (1e300, 0.0)])
@pytest.mark.parametrize(
    "options", [{}, dict(pretrained="small", kernel_share=0.5), dict(fine_tune=1e-3, pretrained="small")]
)
def test_unknown_labels_have_no_part(graphs, options, unknown, weight):
    few = crystals(graphs)
    y, w = np.arange(16.0), np.ones((16, 1))
    y[[3, 9]], w[[3, 9]] = 0.0, 0.0
    expected = history(NEGNNModel(**{**SMALL, **options}), numpy_dataset(few, y, w))
    y[[3, 9]], w[[3, 9]] = unknown, weight
    found = history(NEGNNModel(**{**SMALL, **options}), numpy_dataset(few, y, w))
    assert found[:2] == expected[:2] and np.array_equal(found[2], expected[2])
    assert np.isfinite(found[2]).all() and np.isfinite(found[0]).all()


@pytest.mark.parametrize(
    "options, y",
    [
        (dict(n_tasks=1), np.zeros((16, 2))),
        (dict(n_tasks=3), np.arange(16.0)),
        (dict(mode="classification"), np.array([-1.0, 1.0] * 8)),
        (dict(mode="classification"), np.array([1.0, 2.0] * 8)),
        (dict(mode="classification"), np.array([0.2, 0.7] * 8)),
    ],
)
def test_labels_are_checked_before_training(graphs, options, y):
    model = NEGNNModel(**SMALL, **options)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    good = np.zeros((16, options.get("n_tasks", 1)))
    with pytest.raises(LabelError):
        model.fit(numpy_dataset(crystals(graphs), y), nb_epoch=1)
    with pytest.raises(LabelError):
        model.fit(numpy_dataset(crystals(graphs), good), nb_epoch=1, validation=numpy_dataset(crystals(graphs), y))
    assert all(torch.equal(value, before[name]) for name, value in model.model.state_dict().items())


def test_a_second_fit_needs_labels_too(graphs):
    """DeepChem gives data without y the weight 0; a loss of zero would teach nothing, silently."""
    few = crystals(graphs)
    model = NEGNNModel(**SMALL)
    model.fit(numpy_dataset(few, np.arange(16.0)), nb_epoch=1)
    for use in (model.fit, model.validate):
        with pytest.raises(LabelError, match="weight"):
            use(numpy_dataset(few))


def test_every_label_counts_alike_in_validation(graphs):
    few = crystals(graphs)
    model = NEGNNModel(**{**SMALL, "batch_size": 4})
    y, w = np.arange(16.0), np.ones((16, 1))
    w[:3] = 0.0
    model.fit(numpy_dataset(few, y, w), nb_epoch=1)
    known = numpy_dataset(few[3:], y[3:])
    assert model.validate(numpy_dataset(few, y, w))["loss"] == pytest.approx(model.validate(known)["loss"], rel=1e-5)


# Data that are no crystal graphs


def models():
    small = dict(encoder=dict(width=8, n_layers=1, hidden=8, embedding_size=8))
    return [CrystalSSLModel("kong2024", **small, batch_size=8), NEGNNModel(**SMALL)]


@pytest.mark.parametrize("model", models(), ids=["pretraining", "labels"])
def test_failed_datapoints_are_named_by_their_position(model, graphs, structures, tmp_path):
    few = crystals(graphs)
    for wrong, word in (
        (np.array([]), "datapoint 5: an empty array"),
        (structures[0], "datapoint 5: an object of type Structure"),
    ):
        data = numpy_dataset([*few[:5], wrong, *few[6:]], np.arange(16.0))
        on_disk = dc.data.DiskDataset.from_numpy(data.X, data.y, ids=[f"crystal {k}" for k in range(16)],
                                                 data_dir=str(tmp_path / word.split()[-1]))  # fmt: skip
        for dataset in (data, on_disk):
            for use in (model.fit, model.predict, model.validate):
                with pytest.raises(UnsupportedObjectError, match=word) as caught:
                    use(dataset)
                assert caught.value.index == 5
    with pytest.raises(UnsupportedObjectError, match="datapoint 0"):
        model.fit(dc.data.NumpyDataset(np.zeros((16, 0)), np.arange(16.0)))


@pytest.mark.parametrize("model", models(), ids=["pretraining", "labels"])
def test_what_fit_does_not_take(model, graphs, tmp_path):
    few = crystals(graphs)
    dataset = numpy_dataset(few, np.arange(16.0))
    for wrong, name in ((few, "list"), (str(tmp_path), "str"), (tmp_path, type(tmp_path).__name__), (None, "None")):
        with pytest.raises(UnsupportedObjectError, match=f"{name}; .*CrystalGraphFeaturizer"):
            model.fit(wrong)
        with pytest.raises(UnsupportedObjectError, match=name):
            model.predict(wrong)
    with pytest.raises(UnsupportedObjectError, match="validation"):
        model.fit(dataset, validation=few)
    for empty in (dataset.select([]), dc.data.NumpyDataset(np.empty(0, object), np.empty(0))):
        with pytest.raises(NoCrystalsError, match="0 crystals"):
            model.fit(empty)
    for epochs in (-1, 0.5, None):
        with pytest.raises(OptionError, match="nb_epoch"):
            model.fit(dataset, nb_epoch=epochs)


@pytest.mark.parametrize("size", [0, -4, 2.5, "all"])
def test_batch_sizes_that_make_no_sense(size):
    for build in (NEGNNModel, CrystalSSLModel):
        with pytest.raises(OptionError, match="batch_size"):
            build(batch_size=size)


def test_pretraining_needs_two_crystals_in_a_batch():
    """With one, every batch would be left out, and nothing learned."""
    with pytest.raises(OptionError, match="at least 2"):
        CrystalSSLModel("joint", batch_size=1)


def test_no_prediction_for_no_crystals(graphs):
    for model in models():
        assert len(model.predict(numpy_dataset(crystals(graphs, 2)).select([]))) == 0


# Scores


def mae(y, prediction, sample_weight=None):
    return np.average(np.abs(y - prediction), weights=sample_weight)


MAE = dc.metrics.Metric(dc.metrics.mae_score)
METRICS = [MAE, dc.metrics.Metric(mae, mode="regression"), dc.metrics.Metric(dc.metrics.pearson_r2_score)]


def labelled(graphs, unknown, weight, n_tasks=2):
    """Labels of which every third is unknown, in each task another one."""
    rng = np.random.default_rng(0)
    datapoints = crystals(graphs)
    y, w = rng.normal(size=(16, n_tasks)), rng.uniform(0.5, 2.0, (16, n_tasks))
    is_known = (np.arange(16)[:, None] + np.arange(n_tasks)) % 3 > 0
    unknown_y, unknown_w = np.where(is_known, y, unknown), np.where(is_known, w, weight)
    return numpy_dataset(datapoints, unknown_y, unknown_w), y, w, is_known


@pytest.mark.parametrize("n_tasks", [1, 2])
@pytest.mark.parametrize("unknown, weight", [(0.0, 0.0), (50.0, 0.0), (np.nan, 1.0), (np.inf, 1.0)])
def test_unknown_labels_have_no_part_in_scores(graphs, unknown, weight, n_tasks):
    model = NEGNNModel(**SMALL, n_tasks=n_tasks)
    dataset, y, w, is_known = labelled(graphs, unknown, weight, n_tasks)
    guess = model.predict(dataset)
    known = [(y[rows, k], guess[rows, k], w[rows, k]) for k, rows in enumerate(is_known.T)]
    scores, of_tasks = model.evaluate(dataset, METRICS, per_task_metrics=True)
    assert scores == model.evaluate(dataset, METRICS)
    assert list(scores) == list(of_tasks) == ["mae_score", "mae", "pearson_r2_score"]
    expected = {
        "mae_score": [mae(y, prediction) for y, prediction, _ in known],
        "pearson_r2_score": [np.corrcoef(y, prediction)[0, 1] ** 2 for y, prediction, _ in known],
    }
    for name, of_each in expected.items():
        assert np.allclose(of_tasks[name], of_each if n_tasks > 1 else of_each[0])
        assert scores[name] == pytest.approx(np.mean(of_each))
    weighted = model.evaluate(dataset, METRICS[1], use_sample_weights=True)
    assert weighted == {"mae": pytest.approx(np.mean([mae(*arguments) for arguments in known]))}
    batches = model.evaluate_generator(model.default_generator(dataset, mode="predict"), METRICS)
    assert batches == pytest.approx(scores)


def test_scores_are_those_of_deepchem_where_every_label_is_known(graphs):
    dataset = numpy_dataset(crystals(graphs), np.random.default_rng(0).normal(size=(16, 2)))
    scaler = dc.trans.NormalizationTransformer(transform_y=True, dataset=dataset)
    model = NEGNNModel(**SMALL, n_tasks=2)
    for metrics in (METRICS, METRICS[0], [dc.metrics.mae_score], dc.metrics.mae_score):
        for transformers in ([], [scaler]):
            theirs = dc.utils.evaluate.Evaluator(model, dataset, transformers)
            ours = model.evaluate(dataset, metrics, transformers, per_task_metrics=True)
            for mine, other in zip(ours, theirs.compute_model_performance(metrics, per_task_metrics=True), strict=True):
                assert list(mine) == list(other) and all(np.allclose(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize("n_tasks", [1, 2])
def test_unknown_classes_have_no_part_in_scores(graphs, n_tasks):
    model = NEGNNModel(**SMALL, mode="classification", n_classes=3, n_tasks=n_tasks)
    y = np.random.default_rng(0).integers(0, 3, (16, n_tasks)).astype(float)
    w = np.ones_like(y)
    y[::4], w[::4] = 0.0, 0.0
    dataset = numpy_dataset(crystals(graphs), y, w)
    guess = model.predict(dataset).reshape(16, n_tasks, 3).argmax(-1)
    scores = model.evaluate(dataset, dc.metrics.Metric(dc.metrics.accuracy_score))
    assert scores["accuracy_score"] == pytest.approx((guess == y)[w > 0].mean())


def test_unknown_labels_of_sites_have_no_part_in_scores(graphs):
    datapoints = crystals(graphs)
    model = NEGNNModel(**SMALL, level="site")
    y = [np.where(np.arange(g.num_nodes) % 2, np.nan, 1.0 + np.arange(g.num_nodes)) for g in datapoints]
    dataset = numpy_dataset(datapoints, site_labels(y))
    errors = np.abs(np.concatenate(y) - model.predict(dataset).ravel())
    assert model.evaluate(dataset, MAE)["mae_score"] == pytest.approx(np.nanmean(errors))


def test_validation_callbacks_count_known_labels_alone(graphs, tmp_path):
    dataset, y, w, is_known = labelled(graphs, 50.0, 0.0, 1)
    model = NEGNNModel(**SMALL)
    with open(tmp_path / "said", "w") as said:
        callback = dc.models.ValidationCallback(dataset, 1, [MAE], said)
        model.fit(dataset, nb_epoch=1, callbacks=callback)
    assert callback.get_best_score() < 5.0
    best = model.evaluate(dataset, [MAE])["mae_score"]
    assert (tmp_path / "said").read_text().splitlines()[-1] == f"Step 2 validation: mae_score={best:g}"


def test_scores_that_cannot_be_given(graphs):
    dataset, y, w, _ = labelled(graphs, 0.0, 0.0)
    model = NEGNNModel(**SMALL, n_tasks=2)
    with pytest.raises(OptionError, match="use_sample_weights: True with the metric mae_score; .*sample_weight"):
        model.evaluate(dataset, [MAE], use_sample_weights=True)
    with pytest.raises(OptionError, match="^metrics: an object of type str"):
        model.evaluate(dataset, ["mae"])
    with pytest.raises(LabelError, match="n_tasks=2"):
        model.evaluate(numpy_dataset(dataset.X, y[:, :1]), MAE)
    w[:, 1] = 0.0
    half = numpy_dataset(dataset.X, y, w)
    with pytest.warns(UserWarning, match=r"1 task of 2 without a known label \(1, counted from 0\)"):
        scores, of_tasks = model.evaluate(half, MAE, per_task_metrics=True)
    assert scores["mae_score"] == of_tasks["mae_score"][0] and np.isnan(of_tasks["mae_score"][1])
    for none in (numpy_dataset(dataset.X, y, 0.0 * w), numpy_dataset(dataset.X, np.nan * y)):
        with pytest.raises(LabelError, match="no label is known"):
            model.evaluate(none, MAE)
