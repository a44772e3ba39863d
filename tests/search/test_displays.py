"""What a notebook shows of answers and of an index."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from pymatgen.symmetry.groups import SpaceGroup

from deepchem_crystalssl.crystals.symmetry import symbol_of_group
from deepchem_crystalssl.search import Answers, EmbeddingIndex, Neighbor, ShardedIndex
from deepchem_crystalssl.search.displays import table_html

MARKUP = "<img src=x onerror=alert(1)>"


class Cells(HTMLParser):
    """Rows of the texts of all cells, and every tag."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.tags, self.inside = [], set(), False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_pymatgen_knows_the_symbols():
    symbols = [symbol_of_group(number) for number in range(1, 231)]
    assert [SpaceGroup(symbol).int_number for symbol in symbols] == list(range(1, 231))
    assert [symbols[number - 1] for number in (2, 14, 166, 194)] == ["P-1", "P2_1/c", "R-3m", "P6_3/mmc"]


def test_answers_are_a_table_of_typeset_cells():
    known = {"space_group": 194, "gap": 1.23456, "stable": True, MARKUP: MARKUP, "missing": np.nan}
    cells = Cells(Answers([Neighbor(MARKUP, 1, 0.01, 40.0, "Fe-O", "Ca(OH)2", known)])._repr_html_())
    head, row = cells.rows
    assert head[:4] == ["", "id", "formula", "space group"]
    assert row[:4] == ["1", MARKUP, "Ca(OH)2", "P63/mmc (194)"] and "img" not in cells.tags
    found = dict(zip(head, row, strict=True))
    assert [found[name] for name in ("gap", "stable", MARKUP, "missing", "distance")] == [
        "1.235", "yes", MARKUP, "", "0.01",
    ]  # fmt: skip
    assert Answers([])._repr_html_() == "no answers"


def test_long_and_wide_tables_are_cut_and_say_so():
    table = pd.DataFrame(np.arange(60 * 20).reshape(60, 20)).add_prefix("column ")
    html = table_html(table)
    assert len(Cells(html).rows) == 51 and len(Cells(html).rows[0]) == 14
    assert "10 more rows and 6 more columns" in html and "more" not in table_html(table.iloc[:5, :5])


def test_an_index_says_what_it_holds_without_opening_anything(prototypes, monkeypatch):
    index = EmbeddingIndex.from_structures(prototypes[:12], "small", progress=False)
    assert repr(index) == "EmbeddingIndex(12 crystals, space 'similarity', model small, structures)"
    index.make_map(progress=False)
    index.table[MARKUP] = 1.0
    monkeypatch.setattr(EmbeddingIndex, "model", property(lambda index: pytest.fail("the model was opened")))
    cells = Cells(index._repr_html_())
    facts = dict(cells.rows)
    assert facts["model"] == "small" and facts["holds"] == "structures, map" and MARKUP in facts["known"]
    assert facts["space"] == f"similarity, {index.vectors.shape[1]} columns" and "img" not in cells.tags
    bare = EmbeddingIndex.build(np.eye(3), ["a", "b", "c"])
    assert repr(bare) == "EmbeddingIndex(3 crystals, space 'similarity', model none)"
    assert dict(Cells(bare._repr_html_()).rows)["holds"] == "vectors alone"


def test_a_sharded_index_says_the_same(prototypes, tmp_path):
    index = ShardedIndex.build(
        prototypes[:12], tmp_path / "index", "small", patterns=True, engine="serial", progress=False
    )
    facts = dict(Cells(index._repr_html_()).rows)
    assert facts["holds"] == "structures, patterns" and "12 crystals on disk" in index._repr_html_()
    assert "formula" in facts["known"] and re.search(r"12 crystals, model small, structures, patterns\)$", repr(index))
