"""The log of a training, and the decision when to stop it early."""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.checksums import SEAL, check_regular, read_regular, replacing
from ..errors import CheckpointError, counted
from ..evaluation.metrics import alignment, retrieval_recall, spread, uniformity
from .checkpoints import forget_log_line, log_line_of

logger = logging.getLogger(__name__)

LOG = "training_log.jsonl"
_LONGEST_LINE = 65_536
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
    looks as if the run had never stopped. Each line has a checksum of itself and of the line before it. A training goes
    on without lines that cannot be read, and says so; who reads the log gets an error.

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
        self._last: str | None = None  # checksum of the last line, once it is known

    def rewind(self, step: int) -> None:
        """Remove the lines that were written after a step."""
        rows = self._readable()
        if self._writes and self.path.is_file():
            lines, last = [], ""
            for row in rows:
                if row["step"] <= step:
                    lines.append(_line(row, last))
                    last = _seal(row, last)
            try:
                with replacing(self.path) as part:
                    part.write_text("".join(lines), encoding="utf-8")
            except OSError as error:
                self._give_up(error)
            self._last = last
            if not self._is_complete([_parsed(line.encode(), "")[1] for line in lines]):
                forget_log_line(self.path.parent)

    def _is_complete(self, sums: Sequence[str]) -> bool:
        """Whether the line is there that the log ended with when the newest checkpoint was written."""
        needed = log_line_of(self.path.parent)
        return not needed or needed in sums

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
        row = {key: round(float(value), 6) for key, value in numbers.items()}
        try:
            if self._last is None:
                found = self._entries()
                self._last = found[-1][1] if found else ""
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8", opener=_open_no_link) as file:
                file.write(_line(row, self._last))
            self._last = _seal(row, self._last)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """A training does not end because its log cannot be written."""
        logger.warning("%s cannot be written (%s); the training goes on without a log", self.path, error.strerror)
        self._writes = False

    def _entries(self) -> list[tuple[dict[str, float] | None, str]]:
        """The complete lines, None for one that is not what was written, and their checksums.

        The last line of a run that was killed may be incomplete.
        """
        if not self.path.exists():
            return []
        found: list[tuple[dict[str, float] | None, str]] = []
        last, lines = "", read_regular(self.path).split(b"\n")
        for number, line in enumerate(lines):
            if number == len(lines) - 1 and not line.endswith(b"}"):
                break
            row, own = _parsed(line, last)
            found.append((row, own))
            last = own
        return found

    def _readable(self) -> list[dict[str, float]]:
        """The lines that can be read, for a training; how many others there are is logged."""
        try:
            entries = self._entries()
        except OSError as error:
            logger.warning("%s cannot be read (%s)", self.path, error.strerror)
            return []
        rows = [row for row, _ in entries if row is not None]
        if len(rows) < len(entries):
            logger.warning("%s: %s cannot be read", self.path, counted(len(entries) - len(rows), "line"))
        elif not self._is_complete([own for _, own in entries]):
            logger.warning("%s: %s", self.path, _INCOMPLETE)
        return rows

    def _rows(self) -> list[dict[str, float]]:
        """All lines.

        Raises
        ------
        CheckpointError
            If one of them is not what was written.
        """
        try:
            entries = self._entries()
        except OSError as error:
            raise CheckpointError(str(self.path), f"cannot be read ({error.strerror})", _RULE, _REMEDY) from error
        rows = [row for row, _ in entries if row is not None]
        if len(rows) < len(entries):
            number = [row for row, _ in entries].index(None) + 1
            raise CheckpointError(str(self.path), f"line {number} is damaged", _RULE, _REMEDY)
        if not self._is_complete([own for _, own in entries]):
            raise CheckpointError(str(self.path), _INCOMPLETE, _RULE, _REMEDY)
        return rows

    def to_frame(self) -> pd.DataFrame:
        """Return the whole log as a table, with one row per line.

        Raises
        ------
        CheckpointError
            If a line is not what was written, or lines that were there at the newest checkpoint are missing.
        """
        return pd.DataFrame(self._rows())

    def scores(self, name: str) -> list[tuple[int, float]]:
        """Return the pairs (step, value) of one validation number, in order, of the lines that can be read."""
        name = f"validation {name}"
        return [(int(row["step"]), row[name]) for row in self._readable() if name in row]


def _open_no_link(path: str, flags: int) -> int:
    """Open a file for writing, but not one that a link leads to, which someone may have put there."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


_RULE = "a line of the log is what the training wrote"
_REMEDY = "Copy the file again; a training that goes on writes it again from the lines that can be read."


_INCOMPLETE = "cut or missing, or the log of another training"


_SEALED = re.compile(rb'"%s": "([0-9a-f]{8})"}$' % SEAL.encode())


def last_line(path: Path) -> str:
    """Checksum of the last line of a log, nothing if there is none."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LONGEST_LINE))
            found = _SEALED.search(file.read().rstrip(b"\n"))
    except OSError:
        return ""
    return found[1].decode() if found else ""


def _seal(row: Mapping[str, float], last: str) -> str:
    return f"{zlib.crc32((last + json.dumps(row, sort_keys=True)).encode()):08x}"


def _line(row: Mapping[str, float], last: str) -> str:
    return json.dumps({**row, SEAL: _seal(row, last)}) + "\n"


def _parsed(line: bytes, last: str) -> tuple[dict[str, float] | None, str]:
    """The numbers of a line, None if they are not what was written, and its checksum; earlier versions wrote none."""
    found = _SEALED.search(line)
    own = found[1].decode() if found else ""
    try:
        row = json.loads(line.decode("utf-8"))
        row.pop(SEAL, None)
        are_numbers = all(isinstance(value, int | float) for value in row.values()) and "step" in row
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None, own
    return (row if are_numbers and own in ("", _seal(row, last)) else None), own


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
