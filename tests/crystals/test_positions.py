"""Which item of a source a crystal comes from, and how it is called."""

import json
import os

import pandas as pd
import pytest
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from deepchem_crystalssl import Report, read_structures, structures_to_graphs
from deepchem_crystalssl.crystals.formats.files import name_files
from deepchem_crystalssl.crystals.neighbors import enumerate_graphs


@pytest.fixture
def cif(structures):
    return str(CifWriter(structures[0]))


@pytest.fixture
def two_blocks(cif):
    return cif + cif.replace("data_", "data_second_", 1)


def positions(source, **options):
    return [position for position, _ in read_structures(source, on_error="skip", **options).enumerate()]


@pytest.mark.parametrize("form", ["cif", "json"])
def test_a_row_of_two_structures_shifts_no_later_row(structures, cif, two_blocks, form):
    double = two_blocks if form == "cif" else json.dumps([structures[0].as_dict()] * 2)
    frame = pd.DataFrame({"structure": [cif, double, None, cif]})
    report = Report()
    found = list(enumerate_graphs(frame, on_error="skip", report=report))
    assert [position for position, _ in found] == [0, 1, 1, 3] and report.indices == [2]
    assert positions(frame["structure"].tolist()) == [0, 1, 1, 3]


def test_positions_in_tables_on_disk(two_blocks, cif, tmp_path):
    frame = pd.DataFrame({"cif": [two_blocks, "nonsense\n", cif]})
    for write, path in ((frame.to_csv, tmp_path / "t.csv"), (frame.to_parquet, tmp_path / "t.parquet")):
        write(path)
        report = Report()
        assert positions(path, report=report) == [0, 0, 2] and report.indices == [1]


def test_positions_in_folders_and_files(structures, two_blocks, cif, tmp_path):
    (tmp_path / "a.cif").write_text(two_blocks)
    (tmp_path / "b.cif").write_text("data_nothing\n")
    (tmp_path / "c.cif").write_text(cif)
    report = Report()
    assert positions(tmp_path, report=report) == positions(str(tmp_path / "*.cif")) == [0, 0, 2]
    assert report.indices == [1]
    assert positions([tmp_path, structures[1], tmp_path / "c.cif"]) == [0, 0, 0, 1, 2]
    assert positions(tmp_path / "a.cif") == [0, 1]  # of a single file the data blocks are the items
    (tmp_path / "list.json").write_text(json.dumps([structures[0].as_dict(), 5, structures[1].as_dict()]))
    assert positions(tmp_path / "list.json") == [0, 2]


def test_folders_whose_files_have_one_name(structures, tmp_path):
    for folder in ("a/start", "a/end", "b/end"):
        (tmp_path / folder).mkdir(parents=True)
        Poscar(structures[0]).write_file(tmp_path / folder / "CONTCAR")
    (tmp_path / "broken.cif").write_text("data_x\n")
    expected = ["a/end/CONTCAR", "start/CONTCAR", "b/end/CONTCAR"]
    folders = [tmp_path / "a", tmp_path / "b"]
    for source in (tmp_path, str(tmp_path / "**" / "CONTCAR"), folders, [str(folder) for folder in folders]):
        names = [graph.material_id for graph in structures_to_graphs(source, on_error="skip")]
        assert names == expected
    lazily = [crystal.material_id for crystal in read_structures(folder for folder in folders)]
    assert len(set(lazily)) == 3 and lazily[-1] == "b/end/CONTCAR"  # the first folder was read before


def test_files_of_one_name_and_tables_without_ids(structures, cif, tmp_path):
    (tmp_path / "salt.cif").write_text(cif)
    Poscar(structures[0]).write_file(tmp_path / "salt.vasp")
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        pd.DataFrame({"cif": [cif]}).to_csv(tmp_path / folder / "t.csv")
    assert [c.material_id for c in read_structures(tmp_path)] == ["salt.cif", "salt.vasp", "x/t 0", "y/t 0"]
    twice = [tmp_path / "salt.cif"] * 2
    assert [c.material_id for c in read_structures(twice)] == ["salt", "salt (2)"]


def test_data_blocks_of_one_name(cif, tmp_path):
    (tmp_path / "a.cif").write_text(cif + cif)
    names = [crystal.material_id for crystal in read_structures(tmp_path / "a.cif")]
    assert len(set(names)) == 2 and names[1] == names[0] + " (2)"


def test_names_of_many_files_are_distinct():
    from pathlib import Path

    paths = [
        Path(f"/r/{a}/{b}/{name}") for a in "xy" for b in "xy" for name in ("1.cif", "1.vasp", "1.cif.gz", "POSCAR")
    ]
    names = name_files(paths + paths, taken := set())
    assert len(set(names)) == len(names) == 32 and taken == set(names)


def test_a_column_of_paths(structures, cif, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.cif").write_text(cif)
    Poscar(structures[1]).write_file(tmp_path / "files" / "POSCAR-2.vasp")
    frame = pd.DataFrame({"id": ["007", "8", "9"], "path": ["files/a.cif", "files/POSCAR-2.vasp", "files/none.cif"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    report = Report()
    crystals = list(read_structures(tmp_path / "t.csv", on_error="skip", report=report))
    assert [c.material_id for c in crystals] == ["007", "8"] and report.indices == [2]
    assert "none.cif" in str(report[0]) and "No such file" in str(report[0])
    absolute = frame.assign(path=[str(tmp_path / path) for path in frame["path"]])
    assert [c.material_id for c in read_structures(absolute, on_error="skip")] == ["007", "8"]


def test_a_json_text_without_line_break_is_no_path(structures):
    text = structures[0].to(fmt="json")
    assert "\n" not in text and len(list(read_structures([text, "[" + text + "]"]))) == 2


def test_errors_name_the_file_and_the_reason_once(structures, cif, tmp_path):
    (tmp_path / "bad.cif").write_text(cif.replace("_cell_length_a", "_cell_length_q"))
    (tmp_path / "list.json").write_text(json.dumps([structures[0].as_dict(), {"lattice": 3, "sites": []}]))
    pd.DataFrame({"id": ["mp-7"], "cif": ["data_x\n"]}).to_csv(tmp_path / "t.csv")
    (tmp_path / "gone.cif").symlink_to(tmp_path / "nowhere.cif")
    report = Report()
    list(read_structures(tmp_path, on_error="skip", report=report))
    told = [str(error) for error in report]
    parts = ["bad.cif", "gone.cif", "list.json", "t.csv"], ["_cell_length_a", "No such file", "list 1", "mp-7"]
    for text, name, reason in zip(told, *parts, strict=True):
        assert text.startswith(str(tmp_path / name)) and text.count(name) == 1 and text.count(reason) == 1
    assert os.fspath(tmp_path) in report.summary()
