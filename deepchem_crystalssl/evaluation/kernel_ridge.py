"""Kernel ridge regression with cross-validated parameters, for descriptors that are already scaled."""

from __future__ import annotations

from collections.abc import Sequence
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

    Attributes
    ----------
    alpha_, gamma_ : float
        The chosen parameters, with the meaning that they have in scikit-learn's ``KernelRidge``.
    cv_error_ : float
        Cross-validated mean absolute error of the chosen parameters.
    cv_prediction_ : numpy.ndarray
        Cross-validated predictions of the rows that were used, (n,).
    X_fit_, dual_coef_, intercept_ : numpy.ndarray, numpy.ndarray, float
        Rows of the kernel, their coefficients, and the median of y, which is added to every prediction.

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
    ):
        self.gammas = gammas
        self.alphas = alphas
        self.cv = cv
        self.max_rows = max_rows
        self.random_state = random_state

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
        groups = np.arange(len(X)) if groups is None else np.asarray(groups)
        if len(X) > self.max_rows:
            rows = np.sort(np.random.RandomState(self.random_state).permutation(len(X))[: self.max_rows])
            X, y, groups = X[rows], y[rows], groups[rows]
        distance = manhattan_distances(X)
        between = distance[np.triu_indices(len(X), 1)]
        typical = np.median(between[between > 0]) if (between > 0).any() else 1.0
        n_groups = len(np.unique(groups))
        splitter, by = (GroupKFold, groups) if n_groups >= 2 else (KFold, None)
        n_folds = min(self.cv, n_groups if by is not None else len(X))
        folds = list(splitter(n_folds, shuffle=True, random_state=self.random_state).split(X, groups=by))
        self.intercept_ = float(np.median(y))
        self.cv_error_ = np.inf
        for gamma in np.asarray(self.gammas) / typical:
            kernel = np.exp(-gamma * distance)
            guess = np.empty((len(self.alphas), len(y)))
            for train, test in folds:
                inner, across = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)]
                for k, alpha in enumerate(self.alphas):
                    guess[k, test] = across @ _weights(inner, y[train] - self.intercept_, alpha)
            errors = np.abs(guess + self.intercept_ - y).mean(1)
            best = int(errors.argmin())
            if errors[best] < self.cv_error_:
                self.cv_error_, self.alpha_, self.gamma_ = float(errors[best]), self.alphas[best], float(gamma)
                self.cv_prediction_ = guess[best] + self.intercept_
        self.X_fit_ = X
        self.dual_coef_ = _weights(np.exp(-self.gamma_ * distance), y - self.intercept_, self.alpha_)
        return self

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
        return np.exp(-self.gamma_ * manhattan_distances(X, self.X_fit_)) @ self.dual_coef_ + self.intercept_


def _weights(kernel: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    damped = kernel + alpha * np.eye(len(kernel), dtype=kernel.dtype)
    return cho_solve(cho_factor(damped, lower=True, overwrite_a=True, check_finite=False), y)
