"""Entries of databases: what the real libraries write is read back, with its ids, and broken versions are refused."""

import bz2
import gzip
import io
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from monty.json import MontyEncoder
from monty.serialization import dumpfn
from pymatgen.core import Lattice, Structure
from pymatgen.core.trajectory import Trajectory
from pymatgen.entries.computed_entries import ComputedStructureEntry

from deepchem_crystalssl import Crystal, read_structures
from deepchem_crystalssl.crystals.formats import json_documents, json_entries
from deepchem_crystalssl.crystals.formats.database_entries import own_id
from deepchem_crystalssl.crystals.limits import ReadingLimits
from deepchem_crystalssl.errors import (
    CoordinateError,
    CrystalInputError,
    DisorderError,
    EmptyFileError,
    LatticeError,
    LimitError,
    NoCrystalsError,
    UnknownElementError,
    UnsupportedFileError,
    UnsupportedObjectError,
)

IDS = ["mp-149", "mp-32", "007", "agm002214", "JVASP-90856", "mb-1"]
SKEW = np.array([[4.1, 0.2, -0.3], [1.1, 5.2, 0.4], [-0.7, 1.9, 6.3]])  # rows and columns give other distances


@pytest.fixture(scope="module")
def ordered(structures):
    """Real structures, one of them in a cell whose transposed would be another."""
    skewed = Structure(SKEW, ["Na", "Cl", "O"], [[0.1, 0.2, 0.3], [0.6, 0.5, 0.4], [0.9, 0.85, 0.1]])
    return [*structures[:5], skewed]


@pytest.fixture(scope="module")
def all_structures(ordered):
    alloy = Structure(Lattice.hexagonal(3.2, 5.1), [{"Fe": 0.5, "Co": 0.3}, "O"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    return [*ordered[1:], alloy]


def read(source, **options):
    return list(read_structures(source, **options))


def shortest(structure):
    distances = structure.distance_matrix
    return np.min(distances[distances > 1e-6]) if len(structure) > 1 else 0.0


def assert_same(crystals, structures, ids=None):
    """The same sites in the same order, cells, shortest distances and ids."""
    assert len(crystals) == len(structures)
    for crystal, structure in zip(crystals, structures, strict=True):
        again = crystal.to_structure()
        assert [site.species for site in again] == [
            type(site.species)({e.symbol: x for e, x in site.species.items()}) for site in structure
        ]
        delta = crystal.frac_coords - structure.frac_coords
        assert np.allclose(delta, np.round(delta), atol=1e-6)
        assert np.allclose(crystal.lattice, structure.lattice.matrix, atol=1e-6)
        assert np.isclose(crystal.volume, structure.volume) and np.isclose(shortest(again), shortest(structure))
    if ids is not None:
        assert [crystal.material_id for crystal in crystals] == list(ids)


def written(path, content):
    text = json.dumps(content, cls=MontyEncoder)
    opened = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    with opened(path, "wt") as file:
        file.write(text)
    return path


def jarvis(structure, cartesian=False):
    atoms = {
        "lattice_mat": structure.lattice.matrix.tolist(),
        "coords": (structure.cart_coords if cartesian else structure.frac_coords).tolist(),
        "elements": [site.specie.symbol for site in structure],
        "abc": list(structure.lattice.abc),
        "angles": list(structure.lattice.angles),
        "cartesian": cartesian,
        "props": [""] * len(structure),
    }
    return atoms


# JARVIS


@pytest.mark.parametrize("cartesian", [False, True])
def test_jarvis(ordered, tmp_path, cartesian):
    entries = [
        {"jid": name, "formula": s.formula, "atoms": jarvis(s, cartesian), "optb88vdw_bandgap": "na"}
        for name, s in zip(IDS, ordered, strict=True)
    ]
    for source in (entries, written(tmp_path / "jdft.json", entries), pd.DataFrame(entries)):
        assert_same(read(source), ordered, IDS)
    assert_same(read(entries[0]), ordered[:1], IDS[:1])
    assert_same(read(written(tmp_path / "one.json", jarvis(ordered[0], cartesian))), ordered[:1], ["one"])


def test_jarvis_of_jarvis_tools_in_parquet(ordered, tmp_path):
    frame = pd.DataFrame({"jid": IDS, "atoms": [jarvis(s) for s in ordered]})
    frame.to_parquet(tmp_path / "dft.parquet")
    assert_same(read(tmp_path / "dft.parquet"), ordered, IDS)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda atoms: atoms.update(coords=atoms["coords"][:-1]), CoordinateError),
        (lambda atoms: atoms.update(coords=[[0, 0]] * len(atoms["elements"])), CoordinateError),
        (lambda atoms: atoms.update(coords="no list"), CoordinateError),
        (lambda atoms: atoms.update(lattice_mat=[[1, 0, 0], [0, 1, 0]]), LatticeError),
        (lambda atoms: atoms.update(elements=["Qq"] * len(atoms["elements"])), UnknownElementError),
        (lambda atoms: atoms.pop("elements"), UnsupportedObjectError),
    ],
)
def test_broken_jarvis_entries_cost_themselves_alone(ordered, tmp_path, change, error):
    entries = [{"jid": name, "atoms": jarvis(s)} for name, s in zip(IDS, ordered, strict=True)]
    change(entries[2]["atoms"])
    for source in (entries, written(tmp_path / "jdft.json", entries)):
        reader = read_structures(source, on_error="skip")
        assert [c.material_id for c in reader] == IDS[:2] + IDS[3:]
        assert [type(e) for e in reader.report] == [error] and IDS[2] in reader.report[0].item
        with pytest.raises(error):
            read(source)


