"""Kernel ridge regression with cross-validated parameters, for descriptors that are already scaled."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics.pairwise import manhattan_distances
from sklearn.model_selection import GroupKFold, KFold
from sklearn.utils.validation import check_is_fitted, validate_data


class LaplacianRidgeCV(RegressorMixin, BaseEstimator):
    r"""Kernel ridge with the Laplacian kernel :math:`k(x, x') = e^{-\gamma |x - x'|_1}` and cross-validated parameters.

    The result is that of ``GridSearchCV(KernelRidge(kernel="laplacian"), ...)``, but distances are computed only once.
    Crystals of one group, for example of one chemical system, are in the same fold. Do not standardise the columns of
    embeddings before, because their scales carry information.

    Parameters
    ----------
    gammas : sequence of float
        Candidates for gamma, in units of one over the median Manhattan distance between rows.
    alphas : sequence of float
        Candidates for the regularisation.
    cv : int
        Number of folds.
    max_rows : int
        Largest number of rows in the kernel. If there are more rows, this many are drawn at random and used.
    random_state : int
        Seed of the folds and of the drawn rows.
    blocks : sequence, optional
        A label for each column, (F,). Columns with the same label form a block, for example the attributes, the learned
        columns and the numbers of tight binding of a descriptor. How much each block weighs is then chosen too, one
        block after the other, against the first block, whose weight is 1: blocks that help one property may hurt
        another.
    block_weights : sequence of float
        Candidates for the weight of a block. The search starts at the one next to 1 and goes up and down for as long as
        the error falls.

    Attributes
    ----------
    alpha_, gamma_ : float
        The chosen parameters, with the meaning that they have in scikit-learn's ``KernelRidge``.
    block_weights_ : dict
        The chosen weight of each block; empty without blocks.
    cv_error_ : float
        Cross-validated mean absolute error of the chosen parameters.
    cv_prediction_ : numpy.ndarray
        Cross-validated predictions of the rows that were used, (n,).
    column_weights_ : numpy.ndarray
        The same for each column, (F,).
    rows_ : numpy.ndarray
        Which rows were used, (n,).
    X_fit_, dual_coef_, intercept_ : numpy.ndarray, numpy.ndarray, float
        Rows of the kernel with weighted columns, their coefficients, and the median of y, which is added to every
        prediction.

    Examples
    --------
    >>> x = np.random.RandomState(0).rand(80, 2)
    >>> model = LaplacianRidgeCV().fit(x, x.sum(1), groups=np.arange(80) // 2)
    >>> bool(model.cv_error_ < 0.05)
    True
    """

    def __init__(
        self,
        gammas: Sequence[float] = (0.0316, 0.1, 0.316, 1.0, 3.16),
        alphas: Sequence[float] = (1e-4, 1e-3, 1e-2, 0.1, 1.0),
        cv: int = 5,
        max_rows: int = 5000,
        random_state: int = 0,
        blocks: Sequence[Hashable] | None = None,
        block_weights: Sequence[float] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
    ):
        self.gammas = gammas
        self.alphas = alphas
        self.cv = cv
        self.max_rows = max_rows
        self.random_state = random_state
        self.blocks = blocks
        self.block_weights = block_weights

    def fit(self, X: Any, y: Any, groups: Sequence | np.ndarray | None = None) -> LaplacianRidgeCV:
        """Choose the parameters by cross-validation, and fit the regression with them.

        Parameters
        ----------
        X : array-like
            Descriptors, (n, F).
        y : array-like
            Labels, (n,).
        groups : sequence, optional
            Group of each row, (n,). The rows of a group are together in the training part or in the test part of a
            fold. By default each row is a group.

        Returns
        -------
        LaplacianRidgeCV
            The fitted object itself.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=(np.float64, np.float32))
        if len(X) < 2:
            raise ValueError(f"n_samples={len(X)}: at least 2 are needed for cross-validation")
        group = np.arange(len(X)) if groups is None else np.asarray(groups)
        self.rows_ = self._drawn(len(X), self.max_rows) if len(X) > self.max_rows else np.arange(len(X))
        X, y, group = X[self.rows_], y[self.rows_], group[self.rows_]
        self.intercept_ = float(np.median(y))
        self.column_weights_ = self._choose_block_weights(X, y, group)
        X = X * self.column_weights_
        distance = manhattan_distances(X)
        validation = self._validation(y, group)
        best = validation.best(distance, self.gammas, self.alphas)
        self.alpha_, self.gamma_, self.cv_error_ = best.alpha, best.gamma / _typical(distance), best.error
        self.cv_prediction_ = best.prediction + self.intercept_
        self.X_fit_ = X
        self.dual_coef_ = _weights(np.exp(-self.gamma_ * distance), y - self.intercept_, self.alpha_)
        return self

    def _choose_block_weights(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Choose the weights of the blocks, one after the other, on at most 1,500 rows; return those of the columns."""
        self.block_weights_: dict[Hashable, float] = {}
        if self.blocks is None:
            return np.ones(X.shape[1], X.dtype)
        if len(self.blocks) != X.shape[1]:
            raise ValueError(f"blocks: {len(self.blocks)} labels; one is needed for each of the {X.shape[1]} columns")
        rows = self._drawn(len(X), _ROWS_FOR_BLOCKS)
        validation = self._validation(y[rows], groups[rows])
        columns = {label: [k for k, other in enumerate(self.blocks) if other == label] for label in self.blocks}
        distances = {label: manhattan_distances(X[rows][:, of_block]) for label, of_block in columns.items()}

        def weighted(weights: dict[Hashable, float]) -> np.ndarray:
            return sum(weight * distances[label] for label, weight in weights.items())

        candidates = np.sort(np.asarray(self.block_weights, float))
        place = dict.fromkeys(columns, int(np.abs(candidates - 1.0).argmin()))
        first, *others = columns

        def weights() -> dict[Hashable, float]:
            return {first: 1.0} | {label: float(candidates[place[label]]) for label in others}

        best = validation.best(weighted(weights()), self.gammas, self.alphas)
        for label in 2 * others:
            for step in (-place[label], 1, -1):  # to the smallest, usually 0, then up and down
                while step and 0 <= place[label] + step < len(candidates):
                    place[label] += step
                    # Only the regularisation moves along with a weight; the range is in units of the typical distance.
                    near = abs(np.log10(np.asarray(self.alphas) / best.alpha)) < 1.5
                    found = validation.best(weighted(weights()), [best.gamma], np.asarray(self.alphas)[near])
                    if found.error >= best.error:
                        place[label] -= step
                        break
                    best = found
        self.block_weights_ = weights()
        return np.array([self.block_weights_[label] for label in self.blocks], X.dtype)

    def _drawn(self, n_rows: int, most: int) -> np.ndarray:
        return np.sort(np.random.RandomState(self.random_state).permutation(n_rows)[:most])

    def _validation(self, y: np.ndarray, groups: np.ndarray) -> _CrossValidation:
        n_groups = len(np.unique(groups))
        splitter, by = (GroupKFold, groups) if n_groups >= 2 else (KFold, None)
        n_folds = min(self.cv, n_groups if by is not None else len(y))
        folds = splitter(n_folds, shuffle=True, random_state=self.random_state).split(y, groups=by)
        return _CrossValidation(y - self.intercept_, list(folds))

    def predict(self, X: Any) -> np.ndarray:
        """Predict the labels of rows.

        Parameters
        ----------
        X : array-like
            Descriptors, (n, F).

        Returns
        -------
        numpy.ndarray
            Predictions, (n,).
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        distance = manhattan_distances(X * self.column_weights_, self.X_fit_)
        return np.exp(-self.gamma_ * distance) @ self.dual_coef_ + self.intercept_


_ROWS_FOR_BLOCKS = 1500


@dataclass
class _Choice:
    """Parameters of a kernel ridge and its cross-validated predictions; gamma in units of the typical distance."""

    error: float
    gamma: float
    alpha: float
    prediction: np.ndarray


@dataclass
class _CrossValidation:
    """Labels without their median, and folds."""

    y: np.ndarray
    folds: list[tuple[np.ndarray, np.ndarray]]

    def best(self, distance: np.ndarray, gammas: Sequence[float], alphas: Sequence[float] | np.ndarray) -> _Choice:
        """The parameters with the smallest mean absolute error."""
        best = _Choice(np.inf, gammas[0], alphas[0], np.zeros_like(self.y))
        typical = _typical(distance)
        for gamma in gammas:
            kernel = np.exp(-gamma / typical * distance)
            guess = np.empty((len(alphas), len(self.y)))
            for train, test in self.folds:
                inner, across = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)]
                for k, alpha in enumerate(alphas):
                    guess[k, test] = across @ _weights(inner, self.y[train], alpha)
            errors = np.abs(guess - self.y).mean(1)
            k = int(errors.argmin())
            if errors[k] < best.error:
                best = _Choice(float(errors[k]), gamma, alphas[k], guess[k])
        return best


def _typical(distance: np.ndarray) -> float:
    """Median distance between two rows that differ."""
    between = distance[np.triu_indices(len(distance), 1)]
    return float(np.median(between[between > 0])) if (between > 0).any() else 1.0


def _weights(kernel: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    damped = kernel + alpha * np.eye(len(kernel), dtype=kernel.dtype)
    return cho_solve(cho_factor(damped, lower=True, overwrite_a=True, check_finite=False), y)
