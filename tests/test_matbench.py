"""The benchmark on matbench: its folds and identifiers are the official ones, and its file of results is accepted."""

import gzip
import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error

import deepchem_crystalssl as dcs
from deepchem_crystalssl.errors import LabelError, OverlappingAtomsError

BENCHMARKS = Path(dcs.__file__).parents[1] / "benchmarks"


def load(name, called):
    spec = importlib.util.spec_from_file_location(called, BENCHMARKS / f"{name}.py")
    sys.modules[called] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tasks = load("matbench_tasks", "matbench_tasks")
script = load("matbench", "benchmark_matbench")  # not by the name of the package


def frame_of(structures, label="exfoliation_en"):
    """A set with a bad crystal in row 3: two atoms in one place."""
    entries = [structure.as_dict() for structure in structures]
    entries[3]["sites"].append(entries[3]["sites"][0])
    values = [float(10 * len(structure) + k) for k, structure in enumerate(structures)]
    return pd.DataFrame({"structure": entries, label: values})


@pytest.fixture
def folder(structures, tmp_path):
    """The form of matminer's files: pandas' "split"."""
    with gzip.open(tmp_path / "matbench_jdft2d.json.gz", "wt") as file:
        json.dump(frame_of(structures[:20]).to_dict(orient="split"), file)
    return tmp_path


def a_task(name, size, rows=None):
    rows = np.arange(size) if rows is None else rows
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=len(rows)) if tasks.TASKS[name].mode == "classification" else rng.normal(size=len(rows))
    return tasks.Task(name, [None] * len(rows), y.astype(float), rows, size)


def test_identifiers_are_those_of_matbench():
    assert tasks.identifiers("phonons", 1265)[0] == "mb-phonons-0001"
    assert tasks.identifiers("jdft2d", 636)[-1] == "mb-jdft2d-636"
    assert tasks.identifiers("mp_e_form", 132752)[9] == "mb-mp-e-form-000010"


