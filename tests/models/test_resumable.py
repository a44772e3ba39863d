"""Validation, early stopping, the log, folders, and what goes wrong."""

import json
import os
import subprocess
import sys

import deepchem as dc
import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import CrystalSSLModel, CrystalStore, NEGNNModel, XRDGrid, simulate_xrd, structures_to_graphs
from deepchem_crystalssl.errors import CheckpointError, CrystalInputError, StoreError
from deepchem_crystalssl.diffraction.conditions import HARD, measure_patterns
from deepchem_crystalssl.evaluation.metrics import retrieval_recall
from deepchem_crystalssl.models.log import TrainingLog, validation_metrics
from deepchem_crystalssl.pretext.objectives import InfoNCE

pytestmark = pytest.mark.filterwarnings("ignore:xrd_encoder and conditions have no effect")

SMALL = dict(
    encoder=dict(width=16, n_layers=2, hidden=64, embedding_size=24),
    xrd_encoder=dict(channels=8, hidden=64),
    grid=XRDGrid(n_bins=1000, fwhm=0.5),
    batch_size=16,
)


def numpy_dataset(graphs, *labels):
    X = np.empty(len(graphs), object)
    X[:] = graphs
    return dc.data.NumpyDataset(X, *labels)


@pytest.fixture(scope="module")
def train(graphs):
    return numpy_dataset(graphs[:64])


@pytest.fixture(scope="module")
def unseen(graphs):
    return numpy_dataset(graphs[64:112])


def fcc(*metals, a=4.0):
    return structures_to_graphs(
        [Structure(Lattice.cubic(a), [m] * 4, [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) for m in metals]
    )


# Log and validation


def test_log_holds_losses_and_validation(train, unseen, tmp_path):
    model = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path), log_frequency=3)
    model.fit(train, nb_epoch=3, validation=unseen)
    frame = model.training_log.to_frame()
    assert {"crystals_patterns_infonce", "masked_sites", "descriptors", "learning_rate"} <= set(frame)
    assert frame["step"].tolist() == sorted(frame["step"]) and frame["step"].max() == 12
    validated = frame.dropna(subset="validation recall@1")
    assert validated["step"].tolist() == [4, 8, 12]
    assert (validated["validation spread"] > 0.05).all() and (validated["validation uniformity"] < 0).all()
    assert validated["validation alignment"].iloc[-1] < validated["validation alignment"].iloc[0] + 0.5


def test_validation_changes_nothing_in_training(train, unseen, tmp_path):
    ends = []
    for name, validation in (("without", None), ("with", unseen)):
        model = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path / name))
        model.fit(train, nb_epoch=2, validation=validation)
        ends.append(torch.nn.utils.parameters_to_vector(model.model.parameters()).detach())
    assert torch.equal(*ends)


def test_validation_is_the_same_every_time(train, unseen):
    model = CrystalSSLModel("joint", **SMALL)
    assert model.validate(unseen) == model.validate(unseen)


def test_a_resumed_run_writes_the_log_of_the_uninterrupted_one(train, unseen, tmp_path):
    for name, epochs in (("whole", (4,)), ("parts", (1, 3, 4))):
        for total in epochs:
            model = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path / name), log_frequency=2)
            model.fit(train, nb_epoch=total, restore=True, validation=unseen)
    frames = [TrainingLog(tmp_path / name / "training_log.jsonl").to_frame() for name in ("whole", "parts")]
    assert frames[0]["step"].equals(frames[1]["step"])
    assert np.allclose(frames[0], frames[1], rtol=1e-3, atol=1e-3, equal_nan=True)


def test_log_forgets_what_a_killed_run_wrote_after_its_checkpoint(tmp_path):
    log = TrainingLog(tmp_path / "log.jsonl")
    for step in (1, 2, 3):
        log.add({"a": 1.0})
        log.add({"a": 3.0})
        log.write_means(step)
    with log.path.open("a") as file:
        file.write('{"step": 4, "a"')
    log.rewind(2)
    assert log.to_frame().to_dict("list") == {"step": [1.0, 2.0], "a": [2.0, 2.0]}


def scored(monkeypatch, model, values, name="loss"):
    """The model's validations give these numbers, one after the other."""
    numbers = iter(values)
    monkeypatch.setattr(model, "validate", lambda dataset: {name: next(numbers)})
    return model


def encoder_weights(model):
    return torch.nn.utils.parameters_to_vector(model.crystal_encoder.parameters()).detach().clone()


def kong(folder, **arguments):
    return CrystalSSLModel("kong2024", encoder=SMALL["encoder"], batch_size=16, model_dir=str(folder), **arguments)


