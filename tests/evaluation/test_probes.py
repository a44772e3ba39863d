import numpy as np
import pytest

from deepchem_crystalssl.evaluation.probes import linear_probe, nearest_neighbor_probe


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 4)
    return rng, rng.normal(size=(240, 6)), groups


@pytest.mark.parametrize("probe", [linear_probe, nearest_neighbor_probe])
def test_finds_what_is_there_and_nothing_else(probe, data):
    rng, x, groups = data
    signal = probe(x, x[:, 0], groups)
    noise = probe(x, rng.normal(size=240), groups)
    assert signal.interval[1] < signal.baseline and noise.interval[1] > noise.baseline * 0.95
    assert signal.interval[0] < signal.error < signal.interval[1] and signal.n_groups == 60
    classes = probe(x, x[:, 0] > 0, groups, "classification")
    assert classes.error < 0.25 < classes.baseline


def test_a_group_is_never_on_both_sides(data):
    """A label that is only the group's name cannot be predicted for a new group."""
    _, x, groups = data
    x = np.repeat(x[::4], 4, axis=0)  # equal vectors inside a group: the other side would give it away
    labels = np.random.default_rng(1).normal(size=60)[groups]
    assert nearest_neighbor_probe(x, labels, groups, n_neighbors=1).error > 0.8
    assert nearest_neighbor_probe(x, labels, np.arange(240), n_neighbors=1).error < 0.4


def test_bad_input_is_named(data):
    _, x, groups = data
    with pytest.raises(ValueError, match="240 vectors, 3 labels"):
        linear_probe(x, [1, 2, 3], groups)
    with pytest.raises(ValueError, match="mode: 'ranking'"):
        linear_probe(x, x[:, 0], groups, "ranking")
    with pytest.raises(ValueError, match="at least 2"):
        linear_probe(x, x[:, 0], np.zeros(240))
