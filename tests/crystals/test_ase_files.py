"""Files of ASE and fairchem, and vasprun.xml: written by ASE, or from its own tests, and compared with its readers."""

import builtins
import gzip
import io
import json
import os
import pickle
import sqlite3
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db.row import AtomsRow
from pymatgen.io.vasp.outputs import Vasprun

from deepchem_crystalssl import read_structures
from deepchem_crystalssl.crystals.formats import ase_files, files, vasprun
from deepchem_crystalssl.crystals.limits import ReadingLimits
from deepchem_crystalssl.errors import (
    CoordinateError,
    CrystalInputError,
    LatticeError,
    LimitError,
    UnsupportedFileError,
)

IDS = [f"id-{k}" for k in range(6)]
RUNS = Path(ase.io.__file__).parents[1] / "test" / "testdata" / "vasp"
needs_runs = pytest.mark.skipif(not RUNS.is_dir(), reason="ASE was installed without the VASP runs of its tests")


@pytest.fixture
def images(structures):
    """Crystals as ASE holds them, with results, constraints, a turned cell and atoms outside the cell."""
    images = [structure.to_ase_atoms() for structure in structures[:6]]
    for k, atoms in enumerate(images):
        atoms.info.clear()
        atoms.rotate(20 * k, (1, 2, 3), rotate_cell=True)
        atoms.positions += 0.37 * k
        atoms.info["material_id"] = IDS[k]
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * k, forces=np.ones((len(atoms), 3)), stress=np.zeros(6))
    images[2].set_constraint(FixAtoms([0]))
    return images


def read(source, **options):
    return list(read_structures(source, **options))


def assert_same(crystals, images, ids=None):
    assert len(crystals) == len(images)
    for crystal, atoms in zip(crystals, images, strict=True):
        assert crystal.atomic_numbers.tolist() == atoms.numbers.tolist()
        assert np.allclose(crystal.lattice, atoms.cell.array, atol=1e-6)
        delta = crystal.frac_coords - atoms.get_scaled_positions(wrap=False)
        assert np.allclose(delta, np.round(delta), atol=1e-6)
        ours, theirs = crystal.to_structure().distance_matrix, atoms.get_all_distances(mic=True)
        assert np.allclose(ours, theirs, atol=1e-5)
    if ids is not None:
        assert [crystal.material_id for crystal in crystals] == list(ids)


def database(path, images, **pairs):
    with ase.db.connect(path) as connection:
        for k, atoms in enumerate(images):
            connection.write(atoms, **{key: f"{value}{k}" for key, value in pairs.items()}, data={"a": np.eye(2)})
    return path


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_databases_of_ase(images, tmp_path, name):
    path = database(tmp_path / name, images, material_id="id-", code="c")
    rows = list(ase.db.connect(path).select())
    assert_same(read(path), [row.toatoms() for row in rows], IDS)
    assert [c.material_id for c in read(path, id_column="code")] == [f"c{k}" for k in range(6)]
    without = database(tmp_path / f"b{name}", images)
    assert_same(read(without), images, [row.unique_id for row in ase.db.connect(without).select()])
    with ase.db.connect(without) as connection:
        connection.delete([2])
    assert_same(read(without), [*images[:1], *images[2:]])
    before = path.read_bytes()
    read(path)
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"b{name}"])


def changed(path, column, value, row=2):
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE systems SET {column} = ? WHERE id = ?", (value, row))
    connection.close()


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("positions", np.zeros(3).tobytes(), CoordinateError),
        ("positions", b"odd", CrystalInputError),
        ("positions", None, CrystalInputError),
        ("numbers", np.zeros(6, np.int32).tobytes(), CrystalInputError),
        ("cell", np.zeros(9).tobytes(), LatticeError),
        ("cell", b"12345678", CrystalInputError),
        ("pbc", 3, LatticeError),
        ("key_value_pairs", "{broken", CrystalInputError),
    ],
)
def test_broken_rows_of_a_database(images, tmp_path, column, value, error):
    path = database(tmp_path / "a.db", images, material_id="id-")
    changed(path, column, value)
    reader = read_structures(path, on_error="skip")
    assert [c.material_id for c in reader] == [IDS[0], *IDS[2:]]
    assert len(reader.report) == 1 and isinstance(reader.report[0], error) and reader.report.indices == [1]
    assert str(path) in reader.report[0].item


