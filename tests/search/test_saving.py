"""Saving an index: killed anywhere, the folder holds the old index or the new one, and nothing else is touched."""

import json
import os
import shutil
import sys

import numpy as np
import pytest

from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import CheckpointError, IndexFolderError
from deepchem_crystalssl.search import EmbeddingIndex, make_map

STEPS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


def make(n, mapped=False, seed=0):
    crystals = bundled_prototypes()[:n]
    vectors = np.random.default_rng([n, seed]).normal(size=(n, 16))
    index = EmbeddingIndex.build(vectors, [f"c{k}" for k in range(n)], crystals if mapped else None)
    if mapped:
        index.make_map(progress=False)
    return index


def save_and_be_killed(index, folder, step):
    """Save in a process that ends at its step-th change of the folder; whether it came to its end."""
    child = os.fork()
    if not child:
        left = [step]

        def hook(event, arguments):
            if event in STEPS:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)

        sys.addaudithook(hook)
        index.save(folder)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.once
def test_killed_at_any_step_it_leaves_the_old_index_or_the_new_one(tmp_path):
    old, new, last = make(20, mapped=True), make(24), make(22, mapped=True)
    folder = tmp_path / "index"
    for name in ("index.part", "index.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("years of work")
    found, step, is_done = [], 0, False
    while not is_done:
        shutil.rmtree(folder, ignore_errors=True)
        old.save(folder)
        is_done = save_and_be_killed(new, folder, step)
        opened = EmbeddingIndex.load(folder)
        expected = new if len(opened) == 24 else old
        assert np.array_equal(opened.vectors, expected.vectors) and opened.table.equals(expected.table)
        assert opened.has_map == (expected is old) and (opened.structures is None) == (expected is new)
        found.append(len(opened))
        last.save(folder)
        assert len(EmbeddingIndex.load(folder)) == 22 and EmbeddingIndex.load(folder).has_map
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
        step += 1
    assert found == sorted(found) and {20, 24} == set(found) and len(found) > 8
    assert (tmp_path / "index.old" / "thesis.tex").exists() and (tmp_path / "index.part" / "thesis.tex").exists()


@pytest.mark.once
def test_killed_while_it_saves_for_the_first_time(tmp_path):
    step, is_done, five, six = 0, False, make(5), make(6)
    while not is_done:
        folder = tmp_path / f"{step}"
        is_done = save_and_be_killed(five, folder, step)
        try:
            assert len(EmbeddingIndex.load(folder)) == 5
        except IndexFolderError:
            assert not is_done
        six.save(folder)
        assert len(EmbeddingIndex.load(folder)) == 6
        step += 2


def test_a_link_stays_a_link_and_files_of_the_user_stay(tmp_path):
    disk, link = tmp_path / "disk", tmp_path / "index"
    disk.mkdir()
    link.symlink_to(disk)
    make(5).save(link)
    (link / "notes.txt").write_text("mine")
    make(6).save(link)
    assert link.is_symlink() and len(EmbeddingIndex.load(disk)) == 6 and (disk / "notes.txt").read_text() == "mine"


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    make(5).save(tmp_path / "there")
    monkeypatch.setattr(np, "save", fail)
    for name in ("new", "there"):
        with pytest.raises((OSError, IndexFolderError), match="No space left"):
            make(6).save(tmp_path / name)
    assert not (tmp_path / "new").exists() and len(EmbeddingIndex.load(tmp_path / "there")) == 5
    assert not list((tmp_path / "there").glob(".*"))


def test_an_index_that_is_open_stays_what_it_was_when_it_is_replaced(tmp_path):
    old = make(8)
    old.save(tmp_path / "index")
    opened = EmbeddingIndex.load(tmp_path / "index")
    make(9).save(tmp_path / "index")
    assert np.array_equal(opened.vectors, old.vectors)


def test_a_map_of_other_vectors_is_not_taken(tmp_path):
    make(20, mapped=True).save(tmp_path / "a")
    other = make(20, seed=1)
    other.save(tmp_path / "b")
    shutil.copy(tmp_path / "a" / "map.npz", tmp_path / "b")
    assert not EmbeddingIndex.load(tmp_path / "b").has_map
    other.keep_map(tmp_path / "b")
    kept = EmbeddingIndex.load(tmp_path / "b")
    assert kept.has_map and np.array_equal(kept.map.positions, make_map(other.vectors, progress=False).positions)


def test_an_index_names_no_file_outside_its_folder(tmp_path):
    make(5).save(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    content = json.loads(path.read_text())
    content.pop("checksum")
    files = content["files"]
    path.write_text(json.dumps({**content, "files": {**files, "model/../../x": files["vectors.npy"]}}))
    (tmp_path / "index" / "model").mkdir()
    with pytest.raises(IndexFolderError, match="its manifest names"):
        EmbeddingIndex.load(tmp_path / "index")
    path.write_text(json.dumps({**content, "model": str(tmp_path)}))
    shutil.rmtree(tmp_path / "index" / "model")
    opened = EmbeddingIndex.load(tmp_path / "index")
    with pytest.raises(IndexFolderError, match="outside that of the index"):
        opened.query(bundled_prototypes()[0])


def test_a_model_that_was_given_as_a_folder_is_kept_within(tmp_path):
    import deepchem_crystalssl as dcs

    dcs.save_pretrained(dcs.load_pretrained("small"), tmp_path / "mine")
    crystals = bundled_prototypes()[:6]
    index = EmbeddingIndex.from_structures(crystals, model=tmp_path / "mine", progress=False)
    index.save(tmp_path / "index")
    shutil.rmtree(tmp_path / "mine")
    assert EmbeddingIndex.load(tmp_path / "index").query(crystals[2], k=1)[0].distance < 1e-3
    (tmp_path / "index" / "model" / "model.safetensors").write_bytes(b"x")
    with pytest.raises((IndexFolderError, CheckpointError), match="model.safetensors"):
        EmbeddingIndex.load(tmp_path / "index").query(crystals[2])
