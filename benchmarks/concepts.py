"""Measure whether materials of one function lie together, and list the neighbours of known materials.

    python benchmarks/concepts.py DATA MODEL [MODEL ...] [--cache FOLDER]

The gallery consists of all crystals of the train and validation folds. The columns of the first table are
precision@10 of eight classes: each member of a class (at most 500 of them, drawn at random) is a query once,
crystals of its own chemical system are left out, and the number is the share of members among the ten nearest
crystals. In brackets is the 95 % interval by bootstrap over chemical systems.

* cuprate: cuprate superconductors of 3DSC; Tc > 5 K: superconductors of 3DSC, among what was measured there;
* Li battery: discharged electrodes of the Materials Project's battery explorer;
* thermoelectric: the best tenth of power factors (p or n) among what was computed by Ricci et al.;
* permanent magnet: uniaxial (space groups 75-194) compounds of a rare earth and Mn, Fe, Co or Ni, without anions,
  whose formula has a moment of at least 0.06 muB per cubic angstrom in the site moments;
* half-Heusler: 1:1:1 in space group 216; spinel: AB2X4 in space group 227 with 14 sites; perovskite: ABX3 whose B
  has six X around it, each X shared by two B.

The second table gives, for the 100 nearest neighbours of four materials (Suzuki et al. 2022), the share that belongs
to the chemical family: Cu and O around Hg-1223, Li and O around LiCoO2, S, Se or Te around CrGeTe3, a rare earth
with Mn, Fe, Co or Ni around Sm2Co17. For LiCoO2 it also gives the overlap@100 with the published list, among the
crystals that both know. LiCoO2 itself is in no fold of these files; it is built here (R-3m, a = 2.8166 Å, c = 14.052
Å, z(O) = 0.2605).

The rows are the similarity space and the space shared with patterns, each trained and with random weights; Magpie's
132 statistics of the composition; and, with --sine-coulomb (which takes an hour), the eigenvalues of the sine
Coulomb matrix. The last two are standardised, the others are used as they are; the distance is the cosine.
Everything that is slow is kept in the cache.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matminer.featurizers.composition import ElementProperty
from matminer.featurizers.structure import SineCoulombMatrix
from pymatgen.core import Composition, Lattice, Structure
from sklearn.preprocessing import StandardScaler, normalize

from controls import random_control

import deepchem_crystalssl as dcs
from deepchem_crystalssl.evaluation.probes import interval_of_mean
from deepchem_crystalssl.models.pretrained import open_model
from deepchem_crystalssl.search import precision_at_k

ANIONS = {1, 7, 8, 9, 15, 16, 17, 33, 34, 35, 51, 52, 53}
RARE_EARTHS = {21, 39, *range(57, 72)}
LICOO2 = Structure.from_spacegroup(
    "R-3m", Lattice.hexagonal(2.8166, 14.052), ["Li", "Co", "O"], [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.2605]]
)
Family = Callable[[set[int]], bool]
FAMILIES: dict[str, tuple[str | Structure, Family]] = {
    "Hg-1223": ("mp-22601", lambda z: {29, 8} <= z),
    "LiCoO2": (LICOO2, lambda z: {3, 8} <= z),
    "CrGeTe3": ("mp-541449", lambda z: bool(z & {16, 34, 52})),
    "Sm2Co17 (R-3m)": ("mp-1105544", lambda z: bool(z & RARE_EARTHS) and bool(z & {25, 26, 27, 28})),
    "Sm2Co17 (P6_3/mmc)": ("mp-1200096", lambda z: bool(z & RARE_EARTHS) and bool(z & {25, 26, 27, 28})),
}


def is_half_heusler(row: Any) -> bool:
    """1:1:1 in F-43m."""
    counts = np.unique(row.atomic_numbers, return_counts=True)[1]
    return len(counts) == 3 and len(set(counts)) == 1 and row.spacegroup == 216


def is_perovskite(graph: Any) -> bool:
    """ABX3, B in corner-sharing octahedra of X."""
    z, counts = np.unique(graph.atomic_numbers, return_counts=True)
    if len(z) != 3 or sorted(counts / counts.min()) != [1.0, 1.0, 3.0]:
        return False
    x = z[counts.argmax()]
    if x not in (8, 9, 16, 17, 34, 35, 53):
        return False
    center = np.repeat(np.arange(graph.num_nodes), np.diff(graph.first_edge))
    between = graph.atomic_numbers[graph.neighbor] == x
    for b in z[counts != counts.max()]:
        bonds = (graph.atomic_numbers[center] == b) & between
        if not bonds.any():
            continue
        near = bonds & (graph.distance < 1.35 * graph.distance[bonds].min())
        around_b = np.bincount(center[near], minlength=graph.num_nodes)[graph.atomic_numbers == b]
        around_x = np.bincount(graph.neighbor[near], minlength=graph.num_nodes)[graph.atomic_numbers == x]
        if (around_b == 6).all() and (around_x == 2).all():
            return True
    return False


def is_spinel(row: Any) -> bool:
    """AB2X4 in Fd-3m, 14 sites in the primitive cell."""
    counts = np.unique(row.atomic_numbers, return_counts=True)[1]
    return row.spacegroup == 227 and sorted(counts.tolist()) == [2, 4, 8]


def strong_magnets(moments: pd.DataFrame) -> set[str]:
    """Reduced formulas whose moments add up to at least 0.06 muB per cubic angstrom."""
    strong = set()
    for row in moments.itertuples():
        volume = abs(np.linalg.det(np.reshape(row.lattice, (3, 3))))
        if abs(np.sum(row.magmom)) / volume >= 0.06 and set(row.atomic_numbers) & RARE_EARTHS:
            strong.add(Composition(row.formula).reduced_formula)
    return strong


def is_magnet(row: Any, strong: set[str]) -> bool:
    """A uniaxial compound of a rare earth and a magnetic metal, without anions."""
    z = set(row.atomic_numbers)
    return (
        75 <= row.spacegroup <= 194
        and bool(z & RARE_EARTHS)
        and bool(z & {25, 26, 27, 28})
        and not z & ANIONS
        and Composition(row.formula).reduced_formula in strong
    )


def classes(
    table: pd.DataFrame, graphs: list, labels: pd.DataFrame, moments: pd.DataFrame
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Members of each class, and among whom they are sought."""
    everybody = np.ones(len(table), bool)
    critical = labels["tc_3dsc_undoped"].to_numpy(float)
    power = labels[["ricci_PF_p", "ricci_PF_n"]].max(axis=1).to_numpy(float)
    strong = strong_magnets(moments)
    return {
        "cuprate": (labels["cuprate_3dsc"].fillna(False).to_numpy(bool), everybody),
        "Tc > 5 K": (critical > 5, ~np.isnan(critical)),
        "Li battery": (labels["battery_Li_discharge"].fillna(False).to_numpy(bool), everybody),
        "thermoelectric": (power > np.nanquantile(power, 0.9), ~np.isnan(power)),
        "permanent magnet": (np.array([is_magnet(row, strong) for row in table.itertuples()]), everybody),
        "spinel": (np.array([is_spinel(row) for row in table.itertuples()]), everybody),
        "half-Heusler": (np.array([is_half_heusler(row) for row in table.itertuples()]), everybody),
        "perovskite": (np.array([is_perovskite(graph) for graph in graphs]), everybody),
    }


