"""Damage to unfinished work and to what is no file: what is whole is kept, what is not is done again or refused."""

import json
import multiprocessing
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import CrystalSSLModel, load_pretrained, save_pretrained
from deepchem_crystalssl.bulk import SimulatePatterns, map_shards
from deepchem_crystalssl.crystals.checksums import is_file, read_archive, read_sealed
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.store import write_records
from deepchem_crystalssl.crystals.work_folders import alone_in
from deepchem_crystalssl.errors import CheckpointError, CrystalInputError, IndexFolderError, StoreError
from deepchem_crystalssl.models.checkpoints import read_checkpoint
from deepchem_crystalssl.models.digest import weights_digest
from deepchem_crystalssl.models.folders import sha256
from deepchem_crystalssl.models.log import TrainingLog
from deepchem_crystalssl.recipes import physics, physics_table, verify_folder
from deepchem_crystalssl.search import EmbeddingIndex, building
from deepchem_crystalssl.search.building import build_index


class Interrupted(Exception):
    """Instead of a kill."""


def interrupt(*_):
    raise Interrupted


@pytest.fixture
def crystals():
    return list(bundled_prototypes()[:20])


def change_middle(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_part_of_an_index_that_is_damaged_is_made_again(crystals, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_CRYSTALS_AT_ONCE", 6)

    def build(folder):
        build_index(crystals, folder, "small", patterns=False, physics=True, progress=False)

    build(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddingIndex, "save", interrupt)
        with pytest.raises(Interrupted):
            build(tmp_path / "begun")
    parts = sorted((tmp_path / "begun.building").glob("vectors-*.npz"))
    lists = sorted((tmp_path / "begun.building").glob("*vectors-*.csv"))
    assert len(parts) == 4 and len(lists) == 8
    shutil.copy(parts[1], parts[0])  # as from an older copy of the folder
    change_middle(lists[2])
    change_middle(parts[2])
    build(tmp_path / "begun")
    found, expected = EmbeddingIndex.load(tmp_path / "begun"), EmbeddingIndex.load(tmp_path / "whole")
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-6)
    for name in ("skipped.csv", "without_physics.csv"):
        assert (tmp_path / "begun" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_a_table_of_physics_is_made_by_one_process_and_goes_on(crystals, tmp_path, monkeypatch):
    monkeypatch.setattr(physics, "_CRYSTALS_AT_ONCE", 8)
    physics_table(crystals, tmp_path / "whole.csv", progress=False)
    with monkeypatch.context() as patched:
        patched.setattr(physics, "_join", interrupt)
        with pytest.raises(Interrupted):
            physics_table(crystals, tmp_path / "begun.csv", progress=False)
    change_middle(tmp_path / "begun.csv.building" / "numbers-000001.parquet")
    physics_table(crystals, tmp_path / "begun.csv", progress=False)
    assert (tmp_path / "begun.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert not (tmp_path / "begun.csv.building").exists()


def hold(folder, is_held):
    with alone_in(folder, StoreError):
        is_held.set()
        os.read(os.pipe()[0], 1)


def test_two_processes_do_not_make_one_table_of_physics(crystals, tmp_path):
    context = multiprocessing.get_context("fork")
    is_held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "table.parquet.building", is_held))
    process.start()
    try:
        assert is_held.wait(20)
        with pytest.raises(StoreError, match=f"process {process.pid} on .* is at work there"):
            physics_table(crystals, tmp_path / "table.parquet", progress=False)
    finally:
        process.kill()
        process.join()
    assert physics_table(crystals, tmp_path / "table.parquet", progress=False) == len(
        pd.read_parquet(tmp_path / "table.parquet")
    )


def test_a_folder_in_the_place_of_a_table_is_refused_before_the_work(crystals, tmp_path):
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(StoreError, match="a folder; a table is written into a file"):
        physics_table(crystals, tmp_path / "table.csv", progress=False)
    assert not (tmp_path / "table.csv.building").exists()


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_sealed(path, StoreError),
        lambda path: read_archive(path, StoreError),
        read_checkpoint,
        sha256,
        lambda path: TrainingLog(path).to_frame(),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CrystalInputError, match="pipe: .*no regular file"):
        read(tmp_path / "pipe")


