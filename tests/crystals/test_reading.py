import json

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.spacegroup import crystal as ase_crystal
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from deepchem_crystalssl import Crystal, read_structures
from deepchem_crystalssl.crystals.formats.convert import to_crystal
from deepchem_crystalssl.crystals.disorder import resolve_disorder
from deepchem_crystalssl.errors import (
    CrystalInputError,
    DisorderError,
    EmptyFileError,
    EmptyStructureError,
    LatticeError,
    NoCrystalsError,
    OccupancyError,
    Report,
    UnknownElementError,
    UnsupportedFileError,
    UnsupportedObjectError,
)


@pytest.fixture
def structure(structures):
    return structures[0]


def read(source, **options):
    return list(read_structures(source, **options))


def assert_same(crystal, structure):
    assert crystal.atomic_numbers.tolist() == list(structure.atomic_numbers)
    delta = crystal.frac_coords - structure.frac_coords
    assert np.allclose(delta, np.round(delta), atol=1e-6)
    assert np.allclose(crystal.lattice, structure.lattice.matrix, atol=1e-6)


def test_objects(structure):
    atoms = structure.to_ase_atoms()
    for entry in (structure, structure.as_dict(), atoms, to_crystal(structure)):
        (crystal,) = read(entry)
        assert_same(crystal, structure)
        assert_same(read([entry, entry])[1], structure)


def test_generator_and_nested_sources(structure, tmp_path):
    Poscar(structure).write_file(tmp_path / "POSCAR")
    assert len(read(x for x in (structure, tmp_path, str(tmp_path / "POSCAR")))) == 3


def test_files(structure, tmp_path):
    text = structure.to(fmt="json")
    (tmp_path / "one.json").write_text(text)
    (tmp_path / "list.json").write_text(json.dumps([structure.as_dict()] * 2))
    (tmp_path / "lines.jsonl").write_text(text + "\n" + text + "\n")
    Poscar(structure).write_file(tmp_path / "x.vasp")
    Poscar(structure).write_file(tmp_path / "CONTCAR_relaxed")
    (tmp_path / "notes.txt").write_text("not a crystal")
    crystals = read(tmp_path)
    assert len(crystals) == 7
    for crystal in crystals:
        assert sorted(crystal.atomic_numbers) == sorted(structure.atomic_numbers)
    assert len(read(str(tmp_path / "*.json"))) == 3
    assert [c.material_id for c in read(tmp_path / "list.json")] == ["list 0", "list 1"]


def test_a_suffix_counts_more_than_the_name_poscar(structure, tmp_path):
    for name in ("POSCAR.cif", "POSCAR_alpha.cif", "CONTCAR.json", "POSCAR.vasp", "CONTCAR.relaxed"):
        fmt = {"cif": "cif", "json": "json"}.get(name.split(".")[1], "poscar")
        (tmp_path / name).write_text(structure.to(fmt=fmt))
    names = [crystal.material_id for crystal in read_structures(tmp_path)]
    assert names == ["CONTCAR", "CONTCAR.relaxed", "POSCAR", "POSCAR.vasp", "POSCAR_alpha"]


def test_text(structure):
    for text in (str(CifWriter(structure)), Poscar(structure).get_str(), structure.to(fmt="json") + "\n"):
        assert read(text)[0].num_nodes == len(structure)


@pytest.mark.parametrize(
    "column, convert",
    [
        ("structure", lambda s: s),
        ("structure", lambda s: s.as_dict()),
        ("structure", lambda s: s.to(fmt="json")),
        ("cif", lambda s: str(CifWriter(s))),
        ("poscar", lambda s: Poscar(s).get_str()),
        ("mine", lambda s: s.as_dict()),
    ],
)
def test_tables(structures, tmp_path, column, convert):
    frame = pd.DataFrame({column: [convert(s) for s in structures[:3]], "material_id": ["mp-1", "mp-2", "mp-3"]})
    options = dict(structure_column="mine") if column == "mine" else {}
    crystals = read(frame, **options)
    assert [c.material_id for c in crystals] == ["mp-1", "mp-2", "mp-3"]
    if isinstance(frame[column][0], str):
        frame.to_csv(tmp_path / "t.csv", index=False)
        frame.to_parquet(tmp_path / "t.parquet")
        for name in ("t.csv", "t.parquet"):
            assert [c.formula for c in read(tmp_path / name)] == [c.formula for c in crystals]


