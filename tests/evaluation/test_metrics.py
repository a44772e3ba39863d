import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepchem_crystalssl.evaluation.metrics import (
    alignment,
    neighbor_overlap,
    retrieval_recall,
    spread,
    uniformity,
)


@given(st.integers(2, 40), st.integers(0, 10**6), st.integers(1, 7))
def test_equals_sorting_row_by_row(n, seed, block):
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(n, 3))
    gallery = queries + rng.normal(size=(n, 3))
    ranks = []
    for i in range(n):
        order = np.argsort(np.linalg.norm(gallery - queries[i], axis=1), kind="stable")
        ranks.append(list(order).index(i) + 1)
    for k, recall in retrieval_recall(queries, gallery, (1, 2, 5), block=block).items():
        assert recall == pytest.approx(np.mean([r <= k for r in ranks]))


def test_random_vectors_score_chance():
    """Where the published code counts coverage and reports 26 %."""
    rng = np.random.default_rng(0)
    recall = retrieval_recall(rng.normal(size=(2000, 64)), rng.normal(size=(2000, 64)), (1, 10))
    assert recall[1] < 0.005 and recall[10] < 0.02


def test_collapsed_vectors_score_nothing():
    assert dict(retrieval_recall(np.ones((20, 3)), np.ones((20, 3)), (1, 10))) == {1: 0.0, 10: 0.0}


def test_rows_must_be_partners():
    with pytest.raises(ValueError, match="partners"):
        retrieval_recall(np.ones((3, 2)), np.ones((4, 2)))


@given(st.integers(4, 30), st.integers(0, 10**6))
def test_duplicates_are_right_answers_and_count_once(n, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n // 2, n)
    points = rng.normal(size=(n, 4))[groups]
    queries = points + 0.7 * rng.normal(size=(n, 4))
    found = retrieval_recall(queries, points, (1, 3), groups)
    unique, first = np.unique(groups, return_index=True)
    for k in (1, 3):
        hits = []
        for query, group in zip(queries, groups, strict=True):
            distance = np.linalg.norm(points[first] - query, axis=1)
            hits.append((distance <= distance[unique == group]).sum() <= k)
        assert found[k] == pytest.approx(np.mean(hits))
    assert found.n_duplicates == n - len(unique) and found.n_gallery == n


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        gallery = rng.normal(size=(60, 8))
        found.append(retrieval_recall(gallery + 1.2 * rng.normal(size=(60, 8)), gallery))
    truth = np.mean([recall[1] for recall in found])
    held = np.mean([recall.interval[1][0] <= truth <= recall.interval[1][1] for recall in found])
    assert 0.92 < held < 0.99


def test_neighbor_overlap():
    assert neighbor_overlap("abcdef", "badcfe", 3) == pytest.approx(2 / 3)
    assert neighbor_overlap("abc", "abc", 100) == 1.0
    assert neighbor_overlap([], [], 10) == 0.0


def test_collapse_shows():
    rng = np.random.default_rng(0)
    scattered, point = rng.normal(size=(500, 16)), np.ones((500, 16))
    assert spread(scattered) > 0.99 and spread(point) == 0.0 == spread(np.zeros((5, 2)))
    assert uniformity(scattered) < -3 and uniformity(point) == pytest.approx(0.0)
    shuffled = rng.permutation(scattered)
    assert alignment(scattered, scattered + 0.01) < 0.001 < 1.5 < alignment(scattered, shuffled)


def test_uniformity_is_the_formula():
    from scipy.spatial.distance import pdist

    x = np.random.default_rng(1).normal(size=(50, 4))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert uniformity(x) == pytest.approx(np.log(np.exp(-2 * pdist(unit) ** 2).mean()))
