import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import WAVELENGTHS as PYMATGEN_WAVELENGTHS
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import XRDGrid, simulate_xrd
from deepchem_crystalssl.errors import (
    DisorderError,
    GridError,
    NoReflectionsError,
    Report,
    ScatteringFactorError,
    UnknownElementError,
)
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.diffraction.grid import WAVELENGTHS
from deepchem_crystalssl.testing import permuted, recelled, rotated, supercell, translated


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def broaden(sticks, grid):
    """pymatgen's sticks with Gaussians, independently of the package's peak drawing."""
    sigma = grid.fwhm / np.sqrt(8 * np.log(2))
    return (np.exp(-0.5 * ((grid.two_theta[:, None] - sticks.x) / sigma) ** 2) * sticks.y).sum(1)


@pytest.mark.once
@pytest.mark.parametrize("wavelength, span", [("CuKa", (10, 110)), ("MoKa", (5, 60)), (0.9, (3, 90))])
def test_patterns_equal_pymatgens(prototypes, wavelength, span):
    grid = XRDGrid(*span, 4000, wavelength, fwhm=0.15)
    chosen = prototypes[::9]
    patterns = simulate_xrd(chosen, grid, dtype=float)
    calculator = XRDCalculator(wavelength)
    for crystal, pattern in zip(chosen, patterns, strict=True):
        sticks = calculator.get_pattern(crystal.to_structure(), two_theta_range=span)
        assert cosine(pattern, broaden(sticks, grid)) > 0.99999, crystal


def test_wavelengths_are_pymatgens():
    for name, value in WAVELENGTHS.items():
        assert value == pytest.approx(PYMATGEN_WAVELENGTHS[name])


