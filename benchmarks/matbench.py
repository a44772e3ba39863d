"""Measure NEGNN and kernel ridge on the tasks of matbench, on its five official folds.

    python benchmarks/matbench.py DATA [--tasks phonons ...] [--seeds 3] [--plain] [-o OUTPUT.json] [--results FILE]
    python benchmarks/matbench.py --package --tasks phonons jdft2d [--results FILE]

DATA is a folder with the files that matminer's ``load_dataset`` fetches, ``matbench_phonons.json.gz`` and so on. For
phonons a table ``matbench_phonons.parquet`` serves too; it has 1,072 of the 1,265 crystals, so that every model learns
from 15 % fewer labels than those on the board. With ``--package`` the package matbench gives data and folds and records
the predictions.

NEGNN is trained with its defaults for 100 epochs, once for each seed, with springs and tight binding; ``--plain``
trains it without them too. The ensemble is the mean of the predictions over the seeds. The kernel ridge is the reader
of the descriptor with weighed blocks. Scores are means over the folds, beside those that were published.

Predictions are kept in OUTPUT.json after each fold, and a run that was interrupted goes on from there. FILE is the file
of results that matbench accepts, with the ensemble with physics: write it as ``results.json.gz``. Where crystals are
missing, matbench refuses it.

A crystal that cannot be used is named with the reason, has no part in the training, and is predicted to have the
median of the training labels, or the share of class 1 as its probability.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import deepchem as dc
import numpy as np

import deepchem_crystalssl as dcs
from deepchem_crystalssl.errors import counted
from matbench_tasks import SOURCES, TASKS, Task, as_benchmark, from_package, open_package, read_task, recorded
from matbench_tasks import score as score_fold
from matbench_tasks import write_results

EPOCHS = 100
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Results:
    """Predictions by task, method and fold, kept in a file.

    Parameters
    ----------
    path : Path, optional
        Without one, nothing is kept.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.known = json.loads(path.read_text()) if path is not None and path.exists() else {}

    def get(self, task: str, method: str, fold: int, size: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Predictions of a fold with so many crystals, computed if they are not known.

        Raises
        ------
        ValueError
            If the file has predictions of another number of crystals.
        """
        known = self.known.setdefault(task, {}).setdefault(method, {})
        if str(fold) not in known:
            known[str(fold)] = [round(float(value), 6) for value in compute()]
            if self.path is not None:
                self.path.with_suffix(".part").write_text(json.dumps(self.known))
                os.replace(self.path.with_suffix(".part"), self.path)
        if len(known[str(fold)]) != size:
            found = len(known[str(fold)])
            raise ValueError(f"{self.path}: {task}, {method}, fold {fold} has {found} predictions, not {size}")
        return np.array(known[str(fold)])


class Inputs:
    """Graphs and descriptors of the crystals of a task.

    Parameters
    ----------
    task : Task

    Attributes
    ----------
    report : Report
        The crystals that cannot be used, and why; the index is the position in the task.
    good : numpy.ndarray of bool
        Which of the crystals can be used, (n,).
    graphs : numpy.ndarray of object
        Graphs, (n,), None for the others.
    columns : numpy.ndarray
        Descriptors, (n, F), NaN for the others.
    blocks : list of str
        The block of each column.
    """

    def __init__(self, task: Task):
        self.report = dcs.Report()
        embedding = dcs.CrystalEmbedding(physics=True)
        graphs = dcs.structures_to_graphs(task.crystals, on_error="skip", report=self.report, progress=False)
        positions = np.setdiff1d(np.arange(len(task.y)), self.report.indices)
        lost = dcs.Report()
        columns = embedding.compute(graphs, "skip", lost)
        for error in lost:
            self.report.handle(error, "skip", int(positions[error.index]))
        self.good = ~np.isin(np.arange(len(task.y)), self.report.indices)
        self.graphs = np.full(len(task.y), None, object)
        self.graphs[positions] = np.fromiter(graphs, object, len(graphs))
        self.columns = np.full((len(task.y), columns.shape[1]), np.nan, columns.dtype)
        self.columns[self.good] = columns
        self.blocks = embedding.blocks


def filled(task: Task, good: np.ndarray, predict: Method) -> Method:
    """A method that is asked about good crystals only; the others get what the training labels say alone.

    Parameters
    ----------
    task : Task
    good : numpy.ndarray of bool
        (n,).
    predict : callable
        Of the masks of training and test part, (n,) each.
    """

    def method(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        labels = task.y[train & good]
        values = np.full(len(task.y), labels.mean() if task.mode == "classification" else np.median(labels))
        values[test & good] = predict(train & good, test & good)
        return values[test].clip(0, 1) if task.mode == "classification" else values[test]

    return method


def methods_of(task: Task, inputs: Inputs, options: argparse.Namespace) -> dict[str, Method]:
    """What is measured, by name; every seed of a network is a method of its own."""
    systems = np.array(["" if graph is None else graph.chemical_system for graph in inputs.graphs])

    def ridge(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        reader = dcs.LaplacianRidgeCV(blocks=inputs.blocks).fit(inputs.columns[train], task.y[train], systems[train])
        return reader.predict(inputs.columns[test])

    def network(seed: int, physics: bool, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        model = dcs.NEGNNModel(mode=task.mode, seed=seed, physics=physics)
        dataset = dc.data.NumpyDataset(inputs.graphs[train], task.y[train])
        model.fit(dataset, nb_epoch=options.epochs, progress=False)
        predicted = model.predict(dc.data.NumpyDataset(inputs.graphs[test]))
        return predicted.reshape(len(predicted), -1)[:, -1]  # of classes, the probability of 1

    methods: dict[str, Method] = {"kernel ridge with physics": ridge}
    for physics in (True, False) if options.plain else (True,):
        for seed in range(options.seeds):
            name = f"{kind_of(physics, options.epochs)}, seed {seed}"
            methods[name] = lambda train, test, seed=seed, physics=physics: network(seed, physics, train, test)
    return {name: filled(task, inputs.good, method) for name, method in methods.items()}


def kind_of(physics: bool, epochs: int) -> str:
    """The name of a network without its seed."""
    return f"NEGNN {'with' if physics else 'without'} physics" + (f", {epochs} epochs" if epochs != EPOCHS else "")


def by_fold(task: Task, predictions: list[np.ndarray]) -> np.ndarray:
    """The score of each fold."""
    parts = zip(task.folds, predictions, strict=True)
    return np.array([next(iter(score_fold(task.mode, task.y[test], p).values())) for (_, test), p in parts])


def describe(task: Task, name: str, predictions: list[np.ndarray], remark: str = "") -> str:
    """One method in a line: mean over the folds, for errors their interval of 95 % over the crystals, and the folds."""
    each, interval = by_fold(task, predictions), ""
    if task.mode == "regression":
        error = np.concatenate([np.abs(p - task.y[test]) for p, (_, test) in zip(predictions, task.folds, strict=True)])
        rng = np.random.default_rng(0)
        draws = [error[rng.integers(len(error), size=len(error))].mean() for _ in range(2000)]
        interval = " ({:.3g}-{:.3g})".format(*np.quantile(draws, [0.025, 0.975]))
    folds = ", ".join(f"{value:.3g}" for value in each)
    return f"{name}: {each.mean():.4g}{interval} {TASKS[task.name].unit}; folds {folds} {remark}".rstrip()


def measure(task: Task, results: Results, options: argparse.Namespace) -> list[np.ndarray]:
    """Print the scores of a task, ours and those published, and return the predictions of the ensemble with physics."""
    description, size = TASKS[task.name], len(task.y)
    print(f"\nmatbench_{task.name}: {size} of {description.size} crystals", flush=True)
    if task.size != description.size:
        print(f"the file has {task.size} crystals: these are not the folds of matbench")
    inputs = Inputs(task)
    for error in inputs.report:
        print(f"predicted by the training labels alone: {type(error).__name__}: {error}")
    predictions = {}
    for name, predict in methods_of(task, inputs, options).items():
        started = time.perf_counter()
        predictions[name] = [
            results.get(task.name, name, k, int(fold[1].sum()), lambda fold=fold, predict=predict: predict(*fold))
            for k, fold in enumerate(task.folds)
        ]
        print(describe(task, name, predictions[name], f"{time.perf_counter() - started:.0f} s"), flush=True)
    ours = {"kernel ridge with physics": by_fold(task, predictions["kernel ridge with physics"]).mean()}
    for physics in (False, True) if options.plain else (True,):
        kind = kind_of(physics, options.epochs)
        of_kind = [folds for name, folds in predictions.items() if name.startswith(f"{kind}, seed ")]
        each = [by_fold(task, folds).mean() for folds in of_kind]
        ensemble = [np.mean(parts, axis=0) for parts in zip(*of_kind, strict=True)]
        print(f"{kind}, mean of {counted(len(each), 'seed')}: {np.mean(each):.4g} ({min(each):.4g}-{max(each):.4g})")
        print(describe(task, f"{kind}, ensemble", ensemble))
        ours |= {f"{kind}, mean of seeds": np.mean(each), f"{kind}, ensemble": by_fold(task, ensemble).mean()}
    print_comparison(task, ours)
    return ensemble


def print_comparison(task: Task, ours: dict[str, float]) -> None:
    """Our means over the folds among those published, the best first."""
    description, here = TASKS[task.name], f"here, {len(task.y)} crystals"
    lines = [(value, name, here) for name, value in ours.items()]
    lines += [(value, name, SOURCES[source]) for name, (value, source) in description.published.items()]
    better = "mean absolute error" if task.mode == "regression" else "balanced accuracy, more is better"
    print(f"{better} {description.unit}, mean over the folds")
    for value, name, source in sorted(lines, reverse=task.mode == "classification"):
        print(f"  {value:8.4g}  {name} [{source}]")


def main(arguments: list[str] | None = None) -> None:
    """Measure the tasks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["phonons"], metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--package", action="store_true", help="data and folds from the package matbench")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--plain", action="store_true", help="NEGNN without physics too")
    parser.add_argument("-o", "--output", type=Path, help="predictions, to go on from")
    parser.add_argument("--results", type=Path, help="the file of results of matbench")
    options = parser.parse_args(arguments)
    if options.package == (options.data is not None):
        parser.error("give either DATA or --package")
    warnings.filterwarnings("ignore")
    algorithm = {"algorithm": "NEGNN with physics", "package": f"deepchem_crystalssl {dcs.__version__}"}
    parameters = {"epochs": options.epochs, "seeds": options.seeds, "physics": True}
    results, done = Results(options.output), []
    benchmark = open_package(options.tasks) if options.package else None
    if benchmark is not None:
        benchmark.add_metadata(algorithm)
    for name in options.tasks:
        theirs = None if benchmark is None else benchmark.tasks_map[f"matbench_{name}"]
        task = read_task(options.data, name) if theirs is None else from_package(name, theirs)
        predictions = measure(task, results, options)
        if theirs is None:
            done.append(recorded(task, predictions, parameters))
        else:
            for k, predicted in enumerate(predictions):
                theirs.record(k, predicted, params=parameters)
        if options.results is not None:
            write_results(options.results, as_benchmark(done, algorithm) if benchmark is None else benchmark.as_dict())


if __name__ == "__main__":
    main()
