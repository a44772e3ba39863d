"""Measure learning curves on real label sets: NEGNN and descriptors beside common methods.

    python benchmarks/properties.py DATA -o RUNS [--sets E_form ...] [--methods negnn ...] [--sizes 100 0] [--seeds 5]

Training uses the chemical systems of fold100 >= 20, of which each seed draws n labels (0: all); the test uses those
of 15-19. Labels, scalers and regularisation are fitted on the n labels alone. Every run is kept in RUNS and read
when it is asked for again, so that a benchmark that was stopped continues. The table and the pictures, one for each
set and one of all sets, are made from the runs that there are.

The sets are the four of Kong et al. 2024 (formation energy, HSE gap, log K, log G), matbench phonons, the refractive
index, and formation energy and gap of the MEGNet 2018 labels ("E_form 40k", "gap 40k"). ``sites.py`` does site
moments.

Methods:

* negnn: NEGNN with a CGCNN backbone and the general model's site vectors; a quarter of its prediction is a kernel
  ridge on the descriptor. "negnn physics" has springs and tight binding too, and the kernel makes half of its
  prediction. "negnn, network alone" is the same without the kernel, "scratch" the same without pretrained vectors.
  "random" and "random, network alone" use a random encoder of the same architecture. "megnet"
  and "alignn", each also from scratch, have other backbones. "fine-tuned" trains the encoder too;
* ours: kernel ridge on the general model's descriptor. "ours with magpie" is joined with Magpie and structure; "ours
  with magpie, forest", "ours, forest" and "ours, ridge" use a random forest or ridge regression;
* magpie, magpie structure: kernel ridge on Magpie's composition features, without and with structural ones; and
  random forests on the same;
* sine coulomb: kernel ridge on the eigenvalues of the sine Coulomb matrix. Orbital field: kernel ridge on the
  orbital field matrix (at most 500 labels, because it takes hours otherwise). cgcnn of deepchem:
  ``dc.models.CGCNNModel``.

The ratios at the end compare errors crystal by crystal. They are means over the sets, with a 95 % interval by
bootstrap over the chemical systems of each test part, and the worst set.
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
from matminer.featurizers.structure import OrbitalFieldMatrix, SineCoulombMatrix
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deepchem_crystalssl as dcs

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
    readout = general().descriptor_encoder.attributes
    assert readout is not None
    weight = readout.size / data.both.shape[1]
    x, x_test = (np.hstack([weight * hand, data.descriptor[rows]]) for hand, rows in ((a, chosen), (b, data.test)))
    return kernel_ridge(x, data.y[chosen], data.systems[chosen], x_test)[0]


def epochs(n: int) -> int:
    """Fewer passes over more crystals."""
    return 200 if n <= 250 else 120 if n <= 1000 else 75


def network(backbone: str, pretrained: str | None, **options: float) -> Callable:
    """A method: NEGNN, or the same without pretrained vectors, or with those of a random encoder."""

    def predict(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray | dict[str, np.ndarray]:
        source = random_control(general(), list(data.X)) if pretrained == "random" else pretrained
        batch = 32 if len(chosen) <= 500 else 64
        model = dcs.NEGNNModel(backbone=backbone, pretrained=source, seed=seed, batch_size=batch, **options)
        dataset = dc.data.NumpyDataset(data.X[chosen], data.y[chosen])
        model.fit(dataset, nb_epoch=epochs(len(chosen)), checkpoint_interval=0, progress=False)
        test = dc.data.NumpyDataset(data.X[data.test])
        guess = {"": model.predict(test)[:, 0]}
        if "kernel" in model.components:
            model.components["kernel"].share.fill_(0.0)
            guess[", network alone"] = model.predict(test)[:, 0]
        return guess

    return predict


def with_ridge(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray:
    """Ridge on ours."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))
    return model.fit(data.descriptor[chosen], data.y[chosen]).predict(data.descriptor[data.test])


