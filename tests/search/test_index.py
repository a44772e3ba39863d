import json

import numpy as np
import pandas as pd
import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl.errors import CrystalInputError, IndexFolderError, QueryError, Report
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.search import EmbeddingIndex, Filter


@pytest.fixture(scope="module")
def crystals():
    return list({crystal.material_id: crystal for crystal in bundled_prototypes()}.values())[:60]


@pytest.fixture(scope="module")
def model():
    return dcs.load_pretrained("small")


@pytest.fixture(scope="module")
def vectors(crystals, model):
    return model.embed(crystals, space="similarity", progress=False)


@pytest.fixture
def index(crystals, vectors, model):
    ids = [crystal.material_id for crystal in crystals]
    metadata = pd.DataFrame({"material_id": ids, "number": np.arange(len(ids))})
    return EmbeddingIndex.build(vectors, ids, crystals, model, metadata)


def cosines(vectors, query):
    vectors, query = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (vectors, query))
    return vectors @ query


def test_answers_are_the_nearest(index, vectors):
    found = index.query(index.table["material_id"][3], k=5)
    likeness = cosines(vectors, vectors[3])
    likeness[3] = -np.inf
    expected = np.argsort(-likeness)[:5]
    assert [answer["number"] for answer in found] == expected.tolist()
    assert [answer.distance for answer in found] == pytest.approx((1 - likeness[expected]).tolist(), abs=1e-5)
    assert [answer.rank for answer in found] == [1, 2, 3, 4, 5]
    assert found.to_frame()["material_id"].tolist() == found.material_ids
    assert found[0].material_id in repr(found) and found[0].material_id in found._repr_html_()


def test_every_kind_of_query_means_the_same(index, crystals, vectors, tmp_path):
    crystal = crystals[7]
    path = tmp_path / "query.cif"
    crystal.to_structure().to(filename=str(path))
    for query in (crystal, crystal.to_structure(), str(path), path, vectors[7]):
        found = index.query(query, k=1)
        assert found[0].material_id == crystal.material_id and found[0].distance < 1e-3
    assert index.query(crystal.material_id, k=1)[0].material_id != crystal.material_id
    assert index.query(crystal.material_id, k=1, include_self=True)[0].material_id == crystal.material_id


def test_a_formula_stands_for_all_its_crystals(crystals, vectors, model):
    twins = [crystals[0], crystals[1], crystals[0]]
    index = EmbeddingIndex.build(vectors[[0, 1, 0]], ["x", "y", "z"], twins, model)
    assert index.query(crystals[0].reduced_formula, k=3).material_ids == ["y"]


def test_like_these_unlike_those(index, vectors):
    ids = index.table["material_id"]
    found = index.query([ids[1], ids[2]], unlike=[ids[5]], k=57)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = cosines(units, units[[1, 2]].mean(0) - 0.5 * units[5])
    expected = [k for k in np.argsort(-likeness) if k not in (1, 2, 5)]
    assert [answer["number"] for answer in found] == expected


def test_a_batch_is_single_queries_and_a_bad_one_costs_itself(index, crystals):
    ids, report = index.table["material_id"], Report()
    found = index.query_each([ids[0], "Unobtainium", crystals[4]], k=3, on_error="skip", report=report)
    assert found[0].material_ids == index.query(ids[0], k=3).material_ids and not len(found[1])
    assert found[2].material_ids == index.query(crystals[4], k=3).material_ids
    assert report.indices == [1] and "Unobtainium" in report[0].item
    with pytest.raises(QueryError, match="Unobtainium"):
        index.query_each(["Unobtainium"])


def test_filters_and_what_is_shared(index):
    found = index.query(index.table["material_id"][0], k=60, filter=Filter(elements=["O"], where={"number": (10, 50)}))
    assert found and all("O" in a["chemical_system"].split("-") and 10 <= a["number"] <= 50 for a in found)
    assert index.query(index.table["material_id"][0], filter=Filter(elements=["Og"])).material_ids == []
    nearest = index.query("CaTiO3" if "CaTiO3" in set(index.table["formula"]) else index.table["formula"][0], k=60)
    assert any(answer.shares for answer in nearest)


