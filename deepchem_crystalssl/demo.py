"""A demonstration of a trained model in one call: similar crystals, crystals found by their patterns, the map."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .crystals.duplicates import duplicate_groups
from .crystals.formats.files import in_short
from .crystals.formats.tables import write_csv
from .crystals.neighbors import structures_to_graphs
from .crystals.prototypes import bundled_prototypes
from .crystals.work_folders import check_output, writing, written_to
from .diffraction.conditions import REALISTIC, try_patterns
from .errors import NoCrystalsError, OptionError, Report
from .evaluation.metrics import retrieval_recall
from .search import EmbeddingIndex, neighbor_table
from .search.coloring import anion_class

WELL_KNOWN = ("SiO2", "CaTiO3", "MgAl2O4", "ZnS", "AlCu2Mn")
"""Formulas whose neighbours the demonstration prints, if the crystals contain them."""
_WRITTEN = "embeddings.parquet neighbors.csv map.png pattern.png skipped.csv metrics.json".split()
_COUNTS = 10_000
"""Counts at the highest peak of the pattern that is searched for."""


def run_demo(
    source: Any = None,
    output: str | Path = "demo",
    model: str | Path | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> pd.Series:
    """Embed crystals with a trained model and show what it can do with them.

    Writes into ``output``: ``embeddings.parquet`` (material_id, formula, anion_class, crystal_system, and the embedding
    in the similarity space), ``neighbors.csv``, ``map.png``, ``pattern.png`` (a simulated measurement with the fitted
    pattern of the crystal that was found), ``skipped.csv`` (what could not be used, and why) and ``metrics.json``.

    Parameters
    ----------
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads; by default the bundled prototypes.
    output : str or Path
        Folder, made if needed.
    model : str or Path, optional
        A shipped model by its name, or the folder of another; by default ``"general"``.
    seed : int
        Of the simulated measurements and the map.
    progress : bool, optional
        Progress bars; by default on a terminal only.

    Returns
    -------
    pandas.Series
        Recall at 1 and 10 of finding a crystal by a simulated measurement of its pattern (strain up to 1 %, peaks 0.28
        degrees wide, 1 % noise), with the trained model and with random weights; seconds taken.

    Raises
    ------
    NoCrystalsError
        If fewer than 8 crystals can be used.
    """
    started = time.perf_counter()
    folder, report = Path(output), Report()
    with written_to(folder, OptionError):
        folder.mkdir(parents=True, exist_ok=True)
    for name in _WRITTEN:
        check_output(folder / name)
    source = bundled_prototypes() if source is None else source
    index = EmbeddingIndex.from_structures(source, model, disorder="average", report=report, progress=progress)
    write_csv(report.to_frame(), folder / "skipped.csv")
    if len(index) < 8:
        raise NoCrystalsError(in_short(source), f"{len(index)} usable crystals ({report.summary()})",
                              "the demo needs at least 8 crystals", "Give it more crystals.")  # fmt: skip
    _write_neighbors(index, folder)
    index.make_map(seed, False)
    with writing(folder / "map.png") as part:
        index.plot_map("anion_class").savefig(part, dpi=150, format="png")
    metrics = _measure(index, folder / "pattern.png", seed)
    metrics["left out"] += len(report)
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    with writing(folder / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2))
    return pd.Series(metrics)


def _write_neighbors(index: EmbeddingIndex, folder: Path) -> None:
    """``neighbors.csv`` and ``embeddings.parquet``."""
    table = index.table
    neighbors = neighbor_table(index.vectors, table["material_id"].tolist())
    formulas = dict(zip(table["material_id"], table["formula"], strict=True))
    neighbors.insert(1, "formula", neighbors["material_id"].map(formulas))
    neighbors["neighbor_formula"] = neighbors["neighbor_id"].map(formulas)
    write_csv(neighbors, folder / "neighbors.csv")
    written = table[["material_id", "formula"]].copy()
    written["anion_class"] = table["chemical_system"].map(anion_class)
    written["crystal_system"] = table["crystal_system"]
    written["embedding"] = list(index.vectors)
    with writing(folder / "embeddings.parquet") as part:
        written.to_parquet(part, index=False)


def _measure(index: EmbeddingIndex, picture: Path, seed: int) -> dict[str, float]:
    """Recall of finding crystals by simulated measurements, and a picture of one such search."""
    assert index.structures is not None
    structures, grid = [index.structures[row] for row in range(len(index))], index.model.xrd_grid
    crystals = structures_to_graphs(structures, disorder="average", progress=False)
    drawn, errors = try_patterns(crystals, grid, REALISTIC, seed)
    kept = [row for row, error in enumerate(errors) if error is None]
    crystals, patterns = [crystals[row] for row in kept], drawn[kept]
    groups = duplicate_groups(crystals)
    metrics: dict[str, float] = {"crystals": len(crystals), "left out": len(errors) - len(kept)}
    for name, model in (("", index.model), ("random ", index.model.untrained(seed))):
        vectors = model.embed(crystals, progress=False)
        found = retrieval_recall(model.embed_xrd(patterns, progress=False), vectors, (1, 10), groups)
        metrics |= {f"{name}recall@1": found[1], f"{name}recall@10": found[10]}
    # The crystal with the most elements and, among those, with the most sites.
    chosen = max(range(len(kept)), key=lambda k: (crystals[k].chemical_system.count("-"), crystals[k].num_nodes))
    counts = _COUNTS * np.clip(np.asarray(patterns[chosen], float), 0.0, None)
    answer = index.query_pattern(grid.two_theta, counts, grid.wavelength_angstrom, k=3)
    with writing(picture) as part:
        answer.plot().savefig(part, dpi=150, format="png")
    return metrics


def well_known_neighbors(folder: str | Path, k: int = 5) -> list[tuple[str, str, list[str]]]:
    """The k nearest formulas of well-known crystals, or else of the first five, from a demo's ``neighbors.csv``.

    Returns
    -------
    list of (str, str, list of str)
        material_id, formula, and the formulas of its neighbours, nearest first.
    """
    neighbors = pd.read_csv(Path(folder, "neighbors.csv"), dtype={"material_id": str, "neighbor_id": str})
    known = neighbors[neighbors["formula"].isin(WELL_KNOWN)]
    shown = neighbors if known.empty else known
    told = []
    for name in shown.drop_duplicates("formula")["material_id"][:5]:
        nearest = shown[(shown["material_id"] == name) & (shown["rank"] <= k)]
        told.append((str(name), str(nearest["formula"].iloc[0]), nearest["neighbor_formula"].tolist()))
    return told
