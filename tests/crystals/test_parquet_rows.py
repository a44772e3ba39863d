"""Tables whose cells are many times larger than their file, or whose rows have no end: refused before they are read."""

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepchem_crystalssl import read_structures
from deepchem_crystalssl.crystals.formats.contents import Content
from deepchem_crystalssl.crystals.formats.parquet_rows import iterate_rows, row_bytes
from deepchem_crystalssl.crystals.formats.tables import iterate_table, read_table
from deepchem_crystalssl.crystals.limits import LIMITS, ReadingLimits
from deepchem_crystalssl.errors import LimitError

LONG = "x" * 100_000


def write(path, cells, **options):
    pq.write_table(pa.table({"id": np.arange(len(cells)), "structure": cells}), path, **options)
    return path


@pytest.mark.parametrize(
    "cells, options",
    [
        (pa.array([LONG]).dictionary_encode().take(pa.array(np.zeros(20_000, int))), {"store_schema": False}),
        (pa.array([LONG]).dictionary_encode().take(pa.array(np.zeros(20_000, int))), {}),
        (pa.array([[LONG, LONG]] * 1_000), {}),
        (pa.array([{"cif": LONG}] * 2_000), {}),
        (pa.array([LONG] * 2_000), {"use_dictionary": False, "compression": "zstd"}),
    ],
)
def test_cells_without_end_are_refused(cells, options, tmp_path):
    path = write(tmp_path / "bomb.parquet", cells, **options)
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(LimitError, match="bomb.parquet: .* bytes unpacked from .* at most 100 times its size"):
        read_table(path)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_repeated_texts_are_read_as_pandas_reads_them(tmp_path):
    texts = [f"{k}" * 30_000 for k in range(9)] + [None]
    cells = pa.array([texts[k % 10] for k in range(300)])
    path = write(tmp_path / "table.parquet", cells)
    limits = ReadingLimits(free_bytes=100_000, ratio=10**9, text_bytes=200_000)
    pieces = list(iterate_table(Content.of(path, limits)))
    assert len(pieces) > 30 and pieces[0]["structure"].map(lambda text: len(text or "")).sum() <= 200_000
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), pd.read_parquet(path))
    within = list(iterate_table(Content.of(path, limits), within=(37, 41)))
    pd.testing.assert_frame_equal(
        pd.concat(within, ignore_index=True), pd.read_parquet(path)[37:41].reset_index(drop=True)
    )


def test_limits_of_cells_are_arguments(tmp_path):
    path = write(tmp_path / "bomb.parquet", pa.array([LONG] * 2_000))
    with pytest.raises(LimitError, match="bytes unpacked"):
        list(read_structures(path))
    with pytest.raises(Exception) as raised:  # the texts are no crystals
        list(read_structures(path, limits=ReadingLimits(ratio=10**9)))
    assert not isinstance(raised.value, LimitError)


def test_bytes_of_rows():
    texts = pa.array(["ab", None, "c"])
    assert row_bytes(texts).tolist() == row_bytes(texts.dictionary_encode()).tolist() == [2, 0, 1]
    nested = pa.array([["ab", "c"], [], None, ["def"]])
    assert row_bytes(nested).tolist() == row_bytes(nested.slice(0, 4)).tolist() == [3, 0, 0, 3]
    assert row_bytes(nested.slice(3)).tolist() == [3]
    assert row_bytes(pa.array([{"a": "xyz", "b": 1.0}, {"a": "", "b": 2.0}])).tolist() == [11, 8]


def test_pieces_of_plain_cells_fit_into_memory(tmp_path):
    path = write(tmp_path / "table.parquet", pa.array([f"{k:05d}" * 1_000 for k in range(50)]), use_dictionary=False)
    batches = list(iterate_rows(path, "table", ReadingLimits(text_bytes=60_000), 2048))
    assert max(map(len, batches)) <= 12 and sum(map(len, batches)) == 50


WIDE = "1," * (LIMITS.columns + 5) + "1\n"


@pytest.mark.parametrize("rows", ["a,b\n", '"a\n,",b\n', "\n\na,b\n", ""])
def test_a_row_of_a_table_with_too_many_fields_is_refused(rows, tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text(rows + WIDE)
    with pytest.raises(LimitError, match="at most 20,000 columns of one table"):
        read_table(path)


def test_commas_within_quotes_are_no_fields(tmp_path):
    path = tmp_path / "table.csv"
    frame = pd.DataFrame({"id": ["a", "b"], "text": ["1,\n" * 30_000, 'x"y' + "," * 25_000]})
    frame.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_table(path), frame)


def test_later_rows_with_too_many_fields_are_refused_too(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "1,2\n" * 3 + WIDE)
    with pytest.raises((LimitError, ValueError), match="columns of one table|Expected 2 fields"):
        read_table(path)
