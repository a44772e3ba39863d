"""Small valid files of every format that is read, and what disks, editors and strangers make of them."""

import bz2
import gzip
import io
import json
import lzma
import re
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import pandas as pd
from ase.db import connect
from ase.io import write
from ase.io.trajectory import Trajectory
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

sys.path.append(str(Path(__file__).parents[1] / "diffraction"))

from pattern_samples import own_files  # noqa: E402  (beside the tests of patterns)

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.4697, 0, 0], [0.4135, 0.2669, 0.1191]]
)
DISORDERED = """data_alloy
_cell_length_a 3.61(2)
_cell_length_b 3.61
_cell_length_c 3.61
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_symmetry_multiplicity
_atom_site_occupancy
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cu1 Cu 4 0.75 0 0 0
Au1 Au 4 0.25 0 0 0
O1 O 8 0.1 .25 .25 .25
"""
MAGNETIC = """data_mcif
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 5.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_space_group_symop_magn_operation.id
_space_group_symop_magn_operation.xyz
1 x,y,z,+1
2 -x,-y,-z,-1
loop_
_space_group_symop_magn_centering.id
_space_group_symop_magn_centering.xyz
1 x,y,z,+1
2 x+1/2,y+1/2,z,-1
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Mn1 Mn 0.1 0.2 0.3
O1 O 0.3 0.0 0.1
"""
VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <atominfo><atoms> 2 </atoms>
  <array name="atoms"><dimension dim="1">ion</dimension><field type="string">element</field>
   <set><rc><c>Na</c><c> 1</c></rc><rc><c>Cl</c><c> 2</c></rc></set></array></atominfo>
 <structure name="finalpos">
  <crystal><varray name="basis">
   <v> 0.0 2.82 2.82 </v><v> 2.82 0.0 2.82 </v><v> 2.82 2.82 0.0 </v></varray></crystal>
  <varray name="positions"><v> 0.0 0.0 0.0 </v><v> 0.5 0.5 0.5 </v></varray>
 </structure>
</modeling>
"""
IMAGES = [SALT.to_ase_atoms(), QUARTZ.to_ase_atoms()]
for atoms in IMAGES:
    atoms.info.clear()


def as_optimade(structure):
    """An entry as an OPTIMADE server answers it."""
    attributes = {
        "lattice_vectors": structure.lattice.matrix.tolist(),
        "cartesian_site_positions": structure.cart_coords.tolist(),
        "species_at_sites": [site.specie.symbol for site in structure],
        "dimension_types": [1, 1, 1],
    }
    return {"id": structure.reduced_formula, "type": "structures", "attributes": attributes}


def as_jarvis(structure):
    """An entry of JARVIS."""
    atoms = {
        "lattice_mat": structure.lattice.matrix.tolist(),
        "coords": structure.frac_coords.tolist(),
        "elements": [site.specie.symbol for site in structure],
        "cartesian": False,
    }
    return {"jid": "JVASP-1", "atoms": atoms}


def _written(name, writer):
    """The bytes of a file that a library writes to a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        writer(path)
        return path.read_bytes()


def _trajectory(path):
    with Trajectory(str(path), "w") as trajectory:
        for image in IMAGES:
            trajectory.write(image)


def _database(path):
    with connect(str(path)) as database:
        for image in IMAGES:
            database.write(image, material_id=str(image.symbols))


def _lmdb(path):
    import lmdb

    rows = [
        {"numbers": image.numbers.tolist(), "positions": image.positions.tolist(), "cell": image.cell.tolist(),
         "pbc": [True] * 3, "unique_id": str(k)}
        for k, image in enumerate(IMAGES)
    ]  # fmt: skip
    values = {**{str(k): row for k, row in enumerate(rows, 1)}, "nextid": len(rows) + 1, "deleted_ids": []}
    with lmdb.open(str(path), subdir=False, map_size=2**20, lock=False) as database, database.begin(
        write=True
    ) as writing:
        for key, value in values.items():
            writing.put(key.encode(), zlib.compress(json.dumps(value).encode()))


