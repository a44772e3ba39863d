"""Answers to many measured patterns, as a table and as a picture of phases over the patterns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .matches import Phase
from .pattern_answers import PatternAnswer

if TYPE_CHECKING:
    from .pictures import Picture

_COLUMNS = (
    "pattern", "phase", "material_id", "formula", "space_group", "weight_fraction", "weight_fraction_error",
    "probability", "cell_scale", "unexplained", "verdict",
)  # fmt: skip
_SHOWN = tuple(name for name in _COLUMNS if name not in ("verdict", "weight_fraction_error"))


class PatternSeries(Sequence[PatternAnswer | None]):
    """Answers to measured patterns, in the order of the patterns.

    Parameters
    ----------
    names : sequence of str
        Of the patterns.
    answers : sequence of PatternAnswer or None
        None for a pattern that could not be used.
    """

    def __init__(self, names: Sequence[str], answers: Sequence[PatternAnswer | None]):
        self.names, self._answers = tuple(names), tuple(answers)

    def __getitem__(self, at: Any) -> Any:
        return self._answers[at]

    def __len__(self) -> int:
        return len(self._answers)

    def to_frame(self) -> pd.DataFrame:
        """One row for each phase of each pattern, and one for each pattern that could not be used.

        Where nothing fits, the row has the nearest crystal with its low probability, and the verdict says so.
        """
        rows: list[tuple[Any, ...]] = []
        for name, answer in zip(self.names, self, strict=True):
            if answer is None:
                rows.append((name, None, None, None, None, None, None, None, None, None, "The pattern cannot be used."))
                continue
            for number, phase in enumerate(answer.phases, start=1):
                rows.append(
                    (
                        name, number, phase.material_id, phase.formula, phase.space_group, phase.weight_fraction,
                        phase.weight_fraction_error, phase.probability, phase.cell_scale, answer.unexplained,
                        answer.verdict,
                    )
                )  # fmt: skip
        table = pd.DataFrame(rows, columns=list(_COLUMNS))
        return table.astype({"phase": "Int64", "space_group": "Int64"})

    def weight_fractions(self) -> pd.DataFrame:
        """Weight fraction of each compound, that is formula and space group, in each pattern.

        Returns
        -------
        pandas.DataFrame
            One row for each pattern and one column for each compound, that with the largest sum first; 0 where a
            compound is not found, NaN where a pattern could not be used or nothing fits.
        """
        rows: list[dict[str, float]] = []
        known = [answer is not None and not answer.nothing_fits for answer in self]
        for answer, fits in zip(self, known, strict=True):
            row: dict[str, float] = {}
            for phase in answer.phases if answer is not None and fits else ():
                row[_kind(phase)] = row.get(_kind(phase), 0.0) + phase.weight_fraction
            rows.append(row)
        table = pd.DataFrame(rows, index=pd.Index(self.names, name="pattern"))
        table = table.fillna(0.0)
        table.loc[~np.array(known, bool)] = np.nan
        return table[table.sum().sort_values(ascending=False, kind="stable").index]

    def plot(self) -> Picture:
        """Draw the patterns beside each other, and below them the weight fractions of their phases."""
        from .pictures import draw_series

        kept = [answer for answer in self if answer is not None]
        heights = [(answer.two_theta, answer.measured / answer.measured.max()) for answer in kept]
        used = [answer is not None for answer in self]
        return draw_series(heights, np.flatnonzero(used), self.weight_fractions())

    def __repr__(self) -> str:
        return self.to_frame().drop(columns="verdict").to_string(index=False, float_format="{:.4g}".format)

    def _repr_html_(self) -> str:
        from .displays import table_html

        return table_html(self.to_frame(), _SHOWN)


def name_of(item: Any, number: int) -> str:
    """The name of a file, or the number of a pattern that is none."""
    return Path(item).name if isinstance(item, str | os.PathLike) else f"pattern {number}"


def _kind(phase: Phase) -> str:
    return phase.formula if phase.space_group is None else f"{phase.formula}, {phase.space_group}"
