"""Vibrations, elasticity and electrons of one crystal."""

import matplotlib
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.constants import Boltzmann, R, atomic_mass, c
from scipy.integrate import trapezoid

import deepchem_crystalssl as dcs
from deepchem_crystalssl.errors import DisorderError, ModelPhysicsError, OptionError, OverlappingAtomsError
from deepchem_crystalssl.physics import column_names
from deepchem_crystalssl.testing import permuted, random_rotation, rotated, supercell

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def salt():
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def quartz(prototypes):
    return next(crystal for crystal in prototypes if crystal.material_id == "A2B_hP9_152_c_a")


def test_the_columns_are_those_of_the_record(salt):
    numbers = dict(zip(column_names(), dcs.model_physics(salt, progress=False)[0], strict=True))
    found, electrons = dcs.vibrations(salt, waves_per_axis=4), dcs.electronic_structure(salt, waves_per_axis=4)
    assert found.frequencies.max() == pytest.approx(numbers["highest frequency (1/cm)"], rel=1e-5)
    assert found.weight @ found.frequencies.mean(1) == pytest.approx(numbers["mean frequency (1/cm)"], rel=1e-5)
    bulk = [10 ** numbers[f"log10 bulk modulus {name} relaxed (log10 GPa)"] for name in ("Voigt", "Reuss")]
    assert found.elasticity.bulk_modulus == pytest.approx(np.mean(bulk), rel=1e-5)
    assert (electrons.gap, electrons.direct_gap, electrons.fermi_level) == pytest.approx(
        [numbers[name] for name in ("band gap (eV)", "direct gap (eV)", "Fermi level (eV)")], rel=1e-4
    )
    assert electrons.charges.max() == pytest.approx(numbers["maximum charge (e)"], rel=1e-4)


def test_modes_of_equal_frequency_are_counted_together(salt):
    table = dcs.vibrations(salt).at_gamma()
    assert table["degeneracy"].tolist() == [3, 3] and table["frequency (1/cm)"][0] == pytest.approx(0, abs=1e-3)
    assert table["frequency (THz)"][1] == pytest.approx(table["frequency (1/cm)"][1] * 0.0299792458)


def test_densities_add_up(quartz):
    found, electrons = dcs.vibrations(quartz), dcs.electronic_structure(quartz)
    density = found.density_of_states(np.linspace(-100, found.frequencies.max() + 100, 4000))
    assert trapezoid(density.total, density.x) == pytest.approx(3, rel=1e-3)
    assert np.allclose(sum(density.by_element.values()), density.total) and set(density.by_element) == {"Si", "O"}
    levels = electrons.energies - electrons.fermi_level
    density = electrons.density_of_states(np.linspace(levels.min() - 2, levels.max() + 2, 4000))
    assert trapezoid(density.total, density.x) == pytest.approx(electrons.energies.shape[1] / 9, rel=1e-3)
    for parts in (density.by_element, density.by_orbital):
        assert np.allclose(sum(parts.values()), density.total)
    assert not density.by_orbital["d"].any()
    for record in (found, electrons):
        axes = record.plot()
        assert axes.get_xlabel() and len(axes.get_legend().get_texts()) == 3


def test_heat_capacity_is_that_of_dulong_and_petit_when_hot_and_none_when_cold(quartz):
    found = dcs.vibrations(quartz)
    assert found.heat_capacity(1e5) == pytest.approx(3 * R, rel=1e-3)
    assert found.heat_capacity(2.0) < 0.2 < found.heat_capacity(300) < 3 * R
    capacities = [found.heat_capacity(t) for t in (10, 50, 100, 300, 1000)]
    assert capacities == sorted(capacities)


def test_displacements_turn_with_the_crystal_and_grow_with_temperature(quartz):
    rng = np.random.default_rng(0)
    other, parent = supercell(quartz, (2, 1, 1))
    other, order = permuted(rotated(other, np.random.default_rng(0)), rng)
    turn = random_rotation(np.random.default_rng(0))
    expected = dcs.vibrations(quartz, waves_per_axis=3).mean_square_displacements(300)
    found = dcs.vibrations(other, waves_per_axis=3).mean_square_displacements(300)
    assert np.allclose(found, (turn.T @ expected @ turn)[parent[order]], atol=1e-8)
    assert np.linalg.eigvalsh(expected).min() > 0
    b = [dcs.vibrations(quartz).b_factors(t).mean() for t in (1.0, 300, 900)]
    assert 0 < b[0] < b[1] < b[2] / 2
    # Classical limit: proportional to the temperature.
    hot = [dcs.vibrations(quartz).b_factors(t) for t in (1e5, 2e5)]
    assert np.allclose(2 * hot[0], hot[1], rtol=1e-4)


