"""Predict properties from small label sets with frozen crystal vectors, controls, and common features.

    python benchmarks/materials.py DATA MODEL [MODEL ...] [--cache FOLDER] [--forest] [--physics | --learned]

Training uses the chemical systems of fold100 >= 20, and the test those of 15-19. Every method gets the same kernel
ridge: a Laplacian kernel whose alpha and gamma are chosen by cross-validation in the training part, grouped by
chemical system, with five folds. The table gives mean absolute errors on the test part and of that cross-validation.
The sets of the cross-validation are six times as large; its errors are slightly optimistic, equally for all methods.
In brackets is the 95 % interval of the difference to Magpie + structure, by bootstrap over chemical systems; below
zero is better.

Hand-made features are standardised. Descriptors come scaled, with weights for the blocks of attributes and of
learned columns; the rows "standardised" undo this. When both are joined, the hand-made columns are multiplied by the
number of attribute columns over their own number, so that both weigh the same.

With ``--physics`` the table has other rows: the descriptor, and the descriptor with springs, with electrons and with
both, where the weight of each block of columns is chosen in the training part too. The intervals are then those of the
difference to the descriptor.

With ``--learned`` the rows tell what training gives: each is there with trained weights and with random ones, whose
statistics have seen crystals. They are the learned columns with the encoder's answers, alone; the descriptor, in
which these follow the attributes; and the descriptor with springs and tight binding (``--kinds``). All weights of
blocks are chosen in the training part. The intervals are those of the difference to random weights, and the last
line of each table is the mean over the sets of the ratio of the errors.

Magpie stands for 132 statistics of element properties (matminer). Structure stands for density, volume per atom,
space group, crystal system, inversion, number of sites, and the mean, standard deviation and extremes of
nearest-neighbour distances and coordination numbers.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matminer.featurizers.composition import ElementProperty
from matminer.featurizers.structure import DensityFeatures, GlobalSymmetryFeatures
from pymatgen.core import Lattice, Structure
from sklearn.ensemble import RandomForestRegressor
from sklearn.preprocessing import StandardScaler

import deepchem_crystalssl as dcs
from deepchem_crystalssl.evaluation.kernel_ridge import LaplacianRidgeCV
from deepchem_crystalssl.evaluation.probes import interval_of_mean
from deepchem_crystalssl.models.model_physics import PHYSICS_BLOCKS, PHYSICS_WEIGHT, descriptor_blocks
from deepchem_crystalssl.models.pretrained import open_model
from deepchem_crystalssl.physics import model_physics, standardized

from controls import random_control

REFERENCE = "Magpie + structure"
RANDOM = ", random weights"
KINDS = ("learned alone", "descriptor", "with physics")
ELECTRONS = ["electrons", "band edges"]
SPRINGS = sorted(set(PHYSICS_BLOCKS) - set(ELECTRONS))
PHYSICS_ROWS = {"weighed": [], "+ springs": SPRINGS, "+ electrons": ELECTRONS, "+ both": [*SPRINGS, *ELECTRONS]}

KONG = {
    "E_form": "kong_formation_4k",
    "HSE gap": "kong_hse",
    "log K": "kong_bulk_modulus",
    "log G": "kong_shear_modulus",
}


def label_sets(folder: Path) -> dict[str, tuple[list, np.ndarray, np.ndarray]]:
    """Graphs, labels and folds of the six sets."""
    structures = pd.read_parquet(folder / "mp_structures.parquet").set_index("material_id", drop=False)
    labels = pd.read_parquet(folder / "mp_labels.parquet").set_index("material_id")
    sets = {}
    for name, column in KONG.items():
        known = labels[column].dropna()
        rows = structures.loc[known.index.intersection(structures.index)]
        sets[name] = usable(rows, known[rows.index].to_numpy(), rows["fold100"].to_numpy())
    phonons = pd.read_parquet(folder / "matbench_phonons.parquet")
    built = [
        Structure(Lattice.from_parameters(*row.cell), row.Z, np.reshape(row.frac, (-1, 3)))
        for row in phonons.itertuples()
    ]
    sets["phonons"] = usable(built, phonons["last_phdos_peak"].to_numpy(), phonons["fold100"].to_numpy())
    optical = pd.read_parquet(folder / "matminer_dielectric_constant.parquet")
    built = [Structure.from_str(text, fmt="poscar") for text in optical["poscar"]]
    sets["n"] = usable(built, optical["n"].to_numpy(), optical["fold100"].to_numpy())
    return sets


def usable(structures: Any, y: np.ndarray, folds: np.ndarray) -> tuple[list, np.ndarray, np.ndarray]:
    """What has a graph, outside the folds nobody looks at."""
    report = dcs.Report()
    graphs = dcs.structures_to_graphs(structures, on_error="skip", report=report, progress=False)
    left_out = {error.index for error in report}
    kept = np.array([k not in left_out for k in range(len(y))])
    y, folds = y[kept], folds[kept]
    inside = folds >= 15
    return [graph for graph, good in zip(graphs, inside, strict=True) if good], y[inside], folds[inside]


def magpie(graphs: list) -> np.ndarray:
    """132 statistics of element properties."""
    featurizer = ElementProperty.from_preset("magpie", impute_nan=True)
    return np.array([featurizer.featurize(graph.to_structure().composition) for graph in graphs])


def structural(graphs: list) -> np.ndarray:
    """Density, symmetry, nearest neighbours."""
    density, symmetry = DensityFeatures(["density", "vpa"]), GlobalSymmetryFeatures(
        ["spacegroup_num", "crystal_system_int", "is_centrosymmetric"]
    )
    rows = []
    for graph in graphs:
        structure = graph.to_structure()
        first = graph.first_edge
        nearest = np.array([graph.distance[a:b].min() for a, b in zip(first[:-1], first[1:], strict=True)])
        near = graph.distance < 1.2 * np.repeat(nearest, np.diff(first))
        coordination = np.add.reduceat(near.astype(float), first[:-1])
        stats = [f(x) for x in (nearest, coordination) for f in (np.mean, np.std, np.min, np.max)]
        rows.append([*density.featurize(structure), *symmetry.featurize(structure), graph.num_nodes, *stats])
    return np.array(rows, float)


def kernel_ridge(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, x_test: np.ndarray, blocks: list[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of a Laplacian kernel ridge whose parameters the training part chose, and its errors there."""
    model = LaplacianRidgeCV(blocks=blocks).fit(x, y, groups)
    if blocks:
        print(model.block_weights_)
    return model.predict(x_test), np.abs(model.cv_prediction_ - y)


