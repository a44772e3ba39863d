"""The map: like beside like, the same from the same seed, new crystals beside their neighbours, kept on disk."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.manifold import trustworthiness

from deepchem_crystalssl.errors import IndexFolderError, QueryError
from deepchem_crystalssl.search import EmbeddingIndex, make_map
from deepchem_crystalssl.search import vectors
from deepchem_crystalssl.search.materials_map import MaterialsMap, place_new
from deepchem_crystalssl.search.vectors import nearest_to_each, unit_rows


@pytest.fixture(scope="module")
def index(prototypes):
    return EmbeddingIndex.from_structures(prototypes, "small", progress=False)


@pytest.fixture(scope="module")
def map(index):
    return index.map


def test_like_lies_beside_like(index, map):
    shuffled = np.random.default_rng(0).permutation(map.positions)
    assert trustworthiness(index.vectors, map.positions, n_neighbors=10) > 0.9
    assert trustworthiness(index.vectors, shuffled, n_neighbors=10) < 0.6
    assert np.abs(map.positions).max() == pytest.approx(1.0) and map.positions.dtype == np.float32


def test_one_seed_one_map(index, map):
    assert np.allclose(make_map(index.vectors, progress=False).positions, map.positions, atol=1e-4)


def test_neighbors_are_exact(index, map):
    products = index.vectors @ index.vectors.T
    np.fill_diagonal(products, -np.inf)
    expected = np.sort(-products, axis=1)[:, :15] + 1
    assert np.allclose(map.distances, np.maximum(expected, 0), atol=1e-5)
    assert np.allclose(np.take_along_axis(products, map.neighbors.astype(int), axis=1), 1 - map.distances, atol=1e-5)
    assert not (map.neighbors == np.arange(len(index))[:, None]).any()


def test_the_approximate_engine_finds_the_same(index, map, monkeypatch):
    monkeypatch.setattr(vectors, "EXACT_EACH_UP_TO", 100)
    _, distances = nearest_to_each(index.vectors, 15)
    assert np.allclose(distances, map.distances, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 12, 20, 32])
def test_few_crystals(index, n):
    found = make_map(index.vectors[:n], progress=False)
    assert found.positions.shape == (n, 2) and np.isfinite(found.positions).all()
    assert found.neighbors.shape == (n, min(15, n - 1))
    apart = np.linalg.norm(found.positions[:, None] - found.positions[None], axis=-1)[~np.eye(n, dtype=bool)]
    assert n == 1 or apart.max() >= 1 and np.median(apart) > 0.2  # not one dot


def test_equal_crystals_lie_together_and_others_apart(index):
    found = make_map(np.tile(index.vectors[:5], (20, 1)), progress=False)
    middles = found.positions.reshape(20, 5, 2).mean(axis=0)
    radius = np.linalg.norm(found.positions.reshape(20, 5, 2) - middles, axis=-1).max()
    assert 0 < radius < 0.15 and pdist(middles).min() > 3 * radius
    assert not (found.neighbors == np.arange(100)[:, None]).any()


def test_a_new_crystal_is_placed_with_those_it_is_like():
    positions = np.array([[0, 0], [0.1, 0], [0, 0.1], [1, 1], [1, 0.9]], np.float32)
    map = MaterialsMap(positions, np.zeros((5, 0), np.int32), np.zeros((5, 0), np.float32))
    # A mean would lie between the groups, where nothing is.
    place = map.place(np.array([1, 0, 2, 3, 4]), np.array([0.1, 0.11, 0.12, 0.3, 0.3]))
    assert place.tolist() in positions[:3].astype(float).tolist()
    with pytest.raises(QueryError, match="no neighbour"):
        map.place(np.zeros(0, int), np.zeros(0))


def test_crystals_left_out_come_back_near_their_place(index, map):
    new = np.random.default_rng(0).permutation(len(index))[:40]
    positions = map.positions.copy()
    positions[new] = np.nan
    placed = place_new(positions, index.vectors)
    apart = np.linalg.norm(placed.positions[new] - map.positions[new], axis=1)
    by_chance = np.linalg.norm(map.positions[new] - map.positions[np.roll(new, 1)], axis=1)
    assert np.median(apart) < 0.25 * np.median(by_chance)
    assert np.array_equal(np.delete(placed.positions, new, axis=0), np.delete(map.positions, new, axis=0))


def test_add_and_remove_leave_the_map_where_it_was(prototypes, index):
    small = EmbeddingIndex.build(
        unit_rows(index.vectors[:100]), index.table["material_id"][:100].tolist(), prototypes[:100]
    )
    before = small.make_map(progress=False).positions
    small.add(index.vectors[100:103], ["x", "y", "z"], prototypes[100:103])
    assert np.array_equal(small.map.positions[:100], before) and len(small.map) == 103
    assert small.map.neighbors.shape == (103, 15)
    small.remove(["y", index.table["material_id"][0]])
    assert np.array_equal(small.map.positions[:99], before[1:]) and len(small.map.neighbors) == 101


def test_the_map_is_kept(prototypes, index, tmp_path):
    small = EmbeddingIndex.build(index.vectors[:60], index.table["material_id"][:60].tolist(), prototypes[:60], "small")
    small.save(tmp_path / "a")
    assert not small.has_map and not EmbeddingIndex.load(tmp_path / "a").has_map
    small.keep_map(tmp_path / "a")
    again = EmbeddingIndex.load(tmp_path / "a")
    assert again.has_map and np.array_equal(again.map.positions, small.map.positions)
    again.save(tmp_path / "b")
    once_more = EmbeddingIndex.load(tmp_path / "b")
    assert once_more.has_map and np.array_equal(once_more.map.neighbors, small.map.neighbors)
    (tmp_path / "b" / "map.npz").write_bytes(b"PK not a map")
    with pytest.raises(IndexFolderError, match="no archive that can be read"):
        EmbeddingIndex.load(tmp_path / "b")
