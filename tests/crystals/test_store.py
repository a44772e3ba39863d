import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import CrystalStore, Report, structures_to_graphs
from deepchem_crystalssl.crystals.formats import readers
from deepchem_crystalssl.crystals import store as store_module
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import NoCrystalsError, StoreError
from deepchem_crystalssl.crystals.store import RecordStore, write_records
from deepchem_crystalssl.crystals.validation import make_crystal


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_SIZE", 50)


def test_what_goes_in_comes_out(prototypes, tmp_path, small_shards):
    assert write_records(prototypes, tmp_path) == 288
    store = RecordStore(tmp_path)
    assert len(store) == 288 and len(list(tmp_path.glob("*.arrow"))) == 6
    for crystal, stored in zip(prototypes, store, strict=True):
        assert stored.material_id == crystal.material_id
        assert np.array_equal(stored.atomic_numbers, crystal.atomic_numbers)
        assert np.array_equal(stored.lattice, crystal.lattice)
        shift = stored.frac_coords - crystal.frac_coords
        assert np.abs(shift - np.round(shift)).max() < 1e-9 and stored.frac_coords.max() < 1
    assert store[51].material_id == prototypes[51].material_id
    with pytest.raises(IndexError):
        store[288]


def test_graphs_are_the_same(prototypes, graphs, tmp_path):
    write_records(prototypes, tmp_path)
    for ours, expected in zip(structures_to_graphs(RecordStore(tmp_path)), graphs, strict=True):
        assert np.array_equal(ours.edge_index[1], expected.edge_index[1])
        assert np.allclose(ours.distance, expected.distance, atol=1e-6)


def test_disordered_crystals_keep_their_occupancies(tmp_path):
    alloy = make_crystal([{"Cu": 0.75, "Au": 0.2}, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], 3.8 * np.eye(3), "alloy")
    write_records([alloy, make_crystal([29], [[0, 0, 0]], 3.6 * np.eye(3))], tmp_path, disorder="average")
    mixed, pure = RecordStore(tmp_path)
    assert mixed.formula == alloy.formula and mixed.atomic_numbers.tolist() == [29, 8] and pure.is_ordered


def test_size_on_disk(prototypes, tmp_path):
    write_records(prototypes * 20, tmp_path)
    sites = np.mean([c.num_nodes for c in prototypes])
    size = sum(p.stat().st_size for p in tmp_path.glob("*.arrow")) / (288 * 20)
    assert size < 13.5 * sites + 150


def test_bad_items_are_named(prototypes, tmp_path):
    report = Report()
    assert write_records([prototypes[0], None, prototypes[1]], tmp_path, report=report) == 2
    assert [e.index for e in report] == [1] and "structure 1" in (tmp_path / "skipped.csv").read_text()
    with pytest.raises(NoCrystalsError):
        write_records([None], tmp_path / "none")


def test_interrupted_writing_goes_on(prototypes, tmp_path, small_shards):
    def interrupted():
        yield from prototypes[:130]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_records(interrupted(), tmp_path)
    with pytest.raises(StoreError, match="unfinished"):
        RecordStore(tmp_path)
    written = (tmp_path / "shard-00000.arrow").stat().st_mtime_ns
    with pytest.raises(StoreError, match="one store has one policy"):
        write_records(prototypes, tmp_path, disorder="average")
    assert write_records(prototypes, tmp_path) == 288
    assert (tmp_path / "shard-00000.arrow").stat().st_mtime_ns == written
    assert [c.material_id for c in RecordStore(tmp_path)] == [c.material_id for c in prototypes]
    with pytest.raises(StoreError, match="gives 0 crystals.* 288"):
        write_records([], tmp_path)


def test_killed_writing_goes_on(prototypes, tmp_path):
    """kill -9 in the middle; the second run completes what the first began."""
    code = (
        "import sys, time\n"
        "from deepchem_crystalssl.crystals import store\n"
        "from deepchem_crystalssl.crystals.prototypes import bundled_prototypes\n"
        "store.SHARD_SIZE = 10\n"
        "def slowly():\n"
        "    for c in bundled_prototypes():\n"
        "        time.sleep(float(sys.argv[2])); yield c\n"
        "print(store.write_records(slowly(), sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), "0.02"])
    while not (tmp_path / "shard-00004.arrow").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path), "0"], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "288"
    assert [c.material_id for c in RecordStore(tmp_path)] == [c.material_id for c in prototypes]


