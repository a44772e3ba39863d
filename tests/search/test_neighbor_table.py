import numpy as np

from deepchem_crystalssl.search import neighbor_table


def test_neighbors_are_exact():
    vectors = np.random.default_rng(0).normal(size=(30, 5))
    table = neighbor_table(vectors, [f"m{i}" for i in range(30)], k=4)
    distance = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1) + 100 * np.eye(30)
    for i in range(30):
        rows = table[table["material_id"] == f"m{i}"]
        assert rows["neighbor_id"].tolist() == [f"m{j}" for j in np.argsort(distance[i])[:4]]
        assert np.allclose(rows["distance"], np.sort(distance[i])[:4])


def test_fewer_others_than_asked_for():
    assert len(neighbor_table(np.eye(3), ["a", "b", "c"], k=10)) == 6


def test_identical_vectors_are_neighbors_of_each_other():
    table = neighbor_table(np.zeros((2, 3)), ["a", "b"], k=1)
    assert table["neighbor_id"].tolist() == ["b", "a"]
