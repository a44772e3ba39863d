"""Whatever happens to a file of a folder: the right answer or a typed error, never other numbers, never a crash.

``crystalssl verify`` tells of all of it.
"""

import json
import shutil
from collections import Counter

import damage
import pytest

from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.store import write_records
from deepchem_crystalssl.errors import UnsupportedFileError
from deepchem_crystalssl.recipes import verify_folder
from deepchem_crystalssl.search import build_index

CASES = 48
OF_UNFINISHED_WORK = ("lines", "plan.jsonl", "step.json", "skipped.csv", "trained.faiss", "crystals")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    damage.make_folders(root)
    return root


@pytest.mark.once
def test_damage_is_an_error_or_without_effect(folders, fuzz):
    found = damage.run_in_processes(folders, seed=28, count=CASES * fuzz)
    wrong = [case for case in found if case["kind"] not in ("same", "typed")]
    assert not wrong, wrong[:5]
    unnamed = [case for case in found if case["kind"] == "typed" and "copy" not in case["text"]]
    assert not unnamed, unnamed[:5]  # an error names the file or the folder
    typed = Counter(case["format"] for case in found if case["kind"] == "typed")
    assert len(found) == CASES * fuzz and all(typed[name] > CASES // 20 for name in damage.FORMATS), typed


@pytest.mark.parametrize("format", damage.FORMATS)
def test_whole_folders_are_whole_and_damage_to_any_file_is_told(format, folders, tmp_path, capsys):
    folder = folders / format
    assert {file.result for file in verify_folder(folder)} == {"verified"}
    assert main(["verify", str(folder)]) == 0
    assert "0 damaged" in capsys.readouterr().out
    read = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if any(word in str(name) for word in OF_UNFINISHED_WORK):
            continue
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        damaged = [file for file in verify_folder(copy) if file.result == "damaged"]
        assert damaged and any(path.name in f"{file.path} {file.reason}" for file in damaged), name
        read += 1
        shutil.rmtree(copy)
    assert read >= 2


@pytest.mark.parametrize("name", ["catalogue.parquet", "structures/manifest.json", "structures/shard-00000.arrow",
                                  "skipped.csv", "index.json"])  # fmt: skip
@pytest.mark.parametrize("is_removed", [False, True])
def test_one_damage_of_an_index_is_told_once(name, is_removed, tmp_path, bundled_index):
    shutil.copytree(bundled_index, copy := tmp_path / "copy")
    content = (copy / name).read_bytes()
    (copy / name).unlink() if is_removed else (copy / name).write_bytes(content[: len(content) // 2])
    if is_removed and name == "index.json":
        with pytest.raises(UnsupportedFileError):
            verify_folder(copy)
    else:
        assert [file.path for file in verify_folder(copy) if file.result == "damaged"] == [copy / name]


@pytest.fixture(scope="module")
def bundled_index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "index"
    build_index(bundled_prototypes()[:5], folder, "small", patterns=False, progress=False)
    assert {file.result for file in verify_folder(folder)} == {"verified"}
    return folder


@pytest.mark.parametrize("is_removed", [False, True])
def test_the_list_of_files_of_a_store_is_verified(is_removed, tmp_path):
    (tmp_path / "a").mkdir()
    bundled_prototypes()[0].to_structure().to(filename=str(tmp_path / "a" / "x.cif"))
    write_records(tmp_path / "a", store := tmp_path / "store", progress=False)
    listing = store / "source_files.json"
    assert listing in [file.path for file in verify_folder(store) if file.result == "verified"]
    listing.unlink() if is_removed else listing.write_bytes(listing.read_bytes()[:-9])
    [damaged] = [file for file in verify_folder(store) if file.result == "damaged"]
    assert damaged.path == listing


def test_the_command_lists_damage_and_ends_with_2(folders, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(folders / "index", copy)
    (copy / "vectors.npy").write_bytes((copy / "vectors.npy").read_bytes()[:-4])
    (copy / "structures" / "shard-00000.arrow").unlink()
    assert main(["verify", str(copy)]) == 3
    printed = capsys.readouterr().out
    assert f"damaged: {copy / 'vectors.npy'}" in printed and "shard-00000.arrow" in printed and "Copy it" in printed


def test_folders_of_earlier_versions_are_read_as_far_as_their_formats_tell(folders, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(folders / "index", copy)
    manifest = json.loads((copy / "index.json").read_text())
    (copy / "index.json").write_text(json.dumps({k: manifest[k] for k in ("format", "crystals", "space", "model")}))
    assert main(["verify", str(copy)]) == 0
    assert "without a checksum, of an earlier version" in capsys.readouterr().out
    assert damage.answers_of_index(copy) == damage.answers_of_index(folders / "index")


def test_a_folder_without_a_manifest_is_refused(folders, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UnsupportedFileError, match="a folder that this package wrote has a manifest"):
        verify_folder(tmp_path)


def test_what_is_no_folder_is_said(tmp_path):
    with pytest.raises(UnsupportedFileError, match="nothing: no such folder"):
        verify_folder(tmp_path / "nothing")
    with pytest.raises(UnsupportedFileError, match="none of index.json"):
        verify_folder(tmp_path)
