"""Measure which pretext objectives teach the descriptor what, each beside random weights.

    python benchmarks/descriptor_study.py DATA -o RUNS [--samples 60000] [--seeds 0] [--variants "as shipped" ...]

Each row is a short training of the preset "denoising-physics-small" with other objectives, on 20,000 train crystals
(fold100 >= 20) of at most 28 sites. The columns are ratios of errors to those of the same encoder with random weights
whose statistics have seen crystals, below one is better: mean absolute errors in cross-validation by chemical system of
kernel ridge on at most 1,000 labels of the training part, with the weights of blocks chosen there too. They are the
mean over the six sets of ``materials.py`` for the learned columns and answers alone, for the descriptor, and for the
descriptor with springs and tight binding; then the ratio of each set for the descriptor. No test part is read. A run
that is complete is read and not repeated.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import deepchem_crystalssl as dcs
from deepchem_crystalssl.evaluation.kernel_ridge import LaplacianRidgeCV
from deepchem_crystalssl.models.model_physics import PHYSICS_WEIGHT, descriptor_blocks
from deepchem_crystalssl.models.optimizers import FusedAdamW, WarmUpCosine
from deepchem_crystalssl.models.targets import PhysicsTargets
from deepchem_crystalssl.physics import model_physics, standardized
from deepchem_crystalssl.pretext.objectives import DenoisedCell, DenoisedSites, Objective
from deepchem_crystalssl.pretext.presets import PRESETS

from controls import random_control
from materials import label_sets, n_attributes

PRESET = PRESETS["denoising-physics-small"]
SITES, CELL, MASKED, PHYSICS = PRESET.objectives
VARIANTS: dict[str, list[Objective]] = {
    "as shipped": [SITES, CELL, MASKED, PHYSICS],
    "denoised sites": [SITES],
    "denoised cell": [CELL],
    "denoised sites and cell": [SITES, CELL],
    "masked sites": [MASKED],
    "model physics": [PHYSICS],
    "no model physics": [SITES, CELL, MASKED],
    "no denoising": [MASKED, PHYSICS],
    "always told": [DenoisedSites(forgotten=0.0), DenoisedCell(forgotten=0.0), MASKED, PHYSICS],
    "never told": [DenoisedSites(forgotten=1.0), DenoisedCell(forgotten=1.0), MASKED, PHYSICS],
    "physics at a quarter": [SITES, CELL, MASKED, replace(PHYSICS, weight=1.0)],
}
CRYSTALS, LARGEST_CELL, BATCH, RATE = 20_000, 28, 96, 2e-3
ROWS = ("learned alone", "descriptor", "with physics")


class Enough(Exception):
    """The run has had its steps."""


class Data:
    """What every run sees; the numbers of model physics are computed once."""

    def __init__(self, folder: Path, output: Path):
        table = pd.read_parquet(folder / "mp_structures.parquet").set_index("material_id", drop=False)
        table = table[(table["fold100"] >= 20) & (table["n_sites"] <= LARGEST_CELL)]
        chosen = table.sample(frac=1, random_state=0)[:CRYSTALS]
        self.crystals = dcs.CrystalStore.write(chosen, output / "crystals")
        self.physics = PhysicsTargets()
        self.physics.load(output)
        self.output = output
        self.sets = {}
        for name, (graphs, y, folds) in label_sets(folder).items():
            known = np.flatnonzero(folds >= 20)
            graphs = [graphs[k] for k in known]
            systems = np.array([graph.chemical_system for graph in graphs])
            exact = PHYSICS_WEIGHT * standardized(model_physics(graphs, disorder="average", progress=False))
            self.sets[name] = graphs, y[known], systems, exact


def errors(model: dcs.CrystalSSLModel, data: Data) -> dict[str, dict[str, float]]:
    """Errors of the three rows, by set."""
    found: dict[str, dict[str, float]] = {row: {} for row in ROWS}
    for name, (graphs, y, systems, exact) in data.sets.items():
        x, known = model.embed(graphs, space="descriptor", progress=False), n_attributes(model)
        own, both = (descriptor_blocks(model.descriptor_encoder, physics) for physics in (False, True))
        columns = (x[:, known:], own[known:]), (x, own), (np.hstack([x, exact]), both)
        for row, (part, blocks) in zip(ROWS, columns, strict=True):
            found[row][name] = LaplacianRidgeCV(blocks=blocks, max_rows=1000).fit(part, y, systems).cv_error_
    return found


def run(name: str, seed: int, samples: int, data: Data) -> dict[str, dict[str, dict[str, float]]]:
    """Train and measure, beside random weights, or read what was measured."""
    folder = data.output / f"{name.replace(' ', '_')}-{samples}-{seed}"
    done = folder / "measured.json"
    if done.exists():
        return json.loads(done.read_text())
    steps = samples // BATCH
    model = dcs.CrystalSSLModel(
        VARIANTS[name],
        encoder=dict(PRESET.encoder),
        batch_size=BATCH,
        seed=seed,
        model_dir=str(folder),
        log_frequency=20,
        optimizer=FusedAdamW(WarmUpCosine(RATE, steps), weight_decay=0.01),
    )
    model.batches.physics = data.physics

    def after_step(_: dcs.CrystalSSLModel, step: int) -> None:
        if step >= steps:
            raise Enough

    try:
        model.fit(data.crystals, nb_epoch=10**6, callbacks=after_step, restore=True, progress=False)
    except Enough:
        pass
    data.physics.save(data.output)
    seen = [graph for graphs, *_ in data.sets.values() for graph in graphs[:700]]
    measured = {"trained": errors(model, data), "random": errors(random_control(model, seen, seed), data)}
    done.write_text(json.dumps(measured, indent=1))
    return measured


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
            measured = run(name, seed, options.samples, data)
            ratios = pd.DataFrame(measured["trained"]) / pd.DataFrame(measured["random"])
            row = {"variant": name, **ratios.mean(), **ratios["descriptor"]}
            print(f"{name}, seed {seed}: " + ", ".join(f"{k} {v:.3f}" for k, v in list(row.items())[1:]), flush=True)
            rows.append(row)
    runs = pd.DataFrame(rows).groupby("variant", sort=False)
    print(runs.mean().round(3).to_string())
    if len(options.seeds) > 1:
        print(f"standard deviation over seeds\n{runs.std().round(3).to_string()}")


if __name__ == "__main__":
    main()
