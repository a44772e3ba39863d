"""Train the models that are shipped; again the same line goes on after a stop.

    python tools/train_models.py DATA general -o RUNS
    python tools/train_models.py DATA small -o RUNS --patterns 0

Train folds only (fold100 >= 20). First everything together: learning rate 3e-3. Then, with the crystal encoder frozen,
the pattern encoder alone: 2e-3. In both, the first four fifths of the samples are crystals of at most 52 sites, the
rest all of them, large cells last because they cost most; 5 % warm-up, half a cosine; batches of 256; bfloat16 for
heads and patterns. No label is read.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import TRAINING
from deepchem_crystalssl.models.optimizers import FusedAdamW, WarmUpCosine
from deepchem_crystalssl.pretext.objectives import InfoNCE
from deepchem_crystalssl.pretext.presets import PRESETS

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
    parser.add_argument("preset", choices=("joint-measured", "joint-measured-small"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=800_000)
    parser.add_argument("--patterns", type=int, default=1_000_000, help="samples of the pattern encoder alone; 0: none")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    table = pd.read_parquet(options.data / "mp_structures.parquet")
    table = table[table["fold100"] >= 20]
    small = dcs.CrystalStore.write(table[table["n_sites"] <= SMALL_CELLS], options.output / "small_cells")
    full = dcs.CrystalStore.write(table, options.output / "all_cells")
    stages = [(small, FIRST), (full, 1.0)]
    folder = options.output / options.preset
    together = train(model_of(options.preset, folder, 3e-3, options.samples), stages)
    if options.patterns:
        folder = options.output / f"{options.preset}_patterns"
        patterns = model_of(options.preset, folder, 2e-3, options.patterns, patterns_alone=True)
        patterns.load_from_pretrained(together, ["crystal_encoder", "xrd_encoder"])
        train(patterns, stages)
        together.load_from_pretrained(patterns, [name for name in patterns.components if name != "crystal_encoder"])
    dcs.save_pretrained(together, options.output / f"{options.preset}_final")


def model_of(
    preset: str, folder: Path, learning_rate: float, samples: int, patterns_alone: bool = False
) -> dcs.CrystalSSLModel:
    """A model with its schedule; or one for its patterns alone, to meet the vectors of a frozen crystal encoder."""
    known = PRESETS[preset]
    model = dcs.CrystalSSLModel(
        [o for o in known.objectives if isinstance(o, InfoNCE)] if patterns_alone else known.objectives,
        encoder=dict(known.encoder),
        xrd_encoder=dict(known.xrd_encoder),
        conditions=TRAINING,
        mixed_precision=True,
        batch_size=BATCH,
        model_dir=str(folder),
        log_frequency=20,
        optimizer=FusedAdamW(WarmUpCosine(learning_rate, samples // BATCH), weight_decay=0.01),
    )
    if patterns_alone:
        model.freeze_components(["crystal_encoder"])
    return model


def train(model: dcs.CrystalSSLModel, stages: list[tuple[dcs.CrystalStore, float]]) -> dcs.CrystalSSLModel:
    """Go on from the newest checkpoint, if there is one; a stage is its crystals, and the share done after it."""
    if model.get_checkpoints():
        model.restore()
    total = model.optimizer.learning_rate.total_steps
    for crystals, share in stages:
        last = int(share * total)
        if getattr(model, "_global_step", 0) >= last:
            continue
        try:
            model.fit(crystals, nb_epoch=10**6, callbacks=until(last), checkpoint_interval=200)
        except Enough:
            pass
    model.save_checkpoint()
    return model


if __name__ == "__main__":
    main()
