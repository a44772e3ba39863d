"""The command line itself: its help, its exit statuses, and what is checked before any work begins."""

import argparse
import logging

import numpy as np
import pandas as pd
import pytest

import deepchem_crystalssl
from deepchem_crystalssl import CrystalStore
from deepchem_crystalssl.cli import commands, main, options
from deepchem_crystalssl.errors import StoreError
from deepchem_crystalssl.recipes import CONDITIONS

COMMANDS = next(
    action.choices for action in options.build_parser()._actions if isinstance(action, argparse._SubParsersAction)
)


@pytest.fixture(scope="module")
def store(structures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "store"
    CrystalStore.write(structures[:12], folder)
    return folder


def test_version_help_and_no_arguments(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"crystalssl {deepchem_crystalssl.__version__}\n"
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS) and "Example" in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_and_every_option_help_with_its_default(name, capsys):
    parser = COMMANDS[name]
    example = parser.epilog.partition("crystalssl ")[2].splitlines()[0]
    options.build_parser().parse_args(example.split())  # the example is a command that can be run
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:  # an old name
            continue
        text = parser._get_formatter()._expand_help(action)
        assert len(text) > 5
        is_switch = action.nargs == 0
        assert "default" in text or is_switch or action.required, action.option_strings


def test_names_of_conditions_agree_with_those_of_recipes():
    """The command line would have to load PyTorch to ask for them."""
    assert options.CONDITIONS == tuple(CONDITIONS)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["embed", "x", "-o", "vectors.txt"], "must end in .csv or .parquet"),
        (["embed", "x", "-o", "nowhere/vectors.csv"], "there is no folder nowhere"),
        (["featurize", "x", "-o", "file/store"], "no folder can be written there, because"),
        (["featurize", "x", "-o", "n" * 300], "nnn...nnn"),
        (["check", "x", "-o", "n" * 300 + ".csv"], "Give another name"),
        (["search", "x", "--index", "i", "--picture", "p.gif"], "must end in .png or .svg or .pdf"),
        (["map", "i", "--concept", "oxides"], "NAME=ID,ID"),
        (["pretrain", "s", "-o", "m", "--conditions", "perfect"], "invalid choice"),
    ],
)
def test_options_are_checked_before_any_work(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "error, status, message",
    [
        (KeyboardInterrupt(), 130, "stopped; run the same command again to go on"),
        (OSError(28, "No space left on device", "/a/b.csv"), 1, "/a/b.csv: No space left on device. Make room"),
        (StoreError("store", "full"), 1, "store: full"),
        (deepchem_crystalssl.CrystalInputError("a.cif", "empty"), 2, "a.cif: empty"),
    ],
)
def test_exit_status(error, status, message, tmp_path, monkeypatch, capsys):
    def fail(options):
        raise error from (OSError(28, "No space left") if isinstance(error, StoreError) else None)

    monkeypatch.setattr(commands, "featurize", fail)
    assert main(["featurize", "x", "-o", str(tmp_path)]) == status
    assert message in capsys.readouterr().err


def test_the_old_name_of_an_option_warns(capsys):
    with pytest.warns(FutureWarning, match="--instrument is now --conditions"):
        parsed = options.build_parser().parse_args(["evaluate", "m", "s", "--instrument", "hard"])
    assert parsed.conditions == "hard"
    assert "--instrument" not in COMMANDS["evaluate"].format_help()


def test_vectors_of_a_store_as_csv_and_as_parquet(store, tmp_path, capsys):
    arguments = ["embed", str(store), "--model", "small", "--quiet"]
    assert main([*arguments, "-o", str(tmp_path / "v.csv")]) == 0
    assert main([*arguments, "-o", str(tmp_path / "v.parquet")]) == 0
    assert capsys.readouterr().out.startswith("12 vectors in ")
    csv, parquet = pd.read_csv(tmp_path / "v.csv"), pd.read_parquet(tmp_path / "v.parquet")
    assert np.allclose(csv.filter(like="embedding_"), np.stack(parquet["embedding"]))


def test_a_source_without_crystals_is_an_error(tmp_path, capsys, caplog):
    (tmp_path / "crystals.pkl").write_bytes(b"pickled")
    (tmp_path / "empty").mkdir()
    for source in ("crystals.pkl", "empty", "missing.cif"):
        for command, output in (("embed", "v.csv"), ("index", "index"), ("featurize", "store")):
            arguments = [command, str(tmp_path / source), "-o", str(tmp_path / f"{source}-{output}")]
            assert main(arguments + ["--model", "small"] * (command != "featurize")) == 2
            assert source in capsys.readouterr().err and source not in caplog.text  # said once
    assert not list(tmp_path.glob("*.csv"))


def test_an_index_of_a_store(store, tmp_path, capsys):
    assert main(["index", str(store), "-o", str(tmp_path / "index"), "--model", "small", "--no-patterns"]) == 0
    assert capsys.readouterr().out.startswith("12 crystals in ")


def test_a_store_is_no_index(store, capsys):
    assert main(["map", str(store)]) == 2
    assert "crystalssl index" in capsys.readouterr().err


def test_featurize_again_adds_new_files_and_refuses_another_folder(structures, tmp_path, capsys, caplog):
    for folder, k in (("one", 0), ("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir(exist_ok=True)
        structures[k].to(filename=str(tmp_path / folder / f"c{k}.cif"))
    store = str(tmp_path / "store")
    assert main(["featurize", str(tmp_path / "one"), "-o", store]) == 0
    structures[3].to(filename=str(tmp_path / "one" / "c3.cif"))
    assert main(["featurize", str(tmp_path / "one"), "-o", store]) == 0
    assert "3 crystals in " in capsys.readouterr().out and "1 new file is added to 2 crystals" in caplog.text
    assert main(["featurize", str(tmp_path / "two"), "-o", store]) == 2
    assert "write another folder" in capsys.readouterr().err
    assert main(["featurize", str(tmp_path / "one"), "-o", store, "--disorder", "average"]) == 2
    assert "one store has one policy" in capsys.readouterr().err


def test_a_training_without_a_terminal_is_followed_on_stderr(store, tmp_path, capsys):
    again = ["pretrain", str(store), "-o", str(tmp_path / "model"), "--preset", "kong2024", "--batch-size", "4"]
    assert main([*again, "--epochs", "1", "--validation", "0"]) == 0
    said = capsys.readouterr()
    assert "starting at step 0" in said.err and "training: step 1 of 3, masked_sites" in said.err
    assert "training: step" not in said.out
    assert main([*again, "--epochs", "2", "--validation", "0"]) == 0
    assert capsys.readouterr().err.count("resumed at step 3 of 6\n") == 1
    assert main([*again, "--epochs", "3", "--validation", "0", "--quiet"]) == 0
    assert "step" not in capsys.readouterr().err
    package = logging.getLogger("deepchem_crystalssl")
    assert not package.handlers and package.level == logging.NOTSET  # as it was before