def test_record_columns(structures, tmp_path):
    chosen = structures[:4]
    frame = pd.DataFrame(
        {
            "atomic_numbers": [list(s.atomic_numbers) for s in chosen],
            "frac_coords": [s.frac_coords.ravel().tolist() for s in chosen],
            "cell": [list(s.lattice.parameters) for s in chosen],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    for source in (frame, tmp_path / "t.parquet"):
        for crystal, structure in zip(read(source), chosen, strict=True):
            assert np.allclose(crystal.volume, structure.volume)
    frame["lattice"] = [s.lattice.matrix.tolist() for s in chosen]
    frame["frac_coords"] = [s.frac_coords.tolist() for s in chosen]
    for crystal, structure in zip(read(frame), chosen, strict=True):
        assert_same(crystal, structure)
    frame.at[1, "frac_coords"] = [0.0, 0.5]
    report = Report()
    assert len(read(frame, on_error="skip", report=report)) == 3 and len(report) == 1


def test_disordered_structures_keep_their_occupancies():
    alloy = Structure(Lattice.cubic(4), [{"Fe2+": 0.3, "Fe3+": 0.3, "Co": 0.2}], [[0, 0, 0]])
    for entry in (alloy, alloy.as_dict()):
        (crystal,) = read(entry)
        assert crystal.formula == "Fe0.6Co0.2"
        with pytest.raises(DisorderError, match="0.6 Fe"):
            read(entry, disorder="refuse")
        assert read(entry, disorder="dominant")[0].formula == "Fe1"


def test_dominant_drops_sites_that_are_mostly_empty():
    crystal = to_crystal(Structure(Lattice.cubic(4), [{"Li": 0.4}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert resolve_disorder(crystal, "dominant").formula == "O1"
    empty = to_crystal(Structure(Lattice.cubic(4), [{"Li": 0.4}], [[0, 0, 0]]))
    with pytest.raises(EmptyStructureError):
        resolve_disorder(empty, "dominant")


def ase_alloy(keys=int):
    atoms = ase_crystal(
        ["Fe", "Co", "O"],
        [(0, 0, 0), (0, 0, 0), (0.5, 0.5, 0.5)],
        occupancies=[0.6, 0.3, 0.5],
        spacegroup=221,
        cellpar=[4, 4, 4, 90, 90, 90],
        onduplicates="keep",
    )
    atoms.info["occupancy"] = {keys(kind): parts for kind, parts in atoms.info["occupancy"].items()}
    return atoms


@pytest.mark.parametrize("keys", [int, str])
def test_occupancies_of_ase_are_kept(keys):
    atoms = ase_alloy(keys)
    assert to_crystal(atoms).formula == "O0.5Fe0.6Co0.3" and to_crystal(atoms * (2, 1, 1)).formula == "O1Fe1.2Co0.6"
    tagged = Atoms("FeO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4, 4, 4], pbc=True, tags=[1, 2])
    tagged.info["occupancy"] = {keys(1): {"Fe": 0.5, "Co": 0.5}, keys(2): {"O": 1.0}}
    assert to_crystal(tagged).formula == "O1Fe0.5Co0.5"


def test_ase_occupancies_of_other_atoms_are_refused():
    replaced = ase_alloy()
    replaced.symbols[:] = "NiO"
    untagged = Atoms("FeO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4, 4, 4], pbc=True)
    untagged.info["occupancy"] = {0: {"Fe": 0.5, "Co": 0.5}, 1: {"O": 1.0}}
    unknown = ase_alloy()
    unknown.info["occupancy"] = {"Fe": {"Fe": 0.5}}
    for atoms in (replaced, untagged, unknown):
        with pytest.raises(OccupancyError, match="belong to the atoms"):
            to_crystal(atoms)


def test_a_poscar_with_two_elements_in_one_name_is_refused(structure):
    text = Poscar(structure).get_str()
    first = text.splitlines()[5].split()[0]
    hashed = text.replace(first, f"{first}_pv/f474ac0d", 2)
    assert read(hashed)[0].num_nodes == len(structure)
    with pytest.raises(UnknownElementError, match="one element"):
        read(text.replace(text.splitlines()[5], text.splitlines()[5].replace(first, f"{first}/Co")))


def test_oxidation_states_and_isotopes():
    structure = Structure(Lattice.cubic(4), ["Na+", "D-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert to_crystal(structure).atomic_numbers.tolist() == [11, 1]


def test_material_id_of_the_object_is_used(structure):
    structure = structure.copy()
    structure.properties["material_id"] = "mp-5"
    assert read([structure])[0].material_id == read(structure.as_dict())[0].material_id == "mp-5"


@pytest.mark.parametrize(
    "error, entry",
    [
        (UnsupportedObjectError, None),
        (UnsupportedObjectError, 3.5),
        (UnsupportedObjectError, b"bytes"),
        (UnsupportedObjectError, {"a": 1}),
        (UnsupportedObjectError, {"lattice": {"matrix": np.eye(3)}, "sites": [{}]}),
        (LatticeError, {"lattice": {"a": 3}, "sites": [1]}),
        (EmptyStructureError, {"lattice": np.eye(3), "sites": []}),
        (LatticeError, {"lattice": "cubic", "sites": [{"species": [{"element": "C"}], "abc": [0, 0, 0]}]}),
        (LatticeError, Atoms("Si")),
        (LatticeError, Atoms("Si", cell=[5, 5, 5])),
        (LatticeError, Atoms("Si", cell=np.zeros((3, 3)), pbc=True)),
        (NoCrystalsError, "/no/such/file.cif"),
        (EmptyFileError, "\n"),
        (UnsupportedFileError, "{broken\n"),
        (UnsupportedFileError, "no poscar\nat all\n"),
        (NoCrystalsError, "[]\n"),
    ],
)
def test_bad_entries_have_typed_errors(error, entry, structure):
    with pytest.raises(error):
        read([entry])
    reader = read_structures([structure, entry, structure], on_error="skip")
    assert len(list(reader)) == 2
    assert [type(e) for e in reader.report] == [error] and reader.report[0].index == 1


@pytest.mark.parametrize(
    "name, content, error",
    [
        ("a.cif", "", EmptyFileError),
        ("a.json", "   ", EmptyFileError),
        ("a.csv", "", EmptyFileError),
        ("a.parquet", "", EmptyFileError),
        ("a.parquet", "not parquet", UnsupportedFileError),
        ("a.txt", "text", UnsupportedFileError),
        ("a.xyz", "text", UnsupportedFileError),
        ("a.csv", "x,y\n1,2\n", NoCrystalsError),
        ("a.json", "{oops", UnsupportedFileError),
        ("a.cif.gz", "not gzip", UnsupportedFileError),
        ("POSCAR", "nonsense\n", UnsupportedFileError),
        ("a.json", "3", NoCrystalsError),
    ],
)
def test_bad_files_have_typed_errors(tmp_path, name, content, error):
    (tmp_path / name).write_text(content)
    with pytest.raises(error):
        read(tmp_path / name)


def test_poscar_without_element_names(structure, tmp_path):
    """VASP 4 files do not say the elements; pymatgen would make them up."""
    lines = Poscar(structure).get_str().split("\n")
    lines[0] = "no names here"
    del lines[5]
    lines = [" ".join(line.split()[:3]) if k > 6 else line for k, line in enumerate(lines)]
    (tmp_path / "POSCAR").write_text("\n".join(lines))
    with pytest.raises(UnknownElementError, match="without element names"):
        read(tmp_path / "POSCAR")


def test_sources_without_crystals_raise_whatever_the_policy(tmp_path):
    for source in (tmp_path, tmp_path / "missing", str(tmp_path / "*.cif")):
        with pytest.raises(NoCrystalsError):
            read(source, on_error="skip")


def test_reading_is_lazy(structure):
    def entries():
        yield structure
        raise AssertionError("read ahead")

    assert isinstance(next(iter(read_structures(entries()))), Crystal)


def test_json_names_no_class_that_is_run(structure):
    """A dict from a stranger may name any class; none is imported."""
    entry = structure.as_dict()
    entry["@module"], entry["@class"] = "subprocess", "Popen"
    entry["properties"] = {"@module": "os", "@class": "system", "args": ["echo"]}
    assert read([entry])[0].num_nodes == len(structure)


def test_warn_policy_names_the_item(structure):
    with pytest.warns(UserWarning, match="structure 1"):
        assert len(read([structure, None], on_error="warn")) == 1


def test_unknown_policies(structure):
    with pytest.raises(ValueError, match="on_error"):
        read([None], on_error="ignore")
    with pytest.raises(ValueError, match="disorder"):
        read([structure], disorder="guess")


def test_every_error_is_a_value_error():
    assert issubclass(CrystalInputError, ValueError)


def test_a_column_of_path_objects(structure, tmp_path):
    structure.to(filename=str(tmp_path / "a.cif"))
    frame = pd.DataFrame({"structure": [tmp_path / "a.cif", tmp_path / "a.txt"]})
    reader = read_structures(frame, "skip")
    (crystal,) = reader
    assert np.isclose(crystal.volume, structure.volume) and crystal.num_nodes == len(structure)
    assert [error.index for error in reader.report] == [1] and "suffix '.txt'" in reader.report[0].value


def test_a_poscar_that_ends_early(structure):
    lines = Poscar(structure).get_str().splitlines()
    for text in ("\n".join(lines[:3]), "\n".join(lines[:-1])):
        with pytest.raises(UnsupportedFileError, match="the text ends early") as error:
            read(text + "\n")
        assert "Convert" not in str(error.value) and "index" not in str(error.value)
    with pytest.raises(UnsupportedFileError, match="cannot be parsed") as error:
        read("\n".join([*lines[:2], "1 0 x", *lines[3:]]))
    assert "Convert" not in str(error.value) and "lattice" in error.value.remedy


@pytest.mark.parametrize(
    ("entry", "word"), [("", "0 characters"), ("folder", "a folder"), ("nowhere", "no such file"), ("notes", "suffix")]
)
def test_a_path_that_is_none_of_a_crystal(structure, tmp_path, entry, word):
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes").write_text("nothing")
    structure.to(filename=str(tmp_path / "a.cif"))
    path = tmp_path / "table.csv"
    pd.DataFrame({"structure": ["a.cif", entry], "id": ["good", "bad"]}).to_csv(path, index=False)
    frame = pd.DataFrame({"structure": [str(tmp_path / "a.cif"), entry and str(tmp_path / entry)]})
    for source in (path, frame):
        reader = read_structures(source, "skip")
        assert len(list(reader)) == 1
        assert entry == "" or word in reader.report[0].value and "POSCAR" not in str(reader.report[0])
