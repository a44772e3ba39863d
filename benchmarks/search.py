"""Measure the search in all crystals (speed, recall, size on disk), and the phases of measured patterns.

    python benchmarks/search.py DATA --index INDEX [--parts speed patterns] [--no-mixtures]

INDEX was made before: ``crystalssl index DATA/mp_structures.parquet -o INDEX --metadata ...``.

Speed: the time to build the index from embeddings and ids (and metadata); milliseconds per query of the ten nearest,
one query at a time, by the exact engine and by the approximate one with its recall; the same for faiss's flat index
and scikit-learn's brute force, on the same vectors in the same run; and the bytes on disk.

Patterns: the single-phase examples of ``xrd_measured_examples.json.gz`` whose compound is known are looked up among
all crystals without any filter. The table gives the rank of the first crystal of the right formula, and the seconds.
The peer is brute force: the gallery is simulated once (0.04 degrees, peaks of 0.2), and a candidate's score is the
cosine of square roots above background at the best of 21 cell scales within 1 %. Its seconds are given without and
with the simulation. "not in the index" means that no answer can be right. For the mixtures, whose phases are not
known, the script counts how often the first answer, or one of the first three, could be made of the elements weighed
in (and O, C, H).
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
from pymatgen.core import Composition
from sklearn.neighbors import NearestNeighbors

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import MeasurementConditions, try_patterns
from deepchem_crystalssl.search import EmbeddingIndex
from deepchem_crystalssl.search.approximate import ApproximateNeighbors
from deepchem_crystalssl.search.vectors import nearest_rows

GRID = dcs.XRDGrid(10.0, 100.0, 2250, "CuKa1")
SCALES = np.linspace(-0.01, 0.01, 21)


def seconds_per_call(call: Callable, queries: np.ndarray) -> float:
    """Median over single queries."""
    times = []
    for query in queries:
        started = time.perf_counter()
        call(query[None])
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def speed(index: EmbeddingIndex, folder: Path, n_queries: int) -> None:
    """One line per engine."""
    vectors = np.array(index.vectors)
    started = time.perf_counter()
    EmbeddingIndex.build(vectors, index.table["material_id"].tolist(), metadata=index.table)
    built = time.perf_counter() - started
    started = time.perf_counter()
    engine = ApproximateNeighbors(vectors)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    print(f"{len(vectors)} crystals, {vectors.shape[1]} columns, {size:.0f} MB on disk; built in {built:.1f} s, the "
          f"approximate engine in {time.perf_counter() - started:.1f} s more")  # fmt: skip
    rng = np.random.default_rng(0)
    queries = vectors[rng.permutation(len(vectors))[:n_queries]]
    queries = queries + rng.normal(scale=0.1 / vectors.shape[1] ** 0.5, size=queries.shape)  # crystals not in the index
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    brute = NearestNeighbors(n_neighbors=10, algorithm="brute", metric="cosine").fit(vectors)
    truth, _ = nearest_rows(vectors, queries, 10)
    rows = engine.nearest_rows(queries, 10)[0]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, rows, strict=True)])
    times = {
        "exact": seconds_per_call(lambda q: nearest_rows(vectors, q, 10), queries[:50]),
        f"approximate, recall@10 {recall:.4f}": seconds_per_call(lambda q: engine.nearest_rows(q, 10), queries),
        "faiss flat": seconds_per_call(lambda q: flat.search(q, 10), queries[:50]),
        "scikit-learn brute": seconds_per_call(lambda q: brute.kneighbors(q), queries[:20]),
    }
    for name, spent in times.items():
        print(f"{name:32s} {1e3 * spent:8.2f} ms per query, {times['faiss flat'] / spent:6.1f} x faiss flat")


class BruteForce:
    """Every simulated pattern against the measured one."""

    def __init__(self, index: EmbeddingIndex):
        started = time.perf_counter()
        parts = []
        for start in range(0, len(index), 4096):
            crystals = [index.structures[k] for k in range(start, min(start + 4096, len(index)))]
            drawn = np.sqrt(try_patterns(crystals, GRID, MeasurementConditions(fwhm=(0.2, 0.2)))[0])
            parts.append((drawn / np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), 1e-9)).astype(np.float32))
        self.gallery = np.concatenate(parts)
        self.formulas = index.table["formula"].to_numpy()
        self.seconds = time.perf_counter() - started

    def order(self, two_theta: list, intensity: list, wavelength: float) -> np.ndarray:
        """Rows, best first."""
        versions = [
            dcs.prepare_measured_pattern(two_theta, intensity, GRID, wavelength=wavelength * (1 + s)) for s in SCALES
        ]
        roots = np.sqrt(np.stack(versions)).astype(np.float32)
        roots /= np.linalg.norm(roots, axis=1, keepdims=True)
        return np.argsort(-(self.gallery @ roots.T).max(axis=1))


def distinct(names: list[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(names))


def elements_of(name: str) -> set[str]:
    """What was weighed in, by the name of a sample, and what air brings."""
    name = re.sub(r"_\d+C_.*|--\d+min|_0p\d+", "", name)
    return set(re.findall(r"[A-Z][a-z]?", name)) | {"O", "C", "H"}


def patterns(index: EmbeddingIndex, data: Path, mixtures: bool) -> None:
    """Ranks and seconds of both."""
    brute = BruteForce(index)
    print(f"brute force: gallery simulated in {brute.seconds:.0f} s, {brute.gallery.nbytes / 1e9:.1f} GB")
    known = set(index.table["formula"])
    rows, plausible = [], []
    for sample in json.loads(gzip.open(data / "xrd_measured_examples.json.gz").read()):
        pattern = sample["two_theta"], sample["intensity"], sample["wavelength"]
        if not mixtures and "+" in (sample["formula"] or "+"):
            continue
        started = time.perf_counter()
        found = index.query_pattern(*pattern, k=24)
        ours = distinct([match.formula for match in found])
        spent = time.perf_counter() - started
        started = time.perf_counter()
        theirs = distinct(brute.formulas[brute.order(*pattern)[:2000]].tolist())
        brute_spent = time.perf_counter() - started
        formula = sample["formula"]
        if formula is None or "+" in formula:
            allowed = elements_of(sample["name"])
            hits = [
                [set(map(str, Composition(name).elements)) <= allowed for name in names[:3]] for names in (ours, theirs)
            ]
            plausible.append([hits[0][0], any(hits[0]), hits[1][0], any(hits[1])])
            continue
        formula = Composition(formula).reduced_formula
        ranks = [names.index(formula) + 1 if formula in names else None for names in (ours, theirs)]
        if formula not in known:
            ranks = ["not in the index", ""]
        rows.append([sample["name"], *ranks, found[0].formula, found[0].score, found[0].confidence, spent, brute_spent])
        print(*rows[-1], flush=True)
    columns = ["sample", "rank", "brute force", "first", "score", "confidence", "seconds", "brute force, seconds"]
    table = pd.DataFrame(rows, columns=columns)
    print(table.round(3).to_string(index=False))
    ratio = (table["brute force, seconds"].mean() + brute.seconds) / table["seconds"].mean()
    print(f"brute force takes {ratio:.0f} times as long with its simulation, "
          f"{table['brute force, seconds'].mean() / table['seconds'].mean():.2f} without")  # fmt: skip
    if not mixtures:
        return
    shares = pd.DataFrame(plausible, columns=["first", "one of three", "brute, first", "brute, one of three"])
    print(f"mixtures, made of what was weighed in, of {len(shares)}: {shares.sum().to_dict()}")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=["speed", "patterns"], choices=["speed", "patterns"])
    parser.add_argument("--no-mixtures", action="store_true", help="only patterns of one known phase")
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    index = EmbeddingIndex.load(options.index)
    if "speed" in options.parts:
        speed(index, options.index, options.queries)
    if "patterns" in options.parts:
        patterns(index, options.data, not options.no_mixtures)


if __name__ == "__main__":
    main()
