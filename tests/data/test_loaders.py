"""Labelled crystals from tables, folders and matminer's data sets."""

import json

import deepchem as dc
import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl import CrystalLoader


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
        "deepchem_crystalssl.data.tables.load_dataset", lambda name: frame if name == "matbench_dielectric" else None
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


# One structure and its labels in each row


def cif_of(*structures):
    """One CIF text with a data block for each structure."""
    return "\n".join(f"data_{k}\n" + s.to(fmt="cif").split("\n", 2)[2] for k, s in enumerate(structures))


@pytest.mark.parametrize("kind", ["cif", "json"])
@pytest.mark.parametrize("suffix", [None, "csv", "parquet", "json"])
def test_two_structures_in_one_row_do_not_shift_the_labels_of_others(table, tmp_path, kind, suffix):
    frame = table[:5].copy()
    two = frame["structure"].tolist()[1:3]
    texts = {"cif": lambda *s: cif_of(*s), "json": lambda *s: json.dumps([one.as_dict() for one in s])}[kind]
    frame["structure"] = [texts(*two) if row == 1 else texts(s) for row, s in enumerate(frame["structure"])]
    path = frame if suffix is None else tmp_path / f"t.{suffix}"
    if suffix is not None:
        writers = {"csv": frame.to_csv, "parquet": frame.to_parquet, "json": frame.to_json}
        writers[suffix](path, **({"orient": "records"} if suffix == "json" else {"index": False}))
    loader = CrystalLoader(["volume"], on_error="skip")
    dataset = loader.create_dataset(path)
    assert dataset.ids.tolist() == ["m0", "m2", "m3", "m4"]
    assert np.allclose(dataset.y[:, 0], [g.volume for g in dataset.X])
    assert [e.index for e in loader.report] == [1] and "2 structures" in str(loader.report[0])
    with pytest.raises(dcs.CrystalInputError, match="m1: 2 structures"):
        CrystalLoader(["volume"], on_error="raise").create_dataset(path)


@pytest.mark.parametrize("bad", [[0], [4], [1, 3], [0, 2, 4]])
def test_bad_rows_anywhere_keep_the_labels_of_others(table, bad):
    frame = table[:5].copy()
    frame["structure"] = [
        ("not a crystal\n" if row % 2 else cif_of(*table["structure"][:2])) if row in bad else s
        for row, s in enumerate(frame["structure"])
    ]
    frame["structure"] = frame["structure"].astype(object)
    loader = CrystalLoader(["volume"], on_error="skip")
    dataset = loader.create_dataset(frame)
    assert loader.report.indices == bad and len(dataset) == 5 - len(bad)
    assert np.allclose(dataset.y[:, 0], [g.volume for g in dataset.X])


@pytest.mark.parametrize("ids", [["007", "7", "70"], [7, 8, 9], [7.0, 8.0, 9.0]])
@pytest.mark.parametrize("suffix", [None, "csv", "parquet"])
def test_ids_are_text(table, tmp_path, ids, suffix):
    frame = table[:3].assign(material_id=ids, structure=[cif_of(s) for s in table["structure"][:3]])
    path = frame if suffix is None else tmp_path / f"t.{suffix}"
    if suffix is not None:
        {"csv": frame.to_csv, "parquet": frame.to_parquet}[suffix](path, index=False)
    dataset = CrystalLoader(["volume"]).create_dataset(path)
    expected = [str(name).removesuffix(".0") for name in ids]
    assert dataset.ids.tolist() == expected == [g.material_id for g in dataset.X]


# Folders and paths


@pytest.fixture()
def folder(table, tmp_path):
    """a.cif, b.vasp, POSCAR-1.vasp and sub/d.cif, with the volumes of their cells."""
    (tmp_path / "sub").mkdir()
    volumes = {}
    for name, structure in zip(["a.cif", "b.vasp", "POSCAR-1.vasp", "sub/d.cif"], table["structure"], strict=False):
        structure.to(filename=str(tmp_path / name), fmt="cif" if name.endswith("cif") else "poscar")
        volumes[name] = structure.volume
    return tmp_path, volumes


