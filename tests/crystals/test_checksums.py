"""Checksums of files and manifests: what is read is what was written; files are replaced whole or not at all."""

import json
import os
import zlib

import numpy as np
import pyarrow as pa
import pytest

from deepchem_crystalssl.crystals.checksums import (
    BLOCK,
    RecordedFile,
    path_within,
    read_sealed,
    record_file,
    replacing,
    write_sealed,
)
from deepchem_crystalssl.errors import StoreError


@pytest.fixture
def array(tmp_path):
    path = tmp_path / "array.npy"
    np.save(path, np.arange(100_000, dtype=np.float32).reshape(-1, 10))
    return path


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 60, 128, BLOCK, 5 * BLOCK + 1, -1])
def test_a_flipped_bit_is_an_error_that_names_the_file(array, place):
    record = record_file(array)
    assert RecordedFile(array, record, StoreError).map_array().shape == (10_000, 10)
    flip(array, place)
    with pytest.raises(StoreError, match="array.npy: damaged between the bytes"):
        RecordedFile(array, record, StoreError).verify()
    with pytest.raises(StoreError, match="array.npy: damaged"):
        RecordedFile(array, record, StoreError).read_bytes()
    with pytest.raises(StoreError, match="array.npy"):
        np.asarray(RecordedFile(array, record, StoreError).map_array())


def test_damage_is_found_in_every_part_that_a_thread_verifies(tmp_path):
    path = tmp_path / "large.npy"
    np.save(path, np.arange(6_000_000, dtype=np.float64))
    record = record_file(path)
    content = path.read_bytes()
    assert record["crc32"] == "".join(
        f"{zlib.crc32(content[k : k + BLOCK]):08x}" for k in range(0, len(content), BLOCK)
    )
    RecordedFile(path, record, StoreError).verify()
    for block in (0, 300, 511, 512, len(content) // BLOCK):
        flip(path, block * BLOCK + 130)
        with pytest.raises(StoreError, match=f"damaged between the bytes {block * BLOCK:,} and"):
            RecordedFile(path, record, StoreError).verify()
        flip(path, block * BLOCK + 130)


def test_only_the_blocks_that_are_read_are_verified(array):
    record = record_file(array)
    flip(array, 3 * BLOCK)
    file = RecordedFile(array, record, StoreError)
    file.verify(0, 3 * BLOCK)
    file.verify(4 * BLOCK)
    file.verify_ranges(np.array([5, 4 * BLOCK]), np.array([6, 4 * BLOCK + 1]))
    with pytest.raises(StoreError):
        file.verify(3 * BLOCK + 9, 3 * BLOCK + 10)
    with pytest.raises(StoreError):
        file.verify_ranges(np.array([0, 3 * BLOCK - 1]), np.array([1, 3 * BLOCK + 1]))


def test_rows_of_an_array_are_verified_alone(array):
    record = record_file(array)
    flip(array, 3 * BLOCK)
    stored = RecordedFile(array, record, StoreError).map_array()
    assert stored.take([1, 9_999])[:, 0].tolist() == [10, 99_990]
    with pytest.raises(StoreError, match="array.npy"):
        stored.take([0, 3 * BLOCK // 40])


def test_what_is_open_stays_what_it_was_when_another_file_takes_its_place(array):
    stored = RecordedFile(array, record_file(array), StoreError).map_array()
    with replacing(array) as part, open(part, "wb") as file:
        np.save(file, np.zeros(3))
    assert np.asarray(stored)[2, 3] == 23


@pytest.mark.parametrize("change", ["cut", "longer", "missing", "folder"])
def test_another_size_is_noticed_without_reading(array, change):
    record = record_file(array)
    if change == "cut":
        os.truncate(array, 100)
    elif change == "longer":
        array.write_bytes(array.read_bytes() + b"\0")
    else:
        array.unlink()
        if change == "folder":
            array.mkdir()
    with pytest.raises(StoreError, match="array.npy"):
        RecordedFile(array, record, StoreError)


@pytest.mark.parametrize("record", [{}, [], {"bytes": 1}, {"bytes": "1", "crc32": "00000000"},
                                    {"bytes": 1, "crc32": ""}, {"bytes": 1, "crc32": "zz"}])  # fmt: skip
def test_a_record_that_is_none_is_an_error(array, record):
    with pytest.raises(StoreError, match="no valid checksums"):
        RecordedFile(array, record, StoreError)


def test_without_a_record_the_formats_are_checked(array, tmp_path):
    assert RecordedFile(array, None, StoreError).map_array().take([3])[0, 4] == 34
    os.truncate(array, 1000)
    with pytest.raises(StoreError, match="in 1,000 bytes"):
        RecordedFile(array, None, StoreError).map_array()
    path = tmp_path / "table.arrow"
    batch = pa.record_batch([pa.array(["Fe", "NaCl", "Si"])], ["formula"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    assert RecordedFile(path, None, StoreError).map_table().column("formula").to_pylist() == ["Fe", "NaCl", "Si"]
    content = path.read_bytes()
    offsets = np.array([0, 2, 6, 8], np.int32).tobytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, np.array([0, 2, 6, 2**30], np.int32).tobytes()))
    with pytest.raises(StoreError, match="no Arrow table"):
        RecordedFile(path, None, StoreError).map_table()


def test_a_manifest_is_verified_or_of_an_earlier_version(tmp_path):
    path = tmp_path / "manifest.json"
    write_sealed(path, {"format": 1, "crystals": 12, "names": ["é", 0.1]})
    assert read_sealed(path, StoreError) == {"format": 1, "crystals": 12, "names": ["é", 0.1]}
    text = path.read_text()
    path.write_text(text.replace("12", "13"))
    with pytest.raises(StoreError, match="manifest.json: damaged"):
        read_sealed(path, StoreError)
    path.write_text(json.dumps({"format": 1}))
    assert read_sealed(path, StoreError) == {"format": 1}
    for content in (b"", text.encode()[:20], b"\xff" + text.encode(), b"[1]", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="manifest.json"):
            read_sealed(path, StoreError)
    path.unlink()
    with pytest.raises(StoreError, match="manifest.json"):
        read_sealed(path, StoreError)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "", None, 3, "C:\\a", "..\\a", "a\0b"])
def test_a_manifest_names_files_of_its_own_folder(name, tmp_path):
    assert path_within(tmp_path, "rows-000/part.arrow", StoreError) == tmp_path / "rows-000" / "part.arrow"
    with pytest.raises(StoreError, match="its manifest names"):
        path_within(tmp_path, name, StoreError)


def test_a_file_is_replaced_whole_or_not_at_all_and_no_link_is_followed(tmp_path):
    path, victim = tmp_path / "page.html", tmp_path / "victim"
    path.write_text("old"), victim.write_text("precious")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "victim"]
    with replacing(path) as part:
        name = part
    name.symlink_to(victim)
    mask = os.umask(0o027)
    try:
        with replacing(path) as part:
            part.write_text("new")
    finally:
        os.umask(mask)
    assert path.read_text() == "new" and victim.read_text() == "precious"
    assert path.stat().st_mode & 0o777 == 0o640