@pytest.fixture
def folder(structures, tmp_path):
    """Thirty files of crystals and two bad ones."""
    path = tmp_path / "source"
    path.mkdir()
    for k, structure in enumerate(structures[:30]):
        structure.to(str(path / f"c{k:02d}.json"), fmt="json")
    (path / "c03.json").write_text("{oops")
    (path / "c20.cif").write_text("data_x\n")
    return path


def names(store):
    return [crystal.material_id for crystal in RecordStore(store)]


def snapshot(store):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in store.iterdir()}


def test_the_same_source_again_changes_nothing_and_says_so(structures, folder, tmp_path, caplog):
    frame = pd.DataFrame({"structure": [s.to(fmt="json") for s in structures[:3]] + ["{oops\n"], "id": list("abcd")})
    frame.to_csv(tmp_path / "t.csv", index=False)
    for k, source in enumerate([folder, str(folder / "*"), tmp_path / "t.csv", frame, structures[:5], [folder]]):
        store = tmp_path / f"store{k}"
        first, again = Report(), Report()
        n = write_records(source, store, report=first)
        before = snapshot(store)
        caplog.clear()
        assert write_records(source, store, report=again) == n == len(names(store))
        assert "nothing" in caplog.text and [str(e) for e in first] == [str(e) for e in again]
        assert first.indices == again.indices and len(pd.read_csv(store / "skipped.csv")) == len(first)
        shards = {name: state for name, state in snapshot(store).items() if name.endswith(".arrow")}
        assert shards.items() <= before.items()


def test_a_known_folder_is_not_read_again(folder, tmp_path, monkeypatch):
    write_records(folder, tmp_path / "store")
    monkeypatch.setattr(readers.Content, "text", None)
    assert write_records(folder, tmp_path / "store") == 29


def test_new_files_are_added(structures, folder, tmp_path, caplog):
    assert write_records(folder, tmp_path / "store") == 29
    structures[35].to(str(folder / "a-new.json"), fmt="json")
    (folder / "sub").mkdir()
    structures[36].to(str(folder / "sub" / "c05.json"), fmt="json")
    (folder / "zz.cif").write_text("data_y\n")
    report = Report()
    assert write_records(folder, tmp_path / "store", report=report) == 31
    assert "3 new files are added to 29 crystals" in caplog.text
    assert names(tmp_path / "store")[-2:] == ["a-new", "sub/c05"] and len(report) == 3
    assert [Path(error.item).name for error in report] == ["c03.json", "c20.cif", "zz.cif"]
    assert pd.read_csv(tmp_path / "store" / "skipped.csv")["item"].tolist() == [error.item for error in report]


def test_a_store_within_its_source_is_no_part_of_it(folder):
    assert write_records(folder, folder / "store") == 29
    assert write_records(folder, folder / "store") == 29
    assert len(pd.read_csv(folder / "store" / "skipped.csv")) == 2


def test_a_link_that_leads_to_itself_is_a_bad_item(folder, tmp_path):
    (folder / "loop.cif").symlink_to(folder / "loop.cif")
    report = Report()
    assert write_records(folder, tmp_path / "store", report=report) == 29
    assert [Path(error.item).name for error in report] == ["c03.json", "c20.cif", "loop.cif"]


def test_touched_files_are_read_again_and_changed_ones_refused(structures, folder, tmp_path):
    store = tmp_path / "store"
    write_records(folder, store)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    before = snapshot(store)["shard-00000.arrow"]
    assert write_records(folder, store) == 29 and snapshot(store)["shard-00000.arrow"] == before
    structures[38].to(str(folder / "c10.json"), fmt="json")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"crystal 9 \(c10\) has changed.*Write another folder"):
            write_records(folder, store)
    (folder / "c10.json").unlink()
    with pytest.raises(StoreError, match="1 of the 31 files it was made of is not in .*first c10.json"):
        write_records(folder, store)


