"""Splits that keep similar crystals together."""

import deepchem as dc
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl import CrystalSplitter
from deepchem_crystalssl.crystals.symmetry import prototype, space_group
from deepchem_crystalssl.testing import recelled, rotated, supercell


@pytest.fixture(scope="module")
def dataset(graphs):
    X = np.empty(len(graphs), object)
    X[:] = graphs
    return dc.data.NumpyDataset(X, np.arange(len(X)))


@pytest.mark.once
@pytest.mark.parametrize("by", ["chemical_system", "formula", "space_group", "prototype"])
def test_no_group_is_on_two_sides(dataset, by):
    splitter = CrystalSplitter(by)
    groups = splitter.groups(dataset)
    parts = splitter.split(dataset, 0.6, 0.2, 0.2, seed=1)
    assert sorted(k for part in parts for k in part) == list(range(len(dataset)))
    owners = [set(groups[part]) for part in parts]
    assert not owners[0] & owners[1] and not owners[0] & owners[2] and not owners[1] & owners[2]
    assert [len(part) / len(dataset) for part in parts] == pytest.approx([0.6, 0.2, 0.2], abs=0.12)
    assert parts == splitter.split(dataset, 0.6, 0.2, 0.2, seed=1) != splitter.split(dataset, 0.6, 0.2, 0.2, seed=2)
    folds = splitter.k_fold_split(dataset, 4, seed=0)
    assert sorted(y for _, valid in folds for y in valid.y) == list(range(len(dataset)))
    for train, valid in folds:
        assert len(train) + len(valid) == len(dataset)
        assert not set(groups[train.y]) & set(groups[valid.y])


def test_leave_one_out(dataset):
    splitter = CrystalSplitter("formula")
    groups = splitter.groups(dataset)
    left_out = list(splitter.leave_one_out(dataset, at_least=3))
    assert {name for name, _, _ in left_out} == {g for g in set(groups) if (groups == g).sum() >= 3} and left_out
    for name, train, test in left_out:
        assert set(groups[test.y]) == {name} and name not in groups[train.y]


def test_usual_entry_points_of_deepchem(dataset):
    splitter = dc.splits.CrystalSplitter("chemical_system")
    train, valid, test = splitter.train_valid_test_split(dataset, seed=0)
    assert len(train) + len(valid) + len(test) == len(dataset) and len(test) > 0
    assert repr(splitter).startswith("CrystalSplitter") and "crystalsplitter" in dc.molnet.splitters


def test_splits_that_cannot_be(dataset):
    with pytest.raises(ValueError, match="by"):
        CrystalSplitter("colour")
    with pytest.raises(ValueError, match="add up"):
        CrystalSplitter().split(dataset, 0.5, 0.1, 0.1)
    with pytest.raises(ValueError, match="groups"):
        CrystalSplitter("space_group").k_fold_split(dataset.select(range(3)), 5)
    with pytest.raises(dcs.CrystalInputError, match="X\\[0\\].*Featurize"):
        CrystalSplitter().split(dc.data.NumpyDataset(np.zeros((3, 2))))
    failed = np.empty(2, object)
    failed[:] = [dataset.X[0], np.array([])]
    with pytest.raises(dcs.CrystalInputError, match="X\\[1\\].*leave out"):
        CrystalSplitter().split(dc.data.NumpyDataset(failed))
    for misspelt in ({"frac_trian": 0.5}, {"sed": 1}):
        with pytest.raises(TypeError):
            CrystalSplitter().split(dataset, **misspelt)
        with pytest.raises(TypeError):
            CrystalSplitter().k_fold_split(dataset, 2, **misspelt)


def test_a_prototype_is_of_the_crystal_not_of_its_cell(prototypes):
    rng = np.random.default_rng(0)
    for crystal in prototypes[::15]:
        ways = [crystal, rotated(crystal, rng), recelled(crystal, rng), supercell(crystal)[0]]
        assert len({prototype(way) for way in ways}) == 1 and len({space_group(way) for way in ways}) == 1


def test_isostructural_crystals_share_a_prototype():
    def salt(a, *species):
        return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), species, [[0, 0, 0], [0.5, 0.5, 0.5]])

    a, b = dcs.structures_to_graphs([salt(5.64, "Na", "Cl"), salt(4.2, "Mg", "O") * 2])
    assert prototype(a) == prototype(b) == "AB 225 1-1"