@pytest.mark.parametrize("name, sign", [("loss", 1), ("recall@1", -1)])
def test_early_stopping_returns_to_the_best(train, unseen, tmp_path, monkeypatch, name, sign):
    weights = {}  # after each step
    model = scored(monkeypatch, kong(tmp_path), [sign * x for x in (5.0, 3.0, 4.0, 3.0, 3.5, 1.0)], name)
    model.fit(train, nb_epoch=30, validation=unseen, patience=3,
              callbacks=lambda m, step: weights.update({step: encoder_weights(m)}))  # fmt: skip
    assert sorted(weights)[-1] == 20 and not torch.equal(weights[20], weights[8])
    assert torch.equal(encoder_weights(model), weights[8])  # of equals the first
    assert torch.equal(encoder_weights(CrystalSSLModel.from_folder(tmp_path)), weights[8])
    again = scored(monkeypatch, kong(tmp_path), [])
    again.fit(train, nb_epoch=30, validation=unseen, patience=3, restore=True)
    assert again.get_global_step() == 20 and torch.equal(encoder_weights(again), weights[8])


def test_a_run_of_its_own_has_patience_of_its_own(train, unseen, tmp_path, monkeypatch):
    model = scored(monkeypatch, kong(tmp_path), [1.0, 2.0, 5.0, 4.0, 6.0, 6.0])
    model.fit(train, nb_epoch=2, validation=unseen)
    at_best = {}
    model.fit(train, nb_epoch=9, validation=unseen, patience=2,
              callbacks=lambda m, step: at_best.update({step: encoder_weights(m)}))  # fmt: skip
    assert sorted(at_best)[-1] == 24 and torch.equal(encoder_weights(model), at_best[16])


def test_patience_needs_crystals_to_measure_on(train):
    with pytest.raises(ValueError, match="validation="):
        CrystalSSLModel("joint", **SMALL).fit(train, patience=3)


def test_validation_metrics_know_collapse():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(50, 8))
    numbers = validation_metrics(good, good + 0.01)
    assert numbers["recall@1"] == numbers["crystal_to_xrd@1"] == 1.0 and numbers["spread"] > 0.9
    collapsed = validation_metrics(np.ones((50, 8)), np.ones((50, 8)))
    assert collapsed["recall@1"] == 0.0 == collapsed["spread"]


# Fine-tuning by labels has moved to NEGNNModel


@pytest.mark.parametrize(
    "options",
    [dict(task="regression"), dict(task="classification", n_classes=3), dict(layer_decay=0.5), dict(n_tasks=2)],
)
def test_fine_tuning_is_that_of_negnn(options):
    with pytest.raises(TypeError, match="NEGNNModel.*fine_tune"):
        CrystalSSLModel("joint", **SMALL, **options)


def test_folders_of_the_former_fine_tuning(train, tmp_path):
    """Folders that say task='pretraining' still load; those of a task with labels are refused with the way to go."""
    CrystalSSLModel("joint", **SMALL, task="pretraining").save_checkpoint(model_dir=str(tmp_path))
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config.pop("checksum")  # versions up to 0.1 wrote none
    path.write_text(json.dumps({**config, "task": "pretraining", "n_tasks": 1, "n_classes": 2}))
    again = CrystalSSLModel.from_folder(tmp_path)
    assert np.isfinite(again.fit(train, nb_epoch=1))
    path.write_text(json.dumps({**config, "task": "regression", "n_tasks": 1, "n_classes": 2}))
    with pytest.raises(CheckpointError, match="NEGNNModel.*fine_tune"):
        CrystalSSLModel.from_folder(tmp_path)


def test_frozen_components_move_neither_weights_nor_statistics(train):
    model = CrystalSSLModel("joint", **SMALL)
    before = {k: v.clone() for k, v in model.components["crystal_encoder"].state_dict().items()}
    model.freeze_components(["crystal_encoder"])
    model.fit(train, nb_epoch=1)
    after = model.components["crystal_encoder"].state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before) and any("variance" in key for key in before)


# Models on disk


def test_a_folder_is_a_model(train, tmp_path):
    model = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path))
    model.fit(train, nb_epoch=2)
    again = CrystalSSLModel.from_folder(tmp_path)
    assert np.allclose(again.embed(train), model.embed(train), atol=1e-6) and again.config == model.config
    control = again.untrained(seed=4)
    assert control.config == model.config and not np.allclose(control.embed(train), model.embed(train), atol=0.01)


