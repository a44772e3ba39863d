"""NEGNNModel in DeepChem's flows: real crystals, labels computed from them."""

import json
import subprocess
import sys
import textwrap
from functools import partial

import deepchem as dc
import numpy as np
import pytest
import torch

import deepchem_crystalssl as dcs
from deepchem_crystalssl import NEGNNModel, site_labels
from deepchem_crystalssl.errors import UnsupportedObjectError
from deepchem_crystalssl.evaluation.kernel_ridge import LaplacianRidgeCV
from deepchem_crystalssl.models import frozen
from deepchem_crystalssl.models.frozen import SiteVectors
from deepchem_crystalssl.models.model_physics import descriptor_blocks

SMALL = {"pretrained": "small", "batch_size": 32, "hidden": 32, "kernel_share": 0.0}
BOTH = {**SMALL, "kernel_share": 0.5}


def records(graphs):
    X = np.empty(len(graphs), object)
    X[:] = graphs
    return X


@pytest.fixture(scope="module")
def few(graphs):
    return [g for g in graphs if g.num_nodes <= 24][:120]


@pytest.fixture(scope="module")
def dataset(few):
    y = np.array([np.log(g.volume / g.num_nodes) for g in few])  # what a structure tells of itself
    return dc.data.NumpyDataset(records(few), y, ids=[g.material_id for g in few])


@pytest.fixture(scope="module")
def site_dataset(few):
    y = site_labels([np.diff(g.first_edge).astype(float) + g.atomic_numbers / 10.0 for g in few])
    return dc.data.NumpyDataset(records(few), y)


def error(model, dataset):
    return float(np.abs(model.predict(dataset)[:, 0] - dataset.y.ravel()).mean())


@pytest.mark.once
@pytest.mark.parametrize(
    "backbone, pretrained", [("cgcnn", "small"), ("cgcnn", None), ("megnet", "small"), ("alignn", None)]
)
def test_learns_a_few_crystals_by_heart(few, dataset, backbone, pretrained):
    part = dataset.select(range(12))
    model = NEGNNModel(backbone=backbone, **{**SMALL, "pretrained": pretrained, "dropout": 0.0})
    first = np.abs(part.y - np.median(part.y)).mean()
    model.fit(part, nb_epoch=80)
    assert error(model, part) < 0.3 * first


@pytest.mark.once
def test_predictions_have_no_common_shift(few, dataset):
    """What the norm before the outputs remembers at the end is the mean over the crystals, not that of the last few."""
    model = NEGNNModel(**{**SMALL, "batch_size": 8})
    seen = []
    norm = model.components["network"].norm
    model.fit(dataset, nb_epoch=30)
    handle = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.predict(dataset)
    handle.remove()
    rows = torch.cat(seen)
    shift = (rows.mean(0) - norm.mean) / rows.std(0)
    assert shift.square().mean().sqrt() < 0.1  # batches of 8, three of them: 0.2


def test_own_backbone(dataset):
    class Once(torch.nn.Module):
        width = 16

        def __init__(self):
            super().__init__()
            self.mix = torch.nn.Linear(16, 16)

        def forward(self, batch, sites):
            return torch.tanh(self.mix(sites))

    model = NEGNNModel(backbone=Once(), **SMALL)
    model.fit(dataset, nb_epoch=2)
    assert model.predict(dataset).shape == (len(dataset), 1) and model.config["backbone"] == "Once"


def test_frozen_vectors_are_computed_once(dataset, monkeypatch):
    asked = []
    compute = SiteVectors._compute
    monkeypatch.setattr(SiteVectors, "_compute", lambda self, g, d: (asked.extend(g), compute(self, g, d))[1])
    model = NEGNNModel(**SMALL)
    before = {k: v.clone() for k, v in model.encoder.state_dict().items()}
    model.fit(dataset, nb_epoch=3)
    assert len(asked) == len(dataset)
    model.predict(dataset)
    assert len(asked) == len(dataset)  # remembered from training
    assert all(torch.equal(before[k], v) for k, v in model.encoder.state_dict().items())


