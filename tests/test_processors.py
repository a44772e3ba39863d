"""How many threads there are: affinity, quotas, variables, a stated number; and that they sleep while they wait."""

import os
import subprocess
import sys

import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl import processors as module
from deepchem_crystalssl.bulk.workers import ONE_THREAD
from deepchem_crystalssl.cli import main, options
from deepchem_crystalssl.errors import OptionError
from deepchem_crystalssl.processors import VARIABLES, let_threads_yield, processors, thread_count


@pytest.fixture(autouse=True)
def nothing_is_stated(monkeypatch):
    monkeypatch.setattr(module, "_stated", [])
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_affinity_of_the_process_counts(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    monkeypatch.setattr(module, "CONTROL_GROUPS", "/nowhere")
    assert processors() == thread_count() == thread_count(-1) == thread_count(0) == 3
    assert thread_count(8) == 8


@pytest.mark.parametrize(
    "line, files, expected",
    [
        ("0::/job/step", {"job/step/cpu.max": "max 100000\n", "job/cpu.max": "250000 100000\n"}, 3),
        ("0::/job", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/job", {"job/cpu.max": "max 100000\n"}, 16),
        ("4:cpu,cpuacct:/job", {"cpu/job/cpu.cfs_quota_us": "400000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 4),
        ("4:cpu:/job", {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 16),
        ("5:memory:/job", {"cpu.max": "100000 100000\n"}, 16),
        ("0::/../job", {"job/cpu.max": "broken"}, 16),
    ],
)
def test_the_quota_of_a_container_counts(line, files, expected, tmp_path, monkeypatch):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    read = module._read
    monkeypatch.setattr(module, "_read", lambda path: f"{line}\n" if path == "/proc/self/cgroup" else read(path))
    monkeypatch.setattr(module, "CONTROL_GROUPS", str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert processors() == expected
    let_threads_yield()
    assert os.environ.get("OMP_NUM_THREADS") == (None if expected == 16 else str(expected))


def test_the_usual_variables_count_and_a_stated_number_more(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert thread_count() == 5
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.setenv("NUMBA_NUM_THREADS", "many")
    assert thread_count() == 5


def test_a_stated_number_holds_for_loops_torch_linear_algebra_and_other_processes():
    code = (
        "import deepchem_crystalssl as dcs; dcs.set_num_threads(1); import torch, numpy, threadpoolctl, os\n"
        "from deepchem_crystalssl.processors import thread_count\n"
        "counts = {one['num_threads'] for one in threadpoolctl.threadpool_info()}\n"
        "print(thread_count(), torch.get_num_threads(), counts, os.environ['OMP_WAIT_POLICY'])\n"
        "dcs.set_num_threads(2)\n"
        "counts = {one['num_threads'] for one in threadpoolctl.threadpool_info()}\n"
        "print(thread_count(), torch.get_num_threads(), counts, os.environ['OMP_NUM_THREADS'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["1 1 {1} PASSIVE", "2 2 {2} 2"], done.stderr


@pytest.mark.parametrize("number", [0, -2, 1.5, "4", True])
def test_what_is_no_number_of_threads_is_refused(number):
    with pytest.raises(OptionError, match="at least 1"):
        dcs.set_num_threads(number)
    if number not in (0, 1.5):
        with pytest.raises(OptionError, match="at least 1"):
            dcs.structures_to_graphs([], n_threads=number)


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_threads_sleep_while_they_wait_unless_the_user_says_how(name, monkeypatch):
    for other in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(other, raising=False)
    let_threads_yield()
    assert os.environ.pop("OMP_WAIT_POLICY") == "PASSIVE" and os.environ.pop("GOMP_SPINCOUNT") == "1000"
    monkeypatch.setenv(name, "7")
    let_threads_yield()
    for other in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        assert os.environ.get(other) == ("7" if name == other else None)


def test_the_option_may_stand_before_or_behind_the_command(monkeypatch, capsys):
    stated = []
    monkeypatch.setattr("deepchem_crystalssl.cli.set_num_threads", stated.append)
    for arguments in (["--threads", "3", "models"], ["models", "--threads", "4"], ["models"]):
        assert main(arguments) == 0
    assert stated == [3, 4]
    with pytest.raises(SystemExit):
        options.build_parser().parse_args(["--threads", "0", "models"])
    assert "must be a number of at least 1" in capsys.readouterr().err


def test_workers_have_one_thread_each():
    assert set(ONE_THREAD) == set(VARIABLES) and set(ONE_THREAD.values()) == {"1"}
