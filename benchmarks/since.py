"""What the work of today costs in comparison with an earlier commit of this repository, in one run.

    python benchmarks/since.py COMMIT DATA/mp_structures.parquet [--rounds 3] [--index FOLDER]

The commit is checked out into a temporary folder. Then both versions do the same work in turns, each time in a process
of its own with one thread: reading 300 crystals from CIF, POSCAR and JSON and 4,000 from a table, graphs, patterns, the
embedding, and opening an index of 4,000 crystals and asking it for the first time. The table holds CPU times per
crystal, the smallest of all repetitions and rounds, and the ratio of the two versions. The smallest time is that with
the fewest disturbances. ``--index`` names a larger index to open, which both versions must be able to read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

WORK = """
import json, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import pandas as pd
import deepchem_crystalssl as dcs
from deepchem_crystalssl.search import EmbeddingIndex

scratch, data, large = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
frame = pd.read_parquet(data).iloc[:4000]
crystals = list(dcs.read_structures(frame, progress=False))
few = crystals[:300]
graphs = dcs.structures_to_graphs(crystals[:800], progress=False)
model = dcs.load_pretrained("general")
folder = Path(large or scratch / "index")
if not folder.exists():
    EmbeddingIndex.from_structures(crystals, model, progress=False).save(folder)
cifs, poscars = (sorted(map(str, scratch.glob(pattern))) for pattern in ("*.cif", "*.vasp"))
text = (scratch / "crystals.json").read_text()
read = lambda source: list(dcs.read_structures(source, progress=False))
works = {
    "CIF": (len(cifs), 7, lambda: read(cifs)),
    "POSCAR": (len(poscars), 5, lambda: read(poscars)),
    "JSON": (300, 7, lambda: read(text)),
    "table": (len(frame), 7, lambda: read(frame)),
    "graphs": (len(crystals), 7, lambda: dcs.structures_to_graphs(crystals, progress=False)),
    "patterns": (1000, 5, lambda: dcs.simulate_xrd(crystals[:1000], progress=False)),
    "embedding of graphs": (800, 5, lambda: model.embed(graphs, progress=False)),
    "opening an index": (1, 5, lambda: EmbeddingIndex.load(folder)),
    "opening it and a first query": (1, 5, lambda: EmbeddingIndex.load(folder).query(crystals[7].material_id)),
}
best = {}
for name, (number, times, work) in works.items():
    work()
    took = []
    for _ in range(times):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    best[name] = 1e6 * min(took) / number
print(json.dumps(best))
"""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
ROOT = Path(__file__).resolve().parent.parent


def write_files(data: str, scratch: Path) -> None:
    """Write 300 crystals as CIF and POSCAR files and in one JSON text, as pymatgen writes them."""
    import deepchem_crystalssl as dcs

    crystals = dcs.read_structures(pd.read_parquet(data).iloc[:300], progress=False)
    structures = {crystal.material_id: crystal.to_structure() for crystal in crystals}
    for name, structure in structures.items():
        structure.to(filename=str(scratch / f"{name}.cif"), fmt="cif")
        structure.to(filename=str(scratch / f"{name}.vasp"), fmt="poscar")
    (scratch / "crystals.json").write_text(json.dumps([one.as_dict() for one in structures.values()]))


def measure(tree: Path, scratch: Path, data: str, index: str) -> dict[str, float]:
    """The smallest CPU time of each work, in microseconds per crystal, of one process."""
    own = scratch / tree.name
    if not own.exists():
        own.mkdir()
        for path in scratch.glob("*.*"):
            os.link(path, own / path.name)
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", WORK, str(own), data, index]
    done = subprocess.run(command, env=environment, cwd=scratch, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure both versions in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--index", default="")
    given = parser.parse_args()
    data, index = str(Path(given.data).resolve()), given.index and str(Path(given.index).resolve())
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        before = scratch / "before"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "-q", "--detach", before, given.commit], check=True)
        try:
            (scratch / "files").mkdir()
            write_files(data, scratch / "files")
            rounds: dict[str, list[dict[str, float]]] = {"before": [], "now": []}
            for _ in range(given.rounds):
                rounds["before"].append(measure(before, scratch / "files", data, index))
                rounds["now"].append(measure(ROOT, scratch / "files", data, index))
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", before], check=True)
    best = {name: pd.DataFrame(found).min() for name, found in rounds.items()}
    table = pd.DataFrame({f"{name}, µs": values for name, values in best.items()})
    table["ratio"] = best["now"] / best["before"]
    print(f"commit {given.commit}, {given.rounds} rounds, one thread")
    print(table.round({"before, µs": 1, "now, µs": 1, "ratio": 3}).to_string())


if __name__ == "__main__":
    main()
