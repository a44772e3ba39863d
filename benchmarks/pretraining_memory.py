"""Measure the memory of pretraining on a whole table from a store, the size of the store, and the time to write it.

    python benchmarks/pretraining_memory.py DATA/mp_structures.parquet [--steps 100]

The script writes every structure into a store, trains the preset "joint" on shuffled batches of 256 from all of it,
with patterns as measured that are rendered during training, and prints the peak resident memory of each part. Each
part runs in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import torch

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import REALISTIC


def write(table: str, folder: str) -> None:
    """Write the store."""
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    store = dcs.CrystalStore.write(table, folder, progress=False)
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in Path(folder).glob("*.arrow")) / len(store)
    print(
        f"store: {len(store):,} crystals in {seconds:.0f} s, {size:.0f} bytes each, {peak():.2f} GB resident",
        flush=True,
    )


def train(folder: str, steps: int) -> None:
    """Train a while on all of it."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    store = dcs.CrystalStore(folder)
    model = dcs.CrystalSSLModel("joint", batch_size=256, conditions=REALISTIC)
    start = time.perf_counter()
    model.fit_generator(
        itertools.islice(model.default_generator(store, deterministic=False), steps), checkpoint_interval=0
    )
    rate = steps * 256 / (time.perf_counter() - start)
    print(
        f"training: {steps} steps of 256 from {len(store):,} crystals, {rate:.0f}/s, {peak():.2f} GB resident",
        flush=True,
    )


def peak() -> float:
    """Peak resident memory of this process, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Print both lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for function, arguments in ((write, (options.table, folder)), (train, (folder, options.steps))):
            process = context.Process(target=function, args=arguments)
            process.start()
            process.join()


if __name__ == "__main__":
    main()