def _packed(name, members):
    stream = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for inside, data in members.items():
                archive.writestr(inside, data)
    else:
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for inside, data in members.items():
                info = tarfile.TarInfo(inside)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def crystal_files():
    """The bytes of a small file of crystals by its name, one for each form that is read."""
    cif = str(CifWriter(QUARTZ)).encode()
    symmetric = str(CifWriter(QUARTZ, symprec=0.01)).encode()
    entries = [json.loads(structure.to(fmt="json")) for structure in (SALT, QUARTZ)]
    frame = pd.DataFrame({"material_id": ["a", "b"], "cif": [cif.decode(), symmetric.decode()], "gap": [1.5, 2.5]})
    columns = pd.DataFrame({
        "id": ["a", "b"],
        "atomic_numbers": [[site.specie.Z for site in structure] for structure in (SALT, QUARTZ)],
        "frac_coords": [structure.frac_coords.tolist() for structure in (SALT, QUARTZ)],
        "lattice": [structure.lattice.matrix.tolist() for structure in (SALT, QUARTZ)],
    })  # fmt: skip
    texts = {
        "plain.cif": cif,
        "symmetric.cif": symmetric,
        "disordered.cif": DISORDERED.encode(),
        "magnetic.mcif": MAGNETIC.encode(),
        "two.cif": cif + symmetric.replace(b"data_", b"data_other_"),
        "POSCAR": Poscar(QUARTZ).get_str().encode(),
        "cartesian.vasp": Poscar(SALT).get_str(direct=False).encode(),
        "structure.json": json.dumps(entries[0]).encode(),
        "list.json": json.dumps(entries).encode(),
        "lines.jsonl": "\n".join(map(json.dumps, entries)).encode(),
        "ids.json": json.dumps({"a": entries[0], "b": entries[1]}).encode(),
        "texts.json": json.dumps({"a": cif.decode(), "b": Poscar(SALT).get_str()}).encode(),
        "entries.json": json.dumps({"entries": [{"entry_id": "x", "structure": entries[1]}]}).encode(),
        "optimade.json": json.dumps({"data": [as_optimade(SALT), as_optimade(QUARTZ)], "meta": {}}).encode(),
        "jarvis.json": json.dumps([as_jarvis(SALT)]).encode(),
        "split.json": json.dumps({"index": ["a"], "columns": ["structure"], "data": [[entries[0]]]}).encode(),
        "table.csv": frame.to_csv(index=False).encode(),
        "vasprun.xml": VASPRUN.encode(),
        "frames.extxyz": _written("a.extxyz", lambda path: write(path, IMAGES)),
        "grid.xsf": _written("a.xsf", lambda path: write(path, IMAGES[1])),
        "rows.json": _written("a.json", lambda path: write(path, IMAGES)),
    }
    return texts | {
        "table.parquet": _written("a.parquet", frame.to_parquet),
        "columns.parquet": _written("a.parquet", columns.to_parquet),
        "frames.traj": _written("a.traj", _trajectory),
        "rows.db": _written("a.db", _database),
        "rows.aselmdb": _written("a.aselmdb", _lmdb),
        "packed.cif.gz": gzip.compress(cif),
        "packed.json.bz2": bz2.compress(texts["list.json"]),
        "packed.csv.xz": lzma.compress(texts["table.csv"]),
        "packed.traj.gz": gzip.compress(_written("a.traj", _trajectory)),
        "members.zip": _packed(".zip", {"a.cif": cif, "b/POSCAR": texts["POSCAR"], "c.json": texts["list.json"]}),
        "members.tar.gz": _packed(".tar.gz", {"a.cif": cif, "d.csv": texts["table.csv"]}),
    }


def pattern_files():
    """The bytes of a file of a measured pattern by its name, one for each form that is read."""
    return {name: data if isinstance(data, bytes) else data.encode() for name, data in own_files().items()}


TEXTS = (".cif", ".mcif", "POSCAR", ".vasp", ".json", ".jsonl", ".csv", ".xml", ".extxyz", ".xsf")


def is_text(name):
    """Whether a file of crystals is a text."""
    return name.endswith(TEXTS)


