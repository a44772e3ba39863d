"""What a trained model knows of crystals, in one piece: whose neighbours they are, which pattern is whose, the map."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .crystals.prototypes import bundled_prototypes
from .errors import NoCrystalsError, Report
from .crystals.records import CrystalGraph
from .diffraction.conditions import REALISTIC, try_patterns
from .crystals.neighbors import structures_to_graphs
from .crystals.symmetry import crystal_system
from .evaluation.metrics import duplicate_groups, retrieval_recall
from .models.pretraining import CrystalSSLModel
from .models.pretrained import open_model
from .search import neighbor_table
from .search.coloring import ANION_CLASSES, Coloring, anion_class
from .search.pictures import draw_map
from .search.projection import make_map

WELL_KNOWN = ("SiO2", "CaTiO3", "MgAl2O4", "ZnS", "AlCu2Mn")
"""Formulas whose neighbours the demo tells, where the crystals hold them."""


def run_demo(
    source: Any = None,
    output: str | Path = "demo",
    model: str | Path | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> pd.Series:
    """Embed crystals with a trained model and show what it knows of them.

    Writes ``embeddings.parquet`` (material_id, formula, anion_class, crystal_system, embedding in the similarity
    space), ``neighbors.csv``, ``map.png``, ``pattern.png`` (a pattern and the crystals it was taken for),
    ``skipped.csv`` (what could not be used, and why) and ``metrics.json`` into ``output``.

    Parameters
    ----------
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads; by default the bundled prototypes.
    output : str or Path
        Folder, made if needed.
    model : str or Path, optional
        A shipped model by its name, or the folder of another; by default ``"general"``.
    seed : int
        Of the patterns and the map.
    progress : bool, optional
        Progress bars; by default on a terminal only.

    Returns
    -------
    pandas.Series
        Recall of finding a crystal by a pattern as measured (strain up to 1 %, peaks of 0.28 degrees, 1 % noise), with
        the model and with random weights; seconds taken.
    """
    started = time.perf_counter()
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    report = Report()
    graphs = structures_to_graphs(
        bundled_prototypes() if source is None else source,
        disorder="average",
        on_error="skip",
        report=report,
        progress=progress,
    )
    report.to_frame().to_csv(folder / "skipped.csv", index=False)
    if len(graphs) < 8:
        raise NoCrystalsError(
            str(source),
            f"{len(graphs)} usable crystals ({report.summary()})",
            "the demo needs at least 8 crystals",
            "Give it more crystals.",
        )
    trained = open_model(model)
    _write_neighbors(graphs, trained.embed(graphs, space="similarity", progress=progress), folder, seed)
    patterns, errors = try_patterns(graphs, trained.xrd_grid, REALISTIC, seed)
    kept = [k for k, error in enumerate(errors) if error is None]
    graphs, patterns = [graphs[k] for k in kept], patterns[kept]
    groups = duplicate_groups(graphs)
    metrics: dict[str, float] = {"crystals": len(graphs), "left out": len(report) + len(errors) - len(kept)}
    for name, encoders in (("", trained), ("random ", trained.untrained(seed))):
        found = retrieval_recall(
            encoders.embed_xrd(patterns, progress=False), encoders.embed(graphs, progress=False), (1, 10), groups
        )
        metrics |= {f"{name}recall@1": found[1], f"{name}recall@10": found[10]}
    draw_search(trained, graphs, patterns, folder / "pattern.png")
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2))
    return pd.Series(metrics)


def _write_neighbors(graphs: list[CrystalGraph], vectors: np.ndarray, folder: Path, seed: int) -> None:
    table = describe(graphs)
    neighbors = neighbor_table(vectors, table["material_id"].tolist())
    formulas = dict(zip(table["material_id"], table["formula"], strict=True))
    neighbors.insert(1, "formula", neighbors["material_id"].map(formulas))
    neighbors["neighbor_formula"] = neighbors["neighbor_id"].map(formulas)
    neighbors.to_csv(folder / "neighbors.csv", index=False)
    kinds = Coloring.of_kinds("anion_class", table["anion_class"].tolist(), [*ANION_CLASSES])
    draw_map(make_map(vectors, seed, False).positions, kinds).savefig(folder / "map.png", dpi=150)
    table["embedding"] = list(vectors)
    table.to_parquet(folder / "embeddings.parquet", index=False)


def well_known_neighbors(folder: str | Path, k: int = 5) -> list[tuple[str, str, list[str]]]:
    """The k nearest formulas of well-known crystals, or of the first five, from a demo's ``neighbors.csv``.

    Returns
    -------
    list of (str, str, list of str)
        material_id, formula, formulas of its neighbours, nearest first.
    """
    neighbors = pd.read_csv(Path(folder, "neighbors.csv"))
    known = neighbors[neighbors["formula"].isin(WELL_KNOWN)]
    shown = neighbors if known.empty else known
    told = []
    for name in shown.drop_duplicates("formula")["material_id"][:5]:
        nearest = shown[(shown["material_id"] == name) & (shown["rank"] <= k)]
        told.append((str(name), str(nearest["formula"].iloc[0]), nearest["neighbor_formula"].tolist()))
    return told


def describe(crystals: list[CrystalGraph]) -> pd.DataFrame:
    """material_id, formula, anion_class and crystal_system of crystals, one row each."""
    return pd.DataFrame(
        {
            "material_id": [crystal.material_id for crystal in crystals],
            "formula": [crystal.reduced_formula for crystal in crystals],
            "anion_class": [anion_class(crystal.chemical_system) for crystal in crystals],
            "crystal_system": [crystal_system(crystal) for crystal in crystals],
        }
    )


def draw_search(model: CrystalSSLModel, graphs: list[CrystalGraph], patterns: np.ndarray, path: Path) -> None:
    """Write a picture of one pattern as measured, and the ideal patterns of the three crystals nearest to it.

    The pattern is that of the crystal with the most elements, of the most sites among those.
    """
    asked = max(range(len(graphs)), key=lambda k: (len(set(graphs[k].species.atomic_numbers)), graphs[k].num_nodes))
    distance = np.linalg.norm(
        model.embed(graphs, progress=False) - model.embed_xrd(patterns[asked], progress=False), axis=1
    )
    nearest = np.argsort(distance)[:3]
    ideal = try_patterns([graphs[k] for k in nearest], model.xrd_grid)[0]
    figure = Figure(figsize=(9, 6), layout="constrained")
    rows = figure.subplots(4, sharex=True)
    shown = [patterns[asked], *ideal]
    titles = [f"as measured (simulated): {graphs[asked].reduced_formula}"] + [
        f"{rank}. {graphs[k].reduced_formula} ({graphs[k].material_id}), distance {distance[k]:.2f}"
        for rank, k in enumerate(nearest, start=1)
    ]
    angles = model.xrd_grid.two_theta
    for axes, intensities, title in zip(rows, shown, titles, strict=True):
        axes.plot(angles, intensities, linewidth=0.8, color="black" if axes is rows[0] else "tab:blue")
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_yticks([])
    rows[-1].set_xlabel("two-theta, degrees")
    figure.savefig(path, dpi=150)
