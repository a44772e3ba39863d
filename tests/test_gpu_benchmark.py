"""The script that checks a GPU: here it is rehearsed on the CPU."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def run(monkeypatch, *arguments):
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    return script, script.main()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which this takes minutes")
def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    assert run(monkeypatch)[1] == 0 and capsys.readouterr().out == "no GPU\n"


def test_rehearsal_of_the_checks(monkeypatch, capsys):
    script, status = run(monkeypatch, "--device", "cpu", "--steps", "2", "--parts", "presets", "precision")
    said = capsys.readouterr().out
    assert status == 0 and "all checks passed" in said and said.count("yes") == len(script.PRESETS) + 3


def test_a_difference_is_told(monkeypatch, capsys):
    import numpy as np

    script, _ = run(monkeypatch, "--device", "cpu", "--steps", "2", "--parts", "precision")
    assert script.differences((np.ones((2, 1)), np.ones(3)), (np.full((2, 1), 1.01), np.ones(3)))[0] > script.TOLERANCE
    assert script.verdict(1e-2) == "NO" and script.verdict(1e-6, float("nan")) == "NO"


@pytest.mark.slow
def test_rehearsal_of_processes_and_rates(monkeypatch, capsys):
    _, status = run(
        monkeypatch, "--device", "cpu", "--steps", "3", "--batch-size", "8", "--parts", "processes", "rates"
    )
    said = capsys.readouterr().out
    assert status == 0 and "2 over gloo" in said and "trained, joint, bfloat16, prepared ahead" in said
