"""An index that holds numbers of model physics, marked as such."""

import gzip
import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.errors import IndexFolderError, QueryError
from deepchem_crystalssl.explorer.payload import Payload
from deepchem_crystalssl.physics import model_values
from deepchem_crystalssl.physics.values import VALUE_COLUMNS
from deepchem_crystalssl.search import EmbeddingIndex, Filter, build_index, building, sources

matplotlib.use("Agg")
COLUMNS = list(VALUE_COLUMNS)


@pytest.fixture(scope="module")
def crystals(prototypes):
    return list({crystal.material_id: crystal for crystal in prototypes}.values())[:12]


@pytest.fixture(scope="module")
def values(crystals):
    return model_values(crystals, progress=False)


@pytest.fixture(scope="module")
def heavy():
    """An element that has an embedding, but no parameters of springs and orbitals."""
    return Structure(Lattice.cubic(3), ["Rf"], [[0, 0, 0]])


@pytest.fixture
def index(crystals):
    return EmbeddingIndex.from_structures(crystals, "small", physics=True, progress=False)


def test_the_columns_filter_and_colour_like_any_other(index, crystals, values):
    assert np.array_equal(index.table[COLUMNS], values)
    gaps = values["model_gap_eV"].to_numpy()
    wide = gaps >= 1.0
    assert 0 < wide.sum() < len(crystals)
    vector = index.vectors[0]
    found = index.query(vector, k=12, include_self=True, filter=Filter(where={"model_gap_eV": (1.0, None)}))
    assert set(found.material_ids) == set(index.table["material_id"][wide])
    assert [found[0]["model_gap_eV"]] == gaps[index.table["material_id"] == found[0].material_id]
    picture = index.plot_map("model_gap_eV")
    assert "model_gap_eV" in [text for axes in picture.axes for text in (axes.get_xlabel(), axes.get_ylabel())]
    payload = Payload(index, [])
    meta = json.loads(gzip.decompress(payload["meta"]))
    assert set(COLUMNS) <= {column["name"] for column in meta["columns"]}
    assert np.allclose(np.frombuffer(gzip.decompress(payload["column:model_gap_eV"]), "<f4"), gaps)


def test_without_physics_nothing_is_computed(crystals, monkeypatch, tmp_path):
    for module in (sources, building):
        monkeypatch.setattr(module, "model_values", lambda *args, **options: pytest.fail("computed"))
    gaps = pd.DataFrame({"id": [crystal.material_id for crystal in crystals], "model_gap_eV": 1.0})
    index = EmbeddingIndex.from_structures(crystals, "small", gaps, progress=False)
    built = build_index(crystals, tmp_path / "index", "small", gaps, patterns=False, progress=False)
    for table in (index.table, built.table):
        assert {*COLUMNS} & {*table} == {"model_gap_eV"} and (table["model_gap_eV"] == 1.0).all()
    assert not (tmp_path / "index" / "without_physics.csv").exists()


def test_a_crystal_without_numbers_keeps_its_place(crystals, values, heavy, tmp_path, caplog):
    source = [*crystals[:2], {"not": "a crystal"}, heavy, crystals[2]]
    index = EmbeddingIndex.from_structures(source, "small", physics=True, progress=False)
    assert "no model values" in caplog.text and "Rf" in caplog.text
    built = build_index(source, tmp_path / "index", "small", patterns=False, physics=True, progress=False)
    for table in (index.table, built.table):
        assert table["formula"][2] == "Rf" and table[COLUMNS].isna().all(axis=1).tolist() == [False, False, True, False]
        assert np.allclose(table[COLUMNS].drop(2), values[:3])
    without = pd.read_csv(tmp_path / "index" / "without_physics.csv")
    assert without["error"].tolist() == ["ModelPhysicsError"] and without["value"].tolist() == ["Rf"]
    assert pd.read_csv(tmp_path / "index" / "skipped.csv")["error"].tolist() == ["UnsupportedObjectError"]
    known = Filter(where={"model_gap_eV": (None, None)})
    assert (
        "Rf" not in index.query(index.vectors[2], k=4, include_self=True, filter=known).to_frame()["formula"].tolist()
    )
    unknown = Filter(where={"model_gap_eV": None})
    assert index.query(index.vectors[2], k=4, include_self=True, filter=unknown)[0]["formula"] == "Rf"


