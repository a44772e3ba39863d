"""The commands that work in shards, as a user types them."""

import pandas as pd
import pytest

from deepchem_crystalssl import EmbeddingIndex
from deepchem_crystalssl.bulk import ShardedOutput
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.store import RecordStore
from deepchem_crystalssl.search import ShardedIndex, sharded_map


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bulk") / "cifs"
    folder.mkdir()
    for number, crystal in enumerate(bundled_prototypes()[:40]):
        crystal.to_structure().to(str(folder / f"{number:02d}.cif"))
    store = folder.parent / "store"
    assert main(["featurize", str(folder), "-o", str(store), "--shard", "1/1", "--shard-size", "15", "-q"]) == 0
    return store


def test_featurize(store):
    assert len(RecordStore(store)) == 40 and len(list(store.glob("*.arrow"))) == 3


def test_embed_into_a_folder(store, tmp_path, capsys):
    out = tmp_path / "vectors"
    command = [
        "embed",
        str(store),
        "-o",
        f"{out}/",
        "--model",
        "small",
        "--space",
        "shared",
        "descriptor",
        "--half",
        "-q",
    ]
    assert main([*command, "--shard", "2/2"]) == 0
    assert "share 2 of 2 is done" in capsys.readouterr().out
    assert main([*command, "--shard", "1/2"]) == 0
    assert "40 vectors in 1 shard" in capsys.readouterr().out
    assert set(ShardedOutput(out).to_frame()) == {"material_id", "formula", "shared", "descriptor"}
    again = [*command[:-1], "--model", "general", "--shard", "1/1"]
    assert main(again) == 2
    assert "begun with other choices: model was " in capsys.readouterr().err


def test_embed_refuses_what_has_no_effect(store, tmp_path, capsys):
    table = str(tmp_path / "v.csv")
    assert main(["embed", str(store), "-o", table, "--half", "--model", "small"]) == 2
    assert main(["embed", str(store), "-o", table, "--space", "shared", "pattern", "--model", "small"]) == 2
    assert main(["embed", str(store), "-o", table, "--engine", "processes", "--model", "small"]) == 2
    assert main(["embed", str(store), "-o", str(tmp_path / "v"), "--level", "site", "--model", "small"]) == 2
    assert "Name a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["embed", str(store), "-o", str(tmp_path / "v"), "--shard", "3/2"])
    assert "a share is written i/n" in capsys.readouterr().err


def test_an_index_on_disk_is_built_searched_and_mapped(store, tmp_path, capsys, monkeypatch):
    facts = tmp_path / "facts.csv"
    pd.DataFrame({"material_id": ["03", "07"], "gap": [1.5, 0.2]}).to_csv(facts, index=False)
    index = tmp_path / "index"
    command = ["index", str(store), "-o", str(index), "--model", "small", "--metadata", str(facts), "--no-patterns"]
    assert main([*command, "--shard", "1/1", "-q"]) == 0
    assert "without --shard once, to join them" in capsys.readouterr().out
    assert main([*command, "--workers", "1", "-q"]) == 0
    assert "40 crystals" in capsys.readouterr().out
    assert ShardedIndex.load(index).gallery.known([3])[0]["gap"] == 1.5
    assert main(["search", "03", "--index", str(index), "-k", "3"]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 4
    monkeypatch.setattr(sharded_map, "SAMPLE", 25)
    monkeypatch.setattr(sharded_map.sample_of, "__defaults__", (None, 25))
    assert main(["map", str(index), "-o", str(tmp_path / "map"), "-q"]) == 0
    assert "the page shows 25 of 40 crystals, chosen at random; map_density counts all 40" in capsys.readouterr().out
    assert (tmp_path / "map" / "map_density.png").stat().st_size > 10_000
    assert "25 of 40 crystals, chosen at random" in (tmp_path / "map" / "map.html").read_text()
    assert len(EmbeddingIndex.load(index / "sample")) == 25
    positions = sharded_map.place_all(index, sharded_map.sample_of(index), progress=False)
    sample = EmbeddingIndex.load(index / "sample")
    own = [name for name in sample.table["material_id"]]
    rows = [ShardedIndex.load(index).gallery.rows_named(name)[0] for name in own]
    nearest = ((positions[rows] - sample.map.positions) ** 2).sum(axis=1) ** 0.5
    assert positions.shape == (40, 2) and (nearest < 0.5).mean() > 0.5
    assert main(["index", str(store), "-o", str(tmp_path / "other"), "--engine", "processes", "--physics"]) == 2
