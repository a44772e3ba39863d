"""Measure what each part of the recipe by which encoders meet patterns contributes, one change at a time.

    python benchmarks/ablations.py DATA -o RUNS [--samples 60000] [--seeds 0] [--variants shipped ...]

Each row is a short training of the preset "joint-measured-small" with one change, on train crystals (fold100 >= 20)
of at most 52 sites. The columns are measured on the validation folds. Four are exact recall@1 in a gallery of 2,000
crystals: of the crystal for its clean pattern, of the crystal for an R1 pattern, and of its simulated patterns for
R1 and R2 patterns (``retrieval.py`` defines R1 and R2). Two are mean absolute errors in cross-validation of kernel
ridge on the descriptor, for formation energies and log K (see ``materials.py``). A run that is complete is read and
not repeated. ``descriptor_study.py`` does the same for the encoders of descriptors.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from deepchem.models.optimizers import LearningRateSchedule
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import CLEAN, TRAINING, MeasurementConditions
from deepchem_crystalssl.models.optimizers import FusedAdamW, WarmUpCosine
from deepchem_crystalssl.pretext.objectives import DenoisedDistances, InfoNCE, Objective
from deepchem_crystalssl.pretext.presets import PRESETS
from deepchem_crystalssl.recipes import xrd_retrieval

from materials import kernel_ridge, label_sets
from retrieval import gallery

SHIPPED = PRESETS["joint-measured-small"]
SMALL_CELLS, TINY_CELLS = 52, 12


class Enough(Exception):
    """The run has had its steps."""


class WarmUpConstant(WarmUpCosine):
    """The top rate, once it is reached."""

    def factor(self, step: int) -> float:
        """Share of the top rate at a step."""
        return min(1.0, (step + 1) / (self.warm_up * self.total_steps + 1))


@dataclass(frozen=True)
class Variant:
    """A recipe; the defaults are the shipped one."""

    rate: float = 3e-3
    schedule: type[LearningRateSchedule] = WarmUpCosine
    batch: int = 256
    averaged: bool = False
    tiny_cells_first: bool = False
    instrument: MeasurementConditions = TRAINING
    objectives: tuple[Objective, ...] = SHIPPED.objectives
    encoder: dict[str, Any] = field(default_factory=dict)
    xrd_encoder: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "shipped": Variant(),
    "weights averaged": Variant(averaged=True),
    "rate 1e-3": Variant(rate=1e-3),
    "rate 6e-3": Variant(rate=6e-3),
    "constant rate": Variant(schedule=WarmUpConstant),
    "constant rate, weights averaged": Variant(schedule=WarmUpConstant, averaged=True),
    "batches of 128": Variant(batch=128),
    "batches of 512": Variant(batch=512),
    "vectors of 64": Variant(encoder={"embedding_size": 64}),
    "vectors of 256": Variant(encoder={"embedding_size": 256}),
    "clean patterns": Variant(instrument=CLEAN),
    "no ideal patterns": Variant(
        objectives=tuple(o for o in SHIPPED.objectives if "ideal patterns" not in o.modalities)
    ),
    "InfoNCE alone": Variant(objectives=tuple(o for o in SHIPPED.objectives if isinstance(o, InfoNCE))),
    "denoised distances too": Variant(objectives=(*SHIPPED.objectives, DenoisedDistances(crystals=1 / 3))),
    "cells of at most 12 sites first": Variant(tiny_cells_first=True),
    "patterns pooled": Variant(xrd_encoder={"pooling": True}),
    "patterns over two-theta": Variant(xrd_encoder={"axis": "two_theta"}),
    "no attributes": Variant(encoder={"attributes": False}),
    "distances in angstrom": Variant(encoder={"bond_relative": False}),
    "no long range": Variant(encoder={"long_range": False}),
}


class Data:
    """What every run sees."""

    def __init__(self, folder: Path, output: Path):
        table = pd.read_parquet(folder / "mp_structures.parquet")
        table = table[(table["fold100"] >= 20) & (table["n_sites"] <= SMALL_CELLS)]
        self.crystals = dcs.CrystalStore.write(table, output / "small_cells")
        self.tiny = dcs.CrystalStore.write(table[table["n_sites"] <= TINY_CELLS], output / "tiny_cells")
        self.unseen = gallery(folder, full=False)[1]
        self.labels = {name: of for name, of in label_sets(folder).items() if name in ("E_form", "log K")}


def measure(model: dcs.CrystalSSLModel, data: Data) -> dict[str, float]:
    """The row of a model."""
    found = xrd_retrieval(model, data.unseen).set_index(["pattern", "index"])["recall@1"]
    numbers = {
        "clean": found["clean", "crystal"],
        "R1": found["R1", "crystal"],
        "R1, simulated": found["R1", "simulated pattern"],
        "R2, simulated": found["R2", "simulated pattern"],
    }
    for name, (graphs, y, folds) in data.labels.items():
        train = folds >= 20
        x = model.embed(graphs, space="descriptor", progress=False)[train]
        systems = np.array([graph.chemical_system for graph in graphs])[train]
        numbers[name] = float(kernel_ridge(x, y[train], systems, x[:1])[1].mean())
    return numbers


def stages(variant: Variant, data: Data, steps: int) -> Iterator[tuple[dcs.CrystalStore, int]]:
    """Crystals, and the step until which they are shown."""
    if variant.tiny_cells_first:
        yield data.tiny, steps // 3
    yield data.crystals, steps


def run(variant: Variant, seed: int, samples: int, data: Data, folder: Path) -> dict[str, float]:
    """Train and measure, or read what was measured."""
    done = folder / "measured.json"
    if done.exists():
        return json.loads(done.read_text())
    steps = samples // variant.batch
    model = dcs.CrystalSSLModel(
        variant.objectives,
        encoder={**SHIPPED.encoder, **variant.encoder},
        xrd_encoder={**SHIPPED.xrd_encoder, **variant.xrd_encoder},
        conditions=variant.instrument,
        mixed_precision=True,
        seed=seed,
        batch_size=variant.batch,
        model_dir=str(folder),
        log_frequency=20,
        optimizer=FusedAdamW(variant.schedule(variant.rate, steps), weight_decay=0.01),
    )
    average = AveragedModel(model.model, multi_avg_fn=get_ema_multi_avg_fn(0.98), use_buffers=True)

    def after_step(_: dcs.CrystalSSLModel, step: int) -> None:
        average.update_parameters(model.model)
        if step >= last:
            raise Enough

    started = time.process_time()
    for crystals, last in stages(variant, data, steps):
        try:
            model.fit(crystals, nb_epoch=10**6, callbacks=after_step, progress=False)
        except Enough:
            pass
    seconds = time.process_time() - started
    if variant.averaged:
        model.model.load_state_dict(average.module.state_dict())
    numbers = {**measure(model, data), "samples per CPU second": samples / seconds}
    folder.mkdir(parents=True, exist_ok=True)
    done.write_text(json.dumps(numbers, indent=1))
    return numbers


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    data = Data(options.data, options.output)
    rows = []
    for seed in options.seeds:
        for name in options.variants:
            folder = options.output / f"{name.replace(' ', '_')}-{options.samples}-{seed}"
            numbers = run(VARIANTS[name], seed, options.samples, data, folder)
            print(f"{name}, seed {seed}: " + ", ".join(f"{k} {v:.4f}" for k, v in numbers.items()), flush=True)
            rows.append({"variant": name, **numbers})
    runs = pd.DataFrame(rows).groupby("variant", sort=False)
    print(runs.mean().round(4).to_string())
    if len(options.seeds) > 1:
        print(f"standard deviation over seeds\n{runs.std().round(4).to_string()}")


if __name__ == "__main__":
    main()
