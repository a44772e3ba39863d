"""What commands and functions write for their caller: whole or not at all, and never through a link."""

import os

import numpy as np
import pandas as pd
import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl import CrystalSSLModel, CrystalStore
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.formats.tables import read_table, write_csv
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.work_folders import LOCK, alone_in, check_output, writing
from deepchem_crystalssl.errors import OptionError, StoreError, UnsupportedFileError
from deepchem_crystalssl.explorer import write_chemiscope, write_map, write_page
from deepchem_crystalssl.models.log import LOG, TrainingLog
from deepchem_crystalssl.recipes import write_vectors
from deepchem_crystalssl.search import EmbeddingIndex
from deepchem_crystalssl.search.building import build_index


@pytest.fixture(scope="module")
def crystals():
    return list({crystal.material_id: crystal for crystal in bundled_prototypes()[:30]}.values())[:24]


@pytest.fixture(scope="module")
def index(crystals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "index"
    found = build_index(crystals, folder, "small", progress=False)
    found.make_map(progress=False)
    found.keep_map(folder)
    return EmbeddingIndex.load(folder), folder


@pytest.fixture
def pattern(crystals, tmp_path):
    grid = dcs.XRDGrid()
    counts = 1000 * np.asarray(dcs.simulate_xrd(crystals[3], grid)).ravel()
    path = tmp_path / "measured.xy"
    path.write_text("\n".join(f"{angle:.3f} {count:.2f}" for angle, count in zip(grid.two_theta, counts, strict=True)))
    return path


@pytest.fixture
def store(crystals, tmp_path):
    CrystalStore.write(crystals, tmp_path / "store")
    return tmp_path / "store"


OUTPUTS = [
    "search",
    "pattern",
    "picture",
    "check",
    "evaluate",
    "map",
    "page",
    "chemiscope",
    "vectors",
    "csv",
    "dataset",
]


def write_output(kind, path, index, pattern, store, crystals):
    opened, folder = index
    query = crystals[2].material_id
    if kind == "search":
        assert main(["search", query, "--index", str(folder), "-o", str(path), "-q"]) == 0
    elif kind in ("pattern", "picture"):
        option = "-o" if kind == "pattern" else "--picture"
        assert main(["search", str(pattern), "--index", str(folder), option, str(path), "-q"]) == 0
    elif kind == "check":
        assert main(["check", str(pattern.parent / "x.cif"), "-o", str(path), "-q"]) == 3
    elif kind == "evaluate":
        assert main(["evaluate", "small", str(store), "-o", str(path), "-q"]) == 0
    elif kind == "map":
        assert main(["map", str(folder), "-o", str(path.parent), "-q"]) == 0
    elif kind == "page":
        write_page(opened, path, progress=False)
    elif kind == "chemiscope":
        write_chemiscope(opened, path)
    elif kind == "vectors":
        write_vectors(pd.DataFrame({"material_id": ["a"], "embedding": [np.ones(2)]}), path)
    elif kind == "csv":
        write_csv(pd.DataFrame({"number": [1, 2]}), path)
    else:
        CrystalStore(store).to_csv(path)


SUFFIXES = {"picture": "out.png", "map": "map_anion_class.png", "page": "map.html", "chemiscope": "out.json"}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_link_is_replaced_and_a_folder_refused(kind, index, pattern, store, crystals, tmp_path, capsys):
    (tmp_path / "x.cif").write_text("data_x\n")
    victim, folder = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    folder.mkdir()
    path = folder / SUFFIXES.get(kind, "out.csv")
    path.symlink_to(victim)
    write_output(kind, path, index, pattern, store, crystals)
    assert victim.read_text() == "mine" and path.is_file() and not path.is_symlink() and path.stat().st_size > 4
    assert not list(folder.glob(".*"))
    path.unlink()
    path.mkdir()
    with pytest.raises((OptionError, SystemExit, AssertionError)):  # of the option, of the parser, of the exit status
        write_output(kind, path, index, pattern, store, crystals)
    assert "Traceback" not in capsys.readouterr().err and list(path.iterdir()) == []


def test_the_map_is_refused_before_the_work(index, tmp_path):
    (tmp_path / "map_anion_class.png").mkdir()
    with pytest.raises(OptionError, match="map_anion_class.png: a folder; results are written into a file"):
        write_map(index[0], tmp_path, progress=False)
    assert not (tmp_path / "map.html").exists()
    with pytest.raises(OptionError, match="page.html: no folder"):
        write_page(index[0], tmp_path / "nowhere" / "page.html")


def test_the_command_refuses_it_before_the_map_is_laid_out(index, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("deepchem_crystalssl.explorer.keep_mapped", None)
    (tmp_path / "map.html").mkdir()
    assert main(["map", str(index[1]), "-o", str(tmp_path), "-q"]) == 2
    assert "map.html: a folder; results are written into a file" in capsys.readouterr().err


def test_what_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OptionError, match="No space left on device.* Make room"):
        with writing(path) as part:
            part.write_text("half")
            raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OptionError, match="no name of a file"):
        check_output("a\0b")


def test_compressed_tables_are_compressed(tmp_path):
    frame = pd.DataFrame({"a": [1, 2]})
    write_csv(frame, tmp_path / "table.csv.gz")
    assert (tmp_path / "table.csv.gz").read_bytes()[:2] == b"\x1f\x8b"
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv.gz"), frame)


def test_a_lock_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / LOCK).symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError, match="a link; a lock is a file of its own"):
        with alone_in(tmp_path / "work", StoreError):
            pass
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_training_writes_through_no_link(tmp_path, caplog):
    for name in ("log", "weights"):
        (tmp_path / name).write_text("mine")
    folder = tmp_path / "model"
    folder.mkdir()
    os.symlink(tmp_path / "log", folder / LOG)
    os.symlink(tmp_path / "weights", folder / "temp_checkpoint.pt")
    log = TrainingLog(folder / LOG)
    log.add({"loss": 1.0})
    log.write_means(1)
    assert "goes on without a log" in caplog.text
    model = CrystalSSLModel(
        "joint", encoder={"width": 16}, xrd_encoder={"channels": 4}, batch_size=8, model_dir=str(folder)
    )
    model.save_checkpoint()
    assert (tmp_path / "log").read_text() == (tmp_path / "weights").read_text() == "mine"
    assert (folder / "checkpoint1.pt").is_file()


def test_tables_of_parquet_have_checksums(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"material_id": [f"mp-{k}" for k in range(50)], "embedding": list(rng.random((50, 64)))})
    write_vectors(frame, tmp_path / "whole.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "whole.parquet"), frame)
    content = bytearray((tmp_path / "whole.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.parquet").write_bytes(content)
    with pytest.raises(UnsupportedFileError, match="damaged.parquet: cannot be read"):
        read_table(tmp_path / "damaged.parquet")
