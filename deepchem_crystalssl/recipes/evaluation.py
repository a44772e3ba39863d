"""Evaluation of a trained model beside controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from .._names import renamed_arguments
from .conditions import conditions_of
from ..crystals.formats.tables import ID_COLUMNS, read_table
from ..crystals.records import CrystalGraph
from ..data.datasets import CrystalStore
from ..data.labels import labels_by_id
from ..diffraction.conditions import CLEAN, HARD, REALISTIC, MeasurementConditions, measure_patterns, try_patterns
from ..errors import Report
from ..evaluation.metrics import alignment, duplicate_groups, retrieval_recall, spread, uniformity
from ..evaluation.probes import linear_probe, nearest_neighbor_probe
from ..models.embedding import embed_graphs
from ..models.pretrained import load_encoder
from ..models.pretraining import CrystalSSLModel


@renamed_arguments(instrument="conditions")
def evaluate(
    model: CrystalSSLModel | str | Path,
    store: CrystalStore | str | Path,
    conditions: str | MeasurementConditions | None = "none",
    labels: pd.DataFrame | str | Path | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure what the vectors of a model say about the crystals of a store, beside controls.

    Parameters
    ----------
    model : CrystalSSLModel, str or Path
        A model, the name of one that comes with the package, or the folder of a trained one.
    store : CrystalStore or path
        Crystals that the model has not seen; a few thousand are enough.
    conditions : str, MeasurementConditions or None
        Under which the patterns to be looked up are measured; a name is one of :data:`CONDITIONS`.
    labels : pandas.DataFrame, str or Path, optional
        A table or its file, with a column ``material_id``. Each numeric column is predicted from the vectors, by ridge
        regression and by nearest neighbours, in five folds by chemical system.
    seed : int
        Of the simulated measurements, the random weights and the shuffling.

    Returns
    -------
    pandas.DataFrame
        One row for each measure: ``model``, the bounds ``low`` and ``high`` of its 95 % confidence interval, and the
        controls ``random encoder`` (same architecture with random weights), ``shuffled pairs`` (of crystals and
        patterns) and ``constant`` (every label predicted by a constant).
    """
    trained = load_encoder(model)
    dataset = store if isinstance(store, CrystalStore) else CrystalStore(store)
    graphs = list(dataset.X)
    patterns: np.ndarray | None = None
    if trained.needs_patterns:
        patterns, errors = try_patterns(graphs, trained.xrd_grid, conditions_of(conditions), seed)
        kept = [k for k, error in enumerate(errors) if error is None]
        graphs, patterns = [graphs[k] for k in kept], patterns[kept]
    known = _Known(graphs, patterns, duplicate_groups(graphs), _labels_of(labels, graphs))
    table = _measure(trained, known)
    table["random encoder"] = _measure(trained.untrained(seed), known)["model"]
    if patterns is not None:
        vectors = embed_graphs(trained.crystal_encoder, graphs, engine=trained.engine, device=trained.device)
        shuffled = np.random.RandomState(seed).permutation(patterns)
        table["shuffled pairs"] = _recalls(trained, vectors, shuffled, known.duplicates)["model"]
    order = ("model", "low", "high", "random encoder", "shuffled pairs", "constant")
    frame = table.rename_axis("measure")[[column for column in order if column in table]]
    frame.attrs = {
        "crystals": len(graphs),
        "duplicates": len(graphs) - len(set(known.duplicates)),
        "grid": asdict(trained.xrd_grid),
    }
    return frame


@dataclass(frozen=True)
class _Known:
    """The crystals of an evaluation, and what is known about them."""

    graphs: list[CrystalGraph]
    patterns: np.ndarray | None  # (n, n_bins)
    duplicates: np.ndarray  # (n,) equal numbers for duplicates of one crystal
    labels: dict[str, np.ndarray]  # (n,) each

    @property
    def systems(self) -> np.ndarray:
        return np.array([graph.chemical_system for graph in self.graphs], dtype=object)


def _measure(model: CrystalSSLModel, known: _Known) -> pd.DataFrame:
    """One row for each measure, with the columns model, low, high and constant."""
    vectors = embed_graphs(model.crystal_encoder, known.graphs, engine=model.engine, device=model.device)
    rows = {"spread": {"model": spread(vectors)}, "uniformity": {"model": uniformity(vectors)}}
    table = pd.DataFrame(rows).T
    if known.patterns is not None:
        table = pd.concat([table, _recalls(model, vectors, known.patterns, known.duplicates)])
    return pd.concat([table, _probes(model, known)]) if known.labels else table


