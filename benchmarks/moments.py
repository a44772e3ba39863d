"""Derive what site vectors know of magnetic moments: maps, a comparison of layers, and rules tested on new chemistry.

    python benchmarks/moments.py DATA -o FOLDER [--model general] [--structures 3000] [--mapped 600]

The method follows Kong et al. 2024. It uses DFT moments of the Materials Project, in structures of at most 52 sites;
training uses the chemical systems of fold100 >= 20, and the test those of 15-19. Each chemical system counts once,
and its sites share that weight.

* ``map.png`` shows t-SNE of the vectors of 3d sites, with a column for each layer, coloured by element, environment
  and moment.
* The comparison of layers gives the share of the variance of the vectors that crystal, element, environment and
  moment explain (``deepchem_crystalssl.compare_layers``).
* The rules are made as follows. A forest learns moments from site descriptors. Its predictions for training sites
  that it has not seen (five folds by chemical system) are approximated, element by element, by a tree of at most
  four leaves over named quantities: the signed bond-valence sum, the coordination number, the nearest distance, the
  mean electronegativity of the neighbours, and the share of neighbours of the same element. Every leaf is a rule,
  and predicts the median moment of its training sites. Its error on the test part is compared with that of the
  element's median, with a 95 % interval of the difference by bootstrap over chemical systems.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pymatgen.core import Element
from sklearn.ensemble import RandomForestRegressor
from sklearn.manifold import TSNE
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeRegressor

import deepchem_crystalssl as dcs
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.site_attributes import SITE_ATTRIBUTES, site_attributes
from deepchem_crystalssl.evaluation.probes import interval_of_mean
from deepchem_crystalssl.models.pretrained import open_model

from sites import Sites

QUANTITIES = {
    "valence": "valence sum",
    "coordination number": "coordination",
    "nearest distance": "nearest distance (Å)",
    "neighbor electronegativity": "neighbours' electronegativity",
    "like neighbors": "share of like neighbours",
}
MOST_PER_SYSTEM = 20
LEAVES = 4
SHAPES = ["octahedral", "tetrahedral", "square co-planar", "square pyramidal", "trigonal bipyramidal",
          "body-centered cubic", "cuboctahedral"]  # fmt: skip


class Told(Sites):
    """Sites that can bear a moment, with what is said of them."""

    def __init__(self, table: pd.DataFrame, model: dcs.CrystalSSLModel):
        super().__init__(table)
        self.z = np.concatenate([graph.atomic_numbers for graph in self.graphs])[self.chosen]
        self.vectors = model.embed(self.graphs, "site", space="descriptor", progress=False)[self.chosen]
        columns = [SITE_ATTRIBUTES.index(name) for name in QUANTITIES]
        parts = [site_attributes(GraphBatch.from_graphs([graph]))[:, columns] for graph in self.graphs]
        self.quantities = np.concatenate([part.numpy() for part in parts])[self.chosen]
        self.weights = 1.0 / pd.Series(self.systems).map(pd.Series(self.systems).value_counts()).to_numpy(float)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value half of the weight lies below."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def told_by_vectors(train: Told) -> np.ndarray:
    """What a forest on vectors says of sites whose chemical systems it has not seen; the rest is left NaN.

    The largest systems hold hundreds of sites that say the same: a few of each are enough.
    """
    order = pd.Series(np.random.default_rng(0).permutation(len(train.systems)))
    rank = order.groupby(train.systems[order.to_numpy()]).cumcount().to_numpy()
    rows = order.to_numpy()[rank < MOST_PER_SYSTEM]
    forest = RandomForestRegressor(100, max_features=0.33, min_samples_leaf=2, n_jobs=-1, random_state=0)
    told = np.full(len(train.moments), np.nan)
    folds = GroupKFold(5, shuffle=True, random_state=0)
    told[rows] = cross_val_predict(
        forest, train.vectors[rows], train.moments[rows], groups=train.systems[rows], cv=folds
    )
    return told


def conditions(tree: DecisionTreeRegressor) -> Iterator[tuple[int, str]]:
    """Number and conditions of every leaf, in words."""

    def walk(node: int, bounds: dict[int, tuple[float, float]]) -> Iterator[tuple[int, str]]:
        shape = tree.tree_
        if shape.children_left[node] < 0:
            names = list(QUANTITIES.values())
            yield node, " and ".join(between(names[k], *limits) for k, limits in sorted(bounds.items())) or "any"
            return
        feature, threshold = shape.feature[node], shape.threshold[node]
        low, high = bounds.get(feature, (-np.inf, np.inf))
        yield from walk(shape.children_left[node], bounds | {feature: (low, min(high, threshold))})
        yield from walk(shape.children_right[node], bounds | {feature: (max(low, threshold), high)})

    yield from walk(0, {})


def between(name: str, low: float, high: float) -> str:
    """A condition."""
    if np.isinf(low):
        return f"{name} <= {high:.2f}"
    return f"{name} > {low:.2f}" if np.isinf(high) else f"{low:.2f} < {name} <= {high:.2f}"


def rules(train: Told, test: Told, least_systems: tuple[int, int] = (60, 15)) -> tuple[pd.DataFrame, np.ndarray]:
    """A row for every rule, and what the rules predict for the test part."""
    told = told_by_vectors(train)
    guess = np.empty(len(test.moments))
    rows = []
    for z in sorted(set(test.z)):
        here, there = train.z == z, test.z == z
        if not here.any():
            guess[there] = np.median(train.moments)
            continue
        plain = weighted_median(train.moments[here], train.weights[here])
        guess[there] = plain
        if len(set(train.systems[here])) < least_systems[0] or len(set(test.systems[there])) < least_systems[1]:
            continue
        seen = here & np.isfinite(told)
        tree = DecisionTreeRegressor(criterion="absolute_error", max_leaf_nodes=LEAVES, min_weight_fraction_leaf=0.08)
        tree.fit(train.quantities[seen], told[seen], train.weights[seen])
        leaf, test_leaf = tree.apply(train.quantities), tree.apply(test.quantities)
        for node, text in conditions(tree):
            a, b = here & (leaf == node), there & (test_leaf == node)
            if not b.any():
                continue
            value = weighted_median(train.moments[a], train.weights[a])
            guess[b] = value
            change = np.abs(value - test.moments[b]) - np.abs(plain - test.moments[b])
            low, high = interval_of_mean(*of_systems(change, test.systems[b]))
            rows.append({
                "element": Element.from_Z(int(z)).symbol, "rule": text, "moment": value,
                "held-out median": weighted_median(test.moments[b], test.weights[b]),
                "systems": len(set(test.systems[b])),
                "MAE": of_systems(np.abs(value - test.moments[b]), test.systems[b])[0].mean(),
                "element's": of_systems(np.abs(plain - test.moments[b]), test.systems[b])[0].mean(),
                "low": low, "high": high,
            })  # fmt: skip
    return pd.DataFrame(rows), guess


def of_systems(errors: np.ndarray, systems: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of every chemical system, and the systems."""
    means = pd.Series(errors).groupby(systems).mean()
    return means.to_numpy(), means.index.to_numpy()


