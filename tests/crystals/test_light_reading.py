"""Reading the common files needs none of the libraries that only some formats need, and no network."""

import json
import os
import subprocess
import sys

from pymatgen.io.cif import CifWriter

CODE = """
import json, sys
import deepchem_crystalssl
imported = set(sys.modules)
(crystal,) = deepchem_crystalssl.read_structures(sys.argv[1])
print(json.dumps([crystal.num_nodes, sorted(imported), sorted(sys.modules)]))
"""
OPTIONAL = {"ase", "lmdb", "ijson", "optimade"}


def loaded_by_reading(path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(path)], env=environment, capture_output=True, text=True, check=True
    )
    sites, *loaded = json.loads(done.stdout.splitlines()[-1])
    return sites, *({name.partition(".")[0] for name in names} for names in loaded)


def test_a_cif_needs_none_of_the_optional_libraries(structures, tmp_path):
    (tmp_path / "a.cif").write_text(str(CifWriter(structures[0])))
    sites, imported, read = loaded_by_reading(tmp_path / "a.cif")
    assert sites == len(structures[0]) and not OPTIONAL & imported and not OPTIONAL & read
    structures[0].to_ase_atoms().write(tmp_path / "a.extxyz")
    sites, imported, read = loaded_by_reading(tmp_path / "a.extxyz")
    assert sites == len(structures[0]) and not OPTIONAL & imported and OPTIONAL & read == {"ase"}  # the test can fail


def test_a_crystal_without_the_optional_libraries(structures, tmp_path):
    (tmp_path / "a.json").write_text(structures[0].to(fmt="json"))
    assert not OPTIONAL & loaded_by_reading(tmp_path / "a.json")[2]
