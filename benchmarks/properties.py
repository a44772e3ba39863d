"""Learning curves on real label sets: NEGNN and descriptors beside what a user has today.

    python benchmarks/properties.py DATA -o RUNS [--sets E_form ...] [--methods negnn ...] [--sizes 100 0] [--seeds 5]

Train: chemical systems of fold100 >= 20, of which each seed draws n (0: all); test: those of 15-19. Labels, scalers
and regularisation are fitted on the n alone. Every run is kept in RUNS and read when asked for again, so that a
stopped benchmark goes on; the table and one picture per set are made of what is there.

Sets: the four of Kong et al. 2024 (formation energy, HSE gap, log K, log G), matbench phonons, refractive index; and of
the MEGNet 2018 labels formation energy and gap ("E_form 40k", "gap 40k").

Methods:
* negnn: NEGNN with a CGCNN backbone and the general model's site vectors; scratch: the same without; random: with those
  of a random encoder of the same architecture; "megnet", "alignn" and their scratch: other backbones;
* ours: kernel ridge on the general model's descriptor; "ours with magpie": joined with Magpie and structure; "ours,
  forest": random forest;
* magpie, magpie structure: kernel ridge on Magpie's composition features, and with structural ones; and random forests;
* sine coulomb: kernel ridge on the sine Coulomb matrix's eigenvalues; cgcnn of deepchem: ``dc.models.CGCNNModel``.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path

import deepchem as dc
import numpy as np
import pandas as pd
from matminer.featurizers.structure import SineCoulombMatrix
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor

import deepchem_crystalssl as dcs
from deepchem_crystalssl.probes import interval_of_mean

from controls import random_control
from materials import kernel_ridge, label_sets, magpie, scaled, structural, usable

LARGE = {"E_form 40k": "e_form_megnet2018", "gap 40k": "gap_pbe_megnet2018"}
SETS = ("E_form", "HSE gap", "log K", "log G", "phonons", "n", *LARGE)


class Labelled:
    """A label set, and its features, each computed once and kept on disk."""

    def __init__(self, name: str, graphs: list, y: np.ndarray, folds: np.ndarray, cache: Path):
        self.name, self.y, self.folder = name, y, cache
        self.X = np.empty(len(graphs), object)
        self.X[:] = graphs
        self.train, self.test = np.flatnonzero(folds >= 20), np.flatnonzero(folds < 20)
        self.systems = np.array([graph.chemical_system for graph in graphs])

    def kept(self, kind: str, function: Callable[[list], np.ndarray]) -> np.ndarray:
        """Features of all crystals."""
        path = self.folder / f"{self.name.replace(' ', '_')}-{kind}.npy"
        if not path.exists():
            np.save(path, function(list(self.X)))
        return np.load(path)

    @cached_property
    def magpie(self) -> np.ndarray:
        """Of the composition."""
        return self.kept("Magpie", magpie)

    @cached_property
    def both(self) -> np.ndarray:
        """And of the structure."""
        return np.hstack([self.magpie, self.kept("structure", structural)])

    @cached_property
    def sine_coulomb(self) -> np.ndarray:
        """Eigenvalues of the sine Coulomb matrix, the 50 largest, flattened to one length."""

        def eigenvalues(graphs: list) -> np.ndarray:
            featurizer = SineCoulombMatrix(flatten=True)
            rows = np.zeros((len(graphs), 50))
            for row, graph in zip(rows, graphs, strict=True):
                structure = graph.to_structure()
                values = np.sort(featurizer.fit([structure]).featurize(structure))[::-1][:50]
                row[: len(values)] = values
            return rows

        return self.kept("sine_coulomb", eigenvalues)

    @cached_property
    def descriptor(self) -> np.ndarray:
        """Ours."""
        return general().embed(list(self.X), space="descriptor", progress=False)


@cache
def general() -> dcs.CrystalSSLModel:
    """The shipped model."""
    return dcs.load_pretrained("general")


def load(name: str, data: Path, cache: Path, small: dict) -> Labelled:
    """A set by its name."""
    if name in LARGE:
        table = pd.read_parquet(data / "mp_structures.parquet").set_index("material_id", drop=False)
        known = pd.read_parquet(data / "mp_labels.parquet").set_index("material_id")[LARGE[name]].dropna()
        rows = table.loc[known.index.intersection(table.index)]
        return Labelled(name, *usable(rows, known[rows.index].to_numpy(), rows["fold100"].to_numpy()), cache)
    if not small:
        small |= label_sets(data)
    return Labelled(name, *small[name], cache)


def with_kernel_ridge(features: Callable[[Labelled], np.ndarray], standardised: bool) -> Callable:
    """A method: kernel ridge on features."""

    def predict(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray:
        x, x_test = features(data)[chosen], features(data)[data.test]
        x, x_test = scaled(x, x_test) if standardised else (x, x_test)
        return kernel_ridge(x, data.y[chosen], data.systems[chosen], x_test)[0]

    return predict


def with_forest(features: Callable[[Labelled], np.ndarray]) -> Callable:
    """A method: random forest on features."""

    def predict(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray:
        forest = RandomForestRegressor(300, max_features=0.33, n_jobs=-1, random_state=seed)
        return forest.fit(features(data)[chosen], data.y[chosen]).predict(features(data)[data.test])

    return predict


def joined(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray:
    """Kernel ridge on ours, Magpie and structure; both weigh alike."""
    a, b = scaled(data.both[chosen], data.both[data.test])
    readout = general().crystal_encoder.attributes
    assert readout is not None
    weight = readout.size / data.both.shape[1]
    x, x_test = (np.hstack([weight * hand, data.descriptor[rows]]) for hand, rows in ((a, chosen), (b, data.test)))
    return kernel_ridge(x, data.y[chosen], data.systems[chosen], x_test)[0]


def epochs(n: int) -> int:
    """Fewer passes over more crystals."""
    return int(np.clip(60_000 / n, 25, 200))


def network(backbone: str, pretrained: str | None) -> Callable:
    """A method: NEGNN, or the same without pretrained vectors, or with those of a random encoder."""

    def predict(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray:
        source = random_control(general(), list(data.X)) if pretrained == "random" else pretrained
        batch = 32 if len(chosen) <= 500 else 64
        model = dcs.NEGNNModel(backbone=backbone, pretrained=source, seed=seed, batch_size=batch)
        dataset = dc.data.NumpyDataset(data.X[chosen], data.y[chosen])
        model.fit(dataset, nb_epoch=epochs(len(chosen)), checkpoint_interval=0, progress=False)
        return model.predict(dc.data.NumpyDataset(data.X[data.test]))[:, 0]

    return predict


def cgcnn_of_deepchem(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray:
    """DeepChem's own CGCNN, with labels normalised."""
    train = dc.data.NumpyDataset(data.X[chosen], data.y[chosen])
    scaler = dc.trans.NormalizationTransformer(transform_y=True, dataset=train)
    model = dc.models.CGCNNModel(mode="regression", n_tasks=1, batch_size=32, learning_rate=0.001)
    model.fit(scaler.transform(train), nb_epoch=epochs(len(chosen)))
    return model.predict(dc.data.NumpyDataset(data.X[data.test]), [scaler]).ravel()


