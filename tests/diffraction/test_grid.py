"""Patterns that know their grid, and the check that they lie on another one."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

from deepchem_crystalssl import XRDGrid, prepare_measured_pattern, simulate_xrd
from deepchem_crystalssl.diffraction import PowderPatterns, measure_patterns, on_grid
from deepchem_crystalssl.diffraction.conditions import REALISTIC, try_patterns
from deepchem_crystalssl.diffraction.simulation import iterate_patterns
from deepchem_crystalssl.errors import GridError

GRID = XRDGrid(20.0, 80.0, 600, "CuKa", fwhm=0.2)
OTHERS = {
    "range": XRDGrid(20.0, 90.0, 600),
    "bins": XRDGrid(20.0, 80.0, 500),
    "wavelength": XRDGrid(20.0, 80.0, 600, "CuKa1"),
}


@pytest.fixture
def patterns(prototypes):
    return simulate_xrd(prototypes[:4], GRID)


def test_what_makes_patterns_states_their_grid(prototypes, patterns):
    angles = np.arange(15.0, 85.0, 0.05)
    counts = 10 + 100 * np.exp(-((angles - 40) ** 2) * 20)
    made = [
        patterns,
        prepare_measured_pattern(angles, counts, GRID),
        measure_patterns(prototypes[:3], REALISTIC, GRID),
        try_patterns(prototypes[:3], GRID)[0],
        *(pattern for _, pattern in iterate_patterns(prototypes[:3], GRID)),
        simulate_xrd([], GRID),
    ]
    assert all(isinstance(x, PowderPatterns) and x.grid == GRID for x in made)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x[1],
        lambda x: x[1:3],
        lambda x: x[[2, 0]],
        lambda x: x[x.max(axis=1) > 0],
        copy.copy,
        copy.deepcopy,
        lambda x: pickle.loads(pickle.dumps(x)),
        lambda x: pickle.loads(pickle.dumps(x, protocol=5)),
        lambda x: np.stack(list(x)),
        lambda x: np.vstack([x, x]),
        lambda x: np.concatenate((x, x)),
        lambda x: x.astype(float),
        lambda x: np.sqrt(2 * x + 1),
        lambda x: x.reshape(2, 2, -1)[None],
        lambda x: x.mean(axis=0),
        lambda x: np.insert(x, 0, 0.0, axis=0),
        lambda x: np.roll(x, 1, axis=0),
    ],
)  # fmt: skip
def test_the_grid_survives(patterns, operation):
    result = operation(patterns)
    assert isinstance(result, PowderPatterns) and result.grid == GRID
    assert type(on_grid(result, GRID)) is np.ndarray


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x[:, :100],
        lambda x: x.T,
        lambda x: x.sum(axis=1),
        lambda x: np.hstack([x, x]),
        lambda x: np.concatenate([x, np.zeros(x.shape)]),
        lambda x: x + PowderPatterns(x.view(np.ndarray), OTHERS["wavelength"]),
        lambda x: np.vstack([x, PowderPatterns(x.view(np.ndarray), OTHERS["wavelength"])]),
        lambda x: np.insert(x, 0, PowderPatterns(x.view(np.ndarray), OTHERS["wavelength"]), axis=0),
    ],
)  # fmt: skip
def test_what_is_no_longer_on_the_grid_does_not_state_it(patterns, operation):
    assert getattr(operation(patterns), "grid", None) is None


def test_single_numbers_are_plain(patterns):
    for number in (patterns.max(), patterns[0, 3], patterns.mean(), np.sum(patterns)):
        assert not isinstance(number, np.ndarray)


def test_torch_takes_them(patterns):
    assert torch.equal(torch.from_numpy(patterns), torch.from_numpy(np.asarray(patterns)))


@pytest.mark.parametrize("name", OTHERS)
def test_another_grid_is_refused(prototypes, name):
    other = simulate_xrd(prototypes[:2], OTHERS[name])
    for given in (other, other[0], list(other)):
        with pytest.raises(GridError, match=f"^spectra.*{name}"):
            on_grid(given, GRID, "spectra")
    with pytest.raises(GridError, match=name):
        PowderPatterns(other, GRID)


@pytest.mark.parametrize("same", [1.54184, 1.5418])
def test_the_same_bins_are_taken_whatever_radiation_is_called_and_peaks_look_like(prototypes, same):
    grid = XRDGrid(20, 80, 600, same, profile="lorentzian", fwhm=0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert on_grid(simulate_xrd(prototypes[:2], grid), GRID).shape == (2, 600)


def test_a_plain_array_is_taken_with_a_warning(patterns):
    with pytest.warns(UserWarning, match="^spectra: .*20-80°, 600 bins, 1.54184 Å.*grid="):
        assert np.array_equal(on_grid(np.asarray(patterns), GRID, "spectra"), patterns)
    with pytest.warns(UserWarning, match="grid="):
        assert on_grid(patterns.tolist(), GRID).shape == (4, 600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert on_grid(PowderPatterns(np.asarray(patterns), GRID), GRID).shape == (4, 600)
        assert on_grid(np.empty((0, 600)), GRID).shape == (0, 600)


@pytest.mark.parametrize("bad", [np.zeros((2, 599)), np.zeros(599), 3.0, [[1.0, 2.0], [1.0]]])
def test_a_wrong_number_of_bins_is_refused(bad):
    with pytest.raises(GridError, match="patterns"):
        on_grid(bad, GRID)


def test_what_holds_patterns_is_not_patterns():
    class Dataset:
        X = np.zeros((2, 5000))

    with pytest.raises(GridError, match="an object of type Dataset.* Pass its X"):
        on_grid(Dataset(), XRDGrid())
    with pytest.raises(GridError, match="None.*arrays of numbers"):
        on_grid(None, XRDGrid())
