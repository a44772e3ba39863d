"""An index on disk gives the answers of the index in memory, by compressed vectors nearly all of them."""

import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import EmbeddingIndex, Filter, simulate_xrd, XRDGrid
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.store import write_records
from deepchem_crystalssl.errors import IndexFolderError, QueryError
from deepchem_crystalssl.search import ShardedIndex, sharded_gallery
from deepchem_crystalssl.search.segments import Segment, shortlist, train, write_segment
from deepchem_crystalssl.search.sharded_map import _by_components
from deepchem_crystalssl.search.vectors import nearest_rows, unit_rows

OPTIONS = {"model": "small", "engine": "serial", "progress": False}


@pytest.fixture(scope="module")
def crystals():
    return [
        replace(crystal, material_id=f"{k}-{crystal.material_id}") for k, crystal in enumerate(bundled_prototypes())
    ]


@pytest.fixture(scope="module")
def facts(crystals):
    return pd.DataFrame({"material_id": [c.material_id for c in crystals], "number": range(len(crystals))})


@pytest.fixture(scope="module")
def store(tmp_path_factory, crystals):
    folder = tmp_path_factory.mktemp("source") / "store"
    write_records(crystals, folder, disorder="average")
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory, store, facts):
    folder = tmp_path_factory.mktemp("sharded") / "index"
    ShardedIndex.build(store, folder, metadata=facts, patterns=True, space_groups=True, size=50, **OPTIONS)
    return folder


@pytest.fixture(scope="module")
def index(built):
    return ShardedIndex.load(built)


@pytest.fixture(scope="module")
def plain(crystals, facts):
    return EmbeddingIndex.from_structures(crystals, "small", facts, patterns=True, disorder="average", progress=False)


@pytest.fixture(params=["exact", "compressed"])
def either(request, index, monkeypatch):
    """The index, searched exactly or by its segments."""
    if request.param == "compressed":
        monkeypatch.setattr(sharded_gallery, "EXACT_UP_TO", 0)
    return index


def test_the_answers_are_those_of_the_index_in_memory(either, plain, crystals):
    queries = [*[c.material_id for c in crystals[5:200:15]], crystals[7], crystals[100].to_structure()]
    for query in queries:
        ours, theirs = either.query(query, k=5), plain.query(query, k=5)
        # vectors are kept in half precision, so that equally near crystals may change places
        assert np.abs(np.array(ours.to_frame()["distance"]) - theirs.to_frame()["distance"]).max() < 2e-3
        assert len(set(ours.material_ids) & set(theirs.material_ids)) >= 4
        known = {row["material_id"]: row for row in plain.table.to_dict("records")}
        for one in ours:
            row = known[one.material_id]
            assert (one.formula, one["space_group"], one["number"]) == (
                row["formula"],
                row["space_group"],
                row["number"],
            )
        assert ours[0].shares == next(
            (o.shares for o in theirs if o.material_id == ours[0].material_id), ours[0].shares
        )
    together = either.query_each(queries, k=5)
    assert [a.material_ids for a in together] == [either.query(query, k=5).material_ids for query in queries]


def test_formulas_and_lists_and_what_is_unlike(either, plain):
    for query in ("TiO2", "O2Ti", ["TiO2", "ZnS"]):
        assert set(either.query(query, k=3).material_ids) & set(plain.query(query, k=3).material_ids)
    names = either.query("TiO2", k=4, unlike=["ZnS"]).material_ids
    assert len(set(names) & set(plain.query("TiO2", k=4, unlike=["ZnS"]).material_ids)) >= 3
    with pytest.raises(QueryError, match="neither an id nor a formula"):
        either.query("no-such-id")


@pytest.mark.parametrize("filter", [
    Filter(elements=["O"]), Filter(without=["O", "S"]), Filter(only=["Fe", "Cr", "Mo", "Ni", "Li", "O"]),
    Filter(n_elements=(3, None)), Filter(n_sites=(2, 4)), Filter(space_group=[225, 216]),
    Filter(elements=["O"], where={"number": (10, 200)}), Filter(where={"formula": "TiO2"}),
])  # fmt: skip
def test_filters(either, plain, filter):
    assert either.gallery.mask(filter).tolist() == filter.mask(plain.table).tolist()
    rows, distances = either.gallery.nearest(either.gallery.vectors_of([3]), 400, filter)
    assert set(rows[0][rows[0] >= 0].tolist()) == set(np.flatnonzero(filter.mask(plain.table)).tolist())
    assert np.isinf(distances[0][rows[0] < 0]).all()


def test_a_pattern_is_found(either, plain, crystals):
    grid = XRDGrid(10.0, 80.0, 3500, fwhm=0.15)
    for crystal in (crystals[1], crystals[40]):
        pattern = 1000 * np.asarray(simulate_xrd(crystal, grid))[0] + 10
        ours = either.query_pattern(grid.two_theta, pattern, "CuKa", phases=1)
        theirs = plain.query_pattern(grid.two_theta, pattern, "CuKa", phases=1)
        assert ours.candidates[0].material_id == theirs.candidates[0].material_id == crystal.material_id
    elements = sorted(crystals[1].chemical_system.split("-"))
    found = either.query_pattern(grid.two_theta, pattern, "CuKa", elements=elements)
    assert all(set(one.crystal.chemical_system.split("-")) <= set(elements) for one in found.candidates)
    with pytest.raises(QueryError, match="no crystal is left"):
        either.query_pattern(grid.two_theta, pattern, "CuKa", filter=Filter(n_sites=(100_000, None)))