def test_folders_that_hold_no_model(train, tmp_path):
    with pytest.raises(CheckpointError, match="no config.json"):
        CrystalSSLModel.from_folder(tmp_path)
    CrystalSSLModel("joint", **SMALL).save_checkpoint(model_dir=str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("checksum")
    config["objectives"][0]["class"] = "FromTheFuture"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="cannot read"):
        CrystalSSLModel.from_folder(tmp_path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    model = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path))
    model.save_checkpoint()

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"crystal_encoder": Evil()}, tmp_path / "checkpoint1.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        model.restore()
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_shape_or_name_are_refused(tmp_path):
    model = CrystalSSLModel("joint", **SMALL)
    wider = CrystalSSLModel("joint", **{**SMALL, "encoder": dict(width=24)})
    with pytest.raises(CheckpointError, match="another crystal_encoder"):
        model.load_from_pretrained(wider, components=["crystal_encoder"])
    with pytest.raises(CheckpointError, match="no component"):
        model.load_from_pretrained(wider, components=["encoder"])
    heads_differ = CrystalSSLModel(
        "kong2024", encoder={**SMALL["encoder"], "readout": "mean_std", "angles": True, "long_range": True}
    )
    heads_differ.load_from_pretrained(model)  # what both have
    assert torch.equal(encoder_weights(heads_differ), encoder_weights(model))
    model.save_checkpoint(model_dir=str(tmp_path))
    heads_differ = CrystalSSLModel(
        "kong2024", encoder={**SMALL["encoder"], "readout": "mean_std", "angles": True, "long_range": True}
    )
    heads_differ.load_from_pretrained(model_dir=str(tmp_path))
    assert torch.equal(encoder_weights(heads_differ), encoder_weights(model))
    with pytest.raises(CheckpointError, match="another crystal_encoder"):
        wider.restore(components=["crystal_encoder"], model_dir=str(tmp_path))
    with pytest.raises(CheckpointError, match="cannot be read"):
        model.restore(checkpoint=str(tmp_path / "nothing.pt"))


# Crystals and datasets at the edge


def test_a_crystal_without_pattern_costs_itself_alone(train, unseen, tmp_path):
    """No scattering factor for Z > 98, no reflection of a tiny cell in a short range."""
    odd = [*list(train.X[:20]), *fcc("Es"), *fcc("Po", a=1.0)]
    grid = XRDGrid(two_theta_max=60.0, n_bins=1000, fwhm=0.5)
    model = CrystalSSLModel("joint", **{**SMALL, "grid": grid}, model_dir=str(tmp_path))
    with pytest.warns(UserWarning, match="Es"):
        loss = model.fit(numpy_dataset(odd), nb_epoch=2, validation=numpy_dataset(odd))
    assert np.isfinite(loss) and sorted(type(e).__name__ for e in model.left_out) == [
        "NoReflectionsError",
        "ScatteringFactorError",
    ]
    with pytest.raises(CrystalInputError):
        model.fit(numpy_dataset(fcc("Es", "Fm")), nb_epoch=1)


def test_small_datasets():
    model = CrystalSSLModel("joint", **SMALL)
    with pytest.raises(CrystalInputError, match="at least 2"):
        model.fit(numpy_dataset(fcc("Cu")), nb_epoch=1)
    with pytest.raises(CrystalInputError, match="at least 2"):
        model.fit(numpy_dataset(fcc("Cu")).select([]), nb_epoch=1)
    for preset in ("joint", "suzuki2022", "kong2024", "kong2024-contrastive"):
        model = CrystalSSLModel(preset, **{**SMALL, "grid": XRDGrid(n_bins=1000)})
        assert np.isfinite(model.fit(numpy_dataset(fcc("Cu", "Ag")), nb_epoch=2))


@pytest.mark.parametrize("preset", ["joint", "suzuki2022", "kong2024", "kong2024-contrastive"])
def test_cells_of_one_atom_and_of_many(preset):
    po = Structure(Lattice.cubic(3.35), ["Po"], [[0, 0, 0]])
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    data = numpy_dataset(structures_to_graphs([po, salt * (4, 4, 5), salt]))
    assert data.X[1].num_nodes == 640
    model = CrystalSSLModel(preset, **{**SMALL, "grid": XRDGrid(n_bins=1000)})
    assert np.isfinite(model.fit(data, nb_epoch=2))
    vectors = model.embed(data)
    assert np.allclose(vectors[1], vectors[2], atol=1e-4 * max(1, np.abs(vectors).max()))


def test_a_batch_of_one_crystal_twice_has_no_negatives():
    data = numpy_dataset(fcc("Cu") * 6)
    for preset in ("joint", "suzuki2022", "kong2024-contrastive"):
        model = CrystalSSLModel(preset, **{**SMALL, "grid": XRDGrid(n_bins=1000)})
        model.fit(data, nb_epoch=2)
        assert all(torch.isfinite(p).all() for p in model.model.parameters())


def test_options_that_play_no_part_are_said():
    with pytest.warns(UserWarning, match="masked_sites"):
        CrystalSSLModel("kong2024", xrd_encoder=dict(channels=8))


