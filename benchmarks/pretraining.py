"""Pretrain variants on real crystals and measure what each has learned.

    python benchmarks/pretraining.py DATA -o RUNS [--variants suzuki2022 joint ...] [--samples N] [--seeds 0 1 2]

Every run uses the same 20,000 train crystals of at most 52 sites (fold100 >= 20) and the same 2,000 validation
crystals of other chemical systems (15-19). Each run has a folder of its own, continues when it was stopped, and is
read and not repeated when it is complete. All columns are measured on the validation crystals:

* xrd@1, xrd@10: exact recall of the crystal for its clean pattern, in a gallery of 2,000; r1@1: the same for a
  pattern with strain up to 1 %, peaks of 0.28 degrees and 1 % noise;
* moment: mean absolute error (muB) of ridge regression from frozen site vectors of all layers to the size of the
  moment of d and f elements, fitted on 6,000 train structures. It is the mean over chemical systems, each counted
  once (two of them hold most sites), with a 95 % interval by bootstrap over them;
* group, period, element, distance: accuracy of predicting what was masked. The share of the most frequent answer is
  printed below the table.

The rows "random" have the same architecture and random weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import REALISTIC, MeasurementConditions, try_patterns
from deepchem_crystalssl.evaluation import duplicate_groups, retrieval_recall
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.pretext.batch import PretextBatch
from deepchem_crystalssl.pretext.objectives import (
    BarlowTwins,
    InfoNCE,
    DenoisedDistances,
    Descriptors,
    MaskedSites,
    Objective,
    SiteDescriptors,
    TwoViews,
    BondValences,
)
from deepchem_crystalssl.evaluation.probes import interval_of_mean
from deepchem_crystalssl.models.optimizers import FusedAdamW, WarmUpCosine

INFONCE, DESCRIPTORS = InfoNCE(), Descriptors()
MASKED = MaskedSites(whole_species=True, edges=False, crystals=1 / 3)


def ours(*objectives: Objective, channels: int = 24, **encoder: Any) -> dict[str, Any]:
    """A variant of the joint preset with other parts."""
    return {
        "objectives": list(objectives or (INFONCE, MASKED, DESCRIPTORS)),
        "encoder": {"readout": "mean_std", "angles": True, "long_range": True, **encoder},
        "xrd_encoder": {"channels": channels},
        "rate": 3e-3,
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "suzuki2022": {"objectives": "suzuki2022", "rate": 1e-3},
    "kong2024": {"objectives": "kong2024", "rate": 1e-3},
    "kong2024-contrastive": {"objectives": "kong2024-contrastive", "rate": 1e-3},
    "joint": {"objectives": "joint", "rate": 3e-3},
    "infonce": ours(INFONCE),
    "masked": ours(MASKED),
    "descriptors": ours(DESCRIPTORS),
    "infonce+masked": ours(INFONCE, MASKED),
    "infonce+descriptors": ours(INFONCE, DESCRIPTORS),
    "masked distances too": ours(INFONCE, replace(MASKED, edges=True), DESCRIPTORS),
    "random sites masked": ours(INFONCE, MaskedSites(edges=False), DESCRIPTORS),
    "random sites and distances masked": ours(INFONCE, MaskedSites(), DESCRIPTORS),
    "every crystal masked": ours(INFONCE, replace(MASKED, crystals=1.0), DESCRIPTORS),
    "four layers": ours(n_layers=4),
    "+two views": ours(INFONCE, MASKED, DESCRIPTORS, TwoViews()),
    "+barlow twins": ours(INFONCE, MASKED, DESCRIPTORS, BarlowTwins()),
    "+denoising": ours(INFONCE, MASKED, DESCRIPTORS, DenoisedDistances()),
    "+site descriptors": ours(INFONCE, MASKED, DESCRIPTORS, SiteDescriptors()),
    "bond relative": ours(bond_relative=True),
    "+valences": ours(INFONCE, MASKED, DESCRIPTORS, BondValences()),
    "temperature 0.1": ours(replace(INFONCE, temperature=0.1), MASKED, DESCRIPTORS),
    "no angles": ours(angles=False),
    "no long range": ours(long_range=False),
    "neither angles nor long range": ours(angles=False, long_range=False),
    "mean readout": ours(readout="mean"),
    "pattern encoder of 48 channels": ours(channels=48),
    "patterns over log q": ours() | {"xrd_encoder": {"channels": 24, "axis": "log_q"}},
}


def records(table: pd.DataFrame, n: int) -> np.ndarray:
    """Graphs of n random rows, as an object array."""
    rows = table.sample(min(len(table), n + n // 50), random_state=0)
    graphs = dcs.structures_to_graphs(rows, on_error="skip", progress=False)[:n]
    X = np.empty(len(graphs), object)
    X[:] = graphs
    return X


def has_moment(z: np.ndarray) -> np.ndarray:
    """d and f elements."""
    return ((21 <= z) & (z <= 30)) | ((39 <= z) & (z <= 48)) | ((57 <= z) & (z <= 80)) | ((89 <= z) & (z <= 103))


class Data:
    """What every run sees."""

    def __init__(self, folder: Path):
        table = pd.read_parquet(folder / "mp_structures.parquet")
        table = table[table["n_sites"] <= 52]
        self.train = dc.data.NumpyDataset(records(table[table["fold100"] >= 20], 20_000))
        self.unseen = list(records(table[table["fold100"].between(15, 19)], 2_000))
        self.groups = duplicate_groups(self.unseen)
        moments = pd.read_parquet(folder / "site_magmoms.parquet")
        moments = moments[moments["n_sites"] <= 52].reset_index(drop=True)
        self.sites = []
        for rows in (moments[moments["fold100"] >= 20], moments[moments["fold100"].between(15, 19)]):
            rows = rows.sample(min(len(rows), 6_000), random_state=0)
            graphs, sizes = [], []
            for _, row in rows.iterrows():
                lattice = np.array(row["lattice"]).reshape(3, 3)
                crystal = dcs.crystals.validation.make_crystal(
                    row["atomic_numbers"], np.array(row["frac_coords"]).reshape(-1, 3), lattice, str(row["id"])
                )
                try:
                    graphs.extend(dcs.structures_to_graphs(crystal, progress=False))
                except dcs.CrystalInputError:
                    continue
                sizes.append(np.abs(row["magmom"]))
            z = np.concatenate([graph.atomic_numbers for graph in graphs])
            systems = np.concatenate([[graph.chemical_system] * graph.num_nodes for graph in graphs])
            keep = has_moment(z)
            self.sites.append((graphs, np.concatenate(sizes)[keep], systems[keep], keep))


def measure(model: dcs.CrystalSSLModel, data: Data) -> dict[str, float]:
    """The row of one model."""
    numbers: dict[str, float] = {}
    if model.needs_patterns:
        vectors = model.embed(data.unseen, progress=False)
        clean = try_patterns(data.unseen, model.xrd_grid)[0]
        real = try_patterns(data.unseen, model.xrd_grid, REALISTIC, seed=1)[0]
        found = retrieval_recall(model.embed_xrd(clean, progress=False), vectors, (1, 10), data.groups)
        numbers |= {"xrd@1": found[1], "xrd@1 low": found.interval[1][0], "xrd@1 high": found.interval[1][1]}
        numbers["xrd@10"] = found[10]
        numbers["r1@1"] = retrieval_recall(model.embed_xrd(real, progress=False), vectors, (1,), data.groups)[1]
    layers = list(range(len(model.crystal_encoder.convolutions) + 1))
    (x, y, _, _), (x_test, y_test, systems, _) = (
        (model.embed(graphs, "site", layers, progress=False)[keep], sizes, groups, keep)
        for graphs, sizes, groups, keep in data.sites
    )
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13))).fit(x, y)
    errors = by_system(np.abs(ridge.predict(x_test) - y_test), systems)
    low, high = interval_of_mean(errors, np.arange(len(errors)))
    numbers |= {"moment": float(errors.mean()), "moment low": low, "moment high": high}
    numbers["moment errors"] = errors.tolist()  # type: ignore[assignment]  # for paired comparison
    for objective in model.objectives:
        if isinstance(objective, MaskedSites):
            numbers |= guesses(model, objective, data.unseen)
    return numbers


def by_system(errors: np.ndarray, systems: np.ndarray) -> np.ndarray:
    """Mean error of each chemical system, in alphabetical order."""
    return pd.Series(errors).groupby(systems).mean().to_numpy()


def guesses(model: dcs.CrystalSSLModel, objective: MaskedSites, unseen: list) -> dict[str, float]:
    """Accuracy of guessing what was hidden, and the share of the most frequent answer."""
    model.model.eval()
    right: dict[str, list] = {}
    with torch.no_grad():
        for start in range(0, len(unseen), 256):
            graphs = GraphBatch.from_graphs(unseen[start : start + 256], model.engine)
            batch = PretextBatch(
                graphs,
                None,
                torch.eye(len(graphs), dtype=torch.bool),
                model.crystal_encoder,
                None,
                torch.Generator().manual_seed(start),
            )
            for name, (logits, target) in objective.losses(batch, model.components["masked_sites_head"]).items():
                right.setdefault(name, []).append((logits.argmax(1).numpy(), target.numpy()))
    numbers = {}
    for name, pairs in right.items():
        answers, targets = (np.concatenate(part) for part in zip(*pairs, strict=True))
        numbers[name] = float((answers == targets).mean())
        numbers[f"{name} majority"] = float(np.bincount(targets).max() / len(targets))
    return numbers


def build(variant: dict[str, Any], seed: int, steps: int, batch: int, folder: Path | None) -> dcs.CrystalSSLModel:
    """The model of a variant."""
    settings = dict(variant)
    optimizer = FusedAdamW(WarmUpCosine(settings.pop("rate"), steps), weight_decay=0.01)
    return dcs.CrystalSSLModel(
        settings.pop("objectives"),
        **settings,
        seed=seed,
        batch_size=batch,
        optimizer=optimizer,
        model_dir=str(folder) if folder else None,
        log_frequency=20,
    )


def run(
    name: str,
    seed: int,
    data: Data,
    options: argparse.Namespace,
    instrument: MeasurementConditions | None,
) -> dict[str, float]:
    """Train one variant, or read what it gave."""
    kind = "-measured" if options.measured else ""
    folder = options.output / f"{name.replace(' ', '_')}{kind}-{options.samples}-{seed}"
    done = folder / "measured.json"
    if done.exists():
        return json.loads(done.read_text())
    steps = options.samples // options.batch
    variant = {**VARIANTS[name], "mixed_precision": options.mixed_precision, "instrument": instrument}
    model = build(variant, seed, steps, options.batch, folder)
    untrained = {f"random {key}": value for key, value in measure(model, data).items()} if seed == 0 else {}
    per_epoch = len(data.train) // options.batch + 1
    start, first = time.process_time(), model.get_global_step() if model.get_checkpoints() else 0

    def report(model: dcs.CrystalSSLModel, step: int) -> None:
        if step % 100 == 0:
            losses = ", ".join(f"{key} {loss:.3f}" for key, loss in model.last_losses.items())
            print(f"  {name} {seed}: step {step} of {per_epoch * epochs}, {losses}", flush=True)

    epochs = max(1, round(steps / per_epoch))
    model.fit(data.train, nb_epoch=epochs, restore=True, callbacks=report, checkpoint_interval=100, progress=False)
    rate = (model.get_global_step() - first) * options.batch / (time.process_time() - start)
    numbers = {**measure(model, data), **untrained, "samples": epochs * len(data.train), "per CPU second": rate}
    done.write_text(json.dumps(numbers, indent=1))
    return numbers


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", default=["suzuki2022", "kong2024", "joint"], choices=VARIANTS)
    parser.add_argument("--samples", type=int, default=176_128)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measured", action="store_true", help="train on patterns as measured")
    parser.add_argument("--mixed-precision", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    data = Data(options.data)
    instrument = REALISTIC if options.measured else None
    rows = []
    for seed in options.seeds:
        for name in options.variants:
            numbers = run(name, seed, data, options, instrument)
            rows.append({"variant": name, "seed": seed, **numbers})
            shown = {key: value for key, value in numbers.items() if not isinstance(value, list)}
            print(f"{name} {seed}: " + ", ".join(f"{key} {value:.3f}" for key, value in shown.items()), flush=True)
    print_table(pd.DataFrame(rows), data)


def print_table(frame: pd.DataFrame, data: Data) -> None:
    """Mean over seeds, with the spread between them."""
    shown = ("xrd@1", "xrd@10", "r1@1", "moment", "group", "period", "element", "distance", "per CPU second")
    columns = [column for column in shown if column in frame]
    lines = {}
    for name, runs in frame.groupby("variant", sort=False):
        cells = {}
        for column in columns:
            values = runs[column].dropna()
            spread = f" ± {values.std():.3f}" if len(values) > 1 else ""
            cells[column] = f"{values.mean():.3f}{spread}" if len(values) else ""
        lines[name] = cells
        lines[f"  random, {name}"] = {
            column: f"{runs[f'random {column}'].iloc[0]:.3f}"
            for column in columns
            if f"random {column}" in runs and pd.notna(runs[f"random {column}"].iloc[0])
        }
    print(pd.DataFrame(lines).T.fillna("").to_string())
    majority = {c: frame[c].dropna().iloc[0] for c in frame if c.endswith("majority") and not c.startswith("random")}
    print("most frequent answer: " + ", ".join(f"{name.split()[0]} {value:.3f}" for name, value in majority.items()))
    (_, y, _, _), (_, y_test, systems, _) = data.sites
    constant = by_system(np.abs(y_test - np.median(y)), systems)
    print(f"moment: constant {constant.mean():.3f}, {len(y_test)} sites of {len(constant)} chemical systems")
    errors = {name: np.mean(runs["moment errors"].tolist(), axis=0) for name, runs in frame.groupby("variant")}
    for name, ours in errors.items():
        for other, theirs in errors.items():
            if name == "joint" and other != name:
                low, high = interval_of_mean(theirs - ours, np.arange(len(ours)))
                print(f"moment: {other} - {name} = {(theirs - ours).mean():.3f} ({low:.3f} to {high:.3f}), paired")
    print("± is the standard deviation over seeds")


if __name__ == "__main__":
    main()
