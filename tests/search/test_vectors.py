import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepchem_crystalssl.search import vectors as module
from deepchem_crystalssl.search.approximate import ApproximateNeighbors
from deepchem_crystalssl.search.vectors import nearest_rows, nearest_to_any, unit_rows


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(3, 50))
def test_exactly_the_largest_products_of_what_is_allowed(n, k, seed, rows_at_once):
    rng = np.random.default_rng(seed)
    x, q, allowed = rng.normal(size=(n, 5)).astype(np.float32), rng.normal(size=(3, 5)), rng.random(n) < 0.7
    before, module._ROWS_AT_ONCE = module._ROWS_AT_ONCE, rows_at_once
    try:
        rows, products = nearest_rows(x, q, k, allowed)
    finally:
        module._ROWS_AT_ONCE = before
    expected = np.where(allowed, q @ x.T, -np.inf)
    assert rows.shape == products.shape == (3, min(k, allowed.sum()))
    assert allowed[rows].all()
    assert np.allclose(products, -np.sort(-expected, axis=1)[:, : rows.shape[1]], atol=1e-5)
    assert np.allclose(np.take_along_axis(expected, rows, 1), products, atol=1e-5)


def test_rows_near_any_of_several_queries_come_once():
    x = unit_rows(np.random.default_rng(0).normal(size=(50, 4)))
    rows, products = nearest_to_any(x, np.stack([x[3], x[7], x[3]]), k=10)
    assert set(rows[:2]) == {3, 7} and len(set(rows)) == 10
    assert (np.diff(products) <= 0).all() and products[0] == pytest.approx(1.0, abs=1e-5)


def test_the_approximate_engine_finds_nearly_all():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(40, 16))
    x = unit_rows(centers[rng.integers(40, size=8000)] + 0.3 * rng.normal(size=(8000, 16)))
    allowed = rng.random(8000) < 0.5
    engine = ApproximateNeighbors(x)
    for mask in (None, allowed):
        exact, _ = nearest_rows(x, x[:50], 10, mask)
        rows, products = engine.nearest_rows(x[:50], 10, mask)
        assert np.mean([len(set(a) & set(b)) for a, b in zip(exact, rows, strict=True)]) > 9.5
        assert mask is None or mask[rows].all()
        assert np.allclose(products, np.einsum("qf,qkf->qk", x[:50], x[rows]), atol=1e-5)


def test_where_nothing_is_allowed_the_approximate_engine_says_so():
    x = unit_rows(np.eye(4))
    rows, products = ApproximateNeighbors(x).nearest_rows(x[:1], 2, np.zeros(4, bool))
    assert (rows == -1).all() and np.isneginf(products).all()


def test_a_row_of_zeros_has_no_direction():
    assert unit_rows(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [
        [0.0, 0.0],
        [pytest.approx(0.6), pytest.approx(0.8)],
    ]
