"""A folder that work is written to: one process at a time, disks that refuse, sources that differ, bytes that flip."""

import multiprocessing
import os
import random
import resource
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl import CrystalSSLModel, CrystalStore
from deepchem_crystalssl.bulk import Featurize, ShardedOutput, SimulatePatterns, map_shards
from deepchem_crystalssl.bulk.parts import divide
from deepchem_crystalssl.crystals import store as store_module
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.store import RecordStore, skipped_of, write_records
from deepchem_crystalssl.crystals.work_folders import LOCK, alone_in, written_to
from deepchem_crystalssl.errors import CheckpointError, CrystalInputError, IndexFolderError, NoCrystalsError, StoreError
from deepchem_crystalssl.search import EmbeddingIndex, ShardedIndex, build_index

NAMES = ["with space", "größer-Å-晶体", "quote'\"", "-dash", "new\nline"]
TINY = {"encoder": {"width": 16}, "xrd_encoder": {"channels": 4}, "batch_size": 8}


@pytest.fixture
def crystals():
    return list(bundled_prototypes()[:24])


@pytest.fixture
def store(crystals, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_SIZE", 10)
    write_records(crystals, tmp_path / "source")
    return tmp_path / "source"


def hold(folder, share, is_held):
    with alone_in(folder, StoreError, share):
        is_held.set()
        signal.pause()


@pytest.fixture
def held():
    """Locks a folder from another process, until that is killed."""
    processes = []

    def lock(folder, share=None):
        context = multiprocessing.get_context("fork")
        is_held = context.Event()
        processes.append(context.Process(target=hold, args=(folder, share, is_held)))
        processes[-1].start()
        assert is_held.wait(20)
        return processes[-1]

    yield lock
    for process in processes:
        process.kill()
        process.join()


def vectors_of(crystals):
    return EmbeddingIndex.build(np.eye(len(crystals), dtype=np.float32), range(len(crystals)), crystals)


def model_in(folder, **options):
    return CrystalSSLModel("kong2024-contrastive", model_dir=str(folder), **{**TINY, **options})


def works(store, crystals, folder):
    """What writes to a folder: the folder that is locked, the work, and its kind of error."""
    return {
        "store": (folder, lambda: write_records(crystals, folder), StoreError),
        "bulk": (folder, lambda: map_shards(store, SimulatePatterns(), folder, engine="serial"), StoreError),
        "index": (
            f"{folder}.building",
            lambda: build_index(crystals[:6], folder, "small", patterns=False),
            IndexFolderError,
        ),
        "sharded": (folder, lambda: ShardedIndex.build(store, folder, "small", engine="serial"), IndexFolderError),
        "saving": (f"{folder}.saving", lambda: vectors_of(crystals).save(folder), IndexFolderError),
        "fit": (folder, lambda: model_in(folder).fit(CrystalStore(store), nb_epoch=1), CheckpointError),
        "checkpoint": (folder, lambda: model_in(folder).save_checkpoint(), CheckpointError),
    }


LONG = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("index", "sharded", "fit")]
KINDS = ("store", "bulk", "saving", "checkpoint", *LONG)


@pytest.mark.parametrize("kind", KINDS)
def test_one_works_and_the_other_says_so(store, crystals, tmp_path, held, kind):
    locked, work, error = works(store, crystals, tmp_path / "out")[kind]
    process = held(locked)
    with pytest.raises(error, match=f"process {process.pid} on .* is at work there; one process at a time.* Wait"):
        work()
    process.kill()
    process.join()
    work()  # the system gave the lock free
    assert not list(tmp_path.rglob(f"{LOCK}*"))


def test_shares_of_an_array_work_together_and_not_with_the_whole(store, tmp_path, held):
    out = tmp_path / "out"

    def share(k):
        return map_shards(store, Featurize(), out, engine="serial", size=5, shard=(k, 2))

    other = held(out, (2, 2))
    assert share(1) is None
    with pytest.raises(StoreError, match="is at work there"):
        map_shards(store, Featurize(), out, engine="serial", size=5)
    with pytest.raises(StoreError, match="is at work there"):
        share(2)
    other.kill()
    other.join()
    assert len(share(2)) == 24
    whole = held(out)
    with pytest.raises(StoreError, match=f"process {whole.pid}"):
        share(1)


