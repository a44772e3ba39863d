import numpy as np
import pytest

from deepchem_crystalssl import XRDGrid, simulate_xrd
from deepchem_crystalssl.diffraction import conditions as conditions_module
from deepchem_crystalssl.diffraction.kernels import DrawnConditions, compute_patterns
from deepchem_crystalssl.errors import GridError
from deepchem_crystalssl.diffraction.conditions import (
    CLEAN,
    HARD,
    REALISTIC,
    TRAINING,
    MeasurementConditions,
    measure_patterns,
    try_patterns,
)
from deepchem_crystalssl.crystals.validation import make_crystal

GRID = XRDGrid(20, 60, 8000)
SALT = make_crystal([55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], 4.12 * np.eye(3), "CsCl")


def peak(pattern, near, grid=GRID):
    inside = np.abs(grid.two_theta - near) < 1.0
    return grid.two_theta[inside][pattern[inside].argmax()]


def position(h2, a=4.12):
    return 2 * np.degrees(np.arcsin(1.54184 * np.sqrt(h2) / (2 * a)))


def test_everything_off_is_the_ideal_pattern(prototypes):
    assert np.allclose(measure_patterns(prototypes[:20], CLEAN), simulate_xrd(prototypes[:20]), atol=1e-6)


def test_same_seed_same_patterns(prototypes):
    one, two, other = (measure_patterns(prototypes[:5], HARD, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, two) and not np.allclose(one, other, atol=0.01)


@pytest.mark.parametrize("conditions", [REALISTIC, HARD, MeasurementConditions(missing=0.3, fwhm=(0.1, 0.1))])
def test_patterns_are_patterns(prototypes, conditions):
    patterns = measure_patterns(prototypes[:20], conditions)
    assert patterns.dtype == np.float32 and patterns.min() >= 0 and np.allclose(patterns.max(1), 1)


def test_strain_moves_peaks_by_bragg():
    patterns = measure_patterns([SALT] * 50, MeasurementConditions(strain=0.01, fwhm=(0.05, 0.05)), GRID)
    found = np.array([peak(p, position(2)) for p in patterns])
    low, high = position(2, 4.12 * 1.01), position(2, 4.12 * 0.99)
    assert low - 0.01 < found.min() < found.max() < high + 0.01 and found.std() > 0.1
    ratio = [
        np.sin(np.radians(peak(p, position(4)) / 2)) / np.sin(np.radians(peak(p, position(2)) / 2)) for p in patterns
    ]
    assert np.allclose(ratio, np.sqrt(2), atol=1e-3)  # all lengths change alike


def test_zero_shift_moves_all_peaks_alike():
    for pattern in measure_patterns([SALT] * 20, MeasurementConditions(zero_shift=0.2, fwhm=(0.05, 0.05)), GRID):
        shifts = [peak(pattern, position(h2)) - position(h2) for h2 in (1, 2, 4)]
        assert np.ptp(shifts) < 0.011 and abs(shifts[0]) <= 0.21


def test_displacement_falls_with_cos_theta():
    for pattern in measure_patterns([SALT] * 20, MeasurementConditions(displacement=0.5, fwhm=(0.05, 0.05)), GRID):
        shifts = [peak(pattern, position(h2)) - position(h2) for h2 in (1, 4)]
        expected = np.cos(np.radians(position(4) / 2)) / np.cos(np.radians(position(1) / 2))
        if abs(shifts[0]) > 0.1:
            assert shifts[1] / shifts[0] == pytest.approx(expected, abs=0.05)


def test_width_and_shape():
    (pattern,) = measure_patterns([SALT], MeasurementConditions(fwhm=(0.3, 0.3), mixing=(1.0, 1.0)), GRID)
    above = GRID.two_theta[(pattern > 0.5)]
    assert np.ptp(above) == pytest.approx(0.3, abs=0.02)
    assert pattern[np.abs(GRID.two_theta - position(2) - 1.5).argmin()] > 0.005  # a Lorentzian's tail


@pytest.mark.parametrize("shape, tolerance", [((0.0, 0.0), 3e-5), ((1.0, 1.0), 4e-3), ((0.3, 0.7), 4e-3)])
def test_fast_patterns_are_the_exact_ones(prototypes, shape, tolerance):
    """Those whose peaks are broadened together differ by the tails only, which the exact ones cut at 25 widths."""
    grid = XRDGrid()
    conditions = MeasurementConditions(fwhm=(0.1, 0.5), mixing=shape, zero_shift=0.05).draw(
        40, np.random.default_rng(0)
    )
    fast, exact = (compute_patterns(prototypes[:40], grid, conditions, fast=fast) for fast in (True, False))
    top = exact.max(axis=1, keepdims=True)
    assert (np.abs(fast - exact) / top).max() < tolerance and (fast >= 0).all()
    assert not np.array_equal(fast, exact)


def test_preferred_orientation_is_march_dollase():
    """Intensity ratios against the formula, averaged over the reflections of each family."""
    r = 0.6
    grid = XRDGrid(18, 70, 5200)
    conditions = DrawnConditions.of_grid(grid, 1)
    plain = compute_patterns([SALT], grid, conditions)[0]
    conditions.march[0] = r
    textured = compute_patterns([SALT], grid, conditions)[0]

    def factor(cos2):
        return (r**2 * cos2 + (1 - cos2) / r) ** -1.5

    expected = {1: (factor(1) + 2 * factor(0)) / 3, 2: (2 * factor(0.5) + factor(0)) / 3, 3: factor(1 / 3)}
    for h2, ratio in expected.items():
        at = int((position(h2) - 18) / grid.step)
        assert textured[at] / plain[at] == pytest.approx(ratio, rel=1e-6)


def test_intensities_deviate_by_reflection():
    ratios = []
    for pattern in measure_patterns([SALT] * 400, MeasurementConditions(intensity_deviation=0.3), GRID):
        heights = [pattern[np.abs(GRID.two_theta - position(h2)) < 0.02].sum() for h2 in (1, 4)]
        ratios.append(np.log(heights[0] / heights[1]))
    assert np.std(ratios) == pytest.approx(0.3 * np.sqrt(2), rel=0.15)


def test_background_is_smooth_and_bounded():
    patterns = measure_patterns([SALT] * 30, MeasurementConditions(background=0.15), GRID)
    empty = np.abs(GRID.two_theta - 25) < 2
    assert 0.02 < patterns[:, empty].max() <= 0.151 and np.abs(np.diff(patterns[:, empty], axis=1)).max() < 0.002


def test_noise_has_its_size():
    patterns = measure_patterns([SALT] * 200, MeasurementConditions(noise=0.02), GRID)
    empty = np.abs(GRID.two_theta - 25) < 2
    spread = patterns[:, empty].std(axis=1)
    assert 0.009 < spread.max() < 0.02 and spread.min() < 0.002


def test_missing_range_is_zero():
    patterns = measure_patterns([SALT] * 50, MeasurementConditions(missing=0.2, noise=0.1), GRID)
    measured = [np.flatnonzero(p) for p in patterns]
    assert min(m[0] for m in measured) < 200 and 800 < max(m[0] for m in measured) <= 0.2 * 8000 + 5


@pytest.mark.parametrize(
    "bad",
    [
        dict(strain=-1),
        dict(fwhm=(0.3, 0.1)),
        dict(mixing=(0, 2)),
        dict(noise=-1),
        dict(preferred_orientation=0),
        dict(missing=0.6),
        dict(zero_shift=float("nan")),
    ],
)
def test_bad_parameters_are_named(bad):
    with pytest.raises(GridError, match=next(iter(bad))):
        measure_patterns([SALT], MeasurementConditions(**bad))


def test_an_unknown_parameter_is_named():
    with pytest.raises(GridError, match="strian.*strain, fwhm"):
        MeasurementConditions.from_dict({"strian": 0.01})


def test_from_a_table():
    table = {"strain": 0.01, "fwhm": [0.1, 0.4]}
    assert MeasurementConditions.from_dict(table) == MeasurementConditions(strain=0.01, fwhm=(0.1, 0.4))


def test_old_names_warn():
    with pytest.warns(FutureWarning, match="MeasurementConditions"):
        assert conditions_module.Instrument is MeasurementConditions
    with pytest.warns(FutureWarning, match="conditions="):
        old = measure_patterns([SALT], instrument=REALISTIC, grid=GRID)
    assert np.array_equal(old, measure_patterns([SALT], REALISTIC, GRID))
    with pytest.raises(TypeError, match="conditions"):
        measure_patterns([SALT])


@pytest.mark.parametrize("conditions", [None, TRAINING, MeasurementConditions(fwhm=(0.1, 0.4), missing=0.3)])
def test_rows_of_a_batch_have_the_patterns_that_they_have_in_it(prototypes, conditions):
    whole, _ = try_patterns(prototypes[:9], GRID, conditions, seed=3)
    for rows in (slice(0, None, 2), slice(1, None, 2), slice(9, None)):
        part, errors = try_patterns(prototypes[:9][rows], GRID, conditions, 3, rows, 9)
        assert part.shape == whole[rows].shape and len(errors) == len(part)
        assert np.array_equal(part, whole[rows])


def test_patterns_do_not_depend_on_the_number_of_threads(prototypes):
    one, three = (try_patterns(prototypes[:20], GRID, TRAINING, 3, n_threads=n)[0] for n in (1, 3))
    assert np.array_equal(one, three)
