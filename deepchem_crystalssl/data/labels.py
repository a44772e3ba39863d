"""Labels: from the columns of a table to the y and w of a DeepChem dataset."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.formats.tables import ID_COLUMNS, as_ids, read_table, table_ids
from ..errors import LabelError, an_object, counted


def label_values(frame: pd.DataFrame, tasks: Sequence[str]) -> np.ndarray:
    """Return the labels of a table as numbers.

    Parameters
    ----------
    frame : pandas.DataFrame
    tasks : sequence of str
        Names of the columns of labels.

    Returns
    -------
    numpy.ndarray
        float (n, n_tasks); NaN where a label is missing or infinite.

    Raises
    ------
    LabelError
        If the table lacks one of the columns, has it twice, or holds something there that is not a number.

    Examples
    --------
    >>> label_values(pd.DataFrame({"gap": ["1.1", None], "is_metal": [False, True]}), ["gap", "is_metal"]).tolist()
    [[1.1, 0.0], [nan, 1.0]]
    """
    values = np.empty((len(frame), len(tasks)))
    for k, task in enumerate(tasks):
        column = _column(frame, task)
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
        not_numbers = np.flatnonzero(np.isnan(numbers) & column.notna().to_numpy())
        if len(not_numbers):
            row = int(not_numbers[0])
            raise LabelError(
                f"column {task!r}",
                f"{column.iloc[row]!r} in row {row}, {len(not_numbers)} such rows in all",
                "labels must be numbers",
                "Encode classes as 0, 1, ..., leave missing labels empty, or leave the column out.",
            )
        values[:, k] = np.where(np.isfinite(numbers), numbers, np.nan)
    return values


def _column(frame: pd.DataFrame, task: str) -> pd.Series:
    n_columns = list(frame.columns).count(task)
    if n_columns == 1:
        return frame[task]
    names = [str(column) for column in frame.columns]
    similar = get_close_matches(str(task), names, 1)
    remedy = f"Did you mean {similar[0]!r}? " if similar and not n_columns else ""
    raise LabelError(
        f"column {task!r}",
        counted(n_columns, "column of this name", "columns of this name") if n_columns else "no such column",
        "every task must be the name of one column of the table",
        f"{remedy}The columns are {', '.join(names)}.",
    )


def labels_by_id(labels: pd.DataFrame | pd.Series | str | Path, ids: Sequence[str] | np.ndarray) -> pd.DataFrame:
    """Return the labels of the crystals with these ids, matched by id and never by position.

    Parameters
    ----------
    labels : pandas.DataFrame, pandas.Series, str or Path
        A table of labels, or its file. The ids are in its column ``material_id``, ``id`` or ``name``, or else in its
        index; all other columns are labels.
    ids : sequence of str, (n,)

    Returns
    -------
    pandas.DataFrame
        n rows of float, one column for each task; NaN where a label is unknown.

    Raises
    ------
    LabelError
        If an id occurs twice among the labels, if no id occurs among the crystals, or if a label is not a number.

    Examples
    --------
    >>> labels_by_id(pd.DataFrame({"id": [8, 7], "gap": [0.6, 1.1]}), ["7", "9"])["gap"].tolist()
    [1.1, nan]
    """
    if isinstance(labels, str | Path):
        labels = read_table(labels)
    if isinstance(labels, pd.Series):
        labels = labels.to_frame("y" if labels.name is None else labels.name)
    if not isinstance(labels, pd.DataFrame):
        raise LabelError(
            "labels",
            an_object(labels),
            "labels must be a pandas DataFrame or Series with the ids of the crystals as index or column",
            "Make one, for example pandas.DataFrame({'material_id': ids, 'gap': gaps}).",
        )
    names = pd.Index(table_ids(labels) or as_ids(labels.index.tolist()))
    tasks = [column for column in labels.columns if column not in ID_COLUMNS]
    doubled = names[names.duplicated() & (names != "")]
    if len(doubled):
        raise LabelError(
            f"material_id {doubled[0]}",
            f"{counted(len(doubled), 'row')} of labels with the id of another row",
            "labels must have one row for each material_id",
            "Remove the doubled rows, or average them.",
        )
    values = label_values(labels, tasks)[names != ""]
    names = names[names != ""]  # a row without an id belongs to no crystal
    rows = names.get_indexer(pd.Index(as_ids(ids)))
    if len(names) and len(rows) and (rows < 0).all():
        raise LabelError(
            "labels",
            f"the labels are of {_some(names)}, the crystals are {_some(ids)}",
            "labels are matched by material_id",
            "Give the ids of the crystals as a column material_id or as the index.",
        )
    values = values[rows] if len(names) else np.full((len(rows), len(tasks)), np.nan)
    values[rows < 0] = np.nan
    return pd.DataFrame(values, columns=tasks)


def labels_and_weights(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return DeepChem's y and w: a label that is NaN becomes 0 with weight 0, a known one has weight 1."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0), known.astype(float)


def _some(ids: Any) -> str:
    return ", ".join(repr(str(name)) for name in ids[:3]) + (", ..." if len(ids) > 3 else "")