def test_a_lock_within_the_work_of_a_thread_is_its_own(tmp_path):
    with alone_in(tmp_path / "out", StoreError):
        with alone_in(tmp_path / "out", StoreError):
            pass
        assert (tmp_path / "out" / LOCK).exists()  # still held
    assert list(tmp_path.iterdir()) == []  # an empty folder is not left


def test_a_file_system_without_locks_does_not_stop_the_work(tmp_path, monkeypatch, caplog, crystals):
    import errno

    from filelock import FileLock

    def refuse(self, *args, **kwargs):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert write_records(crystals, tmp_path / "out") == 24 and "has no locks" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full(store, crystals, tmp_path, kind):
    """Files may not be larger than a few kilobytes; afterwards the same work gives what it gives anywhere."""
    _, work, error = works(store, crystals, tmp_path / "out")[kind]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises((error, StoreError)) as told:  # a part of an index is a store
            work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    text = str(told.value)
    assert "cannot be written" in text and ("File too large" in text or "PyTorch" in text), text
    assert not any(readable(tmp_path / "out", kind))
    work()
    assert all(readable(tmp_path / "out", kind))


def readable(folder, kind):
    """Whether readers take the folder for whole."""
    readers = {
        "store": RecordStore, "bulk": ShardedOutput, "index": EmbeddingIndex.load, "sharded": ShardedIndex.load,
        "saving": EmbeddingIndex.load, "fit": lambda found: model_in(found).restore(),
    }  # fmt: skip
    try:
        readers.get(kind, readers["fit"])(folder)
        yield True
    except CrystalInputError:
        yield False


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_every_kind(store, crystals, tmp_path, kind):
    for name in NAMES if kind in ("store", "bulk") else NAMES[1:2]:
        works(store, crystals, tmp_path / name)[kind][1]()
        assert all(readable(tmp_path / name, kind)), name


@pytest.mark.parametrize("kind", ["store", "bulk", "index", "sharded", "saving"])
def test_names_that_are_none(store, crystals, tmp_path, kind):
    for name, said in {"x" * 300: "255 bytes", "a\0b": "no name of a file", "\ud800": "no name of a file"}.items():
        _, work, error = works(store, crystals, tmp_path / name)[kind]
        with pytest.raises(error, match=said):
            work()
    (tmp_path / "file").write_text("mine")
    _, work, error = works(store, crystals, tmp_path / "file" / "out")[kind]
    with pytest.raises(error):
        work()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("number, said", [("ENOSPC", "Make room"), ("EROFS", "that can be written to"),
                                          ("EIO", "Check the disk")])  # fmt: skip
def test_what_the_system_refuses_names_the_remedy(number, said):
    import errno

    with pytest.raises(StoreError, match=said):
        with written_to("out", StoreError):
            raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)), "out/shard-00000.arrow")