METHODS: dict[str, Callable[[Labelled, np.ndarray, int], np.ndarray]] = {
    "negnn": network("cgcnn", "default"),
    "scratch": network("cgcnn", None),
    "random": network("cgcnn", "random"),
    "megnet": network("megnet", "default"),
    "megnet scratch": network("megnet", None),
    "alignn": network("alignn", "default"),
    "alignn scratch": network("alignn", None),
    "ours": with_kernel_ridge(lambda data: data.descriptor, standardised=False),
    "ours with magpie": joined,
    "ours, forest": with_forest(lambda data: data.descriptor),
    "magpie": with_kernel_ridge(lambda data: data.magpie, standardised=True),
    "magpie, forest": with_forest(lambda data: data.magpie),
    "magpie structure": with_kernel_ridge(lambda data: data.both, standardised=True),
    "magpie structure, forest": with_forest(lambda data: data.both),
    "sine coulomb": with_kernel_ridge(lambda data: data.sine_coulomb, standardised=True),
    "cgcnn of deepchem": cgcnn_of_deepchem,
}


def run(method: str, data: Labelled, n: int, seed: int, folder: Path) -> dict:
    """One training on n labels, or what it gave."""
    done = folder / f"{data.name}-{method}-{n}-{seed}.json".replace(" ", "_")
    if done.exists():
        return json.loads(done.read_text())
    chosen = data.train if n == 0 else np.random.default_rng(seed).permutation(data.train)[:n]
    started = time.process_time()
    errors = np.abs(METHODS[method](data, chosen, seed) - data.y[data.test])
    low, high = interval_of_mean(errors, data.systems[data.test])
    result = {"set": data.name, "method": method, "n": n, "labels": len(chosen), "seed": seed}
    result |= {"mae": float(errors.mean()), "low": low, "high": high, "seconds": time.process_time() - started}
    done.write_text(json.dumps(result))
    print(f"{data.name}, {method}, {len(chosen)} labels, seed {seed}: {errors.mean():.4f} "
          f"({result['seconds']:.0f} s)", flush=True)  # fmt: skip
    return result


