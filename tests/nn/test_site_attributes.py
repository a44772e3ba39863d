"""What sites enter with: against plain loops, known crystals, and the laws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from scipy.special import sph_harm_y

from deepchem_crystalssl import structures_to_graphs
from deepchem_crystalssl.nn.bonds import bond_valence_sums, rattling_frequencies, single_bond_lengths
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.site_attributes import (
    BOND_ATTRIBUTES,
    CELL_ATTRIBUTES,
    ELEMENT_ATTRIBUTES,
    SITE_ATTRIBUTES,
    cell_attributes,
    site_attributes,
)
from deepchem_crystalssl.pretext.views import edges_at, masked
from deepchem_crystalssl.testing import permuted, recelled, rotated, supercell, translated


def batch_of(crystals):
    return GraphBatch.from_graphs(structures_to_graphs(crystals))


def attributes_of(crystals):
    batch = batch_of(crystals)
    return batch, dict(zip(SITE_ATTRIBUTES, site_attributes(batch).numpy().T, strict=True))


def test_names_are_the_columns(prototypes):
    batch = batch_of(prototypes[:5])
    sites = site_attributes(batch)
    assert sites.shape == (batch.total_sites, len(SITE_ATTRIBUTES)) and torch.isfinite(sites).all()
    assert len(set(SITE_ATTRIBUTES)) == len(ELEMENT_ATTRIBUTES) + len(BOND_ATTRIBUTES)
    cells = cell_attributes(batch, sites)
    assert cells.shape == (5, len(CELL_ATTRIBUTES)) and torch.isfinite(cells).all()


@pytest.mark.parametrize(
    "group, lattice, species, places, coordination, vanishing",
    [
        ("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, [0.5] * 3], 6, ("dipole", "quadrupole", "octupole")),
        ("Fd-3m", Lattice.cubic(3.567), ["C"], [[0] * 3], 4, ("dipole", "quadrupole")),
        ("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0] * 3], 12, ("dipole", "quadrupole", "octupole")),
    ],
)
def test_high_symmetry(group, lattice, species, places, coordination, vanishing):
    _, of = attributes_of(Structure.from_spacegroup(group, lattice, species, places))
    assert of["coordination number"][0] == pytest.approx(coordination, abs=0.25)
    for name in vanishing:
        assert of[name][0] < 1e-3
    assert of["hexadecapole"][0] > 0.1
    assert of["like neighbors"][0] > 0.99 if len(species) == 1 else of["like neighbors"][0] < 0.4


def test_order_and_spreads_against_a_loop(prototypes):
    batch, of = attributes_of(prototypes[9])
    lengths = single_bond_lengths(batch)
    v = torch.exp((lengths - batch.distance) / 0.37).numpy()
    directions, distance, center = batch.direction.numpy(), batch.distance.numpy(), batch.center.numpy()
    relative = distance / lengths.numpy()
    for site in range(batch.total_sites):
        edges = np.flatnonzero(center == site)
        p = v[edges] / v[edges].sum()
        assert of["number of bonds"][site] == pytest.approx(1 / (p**2).sum(), rel=1e-4)
        d = distance[edges]
        weights = np.exp(1 - (d / d.min()) ** 6)
        weights = np.exp(1 - (d / ((weights * d).sum() / weights.sum())) ** 6)
        assert of["coordination number"][site] == pytest.approx(weights.sum(), rel=1e-4)
        assert of["nearest distance"][site] == pytest.approx(distance[edges].min(), rel=1e-5)
        mean = (p * relative[edges]).sum()
        assert of["relative bond length"][site] == pytest.approx(mean, rel=1e-4)
        spread = (p * (relative[edges] - mean) ** 2).sum() ** 0.5
        assert of["bond length spread"][site] == pytest.approx(spread, abs=2e-3)
        polar, azimuth = np.arccos(directions[edges, 2].clip(-1, 1)), np.arctan2(*directions[edges, 1::-1].T)
        for degree, name in enumerate(("dipole", "quadrupole", "octupole", "hexadecapole"), start=1):
            sums = [(p * sph_harm_y(degree, m, polar, azimuth)).sum() for m in range(-degree, degree + 1)]
            expected = (4 * np.pi / (2 * degree + 1) * (np.abs(sums) ** 2).sum()) ** 0.5
            assert of[name][site] == pytest.approx(expected, abs=2e-3)


def test_what_bonds_say_is_said_once(prototypes):
    """The columns made in one pass are those of the functions that carry their formulas."""
    batch, of = attributes_of(prototypes[:30])
    assert np.allclose(of["valence"], bond_valence_sums(batch).clamp(-9, 9).numpy(), atol=1e-4)
    assert np.allclose(of["frequency"], rattling_frequencies(batch).numpy(), rtol=1e-4)


def test_the_same_however_the_crystal_is_written(prototypes):
    rng = np.random.default_rng(0)
    for crystal in prototypes[::6]:
        ways = [crystal, rotated(crystal, rng), translated(crystal, rng), recelled(crystal, rng)]
        batch = batch_of(ways)
        sites = site_attributes(batch)
        first, *others = sites.split(crystal.num_nodes)
        assert all(torch.allclose(other, first, atol=2e-3, rtol=1e-3) for other in others), crystal
        assert torch.allclose(*cell_attributes(batch, sites)[:2], rtol=1e-3)
        moved, order = permuted(crystal, rng)
        assert torch.allclose(site_attributes(batch_of(moved)), first[order], atol=2e-3, rtol=1e-3)
        large, origin = supercell(crystal)
        assert torch.allclose(site_attributes(batch_of(large)), first[origin], atol=2e-3, rtol=1e-3)


def test_a_hidden_element_tells_nothing(prototypes):
    """Whatever stands on the hidden sites, nobody's attributes change."""
    batch = batch_of(prototypes[:20])
    hidden = torch.zeros(batch.total_sites, dtype=torch.bool)
    hidden[::3] = True
    other = replace(batch, atomic_numbers=torch.where(hidden, 30, batch.atomic_numbers))
    assert not torch.equal(site_attributes(batch), site_attributes(other))
    assert torch.equal(site_attributes(masked(batch, hidden)), site_attributes(masked(other, hidden)))


def test_a_hidden_distance_tells_nothing(prototypes):
    batch = batch_of(prototypes[:20])
    chosen = torch.zeros(batch.total_sites, dtype=torch.bool)
    chosen[::4] = True
    edges = edges_at(batch, chosen)
    other = replace(batch, distance=torch.where(edges, 0.8 * batch.distance, batch.distance))
    assert not torch.equal(site_attributes(batch), site_attributes(other))
    seen, unseen = (site_attributes(masked(b, None, edges)) for b in (batch, other))
    assert torch.equal(seen, unseen) and torch.isfinite(seen).all()


def test_a_mixed_site_lies_between_its_species():
    def solid(species):
        return Structure(Lattice.cubic(3.0), [species], [[0, 0, 0]])

    def electronegativity(species):
        graph = structures_to_graphs(solid(species), disorder="average")
        return float(site_attributes(GraphBatch.from_graphs(graph))[0, 0])

    mixed = electronegativity({"Fe": 0.5, "Co": 0.5})
    assert mixed == pytest.approx((electronegativity("Fe") + electronegativity("Co")) / 2, abs=1e-5)
