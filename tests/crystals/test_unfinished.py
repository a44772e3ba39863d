"""The folder of unfinished work: its notes are verified, and a folder of someone else is left alone."""

import pytest

from deepchem_crystalssl.crystals.unfinished import keep_choices
from deepchem_crystalssl.errors import StoreError


def begin(work, **choices):
    keep_choices(work, choices, {}, StoreError, "a table")


def test_a_folder_of_someone_else_is_refused_before_any_work(tmp_path):
    work = tmp_path / "numbers.csv.building"
    work.mkdir()
    (work / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="holds something else.*Rename it"):
        begin(work, source="a")
    assert [path.name for path in work.iterdir()] == ["thesis.tex"]
    with pytest.raises(StoreError, match="holds something else"):
        begin(work / "thesis.tex", source="a")


def test_damaged_notes_are_an_error(tmp_path):
    work = tmp_path / "work"
    begin(work, source="a", size=12)
    begin(work, source="a", size=12)
    with pytest.raises(StoreError, match="begun with other choices: size"):
        begin(work, source="a", size=13)
    notes = work / "building.json"
    text = notes.read_text()
    for content in (text.replace("12", "13"), text[:20], "", "\xff"):
        notes.write_bytes(content.encode("latin-1"))
        with pytest.raises(StoreError, match="building.json"):
            begin(work, source="a", size=13)
