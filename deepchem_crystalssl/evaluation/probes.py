"""Probes of frozen vectors, cross-validated by groups such as chemical systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .._names import renamed_arguments
from ..errors import counted

Mode = Literal["regression", "classification"]


@dataclass(frozen=True)
class Probe:
    """The cross-validated error of a probe.

    Attributes
    ----------
    error : float
        Mean absolute error, or fraction of wrong classes.
    interval : (float, float)
        95 % confidence interval of the error, by bootstrap over groups.
    baseline : float
        Error of predicting the median, or the most frequent class, of the training part.
    n, n_groups : int
        Number of rows, and of groups.
    """

    error: float
    interval: tuple[float, float]
    baseline: float
    n: int
    n_groups: int

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.error:.3f} ({low:.3f}-{high:.3f}; constant {self.baseline:.3f}; {counted(self.n, 'row')})"


@renamed_arguments(task="mode")
def linear_probe(
    vectors: np.ndarray, labels: Sequence | np.ndarray, groups: Sequence | np.ndarray, mode: Mode = "regression"
) -> Probe:
    """Ridge regression, or logistic regression, on standardised vectors.

    Parameters
    ----------
    vectors : numpy.ndarray
        (n, F).
    labels : sequence
        (n,).
    groups : sequence
        (n,) such as chemical systems; a group is never both in the training part and in the test part of a fold.
    mode : {"regression", "classification"}

    Returns
    -------
    Probe

    Examples
    --------
    >>> x = np.random.RandomState(0).randn(200, 3)
    >>> probe = linear_probe(x, x @ [1.0, 2.0, 0.0], np.arange(200) // 2)
    >>> probe.error < 0.01 < probe.baseline
    True
    """
    model = RidgeCV(np.logspace(-2, 4, 13)) if mode == "regression" else LogisticRegression(C=0.1, max_iter=1000)
    return cross_validate(make_pipeline(StandardScaler(), model), vectors, labels, groups, mode)


@renamed_arguments(task="mode")
def nearest_neighbor_probe(
    vectors: np.ndarray,
    labels: Sequence | np.ndarray,
    groups: Sequence | np.ndarray,
    mode: Mode = "regression",
    n_neighbors: int = 5,
) -> Probe:
    """Mean, or majority, of the nearest neighbours in other groups, without standardisation.

    Parameters as in :func:`linear_probe`; Euclidean distance.
    """
    model = (KNeighborsRegressor if mode == "regression" else KNeighborsClassifier)(n_neighbors)
    return cross_validate(model, vectors, labels, groups, mode)


@renamed_arguments(task="mode")
def cross_validate(
    model: BaseEstimator, vectors: np.ndarray, labels: Any, groups: Any, mode: Mode = "regression", folds: int = 5
) -> Probe:
    """Cross-validated error of a scikit-learn estimator, with folds by group, and the error of a constant."""
    x, y, groups = np.asarray(vectors, float), np.asarray(labels), np.asarray(groups)
    if not len(x) == len(y) == len(groups):
        raise ValueError(
            f"{counted(len(x), 'vector')}, {counted(len(y), 'label')}, {counted(len(groups), 'group')}; "
            "one of each per row"
        )
    if mode not in ("regression", "classification"):
        raise ValueError(f"mode: {mode!r}; must be 'regression' or 'classification'")
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(f"groups: {n_groups}; a probe needs at least 2, to hold one out")
    constant = DummyRegressor(strategy="median") if mode == "regression" else DummyClassifier(strategy="most_frequent")
    splitter = GroupKFold(min(folds, n_groups), shuffle=True, random_state=0)
    wrong, blind = (
        np.abs(predicted - y) if mode == "regression" else (predicted != y).astype(float)
        for predicted in (cross_val_predict(m, x, y, groups=groups, cv=splitter) for m in (model, constant))
    )
    return Probe(float(wrong.mean()), interval_of_mean(wrong, groups), float(blind.mean()), len(y), n_groups)


def interval_of_mean(values: np.ndarray, groups: np.ndarray, draws: int = 1000) -> tuple[float, float]:
    """95 % confidence interval of the mean, by bootstrap over groups."""
    labels = np.unique(groups, return_inverse=True)[1]
    sums, counts = np.bincount(labels, values), np.bincount(labels)
    chosen = np.random.RandomState(0).randint(len(sums), size=(draws, len(sums)))
    low, high = np.quantile(sums[chosen].sum(1) / counts[chosen].sum(1), [0.025, 0.975])
    return float(low), float(high)
