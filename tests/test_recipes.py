import shutil

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import CrystalSSLModel, CrystalStore, load_pretrained
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.errors import CheckpointError, CrystalInputError, RecipeError, StoreError
from deepchem_crystalssl.recipes import (
    CONDITIONS,
    embed_table,
    evaluate,
    pretrain,
    read_recipe,
    write_vectors,
    xrd_retrieval,
)

TOML = """
preset = "joint"
epochs = 2
batch_size = 16
validation = 0.25
[encoder]
width = 16
[xrd_encoder]
channels = 4
[grid]
n_bins = 1000
fwhm = 0.5
[conditions]
strain = 0.01
fwhm = [0.2, 0.4]
"""
KONG = """
preset = "kong2024"
epochs = 1
batch_size = 16
encoder = {width = 8, n_layers = 1}
"""


@pytest.fixture(scope="module")
def store(structures, tmp_path_factory):
    return CrystalStore.write(structures[:64], tmp_path_factory.mktemp("store"))


def test_command_line_from_recipe_to_table(store, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TOML)
    folder = tmp_path / "model"
    assert main(["pretrain", str(store.path), "-o", str(folder), "--recipe", str(recipe), "--epochs", "3"]) == 0
    assert "recall@1" in capsys.readouterr().out
    model = CrystalSSLModel.from_folder(folder)
    assert model.conditions.fwhm == (0.2, 0.4) and model.xrd_grid.n_bins == 1000
    steps = model.get_global_step()
    assert main(["pretrain", str(store.path), "-o", str(folder), "--recipe", str(recipe), "--epochs", "3"]) == 0
    assert CrystalSSLModel.from_folder(folder).get_global_step() == steps  # done already: nothing is done again
    labels = pd.DataFrame({"material_id": store.ids, "volume": [g.volume / g.num_nodes for g in store.X]})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    capsys.readouterr()
    options = ["--labels", str(tmp_path / "labels.csv"), "-o", str(tmp_path / "table.csv"), "--conditions", "realistic"]
    assert main(["evaluate", str(folder), str(store.path), *options]) == 0
    assert "volume, linear (MAE)" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "table.csv", index_col="measure")
    assert {"model", "low", "high", "random encoder", "shuffled pairs", "constant"} == set(table)
    assert table.loc["volume, linear (MAE)", "model"] < table.loc["volume, linear (MAE)", "constant"]


def test_without_validation(store, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(KONG)
    model, numbers = pretrain(store, tmp_path / "model", **{**read_recipe(recipe), "validation": 0})
    assert numbers == {} and model.encoder_arguments["width"] == 8


def test_the_old_name_of_a_setting_warns(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('instrument = "hard"')
    with pytest.warns(FutureWarning, match="instrument is now conditions"):
        assert read_recipe(recipe) == {"conditions": "hard"}


def test_validation_keeps_chemical_systems_apart(store, tmp_path):
    from deepchem_crystalssl.recipes.training import _split

    train, unseen = _split(store, 0.3, 0)
    assert not set(train.groups) & set(unseen.groups) and len(train) + len(unseen) == len(store)


@pytest.mark.once
def test_controls_know_nothing(store, tmp_path):
    model = CrystalSSLModel("joint", encoder=dict(width=16), xrd_encoder=dict(channels=8), batch_size=32)
    model.fit(store, nb_epoch=40)
    table = evaluate(model, store)
    recall = table.loc["xrd to crystal recall@1"]
    assert recall["model"] > 0.5 > 0.15 > max(recall["random encoder"], recall["shuffled pairs"])
    assert recall["low"] < recall["model"] <= recall["high"]
    assert np.isfinite(evaluate(CrystalSSLModel("kong2024"), store)["model"]).all()
    found = xrd_retrieval(model, list(store.X)).set_index(["pattern", "index"])
    assert len(found) == 6 and (found["low"] <= found["recall@1"]).all() and (found["recall@1"] <= found["high"]).all()
    assert (
        found.loc[("clean", "crystal"), "recall@1"] > 0.5
        and found.loc[("clean", "simulated pattern"), "recall@1"] > 0.9
    )
    blind = xrd_retrieval(model.untrained(), list(store.X)).set_index(["pattern", "index"])
    assert blind.loc[("R1", "crystal"), "recall@10"] < found.loc[("R1", "crystal"), "recall@10"]


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.toml", "epochs = ", "Invalid"),
        ("a.toml", "epoch = 3", "no setting is called 'epoch'"),
        ("a.yaml", "epochs: 3", "a recipe is a .toml file"),
    ],
)
def test_bad_recipes(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_recipe(tmp_path / name)
    with pytest.raises(RecipeError):
        read_recipe(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "clip"},
        {"validation": 1.5},
        {"conditions": "perfect"},
        {"encoder": {"depth": 3}},
        {"speed": 1},
        {"grid": {"bins": 2}},
    ],
)
def test_bad_settings(store, tmp_path, settings):
    with pytest.raises(RecipeError):
        pretrain(store, tmp_path, **settings)


