"""How fast the compiled loops and PyTorch are beside other programs: threads that spin, threads that sleep, one thread.

    python benchmarks/busy.py [--busy 0 1 2] [--rounds 3]

For each number of other programs, of which each keeps one processor busy, the table gives the time of some work in
milliseconds (median of five repetitions in a new process, and of the rounds) with three settings:

* "spinning": as many threads as the machine has processors, which compute in a loop while they wait, for as long as GNU
  OpenMP does by itself. This is what PyTorch does when nothing is set.
* "by default": what the package sets when it is imported.
* "one thread": ``crystalssl --threads 1``.

The last columns say how many times faster the second and the third are than the first. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

WORK = """
import statistics, sys, time
import deepchem_crystalssl as dcs
import torch
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.processors import VARIABLES

crystals = bundled_prototypes()
graphs = dcs.structures_to_graphs(crystals, progress=False)
model = dcs.load_pretrained("general")
layers = torch.nn.Sequential(*[torch.nn.Linear(128, 128) for _ in range(20)])
rows = torch.randn(512, 128)

def train():
    for _ in range(10):
        layers(rows).sum().backward()

works = {
    "graphs": lambda: dcs.structures_to_graphs(crystals, progress=False),
    "patterns": lambda: dcs.simulate_xrd(crystals, progress=False),
    "embedding": lambda: model.embed(graphs, progress=False),
    "20 linear layers": train,
}
for name, work in works.items():
    work()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    print(name, 1000 * statistics.median(times), sep="\\t")
"""
NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
SETTINGS = {
    "spinning": {**dict.fromkeys(NAMES, str(os.cpu_count())), "GOMP_SPINCOUNT": "300000"},
    "by default": {},
    "one thread": dict.fromkeys(NAMES, "1"),
}


def measure(setting: dict[str, str]) -> dict[str, float]:
    """Milliseconds of each work in a new process."""
    names = {*NAMES, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"}
    environment = {name: value for name, value in os.environ.items() if name not in names} | setting
    done = subprocess.run([sys.executable, "-c", WORK], env=environment, capture_output=True, text=True, check=True)
    return {name: float(value) for name, value in (line.split("\t") for line in done.stdout.splitlines())}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="numbers of other programs")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the start")
    print(f"{'busy':>4}  {'work':18}" + "".join(f"{name:>14}" for name in SETTINGS) + "     x default  x one thread")
    for busy in options.busy:
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            rounds = [{name: measure(setting) for name, setting in SETTINGS.items()} for _ in range(options.rounds)]
        finally:
            for other in others:
                other.kill()
                other.wait()
        for work in rounds[0]["spinning"]:
            times = [statistics.median(round[name][work] for round in rounds) for name in SETTINGS]
            ratios = "".join(f"{times[0] / value:14.1f}" for value in times[1:])
            print(f"{busy:4}  {work:18}" + "".join(f"{value:11.0f} ms" for value in times) + ratios, flush=True)


if __name__ == "__main__":
    main()
