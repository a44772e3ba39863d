"""How long a new Python needs to start: the package and the command, beside NumPy and PyTorch.

    python benchmarks/start_up.py [--index INDEX] [--rounds 7]

INDEX: a folder that ``crystalssl index`` wrote; without it, an index of the 288 bundled prototypes is made first.

Each row is one new process; rounds are interleaved, and the median of the CPU seconds (user and system, of the process)
counts, because they do not depend on what else the machine does; the median of the elapsed seconds stands beside it.
The ratios are to ``import numpy`` and ``import torch`` of the same run. "open and search" is the part of a search that
is spent in opening the index and answering, measured inside the process. Then the imports that cost most, as
``python -X importtime`` counts them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = "import sys; from deepchem_crystalssl.cli import main; sys.exit(main({}))"
SEARCH = """
import sys, time
from deepchem_crystalssl.search import EmbeddingIndex
started = time.process_time()
EmbeddingIndex.load({index!r}).query({query!r}, 10)
print(time.process_time() - started)
"""


def run(code: str, *options: str) -> tuple[float, float, subprocess.CompletedProcess]:
    """CPU seconds, elapsed seconds and the finished process of one Python that runs some code."""
    started, before = time.perf_counter(), os.times()
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True)
    after, elapsed = os.times(), time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{code}\n{done.stderr}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, elapsed, done


def make_index(folder: Path) -> Path:
    """An index of the bundled prototypes."""
    from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    from deepchem_crystalssl.search import build_index

    crystals = {crystal.material_id: crystal for crystal in bundled_prototypes()}  # some names occur twice
    build_index(list(crystals.values()), folder / "index", "small", patterns=False, progress=False)
    return folder / "index"


def slowest_imports(code: str, n: int = 6) -> list[tuple[str, float]]:
    """Modules from outside the standard library with the longest import times, and their milliseconds."""
    lines = run(code, "-X", "importtime")[2].stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:")]
    times = {name.strip(): float(total) / 1000 for _, total, name in rows[1:]}
    top = {name.partition(".")[0] for name in times} - sys.stdlib_module_names
    return sorted(((name, times[name]) for name in top if name in times), key=lambda row: -row[1])[:n]


def main() -> None:
    """Print the table and the imports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        index = str(options.index or make_index(Path(temporary)))
        from deepchem_crystalssl.search import EmbeddingIndex

        query = EmbeddingIndex.load(index).table["material_id"].iloc[0]
        cases = {
            "python": "pass",
            "import numpy": "import numpy",
            "import torch": "import torch",
            "import deepchem_crystalssl": "import deepchem_crystalssl",
            "crystalssl --version": COMMAND.format(["--version"]),
            "crystalssl --help": COMMAND.format(["--help"]),
            "crystalssl search ID": COMMAND.format(["search", query, "--index", index]),
            "open and search": SEARCH.format(index=index, query=query),
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for round in range(options.rounds + 1):
            for name, code in cases.items():
                used, elapsed, done = run(code)
                if name == "open and search":
                    used = elapsed = float(done.stdout)
                if round:  # the first round only fills the caches
                    seconds[name].append((used, elapsed))
        median = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in seconds.items()}
        print(f"{'':28}{'CPU s':>8}{'elapsed s':>11}{'/ numpy':>9}{'/ torch':>9}")
        for name, (used, elapsed) in median.items():
            ratios = [used / median[f"import {library}"][0] for library in ("numpy", "torch")]
            print(f"{name:28}{used:8.3f}{elapsed:11.3f}{ratios[0]:9.2f}{ratios[1]:9.2f}")
        allowed = 1.5 * median["import torch"][0] + median["open and search"][0]
        print(f"\na search by id takes {median['crystalssl search ID'][0] / allowed:.2f} of 1.5 x torch and opening")
        for name in ("import deepchem_crystalssl", "crystalssl search ID"):
            print(f"\n{name}, milliseconds of imports:")
            for module, milliseconds in slowest_imports(cases[name]):
                print(f"  {module:24}{milliseconds:8.0f}")


if __name__ == "__main__":
    main()
