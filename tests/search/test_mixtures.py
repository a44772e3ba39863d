"""Mixtures: what pymatgen's calculator says of the intensities of weighed phases is taken apart again."""

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl.crystals.formats.convert import to_crystal
from deepchem_crystalssl.diffraction.fitting import fit
from deepchem_crystalssl.diffraction.measurement import Measurement
from deepchem_crystalssl.search.mixtures import Part, Proposal, joint_scales, take_apart, weight_fractions

STRUCTURES = {
    "NaCl": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "CeO2": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.411), ["Ce", "O"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    "Si": Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]),
    "MgO": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "rutile": Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    ),
    "anatase": Structure.from_spacegroup(
        "I4_1/amd", Lattice.tetragonal(3.784, 9.515), ["Ti", "O"], [[0, 0, 0], [0, 0, 0.208]]
    ),
    "CsCl": Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.123), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
}
ANGLES = np.arange(15.0, 90.0, 0.02)


def scan(weights, noise=0.0, seed=0):
    """Counts of a mixture, from the intensities that pymatgen gives for the cell of each phase."""
    counts = np.zeros(len(ANGLES))
    for name, weight in weights.items():
        structure = STRUCTURES[name]
        pattern = XRDCalculator("CuKa1").get_pattern(structure, scaled=False, two_theta_range=(10, 95))
        per_volume = weight / float(structure.density) / structure.volume**2
        for two_theta, intensity in zip(pattern.x, pattern.y, strict=True):
            counts += per_volume * float(intensity) * np.exp(-4 * np.log(2) * ((ANGLES - two_theta) / 0.12) ** 2)
    counts = 20_000 * counts / counts.max() + 100
    return np.random.default_rng(seed).poisson(counts).astype(float) if noise else counts


def proposals(names):
    return [Proposal(k, to_crystal(STRUCTURES[name], name), 0.5, 0.0) for k, name in enumerate(names)]


def fit_all(measurement, proposed):
    return [fit(measurement, one.crystal, one.strain) for one in proposed]


def taken_apart(weights, n_phases=None, noise=1.0):
    measurement = Measurement.of(ANGLES, scan(weights, noise), 1.54059)
    proposed = proposals(STRUCTURES)
    first = [Part(p, f) for p, f in zip(proposed, fit_all(measurement, proposed), strict=True)]
    return measurement, take_apart(measurement, first, lambda rest: proposed, fit_all, n_phases)


@pytest.mark.parametrize(
    "weights", [{"NaCl": 0.5, "CeO2": 0.5}, {"Si": 0.3, "MgO": 0.7}, {"Si": 0.5, "NaCl": 0.3, "CeO2": 0.2}]
)
def test_weighed_phases_are_found_again(weights):
    measurement, parts = taken_apart(weights)
    assert {part.proposal.crystal.reduced_formula for part in parts} == set(weights)
    fractions, errors = weight_fractions(measurement, parts)
    assert fractions.sum() == pytest.approx(1.0)
    for part, fraction, error in zip(parts, fractions, errors, strict=True):
        assert fraction == pytest.approx(weights[part.proposal.crystal.reduced_formula], abs=0.025)
        assert 0.0 < error < 0.05


@pytest.mark.parametrize("name", ["NaCl", "CeO2", "Si"])
def test_a_single_phase_stays_alone(name):
    measurement, parts = taken_apart({name: 1.0})
    assert [part.proposal.crystal.reduced_formula for part in parts] == [name]
    assert joint_scales(measurement, parts)[1] < 0.1
    assert weight_fractions(measurement, parts)[0] == pytest.approx([1.0])


def test_polymorphs_are_two_phases():
    """Anatase and rutile, as in a common pigment."""
    measurement, parts = taken_apart({"anatase": 0.75, "rutile": 0.25})
    fractions, _ = weight_fractions(measurement, parts)
    names = [part.proposal.crystal.material_id for part in parts]
    assert dict(zip(names, fractions, strict=True)) == pytest.approx({"anatase": 0.75, "rutile": 0.25}, abs=0.025)


def test_the_number_of_phases_may_be_given():
    _, parts = taken_apart({"NaCl": 0.5, "CeO2": 0.3, "Si": 0.2}, n_phases=2)
    assert len(parts) == 2


def test_a_phase_that_explains_all_leaves_nothing():
    measurement = Measurement.of(ANGLES, scan({"Si": 1.0}), 1.54059)
    assert measurement.without(measurement.counts) is None
