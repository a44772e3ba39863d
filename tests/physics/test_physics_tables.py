"""Tables of the numbers of physics: what they hold, and that they are made in parts."""

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.errors import NoCrystalsError, StoreError
from deepchem_crystalssl.physics import column_names, site_physics
from deepchem_crystalssl.recipes import physics, physics_table

HEAVY = Structure(Lattice.cubic(3), ["Rf"], [[0, 0, 0]])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_holds_the_numbers_in_order_and_says_what_is_missing(structures, tmp_path, suffix):
    path = tmp_path / f"numbers{suffix}"
    source = [*structures[:3], HEAVY, None, *structures[3:5]]
    assert physics_table(source, path, progress=False) == 5
    table = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    assert table.columns.tolist() == ["material_id", "formula", *column_names()]
    assert table["formula"].tolist() == [s.composition.reduced_formula for s in structures[:5]]
    expected = dcs.model_physics(structures[:5], progress=False)
    assert np.allclose(table[column_names()].to_numpy(), expected, rtol=1e-5, atol=1e-5)
    skipped = pd.read_csv(f"{path}.skipped.csv")
    assert sorted(skipped["index"]) == [3, 4] and skipped["value"].str.contains("Rf").any()
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, f"{path.name}.skipped.csv"]


def test_a_table_of_sites(structures, tmp_path):
    path = tmp_path / "sites.parquet"
    n_sites = [len(s) for s in structures[:3]]
    assert physics_table(structures[:3], path, ["electrons"], level="site", progress=False) == sum(n_sites)
    table = pd.read_parquet(path)
    assert table["site"].tolist() == [k for n in n_sites for k in range(n)]
    assert table["element"].tolist() == [site.specie.symbol for s in structures[:3] for site in s]
    expected = site_physics(structures[:3], ["electrons"], progress=False)
    assert np.array_equal(table[column_names(["electrons"], "site")].to_numpy(), expected)


def test_a_table_goes_on_where_it_stopped(structures, tmp_path, monkeypatch):
    monkeypatch.setattr(physics, "_CRYSTALS_AT_ONCE", 2)
    path, source, computed = tmp_path / "numbers.parquet", [*structures[:3], HEAVY, *structures[3:6]], []
    whole = physics._numbers_of

    def killed(chunk, *choices):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append([crystal.material_id for _, crystal in chunk])
        return whole(chunk, *choices)

    monkeypatch.setattr(physics, "_numbers_of", killed)
    with pytest.raises(KeyboardInterrupt):
        physics_table(source, path, progress=False)
    assert not path.exists() and (tmp_path / "numbers.parquet.building").is_dir()
    with pytest.raises(StoreError, match="begun with other choices: models"):
        physics_table(source, path, ["springs"], progress=False)
    monkeypatch.setattr(
        physics, "_numbers_of", lambda *arguments: computed.append(len(arguments[0])) or whole(*arguments)
    )
    assert physics_table(source, path, progress=False) == 6
    assert computed[2:] == [2, 1]  # the two parts that were there are not computed again
    assert np.allclose(pd.read_parquet(path)[column_names()], dcs.model_physics(structures[:6], progress=False))
    assert pd.read_csv(f"{path}.skipped.csv")["index"].tolist() == [3]
    assert not (tmp_path / "numbers.parquet.building").exists()


def test_nothing_with_numbers_is_an_error_that_leaves_nothing(tmp_path):
    with pytest.raises(NoCrystalsError, match="no crystal has numbers"):
        physics_table([HEAVY], tmp_path / "numbers.csv", progress=False)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_one(structures, tmp_path, capsys):
    for k, structure in enumerate(structures[:3]):
        structure.to(filename=str(tmp_path / f"s{k}.cif"))
    output = tmp_path / "out.csv"
    assert main(["physics", str(tmp_path), "-o", str(output), "--models", "springs", "-q"]) == 0
    assert "3 rows" in capsys.readouterr().out
    table = pd.read_csv(output)
    assert table["material_id"].tolist() == ["s0", "s1", "s2"] and table.shape[1] == 2 + len(column_names(["springs"]))
