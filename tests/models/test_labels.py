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
