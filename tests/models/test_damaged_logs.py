"""Damaged logs and checkpoints: a training goes on, who reads gets a typed error; and the permissions of weights."""

import json
import logging
import os
import shutil

import numpy as np
import pytest
import torch
from deepchem.data import NumpyDataset

from deepchem_crystalssl import CrystalSSLModel, XRDGrid, load_pretrained, save_pretrained, structures_to_graphs
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import CheckpointError
from deepchem_crystalssl.models.log import TrainingLog
from deepchem_crystalssl.recipes import verify_folder

SMALL = dict(
    encoder=dict(width=8, n_layers=1, hidden=16, embedding_size=8),
    xrd_encoder=dict(channels=4, hidden=16),
    grid=XRDGrid(n_bins=256, fwhm=0.5),
    batch_size=16,
    log_frequency=1,
)


@pytest.fixture
def log(tmp_path):
    log = TrainingLog(tmp_path / "training_log.jsonl")
    for step in range(1, 6):
        log.add({"loss": 1 / step})
        log.write_means(step)
    log.write_validation(5, {"recall@1": 0.5})
    return log


def damage(log, line, change):
    lines = log.path.read_bytes().split(b"\n")
    lines[line] = change(lines[line])
    log.path.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b"0.5", b"0.7"),
        lambda line: line.replace(b'"loss"', b'"lost"'),
        lambda line: line.replace(b'"checksum"', b'"chocksum"'),
        lambda line: line[:20],
        lambda line: b"\xff" + line,
        lambda line: b"[]",
        lambda line: b"[" * 100_000,
        lambda line: b"",
    ],
)
def test_a_damaged_line_is_an_error_for_readers_and_passed_over_by_a_training(log, change, caplog):
    damage(log, 1, change)
    with pytest.raises(CheckpointError, match="training_log.jsonl: line [23] is damaged"):
        TrainingLog(log.path).to_frame()
    again = TrainingLog(log.path)
    with caplog.at_level(logging.WARNING):
        assert again.scores("recall@1") == [(5, 0.5)]
        again.rewind(4)
    assert "cannot be read" in caplog.text
    assert again.to_frame()["step"].tolist()[:1] == [1] and again.to_frame()["step"].max() == 4
    again.write_validation(6, {"recall@1": 0.25})
    assert TrainingLog(log.path).to_frame()["validation recall@1"].iloc[-1] == 0.25


def test_a_line_that_is_missing_or_moved_is_noticed(log):
    lines = log.path.read_text().splitlines(keepends=True)
    for other in (lines[:2] + lines[3:], [lines[1], lines[0], *lines[2:]], lines + lines[2:3]):
        log.path.write_text("".join(other))
        with pytest.raises(CheckpointError, match="is damaged"):
            log.to_frame()
    log.path.write_text("".join(lines)[:-10])  # as of a run that was killed
    assert len(log.to_frame()) == 5


def test_a_log_of_an_earlier_version_is_read_and_goes_on(tmp_path):
    path = tmp_path / "training_log.jsonl"
    path.write_text("".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in (1, 2, 3)))
    log = TrainingLog(path)
    assert len(log.to_frame()) == 3
    log.rewind(2)
    log.write_validation(3, {"loss": 2.0})
    assert log.to_frame()["step"].tolist() == [1, 2, 3]


def test_a_log_that_is_none_does_not_stop_a_training(graphs, tmp_path, caplog):
    data = np.empty(32, object)
    data[:] = graphs[:32]
    (tmp_path / "training_log.jsonl").mkdir()
    model = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        model.fit(NumpyDataset(data), nb_epoch=1, progress=False)
    assert "goes on without a log" in caplog.text and model.get_global_step() == 2
    with pytest.raises(CheckpointError, match="training_log.jsonl"):
        model.training_log.to_frame()