def test_metadata_do_not_overwrite_model_values(crystals, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "load_encoder", lambda *args: pytest.fail("work began"))
    gaps = pd.DataFrame({"id": [crystals[0].material_id], "model_gap_eV": [1.0]})
    with pytest.raises(QueryError, match="'model_gap_eV'.*physics=True"):
        EmbeddingIndex.from_structures(crystals, "small", gaps, physics=True)
    with pytest.raises(QueryError, match="'model_gap_eV'.*physics=True"):
        build_index(crystals, tmp_path / "index", "small", gaps, physics=True)
    assert not any(tmp_path.iterdir())


def test_new_crystals_have_model_values_if_the_others_have(index, crystals, values):
    names = [crystal.material_id for crystal in crystals]
    vectors = index.vectors.copy()
    index.remove(names[:3])
    index.add(vectors[:2], names[:2], crystals[:2])
    given = pd.DataFrame({"id": [names[2]], "model_gap_eV": [7.0]})
    index.add(vectors[2:3], names[2:3], crystals[2:3], given)
    rows = index.table.set_index("material_id").loc[names, COLUMNS]
    assert np.allclose(rows.drop(names[2]), values.drop(2))
    assert rows.loc[names[2]].isna().tolist() == [False, True, True, True, True] and rows.iloc[2, 0] == 7.0
    plain = EmbeddingIndex.build(vectors[:5], names[:5], crystals[:5])
    plain.add(vectors[5:], names[5:], crystals[5:])
    assert not {*COLUMNS} & {*plain.table}


@pytest.fixture
def interrupted(crystals, tmp_path, monkeypatch):
    """Begins a build with or without physics of which two of three parts are done; then counts the calls."""
    monkeypatch.setattr(building, "_CRYSTALS_AT_ONCE", 5)
    computed = []

    def count(records, **options):
        computed.append(len(records))
        return model_values(records, **options)

    monkeypatch.setattr(building, "model_values", count)
    whole = building._embed

    def begin(physics):
        def embed(*args):
            if args[2][0] == 10:
                raise KeyboardInterrupt
            return whole(*args)

        with monkeypatch.context() as patch:
            patch.setattr(building, "_embed", embed)
            with pytest.raises(KeyboardInterrupt):
                build_index(crystals, tmp_path / "index", "small", patterns=False, physics=physics, progress=False)
        return computed

    return begin


def test_an_interrupted_build_goes_on(interrupted, crystals, values, tmp_path):
    computed = interrupted(physics=True)
    with pytest.raises(IndexFolderError, match="begun with other choices: physics was True, now False"):
        build_index(crystals, tmp_path / "index", "small", patterns=False, progress=False)
    built = build_index(crystals, tmp_path / "index", "small", patterns=False, physics=True, progress=False)
    assert computed == [5, 5, 2] and np.allclose(built.table[COLUMNS], values)
    assert not len(pd.read_csv(tmp_path / "index" / "without_physics.csv"))


def test_a_build_begun_before_there_was_physics_goes_on(interrupted, crystals, tmp_path):
    interrupted(physics=False)
    notes = tmp_path / "index.building" / "building.json"
    older = json.loads(notes.read_text())
    assert older.pop("physics") is False and older.pop("checksum")
    notes.write_text(json.dumps(older))
    with pytest.raises(IndexFolderError, match="begun with other choices: physics "):
        build_index(crystals, tmp_path / "index", "small", patterns=False, physics=True, progress=False)
    built = build_index(crystals, tmp_path / "index", "small", patterns=False, progress=False)
    assert len(built) == 12 and not {*COLUMNS} & {*built.table}


def test_the_command_line(crystals, values, tmp_path, capsys):
    dcs.CrystalStore.write(crystals, tmp_path / "store")
    command = ["index", str(tmp_path / "store"), "-o", str(tmp_path / "index"), "--model", "small", "--no-patterns"]
    assert main([*command, "--physics"]) == 0
    assert "without_physics.csv" in capsys.readouterr().out
    assert np.allclose(EmbeddingIndex.load(tmp_path / "index").table[COLUMNS], values, rtol=1e-4)
