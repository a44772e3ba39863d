"""Steps mapped over shards: the same rows from every engine and size, after kills, growth and changes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from deepchem_crystalssl import CrystalStore, XRDGrid, load_pretrained, simulate_xrd
from deepchem_crystalssl.bulk import Embed, Featurize, ShardedOutput, SimulatePatterns, compute_table, map_shards
from deepchem_crystalssl.bulk import shards as bulk_shards, units as bulk_units
from deepchem_crystalssl.bulk.parts import LINES
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.records import Crystal
from deepchem_crystalssl.crystals.store import RecordStore, write_records
from deepchem_crystalssl.errors import NoCrystalsError, OptionError, StoreError

SPACES = ("shared", "pattern")


@pytest.fixture(scope="module")
def crystals():
    return list(bundled_prototypes()[:60])


@pytest.fixture(scope="module")
def store(tmp_path_factory, crystals):
    folder = tmp_path_factory.mktemp("source") / "store"
    write_records(crystals, folder, disorder="average")
    return folder


@pytest.fixture(scope="module")
def vectors(crystals):
    model = load_pretrained("small")
    return {space: model.embed(crystals, space=space, progress=False) for space in SPACES}


def mapped(store, output, step=Embed("small", SPACES), **options):
    return map_shards(store, step, output, progress=False, **{"engine": "serial", "size": 16, **options})


def check(done, crystals, vectors):
    assert done.to_frame(["material_id"])["material_id"].tolist() == [c.material_id for c in crystals]
    for space in SPACES:
        difference = np.abs(done.vectors(space) - vectors[space]).max(axis=1)
        assert difference.max() < 1e-6, (space, difference.max(), difference.argmax())


@pytest.mark.parametrize("size", [7, 16, 1000])
def test_the_rows_do_not_depend_on_the_size_of_shards(store, tmp_path, crystals, vectors, size):
    done = mapped(store, tmp_path / "out", size=size)
    check(done, crystals, vectors)
    assert len(done.files) == -(-60 // size) and len(done) == 60
    assert done.to_frame()["formula"].tolist() == [c.reduced_formula for c in crystals]


def test_array_jobs_do_one_share_each(store, tmp_path, crystals, vectors):
    out = tmp_path / "out"
    assert mapped(store, out, shard=(2, 3)) is None
    assert sorted(os.listdir(out / LINES)) == ["000001.json"]
    with pytest.raises(StoreError, match="no readable shards.json"):
        ShardedOutput(out)
    assert mapped(store, out, shard=(1, 3)) is None
    check(mapped(store, out, shard=(3, 3)), crystals, vectors)  # the last one sees that all is there
    for wrong in ((0, 3), (4, 3)):
        with pytest.raises(OptionError, match="i from 1 to n"):
            mapped(store, out, shard=wrong)


def test_half_precision_halves_the_room(store, tmp_path, vectors):
    whole, half = mapped(store, tmp_path / "whole"), mapped(store, tmp_path / "half", Embed("small", SPACES, half=True))
    assert half.tables(["shared"]).__next__().schema.field("shared").type == pa.list_(pa.float16(), 128)
    assert np.abs(half.vectors("shared") - vectors["shared"]).max() < 1e-2
    assert sum(line["bytes"] for line in half.lines) < 0.65 * sum(line["bytes"] for line in whole.lines)


def test_only_what_is_missing_or_has_changed_is_done_again(store, tmp_path, crystals, vectors):
    out = tmp_path / "out"
    done = mapped(store, out)
    before = {path: path.stat().st_mtime_ns for path in done.files}
    os.remove(done.files[2])
    with open(done.files[0], "ab") as file:
        file.write(b"x")  # of another size than when it was written
    with pytest.raises(StoreError, match="of another size"):
        ShardedOutput(out)
    again = mapped(store, out)
    check(again, crystals, vectors)
    assert [path.stat().st_mtime_ns == before[path] for path in again.files] == [False, True, False, True]


def test_a_source_that_grows_and_a_file_that_changes(tmp_path, crystals):
    from pymatgen.io.cif import CifWriter

    cifs = tmp_path / "cifs"
    cifs.mkdir()
    for crystal in crystals[:6]:
        (cifs / f"{crystal.material_id}.cif").write_text(str(CifWriter(crystal.to_structure())))
    out = tmp_path / "out"
    first = mapped(cifs, out, size=2)
    stamps = [path.stat().st_mtime_ns for path in first.files]
    (cifs / "aaa.cif").write_text(str(CifWriter(crystals[10].to_structure())))
    changed = sorted(cifs.glob("*.cif"))[1]
    changed.write_text(str(CifWriter(crystals[11].to_structure())))
    second = mapped(cifs, out, size=2)
    assert len(second) == 7 and second.to_frame()["material_id"].tolist()[-1] == "aaa"
    kept = [path.stat().st_mtime_ns == stamp for path, stamp in zip(second.files, stamps, strict=False)]
    assert kept == [False, True, True]
    assert crystals[11].reduced_formula in second.to_frame()["formula"].tolist()[:2]
    os.remove(changed)
    with pytest.raises(StoreError, match="not in the source any more"):
        mapped(cifs, out, size=2)


def test_another_step_or_model_is_refused(store, tmp_path):
    out = tmp_path / "out"
    mapped(store, out, Featurize("average"))
    with pytest.raises(StoreError, match="disorder was average, now refuse"):
        mapped(store, out, Featurize())
    with pytest.raises(StoreError, match="step was featurize, now embed"):
        mapped(store, out)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / ".step.json.host-7.part").write_text("{")  # by a process that was killed
    mapped(store, tmp_path / "begun", Featurize())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="holds something else"):
        mapped(store, tmp_path / "mine")


def test_a_worker_with_another_model_is_noticed(store, tmp_path):
    from deepchem_crystalssl.bulk.parts import divide
    from deepchem_crystalssl.bulk.units import Unit, run_unit

    unit = Unit(divide(store, 16)[0], Embed("small"), "0123456789abcdef", tmp_path)
    with pytest.raises(StoreError, match="another model or another step"):
        run_unit(unit)
    assert not list(tmp_path.glob("*.parquet"))


def test_the_manifest_says_what_was_left_out_and_why(tmp_path, crystals):
    bad = {"lattice": np.eye(3).tolist(), "sites": [{"species": [{"element": "Xx"}], "abc": [0, 0, 0]}]}
    frame = pd.DataFrame({"material_id": ["good", "bad"], "structure": [crystals[0].to_structure().as_dict(), bad]})
    done = map_shards(frame, Embed("small"), tmp_path / "out", engine="serial", progress=False)
    assert len(done) == 1
    store = RecordStore(tmp_path / "out" / "crystals")
    assert store.material_ids.tolist() == ["good"]
    heavy = Crystal(np.array([118], np.int16), np.zeros((1, 3)), 4.0 * np.eye(3), "heavy")  # it has no pattern
    write_records([crystals[0], heavy], tmp_path / "store")
    done = mapped(tmp_path / "store", tmp_path / "with", size=1)
    assert [line["skipped"] for line in done.lines][0] == []
    assert [error.item for error in done.report] == ["heavy"] and "ScatteringFactorError" in str(done.lines[1])
    assert np.isnan(done.vectors("pattern")[1]).all() and np.isfinite(done.vectors("shared")).all()
    assert pd.read_csv(tmp_path / "with" / "skipped.csv")["item"].tolist() == ["heavy"]
    line = json.loads((tmp_path / "with" / LINES / "000001.json").read_text())
    assert {"part", "file", "rows", "bytes", "sha256", "input", "skipped", "step", "version"} <= set(line)


def test_a_store_made_in_parallel_is_a_store(store, tmp_path, crystals):
    mapped(store, tmp_path / "out", Featurize("average"), size=25)
    ours = RecordStore(tmp_path / "out")
    assert [c.formula for c in ours] == [c.formula for c in crystals] and len(CrystalStore(tmp_path / "out")) == 60
    with pytest.raises(OptionError, match="write_records"):
        map_shards(crystals, Featurize(), tmp_path / "list", engine="serial")
    with pytest.raises(OptionError, match="crystalssl featurize"):
        map_shards(crystals, Embed("small"), tmp_path / "list", engine="serial", shard=(1, 2))


def test_patterns(store, tmp_path, crystals):
    grid = XRDGrid(10.0, 90.0, 400)
    done = mapped(store, tmp_path / "out", SimulatePatterns(grid))
    assert np.abs(done.vectors("pattern") - np.asarray(simulate_xrd(crystals, grid))).max() < 1e-6


def test_tables_in_memory(crystals):
    structures = [crystal.to_structure() for crystal in crystals[:3]]
    table = compute_table(Embed("small"), structures)
    expected = load_pretrained("small").embed(structures, progress=False)
    assert np.abs(np.stack(table["shared"]) - expected).max() < 1e-6


def test_nothing_usable(tmp_path):
    heavy = Crystal(np.array([118], np.int16), np.zeros((1, 3)), 4.0 * np.eye(3), "heavy")
    write_records([heavy], tmp_path / "store")
    with pytest.raises(NoCrystalsError, match="left out"):
        mapped(tmp_path / "store", tmp_path / "out", SimulatePatterns())
    with pytest.raises(OptionError, match="engine must be one of"):
        mapped(tmp_path / "store", tmp_path / "out", engine="spark")
    with pytest.raises(OptionError, match="works on this machine alone"):
        mapped(tmp_path / "store", tmp_path / "out", engine="processes", address="tcp://127.0.0.1:8786")
    with pytest.raises(NoCrystalsError, match="no such file"):
        mapped(tmp_path / "stoer", tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_a_scheduler_that_does_not_answer_is_named(tmp_path, crystals):
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    write_records(crystals[:3], tmp_path / "store", progress=False)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(OptionError, match="address: .*127.0.0.1:9.*no scheduler of Dask answers"):
            mapped(tmp_path / "store", tmp_path / "out", engine="dask", address="tcp://127.0.0.1:9")


RUN = """
import sys
from deepchem_crystalssl.bulk import Embed, map_shards
step = Embed("small", ("shared", "pattern"))
done = map_shards(sys.argv[1], step, sys.argv[2], engine=sys.argv[3], size=2, workers=2)
print(len(done))
"""


def finished_lines(out):
    return len(list((out / LINES).glob("[0-9]*.json"))) if (out / LINES).is_dir() else 0


def start(store, out, engine):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen([sys.executable, "-c", RUN, str(store), str(out), engine], **options)


def kill_one_worker(out, killed):
    """Kill a worker that is writing a shard, after the first three shards."""
    while not killed:
        writing = list(out.glob(".part-*")) if finished_lines(out) >= 3 else []
        if writing:
            try:
                os.kill(int(writing[0].stem.rsplit("-", 1)[1]), signal.SIGKILL)
                killed.append(writing[0].name)
            except ProcessLookupError:
                pass
        time.sleep(0.002)


@pytest.mark.parametrize(
    "engine",
    ["processes", pytest.param("dask", marks=pytest.mark.once), pytest.param("ray", marks=pytest.mark.once)],
)
def test_a_worker_that_is_killed_loses_nothing(store, tmp_path, crystals, vectors, engine):
    if engine != "processes":
        pytest.importorskip(engine)
    out, killed = tmp_path / "out", []
    run = start(store, out, engine)
    threading.Thread(target=kill_one_worker, args=(out, killed), daemon=True).start()
    printed, errors = run.communicate(timeout=240)
    assert run.returncode == 0, errors[-2000:]
    assert killed and printed.split()[-1] == "60"
    done = ShardedOutput(out)
    check(done, crystals, vectors)
    assert len(done.lines) == 30 and not list(out.glob(".part-*"))


@pytest.mark.parametrize(
    "engine",
    ["processes", pytest.param("dask", marks=pytest.mark.slow), pytest.param("ray", marks=pytest.mark.slow)],
)
def test_a_run_that_is_killed_goes_on(store, tmp_path, crystals, vectors, engine):
    if engine != "processes":
        pytest.importorskip(engine)
    out = tmp_path / "out"
    run = start(store, out, engine)
    while finished_lines(out) < 4:
        assert run.poll() is None
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    before = {path: path.stat().st_mtime_ns for path in (out / LINES).glob("[0-9]*.json")}
    assert 4 <= len(before) < 30
    done = mapped(store, out, size=2, engine=engine, workers=2)
    check(done, crystals, vectors)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert not list(out.glob(".part-*"))


DEADLY = """
import os, sys
from dataclasses import dataclass
from deepchem_crystalssl.bulk import Featurize, map_shards
from deepchem_crystalssl.errors import StoreError