def test_an_encoder_tuned_moves_and_the_given_model_does_not(dataset):
    source = dcs.load_pretrained("small")
    before = {k: v.clone() for k, v in source.crystal_encoder.state_dict().items()}
    model = NEGNNModel(**{**SMALL, "pretrained": source}, fine_tune=1e-4)
    rates = {group["lr"] for group in (model._ensure_built(), model._pytorch_optimizer.param_groups)[1]}
    assert len(rates) == 2
    model.fit(dataset, nb_epoch=2)
    assert any(not torch.equal(before[k], v) for k, v in model.encoder.state_dict().items())
    assert all(torch.equal(before[k], v) for k, v in source.crystal_encoder.state_dict().items())


@pytest.mark.parametrize("layers", [[0], [0, 1], [3]])
def test_layers(dataset, layers):
    model = NEGNNModel(**SMALL, layers=layers)
    model.fit(dataset, nb_epoch=1)
    answers = model.encoder.n_inputs_of_network([0]) - 48  # of the site and of its crystal
    assert answers == 89 + 11
    assert model.components["network"].embed_pretrained.in_features == 48 * len(layers) + answers


@pytest.mark.once
def test_sites(few, site_dataset):
    model = NEGNNModel(level="site", **SMALL)
    model.fit(site_dataset, nb_epoch=60)
    predicted = model.predict(site_dataset)[:, 0]
    truth = np.concatenate(list(site_dataset.y))
    assert predicted.shape == truth.shape
    assert np.abs(predicted - truth).mean() < 0.5 * np.abs(truth - np.median(truth)).mean()


def test_unknown_sites_play_no_part(few):
    rng = np.random.default_rng(0)
    known = [np.where(rng.random(g.num_nodes) < 0.7, 1.0, np.nan) for g in few[:40]]
    weights = [(~np.isnan(k)).astype(float) for k in known]
    wild = [np.where(np.isnan(k), 1e6, k) for k in known]
    ends = []
    for y, w in ((known, None), (wild, site_labels(weights))):
        data = dc.data.NumpyDataset(records(few[:40]), site_labels(y), w)
        model = NEGNNModel(level="site", **SMALL)
        model.fit(data, nb_epoch=2)
        ends.append(model.predict(data))
    assert np.array_equal(*ends)


def test_several_tasks_with_missing_labels(few, dataset):
    y = np.column_stack([dataset.y, np.arange(len(few)) * 1000.0])
    w = np.ones_like(y)
    w[::2, 1] = 0
    y[::2, 1] = 1e9
    data = dc.data.NumpyDataset(records(few), y, w)
    model = NEGNNModel(n_tasks=2, **SMALL)
    model.fit(data, nb_epoch=30)
    predicted = model.predict(data)
    assert predicted.shape == y.shape and predicted[:, 1].max() < 1e6
    known = w[:, 1] > 0
    assert np.abs(predicted - y)[known, 1].mean() < np.abs(y[known, 1] - np.median(y[known, 1])).mean()


@pytest.mark.parametrize("n_tasks, shape", [(1, (120, 3)), (2, (120, 2, 3))])
def test_classification(few, n_tasks, shape):
    y = np.column_stack([[len(set(g.atomic_numbers)) % 3 for g in few]] * n_tasks)
    data = dc.data.NumpyDataset(records(few), y)
    model = NEGNNModel("classification", n_tasks, n_classes=3, **SMALL)
    model.fit(data, nb_epoch=25)
    probabilities = model.predict(data)
    assert probabilities.shape == shape and np.allclose(probabilities.sum(-1), 1, atol=1e-5)
    guess = probabilities.reshape(len(few), n_tasks, 3).argmax(-1)
    assert (guess == y).mean() > 0.8


@pytest.mark.once
def test_uncertainty_knows_noise(few, dataset):
    rng = np.random.default_rng(0)
    noisy = np.array([len(set(g.atomic_numbers)) > 2 for g in few])
    y = dataset.y.ravel() + rng.normal(0, np.where(noisy, 2.0, 0.01))
    model = NEGNNModel(uncertainty=True, **SMALL)
    model.fit(dc.data.NumpyDataset(records(few), y), nb_epoch=60)
    values, deviations = model.predict_uncertainty(dataset, masks=10)
    assert values.shape == deviations.shape == (len(few), 1) and (deviations > 0).all()
    assert np.median(deviations[noisy]) > 1.5 * np.median(deviations[~noisy])
    again = model.predict_uncertainty(dataset, masks=10)
    assert np.array_equal(again[0], values)
    with pytest.raises(ValueError, match="uncertainty=True"):
        NEGNNModel(**SMALL).predict_uncertainty(dataset)