def test_two_atoms_that_vibrate_against_each_other_when_hot(salt):
    """Equipartition: <u^2> = k T / (m omega^2) times the share of the atom in the mode."""
    found = dcs.vibrations(salt, waves_per_axis=1)
    omega = 2 * np.pi * c * 100 * found.frequencies[0, -1]
    sodium, chlorine = sorted(found.mass * atomic_mass)
    expected = 1e20 * Boltzmann * 1e5 / (sodium * omega**2) * chlorine / (sodium + chlorine)
    assert np.allclose(found.mean_square_displacements(1e5)[0], expected * np.eye(3), rtol=1e-4, atol=1e-6)


def test_the_crystals_own_displacements_weaken_its_pattern(salt, tmp_path):
    found = dcs.vibrations(salt)
    own = found.debye_waller(295.0)
    assert set(own) == {"Na", "Cl"} and all(0.3 < b < 4 for b in own.values())  # measured: 1.7 and 1.4
    at_rest, moving = dcs.simulate_xrd([salt])[0], dcs.simulate_xrd([salt], debye_waller=own)[0]
    grid = dcs.XRDGrid()
    far = (grid.two_theta > 80) & (at_rest > 0.05)
    assert far.any() and (moving[far] < at_rest[far]).all()
    found.to_cif(tmp_path / "salt.cif", 295.0)
    text = (tmp_path / "salt.cif").read_text()
    assert "_atom_site_B_iso_or_equiv" in text
    assert dcs.read_structures(tmp_path / "salt.cif", progress=False)


def test_what_nothing_holds_is_said():
    pairs = np.array([[0, 0, 0], [0.74, 0, 0], [10, 10, 10], [10, 10.74, 10]]) / 20
    far = dcs.vibrations(Structure(Lattice.cubic(20), ["H"] * 4, pairs))
    assert (
        far.free_modes == 6
        and "6 free modes" in repr(far)
        and far.elasticity.shear_modulus == pytest.approx(0, abs=1e-6)
    )
    alone = dcs.vibrations(Structure(Lattice.cubic(20), ["Ne"], [[0, 0, 0]]))
    with pytest.warns(UserWarning, match="free modes"):
        assert alone.free_modes == 3 and not alone.mean_square_displacements(300).any()


def test_sound_and_debye_temperature_of_magnesia():
    magnesia = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    elastic = dcs.vibrations(magnesia).elasticity
    longitudinal, transverse = elastic.sound_velocities  # measured: 9710 and 6050 m/s, 946 K
    assert 7000 < longitudinal < 14000 and 4000 < transverse < 8000 and 600 < elastic.debye_temperature < 1300
    assert elastic.anisotropy >= -1e-9


def test_bad_input(salt):
    mixed = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]])
    touching = Structure(Lattice.cubic(4), ["Fe", "Fe"], [[0, 0, 0], [0.001, 0, 0]])
    for function in (dcs.vibrations, dcs.electronic_structure):
        for bad, error in ((mixed, DisorderError), (touching, OverlappingAtomsError)):
            with pytest.raises(error):
                function(bad)
        with pytest.raises(ModelPhysicsError, match="2 crystals"):
            function([salt, salt])
        with pytest.raises(ModelPhysicsError, match="Rf"):
            function(Structure(Lattice.cubic(3), ["Rf"], [[0, 0, 0]]))
        with pytest.raises(OptionError, match="waves_per_axis"):
            function(salt, waves_per_axis=0)
        with pytest.raises(OptionError, match="waves_per_axis"):
            function(salt, waves_per_axis=2.5)
        with pytest.raises(OptionError, match="width"):
            function(salt).density_of_states(width=0)
        assert function(mixed, disorder="average")
    for temperature in (0, -1, float("nan")):
        with pytest.raises(OptionError, match="temperature"):
            dcs.vibrations(salt).heat_capacity(temperature)
    with pytest.raises(OptionError, match="models"):
        dcs.model_physics(salt, ["phonons"])
    rng = np.random.default_rng(0)
    large = Structure(
        Lattice.cubic(60),
        ["Li"] * 1001,
        (np.array(list(np.ndindex(11, 11, 11)))[:1001] + rng.random((1001, 3)) / 3) / 11,
    )
    with pytest.raises(ModelPhysicsError, match="1001 sites"):
        dcs.model_physics(large)


def test_bands_follow_a_path(salt, tmp_path):
    """Between Gamma and X, whose levels the grid knows; the path jumps from U to K."""
    found, electrons = dcs.vibrations(salt, waves_per_axis=4), dcs.electronic_structure(salt, waves_per_axis=4)
    for record, levels in ((found, found.frequencies), (electrons, electrons.energies - electrons.fermi_level)):
        bands = record.bands(n_points=9)
        names = [name for _, name in bands.ticks]
        assert names == ["Γ", "X", "W", "K", "Γ", "L", "U", "W", "L", "K|U", "X"]
        assert bands.levels.shape == (len(bands.distance), levels.shape[1]) and (np.diff(bands.distance) >= 0).all()
        assert np.allclose(bands.levels[0], levels[0], atol=1e-4 * np.abs(levels).max())
        assert np.abs(levels - bands.levels[8]).max(1).min() < 1e-4 * np.abs(levels).max()  # X is on the grid
        length = bands.ticks[1][0]
        assert length == pytest.approx(2 * np.pi / 5.64)
        axes = bands.plot()
        assert [tick.get_text() for tick in axes.get_xticklabels()] == names and axes.get_ylabel() == bands.label
    with pytest.raises(OptionError, match="n_points"):
        found.bands(n_points=1)


