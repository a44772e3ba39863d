"""Measure how many crystals a second are trained on by one process and by several together.

    python benchmarks/distributed.py [CRYSTALS] [--preset joint] [--batch-size 256] [--steps 8] [--processes 1 2]

CRYSTALS is anything that ``read_structures`` reads; by default the bundled prototypes, repeated. Each contender is
started by ``torchrun`` with one thread per process, warms up, and is timed by the clock, in turns; the median of the
rounds counts. All train with the same batches of ``--batch-size`` crystals in total. Other work on the machine takes
processors away from the larger number of processes first, so its load is printed too.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings


def train(options: argparse.Namespace) -> None:
    """One process of a contender: print crystals per second."""
    import deepchem as dc
    import numpy as np
    import torch

    import deepchem_crystalssl as dcs
    from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    from deepchem_crystalssl.models.processes import leave_processes

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    source = options.crystals or bundled_prototypes()
    graphs = dcs.structures_to_graphs(source, on_error="skip", progress=False)
    needed = options.batch_size * (options.steps + 2)
    X = np.fromiter((graphs * (needed // len(graphs) + 1))[:needed], object)
    model = dcs.CrystalSSLModel(options.preset, batch_size=options.batch_size, log_frequency=10**9)
    times: list[float] = []
    model.fit(dc.data.NumpyDataset(X), nb_epoch=1, checkpoint_interval=0, progress=False,
              callbacks=lambda model, step: times.append(time.perf_counter()))  # fmt: skip
    if os.environ.get("RANK", "0") == "0":
        print("rate", options.batch_size * options.steps / (times[-1] - times[1]))  # the first two steps warm up
    leave_processes()


def rate(n: int, arguments: list[str]) -> float:
    """Crystals per second of n processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n}"] if n > 1 else []
    command = [sys.executable, *launcher, __file__, "--worker", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    for line in said.stdout.splitlines():
        if line.startswith("rate "):
            return float(line.split()[1])
    raise SystemExit(said.stderr[-3000:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crystals", nargs="?")
    parser.add_argument("--preset", default="joint")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        train(options)
        return
    arguments = [argument for argument in sys.argv[1:] if argument != "--worker"]
    print(
        f"{options.preset}, batches of {options.batch_size}; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    )
    rates: dict[int, list[float]] = {n: [] for n in options.processes}
    for _ in range(options.rounds):
        for n in options.processes:
            rates[n].append(rate(n, arguments))
    print(f"{'processes':>9}  crystals/s   ratio to {options.processes[0]}")
    for n, values in rates.items():
        ratio = statistics.median(values) / statistics.median(rates[options.processes[0]])
        print(f"{n:9d}  {statistics.median(values):10.1f}   {ratio:.2f} x")
    print(f"load at the end {os.getloadavg()[0]:.1f} (that of the contenders included)")


if __name__ == "__main__":
    main()
