"""Measure NEGNN and kernel ridge on the official folds of matbench's phonon set.

    python benchmarks/official_phonons.py DATA [--seeds 3] [--plain] [-o OUTPUT.json] [--results RESULTS.json.gz]

The five folds are those of matbench (Dunn et al., npj Comput. Mater. 6 (2020) 138): ``KFold(5, shuffle=True,
random_state=18012019)`` over the 1,265 rows in their order, told by the column ``row``; the table has 1,072 of them, so
that every model here learns from 15 % fewer labels than those on the board. Errors are means over the folds. NEGNN is
trained with its defaults for 100 epochs, once for each seed, with springs and tight binding; ``--plain`` trains it
without them too. The kernel ridge is the reader of the descriptor with weighed blocks.

Predictions are kept in OUTPUT.json after each fold, and a run that was interrupted goes on from there. RESULTS.json.gz
is the task of NEGNN's ensemble as matbench writes it (``MatbenchTask.as_dict``), fold by fold with identifiers,
predictions and scores; with rows missing, matbench itself refuses to validate it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
import warnings
from pathlib import Path

import deepchem as dc
import numpy as np
import pandas as pd
from pymatgen.core import Lattice, Structure
from sklearn.model_selection import KFold

import deepchem_crystalssl as dcs
from deepchem_crystalssl.evaluation.corrections import CorrectedRidge

EPOCHS = 100
TARGET = "last_phdos_peak"


def official_folds(row: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which of the rows are in the training and in the test part of each fold, as masks."""
    splits = KFold(5, shuffle=True, random_state=18012019).split(np.arange(1265))
    return [(np.isin(row, train), np.isin(row, test)) for train, test in splits]


class Results:
    """Predictions by method and fold, kept in a file.

    Parameters
    ----------
    path : Path, optional
        Without one, nothing is kept.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.known = json.loads(path.read_text()) if path is not None and path.exists() else {}

    def get(self, method: str, fold: int, compute) -> np.ndarray:
        """Predictions of a fold, computed if they are not known."""
        known = self.known.setdefault(method, {})
        if str(fold) not in known:
            known[str(fold)] = [round(float(value), 3) for value in compute()]
            if self.path is not None:
                self.path.with_suffix(".part").write_text(json.dumps(self.known))
                os.replace(self.path.with_suffix(".part"), self.path)
        return np.array(known[str(fold)])


def write_results(path: Path, row: np.ndarray, y: np.ndarray, error: np.ndarray, folds: list, parameters: dict) -> None:
    """Write a task of matbench; errors are in the order of the folds."""
    results, ends = {}, np.cumsum([test.sum() for _, test in folds])
    for k, ((_, test), part) in enumerate(zip(folds, np.split(error, ends[:-1]), strict=True)):
        ids = [f"mb-phonons-{number + 1:04d}" for number in row[test]]
        scores = {
            "mae": np.abs(part).mean(),
            "rmse": np.sqrt((part**2).mean()),
            "mape": np.abs(part / y[test]).mean(),
            "max_error": np.abs(part).max(),
        }
        results[f"fold_{k}"] = {
            "data": dict(zip(ids, np.round(y[test] + part, 3).tolist(), strict=True)),
            "parameters": parameters,
            "scores": {name: float(score) for name, score in scores.items()},
        }
    task = {"@module": "matbench.task", "@class": "MatbenchTask", "benchmark_name": "matbench_v0.1",
            "dataset_name": "matbench_phonons", "results": results}  # fmt: skip
    with gzip.open(path, "wt") as file:
        json.dump(task, file)


def main() -> None:
    """Print the errors of each method, fold by fold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")

    table = pd.read_parquet(options.data / "matbench_phonons.parquet")
    structures = [
        Structure(Lattice.from_parameters(*r.cell), r.Z, np.reshape(r.frac, (-1, 3))) for r in table.itertuples()
    ]
    y, folds = table[TARGET].to_numpy(), official_folds(table["row"].to_numpy())
    graphs = np.empty(len(y), object)
    graphs[:] = dcs.structures_to_graphs(structures, progress=False)
    systems = np.array([graph.chemical_system for graph in graphs])
    embedding = dcs.CrystalEmbedding(physics=True)
    columns = embedding.transform(structures)
    highest = dcs.model_physics(graphs, ["springs"], progress=False)[:, 0]
    results = Results(options.output)

    def network(seed: int, physics: bool, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        model = dcs.NEGNNModel(seed=seed, physics=physics)
        model.fit(dc.data.NumpyDataset(graphs[train], y[train]), nb_epoch=EPOCHS, progress=False)
        return model.predict(dc.data.NumpyDataset(graphs[test]))[:, 0]

    def ridge(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        reader = CorrectedRidge(dcs.LaplacianRidgeCV(blocks=embedding.blocks))
        reader.fit(columns[train], y[train], highest[train], systems[train])
        return reader.predict(columns[test], highest[test])

    methods = {"kernel ridge with physics": ridge}
    for physics in (True, False) if options.plain else (True,):
        for seed in range(options.seeds):
            name = f"NEGNN {'with' if physics else 'without'} physics, seed {seed}"
            methods[name] = lambda train, test, seed=seed, physics=physics: network(seed, physics, train, test)

    errors = {}
    for name, predict in methods.items():
        started = time.perf_counter()
        predictions = [results.get(name, k, lambda fold=fold: predict(*fold)) for k, fold in enumerate(folds)]
        errors[name] = np.concatenate([p - y[test] for p, (_, test) in zip(predictions, folds, strict=True)])
        print_line(name, errors[name], folds, f"{time.perf_counter() - started:.0f} s")
    for kind in ("with", "without"):
        of_kind = [error for name, error in errors.items() if name.startswith(f"NEGNN {kind} ")]
        if of_kind:
            each = [by_fold(error, folds).mean() for error in of_kind]
            name, spread = f"NEGNN {kind} physics", f"{min(each):.2f}-{max(each):.2f}"
            print(f"{name}, mean of {len(each)} seeds: {np.mean(each):.2f} ({spread}) 1/cm")
            print_line(f"{name}, their ensemble", np.mean(of_kind, axis=0), folds)
        if of_kind and kind == "with" and options.results:
            parameters = {"epochs": EPOCHS, "seeds": options.seeds, "physics": True}
            write_results(options.results, table["row"].to_numpy(), y, np.mean(of_kind, axis=0), folds, parameters)


def by_fold(error: np.ndarray, folds: list) -> np.ndarray:
    """Mean absolute error of each fold, of errors in the order of the folds."""
    ends = np.cumsum([test.sum() for _, test in folds])
    return np.array([np.abs(part).mean() for part in np.split(error, ends[:-1])])


def print_line(name: str, error: np.ndarray, folds: list, remark: str = "") -> None:
    """One method: mean over the folds, its interval of 95 % over the crystals, and the folds."""
    each, rng = by_fold(error, folds), np.random.default_rng(0)
    draws = np.abs(error)[rng.integers(len(error), size=(2000, len(error)))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    print(f"{name}: {each.mean():.2f} ({low:.1f}-{high:.1f}) 1/cm; folds {each.round(1).tolist()} {remark}", flush=True)


if __name__ == "__main__":
    main()