def test_broken_databases(images, tmp_path):
    whole = database(tmp_path / "a.db", images * 20).read_bytes()
    broken = tmp_path / "broken.db"
    for content in (whole[: len(whole) // 2], b"no database" * 99, whole[:100] + b"\xff" * 5000, b""):
        broken.write_bytes(content)
        reader = read_structures(broken, on_error="skip")
        list(reader)
        assert type(reader.report[-1]) is UnsupportedFileError and str(broken) in reader.report[-1].item
    broken.unlink()
    for statement in (
        "CREATE TABLE other (a)",
        "CREATE VIEW systems AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS id FROM n",
        "CREATE TABLE systems (a)",
    ):
        with sqlite3.connect(broken) as connection:
            connection.execute(statement)
        connection.close()
        with pytest.raises(UnsupportedFileError):
            read(broken)
        broken.unlink()


@pytest.mark.parametrize("same", [True, False])
def test_trajectories(images, tmp_path, same):
    frames = [images[0].copy() for _ in range(4)] if same else images
    for k, atoms in enumerate(frames[1:]):
        atoms.positions += 0.1 * k
    ase.io.write(tmp_path / "a.traj", frames)
    ids = [IDS[0]] * 4 if same else IDS
    assert_same(read(tmp_path / "a.traj"), ase.io.read(tmp_path / "a.traj", ":"), ids)
    (tmp_path / "a.traj.gz").write_bytes(gzip.compress((tmp_path / "a.traj").read_bytes()))
    assert_same(read(tmp_path / "a.traj.gz"), frames, ids)
    for atoms in frames:
        atoms.info.clear()
    ase.io.write(tmp_path / "b.traj", frames)
    assert_same(read(tmp_path / "b.traj"), frames, [f"b {k}" for k in range(len(frames))])
    ase.io.write(tmp_path / "one.traj", frames[0])
    assert_same(read(tmp_path / "one.traj"), frames[:1], ["one"])


def test_broken_trajectories(images, tmp_path):
    ase.io.write(tmp_path / "a.traj", images)
    whole = (tmp_path / "a.traj").read_bytes()
    huge = struct.pack("<q", 2**60)
    for content in (
        whole[:30],
        whole[:500],
        whole[:24] + huge * 3 + whole[48:],
        whole[:24] + struct.pack("<3q", 3, 6, 2**62) + whole[48:],
        whole.replace(b'"float64"', b'"object64"'),
        whole.replace(b"- of Ulm", b"xxxxxxxx"),
        pickle.dumps({"a": 1}),
        b"PickleTrajectory" + pickle.dumps({"a": 1}),
    ):
        (tmp_path / "a.traj").write_bytes(content)
        reader = read_structures(tmp_path / "a.traj", on_error="skip")
        list(reader)
        assert reader.report and all(isinstance(error, CrystalInputError) for error in reader.report)
        assert "a.traj" in reader.report[0].item
    place = whole.index(b'"ndarray": [[')
    wrong = whole[:place] + whole[place:].replace(b'"ndarray": [[6', b'"ndarray": [[9', 1)
    (tmp_path / "a.traj").write_bytes(wrong)
    reader = read_structures(tmp_path / "a.traj", on_error="skip")
    assert [c.material_id for c in reader] == IDS[1:] and reader.report.indices == [0]


def test_no_pickle_is_loaded(tmp_path, monkeypatch, structures):
    """Not under any name: whoever would load one would raise here."""

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    data = pickle.dumps([Trap()])
    np.save(tmp_path / "objects.npy", np.array([structures[0], 1], dtype=object), allow_pickle=True)
    for name in ("a.pkl", "a.pickle", "a.pt", "a.pth", "a.joblib", "a.npz", "POSCAR.pkl"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "a.pkl.gz").write_bytes(gzip.compress(data))
    for name in ("a.pkl", "a.pickle", "a.pt", "a.pth", "a.joblib", "a.npz", "POSCAR.pkl", "a.pkl.gz", "objects.npy"):
        with pytest.raises(UnsupportedFileError, match="pickle.*dumpfn"):
            read(tmp_path / name)
    for name in ("a.traj", "a.db", "a.json", "a.cif", "a.extxyz", "a.xsf", "a.aselmdb", "a.parquet", "POSCAR", "a.zip"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CrystalInputError):
            read(tmp_path / name)
    assert not (tmp_path / "trapped").exists()
    (tmp_path / "a.csv").write_bytes(b"")
    assert all(path.suffix not in (".pkl", ".npy", ".pt") for path in files.find_files(tmp_path))


@pytest.mark.parametrize("name", ["a.extxyz", "a.xyz", "a.extxyz.gz"])
def test_extended_xyz(images, tmp_path, name):
    ase.io.write(tmp_path / name, images, format="extxyz")
    assert_same(read(tmp_path / name), ase.io.read(tmp_path / name, ":", format="extxyz"), IDS)
    for atoms in images:
        atoms.info = {"code": "x7"}
    ase.io.write(tmp_path / name, images, format="extxyz")
    assert_same(read(tmp_path / name), images, [f"a {k}" for k in range(6)])
    assert {c.material_id for c in read(tmp_path / name, id_column="code")} == {"x7"}
    ase.io.write(tmp_path / name, images[:1], format="extxyz")
    assert_same(read(tmp_path / name), images[:1], ["a"])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda frame: [frame[0], frame[1].replace("Lattice=", "Nolattice="), *frame[2:]], UnsupportedFileError),
        (lambda frame: [frame[0], frame[1].replace("pos:R:3", "pos:R:999999999"), *frame[2:]], UnsupportedFileError),
        (lambda frame: [frame[0], frame[1].replace('pbc="T T T"', 'pbc="T T F"'), *frame[2:]], LatticeError),
        (lambda frame: [*frame[:2], "Qq 0 0 0\n", *frame[3:]], UnsupportedFileError),
        (lambda frame: [*frame[:2], "Na 0 0\n", *frame[3:]], UnsupportedFileError),
        (lambda frame: frame[:-1], CrystalInputError),
        (lambda frame: [*frame, "Na 0 0 0\n"], UnsupportedFileError),
        (lambda frame: ["many\n", *frame[1:]], UnsupportedFileError),
    ],
)
def test_broken_frames_of_extended_xyz(images, tmp_path, change, error):
    frames = []
    for atoms in images:
        atoms.calc = None
        ase.io.write(tmp_path / "one.xyz", atoms, format="extxyz")
        frames.append((tmp_path / "one.xyz").read_text().splitlines(keepends=True))
    frames[2] = change(frames[2])
    (tmp_path / "a.extxyz").write_text("".join(line for frame in frames for line in frame))
    reader = read_structures(tmp_path / "a.extxyz", on_error="skip")
    kept = [c.material_id for c in reader]
    assert set(IDS) - set(kept) <= set(IDS[2:4]) and kept[-2:] == IDS[4:]  # a frame too short takes from the next
    assert all(isinstance(found, CrystalInputError) for found in reader.report) and isinstance(reader.report[0], error)


