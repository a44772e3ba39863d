"""What the page is told is what the index holds."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator

from deepchem_crystalssl.explorer import StructureView, write_map, write_page
from deepchem_crystalssl.explorer.document import render_page
from deepchem_crystalssl.explorer.payload import LINES, Payload, pack_lines, pack_structures, strongest_lines
from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.search import EmbeddingIndex


@pytest.fixture(scope="module")
def index(prototypes):
    metadata = pd.DataFrame({"material_id": [prototypes[3].material_id], "gap": [1.5]})
    return EmbeddingIndex.from_structures(prototypes, "small", metadata, progress=False)


def read(part, dtype):
    return np.frombuffer(gzip.decompress(part), dtype)


def test_parts(index):
    payload = Payload(index)
    assert len(payload) == len(list(payload)) == len(set(payload))
    meta = json.loads(gzip.decompress(payload["meta"]))
    assert meta["crystals"] == 288 and meta["kinds"] == ["structures", "patterns"] and meta["link"] is None
    positions = read(payload["positions"], "<u2").reshape(2, 288).T / 32767.5 - 1
    assert np.abs(positions - index.map.positions).max() < 2e-5
    assert np.array_equal(read(payload["neighbors"], "<u4").reshape(288, -1), index.map.neighbors[:, :10])
    assert gzip.decompress(payload["ids"]).decode().split("\n") == index.table["material_id"].tolist()
    assert read(payload["column:gap"], "<f4")[3] == 1.5 and np.isnan(read(payload["column:gap"], "<f4")[0])
    with pytest.raises(KeyError):
        payload["structures:1"]
    assert "structures:0" in payload and "structures:0" not in Payload(index, [])


def test_a_view_of_a_file_is_that_of_its_crystal(prototypes, tmp_path):
    structure = prototypes[3].to_structure()
    structure.to(filename=str(tmp_path / "one.cif"))
    for source in (tmp_path / "one.cif", str(tmp_path / "one.cif"), structure, prototypes[3]):
        assert f"<title>{prototypes[3].reduced_formula}" in StructureView(source).html
    with pytest.raises(QueryError, match="a folder"):
        _ = StructureView(tmp_path).html


def test_structures_come_back(prototypes):
    chosen = prototypes[:20]
    whole, n = gzip.decompress(pack_structures(chosen)), len(chosen)
    sizes = np.frombuffer(whole[: 2 * n], "<u2")
    lattices = np.frombuffer(whole[2 * n : 38 * n], "<f4").reshape(n, 3, 3)
    sites = np.frombuffer(whole[38 * n :], "u1").reshape(7, -1)
    assert sizes.tolist() == [crystal.num_nodes for crystal in chosen]
    assert np.allclose(lattices, [crystal.lattice for crystal in chosen])
    assert np.array_equal(sites[0], np.concatenate([crystal.atomic_numbers for crystal in chosen]))
    turns = (sites[1:4] + 256.0 * sites[4:7]).T / 65536
    off = turns - np.concatenate([crystal.frac_coords for crystal in chosen])
    assert np.abs(off - np.round(off)).max() < 1e-5


def test_lines_are_those_of_pymatgen(prototypes):
    crystal = prototypes[40]
    angles, heights = strongest_lines(crystal)
    expected = XRDCalculator("CuKa1").get_pattern(crystal.to_structure(), two_theta_range=(5, 90))
    for angle, height in zip(expected.x, expected.y / 100, strict=True):
        if height > 0.1:
            nearest = np.abs(angles - angle).argmin()
            assert abs(angles[nearest] - angle) < LINES.step
    packed = gzip.decompress(pack_lines([crystal]))
    assert packed[0] == len(angles) == (len(packed) - 1) // 3


def test_what_does_not_fit_is_left_out_and_said(index, tmp_path):
    def write(megabytes):
        path = write_page(index, tmp_path / "map.html", megabytes=megabytes, progress=False)
        text = path.read_text()
        return path.stat().st_size / 1e6, ['id="part:structures:0"' in text, 'id="part:patterns:0"' in text]

    whole, held = write(60)
    assert held == [True, True]
    without_patterns, held = write(whole - 0.001)
    assert held == [True, False] and without_patterns < whole - 0.001
    without_structures, held = write(without_patterns - 0.001)
    assert held == [False, True] and without_structures < without_patterns - 0.001
    assert write(0)[1] == [False, False]


def test_nothing_in_the_page_is_fetched():
    page = render_page()
    assert "src=" not in page.split("<script>")[0] and "https://" not in page.split("<script>")[0]
    for name in ("3dmol", "d3-zoom", "pako"):
        assert f"==== {name} " in page  # with their licences


def test_words_are_words():
    title = "</title><script>alert(1)</script>"
    assert title not in render_page(title) and title not in StructureView(_rock_salt()).html
    assert render_page("{{style}}").count("<style>") == 1


def _rock_salt():
    from pymatgen.core import Lattice, Structure

    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_a_structure_in_a_notebook():
    view = StructureView(_rock_salt())
    assert '"numbers": [11, 11, 11, 11, 17, 17, 17, 17]' in view.html and "iframe" in view._repr_html_()


def test_pictures(index, tmp_path):
    paths = write_map(index, tmp_path / "map", ["gap", "O"], ["png", "svg"], progress=False)
    assert [path.name for path in paths] == ["map.html", "map_gap.png", "map_gap.svg", "map_O.png", "map_O.svg"]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_a_map_larger_than_asked_for_is_said(index, tmp_path, caplog):
    write_page(index, tmp_path / "map.html", megabytes=60.0, progress=False)
    assert not caplog.text
    write_page(index, tmp_path / "map.html", megabytes=0.01, progress=False)
    assert "more than 0.01: no map of this index is smaller" in caplog.text
