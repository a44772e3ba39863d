import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import read_structures
from deepchem_crystalssl.crystals.formats.tables import as_ids, id_column, iterate_table, read_table, table_ids
from deepchem_crystalssl.errors import EmptyFileError, NoCrystalsError, UnsupportedFileError, UnsupportedObjectError

FRAME = pd.DataFrame({"material_id": ["007", "NA", "mp-3"], "gap": [1.1, 0.6, np.nan]})


def written(path, frame=FRAME):
    name = path.name
    if "csv" in name:
        frame.to_csv(path, index=False)
    elif "parquet" in name:
        frame.to_parquet(path)
    else:
        rows = frame.replace({np.nan: None}).to_dict("split" if "split" in name else "records")
        text = json.dumps(rows).encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    return path


NAMES = ["t.csv", "t.csv.gz", "t.CSV", "t.parquet", "t.json", "t.json.gz", "split.json"]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_table_keeps_ids_as_text(tmp_path, name):
    frame = read_table(written(tmp_path / name.lower()).rename(tmp_path / name))
    assert frame["material_id"].tolist() == ["007", "NA", "mp-3"]
    assert frame["gap"].tolist()[:2] == [1.1, 0.6] and np.isnan(frame["gap"][2])
    assert list(read_table(tmp_path / name, columns={"gap", "other"})) == ["gap"]


def test_a_column_of_ids_that_the_caller_names(tmp_path):
    written(tmp_path / "t.csv", FRAME.rename(columns={"material_id": "code"}))
    assert read_table(tmp_path / "t.csv", id_column="code")["code"].tolist() == ["007", "NA", "mp-3"]
    with pytest.raises(UnsupportedFileError, match="no column 'cod'.*code, gap"):
        id_column(read_table(tmp_path / "t.csv"), "cod")


def test_a_named_index_is_a_column_again(tmp_path):
    FRAME.set_index("material_id").to_parquet(tmp_path / "t.parquet")
    assert table_ids(read_table(tmp_path / "t.parquet")) == ["007", "NA", "mp-3"]


def test_ids_are_text():
    values = [7, 7.0, np.int64(7), np.float32(7), "7", "007", 7.5, b"x", None, np.nan, pd.NA, True]
    assert as_ids(values) == ["7"] * 5 + ["007", "7.5", "x", "", "", "", "True"]
    assert as_ids("mp-149") == ["mp-149"] and as_ids(b"12") == ["12"] and as_ids(12) == ["12"]
    assert table_ids(pd.DataFrame({"id": [7, np.nan]})) == ["7", ""]
    assert table_ids(pd.DataFrame({"id": pd.array([7, None], "Int64")})) == ["7", ""]
    assert table_ids(pd.DataFrame({"gap": [1]})) is None
    assert table_ids(pd.DataFrame({"gap": [1]}, index=pd.Index([3], name="mine")), "mine") == ["3"]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.json"])
def test_whole_numbers_beside_a_missing_one_are_the_same_ids_in_every_file(tmp_path, name):
    path = written(tmp_path / name, pd.DataFrame({"material_id": [7, None, 0, -3, 7e6], "gap": range(5)}))
    assert table_ids(read_table(path)) == ["7", "", "0", "-3", "7000000"]


def test_texts_with_a_point_stay_ids(tmp_path):
    ids = ["007.0", "1.10", "1.5", "mp-1.0", ".0"]
    assert table_ids(read_table(written(tmp_path / "t.csv", pd.DataFrame({"id": ids})))) == ids


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_long_tables_come_in_pieces(tmp_path, name):
    frame = pd.DataFrame({"id": np.arange(10), "gap": np.arange(10.0)})
    pieces = list(iterate_table(written(tmp_path / name, frame), rows=4))
    assert [len(piece) for piece in pieces] == [4, 4, 2]
    assert as_ids(pd.concat(pieces)["id"]) == [str(k) for k in range(10)]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "split.json"])
def test_a_table_without_rows(tmp_path, name):
    frame = read_table(written(tmp_path / name, FRAME[:0]))
    assert len(frame) == 0 and list(frame) == ["material_id", "gap"]