def put_in_place(path, content, state):
    """Other content at the same path, of the same size, with the time that the file before it had."""
    path.unlink()
    path.write_text(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size


@pytest.mark.parametrize("way", ["store", "bulk", "bulk share"])
def test_a_source_of_the_same_size_and_time_is_another(structures, tmp_path, way):
    source = tmp_path / "source"
    source.mkdir()
    for k in range(12):
        (source / f"c{k:02d}.json").write_text(structures[k].to(fmt="json").ljust(4000))
    out = tmp_path / "out"

    def write():
        if way == "store":
            return write_records(source, out)
        share = (1, 2) if way == "bulk share" and not out.exists() else None
        return map_shards(source, Featurize(), out, engine="serial", size=3, shard=share)

    write()
    path = source / "c01.json"
    put_in_place(path, structures[30].to(fmt="json").ljust(4000), path.stat())
    if way == "store":
        with pytest.raises(StoreError, match=r"crystal 1 \(c01\) has changed"):
            write()
        return
    write()
    assert RecordStore(out)[1].reduced_formula == structures[30].composition.reduced_formula
    assert len(set(RecordStore(out).material_ids)) == 12


def test_a_part_of_other_rows_of_the_same_file_is_not_taken_for_another(crystals, tmp_path):
    """Without its plan, and with another size of shards, the parts of a folder hold other rows."""
    write_records(crystals, tmp_path / "source")
    out = tmp_path / "out"
    map_shards(tmp_path / "source", Featurize(), out, engine="serial", size=10)
    (out / "plan.jsonl").unlink()
    map_shards(tmp_path / "source", Featurize(), out, engine="serial", size=7)
    assert RecordStore(out).material_ids.tolist() == [c.material_id for c in crystals]


def test_jobs_of_an_array_with_other_sizes_are_refused(store, tmp_path, monkeypatch):
    from deepchem_crystalssl.bulk import shards

    written = shards.write_plan

    def at_the_same_time(folder, parts):  # as another job does, whose plan comes last
        written(folder, parts)
        written(folder, divide(store, 7))

    monkeypatch.setattr(shards, "write_plan", at_the_same_time)
    with pytest.raises(StoreError, match="another job of the array divides"):
        map_shards(store, Featurize(), tmp_path / "out", engine="serial", size=5, shard=(1, 2))


def test_an_index_that_goes_on_has_all_crystals_of_a_source_that_has_grown(crystals, tmp_path, monkeypatch):
    """Objects that come one by one have no description: what was embedded belongs to the crystals that were stored."""
    from deepchem_crystalssl.search import building

    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "assemble", stopped)
    with pytest.raises(KeyboardInterrupt):
        build_index(iter(crystals[:20]), tmp_path / "index", "small", patterns=False, progress=False)
    monkeypatch.undo()
    index = build_index(iter(crystals), tmp_path / "index", "small", patterns=False, progress=False)
    assert index.table["formula"].tolist() == [c.reduced_formula for c in crystals]


def test_a_part_that_cannot_be_read_is_computed_again(crystals, tmp_path, monkeypatch):
    from deepchem_crystalssl.search import building

    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "assemble", stopped)
    with pytest.raises(KeyboardInterrupt):
        build_index(crystals[:4], tmp_path / "index", "small", progress=False)
    monkeypatch.undo()
    part = next(Path(f"{tmp_path}/index.building").glob("vectors-*.npz"))
    with np.load(part) as whole:
        kept = {name: whole[name] for name in ("rows", "vectors")}
    for damage in (lambda: np.savez(part, **kept), lambda: part.write_bytes(part.read_bytes()[:-50])):
        damage()  # without its patterns, or cut
        assert building._read_part(part, patterns=True, physics=False) is None
    index = build_index(crystals[:4], tmp_path / "index", "small", progress=False)
    assert np.asarray(index.embed_patterns()).any()


@pytest.mark.slow
def test_a_sharded_index_is_built_with_one_model(store, tmp_path):
    other = CrystalSSLModel("kong2024-contrastive", **TINY)
    dcs.save_pretrained(other, tmp_path / "mine", {"description": "x"})
    third = CrystalSSLModel("kong2024-contrastive", seed=5, **TINY)
    third.fit(CrystalStore(store), nb_epoch=1)
    dcs.save_pretrained(third, tmp_path / "third", {"description": "x"})
    ShardedIndex.build(store, tmp_path / "index", tmp_path / "mine", engine="serial")
    ShardedIndex.build(store, tmp_path / "index", tmp_path / "mine", engine="serial")
    for model in (tmp_path / "third", "small"):
        with pytest.raises(IndexFolderError, match="an index has one model"):
            ShardedIndex.build(store, tmp_path / "index", model, engine="serial")
    with pytest.raises(IndexFolderError, match="patterns was False, now True"):
        ShardedIndex.build(store, tmp_path / "index", tmp_path / "mine", engine="serial", patterns=True)


def test_a_training_goes_on_with_its_data_and_their_order(store, crystals, tmp_path):
    model = partial(model_in, tmp_path / "model")
    model().fit(CrystalStore(store), nb_epoch=1)
    write_records(crystals[::-1], tmp_path / "other")
    for data, options, said in [
        (tmp_path / "other", {}, "data was"), (store, {"batch_size": 6}, "batch_size was 8, now 6"),
        (store, {"seed": 1}, "seed was 0, now 1"),
    ]:  # fmt: skip
        with pytest.raises(CheckpointError, match=said):
            model(**options).fit(CrystalStore(data), nb_epoch=2, restore=True)
    model().fit(CrystalStore(store), nb_epoch=2, restore=True)
    with pytest.warns(UserWarning, match="replaces these checkpoints"):
        model().fit(CrystalStore(tmp_path / "other"), nb_epoch=1)
    model().fit(CrystalStore(tmp_path / "other"), nb_epoch=2, restore=True)