# Materials Project and pymatgen


def test_documents_of_the_materials_project(all_structures, tmp_path):
    dicts = [
        {
            "builder_meta": {"license": None},
            "nsites": len(s),
            "material_id": name,
            "structure": s.as_dict(),
            "is_gap": 1,
        }
        for name, s in zip(IDS, all_structures, strict=True)
    ]

    class Identifier(str):
        """As mp-api's MPID."""

    documents = [
        SimpleNamespace(material_id=Identifier(name), structure=s, band_gap=1.0)
        for name, s in zip(IDS, all_structures, strict=True)
    ]
    mixed = [{**entry, "structure": s} for entry, s in zip(dicts, all_structures, strict=True)]
    for source in (dicts, documents, mixed, written(tmp_path / "docs.json", dicts), pd.DataFrame(mixed)):
        assert_same(read(source), all_structures, IDS)
    assert_same(read(documents[0]), all_structures[:1], IDS[:1])
    assert_same(read(dicts[0]), all_structures[:1], IDS[:1])
    reader = read_structures([documents[0], SimpleNamespace(material_id="mp-1", structure=None)], on_error="skip")
    assert len(list(reader)) == 1 and type(reader.report[0]) is UnsupportedObjectError


def computed(structures, **options):
    return [ComputedStructureEntry(s, -1.0, entry_id=name) for name, s in zip(IDS, structures, strict=True)]


def test_computed_structure_entries(all_structures, tmp_path):
    entries = computed(all_structures)
    dumpfn(entries, tmp_path / "entries.json.gz")
    dicts = [entry.as_dict() for entry in entries]
    for source in (entries, dicts, pd.Series(entries), tmp_path / "entries.json.gz", {"entries": dicts}):
        assert_same(read(source), all_structures, IDS)
    assert_same(read(entries[3]), all_structures[3:4], IDS[3:4])
    dumpfn(entries[3], tmp_path / "entry.json")
    assert_same(read(tmp_path / "entry.json"), all_structures[3:4], IDS[3:4])


