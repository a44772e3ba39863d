"""One bad item of any kind costs itself alone, by a typed error that names it."""

import gzip
import json
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from deepchem_crystalssl import Crystal, Report, read_structures
from deepchem_crystalssl.crystals.formats import convert, files
from deepchem_crystalssl.crystals.formats.texts import read_structure_text
from deepchem_crystalssl.errors import CrystalInputError, LimitError, OccupancyError, typed_error

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CIF, POSCAR, JSON = str(CifWriter(SALT)), Poscar(SALT).get_str(), SALT.to(fmt="json")
LINES = POSCAR.splitlines()
ROW = {"atomic_numbers": [11], "frac_coords": [[0, 0, 0]], "lattice": np.eye(3).tolist()}


def zipped(text):
    return gzip.compress(text.encode())


def parquet(path, damage):
    pd.DataFrame({"cif": [CIF] * 50, "id": range(50)}).to_parquet(path)
    content = path.read_bytes()
    return content[:damage] + b"\xff" * 300 + content[damage + 300 :]


def json_with(change):
    entry = json.loads(JSON)
    change(entry)
    return json.dumps(entry)


BAD_FILES = {
    "POSCAR": "\n".join(LINES[:9]),  # truncated among the atoms
    "truncated.vasp": "\n".join(LINES[:3]),
    "counts.vasp": POSCAR.replace("4 4", "4 -4"),
    "letters.vasp": POSCAR.replace("0.5", "o.5"),
    "mixed.vasp": POSCAR.replace("Na Cl", "Na/K Cl"),
    "empty.cif": "",
    "nofract.cif": "\n".join(line for line in CIF.splitlines() if "_atom_site_fract_y" not in line),
    "quote.cif": CIF.replace("_cell_length_a", "_cell_length_a 'a"),
    "binary.cif": b"\x00\xff" * 500,
    "utf16.cif": CIF.encode("utf-16")[:-9],
    "header.cif.gz": b"not gzip at all",
    "cut.cif.gz": zipped(CIF)[:-20],
    "inside.cif.gz": zipped(CIF)[:20] + b"\xff" * 40 + zipped(CIF)[60:],
    "deep.json": "[" * 100_000,
    "number.json": "5",
    "null.json": "[null, 1, [], {}]",
    "ragged.json": json_with(lambda e: e["sites"][0].update(abc=[0, 0])),
    "words.json": json_with(lambda e: e["sites"][0].update(abc=["a", "b", "c"])),
    "species.json": json_with(lambda e: e["sites"][0].update(species=5)),
    "occupancy.json": json_with(lambda e: e["sites"][0].update(species=[{"element": "Na", "occu": None}])),
    "sites.json": json_with(lambda e: e.update(sites=3)),
    "matrix.json": json_with(lambda e: e["lattice"].update(matrix=[[1, 2], [3]])),
    "properties.json": json_with(lambda e: e.update(properties=[1])),
    "infinite.json": JSON.replace("5.64", "Infinity"),
    "twice.json": '{"columns": ["a"], "data": [[1, 2]]}',
    "open.csv": 'id,cif\n1,"data_',
    "binary.csv": b"\xff\xfe\x00\x01" * 99,
    "other.csv": "a,b\n1,2\n",
    "cut.csv.gz": zipped("id,cif\n" + "1,2\n" * 99)[:-9],
    "text.parquet": "PAR1 and no more",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of bad files, with a good one before, among and after them."""
    path = tmp_path_factory.mktemp("bad")
    for name, content in BAD_FILES.items():
        (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (path / "damaged.parquet").write_bytes(parquet(path / "damaged.parquet", 200))
    (path / "gone.cif").symlink_to(path / "nowhere.cif")
    for name in ("A.cif", "good.cif", "zz.cif"):
        (path / name).write_text(CIF)
    return path


def test_a_folder_of_bad_files_costs_these_alone(folder):
    report = Report()
    crystals = list(read_structures(folder, on_error="skip", report=report))
    assert {"A", "good", "zz"} <= {crystal.material_id for crystal in crystals}
    told = " ".join(str(error) for error in report)
    for name in [*BAD_FILES, "damaged.parquet", "gone.cif"]:
        assert str(folder / name) in told, name
    assert all(type(error) is not CrystalInputError for error in report)


@pytest.mark.parametrize("name", [*BAD_FILES, "damaged.parquet", "gone.cif"])
def test_each_raises_its_typed_error(folder, name):
    with pytest.raises(CrystalInputError, match=str(folder / name).replace(".", r"\.")):
        list(read_structures(folder / name))


def test_files_that_vanish_or_may_not_be_read(tmp_path, monkeypatch):
    for name in ("a.cif", "b.cif", "c.cif", "d.cif"):
        (tmp_path / name).write_text(CIF)
    reader = read_structures(tmp_path, on_error="skip").enumerate()
    reader_of_rest = [next(reader)]
    (tmp_path / "b.cif").unlink()
    (tmp_path / "b.cif").mkdir()  # a folder took its place
    read = files.Path.read_bytes
    denied = PermissionError(13, "Permission denied")

    def read_bytes(path):
        if path.name == "c.cif":
            raise denied
        return read(path)

    monkeypatch.setattr(files.Path, "read_bytes", read_bytes)
    reader_of_rest += list(reader)
    assert [crystal.material_id for _, crystal in reader_of_rest] == ["a", "d"]
    report = Report()
    list(read_structures(tmp_path, on_error="skip", report=report))
    assert "c.cif" in str(report[0]) and "Permission denied" in str(report[0])


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b.cif", "[.cif", "**" * 200])
def test_odd_paths(name):
    report = Report()
    assert len(list(read_structures([SALT, name, SALT], on_error="skip", report=report))) == 2
    assert report.indices == [1]
    with pytest.raises(CrystalInputError):
        list(read_structures(name, on_error="skip"))


@pytest.mark.parametrize(
    "row",
    [
        {"frac_coords": [[0, 0]]},
        {"frac_coords": [[0, 0, 0], [0]]},
        {"frac_coords": None},
        {"atomic_numbers": None},
        {"atomic_numbers": []},
        {"atomic_numbers": "Na"},
        {"atomic_numbers": 11},
        {"lattice": [1, 2]},
        {"lattice": None},
        {"lattice": [[1, 0, 0], [0, 1], [0, 0, 1]]},
        {"lattice": "cubic"},
        {"lattice": 5},
        {"frac_coords": {"x": 1}},
    ],
)
def test_bad_rows_of_record_columns(row):
    frame = pd.DataFrame([ROW, {**ROW, **row}, ROW])
    report = Report()
    assert len(list(read_structures(frame, on_error="skip", report=report))) == 2 and report.indices == [1]


def test_whatever_an_object_raises_is_its_typed_error():
    class Odd(Exception):
        pass

    for kind in (Odd, RecursionError, OSError, StopIteration, AssertionError, NotImplementedError):
        strange = type("Strange", (), {"lattice": None, "sites": property(lambda self: raising(kind))})()
        report = Report()
        assert len(list(read_structures([SALT, strange, SALT], on_error="skip", report=report))) == 2
        assert report.indices == [1] and "structure 1" in str(report[0])


def raising(kind):
    raise kind("strange")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_no_fault_of_the_item_passes(monkeypatch, tmp_path, kind):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / "a.json").write_text(JSON)
    monkeypatch.setattr(files.Path, "read_bytes", lambda path: raising(kind))
    for name in ("a.cif", "a.json"):
        with pytest.raises(kind):
            list(read_structures([tmp_path / name], on_error="skip"))
    monkeypatch.setattr(convert, "make_crystal", lambda *args: raising(kind))
    for entry in (SALT, json.loads(JSON), JSON, POSCAR):
        with pytest.raises(kind):
            list(read_structures([entry], on_error="skip"))


def test_a_source_that_fails_itself_is_not_hidden():
    """The error of the caller's own generator is not that of an item."""

    def failing():
        yield SALT
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(read_structures(failing(), on_error="skip"))


def test_typed_error_keeps_typed_ones_and_says_that_memory_is_missing():
    error = OccupancyError("a", "1.2")
    assert typed_error(error, "b") is error
    assert str(typed_error(FileNotFoundError(2, "No such file", "/x/y"), "y")).startswith("y: cannot be read (FileNotF")
    missing = typed_error(MemoryError("Unable to allocate 8.00 TiB"), "a")
    assert type(missing) is LimitError and str(missing).startswith("a: more memory than there is (Unable to allocate")


COMMON = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def mutated(draw, text):
    """A text with pieces cut, doubled or overwritten."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 40)))
        middle = draw(
            st.sampled_from(["", text[start:stop] * 2, "nan", "-1", "1e400", "'", "\n", "[", "{}", "?", "é", "\0"])
        )
        text = text[:start] + middle + text[stop:]
    return text


@COMMON
@given(st.data(), st.sampled_from([("cif", CIF), ("poscar", POSCAR), ("json", JSON), (None, CIF), (None, POSCAR)]))
def test_mutated_texts_give_crystals_or_typed_errors(data, kind_and_text):
    kind, text = kind_and_text
    try:
        found = list(read_structure_text(mutated(data.draw, text), "mutated", kind))
    except CrystalInputError as error:
        found = [error]
    for item in found:
        assert isinstance(item, Crystal | CrystalInputError)
        assert not isinstance(item, Crystal) or np.isfinite(item.frac_coords).all()


@settings(COMMON, max_examples=60)
@given(st.data(), st.sampled_from(["a.cif", "POSCAR", "a.json", "a.cif.gz", "a.csv", "a.csv.gz", "a.parquet"]))
def test_mutated_files_cost_themselves_alone(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("mutated")
    frame = pd.DataFrame({"id": ["1", "2"], "cif": [CIF, CIF]})
    path = folder / name
    if ".csv" in name:
        frame.to_csv(path)
    elif ".parquet" in name:
        frame.to_parquet(path)
    else:
        text = {"a.cif": CIF, "POSCAR": POSCAR, "a.json": JSON, "a.cif.gz": CIF}[name]
        path.write_bytes(zipped(text) if name.endswith(".gz") else text.encode())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
    path.write_bytes(bytes(content))
    (folder / "zz.cif").write_text(CIF)
    crystals = list(read_structures(folder, on_error="skip"))
    assert crystals[-1].material_id == "zz"
    os.remove(path)


FRAME = '1\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3\nSi 0 0 1_35\n'
RUN = (
    '<modeling><atominfo><array name="atoms"><set><rc><c>Si</c><c>1</c></rc></set></array></atominfo>'
    '<structure name="finalpos"><crystal><varray name="basis"><v>5 0 0</v><v>0 5 0</v><v>0 0 5</v></varray>'
    '</crystal><varray name="positions"><v>0 0 0_25</v></varray></structure></modeling>'
)


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.vasp", "Si_5_5\n1.0\n5 0 0\n0 5 0\n0 0 5\nSi\n1\ndirect\n0 0 0_25\n"),
        ("a.vasp", "Si\n1_0\n5 0 0\n0 5 0\n0 0 5\nSi\n1\ndirect\n0 0 0\n"),
        ("a.extxyz", FRAME),
        ("a.xsf", "CRYSTAL\nPRIMVEC\n5 0 0\n0 5 0\n0 0 5\nPRIMCOORD\n1 1\n14 0 0 1_35\n"),
        ("vasprun.xml", RUN),
    ],
)
def test_digits_joined_by_an_underscore_are_no_number(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(CrystalInputError, match="0_25|1_0|1_35"):
        list(read_structures(tmp_path / name))
    (tmp_path / name).write_text(text.replace("0_25", "0.25").replace("1_0", "1.0").replace("1_35", "1.35"))
    assert len(list(read_structures(tmp_path / name))) == 1
