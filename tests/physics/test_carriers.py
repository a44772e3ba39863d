"""What carries the highest modes and the band edges."""

import numpy as np
import pytest
from pymatgen.core import Element, Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.symmetry import primitive_cell
from deepchem_crystalssl.physics.carriers import BOND_ATTRIBUTES, SITE_ATTRIBUTES, bond_attributes, named
from deepchem_crystalssl.physics.columns import bonded, column_names, site_physics
from deepchem_crystalssl.physics.parameters import SiteParameters
from deepchem_crystalssl.physics.spring_columns import _carriers
from deepchem_crystalssl.physics.springs import Springs


def rocksalt(cation, anion, a):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def of_crystal(structure):
    return dict(zip(column_names(), dcs.model_physics(structure, progress=False)[0].astype(float), strict=True))


def of_sites(structure):
    return dict(zip(column_names(level="site"), site_physics(structure, progress=False).T, strict=True))


def test_in_a_crystal_of_two_atoms_the_lighter_one_moves():
    """In the one optical mode the momenta cancel, so that an atom's share of the energy goes with 1 / m."""
    for cation, anion, a in (("Na", "Cl", 5.64), ("Cs", "H", 6.38), ("Mg", "O", 4.21)):
        light, heavy = (float(Element(symbol).atomic_mass) for symbol in (anion, cation))
        share = of_sites(rocksalt(cation, anion, a))["share of the highest modes"]
        assert share[-1] == pytest.approx(heavy / (light + heavy), rel=1e-4)
        assert share.sum() == pytest.approx(4, rel=1e-5)  # four primitive cells
        columns = of_crystal(rocksalt(cation, anion, a))
        expected = (heavy * np.log(light) + light * np.log(heavy)) / (light + heavy)
        assert columns["log mass of the highest modes (log u)"] == pytest.approx(expected, abs=1e-3)
        assert columns["localization of the highest modes"] == pytest.approx(
            (heavy**2 + light**2) / (heavy + light) ** 2, rel=1e-4
        )
        assert columns["bond length of the highest modes (Å)"] == pytest.approx(a / 2, rel=0.05)


def test_an_oxygen_holds_the_upper_electrons_and_a_hydrogen_moves_fastest():
    electrons = of_sites(rocksalt("Mg", "O", 4.21))
    assert electrons["share of the valence band edge"][4:].min() > 0.8
    assert electrons["share of the conduction band edge"][:4].min() > 0.5
    hydroxide = Structure.from_spacegroup(  # brucite
        "P-3m1",
        Lattice.hexagonal(3.148, 4.779),
        ["Mg", "O", "H"],
        [[0, 0, 0], [1 / 3, 2 / 3, 0.22], [1 / 3, 2 / 3, 0.42]],
    )
    share = of_sites(hydroxide)["share of the highest modes"]
    assert share[3:].sum() > 0.9
    assert of_crystal(hydroxide)["bond length of the highest modes (Å)"] == pytest.approx(0.96, abs=0.1)


def test_shares_add_up(prototypes):
    report = dcs.Report()
    table = dict(
        zip(column_names(level="site"), site_physics(prototypes, report=report, progress=False).T, strict=True)
    )
    first = np.cumsum([0, *(crystal.num_nodes for crystal in prototypes)])[:-1]
    repeats = [crystal.num_nodes / primitive_cell(crystal)[0].num_nodes for crystal in prototypes]
    assert not report
    for name in ("highest modes", "valence band edge", "conduction band edge"):
        share = table[f"share of the {name}"]
        assert share.min() >= 0 and np.allclose(np.add.reduceat(share, first), repeats, rtol=1e-4)


def test_the_energies_of_the_springs_are_that_of_the_crystal(prototypes):
    for crystal in prototypes[::40]:
        graph = bonded(primitive_cell(crystal)[0])
        own = SiteParameters.of(graph)
        springs, rng = Springs(graph, own), np.random.default_rng(0)
        moved = rng.normal(size=(graph.num_nodes, 3, 2))
        matrix = springs.at(np.zeros((1, 3)), real=True)[0] * np.sqrt(np.outer(*[np.repeat(own.mass, 3)] * 2))
        flat = moved.reshape(-1, 2)
        assert springs.energies(moved).sum() / 2 == pytest.approx(np.einsum("im,ij,jm->", flat, matrix, flat))
        attributes = bond_attributes(springs.bonds, springs.constants, own)
        assert attributes.shape == (len(springs.constants), len(BOND_ATTRIBUTES)) and np.isfinite(attributes).all()


def test_a_mean_has_the_unit_of_its_attribute():
    assert named(SITE_ATTRIBUTES[1:3], "edge") == ("log mass of the edge (log u)", "bonding radius of the edge (Å)")
    assert named(("number of d electrons",), "edge") == ("number of d electrons of the edge",)


def test_a_cell_of_one_atom_has_carriers():
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]])
    columns = of_crystal(copper)
    assert columns["localization of the highest modes"] == pytest.approx(1)
    assert columns["log mass of the highest modes (log u)"] == pytest.approx(np.log(63.546), rel=1e-5)
    assert columns["bond length of the highest modes (Å)"] == pytest.approx(3.615 / np.sqrt(2), rel=0.05)


def test_shares_are_sums_over_modes_and_bonds(prototypes):
    """Written out mode by mode and bond by bond, for quartz."""
    quartz = next(crystal for crystal in prototypes if crystal.material_id == "A2B_hP9_152_c_a")
    graph = bonded(primitive_cell(quartz)[0])
    own = SiteParameters.of(graph)
    springs = Springs(graph, own)
    squared, modes = np.linalg.eigh(springs.at(np.zeros((1, 3)), real=True)[0])
    frequency, bonds = springs.frequencies(squared), springs.bonds
    of_sites, of_bonds = np.zeros(graph.num_nodes), np.zeros(len(bonds.length))
    for k in np.flatnonzero(frequency > frequency.max() / 2):
        weight = np.exp((frequency[k] / frequency.max() - 1) / 0.1) - np.exp(-5)
        vector = modes[:, k].reshape(-1, 3)
        of_sites += weight * (vector**2).sum(1)
        moved = vector / np.sqrt(own.mass)[:, None]
        for e, (i, j) in enumerate(zip(bonds.center, bonds.neighbor, strict=True)):
            change, r = moved[j] - moved[i], bonds.direction[e]
            tensor = springs.constants[e] * (0.97 * np.outer(r, r) + 0.03 * np.eye(3))
            of_bonds[e] += weight * change @ tensor @ change
    found_sites, found_bonds = _carriers(springs, frequency, modes)
    assert np.allclose(found_sites, of_sites / of_sites.sum(), atol=1e-9)
    assert np.allclose(found_bonds, of_bonds / of_bonds.sum(), atol=1e-9)
