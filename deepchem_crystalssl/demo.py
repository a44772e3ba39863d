"""The whole way on real crystals, in one piece: read, draw, pretrain, embed, find neighbours, show."""

from __future__ import annotations

import gzip
import json
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pandas as pd
import spglib
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from .crystals.convert import to_crystal
from .crystals.errors import NoCrystalsError, Report
from .crystals.graph import Crystal, CrystalGraph
from .crystals.neighbors import structures_to_graphs
from .crystals.xrd import simulate_xrd
from .crystals.xrd_grid import XRDGrid
from .metrics import RetrievalRecall, retrieval_recall
from .models import CrystalSSLModel
from .search import neighbor_table

DEMO_GRID = XRDGrid(fwhm=0.4, n_bins=2500)
DEMO_ENCODER = {"hidden": 256, "embedding_size": 128}
DEMO_XRD_ENCODER = {"channels": 32, "hidden": 256}
HELD_OUT = 0.25
CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
_LAST_GROUP_OF_SYSTEM = (2, 15, 74, 142, 167, 194, 230)
ANION_CLASSES = {
    "oxide": {8},
    "halide": {9, 17, 35, 53},
    "chalcogenide": {16, 34, 52},
    "pnictide": {7, 15, 33},
    "hydride, boride, carbide, silicide": {1, 5, 6, 14},
    "intermetallic or element": set(range(1, 119)),
}
"""Chemical classes by the anion a crystal holds; the first that applies."""


def bundled_prototypes() -> list[Crystal]:
    """The 288 crystals of the AFLOW prototype library (Mehl et al. 2017) that pymatgen brings along.

    Examples
    --------
    >>> prototypes = bundled_prototypes()
    >>> len(prototypes), prototypes[0]
    (288, Crystal(AB_hP6_154_a_b, S3Hg3, 6 sites))
    """
    path = files("pymatgen.analysis") / "prototypes" / "aflow_prototypes.json.gz"
    entries = json.loads(gzip.decompress(path.read_bytes()))
    return [to_crystal(entry["snl"], entry["tags"]["aflow"]) for entry in entries]


def run_demo(
    source: Any = None, output: str | Path = "demo", epochs: int = 60, seed: int = 0, progress: bool | None = None
) -> pd.Series:
    """Pretrain on crystals and show what was learned.

    Writes ``embeddings.parquet`` (material_id, formula, anion_class, crystal_system, embedding), ``neighbors.csv``,
    ``map.png``, ``skipped.csv`` (what could not be used, and why) and ``metrics.json`` into ``output``.

    Parameters
    ----------
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads; by default the bundled prototypes.
    output : str or Path
        Folder, made if needed.
    epochs : int
        Passes over the training part.
    seed : int
        Of the split, the weights and the map.
    progress : bool, optional
        Progress bars; by default on a terminal only.

    Returns
    -------
    pandas.Series
        Held-out recall of finding a crystal by its pattern, trained and untrained, and seconds taken.
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

    order = np.random.RandomState(seed).permutation(len(graphs))
    n_held_out = max(2, int(HELD_OUT * len(graphs)))
    held_out = [graphs[i] for i in order[:n_held_out]]
    model = CrystalSSLModel(
        "suzuki2022",
        encoder=DEMO_ENCODER,
        xrd_encoder=DEMO_XRD_ENCODER,
        grid=DEMO_GRID,
        batch_size=32,
        seed=seed,
        log_frequency=10**9,
    )
    patterns = simulate_xrd(held_out, DEMO_GRID, disorder="average", progress=False)

    def recall() -> RetrievalRecall:
        return retrieval_recall(model.embed_xrd(patterns), model.embed(held_out, disorder="average"), k=(1, 10))

    untrained = recall()
    train = np.empty(len(graphs) - n_held_out, object)
    train[:] = [graphs[i] for i in order[n_held_out:]]
    model.fit(dc.data.NumpyDataset(train), nb_epoch=epochs, progress=progress, checkpoint_interval=0)
    trained = recall()

    _write_results(graphs, model.embed(graphs, disorder="average"), folder, seed)
    metrics = pd.Series(
        {
            "crystals": len(graphs),
            "left out": len(report),
            "held out": n_held_out,
            "recall@1": trained[1],
            "recall@10": trained[10],
            "untrained recall@1": untrained[1],
            "untrained recall@10": untrained[10],
            "seconds": round(time.perf_counter() - started, 1),
        }
    )
    metrics.to_json(folder / "metrics.json", indent=2)
    return metrics


def _write_results(graphs: list[CrystalGraph], vectors: np.ndarray, folder: Path, seed: int) -> None:
    table = describe(graphs)
    neighbors = neighbor_table(vectors, table["material_id"].tolist())
    formulas = dict(zip(table["material_id"], table["formula"], strict=True))
    neighbors.insert(1, "formula", neighbors["material_id"].map(formulas))
    neighbors["neighbor_formula"] = neighbors["neighbor_id"].map(formulas)
    neighbors.to_csv(folder / "neighbors.csv", index=False)
    draw_map(vectors, table["anion_class"].tolist(), folder / "map.png", seed)
    table["embedding"] = list(vectors)
    table.to_parquet(folder / "embeddings.parquet", index=False)


def describe(crystals: list[CrystalGraph]) -> pd.DataFrame:
    """material_id, formula, anion_class and crystal_system of crystals, one row each."""
    return pd.DataFrame(
        {
            "material_id": [crystal.material_id for crystal in crystals],
            "formula": [crystal.reduced_formula for crystal in crystals],
            "anion_class": [anion_class(crystal) for crystal in crystals],
            "crystal_system": [crystal_system(crystal) for crystal in crystals],
        }
    )


def anion_class(crystal: Crystal) -> str:
    """The first of :data:`ANION_CLASSES` whose elements the crystal holds.

    Examples
    --------
    >>> anion_class(bundled_prototypes()[0])
    'chalcogenide'
    """
    elements = set(crystal.species.atomic_numbers.tolist())
    return next(name for name, anions in ANION_CLASSES.items() if elements & anions)


def crystal_system(crystal: Crystal, symprec: float = 0.01) -> str:
    """Crystal system by spglib, ``"unknown"`` if it finds no symmetry.

    Examples
    --------
    >>> crystal_system(bundled_prototypes()[0])
    'trigonal'
    """
    cell = (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers)
    symmetry = spglib.get_symmetry_dataset(cell, symprec=symprec)
    if symmetry is None:
        return "unknown"
    return CRYSTAL_SYSTEMS[int(np.searchsorted(_LAST_GROUP_OF_SYSTEM, symmetry.number))]


def draw_map(vectors: np.ndarray, labels: list[str], path: Path, seed: int = 0) -> None:
    """Write a picture of the embeddings in the plane (t-SNE), one colour per label."""
    points = TSNE(perplexity=min(30.0, (len(vectors) - 1) / 3), init="pca", random_state=seed).fit_transform(vectors)
    figure = Figure(figsize=(7, 7), layout="constrained")  # no pyplot: the caller's backend stays as it is
    axes = figure.subplots()
    for color, label in enumerate(sorted(set(labels), key=labels.count, reverse=True)):
        chosen = np.array([other == label for other in labels])
        x, y = points[chosen].T
        axes.scatter(x, y, s=14, color=colormaps["tab10"](color), label=f"{label} ({chosen.sum()})")
    axes.set(title=f"{len(vectors)} crystals, embedded without labels", xlabel="t-SNE 1", ylabel="t-SNE 2")
    axes.set_xticks([])
    axes.set_yticks([])
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)
