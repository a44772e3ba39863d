"""Read the tasks of matbench, split them into its folds, score predictions, and write its file of results.

The protocol is that of Dunn et al., npj Comput. Mater. 6 (2020) 138: five folds over all crystals in their order, and
the mean of a score over the five test parts. Crystals are called ``mb-phonons-0001``, ``mb-phonons-0002``, ..., with as
many digits as the number of crystals has.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pymatgen.core import Lattice, Structure
from sklearn import metrics
from sklearn.model_selection import KFold, StratifiedKFold

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.formats.convert import to_crystal
from deepchem_crystalssl.errors import CrystalInputError, LabelError

Mode = Literal["regression", "classification"]
Folds = list[tuple[np.ndarray, np.ndarray]]

BOARD = "board"
SOURCES = {
    BOARD: "leaderboard of matbench v0.1, matbench.materialsproject.org",
    "Du 2024": "Du et al., DenseGNN, npj Comput. Mater. 10 (2024) 292",
    "Shoghi 2024": "Shoghi et al., JMP, ICLR 2024 (arXiv 2310.16802); trained on 120 million labelled systems before",
}


@dataclass(frozen=True)
class Description:
    """What is known of a task.

    Attributes
    ----------
    size : int
        Crystals of the official set.
    unit : str
        Of the labels.
    published : dict from str to (float, str)
        Mean score over the folds, and the key of its source in ``SOURCES``.
    mode : {"regression", "classification"}
        The score is the mean absolute error, or the balanced accuracy. The board calls the latter ROCAUC: matbench
        computes that area from classes, where it is the balanced accuracy.
    """

    size: int
    unit: str
    published: dict[str, tuple[float, str]]
    mode: Mode = "regression"


TASKS = {
    "phonons": Description(
        1265,
        "1/cm",
        {
            "JMP-L": (20.6, "Shoghi 2024"),
            "DenseNGN": (23.5, "Du 2024"),
            "MegNet": (28.8, BOARD),
            "coNGN": (28.9, BOARD),
            "ALIGNN": (29.5, BOARD),
            "MODNet": (34.3, BOARD),
            "CGCNN": (57.8, BOARD),
        },
    ),
    "log_kvrh": Description(
        10987,
        "log10 GPa",
        {
            "DenseNGN": (0.0464, "Du 2024"),
            "coNGN": (0.0491, BOARD),
            "coGN": (0.0535, BOARD),
            "MODNet": (0.0548, BOARD),
            "ALIGNN": (0.0568, BOARD),
            "CGCNN": (0.0712, BOARD),
        },
    ),
    "log_gvrh": Description(
        10987,
        "log10 GPa",
        {
            "DenseNGN": (0.0654, "Du 2024"),
            "coNGN": (0.0670, BOARD),
            "coGN": (0.0689, BOARD),
            "ALIGNN": (0.0715, BOARD),
            "MODNet": (0.0731, BOARD),
            "CGCNN": (0.0895, BOARD),
        },
    ),
    "dielectric": Description(
        4764,
        "(refractive index)",
        {
            "MODNet": (0.271, BOARD),
            "coGN": (0.309, BOARD),
            "coNGN": (0.314, BOARD),
            "ALIGNN": (0.345, BOARD),
            "CGCNN": (0.599, BOARD),
        },
    ),
    "jdft2d": Description(
        636,
        "meV/atom",
        {
            "MODNet": (33.2, BOARD),
            "coNGN": (36.2, BOARD),
            "coGN": (37.2, BOARD),
            "ALIGNN": (43.4, BOARD),
            "CGCNN": (49.2, BOARD),
        },
    ),
    "perovskites": Description(
        18928,
        "eV/cell",
        {
            "coGN": (0.0269, BOARD),
            "ALIGNN": (0.0288, BOARD),
            "coNGN": (0.0290, BOARD),
            "CGCNN": (0.0452, BOARD),
            "MODNet": (0.0908, BOARD),
        },
    ),
    "mp_gap": Description(
        106113,
        "eV",
        {
            "coGN": (0.156, BOARD),
            "coNGN": (0.170, BOARD),
            "ALIGNN": (0.186, BOARD),
            "MODNet": (0.220, BOARD),
            "CGCNN": (0.297, BOARD),
        },
    ),
    "mp_e_form": Description(
        132752,
        "eV/atom",
        {"coGN": (0.0170, BOARD), "ALIGNN": (0.0215, BOARD), "CGCNN": (0.0337, BOARD), "MODNet": (0.0448, BOARD)},
    ),
    "mp_is_metal": Description(
        106113,
        "",
        {"CGCNN": (0.952, BOARD), "ALIGNN": (0.913, BOARD), "coGN": (0.912, BOARD), "MODNet": (0.904, BOARD)},
        "classification",
    ),
}


@dataclass(frozen=True)
class Task:
    """The crystals of a task that are at hand, n of them.

    Attributes
    ----------
    name : str
        A key of ``TASKS``.
    crystals : list of Crystal or CrystalInputError
        An error stands for a crystal that cannot be read.
    y : numpy.ndarray
        Labels, (n,); 0 and 1 for classes.
    row : numpy.ndarray
        Positions in the official order, from 0, (n,).
    size : int
        Crystals of the whole set, of which n are at hand.
    """

    name: str
    crystals: list
    y: np.ndarray
    row: np.ndarray
    size: int

    @property
    def mode(self) -> Mode:
        """Regression or classification."""
        return TASKS[self.name].mode

    @cached_property
    def ids(self) -> np.ndarray:
        """Identifiers of matbench."""
        return np.array(identifiers(self.name, self.size), object)[self.row]

    @cached_property
    def folds(self) -> Folds:
        """Which of the crystals are in the training and in the test part of each fold, as masks."""
        if self.mode == "classification":
            splits = StratifiedKFold(5, shuffle=True, random_state=18012019).split(self.y, self.y)
        else:
            splits = KFold(5, shuffle=True, random_state=18012019).split(np.arange(self.size))
        return [(np.isin(self.row, train), np.isin(self.row, test)) for train, test in splits]


def identifiers(name: str, size: int) -> list[str]:
    """The identifiers of a whole set, in its order.

    Examples
    --------
    >>> identifiers("log_kvrh", 10987)[:2]
    ['mb-log-kvrh-00001', 'mb-log-kvrh-00002']
    """
    return [f"mb-{name.replace('_', '-')}-{k + 1:0{len(str(size))}d}" for k in range(size)]


def read_task(folder: Path, name: str) -> Task:
    """Read a task from a folder: the file of matminer, or for phonons the table of 1,072 of the 1,265 crystals.

    Raises
    ------
    FileNotFoundError
        If the folder has neither.
    """
    official, table = folder / f"matbench_{name}.json.gz", folder / "matbench_phonons.parquet"
    if official.exists():
        return read_official(official, name)
    if name == "phonons" and table.exists():
        frame = pd.read_parquet(table)
        structures = (
            Structure(Lattice.from_parameters(*r.cell), r.Z, np.reshape(r.frac, (-1, 3))) for r in frame.itertuples()
        )
        return make_task(name, structures, frame["last_phdos_peak"], frame["row"].to_numpy(), TASKS[name].size)
    raise FileNotFoundError(f"{official} is not there; docs/matbench.md says where the files of matbench come from")


def read_official(path: Path, name: str) -> Task:
    """Read the whole set from the file that matminer's ``load_dataset`` fetches."""
    with gzip.open(path, "rt") as file:
        table = json.load(file, object_hook=_read_early)
    frame = pd.DataFrame(table["data"], columns=table["columns"], index=table["index"])
    return from_frame(name, frame)