@pytest.mark.parametrize("with_suffix", [True, False])
@pytest.mark.parametrize("header", ["", "name,volume\n"])
def test_names_of_files_with_and_without_suffix(folder, with_suffix, header):
    path, volumes = folder
    names = [name if with_suffix else name.rsplit(".", 1)[0] for name in volumes]
    rows = [f"{name},{volume}" for name, volume in zip(names, volumes.values(), strict=True)]
    (path / "id_prop.csv").write_text(header + "\n".join(rows) + "\n")
    loader = CrystalLoader(["volume"], on_error="raise")
    dataset = loader.create_dataset(path)
    assert dataset.ids.tolist() == names
    assert np.allclose(dataset.y[:, 0], [g.volume for g in dataset.X], rtol=1e-3)


@pytest.mark.parametrize("column", ["path", "file", "cif", "where"])
@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_paths_in_a_table_start_at_its_folder(folder, monkeypatch, column, suffix):
    path, volumes = folder
    frame = pd.DataFrame({column: list(volumes), "volume": volumes.values()})
    {"csv": frame.to_csv, "json": lambda p: frame.to_json(p, orient="records"), "parquet": frame.to_parquet}[suffix](
        path / f"table.{suffix}"
    )
    loader = CrystalLoader(["volume"], structure_column=None if column in ("path", "file") else column)
    dataset = loader.create_dataset(path / f"table.{suffix}")
    assert dataset.ids.tolist() == list(volumes)
    assert np.allclose(dataset.y[:, 0], [g.volume for g in dataset.X], rtol=1e-3)
    monkeypatch.chdir(path)
    assert CrystalLoader(["volume"], structure_column=column).create_dataset(frame).ids.tolist() == list(volumes)