def _recalls(
    model: CrystalSSLModel, crystals: np.ndarray, patterns: np.ndarray, duplicates: np.ndarray
) -> pd.DataFrame:
    """Alignment, and recall from patterns to crystals and from crystals to patterns."""
    embedded = model.embed_xrd(patterns, progress=False, grid=model.xrd_grid)
    rows = {"alignment": {"model": alignment(crystals, embedded)}}
    for direction, query, gallery in (("xrd to crystal", embedded, crystals), ("crystal to xrd", crystals, embedded)):
        found = retrieval_recall(query, gallery, (1, 5, 10), duplicates)
        for k in found:
            low, high = found.interval[k]
            rows[f"{direction} recall@{k}"] = {"model": found[k], "low": low, "high": high}
    return pd.DataFrame(rows).T


def _probes(model: CrystalSSLModel, known: _Known) -> pd.DataFrame:
    """Errors of labels that are predicted from the vectors of all layers."""
    layers = list(range(len(model.descriptor_encoder.convolutions) + 1))
    pooled = embed_graphs(
        model.descriptor_encoder, known.graphs, layers=layers, engine=model.engine, device=model.device
    )
    rows = {}
    for name, values in known.labels.items():
        labelled = np.isfinite(values)
        systems = known.systems[labelled]
        if len(set(systems)) < 2:
            continue
        for kind, probe in (("linear", linear_probe), ("nearest neighbours", nearest_neighbor_probe)):
            result = probe(pooled[labelled], values[labelled], systems)
            low, high = result.interval
            rows[f"{name}, {kind} (MAE)"] = {"model": result.error, "low": low, "high": high}
            rows[f"{name}, {kind} (MAE)"]["constant"] = result.baseline
    return pd.DataFrame(rows).T


def _labels_of(labels: pd.DataFrame | str | Path | None, graphs: list[CrystalGraph]) -> dict[str, np.ndarray]:
    if labels is None:
        return {}
    frame = read_table(labels) if isinstance(labels, str | Path) else labels
    names = [name for name in frame if name in ID_COLUMNS or is_numeric_dtype(frame[name])]
    matched = labels_by_id(frame[names], [graph.material_id for graph in graphs])
    return {str(name): matched[name].to_numpy() for name in matched}


@renamed_arguments(instruments="conditions")
def xrd_retrieval(
    model: CrystalSSLModel,
    crystals: Sequence[CrystalGraph],
    conditions: Mapping[str, MeasurementConditions] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how often a crystal is found by its pattern, among crystals that the model has not seen.

    Every pattern is looked up twice: among the vectors of the crystals in the shared space, and among the vectors of
    their simulated patterns (``embed(space="pattern")``).

    Parameters
    ----------
    model : CrystalSSLModel
    crystals : sequence of CrystalGraph
        The gallery; duplicates of one crystal count as one.
    conditions : dict from str to MeasurementConditions, optional
        By default ``clean`` (ideal patterns), ``R1`` (strain up to 1 %, peaks of 0.28 degrees, 1 % noise) and ``R2``
        (pseudo-Voigt peaks of 0.1 to 0.4 degrees, zero shift, 2 % noise, background, intensities off by 30 %).
    seed : int
        Of the simulated measurements.

    Returns
    -------
    pandas.DataFrame
        Columns pattern, index, recall@1 with the bounds low and high of its 95 % confidence interval, recall@5 and
        recall@10.
    """
    conditions = {"clean": CLEAN, "R1": REALISTIC, "R2": HARD} if conditions is None else conditions
    report = Report()
    simulated = model.embed(crystals, space="pattern", on_error="skip", report=report, progress=False)
    left_out = {error.index for error in report}
    graphs = [crystal for k, crystal in enumerate(crystals) if k not in left_out]
    groups = duplicate_groups(graphs)
    galleries = {"crystal": model.embed(graphs, progress=False), "simulated pattern": simulated}
    rows = []
    for pattern, measured_under in conditions.items():
        queries = model.embed_xrd(measure_patterns(graphs, measured_under, model.xrd_grid, seed), progress=False)
        for index, gallery in galleries.items():
            found = retrieval_recall(queries, gallery, (1, 5, 10), groups)
            low, high = found.interval[1]
            rows.append([pattern, index, found[1], low, high, found[5], found[10]])
    return pd.DataFrame(rows, columns=["pattern", "index", "recall@1", "low", "high", "recall@5", "recall@10"])