def test_extended_xyz_is_read_as_far_as_needed_and_within_limits(images, monkeypatch):
    ase.io.write(text := io.StringIO(), images[0], format="extxyz")
    lines = text.getvalue().splitlines(keepends=True)

    class Endless:
        count = 0

        def readline(self, size):
            self.count += 1
            return lines[(self.count - 1) % len(lines)]

    stream = Endless()
    assert next(ase_files.read_xyz(stream, "a", "a")).num_nodes == len(images[0])
    assert stream.count <= 2 * len(lines)
    with pytest.raises(LimitError, match="at most 100,000 sites"):
        list(ase_files.read_xyz(io.StringIO("99999999999\n\n"), "a", "a"))
    for content in ("", "\n\n"):
        with pytest.raises(UnsupportedFileError, match="no frame"):
            list(ase_files.read_xyz(io.StringIO(content), "a", "a"))


def test_xsf(images, tmp_path):
    ase.io.write(tmp_path / "a.xsf", images[3])
    assert_same(read(tmp_path / "a.xsf"), [ase.io.read(tmp_path / "a.xsf")], ["a"])
    steps = [images[3].copy() for _ in range(3)]
    for k, atoms in enumerate(steps):
        atoms.set_cell(atoms.cell.array * (1 + 0.1 * k), scale_atoms=True)
    ase.io.write(tmp_path / "b.xsf", steps)
    assert_same(read(tmp_path / "b.xsf"), ase.io.read(tmp_path / "b.xsf", ":"), ["b 0", "b 1", "b 2"])
    grid = np.random.default_rng(0).random((3, 4, 5))
    ase.io.write(tmp_path / "grid.xsf", images[3], data=grid)
    assert_same(read(tmp_path / "grid.xsf"), images[3:4], ["grid"])
    whole = (tmp_path / "a.xsf").read_text()
    for content, error in (
        (whole[:-150], UnsupportedFileError),
        (whole.replace("PRIMVEC", "VECTORS"), UnsupportedFileError),
        (whole.replace("CRYSTAL", "SLAB"), LatticeError),
        ("data_x\n", UnsupportedFileError),
        ("", UnsupportedFileError),
        (whole.replace(f" {len(images[3])} 1", " 999 1"), UnsupportedFileError),
    ):
        (tmp_path / "a.xsf").write_text(content)
        with pytest.raises(error, match="a"):
            read(tmp_path / "a.xsf")


