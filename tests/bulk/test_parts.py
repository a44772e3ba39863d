"""Sources are divided into parts that hold every crystal once, whatever their size, and know when they have changed."""

import os

import numpy as np
import pandas as pd
import pytest
from pymatgen.io.cif import CifWriter

from deepchem_crystalssl.bulk.parts import divide, is_divisible

from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.reading import read_structures
from deepchem_crystalssl.crystals.store import RecordStore, write_records
from deepchem_crystalssl.errors import NoCrystalsError, StoreError


def cif_text(crystal):
    return str(CifWriter(crystal.to_structure()))


@pytest.fixture(scope="module")
def crystals():
    return list(bundled_prototypes()[:23])


def as_table(crystals):
    return pd.DataFrame(
        {
            "material_id": [c.material_id for c in crystals],
            "atomic_numbers": [c.atomic_numbers.tolist() for c in crystals],
            "frac_coords": [c.frac_coords.ravel().tolist() for c in crystals],
            "lattice": [c.lattice.ravel().tolist() for c in crystals],
        }
    )


@pytest.fixture()
def sources(tmp_path, crystals):
    """The same crystals as a store, a folder of CIF files, one Parquet table, and two of them."""
    write_records(crystals, tmp_path / "store", disorder="average")
    folder = tmp_path / "cifs"
    folder.mkdir()
    for number, crystal in enumerate(crystals):
        (folder / f"{number:02d}.cif").write_text(cif_text(crystal))
    as_table(crystals).to_parquet(tmp_path / "table.parquet", row_group_size=5)
    (tmp_path / "tables").mkdir()
    as_table(crystals[:9]).to_parquet(tmp_path / "tables" / "a.parquet", row_group_size=4)
    as_table(crystals[9:]).to_parquet(tmp_path / "tables" / "b.parquet")
    return {"store": tmp_path / "store", "cifs": folder, "table": tmp_path / "table.parquet",
            "tables": str(tmp_path / "tables" / "*.parquet")}  # fmt: skip


@pytest.mark.parametrize("kind", ["store", "cifs", "table", "tables"])
@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_every_crystal_is_in_one_part(sources, crystals, kind, size):
    parts = divide(sources[kind], size)
    found = [crystal for part in parts for crystal in read_structures(iter(part.files))]
    assert [c.formula for c in found] == [c.formula for c in crystals]
    for ours, theirs in zip(found, crystals, strict=True):
        assert np.isclose(ours.volume, theirs.volume, rtol=1e-5)
        if kind != "cifs":  # their names are those of the files
            assert ours.material_id == theirs.material_id
    if kind == "cifs":
        assert [len(part.files) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert [part.number for part in parts] == list(range(len(parts)))
    assert len({file.path for part in parts for file in part.files}) >= 1
    if size == 4:
        assert all(len(list(read_structures(iter(part.files)))) <= 4 for part in parts)


def test_what_is_new_follows_what_is_known(sources, crystals):
    before = divide(sources["cifs"], 5)
    (sources["cifs"] / "00a.cif").write_text(cif_text(crystals[0]))  # sorted among the others
    after = divide(sources["cifs"], 3, before)  # and another size
    assert after[: len(before)] == before
    assert [file.name for part in after[len(before) :] for file in part.files] == ["00a"]
    write_records([*crystals, *bundled_prototypes()[23:30]], sources["store"], disorder="average")
    known = divide(RecordStore(sources["store"]), 100)
    assert divide(sources["store"], 2, known) == known


def test_a_store_that_grew_gives_its_new_rows_alone(sources, crystals):
    before = divide(sources["store"], 6)
    write_records([*crystals, *bundled_prototypes()[23:30]], sources["store"], disorder="average")
    after = divide(sources["store"], 50, before)
    new = [crystal for part in after[len(before) :] for crystal in read_structures(iter(part.files))]
    assert [c.material_id for c in new] == [c.material_id for c in bundled_prototypes()[23:30]]


def test_another_source_and_a_shorter_one_are_refused(sources, crystals):
    before = divide(sources["cifs"], 5)
    with pytest.raises(StoreError, match="another source: it has none of"):
        divide(sources["store"], 5, before)
    os.remove(sources["cifs"] / "03.cif")
    with pytest.raises(StoreError, match="03.cif"):
        divide(sources["cifs"], 5, before)
    before = divide(sources["table"], 5)
    as_table(crystals[:11]).to_parquet(sources["table"])
    with pytest.raises(StoreError, match="fewer rows"):
        divide(sources["table"], 5, before)
    with pytest.raises(NoCrystalsError):
        divide(sources["cifs"] / "nothing", 5)


def test_a_change_of_content_is_noticed_and_a_touch_is_not(sources, crystals):
    [part, *_] = divide(sources["cifs"], 5)
    state, checksum = part.state, part.checksum
    os.utime(part.files[0].path, (1, 1))
    assert part.state != state and part.checksum == checksum
    part.files[0].path.write_text(cif_text(crystals[7]))
    assert part.checksum != checksum


def test_the_rows_of_a_table_have_checksums_of_their_own(sources, crystals):
    parts = divide(sources["table"], 5)
    sums = [part.checksum for part in parts]
    changed = as_table(crystals)
    changed.loc[22, "material_id"] = "another"
    changed.to_parquet(sources["table"], row_group_size=5)
    again = [part.checksum for part in divide(sources["table"], 5)]
    assert again[:-1] == sums[:-1] and again[-1] != sums[-1]


def test_what_can_be_divided(sources, tmp_path, crystals):
    assert all(is_divisible(source) for source in sources.values())
    assert is_divisible([sources["table"], str(sources["cifs"])])
    assert not is_divisible(crystals) and not is_divisible(as_table(crystals)) and not is_divisible(iter(crystals))
    (tmp_path / "one.csv").write_text("material_id,cif\n")
    assert not is_divisible(tmp_path / "one.csv") and not is_divisible("data_x\n_cell_length_a 3")
    assert not is_divisible("https://example.org/optimade/v1/structures")


def test_another_source_is_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.cif").write_text("data_x")
    known = divide(tmp_path / "a")
    with pytest.raises(StoreError, match="another source: it has none of 1 file") as error:
        divide(tmp_path / "b", known=known)
    assert error.value.item == str(tmp_path / "b") and str(tmp_path / "a" / "x.cif") in error.value.value
