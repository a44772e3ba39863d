"""Indices built in parts, and what they remember of the choices they were begun with."""

import json

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import IndexFolderError, IsolatedAtomError, NoCrystalsError, QueryError, Report
from deepchem_crystalssl.search import EmbeddingIndex, build_index, building, sources


@pytest.fixture(scope="module")
def crystals():
    return list({crystal.material_id: crystal for crystal in bundled_prototypes()}.values())[:60]


@pytest.fixture
def interrupted(crystals, tmp_path, monkeypatch):
    """Unfinished work: two of three parts are embedded."""
    monkeypatch.setattr(building, "_CRYSTALS_AT_ONCE", 25)
    whole, done = building._embed, []

    def embed(*args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(args[2][0])
        return whole(*args)

    monkeypatch.setattr(building, "_embed", embed)
    with pytest.raises(KeyboardInterrupt):
        build_index(crystals, tmp_path / "index", "small", patterns=False, progress=False)
    assert not (tmp_path / "index").exists()
    monkeypatch.setattr(building, "_embed", lambda *args: done.append(args[2][0]) or whole(*args))
    return done


def test_a_build_that_was_interrupted_goes_on(interrupted, crystals, tmp_path):
    index = build_index(crystals, tmp_path / "index", "small", patterns=False, progress=False)
    assert interrupted == [0, 25, 50] and not (tmp_path / "index.building").exists()
    straight = EmbeddingIndex.from_structures(crystals, "small", patterns=True, progress=False)
    assert np.allclose(index.vectors, straight.vectors, atol=1e-6)
    assert np.allclose(index.embed_patterns(), straight.embed_patterns(), atol=1e-6)
    with pytest.raises(IndexFolderError, match="not empty"):
        build_index(crystals, tmp_path / "index", "small")


@pytest.mark.parametrize("choice", ["source", "model", "patterns", "disorder"])
def test_unfinished_work_is_not_mixed_with_other_choices(interrupted, crystals, tmp_path, choice):
    arguments = {"source": crystals, "model": "small", "patterns": False, "disorder": "refuse"}
    untrained = dcs.load_pretrained("small").untrained(1)
    others = {"source": crystals[:55] + crystals[:5], "model": untrained, "patterns": True, "disorder": "average"}
    shown = {"model": r"small \(weights [0-9a-f]{8}\), now in memory \(", "patterns": "False, now True"}
    expected = f"begun with other choices: {choice} was {shown.get(choice, '')}"
    with pytest.raises(IndexFolderError, match=expected) as error:
        build_index(folder=tmp_path / "index", progress=False, **{**arguments, choice: others[choice]})
    assert "index.building" in error.value.remedy
    assert len(build_index(folder=tmp_path / "index", progress=False, **arguments)) == 60


def test_another_folder_or_another_file_in_it_is_another_source(crystals, tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for crystal in crystals[:3]:
            crystal.to_structure().to(filename=str(tmp_path / name / f"{crystal.material_id}.cif"))

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "_embed", stop)
    for source in ("a", "a", "b", "a and more"):
        if source == "a and more":
            source = "a"
            crystals[3].to_structure().to(filename=str(tmp_path / "a" / "new.cif"))
            expected = pytest.raises(IndexFolderError, match="other choices: source was")
        else:
            expected = pytest.raises(KeyboardInterrupt if source == "a" else IndexFolderError)
        with expected:
            build_index(tmp_path / source, tmp_path / "index", "small", progress=False)


def test_broken_notes_of_unfinished_work_are_refused(interrupted, crystals, tmp_path):
    (tmp_path / "index.building" / "building.json").write_text("{")
    with pytest.raises(IndexFolderError, match="building.json"):
        build_index(crystals, tmp_path / "index", "small", patterns=False, progress=False)


@pytest.fixture
def without_helium(monkeypatch):
    """A model that cannot embed helium."""
    whole = dcs.CrystalSSLModel.embed

    def embed(self, crystals, *args, report=None, on_error="raise", **options):
        crystals = list(crystals)
        for place, crystal in enumerate(crystals):
            if crystal.chemical_system == "He":
                report.handle(IsolatedAtomError(crystal.material_id, "helium"), on_error, place)
        return whole(self, [one for one in crystals if one.chemical_system != "He"], *args, **options)

    monkeypatch.setattr(dcs.CrystalSSLModel, "embed", embed)


def test_what_was_left_out_is_listed(crystals, tmp_path, without_helium):
    lonely = Structure(Lattice.cubic(30.0), ["He"], [[0, 0, 0]])
    structures = [{"not": "a crystal"}, crystals[0].to_structure(), lonely, crystals[1].to_structure()]
    report = Report()
    index = EmbeddingIndex.from_structures(structures, "small", report=report, progress=False)
    assert len(index) == 2 and report.indices == [0, 2]
    built = build_index(structures, tmp_path / "index", "small", progress=False)
    assert built.table["formula"].tolist() == index.table["formula"].tolist()
    skipped = pd.read_csv(tmp_path / "index" / "skipped.csv")
    assert skipped["error"].tolist() == ["UnsupportedObjectError", "IsolatedAtomError"]
    for build in (EmbeddingIndex.from_structures, lambda *args: build_index(args[0], tmp_path / "none", args[1])):
        with pytest.raises(NoCrystalsError):
            build([lonely], "small")


def test_metadata_is_checked_before_the_work_begins(crystals, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "load_encoder", lambda *args: pytest.fail("work began"))
    nameless = pd.DataFrame({"gap": [1.0]})
    with pytest.raises(QueryError, match="material_id"):
        build_index(crystals, tmp_path / "index", "small", nameless)
    with pytest.raises(QueryError, match="material_id"):
        EmbeddingIndex.from_structures(crystals, "small", nameless)


def test_metadata_may_be_corrected_and_are_compared_before_anything_is_embedded(
    interrupted, crystals, tmp_path, monkeypatch
):
    gaps = pd.DataFrame({"id": [crystal.material_id for crystal in crystals], "gap": np.arange(60.0)})
    whole = building._embed
    monkeypatch.setattr(building, "_embed", lambda *args: pytest.fail("embedded"))
    for wrong, said in ((gaps.assign(id="nobody"), "none of its ids"), (pd.concat([gaps, gaps]), "in several rows")):
        with pytest.raises(QueryError, match=said):
            build_index(crystals, tmp_path / "index", "small", wrong, patterns=False, progress=False)
    monkeypatch.setattr(building, "_embed", whole)
    index = build_index(crystals, tmp_path / "index", "small", gaps, patterns=False, progress=False)
    assert interrupted == [0, 25, 50] and index.table["gap"].tolist() == gaps["gap"].tolist()


def test_metadata_of_work_of_earlier_versions_are_no_choice(interrupted, crystals, tmp_path):
    notes = tmp_path / "index.building" / "building.json"
    kept = json.loads(notes.read_text())
    notes.write_text(
        json.dumps({name: kept[name] for name in kept if name not in ("checksum", "names")} | {"metadata": "1"})
    )
    assert len(build_index(crystals, tmp_path / "index", "small", patterns=False, progress=False)) == 60


def test_repeated_ids_are_numbered(crystals, tmp_path, caplog):
    twice = [crystals[0], crystals[1], crystals[0]]
    name = crystals[0].material_id
    expected = [name, crystals[1].material_id, f"{name} (2)"]
    built = build_index(twice, tmp_path / "index", "small", patterns=False, progress=False)
    assert built.table["material_id"].tolist() == expected
    [told] = [record.message for record in caplog.records if "numbered" in record.message]
    assert told == f"1 crystal has the id of another one and was numbered, first {name!r}, now '{name} (2)'"
    assert EmbeddingIndex.from_structures(twice, "small").table["material_id"].tolist() == expected
    gaps = pd.DataFrame({"id": [name], "gap": [1.0]})
    with pytest.raises(QueryError, match="names 2 crystals"):
        EmbeddingIndex.from_structures(twice, "small", gaps)


def test_what_a_store_left_out_is_listed_too(crystals, tmp_path):
    dcs.CrystalStore.write([*crystals[:3], {"not": "a structure"}], tmp_path / "store")
    for name, source in (("a", tmp_path / "store"), ("b", dcs.CrystalStore(tmp_path / "store").records)):
        assert len(build_index(source, tmp_path / name, "small", patterns=False, progress=False)) == 3
        skipped = pd.read_csv(tmp_path / name / "skipped.csv")
        assert skipped["index"].tolist() == [3] and "dict" in skipped["value"][0]


def test_a_source_that_holds_nothing_leaves_nothing_behind(crystals, tmp_path):
    with pytest.raises(NoCrystalsError, match="no such file or folder"):
        build_index(tmp_path / "mistyped", tmp_path / "index", "small", progress=False)
    assert not any(tmp_path.iterdir())
    assert len(build_index(crystals[:4], tmp_path / "index", "small", patterns=False, progress=False)) == 4
