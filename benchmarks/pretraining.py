"""Pretrain one preset on 20,000 train crystals and measure retrieval on 2,000 validation crystals.

    python benchmarks/pretraining.py DATA/mp_structures.parquet PRESET [--samples N] [--seed S] [--rate LR]

The split is by chemical system: train fold100 >= 20, validation 15-19. Prints exact recall of the crystal for its clean
pattern, with a 95 % interval, beside the untrained model; the checkpoints stay in the folder named, and a run stopped
goes on from there.
"""

from __future__ import annotations

import argparse
import logging
import time

import deepchem as dc
import numpy as np
import pandas as pd
import torch

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.instrument import REALISTIC
from deepchem_crystalssl.metrics import retrieval_recall
from deepchem_crystalssl.schedules import WarmUpCosine


def records(table: pd.DataFrame, chosen: pd.Series, n: int) -> np.ndarray:
    """Graphs of n random rows, as an object array."""
    rows = table[chosen].sample(n + n // 50, random_state=0)
    graphs = dcs.structures_to_graphs(rows, on_error="skip", progress=False)
    X = np.empty(n, object)
    X[:] = graphs[:n]
    return X


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("preset")
    parser.add_argument("--samples", type=int, default=176_128)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measured", action="store_true", help="train on patterns as measured")
    parser.add_argument("--mixed-precision", action="store_true")
    parser.add_argument("--folder")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    table = pd.read_parquet(options.table)
    small = table["n_sites"] <= 52
    train = dc.data.NumpyDataset(records(table, small & (table["fold100"] >= 20), 20_000))
    unseen = list(records(table, small & table["fold100"].between(15, 19), 2_000))
    steps = options.samples // options.batch
    model = dcs.CrystalSSLModel(
        options.preset,
        batch_size=options.batch,
        seed=options.seed,
        instrument=REALISTIC if options.measured else None,
        mixed_precision=options.mixed_precision,
        model_dir=options.folder,
        optimizer=dc.models.optimizers.AdamW(WarmUpCosine(options.rate, steps), weight_decay=0.01),
        log_frequency=50,
    )
    patterns = dcs.simulate_xrd(unseen, model.xrd_grid, progress=False)

    def recall() -> str:
        if not model.needs_patterns:
            return "no pattern encoder"
        return str(retrieval_recall(model.embed_xrd(patterns), model.embed(unseen), (1, 5, 10)))

    print(f"{options.preset}, untrained: {recall()}", flush=True)
    start = time.perf_counter()
    per_epoch = len(train) // options.batch + 1
    epochs = -(-steps // per_epoch)

    def report(model: dcs.CrystalSSLModel, step: int) -> None:
        if step % per_epoch == 0:
            seconds = time.perf_counter() - start
            losses = ", ".join(f"{name} {loss:.3f}" for name, loss in model.last_losses.items())
            print(f"step {step}, {step * options.batch / seconds:.0f} samples/s, {losses}; {recall()}", flush=True)
            model.model.train()

    model.fit(train, nb_epoch=epochs, restore=bool(options.folder), callbacks=report, checkpoint_interval=200)
    print(f"{options.preset}, seed {options.seed}, {epochs * len(train):,} samples: {recall()}", flush=True)


if __name__ == "__main__":
    main()