# The first and last test crystals of each fold in matbench_v0.1_validation.json.
OFFICIAL = {
    "phonons": [(2, 3, 1251), (5, 9, 1259), (14, 20, 1265), (4, 8, 1264), (1, 6, 1261)],
    "jdft2d": [(12, 14, 631), (3, 5, 633), (4, 8, 635), (9, 10, 636), (1, 2, 629)],
    "dielectric": [(8, 10, 4763), (3, 14, 4764), (6, 7, 4761), (1, 2, 4759), (5, 13, 4751)],
    "log_kvrh": [(6, 10, 10986), (11, 15, 10985), (3, 4, 10983), (8, 12, 10987), (1, 2, 10971)],
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_folds_are_those_of_matbench(name):
    task = a_task(name, tasks.TASKS[name].size)
    for (train, test), (first, second, last) in zip(task.folds, OFFICIAL[name], strict=True):
        numbers = np.flatnonzero(test) + 1
        assert (numbers[0], numbers[1], numbers[-1]) == (first, second, last)
        assert (train != test).all()


def test_missing_crystals_do_not_move_the_others_between_folds():
    whole, rows = a_task("phonons", 1265), np.setdiff1d(np.arange(1265), [0, 7, 500])
    part = a_task("phonons", 1265, rows)
    for (train, test), (all_train, all_test) in zip(part.folds, whole.folds, strict=True):
        assert (all_test[rows] == test).all() and (all_train[rows] == train).all()
    assert part.ids[0] == "mb-phonons-0002" and len(part.ids) == 1262


def test_folds_of_classes_are_stratified():
    task = a_task("mp_is_metal", 1000)
    assert np.sum([test for _, test in task.folds], axis=0).tolist() == [1] * 1000
    counts = [task.y[test].sum() for _, test in task.folds]
    assert max(counts) - min(counts) <= 1


def test_official_files_are_read(folder, structures):
    task = tasks.read_task(folder, "jdft2d")
    assert task.size == 20
    assert task.y.tolist() == [10 * len(structure) + k for k, structure in enumerate(structures[:20])]
    good = [crystal for k, crystal in enumerate(task.crystals) if k != 3]
    assert [crystal.material_id for crystal in good] == task.ids[np.arange(20) != 3].tolist()
    for crystal, structure in zip(good, structures[:3], strict=False):
        assert crystal.to_structure().composition == structure.composition
        np.testing.assert_allclose(crystal.lattice, structure.lattice.matrix)
    assert isinstance(task.crystals[3], OverlappingAtomsError) and str(task.crystals[3]).startswith("mb-jdft2d-04: ")


def test_a_folder_without_the_file_says_which_one_it_needs(tmp_path):
    with pytest.raises(FileNotFoundError, match="matbench_log_kvrh.json.gz"):
        tasks.read_task(tmp_path, "log_kvrh")


@pytest.mark.parametrize("name, label", [("jdft2d", np.nan), ("mp_is_metal", 0.5)])
def test_labels_that_cannot_be_used_are_refused(name, label, structures):
    with pytest.raises(LabelError, match=f"mb-{name.replace('_', '-')}-2"):
        tasks.make_task(name, structures[:2], [1.0, label], np.arange(2), 2)


def test_scores_are_those_of_matbench():
    y, p = np.array([0.0, 1.0, 4.0]), np.array([1.0, 2.0, 2.0])
    scores = tasks.score("regression", y, p)
    assert scores == {"mae": 4 / 3, "rmse": pytest.approx(2**0.5), "mape": 0.75, "max_error": 2.0}
    assert scores["mae"] == mean_absolute_error(y, p)
    y, p = np.array([0.0, 0.0, 1.0, 1.0, 1.0]), np.array([0.2, 0.7, 0.6, 0.9, 0.1])
    scores = tasks.score("classification", y, p)
    assert set(scores) == {"accuracy", "balanced_accuracy", "f1", "rocauc"}
    assert scores["rocauc"] == scores["balanced_accuracy"] == balanced_accuracy_score(y > 0.5, p > 0.5)


@pytest.mark.parametrize("name", ["results.json", "results.json.gz"])
def test_the_file_of_results_has_every_crystal_once_and_a_hash_of_the_rest(name, tmp_path):
    task = a_task("jdft2d", 636)
    predictions = [task.y[test] + 0.5 for _, test in task.folds]
    content = tasks.as_benchmark([tasks.recorded(task, predictions, {"seeds": 1})], {"algorithm": "NEGNN"})
    tasks.write_results(tmp_path / name, content)
    text = (tmp_path / name).read_bytes()
    read = json.loads(gzip.decompress(text) if name.endswith("gz") else text)
    digest = read.pop("hash")
    assert digest == hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()
    folds = read["tasks"]["matbench_jdft2d"]["results"]
    assert list(folds) == [f"fold_{k}" for k in range(5)]
    assert sorted(key for fold in folds.values() for key in fold["data"]) == task.ids.tolist()
    assert all(set(fold) == {"data", "uncertainty", "parameters", "scores"} for fold in folds.values())
    assert [fold["scores"]["mae"] for fold in folds.values()] == pytest.approx([0.5] * 5)


def test_known_predictions_are_not_computed_again(tmp_path):
    path = tmp_path / "output.json"
    first = script.Results(path).get("phonons", "ridge", 0, 2, lambda: np.array([1.0, 2.12345678]))
    again = script.Results(path).get("phonons", "ridge", 0, 2, lambda: pytest.fail("it is known"))
    assert first.tolist() == again.tolist() == [1.0, 2.123457]
    script.Results(path).get("jdft2d", "ridge", 0, 1, lambda: np.array([3.0]))
    assert set(json.loads(path.read_text())) == {"phonons", "jdft2d"}
    with pytest.raises(ValueError, match="fold 0 has 2 predictions, not 3"):
        script.Results(path).get("phonons", "ridge", 0, 3, lambda: pytest.fail("it is known"))


@pytest.mark.parametrize("name, expected", [("jdft2d", 2.0), ("mp_is_metal", 1 / 3)])
def test_a_crystal_that_cannot_be_used_is_predicted_by_the_training_labels_alone(name, expected):
    y = np.array([1.0, 2.0, 30.0, 4.0, 5.0, 99.0]) if name == "jdft2d" else np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    task = tasks.Task(name, [None] * 6, y, np.arange(6), 6)
    good = np.array([True, True, True, False, True, False])  # row 5 is a bad one of the training part
    train = np.array([True, True, True, False, False, True])
    seen = []

    def predict(*parts):
        seen.extend(parts)
        return np.array([0.25])

    predicted = script.filled(task, good, predict)(train, ~train)
    assert predicted.tolist() == [expected, 0.25]
    assert [part.tolist() for part in seen] == [(train & good).tolist(), (~train & good).tolist()]


def test_bad_crystals_are_reported_and_keep_their_place(folder):
    task = tasks.read_task(folder, "jdft2d")
    inputs = script.Inputs(task)
    assert [(error.index, error.item) for error in inputs.report] == [(3, "mb-jdft2d-04")]
    assert np.flatnonzero(~inputs.good).tolist() == [3] and inputs.graphs[3] is None
    assert inputs.graphs[4].material_id == "mb-jdft2d-05"
    expected = dcs.CrystalEmbedding(physics=True).transform(task.crystals[4:5])
    np.testing.assert_allclose(inputs.columns[4:5], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.once
def test_a_run_prints_our_scores_among_those_published(folder, capsys):
    output, results = folder / "output.json", folder / "results.json.gz"
    arguments = [str(folder), "--tasks", "jdft2d", "--seeds", "1", "--epochs", "1", "-o", str(output)]
    script.main([*arguments, "--results", str(results)])
    text = capsys.readouterr().out
    assert "matbench_jdft2d: 20 of 636 crystals" in text and "these are not the folds of matbench" in text
    assert "OverlappingAtomsError: mb-jdft2d-04" in text
    assert "MODNet [leaderboard of matbench v0.1" in text and "ensemble [here, 20 crystals]" in text
    folds = json.loads(gzip.decompress(results.read_bytes()))["tasks"]["matbench_jdft2d"]["results"]
    assert sum(len(fold["data"]) for fold in folds.values()) == 20


PACKAGE = """
class Task:
    def __init__(self, table, splits):
        self.table, self.validation, self.recorded = table, splits, {}
    def load(self):
        self.df = self.table
class MatbenchBenchmark:
    def __init__(self, autoload, subset):
        self.subset = subset
"""


def test_the_package_is_found_although_the_script_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "matbench").mkdir()
    (tmp_path / "matbench" / "__init__.py").write_text("")
    (tmp_path / "matbench" / "bench.py").write_text(PACKAGE)
    path = [str(BENCHMARKS), str(tmp_path), *sys.path]
    monkeypatch.setattr(sys, "path", path)
    for name in ("matbench", "matbench.bench"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert tasks.open_package(["jdft2d"]).subset == ["matbench_jdft2d"] and sys.path is path
    for name in ("matbench", "matbench.bench"):
        monkeypatch.delitem(sys.modules, name)


def test_folds_of_the_package_that_differ_are_refused(structures, tmp_path):
    space = {}
    exec(PACKAGE, space)
    table = frame_of(structures)
    ours = tasks.from_frame("jdft2d", table)
    splits = {
        f"fold_{k}": {"train": ours.ids[train].tolist(), "test": ours.ids[test].tolist()}
        for k, (train, test) in enumerate(ours.folds)
    }
    assert tasks.from_package("jdft2d", space["Task"](table, splits)).ids.tolist() == ours.ids.tolist()
    splits["fold_2"] = splits["fold_1"]
    with pytest.raises(ValueError, match="fold 2 of matbench_jdft2d"):
        tasks.from_package("jdft2d", space["Task"](table, splits))


def test_either_a_folder_or_the_package(capsys):
    for arguments in ([], ["DATA", "--package"]):
        with pytest.raises(SystemExit):
            script.main(arguments)
    assert "either DATA or --package" in capsys.readouterr().err


def test_every_published_score_names_its_source():
    for description in tasks.TASKS.values():
        assert description.published and {source for _, source in description.published.values()} <= set(tasks.SOURCES)