def test_half_the_prediction_is_the_kernel(few, dataset):
    """The blend, from its parts: the same network alone, and scikit-learn's kernel ridge on the descriptor."""
    train, test = dataset.select(range(80)), dataset.select(range(80, 120))
    alone, both = NEGNNModel(**SMALL), NEGNNModel(**BOTH)
    for model in (alone, both):
        model.fit(train, nb_epoch=3)
    source = dcs.load_pretrained("small")
    x, x_test = (source.embed(part, space="descriptor") for part in (train, test))
    systems = [g.chemical_system for g in train.X]
    kernel = LaplacianRidgeCV(blocks=descriptor_blocks(source.descriptor_encoder)).fit(x, train.y.ravel(), systems)
    expected = 0.5 * alone.predict(test)[:, 0] + 0.5 * kernel.predict(x_test)
    assert np.allclose(both.predict(test)[:, 0], expected, atol=1e-4)
    assert not np.allclose(expected, alone.predict(test)[:, 0], atol=1e-2)


def test_the_kernel_knows_missing_labels_and_its_limits(few, dataset, monkeypatch):
    y = np.column_stack([dataset.y, -3.0 * dataset.y])
    w = np.ones_like(y)
    w[::2, 1] = 0
    y[::2, 1] = 1e9
    monkeypatch.setattr(frozen, "LaplacianRidgeCV", partial(LaplacianRidgeCV, max_rows=60))
    model = NEGNNModel(n_tasks=2, **{**BOTH, "kernel_share": 1.0})
    model.fit(dc.data.NumpyDataset(records(few), y, w), nb_epoch=1)
    kernel = model.components["kernel"]
    assert kernel.rows.shape[0] == 60 and float(kernel.share) == pytest.approx(0.5)  # holds half of the crystals
    kernel.share.fill_(1.0)
    guess = model.predict(dataset)
    assert np.abs(guess + 3.0 * guess[:, :1])[:, 1].mean() < np.abs(3.0 * (dataset.y - np.median(dataset.y))).mean()


@pytest.mark.parametrize(
    "options",
    [{"mode": "classification"}, {"level": "site"}, {"fine_tune": 1e-4}, {"pretrained": None}],
)
def test_no_kernel_where_it_makes_no_sense(options):
    assert "kernel" not in NEGNNModel(**{**BOTH, **options}).components


def test_transformers_metrics_and_splitters(dataset):
    systems = [g.chemical_system for g in dataset.X]
    train, test = dc.splits.RandomGroupSplitter(systems).train_test_split(dataset, frac_train=0.8)
    scaler = dc.trans.NormalizationTransformer(transform_y=True, dataset=train)
    model = NEGNNModel(**SMALL)
    model.fit(scaler.transform(train), nb_epoch=40)
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    scores = model.evaluate(scaler.transform(test), [metric], [scaler])
    assert scores["mae_score"] < np.abs(test.y - np.median(train.y)).mean()
    assert np.allclose(
        model.predict(scaler.transform(test), [scaler]).ravel(),
        model.predict(test).ravel() * scaler.y_stds + scaler.y_means,
        atol=1e-4,
    )
    assert len(dc.splits.RandomSplitter().k_fold_split(dataset, 3)) == 3


def test_hyperparameter_search(dataset, tmp_path):
    def build(**settings):
        return NEGNNModel(**{**SMALL, **settings})

    search = dc.hyper.GridHyperparamOpt(build)
    train, valid = dataset.select(range(80)), dataset.select(range(80, 120))
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    best, chosen, scores = search.hyperparam_search(
        {"hidden": [8, 16]}, train, valid, metric, nb_epoch=2, use_max=False, logdir=str(tmp_path)
    )
    assert isinstance(best, NEGNNModel) and len(scores) == 2


