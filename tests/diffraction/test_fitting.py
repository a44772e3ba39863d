"""What the fit of a calculated to a measured pattern finds: scale, cell, zero shift, width, the anode's second line."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import HARD, MeasurementConditions, measure_patterns
from deepchem_crystalssl.diffraction.fitting import (
    Texture,
    _Lines,
    _pattern,
    allowed_strains,
    choose_lines,
    find_texture,
    fit,
    slide,
)
from deepchem_crystalssl.diffraction.kernels import DrawnConditions, compute_patterns
from deepchem_crystalssl.diffraction.measurement import Measurement
from deepchem_crystalssl.diffraction.radiation import resolve_wavelength
from deepchem_crystalssl.crystals.symmetry import crystal_system, rotations
from deepchem_crystalssl.crystals.validation import make_crystal

GRID = dcs.XRDGrid(wavelength="CuKa1")


def crystal_of(prototypes, name):
    return next(crystal for crystal in prototypes if crystal.material_id == name)


def counts_of(crystal, conditions=HARD, seed=0, height=5000.0, background=80.0):
    """Counts with Poisson noise over a background, every 0.02 degrees."""
    ideal = measure_patterns([crystal], conditions, GRID, seed)[0].astype(float)
    return np.random.default_rng(seed).poisson(height * ideal + background + 100 * np.exp(-GRID.two_theta / 30))


@pytest.mark.parametrize(
    ("kind", "n"),
    [("cubic", 1), ("tetragonal", 2), ("trigonal", 2), ("hexagonal", 2), ("orthorhombic", 3), ("monoclinic", 4),
     ("triclinic", 6)],
)  # fmt: skip
def test_strains_that_keep_the_symmetry(prototypes, kind, n):
    crystal = next(crystal for crystal in prototypes if crystal_system(crystal) == kind)
    basis = allowed_strains(crystal)
    assert len(basis) == n
    assert np.allclose(np.einsum("aij,bij->ab", basis, basis), np.eye(n))
    for turn in rotations(crystal):
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-3)
        assert np.allclose(turn @ basis @ turn.T, basis, atol=1e-3)


def test_sliding_finds_the_scale(prototypes):
    crystal = crystal_of(prototypes, "AB2_cP12_205_a_c")
    other = crystal_of(prototypes, "AB_hP12_186_a2b_a2b")
    for scale in (-0.024, 0.0, 0.017):
        stretched = make_crystal(crystal.atomic_numbers, crystal.frac_coords, crystal.lattice * (1 + scale), "x")
        counts = counts_of(stretched, MeasurementConditions(fwhm=(0.2, 0.2)))
        cosines, strains = slide(Measurement.of(GRID.two_theta, counts, 1.54056), [other, crystal])
        assert strains[1] == pytest.approx(scale, abs=4e-4) and cosines[1] > 0.8 > cosines[0]


def test_the_fit_recovers_cell_zero_and_width(prototypes):
    """Against a pattern by pymatgen, of another cell, with peaks drawn here."""
    crystal = crystal_of(prototypes, "AB_tP8_136_g_f")
    lattice = crystal.lattice * [[1.002], [1.012], [1.012]]  # its four-fold axis is the first
    true = Structure(Lattice(lattice), crystal.to_structure().species, crystal.frac_coords)
    lines = XRDCalculator(1.54056).get_pattern(true, two_theta_range=(10, 110))
    angles = np.arange(10, 110, 0.02)
    counts = sum(y * np.exp(-4 * np.log(2) * ((angles - x - 0.06) / 0.2) ** 2) for x, y in zip(lines.x, lines.y))
    measurement = Measurement.of(angles, 50 * counts, 1.54056)
    _, strains = slide(measurement, [crystal])
    found = fit(measurement, crystal, strains[0])
    assert found.cosine > 0.99 and found.r_wp < 0.15
    assert found.zero_shift == pytest.approx(0.06, abs=0.02) and found.fwhm == pytest.approx(0.2, abs=0.03)
    assert found.cell_scale == pytest.approx((1.012**2 * 1.002) ** (1 / 3), abs=5e-4)


def test_the_second_line_of_the_anode(prototypes):
    """A pattern with K-alpha 2 in it is fitted better with it; without, worse."""
    crystal = crystal_of(prototypes, "AB2_cP12_205_a_c")
    lines = MeasurementConditions(fwhm=(0.12, 0.12))
    first, second = (
        measure_patterns([crystal], lines, dcs.XRDGrid(wavelength=name), 0)[0].astype(float)
        for name in ("CuKa1", "CuKa2")
    )
    for counts, better in ((5000 * (first + 0.5 * second), 1), (5000 * first, 0)):
        plain = Measurement.of(GRID.two_theta, counts + 1.0, 1.54056)
        both = [plain, plain.with_doublet()]
        cosines = [fit(one, crystal, 0.0).cosine for one in both]
        assert cosines[better] > cosines[1 - better] + 0.003 and cosines[better] > 0.97


@pytest.mark.parametrize("kind", ["cubic", "hexagonal", "monoclinic", "triclinic"])
@pytest.mark.parametrize("second", [1.0, 1.0025])
@pytest.mark.parametrize("texture", [None, Texture((0, 0, 1), 0.6), Texture((1, 1, 0), 1.8)])
def test_lines_moved_are_the_pattern_simulated_anew(prototypes, kind, second, texture):
    crystal = next(crystal for crystal in prototypes if crystal_system(crystal) == kind)
    measurement = replace(Measurement.of(GRID.two_theta, counts_of(crystal), 1.54056), second_line=second)
    basis = allowed_strains(crystal)
    strains = np.random.default_rng(0).uniform(-0.01, 0.01, len(basis))
    parameters = np.concatenate([strains, [0.1, np.log(0.15), 0.4]])
    expected = _pattern(measurement, crystal, basis, parameters, texture)
    lines = _Lines.of(measurement.grid, crystal, 0.0).oriented(texture)
    unmoved = np.concatenate([0 * strains, parameters[-3:]])
    drawn = lines.draw(measurement, basis, np.stack([parameters, unmoved]))
    cosines = drawn @ expected / (np.linalg.norm(drawn, axis=1) * np.linalg.norm(expected))
    assert cosines[0] > 0.9995 and cosines[1] < 0.9


def test_an_element_without_scattering_factor_has_no_lines():
    crystal = make_crystal([110], [[0.0, 0.0, 0.0]], 3.0 * np.eye(3), "Ds")
    measurement = Measurement.of(GRID.two_theta, 10.0 + 1000 * np.exp(-(((GRID.two_theta - 40) / 0.1) ** 2)), 1.54056)
    assert fit(measurement, crystal, 0.0).cosine == 0.0


ANODES = ["Cu", "Mo", "Cr", "Fe", "Co", "Ag"]
CALLED = {
    "the mean": lambda anode: resolve_wavelength(f"{anode}Ka"),
    "K-alpha 1": lambda anode: resolve_wavelength(f"{anode}Ka1"),
    "the mean, rounded": lambda anode: rounded(resolve_wavelength(f"{anode}Ka")),
    "K-alpha 1, rounded": lambda anode: rounded(resolve_wavelength(f"{anode}Ka1")),
}


def rounded(wavelength):
    """To five digits at least, as it is printed in tables."""
    return round(wavelength, 4 if wavelength > 1 else 5)


def doublet_of(crystal, anode, fwhm=0.1):
    """Angles and counts of a crystal measured with K-alpha 1 and 2 of an anode, up to sin theta = 0.8 of copper."""
    scale = resolve_wavelength(f"{anode}Ka1") / resolve_wavelength("CuKa1")
    low, high = 2 * np.degrees(np.arcsin(np.minimum(scale * np.array([0.1, 0.8]), 0.95)))
    grid = dcs.XRDGrid(float(low), float(high), int((high - low) / 0.01))
    first, second = (
        dcs.simulate_xrd(crystal, replace(grid, wavelength=f"{anode}Ka{n}", fwhm=fwhm), normalize=False, dtype=float)[0]
        for n in (1, 2)
    )
    counts = np.asarray(first + 0.5 * second)
    return grid.two_theta, 10.0 + 1e4 * counts / counts.max()


@pytest.mark.parametrize("anode", ANODES)
@pytest.mark.parametrize("called", CALLED)
@pytest.mark.parametrize("name", ["AB2_cP12_205_a_c", "AB_tP2_123_a_d"])
def test_a_doublet_gives_the_cell_whatever_its_wavelength_is_called(prototypes, anode, called, name):
    """Cells refer to K-alpha 1 when both lines are modelled; with the mean they would be .083 % too large."""
    crystal = crystal_of(prototypes, name)
    stretched = make_crystal(crystal.atomic_numbers, crystal.frac_coords, crystal.lattice * 1.004, "x")
    angles, counts = doublet_of(stretched, anode)
    measurement = Measurement.of(angles, counts, CALLED[called](anode))
    _, strains = slide(measurement, [crystal])
    chosen = choose_lines(measurement, crystal, float(strains[0]))
    assert chosen.second_line > 1.0
    assert fit(chosen, crystal, float(strains[0])).cell_scale == pytest.approx(1.004, rel=1e-4)


@pytest.mark.parametrize("wavelength", ["CuKa", "CuKa1", 1.0])
def test_a_single_line_is_taken_at_the_wavelength_that_was_given(prototypes, wavelength):
    crystal = crystal_of(prototypes, "AB2_cP12_205_a_c")
    grid = dcs.XRDGrid(10, 90, 8000, wavelength, fwhm=0.1)
    counts = 10.0 + 1e4 * np.asarray(dcs.simulate_xrd(crystal, grid, dtype=float)[0])
    measurement = Measurement.of(grid.two_theta, counts, resolve_wavelength(wavelength))
    chosen = choose_lines(measurement, crystal, 0.0)
    assert chosen.second_line == 1.0
    assert fit(chosen, crystal, 0.0).cell_scale == pytest.approx(1.0, rel=1e-4)


def test_preferred_orientation_is_found_and_only_where_it_is(prototypes):
    """Plates of a hexagonal crystal, whose basal planes lie in the surface."""
    crystal = crystal_of(prototypes, "AB_hP12_186_a2b_a2b")
    drawn = DrawnConditions.of_grid(GRID, 1)._replace(fwhm=np.array([0.15]), march=np.array([0.55]))
    plates = compute_patterns([crystal], GRID, drawn)[0]
    powder = compute_patterns([crystal], GRID, drawn._replace(march=np.array([1.0])))[0]
    for pattern, textured in ((plates, True), (powder, False)):
        counts = np.random.default_rng(0).poisson(20_000 * pattern / pattern.max() + 50.0).astype(float)
        measurement = Measurement.of(GRID.two_theta, counts, 1.54056)
        found = fit(measurement, crystal, 0.0)
        texture = find_texture(measurement, crystal, found)
        assert (texture is not None) == textured
        if texture is not None:
            assert texture.axis == (0, 0, 1) and texture.march == pytest.approx(0.55, abs=0.1)
            again = fit(measurement, crystal, 0.0, texture)
            assert again.r_wp < 0.5 * found.r_wp and again.texture == texture


def test_factors_of_preferred_orientation_leave_the_mean_over_directions(prototypes):
    """Averaged over all directions the March-Dollase factor is 1."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((200_000, 3))
    for march in (0.5, 0.8, 1.5):
        factors = Texture((0, 0, 1), march).factors(directions, np.eye(3))
        assert factors.mean() == pytest.approx(1.0, abs=0.01)
