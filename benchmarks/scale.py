"""Measure the time and memory to turn all structures of a table into graphs and into patterns.

Times are wall-clock seconds, memory is the peak of this process.

    python benchmarks/scale.py DATA/mp_structures.parquet
"""

from __future__ import annotations

import os
import resource
import sys
import time

import deepchem_crystalssl as dcs
from deepchem_crystalssl.errors import Report
from deepchem_crystalssl.crystals.neighbors import iterate_graphs
from deepchem_crystalssl.diffraction.simulation import iterate_patterns


def peak_gb() -> float:
    """Largest resident memory so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Stream the table twice."""
    print(f"{os.cpu_count()} processors; after imports {peak_gb():.2f} GB")
    report = Report()
    start, n, edges = time.perf_counter(), 0, 0
    for graph in iterate_graphs(sys.argv[1], on_error="skip", report=report, progress=True):
        n, edges = n + 1, edges + graph.num_edges
    seconds = time.perf_counter() - start
    print(f"graphs:   {n:,} with {edges:,} edges in {seconds:.1f} s ({n / seconds:,.0f}/s), peak {peak_gb():.2f} GB")
    print(f"          {report.summary()}")
    report = Report()
    small = (c for c in dcs.read_structures(sys.argv[1]) if c.num_nodes <= 52)
    start, n = time.perf_counter(), 0
    for _ in iterate_patterns(small, on_error="skip", report=report, progress=True):
        n += 1
    seconds = time.perf_counter() - start
    print(f"patterns: {n:,} of at most 52 sites in {seconds:.1f} s ({n / seconds:,.0f}/s), peak {peak_gb():.2f} GB")
    print(f"          {report.summary()}")


if __name__ == "__main__":
    main()