@pytest.mark.once
def test_folder_holds_everything_a_new_process_needs(dataset, tmp_path):
    model = NEGNNModel(**BOTH, layers=[1, 2], model_dir=str(tmp_path))
    model.fit(dataset, nb_epoch=2)
    expected = model.predict(dataset.select(range(5)))
    np.save(tmp_path / "expected.npy", expected)
    code = f"""
        import numpy as np
        import deepchem_crystalssl as dcs
        from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
        graphs = [g for g in dcs.structures_to_graphs(bundled_prototypes(), progress=False) if g.num_nodes <= 24][:5]
        import deepchem as dc
        X = np.empty(5, object); X[:] = graphs
        model = dcs.NEGNNModel.from_folder({str(tmp_path)!r})
        expected = np.load({str(tmp_path / 'expected.npy')!r})
        assert np.allclose(model.predict(dc.data.NumpyDataset(X)), expected, atol=1e-5)
        print("same")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip().endswith("same"), done.stderr


def test_a_folder_of_another_model_is_refused(dataset, tmp_path):
    with pytest.raises(dcs.CrystalInputError, match="config.json"):
        NEGNNModel.from_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"class": "else"}))
    with pytest.raises(dcs.CrystalInputError, match="class else"):
        NEGNNModel.from_folder(tmp_path)


def test_resumed_run_is_the_uninterrupted_one(dataset, tmp_path):
    def build(folder):
        return NEGNNModel(**BOTH, model_dir=str(tmp_path / folder))

    whole = build("a")
    whole.fit(dataset, nb_epoch=4)
    half = build("b")

    class Stop(Exception):
        pass

    def stop(model, step):
        if step == 7:
            model.save_checkpoint()
            raise Stop

    with pytest.raises(Stop):
        half.fit(dataset, nb_epoch=4, callbacks=stop)
    resumed = build("b")
    torch.rand(7)  # another process would be at another place of the global generator
    resumed.fit(dataset, nb_epoch=4, restore=True)
    assert np.allclose(whole.predict(dataset), resumed.predict(dataset), atol=1e-5)


def test_schedule_ends_with_the_epochs(dataset):
    model = NEGNNModel(**SMALL)
    model.fit(dataset, nb_epoch=3)
    assert model._pytorch_optimizer.param_groups[0]["lr"] < 0.1 * 0.002


@pytest.mark.parametrize(
    "options, word",
    [
        ({"mode": "ranking"}, "mode"),
        ({"level": "bond"}, "level"),
        ({"backbone": "schnet"}, "backbone"),
        ({"mode": "classification", "uncertainty": True}, "uncertainty"),
        ({"pretrained": None, "fine_tune": 1e-4}, "fine_tune"),
        ({"kernel_share": 1.5}, "kernel_share"),
    ],
)
def test_arguments_that_make_no_sense(options, word):
    with pytest.raises(ValueError, match=word):
        NEGNNModel(**options)


def test_labels_that_do_not_fit(few, dataset):
    with pytest.raises(dcs.CrystalInputError, match="column"):
        NEGNNModel(n_tasks=2, **SMALL).fit(dataset)
    with pytest.raises(dcs.CrystalInputError, match="weight"):
        NEGNNModel(**SMALL).fit(dc.data.NumpyDataset(records(few)))
    short = site_labels([np.zeros(g.num_nodes + 1) for g in few])
    with pytest.raises(dcs.CrystalInputError, match="site"):
        NEGNNModel(level="site", **SMALL).fit(dc.data.NumpyDataset(records(few), short))


def test_it_is_in_deepchem():
    assert dc.models.NEGNNModel is NEGNNModel


def test_early_stopping_returns_to_the_best(few, tmp_path, monkeypatch):
    """With validation losses that are given, the epoch at which it stops and the weights it returns to are known."""
    dataset = dc.data.NumpyDataset(records(few[:32]), np.arange(32.0))
    model = NEGNNModel(pretrained=None, batch_size=16, hidden=8, model_dir=str(tmp_path))
    given, states = iter([5.0, 3.0, 4.0, 3.5, 1.0]), {}
    monkeypatch.setattr(model, "validate", lambda _: {"loss": next(given)})

    def note(m, step):
        states[step] = {name: value.clone() for name, value in m.components["network"].state_dict().items()}

    model.fit(dataset, nb_epoch=9, validation=dataset, patience=2, callbacks=note)
    assert sorted(states)[-1] == 8  # two steps an epoch, the best after the second, and two more
    ends = model.components["network"].state_dict()
    assert all(torch.equal(value, ends[name]) for name, value in states[4].items())
    assert not all(torch.equal(value, states[8][name]) for name, value in states[4].items())


def test_saved_in_a_folder_and_opened_by_any_name_of_it(few, dataset, tmp_path):
    """A saved folder and one that was trained in are opened by the same functions, also as a pretrained model."""
    model = NEGNNModel(**BOTH, width=24, model_dir=str(tmp_path / "run"))
    model.fit(dataset, nb_epoch=1)
    part = dataset.select(range(5))
    folder = dcs.save_pretrained(model, tmp_path / "saved", {"licence": "none"}, half=False)
    for again in (
        dcs.load_pretrained(folder),
        NEGNNModel.from_folder(folder),
        dcs.load_pretrained(tmp_path / "run"),
        NEGNNModel.from_folder(tmp_path / "run"),
    ):
        assert type(again) is NEGNNModel and np.allclose(again.predict(part), model.predict(part), atol=1e-5)
    assert dcs.load_pretrained(folder).card == {"licence": "none"}
    for wrong in (folder, tmp_path / "run"):
        with pytest.raises(dcs.CrystalInputError, match="class NEGNNModel"):
            dcs.CrystalSSLModel.from_folder(wrong)
        with pytest.raises(dcs.CrystalInputError, match="class NEGNNModel"):
            NEGNNModel(pretrained=wrong)


def test_a_pretraining_folder_is_a_pretrained_model(few, dataset, tmp_path):
    source = dcs.CrystalSSLModel("kong2024", encoder=dict(width=8), batch_size=16, model_dir=str(tmp_path / "run"))
    source.fit(dataset, nb_epoch=1)
    dcs.save_pretrained(source, tmp_path / "saved", half=False)
    expected = source.embed(dataset.select(range(3)))
    for folder in (tmp_path / "run", str(tmp_path / "saved")):
        for opened in (dcs.load_pretrained(folder), dcs.CrystalSSLModel.from_folder(folder)):
            assert np.allclose(opened.embed(dataset.select(range(3))), expected, atol=1e-6)
        assert NEGNNModel(pretrained=folder).config["encoder"]["width"] == 8
        embedding = dcs.CrystalEmbedding(folder)
        assert np.allclose(embedding.model.embed(dataset.select(range(3))), expected, atol=1e-6)
    with pytest.raises(dcs.CrystalInputError, match="class CrystalSSLModel"):
        NEGNNModel.from_folder(tmp_path / "saved")


def test_a_backbone_of_ones_own_is_not_saved(few, tmp_path):
    class Same(torch.nn.Module):
        width = 8

        def forward(self, batch, sites):
            return sites

    model = NEGNNModel(backbone=Same(), pretrained=None, hidden=8, model_dir=str(tmp_path / "run"))
    with pytest.raises(dcs.CrystalInputError, match="Same.*no code"):
        dcs.save_pretrained(model, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    model.save()
    with pytest.raises(dcs.CrystalInputError, match="backbone="):
        dcs.load_pretrained(tmp_path / "run")
    assert NEGNNModel.from_folder(tmp_path / "run", backbone=Same()).config == model.config


def test_save_and_reload_and_embeddings_of_deepchem(few, dataset, tmp_path):
    part = dataset.select(range(6))
    model = NEGNNModel(**SMALL, model_dir=str(tmp_path))
    model.fit(part, nb_epoch=1)
    model.save()
    other = NEGNNModel(**SMALL, seed=4, model_dir=str(tmp_path))
    assert not np.allclose(other.predict(part), model.predict(part))
    other.reload()
    assert np.allclose(other.predict(part), model.predict(part), atol=1e-6)
    read = model.predict_embedding(part)
    network, scale = model.components["network"], model.components["labels"]
    with torch.no_grad():
        values = network.output(torch.as_tensor(read)) * scale.width + scale.center
    assert read.shape == (6, 32) and np.allclose(values.numpy(), model.predict(part), atol=1e-4)


def test_predictions_on_a_batch(few, structures):
    model = NEGNNModel(pretrained=None, hidden=8)
    expected = model.predict(dc.data.NumpyDataset(records(few[:3])))
    for X in (few[:3], tuple(few[:3]), records(few[:3])):
        assert np.array_equal(model.predict_on_batch(X), expected)
    with pytest.raises(UnsupportedObjectError, match="datapoint 0.*CrystalGraphFeaturizer"):
        model.predict_on_batch(structures[:3])
