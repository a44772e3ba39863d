import shutil

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import XRDGrid
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.diffraction.conditions import HARD, measure_patterns
from deepchem_crystalssl.search import EmbeddingIndex


@pytest.fixture(scope="module")
def folder(prototypes, tmp_path_factory):
    """An index of sixty files, one of them broken."""
    root = tmp_path_factory.mktemp("search")
    (root / "cifs").mkdir()
    for crystal in {crystal.material_id: crystal for crystal in prototypes}.values():
        if len(list((root / "cifs").iterdir())) < 60:
            crystal.to_structure().to(filename=str(root / "cifs" / f"{crystal.material_id}.cif"))
    (root / "cifs" / "broken.cif").write_text("data_x\nloop_\n_atom_site_label\n")
    names = [path.stem for path in (root / "cifs").iterdir()]
    pd.DataFrame({"material_id": names, "color": ["red", "blue"] * (len(names) // 2) + ["red"]}).to_csv(
        root / "colors.csv", index=False
    )
    done = main(["index", str(root / "cifs"), "-o", str(root / "index"), "--model", "small",
                 "--metadata", str(root / "colors.csv")])  # fmt: skip
    assert done == 0
    return root


def test_index_tells_what_was_left_out(folder):
    skipped = pd.read_csv(folder / "index" / "skipped.csv")
    assert len(skipped) == 1 and "broken" in skipped["item"][0]


def test_search_by_file_and_by_id(folder, prototypes, capsys):
    name = prototypes[0].material_id
    query = [str(folder / "cifs" / f"{name}.cif"), "--index", str(folder / "index"), "-k", "3"]
    assert main(["search", *query, "-o", str(folder / "found.csv")]) == 0
    table = pd.read_csv(folder / "found.csv")
    assert table["material_id"][0] == name and len(table) == 3 and {"distance", "shares", "color"} <= set(table)
    assert name in capsys.readouterr().out
    assert main(["search", name, "--index", str(folder / "index"), "--elements", "O", "--without", "Hg,Pb"]) == 0
    printed = capsys.readouterr().out
    assert name not in printed.split() and "O" in printed


def test_search_by_pattern(folder, prototypes, capsys):
    crystal = next(c for c in prototypes if c.material_id == "AB_hP6_154_a_b")
    grid = XRDGrid(wavelength="CuKa1")
    counts = np.random.default_rng(0).poisson(50 + 4000 * measure_patterns([crystal], HARD, grid, 1)[0])
    np.savetxt(folder / "cinnabar.xy", np.stack([grid.two_theta, counts], axis=1))
    arguments = ["search", str(folder / "cinnabar.xy"), "--index", str(folder / "index"), "--wavelength", "1.54056"]
    assert main([*arguments, "--picture", str(folder / "cinnabar.png"), "--elements", "Hg,S"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("HgS") and (folder / "cinnabar.png").stat().st_size > 10_000


@pytest.mark.parametrize("query", ["Unobtainium", "nowhere.cif", "nowhere.xy"])
def test_what_is_not_there_is_a_sentence(folder, query, capsys):
    assert main(["search", query, "--index", str(folder / "index")]) == 2
    assert query in capsys.readouterr().err
    assert main(["search", "Fe", "--index", str(folder / "cifs")]) == 2
    assert "index" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["a.xrdml", "mp-1"], "without crystals"),
        (["mp-1", "a.xy"], "without crystals"),
        (["a.xy", "b.xy", "--report", "r.html"], "one pattern is handed over at a time"),
        (["a.xy", "--unlike", "zz"], "--unlike"),
        (["Fe", "--picture", "q.png"], "--picture"),
        (["Fe", "--phases", "2"], "--phases"),
        (["Fe", "--wavelength", "Foo"], "--wavelength"),
        (["Fe", "--wavelength", "1.5", "--picture", "q.png"], "--wavelength and --picture"),
    ],
)
def test_what_a_search_would_not_use_is_refused(folder, arguments, word, capsys):
    assert main(["search", *arguments, "--index", str(folder / "index")]) == 2
    printed = capsys.readouterr()
    assert word in printed.err and not printed.out


def test_the_map_of_an_index(folder, prototypes, capsys):
    names = [path.stem for path in (folder / "cifs").iterdir() if path.stem != "broken"]
    oxides = [one.material_id for one in prototypes if one.material_id in names and "O" in one.reduced_formula][:5]
    options = ["-o", str(folder / "map"), "--color", "color", "O", "--concept", "oxides=" + ",".join(oxides)]
    assert main(["map", str(folder / "index"), *options, "--title", "Sixty crystals"]) == 0
    printed = capsys.readouterr().out
    for name in ("map.html", "map_color.png", "map_O.png", "map_oxides.png"):
        assert name in printed and (folder / "map" / name).stat().st_size > 1000
    page = (folder / "map" / "map.html").read_text()
    assert "<h1>Sixty crystals</h1>" in page and 'id="part:column:oxides"' in page
    kept = EmbeddingIndex.load(folder / "index").map.positions
    assert main(["map", str(folder / "index"), "-o", str(folder / "again")]) == 0
    assert np.array_equal(EmbeddingIndex.load(folder / "index").map.positions, kept)


def test_space_groups_are_known(folder, capsys):
    """Nothing about them was in the metadata."""
    capsys.readouterr()
    assert main(["search", "NaCl", "--index", str(folder / "index"), "--space-group", "225"]) in (0, 2)
    assert "column 'space_group'" not in capsys.readouterr().err
    assert main(["map", str(folder / "index"), "-o", str(folder / "systems"), "--color", "crystal_system"]) == 0
    assert (folder / "systems" / "map_crystal_system.png").stat().st_size > 1000


@pytest.mark.parametrize("options", [["--color", "smell"], ["--concept", "oxides=a,b,nobody"]])
def test_colors_are_checked_before_the_map_is_laid_out(folder, options, tmp_path, capsys, monkeypatch):
    shutil.copytree(folder / "index", tmp_path / "index")
    (tmp_path / "index" / "map.npz").unlink(missing_ok=True)
    monkeypatch.setattr(EmbeddingIndex, "make_map", lambda *args: pytest.fail("laid out"))
    assert main(["map", str(tmp_path / "index"), "-o", str(tmp_path / "map"), *options]) == 2
    assert "smell" in (error := capsys.readouterr().err) or "not in the index" in error
    with pytest.raises(QueryError, match="'smell'"):
        EmbeddingIndex.load(tmp_path / "index").plot_map("smell")


def test_a_map_that_cannot_be(folder, capsys):
    assert main(["map", str(folder / "index"), "-o", str(folder / "no"), "--color", "smell"]) == 2
    assert "'smell'" in capsys.readouterr().err and not (folder / "no").exists()
    assert main(["map", str(folder / "nowhere")]) == 2
    assert main(["explore", str(folder / "nowhere")]) == 2
    capsys.readouterr()
    assert main(["explore", str(folder / "index"), "--host", "0.0.0.0"]) == 2
    assert "--allow-remote" in capsys.readouterr().err