def test_another_source_or_policy_is_refused(structures, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    structures[0].to(str(other / "x.json"), fmt="json")
    frame = pd.DataFrame({"id": range(5), "structure": structures[:5]})
    store = tmp_path / "store"
    write_records(folder, store)
    for source in (other, structures[:40], frame, other / "x.json", str(other / "*.json")):
        with pytest.raises(StoreError, match="goes on with the source"):
            write_records(source, store)
    with pytest.raises(StoreError, match="disorder='refuse', not 'average'"):
        write_records(folder, store, disorder="average")
    assert len(names(store)) == 29
    write_records(frame, tmp_path / "table")
    for changed in (frame[::-1], frame[:4], frame.assign(id=7), frame.assign(structure=structures[5:10])):
        with pytest.raises(StoreError, match="another source"):
            write_records(changed, tmp_path / "table")
    longer = pd.DataFrame({"id": range(8), "structure": structures[:8]})
    assert write_records(longer, tmp_path / "table") == 8


def test_rows_added_to_a_table_are_added(structures, tmp_path):
    frame = pd.DataFrame({"id": range(8), "structure": [s.to(fmt="json") for s in structures[:8]]})
    frame[:5].to_csv(tmp_path / "t.csv", index=False)
    assert write_records(tmp_path / "t.csv", tmp_path / "store") == 5
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert write_records(tmp_path / "t.csv", tmp_path / "store") == 8
    assert names(tmp_path / "store") == [str(k) for k in range(8)]


def test_a_store_of_an_older_version_goes_on(structures, folder, tmp_path):
    store = tmp_path / "store"
    write_records(folder, store)
    manifest = json.loads((store / "manifest.json").read_text())
    for name in ("source", "within", "skipped", "files", "checksum"):
        del manifest[name]
    (store / "manifest.json").write_text(json.dumps(manifest))
    (store / "source_files.json").unlink()
    assert write_records(folder, store) == 29


@pytest.mark.parametrize("stop", range(1, 16))
@pytest.mark.parametrize("kind", ["folder", "rows"])
def test_killed_anywhere_the_store_is_whole(structures, folder, tmp_path, monkeypatch, kind, stop):
    """Wherever writing stops, between any two files that are put in place, the next call completes the store."""
    monkeypatch.setattr(store_module, "SHARD_SIZE", 7)
    texts = [s.to(fmt="json") for s in structures[:30]]
    texts[3], texts[20] = "{oops\n", "[" + ",".join(texts[:9]) + "]"
    (folder / "c25.json").write_text(texts[20])  # nine crystals in one item, over the end of a shard
    source = folder if kind == "folder" else pd.DataFrame({"id": range(30), "structure": texts})
    whole = Report()
    n = write_records(source, tmp_path / "whole", report=whole)
    replace, calls = os.replace, []

    def stopping(*paths):
        calls.append(paths)
        if len(calls) == stop:
            raise KeyboardInterrupt
        replace(*paths)

    monkeypatch.setattr(os, "replace", stopping)
    try:
        write_records(source, tmp_path / "store")
    except KeyboardInterrupt:
        pass
    monkeypatch.setattr(os, "replace", replace)
    report = Report()
    assert write_records(source, tmp_path / "store", report=report) == n
    assert names(tmp_path / "store") == names(tmp_path / "whole")
    assert [(e.index, str(e)) for e in report] == [(e.index, str(e)) for e in whole]
    skipped = [pd.read_csv(tmp_path / name / "skipped.csv") for name in ("store", "whole")]
    assert skipped[0].equals(skipped[1])


@pytest.mark.parametrize("damage", ["cut", "missing", "garbage", "manifest", "format", "empty"])
def test_damaged_stores_have_typed_errors(prototypes, tmp_path, damage):
    write_records(prototypes[:20], tmp_path)
    shard, manifest = tmp_path / "shard-00000.arrow", tmp_path / "manifest.json"
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    elif damage == "missing":
        shard.unlink()
    elif damage == "garbage":
        shard.write_bytes(b"x" * 1000)
    elif damage == "manifest":
        manifest.write_text("{")
    elif damage == "format":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    else:
        manifest.unlink()
    with pytest.raises(StoreError):
        CrystalStore(tmp_path)


def test_a_folder_of_something_else_is_left_as_it_is(prototypes, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="holds something else"):
        write_records(prototypes[:3], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_store_is_not_its_own_source(tmp_path):
    write_records(bundled_prototypes()[:3], tmp_path / "store", progress=False)
    with pytest.raises(StoreError, match="the source is the store itself"):
        write_records(tmp_path / "store", tmp_path / "store", progress=False)


def test_what_a_killed_process_has_begun_is_no_other_work(tmp_path):
    begun = tmp_path / "store" / ".manifest.json.host-7.part"
    begun.parent.mkdir()
    begun.write_text("{")
    assert store_module.write_records(bundled_prototypes()[:3], begun.parent, progress=False) == 3
    assert not begun.exists()