def test_the_newest_checkpoint_is_the_first_by_number(tmp_path):
    from deepchem_crystalssl.models.checkpoints import newest_checkpoint

    for name in ("checkpoint2.pt", "checkpoint10.pt", "checkpoint-mine.pt"):  # killed before the first was renamed
        (tmp_path / name).touch()
    assert newest_checkpoint(tmp_path).name == "checkpoint2.pt"


def flipped(path, generator):
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def everything(folder, kind):
    if kind == "store":
        store = RecordStore(folder)
        return store.digest, [str(e) for e in store.report], skipped_of(store) != []
    output = ShardedOutput(folder)
    return output.to_frame().to_csv(), [str(e) for e in output.report]


@pytest.mark.parametrize("kind", ["store", "bulk"])
def test_damage_is_noticed(crystals, tmp_path, monkeypatch, fuzz, kind):
    monkeypatch.setattr(store_module, "SHARD_SIZE", 10)
    write_records([*crystals, None], tmp_path / "source")
    folder = tmp_path / "source"
    if kind == "bulk":
        folder = tmp_path / "out"
        map_shards(tmp_path / "source", SimulatePatterns(), folder, engine="serial", size=10)
    whole, generator = everything(folder, kind), random.Random(kind)
    kinds = {".arrow", ".parquet", ".json", ".csv"}
    files = sorted(p for p in folder.iterdir() if p.suffix in kinds and p.name != "step.json")
    seen = 0
    for path in files:
        kept = path.read_bytes()
        for attempt in range(12 * fuzz):
            if attempt % 6 == 4:
                path.write_bytes(kept[: generator.randrange(len(kept))])
            elif attempt % 6 == 5:
                path.unlink()
            else:
                flipped(path, generator)
            try:
                assert everything(folder, kind) == whole, path
            except CrystalInputError as error:
                assert "Traceback" not in str(error)
                seen += 1
            path.write_bytes(kept)
    assert seen > len(files) and everything(folder, kind) == whole


def test_a_shard_is_verified_where_it_is_read_alone(crystals, tmp_path):
    write_records(crystals, tmp_path / "store")
    path = tmp_path / "store" / "shard-00000.arrow"
    content = path.read_bytes()
    path.write_bytes(content.replace(np.float64(crystals[0].lattice[0, 0]).tobytes(), np.float64(9.5).tobytes(), 1))
    assert path.read_bytes() != content
    with pytest.raises((StoreError, NoCrystalsError), match="damaged"):
        list(dcs.read_structures(path, progress=False))
    with pytest.raises(StoreError, match="damaged"):
        map_shards(tmp_path / "store", Featurize(), tmp_path / "out", engine="serial")


def test_a_store_of_an_older_version_is_checked_by_its_structure(crystals, tmp_path):
    """Without checksums, offsets that point outside would end the process."""
    import json

    write_records(crystals, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["checksum"], manifest["shards"][0]["crc32"], manifest["files"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert len(RecordStore(tmp_path).digest) == 16
    path = tmp_path / "shard-00000.arrow"
    content, generator = path.read_bytes(), random.Random(1)
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
        offsets = table.column("atomic_numbers").chunk(0).offsets.to_numpy()
    place = content.index(offsets.tobytes())
    for _ in range(40):
        broken = bytearray(content)
        broken[place + generator.randrange(4 * len(offsets))] ^= 0x40
        path.write_bytes(broken)
        with pytest.raises(StoreError):
            RecordStore(tmp_path)[0]


def test_manifests_name_files_of_their_own_folder(crystals, tmp_path):
    import json

    write_records(crystals, tmp_path / "store")
    path = tmp_path / "store" / "manifest.json"
    manifest = json.loads(path.read_text())
    for change in ({"file": "../source"}, {"file": 3}, {"crystals": "x"}, {"crystals": 5}):
        other = {**manifest, "shards": [{**manifest["shards"][0], **change}]}
        other.pop("checksum")
        path.write_text(json.dumps(other))
        with pytest.raises(StoreError):
            len(RecordStore(tmp_path / "store").material_ids)
    assert pd.read_csv(tmp_path / "store" / "skipped.csv").empty