@dataclass(frozen=True)
class Deadly(Featurize):
    def open(self):
        work = super().open()
        def run(crystals, report):
            if any(crystal.material_id == sys.argv[3] for crystal in crystals):
                os.kill(os.getpid(), 9)
            return work(crystals, report)
        run.schema = work.schema
        return run

sys.argv[3]
try:
    map_shards(sys.argv[1], Deadly("average"), sys.argv[2], size=10, workers=2)
except StoreError as error:
    print(error)
"""


@pytest.mark.once
def test_a_shard_that_kills_every_worker_is_named(store, tmp_path, crystals):
    script = tmp_path / "deadly.py"
    script.write_text(DEADLY.replace("sys.argv[3]", repr(crystals[25].material_id)))
    command = [sys.executable, str(script), str(store), str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "part 2: 3 workers were killed while they worked on it" in run.stdout, run.stderr[-2000:]
    assert finished_lines(tmp_path / "out") >= 1


@pytest.mark.once
def test_dask_collections(crystals, vectors):
    dask = pytest.importorskip("dask")
    import dask.bag
    import dask.dataframe

    structures = [crystal.to_structure() for crystal in crystals[:6]]
    bag = dask.bag.from_sequence(structures, npartitions=2)
    tables = bag.map_partitions(lambda part: [compute_table(Embed("small"), list(part))]).compute(scheduler="sync")
    assert np.abs(np.concatenate([np.stack(t["shared"]) for t in tables]) - vectors["shared"][:6]).max() < 1e-6
    texts = pd.DataFrame({"material_id": [c.material_id for c in crystals[:6]],
                          "structure": [json.dumps(s.as_dict()) for s in structures]})  # fmt: skip
    with dask.config.set({"dataframe.convert-string": False}):
        frame = dask.dataframe.from_pandas(texts, npartitions=3)
        meta = compute_table(Embed("small"), texts.head(1)).head(0)
        found = frame.map_partitions(lambda part: compute_table(Embed("small"), part), meta=meta).compute()
    assert found["material_id"].tolist() == texts["material_id"].tolist()


@pytest.mark.once
def test_a_client_of_dask_is_used_and_left_open(store, tmp_path, crystals, vectors, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("deepchem_crystalssl.bulk.dask_engine._AT_ONCE", 1)  # fewer than there are shards
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        with distributed.Client(cluster) as client:
            check(mapped(store, tmp_path / "out", engine="dask", address=client, workers=1), crystals, vectors)
            assert client.submit(sum, [1, 2]).result() == 3
        check(mapped(store, tmp_path / "two", engine="dask", address=cluster.scheduler_address), crystals, vectors)


def test_none_of_the_engines_is_needed_to_import_the_package():
    code = (
        "import sys, deepchem_crystalssl, deepchem_crystalssl.bulk\n"
        "from deepchem_crystalssl.bulk import map_shards, Embed\n"
        "print(sorted({'dask', 'distributed', 'ray', 'lmdb', 'optimade', 'loky'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("is_large", [False, True])
def test_a_damaged_shard_is_written_anew(store, tmp_path, crystals, vectors, is_large, monkeypatch, caplog):
    """Each byte stays where it is; in a small output it is found even if the notes say that nothing has changed."""
    out = tmp_path / "out"
    if is_large:
        monkeypatch.setattr(bulk_shards, "VERIFIED_BYTES", 0)
    else:
        monkeypatch.setattr(bulk_units, "_times_of", lambda path: [0, 0])
    file = mapped(store, out).files[1]
    whole = file.read_bytes()
    file.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    check(mapped(store, out), crystals, vectors)
    assert file.read_bytes() == whole and "part-000001.parquet: damaged between" in caplog.text
    assert caplog.text.count("written anew") == 1


def test_a_large_output_that_is_unchanged_is_not_read(store, tmp_path, monkeypatch):
    mapped(store, tmp_path / "out")
    monkeypatch.setattr(bulk_shards, "VERIFIED_BYTES", 0)
    read = []
    monkeypatch.setattr(bulk_units.RecordedFile, "verify", lambda file: read.append(file.path.name))
    mapped(store, tmp_path / "out")
    assert not [name for name in read if name.startswith("part-")]
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    for _ in range(2):  # a copy is read once
        mapped(store, tmp_path / "copy")
        assert sum(name.startswith("part-") for name in read) == 4