# fairchem


def lmdb_file(path, images, change=None, **kept):
    """As fairchem writes them: rows of ASE as JSON with plain lists, compressed by zlib."""
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), subdir=False, map_size=2**28) as environment, environment.begin(write=True) as writing:
        for k, atoms in enumerate(images, 1):
            row = AtomsRow(atoms)
            fields = {key: np.asarray(row[key]).tolist() for key in row.__dict__ if key[0] != "_"}
            fields["data"] = {"sid": f"s{k}"}
            fields.pop("calculator_parameters", None)
            text = zlib.compress(json.dumps(fields).encode())
            writing.put(str(k).encode(), change(text) if change and k == 2 else text)
        for key, value in {"nextid": len(images) + 1, **kept}.items():
            writing.put(key.encode(), zlib.compress(json.dumps(value).encode()))
        for k in kept.get("deleted_ids", ()):
            writing.delete(str(k).encode())
    return path


def test_databases_of_fairchem(images, tmp_path):
    path = lmdb_file(tmp_path / "omat.aselmdb", images * 2, metadata={"format": 1})
    crystals = read(path)
    assert_same(crystals, images * 2)
    assert len({c.material_id for c in crystals}) == 12 and all(len(c.material_id) == 32 for c in crystals)
    assert [c.material_id for c in read(path, id_column="sid")] == [f"s{k}" for k in range(1, 13)]
    large = [
        images[0].repeat((1, 1, 1 + k % 30)) for k in range(400)
    ]  # several levels, and values with pages of their own
    assert_same(read(lmdb_file(tmp_path / "large.aselmdb", large))[::50], large[::50])
    path = lmdb_file(tmp_path / "deleted.aselmdb", images, deleted_ids=[2, 5])
    assert_same(read(path), [images[k] for k in (0, 2, 3, 5)])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: b"no zlib",
        lambda text: zlib.compress(b"[" * 10**6),
        lambda text: zlib.compress(b'{"numbers": [1], "positions": [[0, 0]], "pbc": true, "cell": [[1, 0, 0]]}'),
        lambda text: zlib.compress(zlib.decompress(text).replace(b'"pbc"', b'"pcb"')),
    ],
)
def test_broken_rows_of_fairchem(images, tmp_path, change):
    path = lmdb_file(tmp_path / "a.aselmdb", images, change)
    reader = read_structures(path, on_error="skip")
    assert_same(list(reader), [images[0], *images[2:]])
    assert len(reader.report) == 1 and str(path) in reader.report[0].item and reader.report.indices == [1]


def test_a_row_that_unpacks_to_too_much(images, tmp_path):
    path = lmdb_file(tmp_path / "a.aselmdb", images, lambda text: zlib.compress(b" " * 10**8))
    reader = read_structures(path, on_error="skip", limits=ReadingLimits(text_bytes=100_000))
    assert len(list(reader)) == 5 and type(reader.report[0]) is LimitError and "100,000" in str(reader.report[0])


def test_damaged_pages_do_not_end_the_process(images, tmp_path):
    """LMDB itself reads beyond the file where a page is damaged; a new process would die of it without a message."""
    whole = lmdb_file(tmp_path / "a.aselmdb", images * 5).read_bytes()
    random = np.random.default_rng(0)
    code = "import sys; from deepchem_crystalssl import read_structures\n"
    code += "for path in sys.argv[1:]:\n    reader = read_structures(path, on_error='skip')\n"
    code += "    print(len(list(reader)), len(reader.report))"
    paths = []
    for k in range(60):
        content = bytearray(whole)
        for place in random.integers(0, len(whole) - 40, 4):
            content[place : place + 30] = random.bytes(30)
        paths.append(tmp_path / f"{k}.aselmdb")
        paths[-1].write_bytes(bytes(content))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, paths)], capture_output=True, text=True
    )
    counts = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(counts) == 60, done.stderr[-500:]
    assert all(read + lost in (30, 1) for read, lost in counts)


