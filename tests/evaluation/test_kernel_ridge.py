"""Kernel ridge against scikit-learn's own, found the slow way."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import manhattan_distances
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from deepchem_crystalssl.evaluation.kernel_ridge import LaplacianRidgeCV


@parametrize_with_checks([LaplacianRidgeCV()])
def test_scikit_learn_says_it_is_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("seed", range(3))
def test_finds_what_a_grid_search_finds(seed):
    rng = np.random.default_rng(seed)
    x, groups = rng.normal(size=(90, 5)), rng.integers(0, 25, 90)
    y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=90)
    ours = LaplacianRidgeCV().fit(x, y, groups)
    median = np.median(manhattan_distances(x)[np.triu_indices(90, 1)])
    grid = {"alpha": ours.alphas, "gamma": np.array(ours.gammas) / median}
    folds = list(GroupKFold(5, shuffle=True, random_state=0).split(x, groups=groups))
    errors = np.zeros((5, 5))
    for k, gamma in enumerate(grid["gamma"]):  # GridSearchCV averages folds, not rows: so by hand
        for m, alpha in enumerate(grid["alpha"]):
            theirs = KernelRidge(kernel="laplacian", alpha=alpha, gamma=gamma)
            for a, b in folds:
                errors[k, m] += np.abs(theirs.fit(x[a], y[a] - np.median(y)).predict(x[b]) + np.median(y) - y[b]).sum()
    best = np.unravel_index(errors.argmin(), errors.shape)
    assert (ours.gamma_, ours.alpha_) == (pytest.approx(grid["gamma"][best[0]]), grid["alpha"][best[1]])
    assert ours.cv_error_ == pytest.approx(errors.min() / 90)
    theirs = KernelRidge(kernel="laplacian", alpha=ours.alpha_, gamma=ours.gamma_).fit(x, y - np.median(y))
    new = rng.normal(size=(20, 5))
    assert np.allclose(ours.predict(new), theirs.predict(new) + np.median(y))


def test_groups_stay_together():
    """Twins with one noise: alone they look easy, by group they do not."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(40, 4)), 2, axis=0)
    y = np.repeat(rng.normal(size=40), 2)
    assert LaplacianRidgeCV().fit(x, y).cv_error_ < 0.7 * LaplacianRidgeCV().fit(x, y, np.arange(80) // 2).cv_error_


def test_many_rows_are_thinned():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    model = LaplacianRidgeCV(max_rows=100).fit(x, x[:, 0], np.arange(300))
    assert model.X_fit_.shape == (100, 3) and model.predict(x).shape == (300,)
    assert np.array_equal(model.predict(x), LaplacianRidgeCV(max_rows=100).fit(x, x[:, 0], np.arange(300)).predict(x))


def test_it_tunes_in_a_grid_search():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    search = GridSearchCV(LaplacianRidgeCV(), {"alphas": [[1e-3], [1.0]]}, cv=3).fit(x, x[:, 0])
    assert search.best_params_["alphas"] == [1e-3]


def test_blocks_weigh_as_much_as_they_help():
    rng = np.random.default_rng(0)
    signal, noise = rng.normal(size=(200, 3)), rng.normal(size=(200, 20))
    x, y = np.hstack([signal[:, :1], noise, signal[:, 1:]]), np.sin(signal).sum(1)
    blocks = ["first"] * 1 + ["noise"] * 20 + ["signal"] * 2
    plain, chosen = LaplacianRidgeCV().fit(x, y), LaplacianRidgeCV(blocks=blocks).fit(x, y)
    assert list(chosen.block_weights_) == ["first", "noise", "signal"] and not plain.block_weights_
    assert chosen.block_weights_["first"] == 1 and chosen.block_weights_["noise"] < chosen.block_weights_["signal"]
    assert chosen.cv_error_ < 0.6 * plain.cv_error_
    weights = [chosen.block_weights_[label] for label in blocks]
    kernel = KernelRidge(kernel="laplacian", alpha=chosen.alpha_, gamma=chosen.gamma_).fit(
        x * weights, y - np.median(y)
    )
    new = rng.normal(size=(30, 23))
    assert np.allclose(chosen.predict(new), kernel.predict(new * weights) + np.median(y))


def test_one_block_is_none():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    one, none = LaplacianRidgeCV(blocks=["all"] * 4).fit(x, x[:, 0]), LaplacianRidgeCV().fit(x, x[:, 0])
    assert one.block_weights_ == {"all": 1.0} and np.array_equal(one.predict(x), none.predict(x))
    with pytest.raises(ValueError, match="3 labels; one is needed for each of the 4 columns"):
        LaplacianRidgeCV(blocks=["a", "b", "b"]).fit(x, x[:, 0])