@pytest.mark.parametrize(
    "name, content",
    [
        ("t.csv", b'a,b\n"open'),
        ("t.csv", b"a\n1\n2,3,4\n"),
        ("t.csv", b"\xff\xfe\x00"),
        ("t.csv.gz", b"not gzip"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99)[:-12]),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n")[:12] + b"\xff" * 9),
        ("t.json.gz", gzip.compress(b"[]" * 9)[:12] + b"\xff" * 9),
        ("t.parquet", b"PAR1 but no more"),
        ("t.parquet", None),
        ("t.json", b"{oops"),
        ("t.json", b"[1, 2]"),
        ("t.json", b'{"a": 1}'),
        ("t.json", b"[" * 200_000),
        ("t.txt", b"a,b\n"),
        ("none.csv", None),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    elif name != "none.csv":
        whole = written(path).read_bytes()
        path.write_bytes(whole[:60] + b"\x00" * 200 + whole[260:])
    with pytest.raises(UnsupportedFileError, match=str(path)):
        read_table(path)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_empty_tables(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(EmptyFileError):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.csv.gz"])
def test_reading_structures_keeps_ids(structures, tmp_path, name):
    frame = pd.DataFrame({"id": ["007", "008"], "mine": [s.to(fmt="json") for s in structures[:2]], "cell": [1, 2]})
    written(tmp_path / name, frame)
    crystals = list(read_structures(tmp_path / name, structure_column="mine"))
    assert [c.material_id for c in crystals] == ["007", "008"]
    numbered = frame.assign(id=[7.0, np.nan])
    assert [c.material_id for c in read_structures(numbered, structure_column="mine")] == ["7", "row 1"]
    coded = written(tmp_path / name, frame.rename(columns={"id": "code", "mine": "cif"}))
    assert [c.material_id for c in read_structures(coded, id_column="code")] == ["007", "008"]


def test_numbers_in_a_csv_table(tmp_path, prototypes):
    crystals = prototypes[:4]
    rows = [{"id": c.material_id, "atomic_numbers": c.atomic_numbers, "cell": c.lattice, "frac_coords": c.frac_coords}
            for c in crystals]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame.loc[1] = [value.tolist() if isinstance(value, np.ndarray) else value for value in frame.loc[1]]
    frame.to_csv(tmp_path / "a.csv", index=False)
    for ours, crystal in zip(read_structures(tmp_path / "a.csv"), crystals, strict=True):
        assert np.array_equal(ours.atomic_numbers, crystal.atomic_numbers) and ours.material_id == crystal.material_id
        apart = ours.frac_coords - crystal.frac_coords
        assert np.allclose(apart, apart.round(), atol=1e-6) and np.allclose(ours.lattice, crystal.lattice)
    frame.loc[0, "frac_coords"] = "[0.1 0.2 0_3]"
    frame.iloc[:1].to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UnsupportedObjectError, match="no list of numbers"):
        list(read_structures(tmp_path / "b.csv"))
    frame.loc[0, "frac_coords"] = "[0.1 0.2 ... 0.9]"
    frame.iloc[:1].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UnsupportedObjectError, match="shortened when it was written.*Parquet"):
        list(read_structures(tmp_path / "a.csv"))


def test_a_missing_column_of_ids_names_all_that_there_are(tmp_path):
    frame = pd.DataFrame({"cif": ["x"], "gap": [1.0], "formula": ["NaCl"]})
    for name in ("a.csv", "a.parquet"):
        getattr(frame, f"to_{name[2:]}")(tmp_path / name, index=False)
        with pytest.raises(UnsupportedFileError, match="no column 'foo'.*Name one of cif, gap, formula"):
            list(read_structures(tmp_path / name, id_column="foo"))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_table_of_properties_beside_files_is_no_source_of_crystals(tmp_path, structures, kind):
    folder = tmp_path / "files"
    folder.mkdir()
    structures[0].to(filename=str(folder / "a.cif"))
    pd.DataFrame({"id": ["a"], "gap": [1.0]}).to_csv(folder / "properties.csv", index=False)
    pd.DataFrame({"id": ["b"], "my_cif": [structures[1].to(fmt="cif")]}).to_csv(folder / "more.csv", index=False)
    source = folder if kind == "folder" else shutil.make_archive(str(folder), "zip", folder)
    if kind == "folder":
        pd.DataFrame({"gap": [1.0]}).to_parquet(folder / "properties.parquet")
    assert [crystal.material_id for crystal in read_structures(source)] == ["a"]
    reader = read_structures(source, structure_column="my_cif", on_error="skip")
    assert sorted(crystal.material_id for crystal in reader) == ["a", "b"]
    assert {Path(error.item).name.split(" ")[0] for error in reader.report} >= {"properties.csv"}
    if kind == "folder":
        with pytest.raises(NoCrystalsError, match="Call the column of the structures"):
            list(read_structures(folder / "properties.csv"))
