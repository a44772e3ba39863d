"""Predict the size of magnetic moments from frozen site vectors, controls, and common features.

    python benchmarks/sites.py DATA MODEL [MODEL ...] [--structures N] [--regressors forest ridge] [--negnn]
    python benchmarks/sites.py DATA MODEL [MODEL ...] --all [--physics] [--trees N]

The sites are those of d and f elements in structures of at most 52 sites. Training uses N structures of fold100 >=
20, and the test as many of 15-19. The table gives mean absolute errors of |m| in muB: "by system" counts each
chemical system once, with a 95 % interval by bootstrap over them; "sites" counts the sites of all systems except the
two largest, which alone hold more sites than all others.

The regressors are a random forest of 100 trees, whose mean ("forest") or median ("median forest") is taken (the
median suits an absolute error where moments are either high or low), and kernel ridge with a Laplacian kernel, whose
alpha and gamma are chosen on a fifth of the training systems. Hand-made features are standardised: element (atomic
number and 92 attributes), composition (mean attributes), the twelve nearest distances and their statistics,
coordination, and volume per site. Our vectors are used as they are. With ``--negnn``, NEGNN with ``level="site"`` is
trained too, with the vectors of each model and from scratch; each chemical system has the same weight.

With ``--all``, all structures are used, with at most 12 sites of each chemical system for training, and the regressor
is ``MedianForest``, for which each chemical system has the same weight. The inputs are those of ``SiteEmbedding``,
without and with ``surroundings=True``; with ``--physics`` also its attributes with ``physics=True``.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import deepchem as dc
import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupShuffleSplit
from sklearn.preprocessing import StandardScaler

from controls import random_control

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.elements import N_ELEMENTS, element_features
from deepchem_crystalssl.errors import CrystalInputError
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.descriptors.sites import with_surroundings
from deepchem_crystalssl.nn.backbones import CGCNN
from deepchem_crystalssl.nn.site_attributes import SITE_ATTRIBUTES
from deepchem_crystalssl.evaluation import MedianForest
from deepchem_crystalssl.evaluation.probes import interval_of_mean
from deepchem_crystalssl.models.model_physics import weighed_physics, without
from deepchem_crystalssl.models.pretrained import open_model

MOST_PER_SYSTEM = 12


def has_moment(z: np.ndarray) -> np.ndarray:
    """d and f elements."""
    return ((21 <= z) & (z <= 30)) | ((39 <= z) & (z <= 48)) | ((57 <= z) & (z <= 80)) | ((89 <= z) & (z <= 103))


class Sites:
    """Structures, and their sites that can bear a moment."""

    def __init__(self, table: pd.DataFrame):
        self.graphs: list = []
        moments = []
        for row in table.itertuples():
            places, cell = np.reshape(row.frac_coords, (-1, 3)), np.reshape(row.lattice, (3, 3))
            try:
                crystal = make_crystal(row.atomic_numbers, places, cell, str(row.id))
                self.graphs += dcs.structures_to_graphs(crystal, progress=False)
            except CrystalInputError:
                continue
            moments.append(np.abs(row.magmom))
        self.chosen = has_moment(np.concatenate([graph.atomic_numbers for graph in self.graphs]))
        self.moments = np.concatenate(moments)[self.chosen]
        systems = np.repeat([g.chemical_system for g in self.graphs], [g.num_nodes for g in self.graphs])
        self.systems = systems[self.chosen]

    def thin(self, most: int) -> None:
        """Keep at most this many sites, drawn at random, of each chemical system."""
        order = np.random.default_rng(0).permutation(len(self.systems))
        kept = np.zeros(len(order), bool)
        kept[order] = pd.Series(self.systems[order]).groupby(self.systems[order]).cumcount().to_numpy() < most
        self.chosen[np.flatnonzero(self.chosen)[~kept]] = False
        self.moments, self.systems = self.moments[kept], self.systems[kept]

    def embedded(self, model: dcs.CrystalSSLModel, physics: bool, attributes: bool = False) -> np.ndarray:
        """Columns of ``SiteEmbedding(surroundings=True)`` of the chosen sites, a chunk of structures at a time."""
        rows, first = [], 0
        for k in range(0, len(self.graphs), 1000):
            graphs = self.graphs[k : k + 1000]
            own = model.embed(graphs, "site", space="descriptor", progress=False)
            own = own[:, : len(SITE_ATTRIBUTES)] if attributes else own
            if physics:
                crystals: list = list(graphs)
                own = np.hstack([own, *without([], weighed_physics(crystals, "site", "average", 1))])
            ends = np.cumsum([graph.num_nodes for graph in graphs])
            own = np.concatenate(list(map(with_surroundings, np.split(own, ends[:-1]), graphs)))
            rows.append(own[self.chosen[first : first + len(own)]])
            first += len(own)
        return np.concatenate(rows)


def hand_features(graphs: list) -> np.ndarray:
    """Element, composition, distances, coordination."""
    attributes, rows = element_features(), []
    for graph in graphs:
        z = graph.atomic_numbers
        composition = attributes[z].mean(0)
        for i in range(graph.num_nodes):
            d = np.sort(graph.distance[graph.first_edge[i] : graph.first_edge[i + 1]])
            d = d if len(d) else np.array([8.0])  # an isolated atom
            nearest = np.pad(d[:12], (0, max(0, 12 - len(d))), constant_values=8.0)
            numbers = [len(d), (d < 1.2 * d[0]).sum(), d[:4].mean(), d.mean(), d.std(), graph.volume / graph.num_nodes]
            rows.append(np.concatenate([[z[i]], attributes[z[i]], composition, nearest, numbers]))
    return np.array(rows, np.float32)


def forest(x: np.ndarray, train: Sites, x_test: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions of a random forest, and of its middle tree."""
    model = RandomForestRegressor(100, max_features=0.33, n_jobs=-1, random_state=0).fit(x, train.moments)
    trees = np.stack([tree.predict(x_test) for tree in model.estimators_])
    return {"forest": trees.mean(0), "median forest": np.median(trees, axis=0)}