def test_crystals_are_added_without_building_again(tmp_path, crystals, facts):
    write_records(crystals[:200], tmp_path / "first", disorder="average")
    write_records(crystals[200:260], tmp_path / "second", disorder="average")
    folder = tmp_path / "index"
    index = ShardedIndex.build(tmp_path / "first", folder, metadata=facts[:100], size=64, **OPTIONS)
    kept = {path: path.stat().st_mtime_ns for path in [*folder.glob("*.faiss"), *folder.glob("rows-000/part-*")]}
    index.add(tmp_path / "second", facts[200:220], engine="serial", progress=False)
    assert len(index) == 260 and all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    whole = ShardedIndex.build(crystals[:260], tmp_path / "whole", size=64, disorder="average", **OPTIONS)
    for exact in (True, False):
        for row in (5, 150, 230):
            ours = index.query(crystals[row].material_id, exact=exact).material_ids
            assert set(ours[:3]) <= set(whole.query(crystals[row].material_id, exact=True).material_ids)
    known = index.gallery.known([3, 150, 210, 250])
    assert [row["number"] for row in known][:1] == [3] and known[2]["number"] == 210
    assert all(row["number"] is None or np.isnan(row["number"]) for row in (known[1], known[3]))
    # the first source grows in the middle of the rows: everything is joined anew
    write_records(crystals[:210], tmp_path / "first", disorder="average")
    grown = ShardedIndex.build(tmp_path / "first", folder, size=64, **OPTIONS)
    assert len(grown) == 270
    assert (
        grown.query(crystals[255].material_id, exact=False, include_self=True)[0].material_id
        == crystals[255].material_id
    )


def test_array_jobs_and_interruptions(tmp_path, store, crystals):
    folder = tmp_path / "index"
    options = {**OPTIONS, "size": 100}
    assert ShardedIndex.build(store, folder, shard=(1, 2), **options) is None
    assert ShardedIndex.build(store, folder, shard=(2, 2), **options) is None
    with pytest.raises(IndexFolderError, match="missing or cannot be read"):
        ShardedIndex.load(folder)
    index = ShardedIndex.build(store, folder, **options)
    assert len(index) == len(crystals)
    os.remove(folder / "index.json")  # as if it had been killed before its last step
    again = ShardedIndex.build(store, folder, **options)
    assert (
        again.query(crystals[9].material_id, k=3).material_ids == index.query(crystals[9].material_id, k=3).material_ids
    )


def test_folders_that_cannot_be_used(tmp_path, built, store):
    with pytest.raises(IndexFolderError, match="missing or cannot be read"):
        ShardedIndex.load(tmp_path)
    with pytest.raises(IndexFolderError, match="other choices: patterns was True, now False"):
        ShardedIndex.build(store, built, patterns=False, space_groups=True, size=50, **OPTIONS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(IndexFolderError, match="holds something else"):
        ShardedIndex.build(store, tmp_path / "mine", **OPTIONS)
    content = json.loads((built / "index.json").read_text())
    other = tmp_path / "other"
    os.symlink(built, other)
    with pytest.raises(IndexFolderError, match="ShardedIndex.load"):
        EmbeddingIndex.load(other)
    assert content["kind"] == "sharded"


def test_a_part_of_the_index_in_memory(index, plain, crystals):
    part = index.select([5, 3, 250])
    assert part.table["material_id"].tolist() == [crystals[k].material_id for k in (5, 3, 250)]
    assert part.table["number"].tolist() == [5, 3, 250]
    assert part.table["space_group"].tolist() == plain.table["space_group"].iloc[[5, 3, 250]].tolist()
    assert len(index.sample(40)) == 40 and len(index.sample(10_000)) == len(crystals)


def test_recall_and_memory_of_compressed_vectors(tmp_path):
    random = np.random.default_rng(0)
    centers = random.normal(size=(400, 64))
    vectors = unit_rows(centers[random.integers(400, size=20_000)] + 0.35 * random.normal(size=(20_000, 64)))
    train(vectors[::3], len(vectors), tmp_path / "trained.faiss")
    halves = [(0, 9_000), (9_000, 20_000)]
    for first, stop in halves:
        write_segment(
            tmp_path / "trained.faiss", [(np.arange(first, stop), vectors[first:stop])], tmp_path / f"{first}.faiss"
        )
    segments = [Segment(tmp_path / f"{first}.faiss") for first, _ in halves]
    assert [len(segment) for segment in segments] == [9_000, 11_000]
    queries = vectors[::97]
    exact = nearest_rows(vectors, queries, 10)[0]
    listed = shortlist(segments, queries, 200, None)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), listed.tolist(), strict=True)])
    assert recall > 0.95
    allowed = np.arange(20_000) % 7 == 3
    within = shortlist(segments, queries[:20], 200, allowed)
    assert (within[within >= 0] % 7 == 3).all()
    few = shortlist(segments, queries[:2], 10, np.arange(20_000) == 5)
    assert set(few[0].tolist()) <= {5, -1}


def test_neighbours_by_components_are_those_of_the_whole_vectors():
    generator = np.random.default_rng(0)
    factors, mixing = generator.normal(size=(6_000, 30)), generator.normal(size=(30, 200))
    vectors = unit_rows((factors @ mixing + 0.3 * generator.normal(size=(6_000, 200))).astype(np.float32))
    queries, gallery = vectors[:300], np.ascontiguousarray(vectors[300:])
    rows, products = _by_components(gallery)(queries, 10)
    exact_rows, exact_products = nearest_rows(gallery, queries, 10)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(rows, exact_rows, strict=True)]) > 8.5
    assert np.abs(products - np.einsum("qf,qkf->qk", queries, gallery[rows])).max() < 1e-5
    assert (np.diff(products, axis=1) <= 0).all() and np.median(exact_products[:, 0] - products[:, 0]) == 0