@pytest.mark.parametrize("window", [200, 2**20])
def test_alexandria(all_structures, tmp_path, monkeypatch, window):
    """Ids in data.mat_id, as there; once read as a whole and once piece by piece."""
    monkeypatch.setattr(json_documents, "CHUNK", window)
    entries = [
        ComputedStructureEntry(s, -1.0, data={"mat_id": name, "e_above_hull": float("nan")})
        for name, s in zip(IDS, all_structures, strict=True)
    ]
    path = written(tmp_path / "alexandria_000.json.bz2", {"entries": [entry.as_dict() for entry in entries]})
    assert_same(read(path), all_structures, IDS)
    assert [c.material_id for c in read(path, id_column="e_above_hull")] == [f"alexandria_000 {k}" for k in range(6)]


def test_broken_alexandria(all_structures, tmp_path, monkeypatch):
    monkeypatch.setattr(json_documents, "CHUNK", 500)
    entries = [entry.as_dict() for entry in computed(all_structures)]
    entries[1]["structure"]["sites"][0]["abc"] = [0.0]
    entries[2] = 7
    path = written(tmp_path / "a.json.bz2", {"entries": entries})
    reader = read_structures(path, on_error="skip")
    assert [c.material_id for c in reader] == IDS[:1] + IDS[3:]
    assert [type(error) for error in reader.report] == [CoordinateError, UnsupportedObjectError]
    whole = json.dumps({"entries": [entry.as_dict() for entry in computed(all_structures)]}, cls=MontyEncoder)
    for broken, kept in ((whole[:-200], 5), (whole.replace('"mp-32"', '"mp-32'), 1)):
        path.write_bytes(bz2.compress(broken.encode()))
        reader = read_structures(path, on_error="skip")
        assert len(list(reader)) == kept and type(reader.report[0]) is UnsupportedFileError
    path.write_bytes(bz2.compress(whole.encode())[:-40])
    with pytest.raises(UnsupportedFileError, match="a.json.bz2"):
        read(path)
    path.write_bytes(b"PK no bzip2")
    with pytest.raises(UnsupportedFileError, match="a.json.bz2"):
        read(path)


class Counting:
    """A text stream that counts what is read of it."""

    def __init__(self, pieces):
        self.pieces, self.rest, self.characters = pieces, "", 0

    def read(self, size):
        while len(self.rest) < size and (piece := next(self.pieces, None)) is not None:
            self.rest += piece
        text, self.rest = self.rest[:size], self.rest[size:]
        self.characters += len(text)
        return text


@pytest.mark.parametrize("opening", ['{"meta": 1, "entries": [', "[", '{"columns": ["structure"], "data": [['])
def test_json_is_read_as_far_as_needed(ordered, opening):
    entry = ordered[0].to(fmt="json")
    is_row = opening.endswith("[[")

    def pieces():
        yield opening + entry
        for _ in range(10_000_000):
            yield ("],[" if is_row else ",") + entry

    stream = Counting(pieces())
    named = json_entries.named_entries(json_documents.iterate_documents(stream, "long"), "long")
    assert [next(named)[1] for _ in range(3)] == ["long 0", "long 1", "long 2"]
    assert stream.characters <= 3 * json_documents.CHUNK


def test_json_that_is_no_structure_is_given_up(monkeypatch):
    few = ReadingLimits(fields=1000, text_bytes=10_000)
    monkeypatch.setattr(json_documents, "CHUNK", 10_000)
    endless = Counting(f'{"{" if not k else ","}"key {k}": 1' for k in range(10**9))
    with pytest.raises(LimitError, match="1,000 fields"):
        next(json_entries.named_entries(json_documents.iterate_documents(endless, "a", few), "a", limits=few))
    monkeypatch.setattr(json_documents, "CHUNK", 1000)
    long = Counting(iter(["[[", *["1," * 500] * 1000]))
    with pytest.raises(LimitError, match="10,000 characters"):
        next(json_entries.named_entries(json_documents.iterate_documents(long, "a", few), "a"))
    assert long.characters < 100_000


