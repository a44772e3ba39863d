"""Duplicates by the one rule that evaluation and training share."""

import numpy as np
import pytest

from deepchem_crystalssl import evaluation, structures_to_graphs
from deepchem_crystalssl.crystals.duplicates import duplicate_groups, invariants
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.diffraction.grid import XRDGrid
from deepchem_crystalssl.models.batches import BatchMaker
from deepchem_crystalssl.testing import recelled, rotated, supercell


def test_duplicates_whatever_the_cell(structures):
    crystals = [structures[0], structures[0] * (2, 1, 1), structures[3], structures[0].get_primitive_structure()]
    crystals[2] = crystals[2].copy().apply_strain(0.001, inplace=False)
    groups = duplicate_groups(structures_to_graphs([*crystals, structures[3]]))
    assert groups[0] == groups[1] == groups[3] and len({groups[0], groups[2], groups[4]}) == 3
    assert duplicate_groups([]).shape == (0,)


def test_invariants_by_hand():
    crystal = make_crystal([{"Cu": 0.5, "Au": 0.25}], [[0, 0, 0]], 3 * np.eye(3))
    (graph,) = structures_to_graphs(crystal, disorder="average")
    d = graph.distance.astype(float)
    expected = [0.5 * 29 + 0.25 * 79, 0.5 * 29**2.5 + 0.25 * 79**2.5, 27.0, d.sum(), (d**3).sum()]
    assert invariants([graph, graph])[1] == pytest.approx(expected)


def test_the_way_a_crystal_is_written_does_not_change_its_invariants(prototypes):
    rng = np.random.default_rng(0)
    for crystal in prototypes[::24]:
        ways = [crystal, rotated(crystal, rng), recelled(crystal, rng), supercell(crystal)[0]]
        numbers = invariants(structures_to_graphs(ways))
        assert np.abs(np.log(numbers) - np.log(numbers[0])).max() < 1e-5


@pytest.mark.parametrize("strain, equal", [(1e-5, True), (2e-4, False)])
def test_the_tolerance_is_that_of_the_rule(structures, strain, equal):
    graphs = structures_to_graphs([structures[3], structures[3].copy().apply_strain(strain, inplace=False)])
    assert (len(set(duplicate_groups(graphs))) == 1) == equal


def test_evaluation_and_training_use_the_same_rule(prototypes):
    assert evaluation.duplicate_groups is duplicate_groups
    crystals = [prototypes[0], prototypes[5], supercell(prototypes[0])[0], prototypes[9]]
    graphs = structures_to_graphs(crystals)
    maker = BatchMaker(XRDGrid(), None, frozenset({"crystals"}), "auto")
    groups = duplicate_groups(graphs)
    same = maker(graphs, 0, "cpu").same.numpy()
    assert np.array_equal(same, groups[:, None] == groups) and same[0, 2] and same.sum() == 6
