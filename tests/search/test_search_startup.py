"""A search by id or formula loads NumPy, pandas and pyarrow, and no library that takes seconds to import."""

import json
import subprocess
import sys

from deepchem_crystalssl.search import EmbeddingIndex

HEAVY = {"torch", "deepchem", "pymatgen", "sklearn", "scipy", "matplotlib", "openTSNE", "faiss", "numba", "gemmi",
         "spglib", "dgl", "pybaselines"}  # fmt: skip
PROGRAM = """
import json, sys
from deepchem_crystalssl.search import EmbeddingIndex, Filter
index = EmbeddingIndex.load(sys.argv[1])
name, formula = sys.argv[2:]
found = [index.query(name, k=3), index.query(formula, k=3, filter=Filter(n_sites=(None, 50)))]
print(found[0], file=sys.stderr)
print(json.dumps([sorted({module.split(".")[0] for module in sys.modules}), [len(one) for one in found]]))
"""


def test_no_heavy_library_is_loaded(prototypes, tmp_path):
    EmbeddingIndex.from_structures(prototypes[:20], "small", progress=False).save(tmp_path / "index")
    crystal = prototypes[7]
    arguments = [str(tmp_path / "index"), crystal.material_id, crystal.reduced_formula]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    modules, found = json.loads(done.stdout)
    assert not HEAVY & set(modules) and found == [3, 3]
