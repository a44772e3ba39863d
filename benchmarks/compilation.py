"""Measure what the compilation of the kernels costs.

The first call of each kernel is timed in a process with an empty cache and in a process with a full one.

    python benchmarks/compilation.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

CODE = """
import time
import deepchem as dc
import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import HARD
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
start = time.perf_counter()
crystals = bundled_prototypes()[:4]
graphs = dcs.CrystalGraphFeaturizer().featurize([crystal.to_structure() for crystal in crystals])
dcs.simulate_xrd(crystals)
print(f"{time.perf_counter() - start:.1f}")
start = time.perf_counter()
dcs.CrystalSSLModel("joint", conditions=HARD, batch_size=4).fit(dc.data.NumpyDataset(graphs), nb_epoch=1)
print(f"{time.perf_counter() - start:.1f}")
"""

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        for state in ("empty", "full"):
            run = subprocess.run(
                [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
            )
            graphs, training = run.stdout.split()
            print(f"{state} cache: first graphs and patterns {graphs} s, first training step {training} s")