def draw(table: pd.DataFrame, name: str, path: Path) -> None:
    """Error against the number of labels, of one set."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for k, (method, runs) in enumerate(table[table["set"] == name].groupby("method", sort=False)):
        curve = runs.groupby("labels")["mae"].agg(["mean", "std"])
        style = {"marker": "os^vD<>PX*"[k % 10], "color": f"C{k % 10}", "linestyle": "-" if k < 10 else "--"}
        axes.errorbar(curve.index, curve["mean"], curve["std"].fillna(0), label=method, capsize=2, **style)
    axes.set(xscale="log", yscale="log", xlabel="labels", ylabel="mean absolute error", title=name)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def summary(table: pd.DataFrame) -> None:
    """Mean and deviation over seeds; then every method beside the same network from scratch."""
    for name, of_set in table.groupby("set", sort=False):
        cells = of_set.groupby(["method", "n"], sort=False)["mae"].agg(["mean", "std", "count"])
        text = [f"{m:.4f} ± {s:.4f} ({c:.0f})" if c > 1 else f"{m:.4f}" for m, s, c in cells.to_numpy()]
        wide = pd.Series(text, cells.index).unstack("n").fillna("")
        print(f"\n{name}\n{wide[sorted(wide, key=lambda n: n or np.inf)].to_string()}")
    means = table.groupby(["set", "n", "method"])["mae"].mean().unstack("method")
    for ours, control in (("negnn", "scratch"), ("random", "scratch"), ("megnet", "megnet scratch"),
                          ("alignn", "alignn scratch"), ("ours with magpie", "magpie structure")):  # fmt: skip
        if {ours, control} <= set(means):
            ratio = (means[ours] / means[control]).dropna()
            print(f"\n{ours} / {control}: mean of sets by n, and the worst")
            print(ratio.groupby("n").agg(["mean", "max", "count"]).round(3).to_string())


def main() -> None:
    """Run what is asked for, and show what there is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="features; by default in the output")
    parser.add_argument("--sets", nargs="+", default=list(SETS[:6]), choices=SETS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 250, 500, 1000, 0], help="labels; 0 is all")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    options.output.mkdir(parents=True, exist_ok=True)
    cache = options.cache or options.output
    small: dict = {}
    for name in options.sets:
        data = load(name, options.data, cache, small)
        for seed in range(options.seeds):
            for n in options.sizes:
                for method in options.methods:
                    if n < len(data.train):
                        run(method, data, n, seed, options.output)
    table = pd.DataFrame([json.loads(path.read_text()) for path in sorted(options.output.glob("*.json"))])
    table = table[table["set"].isin(options.sets) & table["method"].isin(options.methods)]
    summary(table)
    for name in options.sets:
        draw(table, name, options.output / f"{name.replace(' ', '_')}.png")


if __name__ == "__main__":
    main()