@pytest.mark.once
def test_measured_patterns_meet_ideal_ones(train, unseen):
    objectives = [InfoNCE(), InfoNCE(("patterns", "ideal patterns"))]
    with pytest.raises(ValueError, match="Give MeasurementConditions"):
        CrystalSSLModel(objectives)
    ends = []
    for chosen in (objectives, objectives[:1]):
        model = CrystalSSLModel(chosen, **SMALL, conditions=HARD, learning_rate=0.003)
        model.fit(train, nb_epoch=30)
        measured = measure_patterns(unseen.X, HARD, model.xrd_grid, seed=3)
        ideal = simulate_xrd(list(unseen.X), model.xrd_grid)
        ends.append(retrieval_recall(model.embed_xrd(measured), model.embed_xrd(ideal))[1])
    assert ends[0] > ends[1] + 0.1


def test_layers_that_are_not_there(graphs):
    model = CrystalSSLModel("joint", **SMALL)
    for wrong in ([3], [], [-4]):
        with pytest.raises(ValueError, match="0 .the element. to 2"):
            model.embed(graphs[:2], layers=wrong)


def test_a_store_is_a_dataset_for_training_and_validation(structures, tmp_path):
    store = CrystalStore.write(structures[:40], tmp_path / "store")
    model = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path / "model"))
    model.fit(store.select(range(30)), nb_epoch=1, validation=store.select(range(30, 40)))
    assert np.allclose(model.embed(store.select([5, 3])), model.embed(structures)[[5, 3]], atol=1e-4)
    with pytest.raises(StoreError):
        CrystalStore(tmp_path / "nowhere")


def test_mixed_precision_learns_alike(train):
    losses = [
        CrystalSSLModel("joint", **SMALL, mixed_precision=mixed).fit(train, nb_epoch=6) for mixed in (False, True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.05) and losses[0] != losses[1]


@pytest.mark.once
def test_three_lines_in_a_new_process_without_network(tmp_path):
    code = (
        "import deepchem as dc, deepchem_crystalssl, numpy as np\n"
        "from deepchem_crystalssl.crystals.prototypes import bundled_prototypes\n"
        "X = dc.feat.CrystalGraphFeaturizer().featurize([c.to_structure() for c in bundled_prototypes()[:20]])\n"
        "model = dc.models.CrystalSSLModel('joint', batch_size=10, xrd_encoder=dict(channels=4))\n"
        "model.fit(dc.data.NumpyDataset(X), nb_epoch=1)\n"
        "print(model.embed(list(X)).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("(20, 128)"), done.stderr[-800:]


# What DeepChem users do


def test_fit_generator_and_callbacks(train):
    model, steps = CrystalSSLModel("joint", **SMALL), []
    model.fit_generator(model.default_generator(train, epochs=2), callbacks=lambda model, step: steps.append(step))
    assert steps == list(range(1, 9))
    more = []
    model.fit(train, nb_epoch=1, callbacks=[lambda m, step: more.append(step), lambda m, step: more.append(-step)])
    assert more == [9, -9, 10, -10, 11, -11, 12, -12]


def test_fit_in_order_is_the_same_every_time(train):
    losses = [CrystalSSLModel("joint", **SMALL).fit(train, nb_epoch=1, deterministic=True) for _ in range(2)]
    assert losses[0] == losses[1]


def test_weights_come_from_a_checkpoint_folder_too(train, tmp_path):
    pretrained = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path))
    pretrained.fit(train, nb_epoch=1)
    model = CrystalSSLModel("joint", **SMALL, seed=3)
    model.load_from_pretrained(model_dir=str(tmp_path), components=["crystal_encoder"])
    assert np.allclose(model.embed(train), pretrained.embed(train), atol=1e-6) and model.get_global_step() == 0


def test_predict_embedding_of_a_pretrained_model(train):
    """DeepChem's predict gives the crystal vectors."""
    model = CrystalSSLModel("joint", **SMALL)
    assert np.allclose(model.predict(train), model.embed(train), atol=1e-5)


def test_a_run_that_has_more_steps_than_asked_for_says_so(graphs, tmp_path, caplog):
    few = graphs[:12]
    model = NEGNNModel(pretrained=None, hidden=8, batch_size=6, model_dir=str(tmp_path))
    dataset = dc.data.NumpyDataset(np.fromiter(few, object), np.arange(12.0))
    model.fit(dataset, nb_epoch=3)
    with caplog.at_level("INFO", "deepchem_crystalssl"):
        model.fit(dataset, nb_epoch=1, restore=True)
    assert "the run has 6 steps already, and 1 epoch would end at step 2; nothing is left to train" in caplog.text
    assert "resumed" not in caplog.text and model.get_global_step() == 6