def test_a_pipe_among_the_notes_of_shards_is_done_again(crystals, tmp_path):
    write_records(crystals, tmp_path / "store", progress=False)

    def patterns():
        return map_shards(tmp_path / "store", SimulatePatterns(), tmp_path / "out", engine="serial", progress=False)

    expected = patterns().to_frame()
    line = tmp_path / "out" / "lines" / "000000.json"
    line.unlink()
    os.mkfifo(line)
    assert patterns().to_frame().equals(expected) and line.is_file()


def test_what_may_not_be_looked_at_is_an_error_of_its_kind(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", refuse)
        with pytest.raises(IndexFolderError, match=r"index.json: cannot be read \(Permission denied\).* Ask for"):
            is_file(tmp_path / "index.json", IndexFolderError)
    assert not is_file(tmp_path / "index.json", IndexFolderError)
    assert not is_file("a\0b", IndexFolderError)
    assert not is_file(tmp_path, IndexFolderError)


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is refused to the superuser")
def test_a_model_that_may_not_be_read(tmp_path):
    (tmp_path / "model").mkdir(mode=0)
    with pytest.raises(CheckpointError, match="Permission denied"):
        load_pretrained(tmp_path / "model")
    (tmp_path / "model").chmod(0o700)


def small_model(seed):
    return CrystalSSLModel("joint", encoder={"width": 16}, xrd_encoder={"channels": 4}, seed=seed)


@pytest.mark.filterwarnings("ignore:.*the model that was saved there is replaced")
@pytest.mark.parametrize("is_first", [True, False])
def test_a_saving_that_is_killed_leaves_the_old_model_or_the_new_one(is_first, tmp_path, monkeypatch):
    digests = []
    for seed in (0, 1):
        save_pretrained(small_model(seed), tmp_path / f"{seed}", {"number": seed}, half=False)
        digests.append(weights_digest(load_pretrained(tmp_path / f"{seed}")))
    assert digests[0] != digests[1]
    replace, seen = os.replace, []
    for renamings in range(4):
        folder = tmp_path / f"killed after {renamings}"
        if not is_first:
            shutil.copytree(tmp_path / "0", folder)
        calls = []

        def replace_some(source, target, calls=calls, renamings=renamings):
            if len(calls) == renamings:
                raise KeyboardInterrupt  # as a kill, without what a kill would leave besides
            calls.append(target)
            replace(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replace_some)
            try:
                save_pretrained(small_model(1), folder, {"number": 1}, half=False)
            except KeyboardInterrupt:
                pass
        try:
            model = load_pretrained(folder)
        except CheckpointError:
            assert is_first
            seen.append(None)
        else:
            seen.append(model.card["number"])
            assert weights_digest(model) == digests[seen[-1]]
            assert {file.result for file in verify_folder(folder)} == {"verified"}
        save_pretrained(small_model(1), folder, {"number": 1}, half=False)
        assert load_pretrained(folder).card == {"number": 1}
        assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors"]
    assert seen == ([None, None, 1, 1] if is_first else [0, 0, 1, 1])


def test_a_list_of_files_without_its_checksum_is_no_list(tmp_path):
    source, store = tmp_path / "source", tmp_path / "store"
    source.mkdir()
    for name in ("a", "b"):
        write_poscar(source / f"{name}.vasp")
    write_records(source, store, progress=False)
    listing = store / "source_files.json"
    content = json.loads(listing.read_text())
    del content["checksum"]
    content["files"][0]["name"] = "another"
    listing.write_text(json.dumps(content))
    write_poscar(source / "c.vasp")
    with pytest.raises(StoreError, match="source_files.json: without its checksum"):
        write_records(source, store, progress=False)
    listing.unlink()
    os.mkfifo(listing)
    with pytest.raises(StoreError, match="source_files.json .*no regular file"):
        write_records(source, store, progress=False)


def write_poscar(path):
    path.write_text("Po\n1.0\n3.36 0 0\n0 3.36 0\n0 0 3.36\nPo\n1\nDirect\n0 0 0\n")