@pytest.mark.parametrize("window", [30, 100, 1000, 2**20])
def test_pieces_are_those_of_the_whole(window, monkeypatch):
    """Whatever the size of the window, the same values come in the same order."""
    monkeypatch.setattr(json_documents, "CHUNK", window)
    values = [
        {"a": [1, 2.5e-3, {"b": 'é\\" ]}'}], "data": [], "entries": [[], {}, -17, "x", None, True], "z": float("inf")},
        [12345678901234567890, 1.0, "text", [["deep"]], {"k": [1]}, False],
        {},
        [],
    ]
    for value in values:
        for text in (json.dumps(value), json.dumps(value, indent=2) + "\n"):
            found = [list(document.pieces) for document in json_documents.iterate_documents(io.StringIO(text), "a")]
            assert found == [list(json_documents.pieces_of(value))]
    lines = "".join(json.dumps(value) + "\n" for value in values)
    found = [list(document.pieces) for document in json_documents.iterate_documents(io.StringIO(lines), "a")]
    assert found == [list(json_documents.pieces_of(value)) for value in values]


def test_a_broken_line_costs_itself_alone(ordered, tmp_path):
    lines = [s.to(fmt="json") for s in ordered]
    lines[1] = lines[1][:-30]
    lines[3] = "no JSON"
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    reader = read_structures(tmp_path / "a.jsonl", on_error="skip")
    assert_same(list(reader), [ordered[k] for k in (0, 2, 4, 5)], [f"a {k}" for k in (0, 2, 4, 5)])
    assert [type(error) for error in reader.report] == [UnsupportedFileError] * 2 and reader.report.indices == [1, 3]


# Mappings, Series, matbench, trajectories


def test_ids_of_mappings_and_indices(all_structures, tmp_path):
    by_id = dict(zip(IDS, all_structures, strict=True))
    dumpfn(by_id, tmp_path / "by_id.json")
    texts = {name: s.to(fmt="json") for name, s in by_id.items()}
    entries = dict(zip(IDS, computed(all_structures), strict=True))
    frame = pd.DataFrame({"structure": all_structures}, index=IDS)
    for source in (by_id, tmp_path / "by_id.json", pd.Series(by_id), entries, frame, frame.reset_index(names="mbid")):
        assert_same(read(source), all_structures, IDS)
    assert_same(read({f"{k}": entry for k, entry in enumerate(entries.values())}), all_structures, "012345")
    assert_same(read(pd.Series(texts)), all_structures, IDS)
    numbers = pd.Series(all_structures, index=pd.Index(range(7, 13), name="material_id"))
    assert_same(read(numbers), all_structures, ["7", "8", "9", "10", "11", "12"])
    unnamed = pd.Series(all_structures, index=range(7, 13))  # numbers without a name count rows
    assert_same(read(unnamed), all_structures, [f"structure {k}" for k in range(6)])
    for name, write in (("t.csv", "to_csv"), ("t.csv.bz2", "to_csv"), ("t.parquet", "to_parquet")):
        getattr(pd.DataFrame({"structure": texts}), write)(tmp_path / name)
        assert_same(read(tmp_path / name), all_structures, IDS)


def test_bad_values_of_mappings(ordered, tmp_path):
    by_id = {"a": ordered[0].as_dict(), "b": None, "c": {"lattice": 3, "sites": []}, "d": ordered[1].as_dict()}
    for source in (by_id, written(tmp_path / "m.json", by_id)):
        reader = read_structures(source, on_error="skip")
        assert_same(list(reader), ordered[:2], ["a", "d"])
        assert reader.report.indices == [1, 2]
    first = {"b": None, "a": ordered[0].as_dict()}
    reader = read_structures(first, on_error="skip")
    assert_same(list(reader), ordered[:1], ["a"])
    assert reader.report[0].item == "b"