def neutral_rewritings(data):
    """Texts that say the same, by what was done to them."""
    text = data.decode()
    lines = text.replace("\r\n", "\n")
    yield "UTF-8 with mark", text.encode("utf-8-sig")
    yield "UTF-16", text.encode("utf-16")
    yield "UTF-16 LE with mark", ("\ufeff" + text).encode("utf-16-le")
    yield "UTF-16 BE with mark", ("\ufeff" + text).encode("utf-16-be")
    yield "UTF-16 LE without mark", text.encode("utf-16-le")
    yield "UTF-16 BE without mark", text.encode("utf-16-be")
    yield "UTF-32", text.encode("utf-32")
    yield "CR LF", lines.replace("\n", "\r\n").encode()
    yield "CR", lines.replace("\n", "\r").encode()
    yield "Ctrl-Z", text.encode() + b"\x1a"
    yield "line, Ctrl-Z", text.encode() + b"\n\x1a"
    yield "CR LF, Ctrl-Z, mark", ("\ufeff" + lines.replace("\n", "\r\n") + "\x1a").encode()
    yield "UTF-16, CR, Ctrl-Z", (lines.replace("\n", "\r") + "\r\x1a").encode("utf-16")
    yield "UTF-16, byte Ctrl-Z", text.encode("utf-16") + b"\x1a"
    yield "padded with zeros", text.encode() + b"\x1a" + b"\0" * 77
    yield "empty lines", text.encode() + b"\n\n\n"


EXTREMES = (
    "nan", "inf", "-1", "0", "1e308", "-1e308", "1e-308", "1e400", "999999999999", "1000000000", "4294967296", "0.1",
    "-0", "1" * 5000, "0." + "3" * 5000, "x", "?", ".", "1/3", "1,5", "1e", "--1", "null", "[]", "{}", '""', "true",
    "100000", "0x10", "1_000", "\u0663", "\ud7ff", "*" * 8,
)  # fmt: skip
_NUMBER = re.compile(rb"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")
_WORD = re.compile(rb"[A-Za-z_]{2,}")


def mutated(data, random):
    """A file with one to four faults, drawn by a generator of numbers."""
    for _ in range(random.integers(1, 5)):
        if not data:
            break
        data = FAULTS[random.integers(len(FAULTS))](data, random)
    return data


def _flip(data, random):
    changed = bytearray(data)
    for place in random.integers(0, len(data), random.integers(1, 6)):
        changed[place] ^= 1 << random.integers(8)
    return bytes(changed)


def _overwrite(data, random):
    start = random.integers(len(data))
    noise = random.bytes(int(random.integers(1, 40)))
    return data[:start] + noise + data[start + len(noise) :]


def _cut(data, random):
    return data[: random.integers(len(data))]


def _remove(data, random):
    start, length = random.integers(len(data)), random.integers(1, 1 + len(data) // 4)
    return data[:start] + data[start + length :]


def _repeat(data, random):
    start, length = random.integers(len(data)), random.integers(1, 1 + len(data) // 4)
    return data[: start + length] * int(random.integers(1, 4)) + data[start:]


def _change_lines(data, random):
    lines = data.split(b"\n")
    k, j = random.integers(len(lines), size=2)
    change = random.integers(4)
    if change == 0:
        del lines[k]
    elif change == 1:
        lines[k:k] = [lines[k]] * int(random.integers(1, 300))
    elif change == 2:
        lines[k], lines[j] = lines[j], lines[k]
    else:
        lines[k:k] = [lines[j]]
    return b"\n".join(lines)


def _replaced(pattern):
    def fault(data, random):
        found = list(pattern.finditer(data))
        if not found:
            return data
        place = found[random.integers(len(found))]
        extreme = EXTREMES[random.integers(len(EXTREMES))].encode("utf-8", "surrogatepass")
        return data[: place.start()] + extreme + data[place.end() :]

    return fault


def _encode(data, random):
    encodings = ("utf-16", "utf-16-be", "utf-8-sig", "utf-32", "latin-1", "cp500")
    return data.decode("latin-1").encode(encodings[random.integers(len(encodings))], "replace")


def _end_lines(data, random):
    return data.replace(b"\n", (b"\r", b"\r\n", b"\n\n", b"\n\0", b" ")[random.integers(5)])


def _append(data, random):
    return data + (b"\x1a", b"\0" * 50, b"\n" * 50, b"]", b'"', b"data_\n", data)[random.integers(7)]


FAULTS = (
    _flip, _flip, _overwrite, _cut, _remove, _repeat, _change_lines, _change_lines, _replaced(_NUMBER),
    _replaced(_NUMBER), _replaced(_NUMBER), _replaced(_WORD), _encode, _end_lines, _append,
)  # fmt: skip