def from_frame(name: str, frame: pd.DataFrame) -> Task:
    """A task of a table with the whole set in its order: a column of structures and one of labels."""
    (target,) = frame.columns.drop("structure")
    return make_task(name, frame["structure"], frame[target], np.arange(len(frame)), len(frame))


def make_task(name: str, structures: Any, y: Any, row: np.ndarray, size: int) -> Task:
    """A task whose crystals bear the identifiers of matbench.

    Raises
    ------
    LabelError
        If a label is missing, or a class is neither 0 nor 1.
    """
    y = np.asarray(y, float)
    known = np.isin(y, (0, 1)) if TASKS[name].mode == "classification" else np.isfinite(y)
    ids = np.array(identifiers(name, size), object)[row]
    if not known.all():
        raise LabelError(ids[~known][0], y[~known][0])
    return Task(name, [_read(entry, name) for entry, name in zip(structures, ids, strict=True)], y, row, size)


def _read_early(entry: dict) -> Any:
    """A crystal in place of its dict, which takes many times its memory; a dict that is none is left for later."""
    if entry.get("@class") == "Structure":
        try:
            return to_crystal(entry)
        except CrystalInputError:
            pass
    return entry


def _read(entry: Any, name: str) -> dcs.Crystal | CrystalInputError:
    try:
        return replace(to_crystal(entry, name), material_id=name)
    except CrystalInputError as error:
        error.item = name
        return error


