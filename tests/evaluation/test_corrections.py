"""Labels learned as corrections of a model value."""

import numpy as np
import pytest

from deepchem_crystalssl.evaluation.corrections import KINDS, CorrectedRidge
from deepchem_crystalssl.evaluation.kernel_ridge import LaplacianRidgeCV


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(120, 3)), rng.uniform(1, 9, 120), np.arange(120) // 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_labels_are_is_found(data, kind):
    x, value, groups = data
    smooth = 0.2 * np.sin(x[:, 0])
    y = {"plain": 5 + smooth, "difference": value + smooth, "ratio": value * (2 + smooth)}[kind]
    model = CorrectedRidge().fit(x, y, value, groups)
    assert model.kind_ == kind and model.cv_errors_[kind] == min(model.cv_errors_.values())
    assert np.abs(model.predict(x, value) - y).mean() < 0.5 * np.abs(y - np.median(y)).mean()
    alone = CorrectedRidge(kinds=["plain"]).fit(x, y, value, groups)
    assert np.array_equal(alone.predict(x, value), LaplacianRidgeCV().fit(x, y, groups).predict(x))


def test_no_ratio_to_zero(data):
    x, value, _ = data
    value = value - value.min()
    assert set(CorrectedRidge().fit(x, x[:, 0], value).cv_errors_) == {"plain", "difference"}


def test_drawn_rows_and_options(data):
    x, value, _ = data
    ridge = LaplacianRidgeCV(max_rows=50, blocks=["a", "b", "b"])
    model = CorrectedRidge(ridge).fit(x, value + x[:, 0], value)
    assert model.ridge_.X_fit_.shape == (50, 3) and len(model.ridge_.rows_) == 50 and not hasattr(ridge, "rows_")


@pytest.mark.parametrize("bad", [{"kinds": ["root"]}, {"kinds": []}])
def test_unknown_kinds_are_refused(data, bad):
    with pytest.raises(ValueError, match="plain, difference, ratio"):
        CorrectedRidge(**bad).fit(data[0], data[1], data[1])
    with pytest.raises(ValueError, match="value: an array"):
        CorrectedRidge().fit(data[0], data[1], data[1][:5])