def test_files_that_cannot_be_used_are_named_with_the_reason_once(folder, caplog):
    path, _ = folder
    (path / "broken.cif").write_text("data_x\n_cell_length_a 3\n")
    mixed = Structure(Lattice.cubic(4.0), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    mixed.to(filename=str(path / "mixed.cif"))
    (path / "id_prop.csv").write_text("a,1\nbroken,2\ngone,3\nmixed.cif,4\nsub/d,5\n")
    with pytest.warns(UserWarning) as warned:
        loader = CrystalLoader(["y"])
        dataset = loader.create_dataset(path)
    assert dataset.y.ravel().tolist() == [1.0, 5.0] and loader.report.indices == [1, 2, 3]
    texts = [str(error) for error in loader.report]
    assert [type(error).__name__ for error in loader.report][2] == "DisorderError"
    for text, words in zip(texts, (["broken.cif"], ["gone", "No such file"], ["mixed.cif", "disorder="]), strict=True):
        assert all(word in text for word in words), text
        assert [str(w.message) for w in warned].count(text) == 1 and text not in caplog.text
    caplog.clear()
    CrystalLoader(["y"], on_error="skip").create_dataset(path)
    assert caplog.text.count("broken.cif") == 1


def test_nothing_usable_is_an_error_that_says_why(table, tmp_path):
    (tmp_path / "id_prop.csv").write_text("gone,1\nlost,2\n")
    for on_error in ("skip", "warn"):
        with pytest.raises(dcs.errors.NoCrystalsError, match="2 items left out.*gone"):
            CrystalLoader(["y"], on_error=on_error).create_dataset(tmp_path)
    with pytest.raises(dcs.errors.NoCrystalsError, match="without rows"):
        CrystalLoader(["volume"]).create_dataset(table[:0])
    (tmp_path / "id_prop.csv").write_text("")
    with pytest.raises(dcs.errors.EmptyFileError):
        CrystalLoader(["y"]).create_dataset(tmp_path)


def test_labels_of_a_folder(folder):
    path, _ = folder
    (path / "id_prop.csv").write_text("a,na,1\nb,2.5,3\n")
    dataset = CrystalLoader(["gap", "metal"]).create_dataset(path)
    assert dataset.y.tolist() == [[0.0, 1.0], [2.5, 3.0]] and dataset.w.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    with pytest.raises(dcs.errors.LabelError, match="2 columns"):
        CrystalLoader(["gap", "metal", "third"]).create_dataset(path)
    (path / "id_prop.csv").write_text("name,gap,metal\na,1,2\n")
    with pytest.raises(dcs.errors.LabelError, match="Did you mean 'gap'"):
        CrystalLoader(["gapp"]).create_dataset(path)
    assert CrystalLoader(["metal"]).create_dataset(path).y.tolist() == [[2.0]]


def test_columns_that_are_not_there_are_said_with_those_that_are(table, tmp_path):
    with pytest.raises(dcs.errors.LabelError, match="Did you mean 'volume'.*columns are material_id"):
        CrystalLoader(["volum"]).create_dataset(table)
    with pytest.raises(dcs.CrystalInputError, match="structure_column"):
        CrystalLoader(["volume"]).create_dataset(table.drop(columns="structure"))
    table[["volume", "noise"]].to_csv(tmp_path / "bare.csv", index=False)
    with pytest.raises(dcs.errors.NoCrystalsError, match="bare.csv: columns volume, noise; .*atomic_numbers"):
        CrystalLoader(["volume"]).create_dataset(tmp_path / "bare.csv")
    with pytest.raises(dcs.CrystalInputError, match="structure_column"):
        CrystalLoader(["volume"], structure_column="strukture").create_dataset(table)
    with pytest.raises(dcs.CrystalInputError, match="material_ids"):
        CrystalLoader(["volume"], id_column="material_ids").create_dataset(table)
    with pytest.raises(dcs.errors.LabelError, match="'high' in row 1"):
        CrystalLoader(["noise"]).create_dataset(table[:2].assign(noise=[1.0, "high"]))


def test_misspelt_keywords_and_wrong_objects_are_refused(table):
    for wrong in ({"structures_column": "structure"}, {"label": "y"}):
        with pytest.raises(TypeError):
            CrystalLoader(["volume"], **wrong)
    with pytest.raises(TypeError):
        CrystalLoader(["volume"]).create_dataset(table, shards=3)
    with pytest.raises(dcs.CrystalInputError, match="DataFrame"):
        CrystalLoader(["volume"]).create_dataset(table["structure"].tolist())
    with pytest.raises(dcs.CrystalInputError, match="CrystalGraphFeaturizer"):
        CrystalLoader(["volume"], featurizer=dc.feat.SineCoulombMatrix(max_atoms=5))
    with pytest.raises(ValueError, match="shard_size"):
        CrystalLoader(["volume"]).create_dataset(table, shard_size=0)


def test_patterns_in_place_of_graphs(table):
    dataset = CrystalLoader(["volume"], featurizer=dcs.XRDFeaturizer(n_bins=200)).create_dataset(table[:4])
    assert dataset.X.shape == (4, 200) and dataset.X.grid.n_bins == 200
    assert CrystalLoader("volume").create_dataset(table[:2]).y.shape == (2, 1)


@pytest.mark.parametrize("column", ["structure", "crystal", "cif", "path", "file"])
def test_paths_in_any_column_of_structures_start_at_the_folder_of_the_table(table, tmp_path, column):
    for row in table[:3].itertuples():
        row.structure.to(filename=str(tmp_path / f"{row.material_id}.cif"))
    paths = [f"m{k}.cif" for k in range(3)]
    pd.DataFrame({column: paths, "volume": table["volume"][:3]}).to_csv(tmp_path / "table.csv", index=False)
    dataset = CrystalLoader(["volume"], on_error="raise").create_dataset(tmp_path / "table.csv")
    assert np.allclose(dataset.y[:, 0], [g.volume for g in dataset.X]) and list(dataset.ids) == paths
    frame = pd.DataFrame({column: [tmp_path / path for path in paths], "volume": table["volume"][:3]})
    assert len(CrystalLoader(["volume"], on_error="raise").create_dataset(frame)) == 3


def test_paths_and_structures_in_one_column(table, tmp_path):
    table["structure"][0].to(filename=str(tmp_path / "first.cif"))
    frame = pd.DataFrame({"structure": [tmp_path / "first.cif", table["structure"][1]], "volume": table["volume"][:2]})
    dataset = CrystalLoader(["volume"], on_error="raise").create_dataset(frame)
    assert list(dataset.ids) == [str(tmp_path / "first.cif"), "row 1"]
