import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepchem_crystalssl.metrics import retrieval_recall


@given(st.integers(2, 40), st.integers(0, 10**6), st.integers(1, 7))
def test_equals_sorting_row_by_row(n, seed, block):
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(n, 3))
    gallery = queries + rng.normal(size=(n, 3))
    ranks = []
    for i in range(n):
        order = np.argsort(np.linalg.norm(gallery - queries[i], axis=1), kind="stable")
        ranks.append(list(order).index(i) + 1)
    for k, recall in retrieval_recall(queries, gallery, (1, 2, 5), block).items():
        assert recall == pytest.approx(np.mean([r <= k for r in ranks]))


def test_random_vectors_score_chance():
    """Where the published code counts coverage and reports 26 %."""
    rng = np.random.default_rng(0)
    recall = retrieval_recall(rng.normal(size=(2000, 64)), rng.normal(size=(2000, 64)), (1, 10))
    assert recall[1] < 0.005 and recall[10] < 0.02


def test_collapsed_vectors_score_nothing():
    assert retrieval_recall(np.ones((20, 3)), np.ones((20, 3)), (1, 10)) == {1: 0.0, 10: 0.0}


def test_rows_must_be_partners():
    with pytest.raises(ValueError, match="partners"):
        retrieval_recall(np.ones((3, 2)), np.ones((4, 2)))
