import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.search import EmbeddingIndex, Filter, enrichment, find_members, precision_at_k


@pytest.fixture(scope="module")
def index(prototypes):
    return EmbeddingIndex.from_structures(prototypes, "small", progress=False)


@pytest.fixture(scope="module")
def oxides(index):
    has_oxygen = index.table["chemical_system"].map(lambda system: "O" in system.split("-"))
    return index.table["material_id"][has_oxygen].tolist()


def test_a_class_is_completed_from_half_of_it(index, oxides):
    concept = find_members(index, oxides[::2], k=len(oxides) // 2)
    found = set(concept.material_ids)
    assert len(found & set(oxides)) > 0.75 * len(found) and not found & set(oxides[::2])
    assert concept.auc > 0.9 and concept.in_top_percent > 0.1
    scores = [member.score for member in concept]
    assert scores == sorted(scores, reverse=True) and 0 <= concept[0].percentile <= 100
    assert concept.to_frame()["chemical_system"].notna().all()


def test_random_crystals_are_no_class(index):
    names = np.random.default_rng(0).permutation(index.table["material_id"])[:40].tolist()
    assert find_members(index, names, k=5).auc < 0.65


def test_validation_never_sees_the_system_it_scores(index, oxides):
    """Labels copied to another column of the same systems would be learned by heart."""
    vectors = np.zeros((len(index), 3), np.float32)
    systems = index.table["chemical_system"]
    rng = np.random.default_rng(0)
    code = {system: rng.normal(size=3) for system in systems.unique()}
    vectors[:] = [code[system] for system in systems]  # says the system and nothing else
    blind = EmbeddingIndex.build(
        vectors, index.table["material_id"], metadata=index.table[["material_id", "chemical_system"]]
    )
    assert find_members(blind, oxides, k=3).auc < 0.65


def test_answers_may_be_of_new_systems_only(index, oxides):
    systems = set(index.table["chemical_system"][index.table["material_id"].isin(oxides[:10])])
    concept = find_members(index, oxides[:10], k=50, new_systems=True, filter=Filter(elements=["O"]))
    assert len(concept) and all(member["chemical_system"] not in systems for member in concept)


def test_what_makes_no_class(index, oxides):
    with pytest.raises(QueryError, match="at least 3"):
        find_members(index, [oxides[0], oxides[0], oxides[1]])
    with pytest.raises(QueryError, match="nobody"):
        find_members(index, [*oxides[:3], "nobody"])
    one_system = EmbeddingIndex.build(
        np.eye(4), list("abcd"), metadata=pd.DataFrame({"id": list("abcd"), "chemical_system": "Fe-O"})
    )
    assert np.isnan(find_members(one_system, list("abc"), k=1).auc)


def test_enrichment_around_a_member(index, oxides):
    around = enrichment(index, oxides[0], oxides, k=20)
    assert around.k == 20 and around.found > around.expected and around.p_value < 0.05
    everybody = enrichment(index, oxides[0], oxides, k=len(index))
    assert everybody.ratio == pytest.approx(1.0) and everybody.p_value == pytest.approx(1.0)


def test_precision_counts_other_systems_only():
    rng = np.random.default_rng(1)
    vectors, members = rng.normal(size=(40, 4)), rng.random(40) < 0.4
    systems = rng.integers(0, 8, 40)
    among = rng.random(40) < 0.8
    shares, owners = precision_at_k(vectors, members, systems, k=5, among=among)
    queries = np.random.default_rng(0).permutation(np.flatnonzero(members))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for share, query in zip(shares, queries, strict=True):
        likeness = units @ units[query]
        likeness[~among | (systems == systems[query])] = -np.inf
        assert share == pytest.approx(members[np.argsort(-likeness)[:5]].mean())
    assert (owners == systems[queries]).all()


def test_a_text_is_one_id_and_a_number_is_its_text():
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    index = EmbeddingIndex.build(vectors, [1, 2, 3, 4, 12, "La"])
    with pytest.raises(QueryError, match="examples: 1;"):
        find_members(index, "La")
    assert find_members(index, [1, 2.0, "3"], k=2).material_ids == find_members(index, list("123"), k=2).material_ids
    assert enrichment(index, "1", "12", k=5) == enrichment(index, 1, [12], k=5)
    assert enrichment(index, "1", "12", k=5).found == 1
    index.remove("12")
    assert index.table["material_id"].tolist() == ["1", "2", "3", "4", "La"]
    index.remove(3)
    index.add(vectors[:1], "La")
    assert index.table["material_id"].tolist() == ["1", "2", "4", "La"]


@pytest.mark.parametrize("members", ["ab", ["a", "b"], [0, 1], [True]])
def test_members_of_a_precision_are_marked(members):
    with pytest.raises(QueryError, match="True and False"):
        precision_at_k(np.eye(3), members, np.array(list("abc")))
