"""Train the models that are shipped; again the same line goes on after a stop.

    python tools/train_models.py DATA general -o RUNS [--descriptors-alone FOLDER] [--labels]

Train folds only (fold100 >= 20). A model has two encoders of crystals, trained one after the other:

* the one that meets patterns. First everything together: learning rate 3e-3. Then, with the crystal encoder frozen, the
  pattern encoder alone: 2e-3. In both, the first four fifths of the samples are crystals of at most 52 sites, the rest
  all of them, large cells last because they cost most; batches of 256; bfloat16 for heads and patterns;
* the one that describes crystals and sites, with the preset "denoising-physics": 60,000 crystals of at most 28 sites,
  learning rate 2e-3, batches of 96. The numbers of model physics are computed when a crystal is first seen.

All rates rise over 5 % of the steps and fall by half a cosine. ``--descriptors-alone`` takes the first encoder from the
folder or the name of a finished model. No label is read, but with ``--labels``: then the encoder of descriptors is
tuned on formation energies and band gaps, at 1e-3, while it goes on with the rest, and the result is called
``general-labels``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import TRAINING
from deepchem_crystalssl.models.optimizers import FusedAdamW, WarmUpCosine
from deepchem_crystalssl.pretext.objectives import InfoNCE, Labels
from deepchem_crystalssl.pretext.presets import PRESETS

BATCH, SMALL_CELLS, FIRST = 256, 52, 0.8
DESCRIBED, DESCRIBED_CELLS, DESCRIBED_BATCH = 60_000, 28, 96
PRESET = {
    "general": ("joint-measured", "denoising-physics"),
    "small": ("joint-measured-small", "denoising-physics-small"),
}
LABELS = {
    "formation energy per atom": ("suzuki_formation_energy_per_atom", "e_form_megnet2018"),
    "band gap": ("suzuki_band_gap", "gap_pbe_megnet2018"),
}
"""Columns of mp_labels.parquet, the second where the first is unknown."""


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
    parser.add_argument("name", choices=list(PRESET))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=800_000)
    parser.add_argument("--patterns", type=int, default=1_000_000, help="samples of the pattern encoder alone; 0: none")
    parser.add_argument("--described", type=int, default=768_000, help="samples of the encoder of descriptors")
    parser.add_argument("--labelled", type=int, default=480_000, help="samples of the tuning on labels")
    parser.add_argument("--descriptors-alone", help="a model whose encoders of crystals and patterns are kept")
    parser.add_argument("--labels", action="store_true", help="tune the encoder of descriptors on labels, too")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    table = pd.read_parquet(options.data / "mp_structures.parquet").set_index("material_id", drop=False)
    table = table[table["fold100"] >= 20]
    comparing, describing = PRESET[options.name]
    if options.descriptors_alone:
        together = dcs.load_pretrained(options.descriptors_alone)
    else:
        together = trained_on_patterns(comparing, table, options)
    described = trained_to_describe(describing, table, options)
    name = options.name
    if options.labels:
        described, name = tuned_on_labels(described, table, options), f"{name}-labels"
    dcs.save_pretrained(joined(together, described), options.output / f"{name}_final")


def trained_on_patterns(preset: str, table: pd.DataFrame, options: argparse.Namespace) -> dcs.CrystalSSLModel:
    """The encoders of crystals and patterns."""
    small = dcs.CrystalStore.write(table[table["n_sites"] <= SMALL_CELLS], options.output / "small_cells")
    full = dcs.CrystalStore.write(table, options.output / "all_cells")
    stages = [(small, FIRST), (full, 1.0)]
    folder = options.output / preset
    together = train(model_of(preset, folder, 3e-3, options.samples), stages)
    if options.patterns:
        folder = options.output / f"{preset}_patterns"
        patterns = model_of(preset, folder, 2e-3, options.patterns, patterns_alone=True)
        patterns.load_from_pretrained(together, ["crystal_encoder", "xrd_encoder"])
        train(patterns, stages)
        together.load_from_pretrained(patterns, [name for name in patterns.components if name != "crystal_encoder"])
    return together


def trained_to_describe(preset: str, table: pd.DataFrame, options: argparse.Namespace) -> dcs.CrystalSSLModel:
    """The encoder of descriptors."""
    chosen = table[table["n_sites"] <= DESCRIBED_CELLS].sample(frac=1, random_state=0)[:DESCRIBED]
    store = dcs.CrystalStore.write(chosen, options.output / "described_cells")
    steps = options.described // DESCRIBED_BATCH
    return train(
        describing_model(PRESETS[preset].objectives, preset, options.output / preset, 2e-3, steps), [(store, 1.0)]
    )


def tuned_on_labels(
    described: dcs.CrystalSSLModel, table: pd.DataFrame, options: argparse.Namespace
) -> dcs.CrystalSSLModel:
    """The same encoder, tuned on formation energies and band gaps."""
    labels = pd.read_parquet(options.data / "mp_labels.parquet").set_index("material_id")
    known = pd.DataFrame({name: labels[first].fillna(labels[then]) for name, (first, then) in LABELS.items()})
    store = dcs.CrystalStore(options.output / "described_cells")
    known = known.loc[known.index.intersection(store.ids)].dropna(how="all")
    store = dcs.CrystalStore(options.output / "described_cells", labels=known)
    store = store.select(np.flatnonzero(np.isin(store.ids, known.index)))
    objectives = [*described.objectives, Labels(list(LABELS))]
    preset = PRESET[options.name][1]
    steps = options.labelled // DESCRIBED_BATCH
    model = describing_model(objectives, preset, options.output / f"{preset}_labels", 1e-3, steps)
    model.load_from_pretrained(described)
    model.batches.physics = described.batches.physics
    return train(model, [(store, 1.0)])


def joined(together: dcs.CrystalSSLModel, described: dcs.CrystalSSLModel) -> dcs.CrystalSSLModel:
    """One model with the encoders of both."""
    model = dcs.CrystalSSLModel(
        together.objectives,
        encoder=together.encoder_arguments,
        xrd_encoder=together.xrd_encoder_arguments,
        grid=together.xrd_grid,
        conditions=together.conditions,
        descriptor_model=described,
    )
    model.load_from_pretrained(together, [name for name in model.components if not name.startswith("descriptor_")])
    return model


def describing_model(
    objectives: Any, preset: str, folder: Path, learning_rate: float, steps: int
) -> dcs.CrystalSSLModel:
    """A model of descriptors with its schedule."""
    return dcs.CrystalSSLModel(
        list(objectives),
        encoder=dict(PRESETS[preset].encoder),
        batch_size=DESCRIBED_BATCH,
        model_dir=str(folder),
        log_frequency=50,
        optimizer=FusedAdamW(WarmUpCosine(learning_rate, steps), weight_decay=0.01),
    )


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
