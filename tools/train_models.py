"""Train the models that are shipped; again the same line goes on after a stop.

    python tools/train_models.py DATA general -o RUNS [--samples 800000]

Train folds only (fold100 >= 20): the first four fifths of the samples are crystals of at most 52 sites, the rest all of
them, large cells last because they cost most. Learning rate 3e-3, 5 % warm-up, half a cosine; batches of 256; bfloat16
for heads and patterns. No label is read.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import deepchem_crystalssl as dcs
from deepchem_crystalssl.optimizers import FusedAdamW, WarmUpCosine

BATCH, SMALL_CELLS, FIRST = 256, 52, 0.8


class Enough(Exception):
    """The stage has had its steps."""


def until(step: int) -> Callable[[dcs.CrystalSSLModel, int], None]:
    """A callback that ends training at a step, and says on the way how it goes."""

    def report(model: dcs.CrystalSSLModel, now: int) -> None:
        if now % 50 == 0:
            print(now, {name: round(loss, 4) for name, loss in model.last_losses.items()}, flush=True)
        if now >= step:
            raise Enough

    return report


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("preset", choices=("general", "small"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=800_000)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    table = pd.read_parquet(options.data / "mp_structures.parquet")
    table = table[table["fold100"] >= 20]
    small = dcs.CrystalStore.write(table[table["n_sites"] <= SMALL_CELLS], options.output / "small_cells")
    full = dcs.CrystalStore.write(table, options.output / "all_cells")
    steps = options.samples // BATCH
    folder = options.output / options.preset
    model = dcs.CrystalSSLModel(
        options.preset,
        mixed_precision=True,
        batch_size=BATCH,
        model_dir=str(folder),
        log_frequency=20,
        optimizer=FusedAdamW(WarmUpCosine(0.003, steps), weight_decay=0.01),
    )
    if (folder / "checkpoint1.pt").exists():
        model.restore()
    for crystals, last in ((small, int(FIRST * steps)), (full, steps)):
        if getattr(model, "_global_step", 0) >= last:
            continue
        try:
            model.fit(crystals, nb_epoch=10**6, callbacks=until(last), checkpoint_interval=200)
        except Enough:
            pass
    model.save_checkpoint()


if __name__ == "__main__":
    main()
