"""Shares of lines that a calculated pattern explains or lacks."""

from dataclasses import replace

import numpy as np
import pytest

from deepchem_crystalssl.diffraction.measurement import Measurement, above_noise
from deepchem_crystalssl.search.lines import absent, unexplained

ANGLES = np.arange(20.0, 80.0, 0.02)


def lines(*places):
    """Gaussian lines of height 1000 and a width of 0.1 degrees."""
    return sum(1000.0 * np.exp(-4 * np.log(2) * ((ANGLES - place) / 0.1) ** 2) for place in places)


@pytest.fixture(scope="module")
def measurement():
    """Four lines of equal area."""
    counts = np.random.default_rng(0).poisson(lines(30.0, 40.0, 50.0, 60.0) + 20.0)
    return Measurement.of(ANGLES, counts.astype(float), 1.54059)


def on_grid(measurement, *places):
    return np.interp(measurement.grid.two_theta, ANGLES, lines(*places))


@pytest.mark.parametrize(
    ("places", "missing"), [((30.0, 40.0, 50.0, 60.0), 0.0), ((30.0, 40.0), 0.5), ((30.0,), 0.75), ((70.0,), 1.0)]
)
def test_measured_lines_that_a_pattern_does_not_have(measurement, places, missing):
    assert unexplained(measurement, on_grid(measurement, *places)) == pytest.approx(missing, abs=0.03)


@pytest.mark.parametrize(
    ("places", "missing"), [((30.0, 40.0), 0.0), ((30.0, 70.0), 0.5), ((65.0, 70.0), 1.0), ((30.0, 50.0, 70.0), 1 / 3)]
)
def test_lines_of_a_pattern_that_were_not_measured(measurement, places, missing):
    assert absent(measurement, on_grid(measurement, *places)) == pytest.approx(missing, abs=0.03)


def test_lines_under_those_of_other_phases_are_not_asked_for(measurement):
    others = 2.0 * on_grid(measurement, 30.0)
    assert absent(measurement, on_grid(measurement, 30.0, 40.0)) == 0.0
    assert absent(measurement, on_grid(measurement, 30.0, 40.0), others) == 0.0
    assert absent(measurement, on_grid(measurement, 30.0, 70.0), others) == 1.0  # of those that are asked for


def test_weak_lines_are_kept_and_noise_is_not():
    """A line of 2 % stands out of the noise of a strong pattern, and keeps its share of the area."""
    rng = np.random.default_rng(1)
    ideal = 20 * lines(30.0, 40.0) + 0.4 * lines(55.0)
    counts = np.clip(rng.poisson(ideal + 100.0) - 100.0, 0.0, None)
    kept = above_noise(counts, 5.0)
    weak, far = np.abs(ANGLES - 55.0) < 0.15, np.abs(ANGLES - 70.0) < 5.0
    assert 0.6 < kept[weak].sum() / ideal[weak].sum() < 1.05
    assert kept[far].mean() < 1.0 < counts[far].mean()


def test_all_noise_is_left_as_it_is():
    flat = np.full(100, 3.0)
    assert (above_noise(flat, 5.0) == 3.0).all()


def test_what_is_left_is_none_of_the_lines_that_were_subtracted(measurement):
    first = 0.9 * on_grid(measurement, 30.0, 40.0)  # a tenth of their height is left
    rest = measurement.without(first)
    near = np.abs(measurement.grid.two_theta - 30.0) < 0.2
    assert rest.roots[near].max() < 0.1 * rest.roots.max()
    assert np.linalg.norm(rest.roots) == pytest.approx(1.0)
    assert replace(rest, counts=measurement.counts).without(measurement.counts) is None
