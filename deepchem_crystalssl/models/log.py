"""The log of a training, and the decision when to stop it early."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.metrics import alignment, retrieval_recall, spread, uniformity

LOG = "training_log.jsonl"
"""Name of the log file in ``model_dir``."""


def validation_metrics(
    crystals: np.ndarray, patterns: np.ndarray | None = None, groups: np.ndarray | None = None
) -> dict[str, float]:
    """Measure the quality of the vectors of crystals that were not used in training.

    Parameters
    ----------
    crystals : numpy.ndarray
        Vectors of the crystals, (n, F).
    patterns : numpy.ndarray, optional
        Vectors of the patterns of the same crystals in the same order, (n, F).
    groups : numpy.ndarray, optional
        Group of each crystal, (n,). Duplicates have the same group, as in
        :func:`~deepchem_crystalssl.evaluation.metrics.duplicate_groups`.

    Returns
    -------
    dict from str to float
        ``spread`` and ``uniformity`` of the crystals. Both are 0 if all vectors are the same (collapse). With patterns
        also the ``alignment`` of each crystal with its pattern, the recall of a search for crystals by patterns
        (``recall@1``, ``recall@10``), and that of a search for patterns by crystals (``crystal_to_xrd@1``).
    """
    numbers = {"spread": spread(crystals), "uniformity": uniformity(crystals)}
    if patterns is not None:
        found = retrieval_recall(patterns, crystals, (1, 10), groups)
        back = retrieval_recall(crystals, patterns, (1,), groups)
        numbers |= {"recall@1": found[1], "recall@10": found[10], "crystal_to_xrd@1": back[1]}
        numbers["alignment"] = alignment(crystals, patterns)
    return numbers


class TrainingLog:
    """A log file of JSON lines beside the checkpoints, with one line per logging interval and one per validation.

    A run that continues from a checkpoint removes the lines that were written after this checkpoint, so that the file
    looks as if the run had never stopped.

    Parameters
    ----------
    path : str or Path
        The log file. It is created when the first line is written.
    writes : bool
        Whether this process writes to the file; of several that train together, the first one does.
    """

    def __init__(self, path: str | Path, writes: bool = True):
        self.path = Path(path)
        self._writes = writes
        self._sums: dict[str, Any] = {}
        self._count = 0

    def rewind(self, step: int) -> None:
        """Remove the lines that were written after a step."""
        kept = [line for line in self._lines() if json.loads(line)["step"] <= step]
        if self._writes and self.path.exists():
            self.path.write_text("".join(line + "\n" for line in kept))

    def add(self, losses: Mapping[str, Any]) -> None:
        """Add the losses of one step to the running means."""
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + loss
        self._count += 1

    def write_means(self, step: int, **numbers: float) -> None:
        """Write the mean losses since the last call, together with other numbers."""
        if self._count:
            means = {name: float(total) / self._count for name, total in self._sums.items()}
            self._write({"step": step, **numbers, **means})
            self._sums, self._count = {}, 0

    def write_validation(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of a validation."""
        self._write({"step": step, **{f"validation {name}": value for name, value in numbers.items()}})

    def _write(self, numbers: dict[str, float]) -> None:
        if not self._writes:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({key: round(float(value), 6) for key, value in numbers.items()}) + "\n")

    def _lines(self) -> list[str]:
        """Return the complete lines. The last line of a run that was killed may be incomplete."""
        if not self.path.exists():
            return []
        return [line for line in self.path.read_text().splitlines() if line.endswith("}")]

    def to_frame(self) -> pd.DataFrame:
        """Return the whole log as a table, with one row per line."""
        return pd.DataFrame([json.loads(line) for line in self._lines()])

    def scores(self, name: str) -> list[tuple[int, float]]:
        """Return the pairs (step, value) of one validation number, in order."""
        rows = [json.loads(line) for line in self._lines()]
        return [(row["step"], row[f"validation {name}"]) for row in rows if f"validation {name}" in row]


@dataclass(frozen=True)
class EarlyStopping:
    """Decide by the validations in a log whether a training should stop.

    The score of a validation is ``recall@1`` (higher is better). If the log has no recall, it is the validation loss
    (lower is better).

    Parameters
    ----------
    log : TrainingLog
        The log of the training.
    patience : int, optional
        The training is over after this many validations without a better score. With None it never stops early.
    since : int
        Step at which this run began. Only validations after it count, because earlier ones belong to another run.
    """

    log: TrainingLog
    patience: int | None = None
    since: int = 0

    @property
    def _scores(self) -> dict[int, float]:
        """The score of each validation by its step; higher is better."""
        scores = self.log.scores("recall@1") or [(step, -loss) for step, loss in self.log.scores("loss")]
        return {step: score for step, score in scores if step > self.since}

    @property
    def best_step(self) -> int | None:
        """Step of the best validation (the first one if several are equal), or None before the first validation."""
        scores = self._scores
        return max(scores, key=scores.__getitem__, default=None)

    @property
    def is_over(self) -> bool:
        """Whether the last ``patience`` validations were not better than an earlier one."""
        best = self.best_step
        return (
            best is not None
            and self.patience is not None
            and len([s for s in self._scores if s > best]) >= self.patience
        )
