"""Make millions of crystals, featurize, embed and index them by several workers, and query the index.

The crystals are made of a table of real ones: elements are exchanged for others of their group, and the cells are
strained. Which ones depends on the row and the number of the copy alone, so that a run can be repeated or continued; no
more than a shard is in memory. Every step goes on where it stopped when the script is run again with the same folder.

    python benchmarks/scale_out.py DATA/mp_structures.parquet WORK [--crystals 5000000] [--embedded 1000000]

Prints rates, peak memory of the workers, room on disk, efficiency at two workers, recall and latency of the index, its
memory, and what 100 million crystals would take at these rates.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from deepchem_crystalssl.bulk import Embed, Featurize, ShardedOutput, map_shards
from deepchem_crystalssl.crystals.elements import symbols
from deepchem_crystalssl.crystals.store import RecordStore, write_records
from deepchem_crystalssl.search import Filter, ShardedIndex

GROUPS = [
    "Li Na K Rb Cs", "Be Mg Ca Sr Ba", "Sc Y La", "Ti Zr Hf", "V Nb Ta", "Cr Mo W", "Mn Tc Re", "Fe Ru Os", "Co Rh Ir",
    "Ni Pd Pt", "Cu Ag Au", "Zn Cd Hg", "B Al Ga In Tl", "C Si Ge Sn Pb", "N P As Sb Bi", "O S Se Te", "F Cl Br I",
    "Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu", "U Np Pu",
]  # fmt: skip
STRAIN = 0.03
SIZE = 8192


def exchange() -> list[list[int]]:
    """For each atomic number those of its group."""
    of = [[z] for z in range(len(symbols()))]
    for group in GROUPS:
        numbers = [symbols().index(name) for name in group.split()]
        for z in numbers:
            of[z] = numbers
    return of


@dataclass(frozen=True)
class Variants:
    """A step that makes several crystals of each, as rows of a table; the first is the crystal itself."""

    copies: int
    suffix: str = ".parquet"
    disorder: str = "average"

    def identity(self) -> dict[str, Any]:
        """Number of copies."""
        return {"step": "variants", "copies": self.copies}

    def open(self) -> Any:
        """The table of exchanges."""
        return VariantRows(self.copies)


class VariantRows:
    schema = pa.schema([
        ("material_id", pa.string()), ("atomic_numbers", pa.list_(pa.uint8())), ("frac_coords", pa.list_(pa.float32())),
        ("lattice", pa.list_(pa.float32())),
    ])  # fmt: skip

    def __init__(self, copies: int):
        self.copies, self.groups = copies, exchange()

    def __call__(self, crystals: Any, report: Any) -> pa.RecordBatch:
        names = [f"{crystal.material_id}~{copy}" for crystal in crystals for copy in range(self.copies)]
        sites = np.repeat([crystal.num_nodes for crystal in crystals], self.copies)
        numbers = np.concatenate([self.exchanged(crystal).ravel() for crystal in crystals])
        places = np.concatenate([np.tile(crystal.frac_coords.ravel(), self.copies) for crystal in crystals])
        cells = np.concatenate([self.strained(crystal).ravel() for crystal in crystals])
        columns = [
            pa.array(names),
            as_lists(numbers.astype(np.uint8), sites),
            as_lists(places.astype(np.float32), 3 * sites),
            as_lists(cells.astype(np.float32), np.full(len(names), 9)),
        ]
        return pa.record_batch(columns, schema=self.schema)

    def exchanged(self, crystal: Any) -> np.ndarray:
        """Atomic numbers of all copies, (copies, N); each element of a copy is exchanged for one of its group."""
        random = np.random.default_rng([0, *crystal.material_id.encode()])
        table = np.tile(np.arange(len(self.groups)), (self.copies, 1))
        for z in np.unique(crystal.atomic_numbers):
            table[1:, z] = random.choice(self.groups[z], self.copies - 1)
        return table[:, crystal.atomic_numbers]

    def strained(self, crystal: Any) -> np.ndarray:
        """Cells of all copies, (copies, 3, 3)."""
        random = np.random.default_rng([1, *crystal.material_id.encode()])
        strain = random.normal(scale=STRAIN / 2, size=(self.copies, 3, 3)).clip(-STRAIN, STRAIN)
        strain[0] = 0.0
        return crystal.lattice @ (np.eye(3) + (strain + strain.transpose(0, 2, 1)) / 2)


def as_lists(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    """A column of lists of these lengths."""
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), pa.array(values))


def told(name: str, seconds: float, count: int, output: ShardedOutput | None = None, unit: str = "crystals") -> None:
    """One line of the table."""
    memory = "" if output is None else f"   peak of a worker {max(line['peak_mb'] for line in output.lines)} MB"
    size = 0 if output is None else sum(line["bytes"] for line in output.lines) / max(count, 1)
    room = f"   {size:,.0f} bytes each" if size else ""
    print(f"{name:32s} {count:>10,} {unit} in {seconds:7.0f} s   {count / seconds:9,.0f}/s{memory}{room}", flush=True)


def timed(work: Path, name: str, count: int, function: Any) -> Any:
    """Do a step and remember its wall-clock time; what is done already is not done, and its time is read."""
    kept = work / f"{name}.seconds.json"
    begun = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - begun
    if kept.exists():
        seconds = json.loads(kept.read_text())
    else:
        kept.write_text(json.dumps(seconds))
    told(name, seconds, count or len(result), result if isinstance(result, ShardedOutput) else None)
    return result


def first_files(folder: Path, crystals: int) -> list[Path]:
    """Files of a finished output that hold at least so many crystals."""
    chosen, rows = [], 0
    for line in ShardedOutput(folder).lines:
        if rows < crystals:
            chosen.append(folder / line["file"])
            rows += line["rows"]
    return chosen


def efficiency(store: list[Path], work: Path, model: str, crystals: int, rounds: int = 3) -> None:
    """Rates of one and two workers on the same shards, in turns; the start of the workers is left out."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2) * rounds:
        out = work / "efficiency"
        shutil.rmtree(out, ignore_errors=True)
        done = map_shards(store, Embed(model, ("similarity",), half=True), out, workers=workers, size=crystals // 32)
        ends: dict[str, list[float]] = {}
        for line, path in zip(done.lines, done.files, strict=True):
            ends.setdefault(line["worker"], []).append(path.stat().st_mtime)
        begin = max(min(times) for times in ends.values())  # all workers are there
        later = [line["rows"] for line, path in zip(done.lines, done.files) if path.stat().st_mtime > begin]
        rates[workers].append(sum(later) / (max(max(times) for times in ends.values()) - begin))
        shutil.rmtree(out)
    one, two = np.median(rates[1]), np.median(rates[2])
    ratios = ", ".join(f"{b / a / 2:.2f}" for a, b in zip(rates[1], rates[2]))
    print(
        f"efficiency at two workers        {two / one / 2:.2f}   ({one:,.0f}/s by one, {two:,.0f}/s by two; {ratios})"
    )


def resident() -> float:
    """Resident memory of this process that is its own, bytes: pages of mapped files do not count."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return float(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def queries(index: ShardedIndex, folder: Path, number: int = 200) -> None:
    """Recall against an exact search, latency and memory."""
    rows = np.sort(np.random.default_rng(1).permutation(len(index))[:number])
    vectors = index.gallery.vectors_of(rows)
    begun = time.perf_counter()
    exact = index.gallery.nearest(vectors, 11, exact=True)[0]
    exact_seconds = (time.perf_counter() - begun) / number
    index.gallery.nearest(vectors[:20], 11, exact=False)
    found, seconds = [], []
    for vector in vectors:
        begun = time.perf_counter()
        found.append(index.gallery.nearest(vector[None], 11, exact=False)[0][0])
        seconds.append(time.perf_counter() - begun)
    others = [
        [[row for row in given if row != own][:10] for given, own in zip(lists, rows)] for lists in (exact, found)
    ]
    recall = np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(*others)])
    print(f"recall@10 after re-ranking       {recall:.3f}   ({number} queries, against all {len(index):,})")
    middle, late = np.median(seconds) * 1e3, np.quantile(seconds, 0.95) * 1e3
    exactly = exact_seconds * 1e3
    print(f"a query                          {middle:.1f} ms median, {late:.1f} ms 95 %; exact {exactly:.0f} ms")
    filter = Filter(elements=["O"], n_elements=(2, 3))
    begun = time.perf_counter()
    index.query(vectors[0], filter=filter, exact=False)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    index.query(vectors[1], filter=filter, exact=False)
    again = time.perf_counter() - begun
    print(
        f"a query with a filter            {first * 1e3:.0f} ms the first time, {again * 1e3:.0f} ms again", flush=True
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from scale_out import resident; import numpy as np\n"
        "from deepchem_crystalssl.search import ShardedIndex, EmbeddingIndex, Filter\n"
        "import faiss, pyarrow, pandas; before = resident(); index = ShardedIndex.load(sys.argv[1])\n"
        "vectors = index.gallery.vectors_of(range(0, len(index), len(index) // 300))\n"
        "index.gallery.nearest(vectors, 10, exact=False)\n"
        "print((resident() - before) / len(index))"
    )  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)], capture_output=True, text=True
    )
    disk = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    own = float(run.stdout or "nan")
    print(
        f"memory of the opened index       {own:.0f} bytes a crystal; without the rows {disk / len(index):.0f} on disk"
    )


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--crystals", type=int, default=5_000_000)
    parser.add_argument("--embedded", type=int, default=1_000_000)
    parser.add_argument("--model", default="general")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    print(f"{options.workers} workers, {os.cpu_count()} processors, model {options.model}")
    source = work / "source"
    if not (source / "manifest.json").exists() or not RecordStore(source):
        write_records(options.table, source, disorder="average")
    copies = -(-options.crystals // len(RecordStore(source)))
    workers = {"workers": options.workers, "progress": None}
    variants = timed(work, "generate", 0, lambda: map_shards(
        source, Variants(copies), work / "variants", size=max(1, SIZE // copies), **workers
    ))  # fmt: skip
    store = timed(work, "featurize (Parquet to store)", 0, lambda: map_shards(
        variants.files, Featurize("average"), work / "store", size=SIZE, **workers
    ))  # fmt: skip
    chosen = first_files(work / "store", options.embedded)
    index = timed(work, "embed and index", 0, lambda: ShardedIndex.build(
        chosen, work / "index", options.model, size=SIZE, **workers
    ))  # fmt: skip
    rows = [ShardedOutput(work / "index" / name) for name in index._layout.groups]
    embedding = sum(line["seconds"] for output in rows for line in output.lines) / options.workers
    told("  of it the vectors", embedding, len(index), rows[0])
    queries(index, work / "index")
    efficiency(chosen[:2], work, options.model, 2 * SIZE)
    total = json.loads((work / "embed and index.seconds.json").read_text())
    featurized = json.loads((work / "featurize (Parquet to store).seconds.json").read_text())
    each = sum(line["bytes"] for output in rows for line in output.lines) / len(index)
    days = (featurized / len(store) + embedding / len(index)) * 1e8 / 86_400
    joining = (total - embedding) / len(index) * 1e8 / 3600
    print(
        f"100,000,000 crystals at these rates: {days:.1f} days of {options.workers} workers, "
        f"{each * 1e8 / 1e12:.2f} TB of rows, {joining:.0f} h to join them in one process (4 million codes at a "
        "time). What breaks first is the disk, then that one process."
    )


if __name__ == "__main__":
    main()
