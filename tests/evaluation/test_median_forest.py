"""The forest of medians against a loop over its trees, and against the error that it is to minimise."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from deepchem_crystalssl.evaluation import MedianForest


@parametrize_with_checks([MedianForest(n_estimators=10)])
def test_scikit_learn_says_it_is_an_estimator(estimator, check):
    check(estimator)


def two_branches(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """High spin or low spin, with probabilities that depend on the first column."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 3))
    return x, np.where(rng.random(n) < x[:, 0], 5.0, 1.0) + 0.05 * rng.normal(size=n)


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_are_those_of_a_loop_over_the_trees(seed):
    x, y = two_branches(120, seed)
    groups = np.random.default_rng(seed).integers(0, 30, 120)
    model = MedianForest(15, random_state=seed).fit(x, y, groups)
    new = two_branches(25, seed + 10)[0]
    shares = [0.05, 0.3, 0.5, 0.9]
    weight = 1.0 / np.bincount(groups)[groups]
    forest = ExtraTreesRegressor(15, max_features=0.3, min_samples_leaf=2, random_state=seed)
    order = np.argsort(y, kind="stable")
    forest.fit(x[order], y[order], sample_weight=weight[order])
    for row, found in zip(new, model.predict_quantiles(new, shares), strict=True):
        total = np.zeros(120)
        for tree in forest.estimators_:
            same = (tree.apply(x) == tree.apply(row[None])) * weight
            total += same / same.sum()
        reached = np.cumsum(total[order]) / 15
        assert found.tolist() == [y[order][np.argmax(reached >= share - 1e-9)] for share in shares]
    assert np.array_equal(model.predict(new), model.predict_quantiles(new, shares)[:, 2])


def test_the_median_is_a_branch_where_the_mean_is_between():
    x, y = two_branches(1500)
    new, truth = two_branches(500, 1)
    median, mean = MedianForest().fit(x, y).predict(new), ExtraTreesRegressor(random_state=0).fit(x, y).predict(new)
    assert np.minimum(abs(median - 1), abs(median - 5)).max() < 0.3 < np.minimum(abs(mean - 1), abs(mean - 5)).max()
    assert abs(median - truth).mean() < abs(mean - truth).mean()


def test_a_large_group_counts_once():
    """Ninety rows of one group say 0, ten groups say 1: the majority of groups decides."""
    x, y = np.zeros((100, 1)), np.repeat([0.0, 1.0], [90, 10])
    groups = np.concatenate([np.zeros(90, int), np.arange(1, 11)])
    assert MedianForest(5).fit(x, y).predict(x[:1]) == 0.0
    assert MedianForest(5).fit(x, y, groups).predict(x[:1]) == 1.0


def test_many_rows_are_predicted_like_few():
    x, y = two_branches(100)
    model = MedianForest(5).fit(x, y)
    many = np.tile(x, (25, 1))
    assert np.array_equal(model.predict(many), np.tile(model.predict(x), 25))


@pytest.mark.parametrize("wrong", [[], [1.2], [-0.1], [np.nan], 0.5])
def test_refuses_what_is_no_quantile(wrong):
    x, y = two_branches(20)
    with pytest.raises(ValueError, match="quantiles: .*; must be a sequence of numbers between 0 and 1"):
        MedianForest(2).fit(x, y).predict_quantiles(x, wrong)


def test_refuses_groups_of_another_length():
    x, y = two_branches(20)
    with pytest.raises(ValueError, match=r"groups: an array \(19,\); must be \(20,\), one group for each row of X"):
        MedianForest(2).fit(x, y, np.arange(19))