def test_the_approximate_engine_agrees(index, crystals):
    exact, approximate = (index.query(crystals[2], k=5, exact=flag) for flag in (True, False))
    assert exact.material_ids == approximate.material_ids  # sixty crystals lie in one cell


def test_percentiles_compare_with_distances_between_neighbors(index, vectors):
    found = index.query(vectors[0], k=59, include_self=True)
    percentiles = [answer.percentile for answer in found]
    assert percentiles == sorted(percentiles) and percentiles[0] == 0.0 and percentiles[-1] == 100.0


def test_add_remove_and_replace(index, crystals, vectors):
    ids = index.table["material_id"].tolist()
    before = index.query(crystals[3], k=10).material_ids
    index.remove(ids[:2])
    assert len(index) == 58 and not set(ids[:2]) & set(index.query(crystals[0], k=58).material_ids)
    metadata = pd.DataFrame({"material_id": [ids[0], ids[1], ids[3]], "number": [0, 1, 3]})
    index.add(vectors[[0, 1, 3]], [ids[0], ids[1], ids[3]], [crystals[0], crystals[1], crystals[3]], metadata)
    assert len(index) == 60 and sorted(index.query(crystals[3], k=10).material_ids) == sorted(before)
    assert index.structures[len(index) - 1] is crystals[3]
    with pytest.raises(QueryError, match="nobody"):
        index.remove(["nobody"])
    with pytest.raises(QueryError, match="columns"):
        index.add(np.ones((1, 3)), ["new"], [crystals[0]])
    with pytest.raises(QueryError, match="structure"):
        index.add(vectors[:1], ["new"])


def test_saved_and_loaded_it_answers_alike(index, crystals, tmp_path):
    index.embed_patterns(progress=False)
    index.save(tmp_path / "index")
    again = EmbeddingIndex.load(tmp_path / "index")
    assert not again.vectors.flags.owndata and not again.vectors.flags.writeable  # mapped into memory
    assert again.query(crystals[5]).to_frame().equals(index.query(crystals[5]).to_frame())
    assert np.array_equal(again.embed_patterns(), index.embed_patterns())
    again.remove([crystals[0].material_id])
    again.save(tmp_path / "index")  # over the files it is mapped from
    assert len(EmbeddingIndex.load(tmp_path / "index")) == 59 and not list(tmp_path.glob("index.*"))