def ridge(x: np.ndarray, train: Sites, x_test: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions of a Laplacian kernel ridge."""
    a, b = (torch.tensor(v, dtype=torch.float32) for v in (x, x_test))
    y = torch.tensor(train.moments, dtype=torch.float32)
    distance = torch.cdist(a, a, p=1)
    scale = float(distance[:500].median())
    fit, held = next(GroupShuffleSplit(1, test_size=0.2, random_state=0).split(x, groups=train.systems))
    errors = {}
    for gamma in (0.5, 1.0, 2.0):
        kernel = torch.exp(distance[np.ix_(fit, fit)] * (-gamma / scale))
        across = torch.exp(distance[np.ix_(held, fit)] * (-gamma / scale))
        for alpha in (0.01, 0.1, 0.5):
            guess = across @ solve(kernel, y[fit] - y.median(), alpha) + y.median()
            errors[gamma, alpha] = float((guess - y[held]).abs().mean())
    gamma, alpha = min(errors, key=lambda key: errors[key])
    weights = solve(distance.mul_(-gamma / scale).exp_(), y - y.median(), alpha)
    return {"ridge": (torch.exp(torch.cdist(b, a, p=1) * (-gamma / scale)) @ weights + y.median()).numpy()}


def solve(kernel: torch.Tensor, y: torch.Tensor, alpha: float) -> torch.Tensor:
    """Weights of a kernel ridge."""
    factor = torch.linalg.cholesky(kernel + alpha * torch.eye(len(kernel)))
    return torch.cholesky_solve(y[:, None], factor)[:, 0]


def networks(train: Sites, test: Sites, models: dict[str, dcs.CrystalSSLModel | None], width: int) -> Iterator[tuple]:
    """Predictions of NEGNN for sites, with the vectors of every model."""
    epochs = int(np.clip(500_000 / len(train.graphs), 15, 40))
    systems = pd.Series([graph.chemical_system for graph in train.graphs])
    share = systems.map(pd.Series(train.systems).value_counts()).fillna(1).to_numpy(float)
    weights = dcs.site_labels([np.full(g.num_nodes, 1.0 / n) for g, n in zip(train.graphs, share, strict=True)])
    for label, model in models.items():
        torch.manual_seed(0)
        network = dcs.NEGNNModel(
            backbone=CGCNN(width), pretrained=model, level="site", hidden=256, learning_rate=0.004, batch_size=64
        )
        network.fit(labelled(train, weights), nb_epoch=epochs, checkpoint_interval=0, progress=False)
        yield label, network.predict(labelled(test))[:, 0][test.chosen]


def labelled(sites: Sites, weights: np.ndarray | None = None) -> dc.data.NumpyDataset:
    """As DeepChem has it; sites that bear no moment are not known."""
    X = np.empty(len(sites.graphs), object)
    X[:] = sites.graphs
    moments = np.full(len(sites.chosen), np.nan)
    moments[sites.chosen] = sites.moments
    ends = np.cumsum([graph.num_nodes for graph in sites.graphs])[:-1]
    return dc.data.NumpyDataset(X, dcs.site_labels(np.split(moments, ends)), weights)


REGRESSORS = {"forest": forest, "ridge": ridge}


def few_structures(train: Sites, test: Sites, options: argparse.Namespace) -> Iterator[tuple[str, str, np.ndarray]]:
    """Predictions of forests, ridges and networks from every input."""
    scaler = StandardScaler().fit(hand_features(train.graphs))
    inputs = {"hand features": tuple(scaler.transform(hand_features(s.graphs)) for s in (train, test))}
    for name in options.models:
        model, label = open_model(name), Path(name).name
        depth = len(model.descriptor_encoder.convolutions)
        encoders = {label: model}
        if not options.no_controls:
            encoders[f"{label}, random weights"] = random_control(model, train.graphs)
        for kind, encoder in encoders.items():
            inputs[kind] = tuple(
                encoder.embed(s.graphs, "site", space="descriptor", progress=False) for s in (train, test)
            )
        if not options.no_controls:
            inputs[f"{label}, attributes alone"] = tuple(x[:, : len(SITE_ATTRIBUTES)] for x in inputs[label])
        if options.by_layer:
            for layer in range(depth + 1):
                inputs[f"{label}, layer {layer}"] = tuple(
                    model.embed(s.graphs, "site", [layer], progress=False) for s in (train, test)
                )
    for label, (x, x_test) in inputs.items():
        for name in options.regressors:
            for regressor, guess in REGRESSORS[name](x[train.chosen], train, x_test[test.chosen]).items():
                yield label, regressor, guess
    if options.negnn:
        models = {Path(name).name: open_model(name) for name in options.models} | {"from scratch": None}
        for label, guess in networks(train, test, models, options.width):
            yield label, "NEGNN", guess


def all_structures(train: Sites, test: Sites, options: argparse.Namespace) -> Iterator[tuple[str, str, np.ndarray]]:
    """Predictions of the median forest from every input."""
    train.thin(MOST_PER_SYSTEM)

    def fitted(label: str, x: np.ndarray, x_test: np.ndarray) -> tuple[str, str, np.ndarray]:
        regressor = MedianForest(options.trees, n_jobs=-1).fit(x, train.moments, train.systems)
        return label, "MedianForest", regressor.predict(x_test)

    yield fitted("hand features", *(hand_features(s.graphs)[s.chosen] for s in (train, test)))
    for name in options.models:
        model, label = open_model(name), Path(name).name
        kinds = [("attributes alone", model, False, True), ("", model, False, False)]
        kinds += [("attributes and physics", model, True, True)] * options.physics
        if not options.no_controls:
            kinds.append(("random weights", random_control(model, train.graphs), False, False))
        for kind, encoder, physics, attributes in kinds:
            x, x_test = (s.embedded(encoder, physics, attributes) for s in (train, test))
            own = (x.shape[1] - N_ELEMENTS) // 2
            text = f"{label}, {kind}" if kind else label
            yield fitted(text, x[:, :own], x_test[:, :own])
            yield fitted(f"{text}, surroundings", x, x_test)


def by_system(errors: np.ndarray, systems: np.ndarray) -> tuple[float, float, float]:
    """Mean over chemical systems, and its 95 % interval."""
    means = pd.Series(errors).groupby(systems).mean().to_numpy()
    return float(means.mean()), *interval_of_mean(means, np.arange(len(means)))


def main(arguments: list[str] | None = None) -> list[dict]:
    """Print the table, and return it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--structures", type=int, default=3000)
    parser.add_argument("--regressors", nargs="+", default=["forest"], choices=list(REGRESSORS))
    parser.add_argument("--by-layer", action="store_true", help="every layer alone too")
    parser.add_argument("--no-controls", action="store_true", help="neither random weights nor attributes alone")
    parser.add_argument("--negnn", action="store_true", help="networks too")
    parser.add_argument("--width", type=int, default=64, help="of the networks")
    parser.add_argument("--all", action="store_true", help="all structures, median forests, and surroundings")
    parser.add_argument("--trees", type=int, default=100, help="of the median forests")
    parser.add_argument("--physics", action="store_true", help="numbers of springs and tight binding too, with --all")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    table = pd.read_parquet(options.data / "site_magmoms.parquet")
    table = table[table["n_sites"] <= 52]
    train, test = (
        Sites(part.sample(len(part) if options.all else min(len(part), options.structures), random_state=0))
        for part in (table[table["fold100"] >= 20], table[table["fold100"].between(15, 19)])
    )
    print(
        f"train {len(train.graphs)} structures, {len(train.moments)} sites; test {len(test.graphs)}, "
        f"{len(test.moments)}, {len(set(test.systems))} chemical systems",
        flush=True,
    )
    largest = pd.Series(test.systems).value_counts().index[:2]
    constant = np.full(len(test.moments), np.median(train.moments))
    rows = []
    found = all_structures if options.all else few_structures
    for label, regressor, guess in chain([("constant", "", constant)], found(train, test, options)):
        errors = np.abs(guess - test.moments)
        spread = errors[~np.isin(test.systems, largest)].mean()
        rows.append([label, regressor, *by_system(errors, test.systems), spread])
        print(rows[-1], flush=True)
    columns = ["input", "regressor", "by system", "low", "high", "sites"]
    table = pd.DataFrame(rows, columns=columns).round(4)
    print(table.to_string(index=False))
    return table.to_dict("records")


if __name__ == "__main__":
    main()