@pytest.mark.parametrize("name", ["matbench.json", "matbench.json.gz"])
@pytest.mark.parametrize("window", [300, 2**20])
def test_matbench(all_structures, tmp_path, monkeypatch, name, window):
    monkeypatch.setattr(json_documents, "CHUNK", window)
    frame = pd.DataFrame({"structure": [s.as_dict() for s in all_structures], "n": 1.5}, index=IDS)
    split = frame.to_dict("split")
    assert_same(read(written(tmp_path / name, split)), all_structures, IDS)
    frame.rename(columns={"structure": "relaxed"}).to_json(tmp_path / "other.json", orient="split")
    assert_same(read(tmp_path / "other.json", structure_column="relaxed"), all_structures, IDS)
    counted = frame.reset_index(drop=True).to_dict("split")
    assert [c.material_id for c in read(written(tmp_path / "t.json", counted))] == [f"t {k}" for k in range(6)]


def test_broken_matbench(ordered, tmp_path):
    split = pd.DataFrame({"structure": [s.as_dict() for s in ordered], "n": 1.5}, index=IDS).to_dict("split")
    split["data"][1] = split["data"][1][:1]
    split["data"][2][0] = "no structure"
    reader = read_structures(written(tmp_path / "m.json", split), on_error="skip")
    assert [c.material_id for c in reader] == IDS[:1] + IDS[3:]
    assert [error.item for error in reader.report] and reader.report.indices == [1, 2]
    with pytest.raises(CrystalInputError, match="names of their columns"):
        read(written(tmp_path / "m.json", {"index": IDS, "data": split["data"]}))
    written(tmp_path / "m.json", split)
    (tmp_path / "m.json").write_text((tmp_path / "m.json").read_text()[:-100])
    with pytest.raises(UnsupportedFileError, match="broken JSON"):
        read(tmp_path / "m.json")


def test_trajectories_of_pymatgen(all_structures, tmp_path):
    for structure in (all_structures[0], all_structures[-2]):
        frames = [structure.copy() for _ in range(4)]
        for k, frame in enumerate(frames):
            frame.translate_sites(range(len(frame)), [0.01 * k, 0.02 * k**2, 0.0])
            frame.scale_lattice(frame.volume * (1 + 0.02 * k))
        moving = Trajectory.from_structures(frames, constant_lattice=False)
        fixed = Trajectory.from_structures([frames[0]] * 2)
        shifted = Trajectory.from_structures(frames, constant_lattice=False)
        shifted.to_displacements()
        for number, (trajectory, expected) in enumerate(
            [(moving, frames), (fixed, [frames[0]] * 2), (shifted, frames)]
        ):
            path = tmp_path / f"t{number}.json"
            dumpfn(trajectory, path)
            names = [f"t{number} {k}" for k in range(len(expected))]
            assert_same(read(path), expected, names)
        moving.to_positions()
        assert_same(read([moving, structure]), [*frames, structure])
        assert_same(read(moving), frames)
    alloy = all_structures[-1]
    shared = Trajectory([site.species for site in alloy], [alloy.frac_coords], lattice=alloy.lattice.matrix)
    dumpfn(shared, tmp_path / "alloy.json")
    assert_same(read(tmp_path / "alloy.json"), [alloy], ["alloy 0"])
    content = json.loads((tmp_path / "t0.json").read_text())
    for change, error in (
        ({"species": content["species"][1:]}, CoordinateError),
        ({"lattice": None}, UnsupportedObjectError),
        ({"coords": [[1, 2, 3]]}, CoordinateError),
        ({"lattice": content["lattice"][:2]}, CrystalInputError),
    ):
        with pytest.raises(error):
            read(written(tmp_path / "broken.json", {**content, **change}))


# LeMaterial


def lematerial(structures):
    """Columns as in LeMaterial's data sets: rows of lattice_vectors are cell vectors."""
    return pd.DataFrame(
        {
            "immutable_id": IDS[: len(structures)],
            "elements": [sorted({str(e) for e in s.elements}) for s in structures],
            "nsites": [len(s) for s in structures],
            "dimension_types": [[1, 1, 1]] * len(structures),
            "lattice_vectors": [s.lattice.matrix.tolist() for s in structures],
            "cartesian_site_positions": [s.cart_coords.tolist() for s in structures],
            "species_at_sites": [[site.species_string for site in s] for s in structures],
            "energy": -1.0,
        }
    )


