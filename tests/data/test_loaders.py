"""Labelled crystals from tables, folders and matminer's sets; splits that keep what is alike together."""

import json

import deepchem as dc
import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl import CrystalLoader, CrystalSplitter
from deepchem_crystalssl.crystals.symmetry import prototype, space_group
from deepchem_crystalssl.testing import recelled, rotated, supercell


@pytest.fixture(scope="module")
def table(structures):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"material_id": [f"m{k}" for k in range(40)], "structure": structures})
    frame["volume"], frame["noise"] = [s.volume for s in structures], rng.normal(size=40)
    frame.loc[3, "noise"] = np.nan
    return frame


def same(dataset, table):
    assert len(dataset) == len(table) and list(dataset.ids) == list(table["material_id"])
    assert np.allclose(dataset.y[:, 0], table["volume"]) and np.allclose([g.volume for g in dataset.X], table["volume"])
    assert dataset.w[3].tolist() == [1.0, 0.0] and dataset.y[3, 1] == 0.0 and dataset.w.sum() == 79


@pytest.mark.parametrize("kind", ["frame", "csv", "parquet", "json", "split", "disk"])
def test_tables(table, tmp_path, kind):
    texts = table.assign(structure=[json.dumps(s.as_dict()) for s in table["structure"]])
    loader = CrystalLoader(["volume", "noise"])
    if kind == "frame":
        dataset = loader.create_dataset(table)
    elif kind == "disk":
        dataset = loader.create_dataset(table, str(tmp_path / "disk"), shard_size=16)
        assert isinstance(dataset, dc.data.DiskDataset) and list(dataset.get_task_names()) == ["volume", "noise"]
    else:
        path = tmp_path / f"table.{'json' if kind == 'split' else kind}"
        if kind == "csv":
            texts.assign(structure=[s.to(fmt="cif") for s in table["structure"]]).to_csv(path)
        elif kind == "parquet":
            texts.to_parquet(path)
        elif kind == "json":
            dicts = table.assign(structure=[s.as_dict() for s in table["structure"]])
            path.write_text(json.dumps(json.loads(dicts.to_json(orient="records"))))
        else:
            texts.to_json(path, orient="split")
        dataset = loader.create_dataset(str(path))
    same(dataset, table)


@pytest.mark.parametrize("header", [True, False])
def test_folders_of_files(table, tmp_path, header):
    for row in table.itertuples():
        row.structure.to(filename=str(tmp_path / f"{row.material_id}.cif"))
    rows = table[["material_id", "volume", "noise"]]
    rows.to_csv(tmp_path / "id_prop.csv", header=header, index=False)
    same(CrystalLoader(["volume", "noise"]).create_dataset(tmp_path), table)


def test_a_bad_structure_costs_itself_alone(table, tmp_path):
    bad = Structure(Lattice.cubic(3.0), ["Fe", "Fe"], [[0, 0, 0], [0, 0, 0.001]])
    frame = table.copy()
    frame.at[5, "structure"] = bad
    loader = CrystalLoader(["volume"], on_error="skip")
    dataset = loader.create_dataset(frame)
    assert list(dataset.ids) == [f"m{k}" for k in range(40) if k != 5] and [e.index for e in loader.report] == [5]
    assert np.allclose(dataset.y[:, 0], [g.volume for g in dataset.X])
    with pytest.raises(dcs.CrystalInputError):
        CrystalLoader(["volume"], on_error="raise").create_dataset(frame)
    for row in table[:3].itertuples():
        row.structure.to(filename=str(tmp_path / f"{row.material_id}.cif"))
    (tmp_path / "id_prop.csv").write_text("m0,1\ngone,2\nm2,3\n")
    folder = CrystalLoader(["y"], on_error="skip")
    assert folder.create_dataset(tmp_path).y.ravel().tolist() == [1, 3] and [e.index for e in folder.report] == [1]


def test_sets_of_matminer_by_name(table, monkeypatch):
    frame = table.rename(columns={"volume": "n"})
    monkeypatch.setattr(
        "deepchem_crystalssl.data.loaders.load_dataset", lambda name: frame if name == "matbench_dielectric" else None
    )
    dataset = CrystalLoader(["n"]).create_dataset("matbench_dielectric")
    assert len(dataset) == 40 and np.allclose(dataset.y[:, 0], frame["n"])


@pytest.mark.parametrize(
    "tasks, inputs, word",
    [
        (["gap"], "frame", "gap"),
        (["material_id"], "frame", "numbers"),
        (["y"], "nowhere.csv", "nowhere"),
        (["y"], ".", "id_prop"),
    ],
)
def test_what_is_not_there_is_said(table, tmp_path, monkeypatch, tasks, inputs, word):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dcs.CrystalInputError, match=word):
        CrystalLoader(tasks).create_dataset(table if inputs == "frame" else inputs)


def test_a_file_of_another_kind(tmp_path):
    for name, text in (("table.xml", "<a/>"), ("table.json", "{"), ("empty.csv", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(dcs.CrystalInputError, match=name):
            CrystalLoader(["y"]).create_dataset(tmp_path / name)


# Splits


@pytest.fixture(scope="module")
def dataset(graphs):
    X = np.empty(len(graphs), object)
    X[:] = graphs
    return dc.data.NumpyDataset(X, np.arange(len(X)))


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
    with pytest.raises(dcs.CrystalInputError, match="Featurize"):
        CrystalSplitter().split(dc.data.NumpyDataset(np.zeros((3, 2))))


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
