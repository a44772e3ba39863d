"""A forest that predicts medians, for labels with several branches such as magnetic moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags_array
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.utils.validation import check_is_fitted, validate_data

_ROWS_AT_ONCE = 1000
_ROUNDING = 1e-9  # of sums of weights: a label that reaches a share exactly must not depend on the other rows


class MedianForest(RegressorMixin, BaseEstimator):
    r"""Extremely randomised trees that predict the median, or any quantile, of a label.

    Each tree spreads a weight of 1 over the training rows in the leaf that a new row falls into. Summed over the trees,
    these weights give the distribution of the label (quantile regression forest: Meinshausen, J. Mach. Learn. Res. 7,
    983, 2006). Its median is the prediction with the smallest expected absolute error. The mean of an ordinary forest
    lies between two branches of a label, for example between high spin and low spin, where no label is.

    Parameters
    ----------
    n_estimators : int
        Number of trees.
    max_features : int or float
        Number, or fraction, of the columns that are tried at each split.
    min_samples_leaf : int
        Smallest number of rows in a leaf.
    n_jobs : int, optional
        Number of processor cores.
    random_state : int
        Seed of the trees.

    Attributes
    ----------
    forest_ : sklearn.ensemble.ExtraTreesRegressor
        The trees.
    labels_ : numpy.ndarray
        Labels of the training rows in ascending order, (n,).
    leaf_weights_ : scipy.sparse.csr_matrix
        Weight of each label in each leaf, (number of nodes of all trees, n).

    Examples
    --------
    >>> x = np.random.RandomState(0).rand(300, 2)
    >>> y = np.where(np.random.RandomState(1).rand(300) < 0.7, 5.0, 1.0)  # 70 % high spin, whatever x is
    >>> model = MedianForest().fit(x, y)
    >>> float(np.median(model.predict(x[:50])))
    5.0
    >>> model.predict_quantiles(x[:50], [0.05, 0.95]).shape
    (50, 2)
    """

    def __init__(
        self,
        n_estimators: int = 100,
        max_features: int | float = 0.3,
        min_samples_leaf: int = 2,
        n_jobs: int | None = None,
        random_state: int = 0,
    ):
        self.n_estimators = n_estimators
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Sequence | np.ndarray | None = None) -> MedianForest:
        """Grow the trees.

        Parameters
        ----------
        X : array-like
            Descriptors, (n, F).
        y : array-like
            Labels, (n,).
        groups : sequence, optional
            Group of each row, (n,), for example its chemical system. The rows of a group share a weight of 1, so that
            a few large groups do not decide. By default each row is a group.

        Returns
        -------
        MedianForest
            The fitted object itself.

        Raises
        ------
        ValueError
            If there is not one label and one group for each row, or a value is not finite.
        """
        X, y = validate_data(self, X, y, y_numeric=True)
        group = np.arange(len(y)) if groups is None else np.asarray(groups)
        if group.shape != y.shape:
            raise ValueError(f"groups: an array {group.shape}; must be {y.shape}, one group for each row of X")
        order = np.argsort(y, kind="stable")
        X, self.labels_ = X[order], y[order]
        _, group, size = np.unique(group[order], return_inverse=True, return_counts=True)
        weight = 1.0 / size[group]
        self.forest_ = ExtraTreesRegressor(
            self.n_estimators,
            max_features=self.max_features,
            min_samples_leaf=self.min_samples_leaf,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        ).fit(X, self.labels_, sample_weight=weight)
        nodes = [tree.tree_.node_count for tree in self.forest_.estimators_]
        self._first_node = np.cumsum([0, *nodes])
        leaves = self._leaves(X)
        columns = np.repeat(np.arange(len(y)), leaves.shape[1])
        shape = (int(self._first_node[-1]), len(y))
        in_leaf = csr_matrix((np.repeat(weight, leaves.shape[1]), (leaves.ravel(), columns)), shape)
        total = np.asarray(in_leaf.sum(1)).ravel()
        self.leaf_weights_ = csr_matrix(diags_array(1.0 / np.where(total > 0, total, 1.0)) @ in_leaf)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the median label of rows.

        Parameters
        ----------
        X : array-like
            Descriptors, (n, F).

        Returns
        -------
        numpy.ndarray
            Predictions, (n,).
        """
        return self.predict_quantiles(X, [0.5])[:, 0]

    def predict_quantiles(self, X: Any, quantiles: Sequence[float]) -> np.ndarray:
        """Predict quantiles of the label of rows; those at 0.05 and 0.95, for example, enclose 90 % of the labels.

        Parameters
        ----------
        X : array-like
            Descriptors, (n, F).
        quantiles : sequence of float
            Numbers between 0 and 1.

        Returns
        -------
        numpy.ndarray
            Predictions, (n, number of quantiles).

        Raises
        ------
        ValueError
            If a quantile is not between 0 and 1.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        shares = np.asarray(quantiles, float)
        if shares.ndim != 1 or not len(shares) or not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f"quantiles: {quantiles!r}; must be a sequence of numbers between 0 and 1")
        parts = [self._quantiles(X[k : k + _ROWS_AT_ONCE], shares) for k in range(0, len(X), _ROWS_AT_ONCE)]
        return np.concatenate(parts)

    def _quantiles(self, X: np.ndarray, shares: np.ndarray) -> np.ndarray:
        leaves = self._leaves(X)
        rows = np.arange(0, leaves.size + 1, leaves.shape[1])
        found = csr_matrix((np.ones(leaves.size), leaves.ravel(), rows), (len(X), self.leaf_weights_.shape[0]))
        weights = csr_matrix(found @ self.leaf_weights_)
        weights.sort_indices()  # ascending labels
        reached = np.concatenate([[0.0], np.cumsum(weights.data)])
        start, end = reached[weights.indptr[:-1]], reached[weights.indptr[1:]]
        wanted = start[:, None] + (shares - _ROUNDING) * (end - start)[:, None]
        place = np.searchsorted(reached[1:], wanted)
        place = np.clip(place, weights.indptr[:-1, None], weights.indptr[1:, None] - 1)
        return self.labels_[weights.indices[place]]

    def _leaves(self, X: np.ndarray) -> np.ndarray:
        """Node of each row in each tree, numbered through all trees, (n, number of trees)."""
        return self.forest_.apply(X) + self._first_node[:-1]