def test_lematerial(ordered, tmp_path):
    frame = lematerial(ordered)
    frame.to_parquet(tmp_path / "le.parquet")
    for source in (frame, tmp_path / "le.parquet", frame.to_dict("records")):
        assert_same(read(source), ordered, IDS)
    transposed = frame.assign(lattice_vectors=[s.lattice.matrix.T.tolist() for s in ordered])
    wrong = read(transposed)[-1].to_structure()
    assert np.isclose(wrong.volume, ordered[-1].volume)  # the volume cannot tell rows from columns,
    assert not np.isclose(shortest(wrong), shortest(ordered[-1]))  # the distances can


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("cartesian_site_positions", [[0.0, 0.0, 0.0]] * 99, CoordinateError),
        ("cartesian_site_positions", None, CoordinateError),
        ("lattice_vectors", [[1.0, 0.0, 0.0]] * 3, LatticeError),
        ("species_at_sites", ["Xx", "O"], CrystalInputError),
        ("dimension_types", [1, 1, 0], LatticeError),
    ],
)
def test_broken_rows_of_lematerial(ordered, tmp_path, column, value, error):
    frame = lematerial(ordered)
    frame.at[2, column] = value
    frame.to_parquet(tmp_path / "le.parquet")
    reader = read_structures(tmp_path / "le.parquet", on_error="skip")
    assert [c.material_id for c in reader] == IDS[:2] + IDS[3:]
    assert isinstance(reader.report[0], error) and IDS[2] in reader.report[0].item and reader.report.indices == [2]


# What an entry is


def test_assemblies_and_unknown_dimensions_are_refused():
    entry = lematerial([Structure(SKEW, ["Na"], [[0, 0, 0]])]).to_dict("records")[0]
    with pytest.raises(DisorderError, match="assemblies"):
        read({"id": "a", "attributes": {**entry, "structure_features": ["assemblies"]}})
    with pytest.raises(CrystalInputError, match="concentrations"):
        read({**entry, "species": [{"name": "Na", "chemical_symbols": ["Na", "vacancy"], "concentration": [1.0]}]})


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"material_id": "mp-1", "id": 3}, "mp-1"),
        ({"id": 7.0}, "7"),
        ({"entry_id": None, "data": {"material_id": "mp-2"}}, "mp-2"),
        ({"numbers": [1], "id": 3, "unique_id": "f0", "key_value_pairs": {"name": "x"}}, "x"),
        ({"numbers": [1], "id": 3, "unique_id": "f0"}, "f0"),
        ({"numbers": [1], "id": 3}, None),
        ({"data": [1]}, None),
    ],
)
def test_which_id_an_entry_has(entry, name):
    assert own_id(entry) == name


def test_a_column_of_ids_that_the_caller_names_in_json(ordered, tmp_path):
    entries = [{"id": "x", "code": name, "structure": s.as_dict()} for name, s in zip(IDS, ordered, strict=True)]
    for source in (entries, written(tmp_path / "a.json", entries)):
        assert_same(read(source, id_column="code"), ordered, IDS)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", EmptyFileError),
        ("[]", NoCrystalsError),
        ("{}", NoCrystalsError),
        ('{"entries": []}', NoCrystalsError),
        ('{"a": {"b": 1}}', UnsupportedObjectError),
        ('{"structure": {"structure": {"structure": 1}}}', UnsupportedObjectError),
        ("3", NoCrystalsError),
        ('{"lattice_mat": 1, "coords": 2}', UnsupportedObjectError),
        (
            '{"numbers": {"__ndarray__": [[900000000000], "int64", [1]]}, "positions": 1, "pbc": true}',
            CrystalInputError,
        ),
    ],
)
def test_json_without_crystals(tmp_path, content, error):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(error, match="a.json"):
        read(tmp_path / "a.json")


def test_objects_that_were_read_before_are_read_as_before(ordered):
    crystal = read(ordered[0])[0]
    assert isinstance(crystal, Crystal) and read([crystal])[0] is crystal
