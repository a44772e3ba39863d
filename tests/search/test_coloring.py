"""Colours of the map, and the pictures."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.search.coloring import Coloring, anion_class, coloring, colorings
from deepchem_crystalssl.search.pictures import draw_map

TABLE = pd.DataFrame(
    {
        "material_id": ["a", "b", "c", "d"],
        "formula": ["Fe2O3", "NaCl", "Al", "FeS"],
        "chemical_system": ["Fe-O", "Cl-Na", "Al", "Fe-S"],
        "space_group": [167, 225, 225, np.nan],
        "gap": [2.0, 8.5, np.nan, np.inf],
        "known": [True, False, True, True],
        "lab": ["x", None, "y", "x"],
    }
)


def test_what_there_is_to_colour_by():
    found = colorings(TABLE)
    assert list(found) == ["anion_class", "n_elements", "crystal_system", "space_group", "gap", "known", "lab"]
    kinds = {
        name: [one.categories[v] if v >= 0 else None for v in one.values]
        for name, one in found.items()
        if one.categories is not None
    }
    assert kinds["anion_class"] == ["oxide", "halide", "intermetallic or element", "chalcogenide"]
    assert found["anion_class"].categories == ("oxide", "halide", "chalcogenide", "intermetallic or element")
    assert kinds["crystal_system"] == ["trigonal", "cubic", "cubic", None]
    assert kinds["known"] == ["yes", "no", "yes", "yes"] and kinds["lab"] == ["x", None, "y", "x"]
    assert found["n_elements"].values.tolist() == [2, 2, 1, 2]
    assert np.isnan(found["gap"].values).tolist() == [False, False, True, True]


def test_names_that_are_many_colour_nothing():
    table = pd.DataFrame({"remark": [f"no. {k}" for k in range(60)], "none": [None] * 60})
    assert not colorings(table)


def test_an_element():
    assert coloring(TABLE, "Fe").values.tolist() == [0, -1, -1, 0]
    with pytest.raises(QueryError, match="anion_class"):
        coloring(TABLE, "colour")


@pytest.mark.parametrize(
    ("system", "kind"),
    [("Li-O-F", "oxide"), ("F-Ca", "halide"), ("S-Fe-P", "chalcogenide"), ("N-Ga", "pnictide"),
     ("C-W", "hydride, boride, carbide, silicide"), ("Ni", "intermetallic or element")],
)  # fmt: skip
def test_anion_classes(system, kind):
    assert anion_class(system) == kind


def colors_drawn(figure):
    return [tuple(color) for axes in figure.axes for drawn in axes.collections for color in drawn.get_facecolors()]


def test_a_picture_by_kinds():
    positions = np.random.default_rng(0).normal(size=(50, 2))
    words = ["often"] * 30 + ["seldom"] * 15 + [None] * 5
    figure = draw_map(positions, Coloring.of_kinds("word", words))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["often (30)", "seldom (15)"] and figure.legends[0].get_title().get_text() == "word"
    grey = figure.axes[0].collections[0]
    assert len(grey.get_offsets()) == 5 and tuple(grey.get_facecolors()[0]) == to_rgba("0.88")
    assert len(set(colors_drawn(figure))) == 3


def test_rare_kinds_are_others():
    words = [f"kind {k}" for k in range(14) for _ in range(k + 1)]
    figure = draw_map(np.zeros((len(words), 2)), Coloring.of_kinds("word", words))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == 11 and labels[-1] == "other (10)"


def test_a_picture_by_numbers():
    values = np.concatenate([np.linspace(0, 1, 101), [1e6, np.nan]])
    figure = draw_map(np.random.default_rng(0).normal(size=(103, 2)), Coloring("gap", values))
    drawn = figure.axes[0].collections[1]
    assert len(drawn.get_offsets()) == 102 and drawn.norm.vmax < 1.1  # one far off does not flatten the others
    assert figure.axes[1].get_xlabel() == "gap"


def test_nothing_known():
    figure = draw_map(np.arange(6.0).reshape(3, 2), Coloring("gap", np.full(3, np.nan)))
    assert [len(drawn.get_offsets()) for drawn in figure.axes[0].collections] == [3, 0]
