"""Labels of crystals or sites: the one path from a data set's y and w to what a model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import LabelError, counted
from ..nn.negnn import Mode, PredictionLevel


def site_labels(values: Sequence[Any]) -> np.ndarray:
    """Collect the labels of sites in one object array, with one array per crystal.

    NumPy alone would stack the arrays of crystals with equally many sites into a matrix.

    Parameters
    ----------
    values : sequence of array-like
        (N,) or (N, n_tasks) for each crystal of N sites, NaN where unknown.

    Returns
    -------
    numpy.ndarray
        (n,) object.

    Examples
    --------
    >>> site_labels([[0.1, 2.0], [1.0, float("nan")]]).shape
    (2,)
    """
    labels = np.empty(len(values), object)
    for k, of_crystal in enumerate(values):
        labels[k] = np.asarray(of_crystal, float)
    return labels


@dataclass(frozen=True)
class LabelReader:
    """Reads and checks labels.

    A label that is NaN or infinite, or whose weight is 0, is unknown: it gets the value 0 and the weight 0, so that it
    has no part in any sum. All others must be labels of the task at hand.

    Parameters
    ----------
    mode : {"regression", "classification"}
    n_tasks : int
        Columns.
    n_classes : int
        Of a classification: the labels are the whole numbers from 0 to ``n_classes - 1``.
    level : {"crystal", "site"}
        Whether there is one row per crystal or one array per crystal, with a row per site.

    Examples
    --------
    >>> values, weights = LabelReader("regression", 1, 2, "crystal").read([1.5, float("nan")], [1.0, 1.0])
    >>> values.tolist(), weights.tolist()
    ([[1.5], [0.0]], [[1.0], [0.0]])
    """

    mode: Mode
    n_tasks: int
    n_classes: int
    level: PredictionLevel

    def read(self, y: Any, w: Any, n_sites: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Values and weights, float32 (B, n_tasks), or (A, n_tasks) for sites.

        Parameters
        ----------
        y, w : array-like
            Labels and weights as a data set holds them.
        n_sites : sequence of int, optional
            Sites of each crystal, where sites are labelled.

        Raises
        ------
        LabelError
            If the shape is not that of the tasks, a weight is no number of at least 0, or a class does not exist.
        """
        values, weights = self.read_arrays(y, w, n_sites)
        return torch.as_tensor(values, dtype=torch.float32), torch.as_tensor(weights, dtype=torch.float32)

    def read_arrays(self, y: Any, w: Any, n_sites: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The same as arrays of float64."""
        if self.level == "site":
            values, weights = self._of_sites(y, w, n_sites)
        else:
            values = self._table(y, len(y), "y")
            weights = self._spread(w, values, "w")
        with np.errstate(over="ignore"):
            known = np.isfinite(values.astype(np.float32)) & (weights != 0)
        self._check_weights(weights[np.isfinite(values)])
        self._check_classes(values[known])
        return np.where(known, values, 0.0), np.where(known, weights, 0.0)

    def read_known(self, y: Any, w: Any, n_sites: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """The same of a whole data set.

        Raises
        ------
        LabelError
            Also if it holds no known label at all.
        """
        values, weights = self.read(y, w, n_sites)
        if not bool((weights > 0).any()):
            raise LabelError(
                "w",
                "every weight is 0",
                "a model that learns from labels needs at least one known label",
                "Give the data set y, and weights above 0 (DeepChem gives data without y the weight 0).",
            )
        return values, weights

    def _table(self, values: Any, n_rows: int, item: str) -> np.ndarray:
        """Labels as floats (n_rows, n_tasks)."""
        try:
            table = np.asarray(values, float)
        except (TypeError, ValueError) as error:
            raise LabelError(item, str(error), remedy="Give numbers; for sites see level and site_labels.") from error
        table = table[:, None] if table.ndim == 1 else np.atleast_2d(table)
        if table.shape != (n_rows, self.n_tasks):
            unit = "site" if self.level == "site" else "crystal"
            raise LabelError(
                item,
                f"shape {np.shape(values)} for {counted(n_rows, unit)} and n_tasks={self.n_tasks}",
                f"labels have one row per {unit} and {counted(self.n_tasks, 'column')}, one per task",
                "Set n_tasks to the number of columns, or level='site' with site_labels for labels of sites.",
            )
        return table

    def _spread(self, weights: Any, values: np.ndarray, item: str) -> np.ndarray:
        """Weights of the shape of the labels; one column counts for all tasks."""
        try:
            table = np.asarray(weights, float)
            return np.broadcast_to(table[:, None] if table.ndim == 1 else table, values.shape)
        except (TypeError, ValueError) as error:
            raise LabelError(
                item,
                f"shape {np.shape(weights)} for labels of shape {values.shape}",
                "weights have one row per label, and one column or one per task",
                "Correct w, or leave it out.",
            ) from error

    def _of_sites(self, y: Any, w: Any, n_sites: Sequence[int] | None) -> tuple[np.ndarray, np.ndarray]:
        assert n_sites is not None
        values, weights = [], []
        for k, (of_crystal, weight, n) in enumerate(zip(y, w, n_sites, strict=True)):
            values.append(self._table(np.atleast_1d(np.asarray(of_crystal)), n, f"y of crystal {k}"))
            weights.append(self._spread(np.atleast_1d(weight), values[-1], f"w of crystal {k}"))
        return np.concatenate(values), np.concatenate(weights)

    def _check_weights(self, weights: np.ndarray) -> None:
        wrong = weights[~(np.isfinite(weights) & (weights >= 0))]
        if len(wrong):
            raise LabelError("w", wrong[0], "weights are finite numbers of at least 0", "Correct w.")

    def _check_classes(self, values: np.ndarray) -> None:
        if self.mode != "classification":
            return
        wrong = values[(values != np.round(values)) | (values < 0) | (values >= self.n_classes)]
        if len(wrong):
            raise LabelError(
                "y",
                f"class {wrong[0]:g}",
                f"with n_classes={self.n_classes} the classes are the whole numbers 0 to {self.n_classes - 1}",
                "Number the classes from 0 (sklearn.preprocessing.LabelEncoder does), or correct n_classes.",
            )


@dataclass(frozen=True)
class LabelColumns:
    """Some columns of the labels of a data set, by their names.

    Parameters
    ----------
    names : sequence of str
        Columns that are read.
    tasks : sequence of str
        All columns of the data set, ``dataset.get_task_names()``.

    Raises
    ------
    LabelError
        If a column does not exist.
    """

    names: Sequence[str]
    tasks: Sequence[Any]

    def __post_init__(self) -> None:
        missing = [name for name in self.names if name not in map(str, self.tasks)]
        if missing:
            raise LabelError(
                missing[0],
                "no such task in the data set",
                "an objective learns from columns of the labels",
                f"The data set has {', '.join(map(str, self.tasks)) or 'no labels'}.",
            )

    def read(self, y: Any, w: Any) -> tuple[Tensor, Tensor]:
        """Values and weights of these columns, float32 (n, n_columns); 0 where a label is unknown."""
        places = [list(map(str, self.tasks)).index(name) for name in self.names]
        reader = LabelReader("regression", len(self.tasks), 2, "crystal")
        try:
            values, weights = reader.read(np.asarray(y, float), w)
        except (TypeError, ValueError) as error:
            raise LabelError("y", str(error), "labels are numbers", "Leave out columns of text.") from error
        return values[:, places], weights[:, places]

    def read_known(self, y: Any, w: Any) -> tuple[Tensor, Tensor]:
        """The same of a whole data set.

        Raises
        ------
        LabelError
            Also if a column has no known label, or all of its labels are equal.
        """
        values, weights = self.read(y, w)
        for name, column, weight in zip(self.names, values.T, weights.T, strict=True):
            known = column[weight > 0]
            if len(known) == 0 or bool((known == known[0]).all()):
                value = "no known label" if len(known) == 0 else f"the same label {known[0]:g} everywhere"
                raise LabelError(name, value, "a column to learn from has different labels", "Leave this column out.")
        return values, weights
