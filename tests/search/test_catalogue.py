import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.search.catalogue import Facts, Filter, Joined, anonymous, catalogue, describe

TABLE = pd.DataFrame(
    {
        "material_id": list("abcd"),
        "chemical_system": ["Fe-O", "Fe", "Li-O", "Fe-Li-O"],
        "num_sites": [10, 2, 6, 14],
        "space_group": [167, 229, 225, 12],
        "gap": [2.0, 0.0, np.nan, 1.0],
        "kind": ["oxide", "metal", "oxide", "oxide"],
    }
)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Filter(), "abcd"),
        (Filter(elements=["Fe", "O"]), "ad"),
        (Filter(without=["Li"]), "ab"),
        (Filter(only=["Fe", "O"]), "ab"),
        (Filter(n_elements=2), "ac"),
        (Filter(n_elements=(2, 3)), "acd"),
        (Filter(n_sites=(5, 10)), "ac"),
        (Filter(space_group=[225, 229]), "bc"),
        (Filter(where={"gap": (0.5, 3)}), "ad"),
        (Filter(where={"kind": "metal"}), "b"),
        (Filter(where={"kind": ["metal", "oxide"], "gap": 1.0}), "d"),
        (Filter(elements=["Fe"], n_sites=(0, 12), where={"spacegroup": 229}), "b"),
    ],
)
def test_filters(filter, expected):
    assert "".join(TABLE["material_id"][filter.mask(TABLE)]) == expected


@pytest.mark.parametrize("filter", [Filter(elements=["Iron"]), Filter(only=["fe"]), Filter(where={"color": "red"})])
def test_what_does_not_exist_is_named(filter):
    with pytest.raises(QueryError, match="Iron|fe|color"):
        filter.mask(TABLE)


def test_a_catalogue_joins_structures_and_metadata():
    crystals = bundled_prototypes()[:4]
    ids = [crystal.material_id for crystal in crystals]
    known = pd.DataFrame({"material_id": ids[::-1], "spacegroup": [4, 3, 2, 1], "chemsys": ["wrong"] * 4})
    table = catalogue(ids, crystals, known)
    assert table["space_group"].tolist() == [1, 2, 3, 4]  # by id, under its own name
    assert table["chemical_system"].tolist() == [crystal.chemical_system for crystal in crystals]  # structures go first
    assert table["formula"].tolist() == [crystal.reduced_formula for crystal in crystals]


@pytest.mark.parametrize(
    ("ids", "structures", "metadata", "word"),
    [
        (["a", "a"], None, None, "twice"),
        (["a", "b"], bundled_prototypes()[:1], None, "structures"),
        (["a", "b"], None, pd.DataFrame({"x": [1]}), "metadata"),
    ],
)
def test_parts_that_do_not_match(ids, structures, metadata, word):
    with pytest.raises(QueryError, match=word):
        catalogue(ids, structures, metadata)


def test_joined_lists_are_one_list():
    a, b = bundled_prototypes()[:3], bundled_prototypes()[3:5]
    joined = Joined.of(a, b).select(np.array([4, 0, 3]))
    assert [joined[k] for k in range(len(joined))] == [b[1], a[0], b[0]]
    assert len(Joined.of(joined, a)) == 6 and Joined.of(joined, a)[3] is a[0]
    assert describe([a[0]])["num_sites"].tolist() == [a[0].num_nodes]


def test_what_two_crystals_share():
    rutile = Facts(frozenset({"Ti", "O"}), anonymous("TiO2"), 136)
    assert rutile.shared(Facts(frozenset({"Sn", "O"}), anonymous("SnO2"), 136)) == "O, AB2, space group 136"
    assert rutile.shared(Facts(frozenset({"Na", "Cl"}), anonymous("NaCl"), 225)) == ""
    assert Facts.of_row({"formula": None, "space_group": np.nan}) == Facts(frozenset(), "", None)