def orbital_field(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray:
    """Kernel ridge on the mean orbital field matrix of each crystal's sites."""
    featurizer = OrbitalFieldMatrix(flatten=True)

    def rows(crystals: np.ndarray) -> np.ndarray:
        return np.array([featurizer.featurize(graph.to_structure()) for graph in data.X[crystals]])

    x, x_test = scaled(rows(chosen), rows(data.test))
    return kernel_ridge(x, data.y[chosen], data.systems[chosen], x_test)[0]


def cgcnn_of_deepchem(data: Labelled, chosen: np.ndarray, seed: int) -> np.ndarray:
    """DeepChem's own CGCNN, with labels normalised."""
    train = dc.data.NumpyDataset(data.X[chosen], data.y[chosen])
    scaler = dc.trans.NormalizationTransformer(transform_y=True, dataset=train)
    model = dc.models.CGCNNModel(mode="regression", n_tasks=1, batch_size=32, learning_rate=0.001)
    model.fit(scaler.transform(train), nb_epoch=epochs(len(chosen)))
    return model.predict(dc.data.NumpyDataset(data.X[data.test]), [scaler]).ravel()


METHODS: dict[str, Callable[[Labelled, np.ndarray, int], np.ndarray | dict[str, np.ndarray]]] = {
    "negnn": network("cgcnn", "default"),
    "negnn physics": network("cgcnn", "default", physics=True),
    "scratch": network("cgcnn", None),
    "random": network("cgcnn", "random"),
    "megnet": network("megnet", "default"),
    "megnet scratch": network("megnet", None),
    "alignn": network("alignn", "default"),
    "alignn scratch": network("alignn", None),
    "ours": with_kernel_ridge(lambda data: data.descriptor, standardised=False),
    "ours with magpie": joined,
    "ours with magpie, forest": with_forest(lambda data: np.hstack([data.descriptor, data.both])),
    "fine-tuned": network("cgcnn", "default", fine_tune=1e-4),
    "ours, ridge": with_ridge,
    "ours, forest": with_forest(lambda data: data.descriptor),
    "magpie": with_kernel_ridge(lambda data: data.magpie, standardised=True),
    "magpie, forest": with_forest(lambda data: data.magpie),
    "magpie structure": with_kernel_ridge(lambda data: data.both, standardised=True),
    "magpie structure, forest": with_forest(lambda data: data.both),
    "sine coulomb": with_kernel_ridge(lambda data: data.sine_coulomb, standardised=True),
    "orbital field": orbital_field,
    "cgcnn of deepchem": cgcnn_of_deepchem,
}
PARTS = dict.fromkeys(("negnn", "negnn physics", "random", "megnet", "alignn"), ", network alone")
"""What a method says beside its prediction."""
RATIOS = [
    ("negnn physics", "negnn"), ("negnn physics, network alone", "negnn, network alone"),
    ("negnn", "scratch"), ("negnn, network alone", "scratch"), ("random", "scratch"),
    ("random, network alone", "scratch"), ("megnet", "megnet scratch"), ("megnet, network alone", "megnet scratch"),
    ("alignn", "alignn scratch"), ("alignn, network alone", "alignn scratch"),
    ("negnn", "magpie structure"), ("negnn", "magpie structure, forest"),
    ("ours with magpie", "magpie structure"), ("ours with magpie", "magpie structure, forest"),
    ("ours with magpie, forest", "magpie structure"), ("ours with magpie, forest", "magpie structure, forest"),
]  # fmt: skip


def run(method: str, data: Labelled, n: int, seed: int, folder: Path) -> None:
    """One training on n labels, unless it is there."""
    done = {part: folder / f"{data.name}-{method}{part}-{n}-{seed}.json".replace(" ", "_") for part in parts(method)}
    if all(path.exists() for path in done.values()):
        return
    chosen = data.train if n == 0 else np.random.default_rng(seed).permutation(data.train)[:n]
    started = time.process_time()
    guess = METHODS[method](data, chosen, seed)
    seconds = time.process_time() - started
    for part, values in (guess if isinstance(guess, dict) else {"": guess}).items():
        errors = values - data.y[data.test]
        mae = float(np.abs(errors).mean())
        result = {"set": data.name, "method": method + part, "n": n, "labels": len(chosen), "seed": seed}
        result |= {"mae": mae, "seconds": seconds, "errors": [float(f"{e:.5g}") for e in errors]}
        done[part].write_text(json.dumps(result))
        print(f"{data.name}, {method}{part}, {len(chosen)} labels, seed {seed}: {mae:.4f} ({seconds:.0f} s)",
              flush=True)  # fmt: skip


def parts(method: str) -> tuple[str, ...]:
    """What a method's name is followed by, for everything it says."""
    return ("", PARTS[method]) if method in PARTS else ("",)


def ratios(table: pd.DataFrame, ours: str, control: str, systems: dict[str, np.ndarray]) -> pd.DataFrame:
    """Error over that of a control by the number of labels: mean over sets, its 95 % interval, the worst set.

    Of each set, seeds both have run; errors are means over them, and chemical systems of the test part are drawn with
    replacement.
    """
    rows = []
    for n, of_size in table[table["method"].isin([ours, control])].groupby("n"):
        drawn, seen = [], {}
        for name, of_set in of_size.groupby("set", sort=False):
            by_seed = {m: of_method.set_index("seed")["errors"] for m, of_method in of_set.groupby("method")}
            if len(by_seed) < 2:
                continue
            seeds = by_seed[ours].index.intersection(by_seed[control].index)
            if seeds.empty:
                continue
            pair = [np.abs(np.stack(by_seed[m][seeds].to_list())).mean(0) for m in (ours, control)]
            groups = np.unique(systems[name], return_inverse=True)[1]
            sums = np.stack([np.bincount(groups, errors) for errors in pair])
            draws = np.random.default_rng(0).integers(sums.shape[1], size=(2000, sums.shape[1]))
            drawn.append(sums[0][draws].sum(1) / sums[1][draws].sum(1))
            seen[name] = pair[0].mean() / pair[1].mean(), len(seeds)
        if seen:
            values = pd.Series({name: ratio for name, (ratio, _) in seen.items()})
            low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
            rows.append({"n": n or "all", "mean": values.mean(), "low": low, "high": high, "worst": values.max(),
                         "set": values.idxmax(), "sets": len(values),
                         "seeds": min(k for _, k in seen.values())})  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, names: list[str], path: Path) -> None:
    """Error against the number of labels, a panel for each set; bars are deviations between seeds."""
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.6 * columns + 2.4, 4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    methods = list(dict.fromkeys(table["method"]))
    for axes, name in zip(grid.flat, names, strict=False):
        for k, method in enumerate(methods):
            runs = table[(table["set"] == name) & (table["method"] == method)]
            curve = runs.groupby("labels")["mae"].agg(["mean", "std"])
            style = {"marker": "os^vD<>PX*"[k % 10], "color": f"C{k % 10}", "linestyle": "-" if k < 10 else "--"}
            axes.errorbar(curve.index, curve["mean"], curve["std"].fillna(0), label=method, capsize=2, **style)
        axes.set(xscale="log", yscale="log", xlabel="labels", title=name)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FormatStrFormatter("%.4g"))
            axis.set_minor_formatter(FormatStrFormatter("%.4g"))
        axes.set_xticks([100, 250, 500, 1000, 2500])
        axes.set_xticks([], minor=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("mean absolute error")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=9)
    figure.savefig(path, dpi=110)


