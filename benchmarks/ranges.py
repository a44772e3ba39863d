"""Measure how far away a property depends on the structure: the error against the layer of the encoder.

    python benchmarks/ranges.py DATA -o FOLDER [--model general] [--sets E_form ...] [--labels 800] [--draws 3]

The number of a layer is its range in hops: layer 0 knows the element of a site (and, in models with attributes, its
own bonds), layer k what lies within k hops. Kernel ridge, as in ``materials.py``, is trained on the means and
standard deviations over the sites of one layer, of all layers up to it, and of the same layers of a random encoder
of the same architecture. The numbers are means over draws of n labels (fold100 >= 20), tested on 15-19. The script
prints mean absolute errors, and draws them divided by that of layer 0.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.preprocessing import StandardScaler

from deepchem_crystalssl.models.pretrained import open_model

from controls import random_control
from materials import kernel_ridge, label_sets


def error(x: np.ndarray, y: np.ndarray, draws: list[np.ndarray], test: np.ndarray, systems: np.ndarray) -> float:
    """Of a kernel ridge on standardised columns, the mean of draws of training rows."""
    errors = []
    for rows in draws:
        scaler = StandardScaler().fit(x[rows])
        guess = kernel_ridge(scaler.transform(x[rows]), y[rows], systems[rows], scaler.transform(x[test]))[0]
        errors.append(np.abs(guess - y[test]).mean())
    return float(np.mean(errors))


def draw(table: pd.DataFrame, path: Path) -> None:
    """Error over that of layer 0."""
    kinds = ["one layer", "all up to it", "random weights, all up to it"]
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 3, sharey=True), kinds, strict=True):
        for name, values in table[table["kind"] == kind].groupby("set", sort=False):
            first = table[(table["kind"] == "one layer") & (table["set"] == name) & (table["layer"] == 0)]
            axes.plot(values["layer"], values["mae"] / first["mae"].item(), "o-", label=name)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set(xlabel="layer: range in hops", title=kind, xticks=sorted(set(table["layer"])))
    figure.axes[0].set_ylabel("error over that of layer 0")
    figure.axes[-1].legend(fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Print the table and draw it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="general")
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--labels", type=int, default=800)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    options.output.mkdir(parents=True, exist_ok=True)
    model = open_model(options.model)
    rows = []
    for name, (graphs, y, folds) in label_sets(options.data).items():
        if options.sets and name not in options.sets:
            continue
        systems = np.array([graph.chemical_system for graph in graphs])
        train, test = np.flatnonzero(folds >= 20), np.flatnonzero(folds < 20)
        draws = [np.random.default_rng(k).permutation(train)[: options.labels] for k in range(options.draws)]
        blind = random_control(model, graphs)
        for layer in range(len(model.descriptor_encoder.convolutions) + 1):
            for kind, encoder, layers in (
                ("one layer", model, [layer]),
                ("all up to it", model, list(range(layer + 1))),
                ("random weights, all up to it", blind, list(range(layer + 1))),
            ):
                mae = error(encoder.embed(graphs, layers=layers, progress=False), y, draws, test, systems)
                rows.append({"set": name, "layer": layer, "kind": kind, "mae": mae})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.pivot_table(index=["set", "kind"], columns="layer", values="mae", sort=False).round(4).to_string())
    draw(table, options.output / "error_by_layer.png")


if __name__ == "__main__":
    main()
