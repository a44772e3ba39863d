"""What compiling the kernels costs: the first call of each in a process with an empty cache, and with a full one.

python benchmarks/compilation.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

CODE = """
import time
import deepchem_crystalssl as dcs
from deepchem_crystalssl.demo import bundled_prototypes
start = time.perf_counter()
crystals = bundled_prototypes()[:3]
dcs.structures_to_graphs(crystals)
dcs.simulate_xrd(crystals)
print(f"{time.perf_counter() - start:.1f}")
"""

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        for state in ("empty", "full"):
            run = subprocess.run(
                [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
            )
            print(f"first graphs and patterns, {state} cache: {run.stdout.strip()} s")
