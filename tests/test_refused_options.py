"""Options that cannot be used: one sentence with the option, its value, the rule and the remedy, before the work."""

from functools import partial

import pytest

from deepchem_crystalssl import CrystalSSLModel, CrystalStore, NEGNNModel
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import OptionError, RecipeError, UnsupportedObjectError
from deepchem_crystalssl.recipes import pretrain

TINY = ["--preset", "kong2024", "--batch-size", "8", "--validation", "0", "-q"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options") / "store"
    CrystalStore.write(list({c.material_id: c for c in bundled_prototypes()[:20]}.values())[:12], folder)
    return folder


@pytest.mark.parametrize(
    "option, value, said",
    [
        ("--epochs", "-1", "argument --epochs: '-1': must be a whole number, at least 0"),
        ("--batch-size", "1", "argument --batch-size: '1': must be a whole number, at least 2"),
        ("--learning-rate", "nan", "argument --learning-rate: 'nan': must be a number above 0"),
        ("--learning-rate", "0", "argument --learning-rate: '0': must be a number above 0"),
        ("--validation", "1", "argument --validation: '1': must be a number at least 0 and below 1"),
        ("--patience", "0", "argument --patience: '0': must be a number of at least 1"),
        ("--seed", "-1", "argument --seed: '-1': must be a whole number, from 0 to 4294967295"),
        ("--seed", "4294967296", "argument --seed: '4294967296': must be a whole number, from 0"),
        ("--device", "gpu", "device: 'gpu'; device must be one that PyTorch can compute on here (Expected one of cpu"),
        ("--device", "cuda:99", "device: 'cuda:99'; device must be one that PyTorch can compute on here ("),
        ("--preset", "banana", "preset: 'banana'; a preset is one of suzuki2022, "),
    ],
)
def test_options_of_pretrain(option, value, said, tmp_path, store, capsys):
    try:
        status = main(["pretrain", str(store), "-o", str(tmp_path / "model"), option, value])
    except SystemExit as ended:
        status = ended.code
    told = capsys.readouterr().err
    assert status == 2 and said in told and "Traceback" not in told and ".;" not in told, told
    assert not (tmp_path / "model").exists()


def test_the_same_settings_in_python_are_named_as_in_a_recipe(store, tmp_path):
    unusable = [("epochs", -1), ("seed", -1), ("learning_rate", float("nan")), ("device", "gpu")]
    for name, value in unusable:
        with pytest.raises(RecipeError, match=f"^{name}: ") as raised:
            pretrain(store, tmp_path / "model", **{name: value})
        assert raised.value.remedy and str(raised.value).count(name) >= 2
    assert not (tmp_path / "model").exists()
    builds = [partial(CrystalSSLModel, "banana"), partial(CrystalSSLModel, []), partial(CrystalSSLModel, seed=-1)]
    for build in (*builds, partial(CrystalSSLModel, device="gpu"), partial(NEGNNModel, device="gpu", pretrained=None)):
        with pytest.raises(OptionError):
            build()


@pytest.mark.parametrize("option", [["--layers", "99"], ["--space", "pattern", "--level", "site"]])
def test_options_of_embed(option, store, tmp_path, capsys):
    assert main(["embed", str(store), "-o", str(tmp_path / "v.csv"), "--model", "small", "-q", *option]) == 2
    assert f"crystalssl: {option[0][2:]}: " in capsys.readouterr().err


def test_a_model_without_an_encoder_of_patterns(store, tmp_path, capsys):
    CrystalSSLModel("kong2024", model_dir=str(tmp_path / "model"), encoder={"width": 8}).save()
    arguments = ["embed", str(store), "-o", str(tmp_path / "v.csv"), "--model", str(tmp_path / "model")]
    assert main([*arguments, "--space", "pattern", "-q"]) == 2
    assert "space: 'pattern'; no objective of this model trains an encoder" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [CrystalSSLModel, NEGNNModel])
def test_restore_on_the_class(kind):
    with pytest.raises(UnsupportedObjectError, match="restore is called on a model.* load_pretrained"):
        kind.restore("nowhere")


def test_no_epochs_and_fewer_epochs_than_before_are_said(store, tmp_path, capsys):
    command = ["pretrain", str(store), "-o", str(tmp_path / "model"), *TINY, "--epochs"]
    assert main([*command, "0"]) == 0
    assert "epochs = 0: the model is untrained, its weights are random" in capsys.readouterr().err
    assert main([*command, "3"]) == 0
    assert "trained for" not in capsys.readouterr().err
    assert main([*command, "1"]) == 0
    told = capsys.readouterr().err
    assert "trained for 6 steps before, and epochs = 1 would be 2; nothing was trained" in told
    assert main([*command, "3"]) == 0
    assert "nothing was trained" not in capsys.readouterr().err
