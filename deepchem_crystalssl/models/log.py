"""How a training goes: what it writes down, and when it has learned enough."""

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
"""The file of the log in ``model_dir``."""


def validation_metrics(
    crystals: np.ndarray, patterns: np.ndarray | None = None, groups: np.ndarray | None = None
) -> dict[str, float]:
    """What vectors of unseen crystals, and of their patterns, tell about a training.

    Parameters
    ----------
    crystals : numpy.ndarray
        (n, F).
    patterns : numpy.ndarray, optional
        (n, F), row by row of the same crystals.
    groups : numpy.ndarray, optional
        (n,), duplicates, as :func:`~deepchem_crystalssl.evaluation.metrics.duplicate_groups` finds them.

    Returns
    -------
    dict from str to float
        ``spread`` and ``uniformity`` of the crystals (0 is collapse for both); with patterns also ``alignment`` of the
        pairs and recall from pattern to crystal (``recall@1``, ``recall@10``) and back (``crystal_to_xrd@1``).
    """
    numbers = {"spread": spread(crystals), "uniformity": uniformity(crystals)}
    if patterns is not None:
        found = retrieval_recall(patterns, crystals, (1, 10), groups)
        back = retrieval_recall(crystals, patterns, (1,), groups)
        numbers |= {"recall@1": found[1], "recall@10": found[10], "crystal_to_xrd@1": back[1]}
        numbers["alignment"] = alignment(crystals, patterns)
    return numbers


class TrainingLog:
    """Lines of JSON beside the checkpoints, one per interval and one per validation.

    A run that goes on from a checkpoint forgets what was written after it, so that the file reads as if the run had
    never stopped.

    Parameters
    ----------
    path : str or Path
        The file; made when first written to.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._sums: dict[str, Any] = {}
        self._count = 0

    def rewind(self, step: int) -> None:
        """Forget what came after a step."""
        kept = [line for line in self._lines() if json.loads(line)["step"] <= step]
        if self.path.exists():
            self.path.write_text("".join(line + "\n" for line in kept))

    def add(self, losses: Mapping[str, Any]) -> None:
        """Add one step's losses to the running means."""
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + loss
        self._count += 1

    def write_means(self, step: int, **numbers: float) -> None:
        """Write the mean losses since the last time, and other numbers."""
        if self._count:
            means = {name: float(total) / self._count for name, total in self._sums.items()}
            self._write({"step": step, **numbers, **means})
            self._sums, self._count = {}, 0

    def write_validation(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of a validation."""
        self._write({"step": step, **{f"validation {name}": value for name, value in numbers.items()}})

    def _write(self, numbers: dict[str, float]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({key: round(float(value), 6) for key, value in numbers.items()}) + "\n")

    def _lines(self) -> list[str]:
        """Complete lines; the last one of a killed run may be torn."""
        if not self.path.exists():
            return []
        return [line for line in self.path.read_text().splitlines() if line.endswith("}")]

    def to_frame(self) -> pd.DataFrame:
        """Everything written, one row per line, by step."""
        return pd.DataFrame([json.loads(line) for line in self._lines()])

    def scores(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of a validation number, in order."""
        rows = [json.loads(line) for line in self._lines()]
        return [(row["step"], row[f"validation {name}"]) for row in rows if f"validation {name}" in row]


@dataclass(frozen=True)
class EarlyStopping:
    """When a training has learned enough, judged by the validations in its log.

    The score is recall@1, or the loss, the less the better, where nothing is retrieved.

    Parameters
    ----------
    log : TrainingLog
    patience : int, optional
        Validations without a better one before it is over; None is without end.
    since : int
        Earlier steps in the log belong to another run.
    """

    log: TrainingLog
    patience: int | None = None
    since: int = 0

    @property
    def _scores(self) -> dict[int, float]:
        """The better, the higher; by step."""
        scores = self.log.scores("recall@1") or [(step, -loss) for step, loss in self.log.scores("loss")]
        return {step: score for step, score in scores if step > self.since}

    @property
    def best_step(self) -> int | None:
        """The step of the best validation, the first of equals; None before the first."""
        scores = self._scores
        return max(scores, key=scores.__getitem__, default=None)

    @property
    def is_over(self) -> bool:
        """Whether the last ``patience`` validations were no better than one before them."""
        best = self.best_step
        return (
            best is not None
            and self.patience is not None
            and len([s for s in self._scores if s > best]) >= self.patience
        )
