from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import Filter
from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.search.filters import allowed_by

TABLE = pd.DataFrame(
    {
        "material_id": list("abcd"),
        "chemical_system": ["Fe-O", "Fe", "Li-O", "Fe-Li-O"],
        "num_sites": [10, 2, 6, 14],
        "space_group": [167, 229, 225, 12],
        "gap": [2.0, 0.0, np.nan, 1.0],
        "kind": ["oxide", "metal", "oxide", "oxide"],
        "known": [True, False, True, True],
        "year": pd.array([1999, 2010, None, 2020], "Int64"),
        "formula": ["Fe2O3", "Fe", "Li2O", None],
        "class": pd.Categorical(["oxide", "metal", "oxide", "oxide"]),
        "day": [date(1999, 1, 1), date(2010, 6, 1), None, date(2020, 1, 1)],
        "published": pd.to_datetime(["1999-01-01", "2010-06-01", None, "2020-01-01"]),
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
        (Filter(n_elements=(2, None)), "acd"),
        (Filter(n_sites=(5, 10)), "ac"),
        (Filter(n_sites=(None, 6)), "bc"),
        (Filter(space_group=[225, 229]), "bc"),
        (Filter(where={"gap": (0.5, 3)}), "ad"),
        (Filter(where={"gap": (0.5, None)}), "ad"),
        (Filter(where={"year": (None, 2010)}), "ab"),
        (Filter(where={"year": (2010, np.inf)}), "bd"),
        (Filter(where={"year": 2020}), "d"),
        (Filter(where={"published": (None, "2010-12-31")}), "ab"),
        (Filter(where={"published": pd.Timestamp("2010-06-01")}), "b"),
        (Filter(where={"published": [date(1999, 1, 1), datetime(2020, 1, 1)]}), "ad"),
        (Filter(where={"published": np.datetime64("2010-06-01")}), "b"),
        (Filter(where={"published": "2010-06-01"}), "b"),
        (Filter(where={"published": (date(2000, 1, 1), pd.Timestamp("2020-01-01"))}), "bd"),
        (Filter(where={"day": date(2010, 6, 1)}), "b"),
        (Filter(where={"day": (date(2000, 1, 1), None)}), "bd"),
        (Filter(where={"year": None}), "c"),
        (Filter(where={"gap": np.nan}), "c"),
        (Filter(where={"published": pd.NaT}), "c"),
        (Filter(where={"year": [2020, None]}), "cd"),
        (Filter(where={"year": np.array([1999, 2020])}), "ad"),
        (Filter(where={"known": np.bool_(False)}), "b"),
        (Filter(where={"known": 1}), "acd"),
        (Filter(where={"formula": "O3Fe2"}), "a"),
        (Filter(where={"formula": ["Li2O", "Fe2"]}), "bc"),
        (Filter(where={"formula": "TiO2"}), ""),
        (Filter(where={"formula": None}), "d"),
        (Filter(where={"chemsys": "O-Fe"}), "a"),
        (Filter(where={"chemical_system": ["O-Li", "Fe", "Ca"]}), "bc"),
        (Filter(where={"class": "metal"}), "b"),
        (Filter(space_group=(200, 230)), "bc"),
        (Filter(space_group=(None, 200)), "ad"),
        (Filter(space_group=np.array([12, 229])), "bd"),
        (Filter(where={"kind": "metal"}), "b"),
        (Filter(where={"known": True}), "acd"),
        (Filter(where={"kind": ["metal", "oxide"], "gap": 1.0}), "d"),
        (Filter(where={"kind": ("metal", "oxide")}), "abcd"),
        (Filter(elements=["Fe"], n_sites=(0, 12), where={"spacegroup": 229}), "b"),
    ],
)
def test_filters(filter, expected):
    assert "".join(TABLE["material_id"][filter.mask(TABLE)]) == expected


@pytest.mark.parametrize(
    ("filter", "word"),
    [
        (Filter(elements=["Iron"]), "Iron"),
        (Filter(only=["fe"]), "fe"),
        (Filter(where={"color": "red"}), "color"),
        (Filter(where={"gap": (3, 1)}), "smaller to its larger"),
        (Filter(n_sites=(1, 2, 3)), "num_sites"),
        (Filter(n_sites="many"), "num_sites"),
        (Filter(where={"gap": ("low", "high")}), "gap"),
        (Filter(where={"gap": (np.nan, 1)}), "gap"),
        (Filter(where={"kind": (None, "metal")}), "kind"),
        (Filter(where={"year": "2010"}), "numbers"),
        (Filter(where={"kind": 3}), "text"),
        (Filter(where={"kind": True}), "text"),
        (Filter(where={"kind": slice(1, 3)}), "kind=slice"),
        (Filter(where={"kind": {"metal": 1}}), "text"),
        (Filter(where={"gap": lambda gap: gap > 1}), "numbers"),
        (Filter(where={"gap": slice(1, 3)}), "numbers"),
        (Filter(where={"gap": True}), "numbers"),
        (Filter(where={"known": "True"}), "yes or no"),
        (Filter(where={"known": 2}), "yes or no"),
        (Filter(where={"published": 2000}), "times"),
        (Filter(where={"published": "quartz"}), "times"),
        (Filter(where={"published": pd.Timestamp("2010-06-01", tz="UTC")}), "time zone"),
        (Filter(where={"day": slice(1, 3)}), "times"),
        (Filter(where={"formula": "quartz"}), "formula"),
        (Filter(where={"formula": 3}), "formula"),
        (Filter(where={"chemsys": "Iron-O"}), "chemical system"),
        (Filter(where={"chemsys": 26}), "chemical system"),
    ],
)
def test_what_cannot_be_asked_for(filter, word):
    with pytest.raises(QueryError, match=word):
        filter.mask(TABLE)


@pytest.mark.parametrize("filter", [Filter(elements=["O"]), Filter(without=["Fe"]), Filter(n_elements=(None, 5)),
                                    Filter(space_group=225), Filter(n_sites=(None, 9))])  # fmt: skip
def test_a_crystal_of_which_a_value_is_unknown_is_left_out(filter):
    table = pd.DataFrame({"chemical_system": ["Na-O", None], "space_group": pd.array([225, None], "Int64"),
                          "num_sites": [8, np.nan]})  # fmt: skip
    assert filter.mask(table).tolist() == [True, False]


def test_ids_are_compared_as_text():
    table = pd.DataFrame({"material_id": ["1", "2", "12"]})
    assert Filter(where={"material_id": 12}).mask(table).tolist() == [False, False, True]
    assert Filter(where={"material_id": [1.0, "2"]}).mask(table).tolist() == [True, True, False]


@pytest.mark.parametrize("filter", [{"gap": 1}, "gap > 1"])
def test_a_filter_is_a_filter(filter):
    with pytest.raises(QueryError, match="Filter"):
        allowed_by(filter, TABLE)
    assert allowed_by(None, TABLE).all()


@pytest.mark.parametrize("number", [0, 231, 999.0, [225, 999]])
def test_a_space_group_that_there_is_not_is_refused(number):
    table = pd.DataFrame({"space_group": pd.array([225, None], "Int64")})
    with pytest.raises(QueryError, match="1 to 230"):
        Filter(space_group=number).mask(table)
    assert Filter(space_group=(200, 999)).mask(table).tolist() == [True, False]