def summary(table: pd.DataFrame, systems: dict[str, np.ndarray]) -> None:
    """Mean and deviation over seeds; then every method beside the same network from scratch."""
    for name, of_set in table.groupby("set", sort=False):
        cells = of_set.groupby(["method", "n"], sort=False)["mae"].agg(["mean", "std", "count"])
        text = [f"{m:.4f} ± {s:.4f} ({c:.0f})" if c > 1 else f"{m:.4f}" for m, s, c in cells.to_numpy()]
        wide = pd.Series(text, cells.index).unstack("n").fillna("")
        print(f"\n{name}\n{wide[sorted(wide, key=lambda n: n or np.inf)].to_string()}")
    for ours, control in RATIOS:
        compared = ratios(table, ours, control, systems)
        if len(compared):
            print(f"\n{ours} / {control}\n{compared.round(3).to_string(index=False)}")


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
    systems = {}
    for name in options.sets:
        data = load(name, options.data, cache, small)
        systems[name] = data.systems[data.test]
        for seed in range(options.seeds):
            for n in options.sizes:
                for method in options.methods:
                    if n < len(data.train) and (method != "orbital field" or 0 < n <= 500):
                        run(method, data, n, seed, options.output)
    table = pd.DataFrame([json.loads(path.read_text()) for path in sorted(options.output.glob("*.json"))])
    table = table[
        table["set"].isin(options.sets)
        & table["method"].isin([method + part for method in options.methods for part in parts(method)])
    ]
    summary(table, systems)
    for name in options.sets:
        draw(table, [name], options.output / f"{name.replace(' ', '_')}.png")
    draw(table, options.sets, options.output / "curves.png")


if __name__ == "__main__":
    main()