def open_package(names: Sequence[str]) -> Any:
    """Open tasks with the package matbench, which is no dependency and has to be installed; it fetches the data.

    Returns
    -------
    matbench.bench.MatbenchBenchmark
    """
    here, path = Path(__file__).resolve().parent, sys.path
    sys.path = [entry for entry in path if Path(entry).resolve() != here]  # a script there has the package's name
    try:
        from matbench.bench import MatbenchBenchmark
    finally:
        sys.path = path
    return MatbenchBenchmark(autoload=False, subset=[f"matbench_{name}" for name in names])


def from_package(name: str, task: Any) -> Task:
    """Read a task of the package, and check that its folds are ours.

    Raises
    ------
    ValueError
        If a fold differs.
    """
    task.load()
    read = from_frame(name, task.df)
    for k, (train, test) in enumerate(read.folds):
        parts = task.validation[f"fold_{k}"]
        if read.ids[test].tolist() != list(parts["test"]) or read.ids[train].tolist() != list(parts["train"]):
            raise ValueError(f"fold {k} of matbench_{name} in the package differs from the one computed here")
    return read


def score(mode: Mode, y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The scores that matbench computes, of one fold; the first of each list is that of its board.

    Parameters
    ----------
    mode : {"regression", "classification"}
    y : numpy.ndarray
        Labels, (n,).
    predicted : numpy.ndarray
        Values, or probabilities of class 1, (n,).

    Returns
    -------
    dict from str to float
        ``mae``, ``rmse``, ``mape`` (of labels that are not 0) and ``max_error``; or ``rocauc``, ``accuracy``,
        ``balanced_accuracy`` and ``f1``, all of the classes.
    """
    if mode == "classification":
        true, found = y > 0.5, predicted > 0.5
        kinds = {"rocauc": metrics.roc_auc_score, "accuracy": metrics.accuracy_score,
                 "balanced_accuracy": metrics.balanced_accuracy_score, "f1": metrics.f1_score}  # fmt: skip
        return {kind: float(function(true, found)) for kind, function in kinds.items()}
    error, counts = np.abs(predicted - y), np.abs(y) > 1e-5
    return {
        "mae": float(error.mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "mape": float((error[counts] / np.abs(y[counts])).mean()),
        "max_error": float(error.max()),
    }


def recorded(task: Task, predictions: list[np.ndarray], parameters: dict) -> dict[str, Any]:
    """A task of matbench with its predictions, one array for each fold, as ``MatbenchTask.as_dict`` writes it."""
    results = {}
    for k, ((_, test), predicted) in enumerate(zip(task.folds, predictions, strict=True)):
        results[f"fold_{k}"] = {
            "data": dict(zip(task.ids[test].tolist(), predicted.tolist(), strict=True)),
            "uncertainty": None,
            "parameters": parameters,
            "scores": score(task.mode, task.y[test], predicted),
        }
    return {"@module": "matbench.task", "@class": "MatbenchTask", "benchmark_name": "matbench_v0.1",
            "dataset_name": f"matbench_{task.name}", "results": results}  # fmt: skip


def as_benchmark(tasks: list[dict[str, Any]], algorithm: dict) -> dict[str, Any]:
    """The content of a file of results, as ``MatbenchBenchmark.as_dict`` of matbench 0.6 writes it.

    Its hash is that of the text of everything else, with sorted keys.
    """
    content = {
        "@module": "matbench.bench",
        "@class": "MatbenchBenchmark",
        "version": "0.6",
        "tasks": {task["dataset_name"]: task for task in tasks},
        "user_metadata": algorithm,
        "benchmark_name": "matbench_v0.1",
        "datestamp": datetime.now(UTC).strftime("%Y.%m.%d %H:%M.%S"),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {**content, "hash": digest}


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Write the content of a file of results, compressed if its name ends in ``.gz``."""
    text = json.dumps(content).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