def test_bad_folders(store, tmp_path, capsys):
    with pytest.raises(StoreError):
        pretrain(tmp_path, tmp_path / "model")
    with pytest.raises(CheckpointError):
        evaluate(tmp_path, store)
    assert main(["evaluate", str(tmp_path), str(store.path)]) == 2
    assert "no card" in capsys.readouterr().err


SMALL = dict(encoder=dict(width=8), xrd_encoder=dict(channels=4), epochs=1, batch_size=32)


@pytest.mark.filterwarnings("ignore:xrd_encoder and")
def test_a_training_goes_on_with_its_store_and_its_recipe_only(store, structures, tmp_path):
    model, _ = pretrain(store, tmp_path / "model", **SMALL)
    steps = model.get_global_step()
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").glob("*.json")}
    other = CrystalStore.write(structures[:32], tmp_path / "other")
    for changed in ({"preset": "kong2024"}, {"learning_rate": 0.01}, {"conditions": "hard"}, {"validation": 0.2}):
        with pytest.raises(CheckpointError, match=f"trained with {next(iter(changed))} = .* Train in another folder"):
            pretrain(store, tmp_path / "model", **{**SMALL, **changed})
    with pytest.raises(CheckpointError, match="trained with a store of .* crystals, and now the store has 32 crystals"):
        pretrain(other, tmp_path / "model", **SMALL)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "model").glob("*.json")}
    shutil.copytree(store.path, tmp_path / "copy")
    model, _ = pretrain(tmp_path / "copy", tmp_path / "model", **{**SMALL, "epochs": 2, "patience": 5})
    assert model.get_global_step() == 2 * steps  # the same crystals in another folder, and more epochs, are welcome


def test_vectors_of_a_store_and_of_no_crystals(store, tmp_path):
    table, report = embed_table(store.path, "small")
    assert table["material_id"].tolist() == list(store.ids) and not report
    write_vectors(table, tmp_path / "v.csv")
    written = pd.read_csv(tmp_path / "v.csv")
    assert list(written)[:4] == ["material_id", "formula", "embedding_0", "embedding_1"]
    assert np.allclose(written.iloc[:, 2:], np.stack(table["embedding"]))
    write_vectors(table, tmp_path / "v.parquet")
    assert np.array_equal(np.stack(pd.read_parquet(tmp_path / "v.parquet")["embedding"]), np.stack(table["embedding"]))
    (tmp_path / "crystals.pkl").write_bytes(b"")
    with pytest.raises(CrystalInputError, match="crystals.pkl"):
        embed_table(tmp_path / "crystals.pkl", "small")


def test_old_names_of_arguments_warn(store):
    model, crystals = load_pretrained("small"), list(store.X)[:8]
    with pytest.warns(FutureWarning, match="instruments=.* is now called conditions="):
        found = xrd_retrieval(model, crystals, instruments={"clean": CONDITIONS["clean"]})
    assert set(found["pattern"]) == {"clean"}
    with pytest.warns(FutureWarning, match="instrument=.* is now called conditions="), pytest.raises(RecipeError):
        evaluate(model, store, instrument="perfect")


def test_labels_are_matched_by_id_and_text_columns_are_left_out(store):
    labels = pd.DataFrame({"id": store.ids, "volume": [g.volume / g.num_nodes for g in store.X], "colour": "red"})
    table = evaluate("small", store, labels=labels.sample(frac=1, random_state=0))
    assert table.loc["volume, linear (MAE)", "model"] < table.loc["volume, linear (MAE)", "constant"]
    assert not [name for name in table.index if "colour" in name]


@pytest.mark.parametrize(
    "number, validation, message",
    [
        (9, 0.05, "validation part: 1 of the 9"),
        (3, 0.5, "training part: 1 of the 3"),
        (1, 0, "training part: 1 of the 1"),
    ],
)
def test_a_part_that_is_too_small_is_named(structures, tmp_path, capsys, number, validation, message):
    CrystalStore.write(structures[:number], tmp_path / "store")
    arguments = ["pretrain", str(tmp_path / "store"), "-o", str(tmp_path / "model"), "--batch-size", "4"]
    assert main([*arguments, "--validation", str(validation)]) == 2
    said = capsys.readouterr().err
    assert message in said and "Train on more crystals" in said
    assert not (tmp_path / "model" / "recipe.json").exists()
