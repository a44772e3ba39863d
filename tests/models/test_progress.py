"""Checkpoints in time, at Ctrl-C and at SIGTERM; what a training says; its picture."""

import logging
import os
import signal
import warnings

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_crystalssl import CrystalSSLModel, NEGNNModel, plot_training
from deepchem_crystalssl.errors import CheckpointError
from deepchem_crystalssl.models import progress

SMALL = dict(encoder=dict(width=8, n_layers=1, hidden=8, embedding_size=8), batch_size=8)


@pytest.fixture(scope="module")
def dataset(graphs):
    few = [graph for graph in graphs if graph.num_nodes <= 12][:32]
    X = np.empty(32, object)
    X[:] = few
    return dc.data.NumpyDataset(X, np.array([np.log(graph.volume / graph.num_nodes) for graph in few]))


def build(folder):
    return CrystalSSLModel("kong2024", **SMALL, model_dir=str(folder))


def weights(model):
    return torch.nn.utils.parameters_to_vector(model.model.parameters()).detach().clone()


def killed_at(step, model, dataset, **options):
    """A training that dies without warning after a step, as by kill -9."""

    def die(m, k):
        if k == step:
            raise MemoryError

    with pytest.raises(MemoryError):
        model.fit(dataset, nb_epoch=3, callbacks=die, **options)


def test_a_checkpoint_is_written_when_its_time_has_come(dataset, tmp_path):
    model = build(tmp_path / "often")
    killed_at(4, model, dataset, checkpoint_minutes=0.0)
    resumed = build(tmp_path / "often")
    resumed.restore()
    assert resumed.get_global_step() == 3  # the last one before the step that died
    model = build(tmp_path / "seldom")
    killed_at(4, model, dataset)
    assert not model.get_checkpoints()
    model = build(tmp_path / "never")
    killed_at(4, model, dataset, checkpoint_minutes=0.0, checkpoint_interval=0)
    assert not model.get_checkpoints()


@pytest.fixture
def usual_handlers():
    """Those of a terminal: a process in the background ignores SIGINT."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_after_the_step_with_a_checkpoint(dataset, tmp_path, number, usual_handlers):
    whole = build(tmp_path / "whole")
    whole.fit(dataset, nb_epoch=3)
    before = signal.getsignal(number)
    model, seen = build(tmp_path / "stopped"), []

    def ask(m, step):
        seen.append(step)
        if step == 5:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        model.fit(dataset, nb_epoch=3, callbacks=ask)
    assert seen == [1, 2, 3, 4, 5] and signal.getsignal(number) == before
    resumed = build(tmp_path / "stopped")
    resumed.fit(dataset, nb_epoch=3, restore=True)
    assert resumed.get_global_step() == 12 and torch.allclose(weights(resumed), weights(whole), atol=1e-6)


def test_an_interrupt_from_a_callback_saves_too(dataset, tmp_path):
    def interrupt(m, step):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path).fit(dataset, nb_epoch=1, callbacks=interrupt)
    again = build(tmp_path)
    again.restore()
    assert again.get_global_step() == 2


def test_handlers_of_the_process_are_left_alone(dataset, tmp_path):
    asked = []
    before = signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    try:
        build(tmp_path).fit(dataset, nb_epoch=1, callbacks=lambda m, step: os.kill(os.getpid(), signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(asked) == 4


def test_a_training_says_where_it_goes_on(dataset, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="deepchem_crystalssl")
    build(tmp_path).fit(dataset, nb_epoch=1, restore=True)
    assert "no checkpoint yet, starting at step 0" in caplog.text
    build(tmp_path).fit(dataset, nb_epoch=2, restore=True)
    assert f"{tmp_path}: resumed at step 4 of 8" in caplog.text


def test_without_a_terminal_a_line_now_and_then(dataset, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="deepchem_crystalssl")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    build(tmp_path).fit(dataset, nb_epoch=1)
    lines = [record.message for record in caplog.records if record.message.startswith("training: ")]
    assert len(lines) == 4 and lines[0].startswith("training: step 1 of 4, masked_sites ")
    caplog.clear()
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 3600.0)
    build(tmp_path).fit(dataset, nb_epoch=1)
    assert caplog.text.count("training: ") == 1
    caplog.clear()
    build(tmp_path).fit(dataset, nb_epoch=1, progress=False)
    assert "training: " not in caplog.text


def test_the_bar_shows_the_loss_from_the_first_step():
    with progress.Progress(4, show=True) as bar:
        bar.step({"masked_sites": torch.tensor(1.25)})
        assert bar.bar.postfix == "masked_sites 1.250" and bar.bar.n == 1


def test_the_picture_of_a_training(dataset, tmp_path):
    model = NEGNNModel(pretrained=None, hidden=8, batch_size=8, model_dir=str(tmp_path / "run"))
    model.fit(dataset, nb_epoch=3, validation=dataset)
    for given in (model, tmp_path / "run", str(tmp_path / "run")):
        losses, validation = plot_training(given).axes
        assert losses.get_title() == "losses" and validation.get_title() == "validation loss"
        drawn = validation.lines[0].get_xydata()
        rows = model.training_log.to_frame().dropna(subset="validation loss")
        assert drawn[:, 0].tolist() == [4, 8, 12] and np.allclose(drawn[:, 1], rows["validation loss"])
    with pytest.raises(CheckpointError, match="training_log.jsonl"):
        plot_training(tmp_path)


def test_the_first_checkpoint_by_time_comes_earlier(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_CHECKPOINT_MINUTES", 0.0)
    model = build(tmp_path / "default")
    killed_at(4, model, dataset)
    again = build(tmp_path / "default")
    again.restore()
    assert again.get_global_step() == 1  # the next ones after checkpoint_minutes
    model = build(tmp_path / "no checkpoints")
    killed_at(4, model, dataset, checkpoint_interval=0)
    assert not model.get_checkpoints()


# A folder that holds another run


def test_a_fit_that_leaves_an_earlier_run_aside_says_so(dataset, tmp_path):
    build(tmp_path).fit(dataset, nb_epoch=2)
    with pytest.warns(UserWarning, match=r"a run of 8 steps.* starts anew at step 0.*restore=True") as caught:
        build(tmp_path).fit(dataset, nb_epoch=1)
    assert caught[0].filename == __file__


def test_a_fit_that_goes_on_says_nothing(dataset, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".* a run of .* steps")
        model = build(tmp_path)
        model.save_checkpoint()
        model.fit(dataset, nb_epoch=1)
        model.fit(dataset, nb_epoch=1)
        build(tmp_path).fit(dataset, nb_epoch=3, restore=True)
        opened = CrystalSSLModel.from_folder(tmp_path, batch_size=8)
        opened.fit(dataset, nb_epoch=1)
        assert opened.get_global_step() == 16
