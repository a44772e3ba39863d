"""Two real processes over gloo on the loopback train the model that one process trains."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import distributed_worker as worker  # noqa: E402

from deepchem_crystalssl import CrystalStore  # noqa: E402
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes  # noqa: E402
from deepchem_crystalssl.models.ahead import computed_ahead  # noqa: E402
from deepchem_crystalssl.models.checkpoints import newest_checkpoint, read_checkpoint  # noqa: E402
from deepchem_crystalssl.nn.ranks import ALONE, WHOLE, Share  # noqa: E402

SECONDS = 120  # after which a hanging test fails
pytestmark = pytest.mark.once


def launched(task, folder):
    """Two processes of a task, under torchrun on a free port."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", worker.__file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, task, str(folder)], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finished(process):
    """Its exit status and what it said; a process that hangs is ended, with its workers."""
    try:
        said = process.communicate(timeout=SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its workers, after 30 s by force
        said = process.communicate(timeout=60)[0]
        pytest.fail(f"hangs: {said[-3000:]}")
    return process.returncode, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have done everything; at last one of them failed, while the other was in a step."""
    folder = tmp_path_factory.mktemp("two")
    CrystalStore.write(bundled_prototypes()[:20], folder / "store")
    worker.train(worker.model_of("suzuki2022", folder / "begun by one"), worker.crystals(), 2)
    status, said = finished(launched("everything", folder))
    assert status != 0 and "the disk of this machine is full" in said, said[-9000:]
    return folder


@pytest.fixture(scope="module")
def two(folder):
    """What each of two processes found."""
    return [dict(np.load(folder / f"rank{rank}.npz")) for rank in range(2)]


@pytest.mark.parametrize("preset", [*worker.PRESETS, *worker.OTHERS])
def test_two_processes_train_the_model_of_one(two, preset):
    """To 1e-4 of the losses and of the scale of the weights, and to 1 % of the way that training moves these."""
    model, losses, end = worker.twenty_steps(preset)
    first, last = (worker.weights(m) for m in (worker.model_of(preset), model))
    assert len(losses) == 20
    for found in two:
        assert np.allclose(found[f"{preset} losses"], losses, rtol=1e-4, atol=1e-6)
        assert (np.abs(found[f"{preset} state"] - end) <= 1e-4 * np.maximum(1.0, np.abs(end))).all()
        assert np.abs(found[f"{preset} weights"] - last).max() <= 0.01 * np.abs(last - first).max()
        assert found[f"{preset} left out"].tolist() == [error.item for error in model.left_out]
    assert np.array_equal(two[0][f"{preset} state"], two[1][f"{preset} state"])  # to the last digit


def test_a_crystal_without_a_pattern_is_known_to_both(two):
    assert all(found[f"{preset} left out"].tolist() == ["structure 11"]
               for found in two for preset in ("joint", "suzuki2022", "two crystals"))  # fmt: skip


def test_a_run_goes_on_with_another_number_of_processes(two, folder):
    losses, end = worker.train(worker.model_of("suzuki2022"), worker.crystals(), 4)
    assert np.allclose(two[0]["resumed losses"], losses[10:], rtol=1e-4)  # begun by one, resumed by two
    assert np.allclose(two[0]["resumed weights"], end, atol=1e-4, rtol=1e-4)
    model = worker.model_of("suzuki2022", folder / "begun by two")
    again, end_again = worker.train(model, worker.crystals(), 4, restore=True)
    assert np.allclose(np.concatenate([two[0]["begun losses"], again]), losses, rtol=1e-4)
    assert np.allclose(end_again, end, atol=1e-4, rtol=1e-4)
    assert model.training_log.to_frame()["step"].tolist() == [5, 10, 15, 20]


def test_one_process_decides_writes_and_validates_and_each_reads_its_own_crystals(folder):
    told = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert all(ranks["built"][0] == 1 for ranks in told)  # the first crystal, which says how graphs are made
    assert all(ranks["built"][1:4] == [4, 4, 2] for ranks in told)  # of batches of 8, 8 and 4
    assert [ranks["steps"] for ranks in told] == [12, 12]  # the second of four validations was the best
    assert told[0]["end"] == told[1]["end"] and told[0]["folder"] == told[1]["folder"]
    assert read_checkpoint(newest_checkpoint(told[0]["folder"]))["global_step"] == 12
    steps = [json.loads(line)["step"] for line in (folder / "stops early" / "training_log.jsonl").open()]
    assert steps == [3, 3, 6, 6, 9, 9, 12, 12]
    for ranks in told:
        assert "NEGNNModel: 2 processes" in ranks["refused"][0] and "variables" in ranks["refused"][1]


def test_all_stop_after_the_same_step_if_one_is_asked(folder):
    assert all((folder / f"stopped{rank}").exists() for rank in range(2))
    assert [(folder / f"step{rank}").read_text() for rank in range(2)] == ["4", "4"]
    assert [path.name for path in (folder / "model").glob("*.pt")] == ["checkpoint1.pt"]
    assert read_checkpoint(newest_checkpoint(folder / "model"))["global_step"] == 4
    model = worker.model_of("kong2024", folder / "model")
    whole = worker.train(worker.model_of("kong2024"), worker.crystals(), 2)
    assert np.allclose(worker.train(model, worker.crystals(), 2, restore=True)[1], whole[1], atol=1e-4)


@pytest.mark.slow
def test_a_launcher_that_is_stopped_leaves_a_checkpoint(tmp_path):
    process = launched("running", tmp_path)
    deadline = time.monotonic() + SECONDS
    while not (tmp_path / "step1").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    finished(process)
    steps = {(tmp_path / f"step{rank}").read_text() for rank in range(2)}
    assert len(steps) == 1
    assert read_checkpoint(newest_checkpoint(tmp_path / "model"))["global_step"] == int(steps.pop())


@pytest.mark.slow
def test_the_command_under_torchrun(tmp_path):
    CrystalStore.write(bundled_prototypes()[:60], tmp_path / "store")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [
        *launcher,
        "-m",
        "deepchem_crystalssl",
        "pretrain",
        str(tmp_path / "store"),
        "-o",
        str(tmp_path / "model"),
    ]
    options = ["--preset", "kong2024", "--batch-size", "16", "--validation", "0.2"]
    for epochs in ("1", "2"):
        done = subprocess.run([*command, *options, "--epochs", epochs], capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("crystals left out") == done.stdout.count("spread") == 1
    assert "resumed at step" in done.stderr and done.stderr.count("resumed at step") == 1


def test_two_processes_make_the_same_folder(tmp_path, monkeypatch):
    """DeepChem looks whether a folder exists, and then makes it: the other process may have made it meanwhile."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    look = os.path.exists

    def look_too_early(path):
        found = look(path)
        if not found and str(path).endswith("runs"):
            os.makedirs(path)  # what the other process does in the meantime
        return found

    monkeypatch.setattr(os.path, "exists", look_too_early)
    assert (worker.model_of("kong2024", tmp_path / "runs") and tmp_path / "runs").is_dir()


def test_collectives_are_the_identity_alone():
    x = torch.rand(3, 2, requires_grad=True)
    for same in (ALONE.sum(x), ALONE.total(x), ALONE.gather(x, [3]), WHOLE.gather(x), WHOLE.own(x), WHOLE.total(x)):
        assert same is x
    mean = x.mean()
    assert WHOLE.mean(mean, "sites") is mean and WHOLE.mean_of(mean, 3) is mean and WHOLE.equal_part(mean) is mean
    assert ALONE.agree(lambda: {"a": 1}) == {"a": 1} and WHOLE.head(2) is WHOLE
    ALONE.wait()


def test_a_share_of_a_batch_has_its_part_of_every_draw():
    sizes = torch.tensor([2, 1, 3])
    share = Share(owners=torch.tensor([0, 1, 0]), num_sites=sizes, num_edges=4 * sizes)
    assert share.rows.tolist() == [0, 2] and share.length("sites") == 6 and share.length("edges") == 24
    assert share.own(torch.arange(6), "sites").tolist() == [0, 1, 3, 4, 5]
    assert share.own(torch.arange(3)).tolist() == [0, 2] and share.head(1).rows.tolist() == [0]
    assert share.mean(torch.tensor(1.0), "sites").item() == pytest.approx(5 / 6)


# The next batch, prepared by a thread


def test_batches_prepared_ahead_are_the_same(tmp_path):
    ends = []
    for ahead in (False, True):
        model = worker.model_of("joint-measured-small", tmp_path / str(ahead), prepare_ahead=ahead)
        for epochs in (1, 2):
            losses, end = worker.train(model, worker.crystals(24), epochs, restore=True)
        ends.append((losses, end))
    assert np.array_equal(ends[0][0], ends[1][0]) and np.array_equal(ends[0][1], ends[1][1])


def test_a_thread_delivers_errors_and_does_not_outlive_the_training():
    import threading

    def fails():
        raise ValueError("no pattern")

    results = computed_ahead(iter([lambda: 1, fails, lambda: 3]))
    assert next(results) == 1
    with pytest.raises(ValueError, match="no pattern"):
        next(results)
    model = worker.model_of("joint", prepare_ahead=True)

    def stop(model, step):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        model.fit(worker.crystals(24), nb_epoch=2, callbacks=stop, progress=False)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("next-batch")]


def test_a_thread_computes_the_next_result_meanwhile():
    import threading

    started = [threading.Event() for _ in range(3)]
    calls = (lambda event=event: event.set() for event in started)
    for k, _ in enumerate(computed_ahead(calls)):
        assert started[min(k + 1, 2)].wait(10)
