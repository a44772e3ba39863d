"""A folder or a file of another kind than a command needs is named, with the way out."""

import pytest

from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.store import write_records
from deepchem_crystalssl.search import build_index


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    crystals = list({crystal.material_id: crystal for crystal in bundled_prototypes()[:12]}.values())[:6]
    write_records(crystals, folder / "store", progress=False)
    build_index(crystals, folder / "index", "small", progress=False)
    for name, content in [("x.building", "building.json"), ("begun", "recipe.json")]:
        (folder / name).mkdir()
        (folder / name / content).write_text("{}")
    (folder / "table.parquet").write_bytes(b"PAR1")
    return folder


@pytest.mark.parametrize(
    "command, said",
    [
        (
            "pretrain table.parquet -o model",
            "table.parquet: a file; a store is a folder that `crystalssl featurize` has",
        ),
        ("pretrain table.parquet -o model", "Write the crystals into a store first: crystalssl featurize"),
        ("pretrain index -o model", "index: an index; a store is a folder that"),
        ("evaluate small index", "index: an index; a store is a folder that"),
        ("evaluate index store", "index: an index; a model is opened from"),
        ("featurize index -o new", "index: an index; crystals are read from files, tables, databases and stores"),
        ("search Fe --index x.building", "x.building: unfinished work; an index must be finished"),
        ("search Fe --index x", "unfinished work in {}/x.building; an index must be finished"),
        ("search Fe --index store", "store: a store; an index is a folder that `crystalssl index`"),
        ("map x.building -o map", "Run the command that began it again: it goes on where it stopped."),
        ("explore x.building --no-browser", "x.building: unfinished work; an index must be finished"),
        ("verify x.building", "x.building: unfinished work; what is verified must be finished. Run the command that"),
        ("verify begun", "begun: a training that has no checkpoint yet; what is verified must be finished. Run the"),
    ],
)
def test_what_it_is(command, said, made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    words = command.split()
    words = [words[0], *(str(made / word) if (made / word).exists() or word == "x" else word for word in words[1:])]
    assert main(words) == 2
    assert said.format(made) in capsys.readouterr().err
    assert not any((made / name).exists() for name in ("model", "new"))