def test_disordered_crystal_scatters_by_occupancy_as_in_pymatgen():
    alloy = Structure(Lattice.cubic(3.8), [{"Cu": 0.7, "Au": 0.2}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    grid = XRDGrid(fwhm=0.2)
    with pytest.raises(DisorderError):
        simulate_xrd(alloy, grid)
    pattern = simulate_xrd(alloy, grid, disorder="average", dtype=float)[0]
    sticks = XRDCalculator("CuKa").get_pattern(alloy, two_theta_range=(10, 110))
    assert cosine(pattern, broaden(sticks, grid)) > 0.99999


def test_debye_waller_as_in_pymatgen(structures):
    factors = {"Hg": 1.2, "S": 0.4}
    grid = XRDGrid(fwhm=0.2)
    pattern = simulate_xrd(structures[0], grid, debye_waller=factors, dtype=float)[0]
    sticks = XRDCalculator("CuKa", debye_waller_factors=factors).get_pattern(structures[0], two_theta_range=(10, 110))
    assert cosine(pattern, broaden(sticks, grid)) > 0.99999
    assert cosine(pattern, simulate_xrd(structures[0], grid, dtype=float)[0]) < 0.9999


def test_debye_waller_of_no_element(structures):
    with pytest.raises(UnknownElementError, match="Xy"):
        simulate_xrd(structures[0], debye_waller={"Xy": 1.0})


def test_structure_factor_by_hand():
    """Caesium chloride by the textbook: F = f_Cs + f_Cl or f_Cs - f_Cl."""
    salt = make_crystal([55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], 4.12 * np.eye(3))
    grid = XRDGrid(20, 32, 1200)
    pattern = simulate_xrd(salt, grid, normalize=False, dtype=float)[0]
    from deepchem_crystalssl.crystals.elements import scattering_parameters

    expected = []
    for h2, multiplicity, sign in ((1, 6, -1), (2, 12, 1)):
        s = np.sqrt(h2) / (2 * 4.12)
        f = [
            z - 41.78214 * s**2 * (p[:, 0] * np.exp(-p[:, 1] * s**2)).sum()
            for z, p in ((55, scattering_parameters()[55]), (17, scattering_parameters()[17]))
        ]
        theta = np.arcsin(s * 1.54184)
        lorentz = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
        expected.append(multiplicity * (f[0] + sign * f[1]) ** 2 * lorentz)
    assert np.flatnonzero(pattern).size == 2
    assert pattern[pattern > 0] == pytest.approx(expected, rel=1e-5)


def test_pattern_does_not_depend_on_how_the_crystal_is_written(prototypes):
    grid = XRDGrid(fwhm=0.1)
    rng = np.random.default_rng(0)
    for crystal in prototypes[:40]:
        ways = [
            crystal,
            rotated(crystal, rng),
            translated(crystal, rng),
            permuted(crystal, rng)[0],
            recelled(crystal, rng),
            supercell(crystal, (2, 1, 1))[0],
        ]
        patterns = simulate_xrd(ways, grid, dtype=float)
        for other in patterns[1:]:
            assert cosine(patterns[0], other) > 1 - 1e-7, crystal


def test_sticks_keep_the_intensity_of_the_profile(prototypes):
    """A profile only spreads what the sticks hold."""
    for crystal in prototypes[:10]:
        sticks = simulate_xrd(crystal, XRDGrid(), normalize=False, dtype=float).sum()
        for profile in ("gaussian", "pseudo-voigt"):
            grid = XRDGrid(fwhm=0.1, profile=profile)
            area = simulate_xrd(crystal, grid, normalize=False, dtype=float).sum() * grid.step
            assert area == pytest.approx(sticks, rel=0.02)


def test_profiles_by_formula():
    """One isolated line against the textbook profiles."""
    salt = make_crystal([55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], 4.12 * np.eye(3))
    center = 2 * np.degrees(np.arcsin(1.54184 * np.sqrt(2) / (2 * 4.12)))
    for profile in ("gaussian", "lorentzian", "pseudo-voigt"):
        grid = XRDGrid(center - 1, center + 1, 2000, profile=profile, fwhm=0.2, mixing=0.3)
        x = (grid.two_theta - center) / 0.2
        gaussian = np.sqrt(4 * np.log(2) / np.pi) / 0.2 * np.exp(-4 * np.log(2) * x**2)
        lorentzian = 2 / (np.pi * 0.2) / (1 + 4 * x**2)
        mixing = {"gaussian": 0.0, "lorentzian": 1.0, "pseudo-voigt": 0.3}[profile]
        expected = (1 - mixing) * gaussian + mixing * lorentzian
        pattern = simulate_xrd(salt, grid, dtype=float)[0]
        near = np.abs(x) < 2.9  # Gaussian tails are drawn to three widths
        assert np.allclose(pattern[near], (expected / expected.max())[near], atol=1e-4)


def test_batch_equals_single(prototypes):
    batch = simulate_xrd(prototypes[:30])
    for crystal, pattern in zip(prototypes[:30], batch, strict=True):
        assert np.array_equal(simulate_xrd(crystal)[0], pattern)


def test_default_grid_is_suzukis():
    grid = XRDGrid()
    assert (grid.two_theta_min, grid.two_theta_max, grid.n_bins, grid.wavelength_angstrom) == (10, 110, 5000, 1.54184)
    assert grid.edges[0] == 10 and grid.edges[-1] == 110
    assert np.allclose(grid.two_theta, (grid.edges[1:] + grid.edges[:-1]) / 2)


def test_normalized_to_maximum(prototypes):
    patterns = simulate_xrd(prototypes[:20])
    assert patterns.dtype == np.float32 and np.allclose(patterns.max(1), 1) and patterns.min() >= 0


@pytest.mark.parametrize(
    "bad, name",
    [
        (dict(two_theta_min=0), "two_theta_min"),
        (dict(two_theta_min=120), "two_theta_min"),
        (dict(two_theta_max=190), "two_theta_max"),
        (dict(two_theta_min=float("nan")), "two_theta_min"),
        (dict(n_bins=0), "n_bins"),
        (dict(fwhm=-1), "fwhm"),
        (dict(profile="square"), "profile"),
        (dict(mixing=2), "mixing"),
        (dict(wavelength="CuKx"), "wavelength"),
        (dict(wavelength=-1.0), "wavelength"),
    ],
)
def test_bad_grids_name_the_parameter(bad, name, prototypes):
    with pytest.raises(GridError, match=name):
        simulate_xrd(prototypes[0], XRDGrid(**bad))


def test_bad_items_cost_themselves_alone(prototypes):
    einsteinium = make_crystal([99], [[0, 0, 0]], 4 * np.eye(3), "Es")
    tiny = make_crystal([1], [[0, 0, 0]], 0.7 * np.eye(3), "tiny")
    report = Report()
    patterns = simulate_xrd([prototypes[0], einsteinium, tiny, prototypes[1]], on_error="skip", report=report)
    assert np.array_equal(patterns, simulate_xrd(prototypes[:2]))
    assert [type(e) for e in report] == [ScatteringFactorError, NoReflectionsError]
    assert [e.index for e in report] == [1, 2] and np.isfinite(patterns).all()
    with pytest.raises(ScatteringFactorError, match="Es"):
        simulate_xrd(einsteinium)


def test_nothing_in_nothing_out():
    assert simulate_xrd([]).shape == (0, 5000)
