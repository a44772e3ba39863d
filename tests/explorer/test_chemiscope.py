"""Files for Chemiscope hold what the index holds, in the form that its own library makes."""

import gzip
import json
import math

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.explorer import write_chemiscope, write_map
from deepchem_crystalssl.search import EmbeddingIndex
from deepchem_crystalssl.search.queries import distinct_names


@pytest.fixture(scope="module")
def index(prototypes):
    chosen = prototypes[:40]
    names = distinct_names([crystal.material_id for crystal in chosen])
    gaps = np.linspace(0, 4, 40)
    gaps[3] = np.nan
    metadata = pd.DataFrame({"material_id": names, "gap (eV)": gaps, "mass": gaps, "model_gap_eV": gaps})
    metadata["stable"] = pd.array([True, False, None, True] * 10, "boolean")
    metadata["note"] = [None, "a", "b", '"quoted"\n'] * 10
    index = EmbeddingIndex.from_structures(chosen, "small", metadata, progress=False)
    index.make_map(progress=False)
    return index


def test_a_selection_is_written(index, prototypes, tmp_path):
    ids = index.table["material_id"].tolist()
    path = write_chemiscope(index, tmp_path / "a.json", [ids[3], ids[1]], units={"mass": "u"}, title="Two")
    content = json.loads(path.read_text())
    assert content["meta"] == {"name": "Two"} and [one["size"] for one in content["structures"]] == [
        prototypes[3].num_nodes, prototypes[1].num_nodes,
    ]  # fmt: skip
    properties = content["properties"]
    assert properties["material_id"]["values"] == [ids[3], ids[1]]
    positions = np.array([properties["map x"]["values"], properties["map y"]["values"]]).T
    assert np.abs(positions - index.map.positions[[3, 1]]).max() < 1e-6
    assert math.isnan(properties["gap (eV)"]["values"][0]) and properties["gap (eV)"]["values"][1] > 0
    units = {name: one["units"] for name, one in properties.items() if "units" in one}
    assert units == {"gap (eV)": "eV", "mass": "u", "model_gap_eV": "eV"}
    assert properties["stable"]["values"] == ["yes", "no"] and properties["note"]["values"] == ['"quoted"\n', "a"]
    assert {type(value) for one in properties.values() for value in one["values"]} == {str, float}


def test_the_whole_index_compressed(index, tmp_path):
    path = write_chemiscope(index, tmp_path / "a.json.gz")
    content = json.loads(gzip.decompress(path.read_bytes()))
    assert len(content["structures"]) == 40 and content["properties"]["note"]["values"][0] == ""
    assert [one.name for one in tmp_path.iterdir()] == ["a.json.gz"]


@pytest.mark.filterwarnings("ignore:Property")
def test_the_library_of_chemiscope_makes_the_same(index, prototypes, tmp_path):
    chemiscope = pytest.importorskip("chemiscope")
    pytest.importorskip("ase")
    ours = json.loads(write_chemiscope(index, tmp_path / "a.json").read_text())
    atoms = [crystal.to_structure().to_ase_atoms() for crystal in prototypes[:40]]
    properties = {
        name: {**one, "values": one["values"]} for name, one in ours["properties"].items()
    }  # a wrong length or type is an error there
    theirs = chemiscope.create_input(
        atoms, metadata=ours["meta"], properties=properties, settings=chemiscope.quick_settings(x="map x", y="map y")
    )
    assert ours.keys() == theirs.keys() and ours["meta"] == theirs["meta"]
    assert json.dumps(ours["properties"]) == json.dumps(theirs["properties"])
    assert ours["settings"]["structure"] == [{"unitCell": True}]
    assert ours["settings"]["map"] == {axis: theirs["settings"]["map"][axis] for axis in "xy"}
    for mine, other in zip(ours["structures"], theirs["structures"], strict=True):
        assert mine.keys() == other.keys() and mine["names"] == other["names"] and mine["size"] == other["size"]
        for name in ("x", "y", "z", "cell"):
            assert np.abs(np.array(mine[name]) - other[name]).max() < 1e-5


def test_what_cannot_be_written_is_said(index, tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    for arguments, words in (
        ((index, tmp_path / "a.txt"), "a.txt.*endings"),
        ((index, path, ["mp-1"]), "mp-1: not in the index"),
        ((index, path, []), "0 crystals.*from 1 to 20,000"),
        (([], path), "an object of type list"),
        ((EmbeddingIndex.build(np.eye(3), ["a", "b", "c"]), path), "no structures"),
    ):
        with pytest.raises(QueryError, match=words):
            write_chemiscope(*arguments)
    with pytest.raises(QueryError, match="'colour'.*It has material_id"):
        write_chemiscope(index, path, units={"colour": "eV"})
    monkeypatch.setattr("deepchem_crystalssl.explorer.chemiscope.MOST_CRYSTALS", 39)
    with pytest.raises(QueryError, match="40 crystals.*Pass the ids of a selection"):
        write_chemiscope(index, path)
    assert not list(tmp_path.iterdir())


def test_a_planted_link_is_not_followed(tmp_path, prototypes):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    index = EmbeddingIndex.build(np.random.default_rng(0).normal(size=(20, 8)), range(20), prototypes[:20])
    index.make_map(progress=False)
    for name in ("map.html", "map.html.part", "map_anion_class.png"):
        (tmp_path / name).symlink_to(victim)
    write_map(index, tmp_path, ["anion_class"], progress=False)
    assert victim.read_text() == "precious" and (tmp_path / "map.html").stat().st_size > 10_000
    assert not (tmp_path / "map.html").is_symlink() and not (tmp_path / "map_anion_class.png").is_symlink()
