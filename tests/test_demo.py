import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepchem_crystalssl.cli import main
from deepchem_crystalssl.errors import NoCrystalsError
from deepchem_crystalssl.crystals.symmetry import crystal_system
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.demo import run_demo, well_known_neighbors


def test_demo_on_a_folder_with_a_bad_file(structures, tmp_path, capsys):
    for k, structure in enumerate(structures[:20]):
        structure.to(filename=str(tmp_path / f"c{k:02}.cif"))
    (tmp_path / "broken.cif").write_text("data_broken\nloop_\n_a\n_b\n1 2 3\n")
    out = tmp_path / "out"
    assert main(["demo", str(tmp_path), "-o", str(out), "--model", "small"]) == 0
    printed = capsys.readouterr().out
    assert "20 crystals, 1 left out" in printed and "recall@10" in printed and " is similar to " in printed
    table = pd.read_parquet(out / "embeddings.parquet")
    assert table["material_id"].tolist() == [f"c{k:02}" for k in range(20)]
    assert np.allclose(np.linalg.norm(np.stack(table["embedding"]), axis=1), 1.0, atol=1e-5)
    assert pd.read_csv(out / "skipped.csv")["error"].tolist() == ["CIFSyntaxError"]
    neighbors = pd.read_csv(out / "neighbors.csv")
    assert len(neighbors) == 200 and (neighbors["material_id"] != neighbors["neighbor_id"]).all()
    for picture in ("map.png", "pattern.png"):
        assert Image.open(out / picture).size[0] > 500
    assert json.loads((out / "metrics.json").read_text())["crystals"] == 20


def test_the_shipped_model_knows_the_prototypes(tmp_path):
    metrics = run_demo(output=tmp_path, progress=False)
    assert metrics["crystals"] == 288 and metrics["left out"] == 0
    assert metrics["recall@10"] > 0.9 > 0.1 > metrics["random recall@10"]
    assert metrics["recall@1"] > 0.7
    told = {formula: nearest for _, formula, nearest in well_known_neighbors(tmp_path, k=3)}
    assert "SiO2" in told["SiO2"]


def test_too_few_crystals(structures, tmp_path):
    with pytest.raises(NoCrystalsError, match="at least 8"):
        run_demo(structures[:3], tmp_path)


def test_command_line_says_what_is_wrong(tmp_path, capsys):
    assert main(["demo", str(tmp_path), "-o", str(tmp_path / "o")]) == 2
    assert "a folder without crystal files" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("crystalssl 0.")


def test_crystal_systems_of_the_prototypes(structures, prototypes):
    """spglib's system against the first letter of the Pearson symbol in the prototype's name."""
    letters = {"triclinic": "a", "monoclinic": "m", "orthorhombic": "o", "tetragonal": "t", "trigonal": "h",
               "hexagonal": "h", "cubic": "c"}  # fmt: skip
    agree = [letters[crystal_system(c)] == c.material_id.split("_")[1][0] for c in prototypes]
    assert sum(agree) >= 280


def test_bundled_prototypes_are_real_and_named():
    prototypes = bundled_prototypes()
    assert len(prototypes) == 288 and len({c.chemical_system for c in prototypes}) > 150
