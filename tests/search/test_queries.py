"""What may be asked, and what is refused instead of being answered wrongly."""

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import EmbeddingIndex
from deepchem_crystalssl.errors import CrystalInputError, QueryError
from deepchem_crystalssl.search.queries import distinct_names

FORMULAS = ["Ca(OH)2", "TiO2", "TiO2", "NaCl", "Fe0.95O1", "Co", "CO"]


@pytest.fixture(scope="module")
def index():
    metadata = pd.DataFrame({"id": range(7), "formula": FORMULAS})
    return EmbeddingIndex.build(np.random.default_rng(0).normal(size=(7, 8)), range(7), metadata=metadata)


@pytest.fixture(scope="module")
def known(prototypes):
    return EmbeddingIndex.from_structures(prototypes[:12], "small", progress=False)


@pytest.mark.parametrize(
    ("formula", "rows"),
    [("Ca(OH)2", "0"), ("CaH2O2", "0"), ("Ca (OH)2", "0"), ("TiO2", "12"), ("Ti2O4", "12"), ("O2Ti", "12"),
     ("TiO₂", "12"), ("tio2", "12"), ("TIO2", "12"), ("Cl Na", "3"), ("Fe19O20", "4"), ("Co", "5"), ("CO", "6")],
)  # fmt: skip
def test_a_formula_is_a_composition_not_a_text(index, formula, rows):
    own = {answer.material_id for answer in index.query(formula, k=7, include_self=True)} - {
        answer.material_id for answer in index.query(formula, k=7)
    }
    assert "".join(sorted(own)) == rows


def test_a_formula_that_may_mean_two_compounds_is_refused(index):
    with pytest.raises(QueryError, match="Co or CO|CO or Co"):
        index.query("co")
    with pytest.raises(QueryError, match="neither an id nor a formula"):
        index.query("Ti2O3")


def test_ids_may_be_numbers(index):
    assert index.query(3, k=2).material_ids == index.query("3", k=2).material_ids
    assert index.query(np.int64(3), k=2).material_ids == index.query("3", k=2).material_ids


@pytest.mark.parametrize("k", [0, -1, 2.0, "3", None, True])
def test_how_many_answers_is_a_whole_number(index, k):
    with pytest.raises(QueryError, match="k: "):
        index.query("3", k=k)
    with pytest.raises(QueryError, match="k: "):
        index.query_each(["3"], k=k)


@pytest.mark.parametrize("query", [[], (), np.zeros((0, 8)), 3.5, None, True, b"TiO2", {}, np.array(["a"] * 8)])
def test_what_is_no_query_is_a_typed_error(index, query):
    with pytest.raises(CrystalInputError):
        index.query(query)


def test_nothing_can_be_found_in_an_empty_index():
    empty = EmbeddingIndex.build(np.zeros((0, 8)), [])
    assert len(empty) == 0
    for query in (np.ones(8), "TiO2"):
        with pytest.raises(QueryError):
            empty.query(query)


def test_folders_and_files_of_several_crystals_are_refused(known, prototypes, tmp_path):
    first, second = (prototypes[k].to_structure() for k in (3, 4))
    first.to(filename=str(tmp_path / "first.cif"))
    only = known.query(tmp_path / "first.cif", k=1)
    with pytest.raises(QueryError, match="a folder"):
        known.query(tmp_path)
    with pytest.raises(QueryError, match="a folder"):
        known.query_each([str(tmp_path)])
    (tmp_path / "both.cif").write_text(first.to(fmt="cif") + "\n" + second.to(fmt="cif").replace("data_", "data_2"))
    with pytest.raises(QueryError, match="several crystals"):
        known.query(tmp_path / "both.cif")
    with pytest.raises(QueryError, match="several crystals"):
        known.query(pd.DataFrame({"structure": [first.as_dict(), second.as_dict()]}))
    alike = known.query([tmp_path / "first.cif"], k=1)
    assert alike.material_ids == only.material_ids == [prototypes[3].material_id]


def test_each_query_may_be_a_list(known):
    ids = known.table["material_id"]
    [found] = known.query_each([[ids[0], ids[1]]], k=4)
    assert found.material_ids == known.query([ids[0], ids[1]], k=4).material_ids


def test_names_that_come_again_are_numbered():
    assert distinct_names(["Fe", "Co", "Fe", "Fe"]) == ["Fe", "Co", "Fe (2)", "Fe (3)"]
    assert distinct_names(["Fe", "Fe", "Fe (2)"]) == ["Fe", "Fe (3)", "Fe (2)"]


def test_a_query_without_direction_is_refused(index):
    with pytest.raises(QueryError, match="length 0.*direction"):
        index.query(np.zeros(8))
    with pytest.raises(QueryError, match="^query: an empty text"):
        index.query("")
    with pytest.raises(QueryError, match="^query: an empty text"):
        index.query("  ")
    assert len(index.query(np.full(8, 1e-30), k=2)) == 2


def test_queries_that_cancel_have_no_direction(index):
    with pytest.raises(QueryError, match="length 0.*direction"):
        index.query([index.vectors[0], -index.vectors[0]])


def test_a_list_of_numbers_is_a_vector(known):
    vector = known.vectors[3]
    assert known.query(vector.tolist(), k=3).material_ids == known.query(vector, k=3).material_ids
    with pytest.raises(QueryError, match=r"shape \(5,\).*a vector has"):
        known.query([1.0] * 5)