def neighbors_of(vectors: np.ndarray, query: np.ndarray, left_out: int | None, known: np.ndarray | None = None) -> Any:
    """The 100 nearest rows of a query, by cosine."""
    likeness = vectors @ query
    if left_out is not None:
        likeness[left_out] = -np.inf
    if known is not None:
        likeness[~known] = -np.inf
    return np.argsort(-likeness)[:100]


def magpie(formulas: list[str]) -> np.ndarray:
    """132 statistics of element properties, by distinct formula."""
    featurizer = ElementProperty.from_preset("magpie", impute_nan=True)
    distinct, rows = np.unique(formulas, return_inverse=True)
    return np.array([featurizer.featurize(Composition(formula)) for formula in distinct])[rows]


def kept(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """From the cache, or computed."""
    if not path.exists():
        np.save(path, compute())
    return np.load(path)


def sine_coulomb(graphs: list) -> np.ndarray:
    """The 50 largest eigenvalues of each."""
    rows = np.zeros((len(graphs), 50), np.float32)
    featurizer = SineCoulombMatrix(flatten=True)
    for row, graph in zip(rows, graphs, strict=True):
        structure = graph.to_structure()
        values = np.sort(featurizer.fit([structure]).featurize(structure))[::-1][:50]
        row[: len(values)] = values
    return rows


def main(arguments: list[str] | None = None) -> dict[str, dict[str, str]]:
    """Print both tables, and return them by row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("concepts_cache"))
    parser.add_argument("--sine-coulomb", action="store_true")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    options.cache.mkdir(parents=True, exist_ok=True)

    table = pd.read_parquet(options.data / "mp_structures.parquet")
    report = dcs.Report()
    graphs = dcs.structures_to_graphs(table, on_error="skip", report=report, progress=False)
    table = table.drop(index=[table.index[error.index] for error in report]).set_index("material_id", drop=False)
    labels = pd.read_parquet(options.data / "mp_labels.parquet").set_index("material_id").loc[table.index]
    systems = pd.factorize(table["chemsys"])[0]
    sought = classes(table, graphs, labels, pd.read_parquet(options.data / "site_magmoms.parquet"))
    print({name: int(members.sum()) for name, (members, _) in sought.items()}, flush=True)

    cached = options.cache / "magpie.npy"
    if not cached.exists():
        np.save(cached, magpie(table["formula"].tolist()).astype(np.float32))
    scaler = StandardScaler().fit(np.load(cached))
    spaces: dict[str, Callable[[Any], np.ndarray]] = {
        "Magpie": lambda x: scaler.transform(
            np.load(cached) if x is graphs else magpie([g.to_structure().formula for g in x])
        )
    }
    for name in options.models:
        model = open_model(name)
        for label, encoder in (
            (Path(name).name, model),
            (f"{Path(name).name}, random weights", random_control(model, graphs)),
        ):
            for space in ("similarity", "shared"):
                spaces[f"{label}: {space}"] = lambda x, e=encoder, s=space, n=label: (
                    kept(options.cache / f"{n}-{s}.npy", lambda: e.embed(x, space=s, progress=False))
                    if x is graphs
                    else e.embed(x, space=s, progress=False)
                )
    if options.sine_coulomb:
        eigenvalues = kept(options.cache / "sine_coulomb.npy", lambda: sine_coulomb(graphs))
        spread = StandardScaler().fit(eigenvalues)
        spaces["sine Coulomb"] = lambda x: spread.transform(eigenvalues if x is graphs else sine_coulomb(x))

    published = pd.read_csv(options.data / "suzuki_neighbours_LiCoO2.csv.gz")
    published = published[published["list"].str.startswith("Our")].sort_values("rank")["material_id"]
    common = labels.filter(like="suzuki_").notna().any(axis=1).to_numpy() | table["material_id"].isin(published)
    listed = published[published.isin(table["material_id"][common])][:100]
    elements = [set(z) for z in table["atomic_numbers"]]
    rows = {}
    for label, embed in spaces.items():
        vectors = normalize(embed(graphs)).astype(np.float32)
        row = {}
        for name, (members, gallery) in sought.items():
            shares, owners = precision_at_k(vectors, members, systems, 10, gallery)
            low, high = interval_of_mean(shares, owners)
            row[name] = f"{shares.mean():.3f} ({low:.3f}-{high:.3f})"
        for name, (query, family) in FAMILIES.items():
            if isinstance(query, str):
                at = table.index.get_loc(query)
                vector, own = vectors[at], at
            else:
                vector, own = normalize(embed(dcs.structures_to_graphs(query, progress=False)))[0], None
                near = neighbors_of(vectors, vector.astype(np.float32), own, common)
                row[f"{name}: overlap@100"] = f"{table['material_id'].iloc[near].isin(listed).mean():.2f}"
            near = neighbors_of(vectors, vector.astype(np.float32), own)
            row[name] = f"{np.mean([family(elements[k]) for k in near]):.2f}"
        rows[label] = row
        print(label, row, flush=True)
    print(pd.DataFrame(rows).T.to_string())
    return rows


if __name__ == "__main__":
    main()