def test_an_older_checkpoint_is_not_taken_for_the_newest(graphs, tmp_path):
    data = np.empty(32, object)
    data[:] = graphs[:32]
    model = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path))
    for epochs in (1, 2):
        model.fit(NumpyDataset(data), nb_epoch=1, progress=False)
    newest = tmp_path / "checkpoint1.pt"
    assert load_pretrained(tmp_path).get_global_step() == 4
    content = newest.read_bytes()
    place = content.index(b"data/", 1000) + 300
    newest.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(CheckpointError, match="checkpoint1.pt.*Copy it again, or remove it"):
        load_pretrained(tmp_path)
    newest.unlink()
    with pytest.raises(CheckpointError, match="is of step 2, and one of step 4 was written"):
        load_pretrained(tmp_path)
    again = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path))
    again.fit(NumpyDataset(data), nb_epoch=2, restore=True, progress=False)  # as the error says
    assert load_pretrained(tmp_path).get_global_step() == 4


def test_weights_have_the_permissions_that_the_umask_leaves(tmp_path):
    mask = os.umask(0o077)
    try:
        folder = save_pretrained(CrystalSSLModel("joint", **SMALL), tmp_path / "model")
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.fixture
def trained(tmp_path):
    """The folder of a training, and the dataset."""
    graphs = structures_to_graphs(bundled_prototypes()[:32], progress=False)
    data = np.empty(len(graphs), object)
    data[:] = graphs
    dataset = NumpyDataset(data)
    CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path / "model")).fit(dataset, nb_epoch=2, progress=False)
    return tmp_path / "model", dataset


def other_log(path):
    path.unlink()
    log = TrainingLog(path)
    for step in range(1, 9):
        log.add({"loss": 3.0})
        log.write_means(step)


@pytest.mark.parametrize("change", [other_log, lambda path: path.unlink(), lambda path: os.truncate(path, 0)])
def test_a_log_that_is_cut_missing_or_of_another_training_is_told(trained, change, caplog):
    folder, dataset = trained
    assert len(load_pretrained(folder).training_log.to_frame()) >= 4
    change(folder / "training_log.jsonl")
    with pytest.raises(CheckpointError, match="training_log.jsonl: cut or missing, or the log of another training"):
        load_pretrained(folder).training_log.to_frame()
    assert {file.result for file in verify_folder(folder)} >= {"damaged"}
    model = CrystalSSLModel("joint", **SMALL, model_dir=str(folder))
    model.fit(dataset, nb_epoch=3, restore=True, progress=False)
    assert "another training" in caplog.text
    assert load_pretrained(folder).training_log.to_frame()["step"].max() == model.get_global_step()


@pytest.mark.filterwarnings("ignore:.*holds a run of")
def test_another_training_in_the_folder_has_a_log_of_its_own(trained):
    folder, dataset = trained
    steps = []

    def read_log(model, step):
        steps.append(len(model.training_log.to_frame()))

    model = CrystalSSLModel("joint", **SMALL, model_dir=str(folder))
    model.fit(dataset, nb_epoch=1, callbacks=read_log, progress=False)
    assert steps[0] <= 1 and len(load_pretrained(folder).training_log.to_frame()) >= 2


def test_a_checkpoint_of_another_training_is_not_taken_for_the_newest(trained, tmp_path):
    folder, dataset = trained
    other = CrystalSSLModel("joint", **SMALL, model_dir=str(tmp_path / "other"), seed=5)
    other.fit(dataset, nb_epoch=2, progress=False)
    shutil.copy(tmp_path / "other" / "checkpoint1.pt", folder / "checkpoint1.pt")
    with pytest.raises(CheckpointError, match="checkpoint1.pt: not the checkpoint of step 4 that was written here"):
        load_pretrained(folder)
    with pytest.raises(CheckpointError, match="not the checkpoint of step 4"):
        CrystalSSLModel("joint", **SMALL, model_dir=str(folder)).fit(dataset, nb_epoch=3, restore=True, progress=False)


def test_a_second_checkpoint_of_a_step_that_is_killed_is_whole(trained, monkeypatch):
    folder, _ = trained
    model = load_pretrained(folder)
    with torch.no_grad():
        next(next(iter(model.components.values())).parameters()).add_(1.0)
    calls = []

    def write(*arguments):
        calls.append(arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("deepchem_crystalssl.models.checkpointed.write_config", write)  # after the checkpoint
        with pytest.raises(KeyboardInterrupt):
            model.save_checkpoint()
    assert len(calls) == 1 and load_pretrained(folder).get_global_step() == 4
