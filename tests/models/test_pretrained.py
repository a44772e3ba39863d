"""Models as folders: what comes back, what is refused, and nothing that could run."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import deepchem_crystalssl as dcs
from deepchem_crystalssl import CrystalSSLModel, list_pretrained, load_pretrained, save_pretrained
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.errors import CheckpointError
from deepchem_crystalssl.diffraction.conditions import REALISTIC

SMALL = dict(encoder=dict(width=16, hidden=64), xrd_encoder=dict(channels=8, hidden=64), batch_size=16)


@pytest.fixture(scope="module")
def model(graphs):
    import deepchem as dc

    X = np.empty(48, object)
    X[:] = graphs[:48]
    model = CrystalSSLModel("joint", conditions=REALISTIC, **SMALL)
    model.fit(dc.data.NumpyDataset(X), nb_epoch=3)
    return model


@pytest.fixture
def folder(model, tmp_path):
    return save_pretrained(model, tmp_path / "mine", {"licence": "CC-BY-4.0", "description": "größer"})


def edit(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    card.pop("checksum")
    (folder / "card.json").write_text(json.dumps({**card, **changes}))


def test_what_is_saved_comes_back(model, graphs, tmp_path):
    exact = load_pretrained(save_pretrained(model, tmp_path / "exact", half=False))
    half = load_pretrained(save_pretrained(model, tmp_path / "half"))
    patterns = dcs.simulate_xrd(graphs[:20], model.xrd_grid, progress=False)
    for embed in (lambda m: m.embed(graphs[:60]), lambda m: m.embed_xrd(patterns)):
        assert np.array_equal(embed(exact), embed(model))
        assert np.abs(embed(half) - embed(model)).max() < 1e-3
    assert half.config == model.config and half.xrd_grid == model.xrd_grid
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "exact")]
    assert sizes[0] < 0.6 * sizes[1]


def test_the_card_travels_along(folder):
    assert load_pretrained(folder).card == {"licence": "CC-BY-4.0", "description": "größer"}


def test_a_loaded_model_trains_on(folder, graphs):
    import deepchem as dc

    X = np.empty(16, object)
    X[:] = graphs[:16]
    loaded = load_pretrained(str(folder), batch_size=8, learning_rate=1e-3)
    before = loaded.embed(graphs[:4])
    assert np.isfinite(loaded.fit(dc.data.NumpyDataset(X), nb_epoch=1)) and not np.allclose(
        loaded.embed(graphs[:4]), before
    )


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "the card says"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "card.json").unlink(), "no card"),
        (lambda folder: (folder / "card.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "card.json").write_text("[]"), "no table of names"),
        (lambda folder: edit(folder, format=99), "Update the package"),
        (lambda folder: edit(folder, config={"objectives": []}), "cannot read"),
    ],
    ids=["changed", "gone", "no card", "torn", "list", "newer", "config"],
)
def test_spoilt_folders_are_refused(folder, spoil, message):
    spoil(folder)
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(folder)


def test_a_flipped_bit_is_noticed(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="sha256"):
        load_pretrained(folder)


def test_weights_of_another_shape_are_refused(folder):
    config = json.loads((folder / "card.json").read_text())["config"]
    edit(folder, config={**config, "encoder": {**config["encoder"], "width": 24}})
    with pytest.raises(CheckpointError, match="another crystal_encoder"):
        load_pretrained(folder)


@pytest.mark.parametrize("name", ["nobody", "../pretrained", "/nowhere/at/all", "."])
def test_unknown_names(name):
    with pytest.raises(CheckpointError):
        load_pretrained(name)


def test_pickles_are_not_opened(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            import os

            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"crystal_encoder": Evil()}, folder / "model.safetensors")
    from deepchem_crystalssl.models.folders import sha256

    edit(folder, sha256=sha256(folder / "model.safetensors"))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_pretrained(folder)
    assert not (tmp_path / "ran").exists()


def test_shipped_models_are_listed_and_load():
    table = list_pretrained()
    assert table["megabytes"].sum() < 40
    for name in table["name"]:
        assert load_pretrained(name).card["licence"]


def test_a_folder_loads_in_a_new_process(folder):
    code = (
        "import deepchem_crystalssl as dcs\n"
        "from deepchem_crystalssl.crystals.prototypes import bundled_prototypes\n"
        f"model = dcs.load_pretrained({str(folder)!r})\n"
        "print(model.embed(bundled_prototypes()[:3]).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(3, 128)", done.stderr[-800:]


@pytest.mark.once
def test_embed_from_the_command_line(folder, structures, tmp_path, capsys):
    for k, structure in enumerate(structures[:3]):
        structure.to(str(tmp_path / f"crystal{k}.cif"))
    (tmp_path / "broken.cif").write_text("data_x\n_cell_length_a 3\n")
    out = tmp_path / "out.parquet"
    assert main(["embed", str(tmp_path / "*.cif"), "-o", str(out), "--model", str(folder)]) == 0
    table = pd.read_parquet(out)
    assert table["material_id"].tolist() == ["crystal0", "crystal1", "crystal2"]
    assert "3 vectors" in (said := capsys.readouterr().out) and "1 item left out" in said
    again = load_pretrained(folder).embed(structures[:3])
    assert np.allclose(np.stack(table["embedding"]), again, atol=1e-3)  # CIF rounds positions
    options = ["--model", str(folder), "--level", "site", "--layers", "0", "1"]
    assert main(["embed", str(tmp_path / "crystal0.cif"), "-o", str(out), *options]) == 0
    sites = pd.read_parquet(out)
    assert len(sites) == len(structures[0]) and len(sites["embedding"][0]) == 32
    assert sites["element"].tolist() == [site.specie.symbol for site in pd.Series(list(structures[0]))]


def test_models_from_the_command_line(tmp_path, capsys):
    assert main(["models"]) == 0
    assert main(["embed", str(tmp_path), "-o", str(tmp_path / "x.parquet"), "--model", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err


def test_what_lies_at_the_path_is_not_replaced_without_a_word(model, tmp_path):
    (tmp_path / "a.pkl").write_text("something else")
    with pytest.raises(CheckpointError, match="a file; a model is saved in a folder"):
        save_pretrained(model, tmp_path / "a.pkl")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        save_pretrained(model, tmp_path / "mine")
    with pytest.warns(UserWarning, match="mine: the model that was saved there is replaced"):
        save_pretrained(model, tmp_path / "mine")