def test_nothing_else_is_overwritten(index, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(IndexFolderError, match="something else"):
        index.save(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(IndexFolderError, match="missing or cannot be read"):
        EmbeddingIndex.load(tmp_path)


@pytest.mark.parametrize("harm", ["cut", "pickle", "newer", "fewer", "table"])
def test_a_broken_index_is_refused(index, tmp_path, harm):
    folder = tmp_path / "index"
    index.save(folder)
    if harm == "cut":
        (folder / "vectors.npy").write_bytes((folder / "vectors.npy").read_bytes()[:-100])
    elif harm == "pickle":
        np.save(folder / "vectors.npy", np.array([{"a": print}], object), allow_pickle=True)
    elif harm == "newer":
        manifest = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps({**manifest, "format": 99}))
    elif harm == "fewer":
        np.save(folder / "vectors.npy", np.ones((3, 4), np.float32))
    else:
        (folder / "catalogue.parquet").write_bytes(b"PAR1")
    with pytest.raises(IndexFolderError):
        EmbeddingIndex.load(folder)


@pytest.mark.parametrize(
    ("embeddings", "ids"), [(np.ones((2, 3)), ["a"]), (np.ones(3), ["a"] * 3), (np.array([[1.0, np.nan]]), ["a"])]
)
def test_what_cannot_be_indexed(embeddings, ids):
    with pytest.raises(QueryError):
        EmbeddingIndex.build(embeddings, ids)


def test_what_cannot_be_asked(vectors):
    index = EmbeddingIndex.build(vectors[:4], list("abcd"))
    assert len(index.query("a", k=10)) == 3 and index.query("a")[0].formula == ""
    for query in ("e", "nowhere.cif", np.ones(2), np.full(vectors.shape[1], np.nan)):
        with pytest.raises(CrystalInputError):
            index.query(query)
    with pytest.raises(QueryError, match="no model"):
        index.query(bundled_prototypes()[0])
    with pytest.raises(QueryError, match="no structures"):
        index.query_pattern(np.arange(10, 90.0), np.ones(80))
    with pytest.raises(ValueError, match="k: 0"):
        index.query("a", k=0)


def test_an_index_keeps_its_model_when_it_is_saved_over_itself(index, crystals, tmp_path):
    """A model without a name lives in the folder of the index."""
    index.save(tmp_path / "a")
    again = EmbeddingIndex.load(tmp_path / "a")
    again.remove([crystals[0].material_id])
    again.save(tmp_path / "a")
    again.save(tmp_path / "b")
    for folder in ("a", "b"):
        found = EmbeddingIndex.load(tmp_path / folder).query(crystals[5], k=1)
        assert found.material_ids == [crystals[5].material_id]


def test_space_groups_are_known_without_metadata(index, crystals):
    from deepchem_crystalssl.crystals.symmetry import crystal_system, space_group

    assert index.table["space_group"].tolist() == [space_group(crystal) for crystal in crystals]
    assert index.table["crystal_system"].tolist() == [crystal_system(crystal) for crystal in crystals]
    found = index.query(index.table["material_id"][0], k=60, filter=Filter(space_group=225))
    assert len(found) and all(answer["space_group"] == 225 for answer in found)
    assert "space group 225" in index.query(found[0].material_id, k=1, filter=Filter(space_group=225))[0].shares


def test_space_groups_of_the_metadata_are_kept(crystals, vectors):
    ids = [crystal.material_id for crystal in crystals[:3]]
    metadata = pd.DataFrame({"id": ids[:1], "spacegroup": [1]})
    table = EmbeddingIndex.build(vectors[:3], ids, crystals[:3], metadata=metadata).table
    straight = EmbeddingIndex.build(vectors[:3], ids, crystals[:3]).table
    assert table["space_group"].tolist() == [1, *straight["space_group"][1:]]
    assert table["crystal_system"][0] == "triclinic"


def test_an_index_without_crystals_is_not_saved(index, tmp_path):
    index.remove(index.table["material_id"].tolist())
    with pytest.raises(IndexFolderError, match="0 crystals"):
        index.save(tmp_path / "empty")


def test_what_cannot_be_added_says_what_to_give(crystals):
    index = EmbeddingIndex.build(np.eye(3, 4), ["a", "b", "c"], crystals[:3])
    for arguments, remedy in (
        ((np.eye(1, 5), ["d"], crystals[:1]), "index's model, in the space 'similarity'"),
        ((np.eye(1, 4), ["d"]), "Give structures="),
        ((np.eye(2, 4), ["d"]), "for 1 id;.*Check ids and embeddings"),
        ((np.eye(1, 4), ["d"], crystals[:1], {"gap": 1}), "Pass a DataFrame"),
    ):
        with pytest.raises(QueryError, match=remedy):
            index.add(*arguments)
    with pytest.raises(QueryError, match="Check the id;"):
        index.remove(["z"])


def test_an_index_of_other_weights_is_not_searched_with_a_model(prototypes, tmp_path):
    """A name may mean other weights in a later version; their vectors cannot be compared."""
    index = dcs.EmbeddingIndex.from_structures(prototypes[:6], model="small", progress=False)
    index.save(tmp_path / "good")
    opened = dcs.EmbeddingIndex.load(tmp_path / "good")
    assert opened.query(prototypes[2], k=1)[0].material_id == index.table["material_id"][2]
    index.save(tmp_path / "stale")
    vectors = np.load(tmp_path / "stale" / "vectors.npy")
    np.save(tmp_path / "stale" / "vectors.npy", np.roll(vectors, 7, axis=1))
    manifest = json.loads((tmp_path / "stale" / "index.json").read_text())  # as before there were checksums
    earlier = {name: manifest[name] for name in ("format", "crystals", "space", "model")}
    (tmp_path / "stale" / "index.json").write_text(json.dumps(earlier))
    stale = dcs.EmbeddingIndex.load(tmp_path / "stale")
    for search in (lambda: stale.query(prototypes[2], k=1), lambda: stale.model):
        with pytest.raises(dcs.errors.IndexFolderError, match="build the index again"):
            search()
    assert len(stale.query(stale.table["material_id"][0], k=2)) == 2  # without the model
