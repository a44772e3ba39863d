"""Labels learned as corrections of a model value, such as the highest frequency of springs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from .kernel_ridge import LaplacianRidgeCV

KINDS: dict[str, tuple[Callable, Callable]] = {
    "plain": (lambda y, value: y, lambda z, value: z),
    "difference": (lambda y, value: y - value, lambda z, value: z + value),
    "ratio": (lambda y, value: y / value, lambda z, value: z * value),
}
"""What is learned of a label and a model value, and how the label follows from it."""


class CorrectedRidge(RegressorMixin, BaseEstimator):
    """A kernel ridge that learns what is missing from a model value, if cross-validation says that this is better.

    The label itself, its difference from the model value and its ratio to it are each learned; the one whose
    cross-validated predictions of the label have the smallest mean absolute error is kept.

    Parameters
    ----------
    ridge : LaplacianRidgeCV, optional
        The regression; it is copied and not changed.
    kinds : sequence of {"plain", "difference", "ratio"}
        What is tried.

    Attributes
    ----------
    kind_ : str
        What is learned.
    cv_errors_ : dict from str to float
        Cross-validated mean absolute error of each kind.
    ridge_ : LaplacianRidgeCV
        The fitted regression.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, value = rng.normal(size=(80, 2)), rng.uniform(1, 9, 80)
    >>> model = CorrectedRidge().fit(x, value * (2 + 0.1 * x[:, 0]), value)
    >>> model.kind_
    'ratio'
    """

    def __init__(self, ridge: LaplacianRidgeCV | None = None, kinds: Sequence[str] = tuple(KINDS)):
        self.ridge = ridge
        self.kinds = kinds

    def fit(self, X: Any, y: Any, value: Any, groups: Any = None) -> CorrectedRidge:
        """Choose what is learned, and learn it.

        Parameters
        ----------
        X : array-like
            Descriptors, (n, F).
        y, value : array-like
            Labels and model values, (n,), in the same unit. Where a value is not above 0, no ratio is tried.
        groups : sequence, optional
            As in :meth:`LaplacianRidgeCV.fit`.

        Returns
        -------
        CorrectedRidge
            The fitted object itself.
        """
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise ValueError(f"kinds: {list(self.kinds)!r}; must be some of {', '.join(KINDS)}")
        y, value = _column(y, len(X), "y"), _column(value, len(X), "value")
        self.cv_errors_: dict[str, float] = {}
        for kind in self.kinds:
            if kind == "ratio" and value.min() <= 0 and len(self.kinds) > 1:
                continue
            learned, undone = KINDS[kind]
            ridge = (LaplacianRidgeCV() if self.ridge is None else clone(self.ridge)).fit(X, learned(y, value), groups)
            guess = undone(ridge.cv_prediction_, value[ridge.rows_])
            self.cv_errors_[kind] = float(np.abs(guess - y[ridge.rows_]).mean())
            if self.cv_errors_[kind] == min(self.cv_errors_.values()):
                self.kind_, self.ridge_ = kind, ridge
        return self

    def predict(self, X: Any, value: Any) -> np.ndarray:
        """Predict the labels of rows.

        Parameters
        ----------
        X : array-like
            Descriptors, (n, F).
        value : array-like
            Model values, (n,).

        Returns
        -------
        numpy.ndarray
            Predictions, (n,).
        """
        check_is_fitted(self)
        return KINDS[self.kind_][1](self.ridge_.predict(X), _column(value, len(X), "value"))


def _column(values: Any, n_rows: int, name: str) -> np.ndarray:
    values = np.asarray(values, float)
    if values.shape != (n_rows,) or not np.isfinite(values).all():
        raise ValueError(
            f"{name}: an array {values.shape}; must be finite and ({n_rows},), one value for each row of X"
        )
    return values
