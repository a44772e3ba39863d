"""An index on a disk that is only read can be mapped and explored; one that cannot be read ends the command."""

import shutil
import subprocess
import sys
import time

import httpx
import pytest

from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.explorer import server
from deepchem_crystalssl.search import EmbeddingIndex, ShardedIndex, build_index

SALT = (
    "data_salt\n_cell_length_a 3.5\n_cell_length_b 3.5\n_cell_length_c 3.5\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
    "_cell_angle_gamma 90\nloop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    "Cs 0 0 0\nCl 0.5 0.5 0.5\n"
)


def mount(*arguments):
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def crystals():
    return list({crystal.material_id: crystal for crystal in bundled_prototypes()[:40]}.values())[:24]


@pytest.fixture(scope="module")
def place(crystals, tmp_path_factory):
    """A disk with indices that have no map yet."""
    disk, shown = tmp_path_factory.mktemp("disk"), tmp_path_factory.mktemp("shown")
    if not mount("--bind", disk, shown):
        pytest.skip("file systems are mounted by the superuser alone")
    try:
        build_index(crystals, disk / "held", "small", progress=False)
        ShardedIndex.build(crystals, disk / "sharded", "small", engine="serial", progress=False)
        assert mount("-o", "remount,bind,ro", shown)  # of this view alone: files of the disk may still be open
        yield shown
    finally:
        subprocess.run(["umount", "-l", str(shown)], check=True)


def explore(folder):
    whole = [sys.executable, "-m", "deepchem_crystalssl", "explore", str(folder), "--no-browser", "--port", "0"]
    return subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", ["held", "sharded"])
def test_a_map_elsewhere(kind, place, tmp_path, capsys):
    assert main(["map", str(place / kind), "-o", str(tmp_path), "-q", "--seed", "3"]) == 0
    assert f"{place / kind}: cannot be written to; its map is laid out for this time" in capsys.readouterr().err
    assert (tmp_path / "map.html").stat().st_size > 100_000


@pytest.mark.parametrize("kind", ["held", "sharded"])
def test_explored_with_answers(kind, place):
    with explore(place / kind) as process:
        try:
            lines = iter(process.stdout.readline, "")
            address = next(line for line in lines if line.startswith("http")).split()[0]
            end = time.monotonic() + 120
            while 'http-equiv="refresh"' in (text := httpx.get(address).text):
                assert time.monotonic() < end
                time.sleep(0.1)
            assert "Map of materials" in text
            answer = httpx.post(f"{address}ask", content=SALT, headers={"X-File-Name": "x.cif"}, timeout=120)
            assert answer.status_code == 200, answer.text
        finally:
            process.terminate()
        assert "cannot be written to; its map is laid out for this time" in process.stderr.read()


@pytest.mark.parametrize("kind", ["held", "sharded"])
def test_the_process_that_answers_finds_the_map(kind, place, monkeypatch):
    def look(app, *others):
        app.state.parts.result(120)
        assert EmbeddingIndex.load(app.state.worker.index_folder).has_map

    monkeypatch.setattr(server, "serve", look)
    server.explore(place / kind)


def test_an_index_that_cannot_be_read_ends_the_command_without_a_page(place, tmp_path):
    shutil.copytree(place / "held", tmp_path / "index")
    (tmp_path / "index" / "vectors.npy").write_bytes(b"")
    with explore(tmp_path / "index") as process:
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "vectors.npy: 0 bytes" in told and "Traceback" not in told and "never retrieved" not in told, told