def print_rules(train: Told, test: Told) -> None:
    """The rules, and how much they know beside the vectors they are read from."""
    table, by_rule = rules(train, test)
    table["holds"] = np.where(table["high"] < 0, "yes", np.where(table["low"] > 0, "no", ""))
    print(table.round(2).to_string(index=False))
    medians = {z: weighted_median(train.moments[train.z == z], train.weights[train.z == z]) for z in set(train.z)}
    element = np.array([medians.get(z, np.median(train.moments)) for z in test.z])
    forest = RandomForestRegressor(100, max_features=0.33, n_jobs=-1, random_state=0).fit(train.vectors, train.moments)
    trees = np.median([tree.predict(test.vectors) for tree in forest.estimators_], axis=0)
    for name, guess in {"element's median": element, "rules": by_rule, "median forest on vectors": trees}.items():
        means = of_systems(np.abs(guess - test.moments), test.systems)
        print(f"{name}: {means[0].mean():.3f} (95 % {'-'.join(f'{v:.3f}' for v in interval_of_mean(*means))}) muB")


def draw_map(sites: Told, model: dcs.CrystalSSLModel, environments: np.ndarray, path: Path) -> None:
    """t-SNE of 3d sites by layer, coloured in three ways."""
    shown = (21 <= sites.z) & (sites.z <= 30)
    elements = np.array([Element.from_Z(int(z)).symbol for z in sites.z[shown]])
    shapes = environments[shown]
    depth = len(model.descriptor_encoder.convolutions)
    figure = Figure(figsize=(4 * (depth + 1), 11), layout="constrained")
    grid = figure.subplots(3, depth + 1)
    for layer, column in enumerate(grid.T):
        vectors = model.embed(sites.graphs, "site", [layer], progress=False)[sites.chosen][shown]
        places = TSNE(init="pca", random_state=0).fit_transform(vectors / vectors.std(0).clip(1e-6))
        for axes, values, names in (
            (column[0], elements, [Element.from_Z(z).symbol for z in range(21, 31)]),
            (column[1], shapes, SHAPES),
        ):
            axes.scatter(*places.T, s=2, color="lightgray")
            for k, name in enumerate(names):
                axes.scatter(*places[values == name].T, s=4, color=f"C{k}", label=name)
        points = column[2].scatter(*places.T, c=sites.moments[shown], s=4, cmap="viridis", vmin=0, vmax=5)
        column[0].set_title(f"layer {layer}")
    for axes, text in zip(grid[:, 0], ("element", "local environment", "moment"), strict=True):
        axes.set_ylabel(text, fontsize=12)
    for row in grid[:2]:
        row[-1].legend(markerscale=3, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.colorbar(points, ax=grid[2, -1], label="moment, muB")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the tables, draw the maps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="general")
    parser.add_argument("--structures", type=int, default=3000)
    parser.add_argument("--mapped", type=int, default=600, help="structures of the maps and of the layers compared")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    options.output.mkdir(parents=True, exist_ok=True)
    model = open_model(options.model)
    table = pd.read_parquet(options.data / "site_magmoms.parquet")
    table = table[table["n_sites"] <= 52]
    parts = (table[table["fold100"] >= 20], table[table["fold100"].between(15, 19)])
    train, test = (Told(p.sample(min(len(p), options.structures), random_state=0), model) for p in parts)
    print(f"train {len(train.moments)} sites, test {len(test.moments)}, {len(set(test.systems))} chemical systems")
    print_rules(train, test)
    some = Told(parts[0].sample(options.mapped, random_state=1), model)
    environments = np.full(len(some.chosen), None, object)
    start = 0
    for graph in some.graphs:
        own = np.flatnonzero(some.chosen[start : start + graph.num_nodes])
        environments[start + own] = dcs.local_environments(graph, own)
        start += graph.num_nodes
    moments = np.full(len(some.chosen), None, object)
    moments[some.chosen] = np.round(some.moments).astype(int)
    labels = {"environment": environments, "moment, whole muB": moments}
    print(dcs.compare_layers(model, some.graphs, labels).round(3).to_string())
    print(pd.Series(environments[some.chosen]).value_counts().head(15).to_string())
    draw_map(some, model, environments[some.chosen], options.output / "map.png")


if __name__ == "__main__":
    main()