def test_bands_do_not_depend_on_the_cell(quartz):
    rng = np.random.default_rng(0)
    turned, _ = permuted(rotated(supercell(quartz, (2, 1, 1))[0], rng), rng)
    for record in (dcs.vibrations, dcs.electronic_structure):
        one, other = (record(crystal).bands(n_points=3).levels for crystal in (quartz, turned))
        assert np.allclose(one, other, atol=1e-4 * np.abs(one).max())


def test_heat_capacity_vanishes_in_the_cold(salt, quartz):
    for crystal in (salt, quartz):
        found = dcs.vibrations(crystal)
        assert found.heat_capacity(1e-9) < 1e-200 and found.heat_capacity(1) < 1e-3
        assert found.heat_capacity(1e5) == pytest.approx(3 * R, rel=1e-3)
    fine = dcs.vibrations(salt, waves_per_axis=12).heat_capacity(60)
    assert dcs.vibrations(salt).heat_capacity(60) == pytest.approx(fine, rel=0.02)


def test_lines_narrower_than_the_spectrum_are_not_lost():
    water = Structure(Lattice.cubic(12), ["O", "H", "H"], np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]) / 12)
    density = dcs.vibrations(water).density_of_states()
    assert trapezoid(density.total, density.x) == pytest.approx(3, rel=1e-3)


def test_every_species_of_a_mixed_site_has_its_factor(tmp_path):
    mixed = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.25), [{"Mg": 0.6, "Fe": 0.4}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    found = dcs.vibrations(mixed, disorder="average")
    factors = found.debye_waller(300)
    assert set(factors) == {"Mg", "Fe", "O"} and factors["Mg"] == pytest.approx(factors["Fe"]) and factors["Fe"] > 0.1
    assert set(found.density_of_states().by_element) == {"Fe:Mg", "O"}


def test_what_nothing_holds_is_warned_of():
    for lone in (Structure(Lattice.cubic(30), ["Fe"], [[0, 0, 0]]), Structure(Lattice.cubic(20), ["Ne"], [[0, 0, 0]])):
        found = dcs.vibrations(lone)
        assert found.free_modes == 3
        with pytest.warns(UserWarning, match="3 free modes, which no bond holds"):
            assert found.debye_waller(300) == {lone[0].specie.symbol: 0}


def test_a_noble_gas_has_no_empty_level():
    argon = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.31), ["Ar"], [[0, 0, 0]])
    found = dcs.electronic_structure(argon)
    assert "no empty level" in repr(found) and found.gap == 0 and np.allclose(found.charges, 0, atol=1e-6)
    assert found.fermi_level > found.energies.max() and found.plot() and found.bands(3).plot()


def test_the_fermi_level_lies_in_the_middle_of_a_gap():
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    found = dcs.electronic_structure(silicon)
    below = found.energies[found.energies < found.fermi_level].max()
    above = found.energies[found.energies > found.fermi_level].min()
    assert 0 < found.gap < 1 and above - below == pytest.approx(found.gap)
    assert found.fermi_level == pytest.approx((above + below) / 2) and abs(found.charges.sum()) < 1e-6


def test_wrong_turns_are_told_what_to_do(salt):
    found = dcs.vibrations(salt)
    for frequencies in (5.0, "abc", [], [np.nan, 1.0], [[1.0, 2.0], [3.0, 4.0]]):
        with pytest.raises(OptionError, match="frequencies"):
            found.density_of_states(frequencies)
    for models in (None, 5, "electrons", ["springs", "springs"], ["magnets"], []):
        with pytest.raises(OptionError, match="models"):
            dcs.model_physics(salt, models)
    with pytest.raises(ModelPhysicsError, match="0 crystals"):
        dcs.vibrations([])
    with pytest.raises(OptionError, match="waves_per_axis.*at most"):
        dcs.vibrations(salt, waves_per_axis=10**6)
    odd = Structure(
        Lattice.from_parameters(4, 5, 6, 90, 110, 90), ["Fe", "O", "Mg"], np.random.default_rng(0).random((3, 3))
    )
    try:
        bands = dcs.vibrations(odd).bands(3)
    except ModelPhysicsError as error:
        assert "no path" in str(error)
    else:
        assert len(bands.ticks) > 1


def test_all_processors_are_asked_for_as_in_scikit_learn(structures):
    one, all_of_them = (dcs.SpringVibrations(n_jobs=n).transform(structures[:3]) for n in (1, -1))
    assert np.array_equal(one, all_of_them)
