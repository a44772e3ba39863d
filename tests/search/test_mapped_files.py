"""Of large files only what is read is verified: columns and rows of tables, cells of segments, entries of lookups."""

import numpy as np
import pyarrow as pa
import pytest

from deepchem_crystalssl.crystals.checksums import BLOCK, RecordedFile, record_file
from deepchem_crystalssl.errors import IndexFolderError
from deepchem_crystalssl.search.mapped_tables import MappedTable
from deepchem_crystalssl.search.segments import Segment, record_segment, train, write_segment
from deepchem_crystalssl.search.stored_rows import Lookup
from deepchem_crystalssl.search.vectors import unit_rows

ROWS = 40_000


def flip(path, place):
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 16]))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "part.arrow"
    vectors = np.arange(ROWS * 16, dtype=np.float16)
    columns = {
        "id": pa.array([f"crystal {k}" for k in range(ROWS)]),
        "number": pa.array(np.arange(ROWS), pa.int64()),
        "known": pa.array([None if k % 7 == 0 else k % 2 == 0 for k in range(ROWS)]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), 16),
    }
    batch = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return path, record_file(path)


def opened(table):
    return MappedTable(RecordedFile(*table, IndexFolderError))


def start_of(table, column):
    """First byte of the numbers of a column in the file."""
    file = RecordedFile(*table, IndexFolderError)
    mapped = MappedTable(file)
    return mapped.table.column(column).chunk(0).buffers()[-1].address - pa.py_buffer(file.content).address


@pytest.mark.parametrize("column", ["id", "number", "known", "vector"])
def test_damage_to_a_column_is_noticed_when_that_column_is_read(table, column):
    others = [name for name in ("number", "vector") if column not in (name, "known")]  # which shares a block
    place = start_of(table, column) + (2_000 if column == "known" else 5 * BLOCK // 2)
    whole = opened(table).columns(["id", "number", "known", "vector"])
    flip(table[0], place)
    found = opened(table).columns(others)
    assert all(found.column(name).equals(whole.column(name)) for name in others)
    with pytest.raises(IndexFolderError, match="part.arrow: damaged between"):
        opened(table).columns([column])


def test_damage_to_a_row_is_noticed_when_that_row_is_read(table):
    flip(table[0], start_of(table, "vector") + 20_000 * 32 + 5)
    mapped = opened(table)
    mapped.columns(["vector"], np.array([0, 39_999]))
    mapped.columns(["vector"], slice(30_000, 40_000))
    for rows in (np.array([3, 20_000]), [20_000], slice(19_990, 20_010)):
        with pytest.raises(IndexFolderError, match="part.arrow"):
            opened(table).columns(["vector"], rows)


@pytest.mark.parametrize("place", [0, 10, 400, -3, -300])
def test_damage_to_the_layout_of_a_table_is_noticed_before_it_is_opened(table, place):
    flip(table[0], place % table[0].stat().st_size)
    with pytest.raises(IndexFolderError, match="part.arrow: damaged between"):
        opened(table)


def test_cells_of_a_segment_are_verified_when_they_are_looked_into(tmp_path):
    random = np.random.default_rng(0)
    vectors = unit_rows(random.normal(size=(20_000, 32)))
    train(vectors[:4_000], len(vectors), tmp_path / "trained.faiss")
    path = tmp_path / "segment.faiss"
    write_segment(tmp_path / "trained.faiss", [(np.arange(len(vectors)), vectors)], path)
    record = record_segment(path)
    assert 0 < record["head"] < path.stat().st_size
    before = Segment(path, record).nearest(vectors[:3], 5)[0]
    flip(path, path.stat().st_size - 100)  # in the last cell
    segment, wrong = Segment(path, record), 0
    for row in range(0, 20_000, 100):
        try:
            found = segment.nearest(vectors[row : row + 1], 5, probes=1)[0]
            assert found[0, 0] == row or row in found
        except IndexFolderError as error:
            assert "segment.faiss: damaged between" in str(error)
            wrong += 1
    assert 0 < wrong < 150
    flip(path, path.stat().st_size - 100)
    assert np.array_equal(Segment(path, record).nearest(vectors[:3], 5)[0], before)
    flip(path, record["head"] - 20_000)
    with pytest.raises(IndexFolderError, match="damaged between"):
        Segment(path, record).nearest(vectors[:1], 5)


def test_entries_of_a_lookup_are_verified_when_they_are_looked_at(tmp_path):
    path, names = tmp_path / "ids.npy", [f"mp-{k}" for k in range(60_000)]
    Lookup.write(path, iter([(0, names), (60_000, ["mp-7", ""])]))
    record = record_file(path)
    lookup = Lookup(path, record)
    assert lookup.rows("mp-7") == [7, 60_000] and lookup.rows("mp-31234") == [31_234] and lookup.rows("none") == []
    assert Lookup(path).rows("mp-9") == [9]
    flip(path, path.stat().st_size // 2)
    with pytest.raises(IndexFolderError, match="ids.npy"):
        Lookup(path, record).rows("mp-7")  # every search begins in the middle