def test_broken_databases_of_fairchem(images, tmp_path):
    path = lmdb_file(tmp_path / "a.aselmdb", images * 30)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4096], whole[:50], b"SQLite format 3\0" * 999, b""):
        path.write_bytes(content)
        with pytest.raises(UnsupportedFileError, match="a.aselmdb"):
            read(path)
    path.unlink()
    lmdb_file(path, images, nextid=10**15)
    with pytest.raises(UnsupportedFileError, match="rows up to"):
        read(path)


@pytest.mark.parametrize("library", ["ase", "lmdb"])
def test_a_missing_library_is_named_with_what_to_install(images, tmp_path, monkeypatch, library):
    path = tmp_path / "a.extxyz"
    ase.io.write(path, images)
    if library == "lmdb":
        path = lmdb_file(tmp_path / "a.aselmdb", images)
    real = builtins.__import__

    def missing(name, *rest):
        if name.split(".")[0] == library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    for module in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UnsupportedFileError, match=r"pip install 'deepchem_crystalssl\[ase\]'"):
        read(path)


# vasprun.xml


@needs_runs
@pytest.mark.parametrize("name", ["vasprun_pstress.xml", "vasprun_dfpt.xml"])
def test_vasprun(tmp_path, name):
    text = (RUNS / name).read_bytes()
    (tmp_path / "mp-1").mkdir()
    (tmp_path / "mp-2").mkdir()
    (tmp_path / "mp-1" / "vasprun.xml").write_bytes(text)
    (tmp_path / "mp-2" / "vasprun.xml.gz").write_bytes(gzip.compress(text))
    crystals = read(tmp_path)
    assert [c.material_id for c in crystals] == ["mp-1/vasprun.xml", "mp-2/vasprun.xml"]
    run = Vasprun(tmp_path / "mp-1" / "vasprun.xml", parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    for atoms in (ase.io.read(RUNS / name, format="vasp-xml"), run.final_structure.to_ase_atoms()):
        assert_same(crystals, [atoms, atoms])


@needs_runs
def test_broken_vasprun(tmp_path, monkeypatch):
    text = (RUNS / "vasprun_pstress.xml").read_text(encoding="latin-1")
    path = tmp_path / "vasprun.xml"
    entity = '<!DOCTYPE a [<!ENTITY b "ha">]>'
    row = "<rc><c>"
    for content, error in (
        (text[: len(text) // 2], UnsupportedFileError),
        (text.replace("<modeling>", f"{entity}<modeling>"), UnsupportedFileError),
        (text.replace(row, f"{row}Na</c><c>1</c></rc>{row}"), CoordinateError),
        (text.replace('name="positions" >', 'name="positions" ><v>1.0 2.0</v>'), CoordinateError),
        (text.replace('name="positions" >', 'name="positions" ><v>1.0 ******** 2.0</v>'), CoordinateError),
        ("<modeling></modeling>", UnsupportedFileError),
        ("data_x", UnsupportedFileError),
        ("<a>" * 500, LimitError),
    ):
        assert content != text
        path.write_text(content, encoding="latin-1")
        with pytest.raises(error, match="vasprun.xml"):
            read(path)
    monkeypatch.setattr(vasprun, "MAX_CELL", 10)
    path.write_text("<structure><varray name='basis'><v>" + "1\n" * 1000, encoding="latin-1")
    with pytest.raises(LimitError, match="10 pieces"):
        read(path)


@needs_runs
def test_files_of_a_folder(images, tmp_path):
    """Suffixes that mean something else too are listed only with what begins like crystals."""
    database(tmp_path / "a.db", images)
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 99)
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE other (a)")
    connection.close()
    ase.io.write(tmp_path / "a.xyz", images[:2], format="extxyz")
    (tmp_path / "water.xyz").write_text("3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n")
    ase.io.write(tmp_path / "a.traj", images)
    (tmp_path / "other.traj").write_text("frames of another program")
    (tmp_path / "config.xml").write_text("<a/>")
    (tmp_path / "vasprun.xml").write_bytes((RUNS / "vasprun_pstress.xml").read_bytes())
    found = [path.name for path in files.find_files(tmp_path)]
    assert found == ["a.db", "a.traj", "a.xyz", "vasprun.xml"]
    assert len(read(tmp_path)) == 6 + 6 + 2 + 1


def test_unreadable_objects_of_a_row_are_not_decoded(images, tmp_path):
    """The calculator's parameters and data of a row may be anything: they are not looked at."""
    path = database(tmp_path / "a.db", images)
    changed(path, "data", b"\x00" * 99)
    changed(path, "calculator_parameters", '{"__ndarray__": [[99999999999], "float64", [0]]}')
    assert len(read(path)) == 6