def scaled(x: np.ndarray, x_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardised columns; constant ones dropped."""
    varies = x.std(0) > 1e-9
    scaler = StandardScaler().fit(x[:, varies])
    return scaler.transform(x[:, varies]), scaler.transform(x_test[:, varies])


def forest(x: np.ndarray, y: np.ndarray, groups: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """Predictions of a random forest."""
    return RandomForestRegressor(300, random_state=0, n_jobs=-1, max_features=0.33).fit(x, y).predict(x_test)


Inputs = dict[str, tuple[np.ndarray, np.ndarray]]


def hand_made(name: str, graphs: list, cache: Path) -> dict[str, np.ndarray]:
    """Magpie and structural features, kept in a folder."""
    hand = {}
    for kind, function in (("Magpie", magpie), ("structure", structural)):
        path = cache / f"{name.replace(' ', '_')}-{kind}.npy"
        if not path.exists():
            np.save(path, function(graphs))
        hand[kind] = np.load(path)
    return hand


def with_hand_made(
    name: str, graphs: list, train: np.ndarray, test: np.ndarray, models: dict, options: argparse.Namespace
) -> tuple[Inputs, dict[str, list[str]]]:
    """Training and test part of hand-made features, of descriptors, and of both joined."""
    hand = hand_made(name, graphs, options.cache)
    both = np.hstack([hand["Magpie"], hand["structure"]])
    inputs: Inputs = {
        REFERENCE: scaled(both[train], both[test]),
        "Magpie": scaled(hand["Magpie"][train], hand["Magpie"][test]),
    }
    for label, model in models.items():
        x = model.embed(graphs, space="descriptor", progress=False)
        control = random_control(model, graphs).embed(graphs, space="descriptor", progress=False)
        known = n_attributes(model) or x.shape[1]
        inputs[f"{label}"] = x[train], x[test]
        inputs[f"{label}, random weights"] = control[train], control[test]
        inputs[f"{label}, attributes alone"] = x[train, :known], x[test, :known]
        inputs[f"{label}, standardised"] = scaled(x[train], x[test])
        weight, hand_scaled = known / both.shape[1], inputs[REFERENCE]
        inputs[f"{label} with {REFERENCE}"] = tuple(
            np.hstack([weight * a, b]) for a, b in zip(hand_scaled, inputs[label], strict=True)
        )
    return inputs, {}


def with_physics(
    name: str, graphs: list, train: np.ndarray, test: np.ndarray, models: dict, options: argparse.Namespace
) -> tuple[Inputs, dict[str, list[str]]]:
    """Training and test part of descriptors, with and without springs and electrons; and the block of each column."""
    numbers = PHYSICS_WEIGHT * standardized(model_physics(graphs, disorder="average", progress=False))
    inputs: Inputs = {}
    blocks = {}
    for label, model in models.items():
        x = model.embed(graphs, space="descriptor", progress=False)
        inputs[label] = x[train], x[test]
        own = descriptor_blocks(model.descriptor_encoder)
        for added, kinds in PHYSICS_ROWS.items():
            columns = np.flatnonzero(np.isin(PHYSICS_BLOCKS, kinds))
            joined = np.hstack([x, numbers[:, columns]])
            inputs[f"{label}, {added}"] = joined[train], joined[test]
            blocks[f"{label}, {added}"] = own + np.array(PHYSICS_BLOCKS)[columns].tolist()
    return inputs, blocks


def with_random_weights(
    name: str, graphs: list, train: np.ndarray, test: np.ndarray, models: dict, options: argparse.Namespace
) -> tuple[Inputs, dict[str, list[str]]]:
    """Learned columns alone, the descriptor, and the descriptor with physics; first with random weights."""
    path = options.cache / f"{name.replace(' ', '_')}-physics.npy"
    if not path.exists():
        np.save(path, standardized(model_physics(graphs, disorder="average", progress=False)))
    exact = PHYSICS_WEIGHT * np.load(path)
    inputs: Inputs = {}
    blocks = {}
    for label, trained in models.items():
        known = n_attributes(trained)
        models_of_row = {"": trained} if options.no_controls else {RANDOM: random_control(trained, graphs), "": trained}
        for weights, model in models_of_row.items():
            x = model.embed(graphs, space="descriptor", progress=False)
            own = descriptor_blocks(model.descriptor_encoder)
            for kind, columns, labels in (
                ("learned alone", x[:, known:], own[known:]),
                ("descriptor", x, own),
                ("with physics", np.hstack([x, exact]), descriptor_blocks(model.descriptor_encoder, physics=True)),
            ):
                if kind in options.kinds:
                    row = f"{label}, {kind}{weights}"
                    inputs[row], blocks[row] = (columns[train], columns[test]), labels
    return inputs, blocks


def n_attributes(model: Any) -> int:
    """How many of the descriptor's first columns are attributes."""
    attributes = model.descriptor_encoder.attributes
    return 0 if attributes is None else attributes.size


def main(arguments: list[str] | None = None) -> dict[str, dict[str, dict[str, str]]]:
    """Print the tables, and return them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--cache", type=Path, default=Path("materials_cache"))
    parser.add_argument("--forest", action="store_true", help="Magpie + random forest too")
    parser.add_argument("--physics", action="store_true", help="springs and tight binding too")
    parser.add_argument("--learned", action="store_true", help="trained beside random weights")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="of columns, with --learned")
    parser.add_argument("--no-controls", action="store_true", help="no random weights, with --learned")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    options.cache.mkdir(parents=True, exist_ok=True)
    models = {Path(name).name: open_model(name) for name in options.models}
    tables: dict[str, dict[str, dict[str, str]]] = {"test": {}, "cross-validation": {}}
    means: dict[str, dict[str, dict[str, float]]] = {"test": {}, "cross-validation": {}}
    for name, (graphs, y, folds) in label_sets(options.data).items():
        train, test = folds >= 20, folds < 20
        systems = np.array([graph.chemical_system for graph in graphs])
        collect = with_random_weights if options.learned else with_physics if options.physics else with_hand_made
        inputs, blocks = collect(name, graphs, train, test, models, options)
        errors = {}
        for label, (a, b) in inputs.items():
            guess, inside = kernel_ridge(a, y[train], systems[train], b, blocks.get(label))
            errors[label] = {"test": np.abs(guess - y[test]), "cross-validation": inside}
            print(f"{name}: {label} {errors[label]['test'].mean():.4f}, {inside.mean():.4f}", flush=True)
        if options.forest:
            features = hand_made(name, graphs, options.cache)["Magpie"]
            guess = forest(features[train], y[train], systems[train], features[test])
            print(f"{name}: Magpie, random forest {np.abs(guess - y[test]).mean():.4f}")
        print(f"{name}: {train.sum()} / {test.sum()} labels")
        for part, groups in (("test", systems[test]), ("cross-validation", systems[train])):
            tables[part][name] = {
                label: cell(of[part], errors[reference(label, errors)][part], groups) for label, of in errors.items()
            }
            means[part][name] = {label: of[part].mean() for label, of in errors.items()}
    for part, table in tables.items():
        print(f"\n{part}")
        print(pd.DataFrame(table).to_string())
        if options.learned:
            frame = pd.DataFrame(means[part])
            for label in frame.index:
                if RANDOM not in label and label + RANDOM in frame.index:
                    ratio = frame.loc[label] / frame.loc[label + RANDOM]
                    sets = ", ".join(f"{name} {value:.3f}" for name, value in ratio.items())
                    print(f"{label}: {ratio.mean():.3f} of random weights, mean of the sets; {sets}")
    return tables


def reference(label: str, errors: dict) -> str:
    """The row that a row is compared with: the same with random weights, or the first of all."""
    return label + RANDOM if label + RANDOM in errors else next(iter(errors))


def cell(errors: np.ndarray, reference: np.ndarray, groups: np.ndarray) -> str:
    """The mean, and how it differs from the reference."""
    if errors is reference:
        return f"{errors.mean():.4f}"
    low, high = interval_of_mean(errors - reference, groups)
    return f"{errors.mean():.4f} ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    main()
