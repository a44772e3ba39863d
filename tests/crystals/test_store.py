import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from deepchem_crystalssl import CrystalStore, Report, structures_to_graphs
from deepchem_crystalssl.crystals import store as store_module
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
    assert write_records([], tmp_path) == 288  # finished: nothing is read again


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
