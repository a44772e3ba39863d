"""Whole workflows as one call each: what the command line runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.model_selection import GroupShuffleSplit

from .crystals.disorder import Disorder
from .crystals.elements import symbols
from .errors import RecipeError, Report
from .crystals.records import CrystalGraph
from .diffraction.conditions import (
    CLEAN,
    HARD,
    REALISTIC,
    TRAINING,
    MeasurementConditions,
    measure_patterns,
    try_patterns,
)
from .crystals.neighbors import structures_to_graphs
from .diffraction.grid import XRDGrid
from .data.datasets import CrystalStore
from .models.embedding import Level, Space, embed_graphs
from .evaluation.metrics import alignment, duplicate_groups, retrieval_recall, spread, uniformity
from .models.pretraining import CrystalSSLModel
from .models.pretrained import open_model
from .evaluation.probes import linear_probe, nearest_neighbor_probe
from .models.optimizers import FusedAdamW, WarmUpCosine

INSTRUMENTS = {"none": None, "clean": CLEAN, "realistic": REALISTIC, "hard": HARD, "training": TRAINING}
"""Instruments by name; "none" is that of the preset, or the grid's own profile."""

RECIPE: dict[str, Any] = {
    "preset": "joint",
    "epochs": 20,
    "batch_size": 256,
    "learning_rate": 0.003,
    "validation": 0.05,
    "patience": None,
    "seed": 0,
    "instrument": "none",
    "mixed_precision": False,
    "device": None,
    "engine": "auto",
    "encoder": {},
    "xrd_encoder": {},
    "grid": {},
}
"""What a recipe may say, with what is done when it does not."""


def read_recipe(path: str | Path) -> dict[str, Any]:
    """A recipe from a TOML or YAML file; only data is read, nothing is run.

    Raises
    ------
    RecipeError
        If the file cannot be read, or says something a recipe cannot.
    """
    path = Path(path)
    try:
        recipe = tomllib.loads(path.read_text()) if path.suffix == ".toml" else yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise RecipeError(str(path), str(error).replace("\n", " ")) from error
    if not isinstance(recipe, dict):
        raise RecipeError(str(path), f"a {type(recipe).__name__}, not a table")
    unknown = sorted(set(recipe) - set(RECIPE))
    if unknown:
        raise RecipeError(str(path), f"{unknown[0]!r} is no setting", remedy=f"Known are {', '.join(RECIPE)}.")
    return recipe


def pretrain(
    store: CrystalStore | str | Path, output: str | Path, progress: bool | None = None, **recipe: Any
) -> tuple[CrystalSSLModel, dict[str, float]]:
    """Train a model on a store; goes on where an earlier call stopped.

    Parameters
    ----------
    store : CrystalStore or path
        What ``crystalssl featurize`` wrote.
    output : str or Path
        Folder of the model: checkpoints, configuration, log.
    progress : bool, optional
        Progress bar; by default on a terminal only.
    **recipe
        As :data:`RECIPE`: ``validation`` is the share of crystals, by whole chemical systems, kept for measuring;
        ``instrument`` a name of :data:`INSTRUMENTS` or a table of the parameters of MeasurementConditions; ``encoder``,
        ``xrd_encoder`` and ``grid`` are tables of arguments.

    Returns
    -------
    (CrystalSSLModel, dict)
        The model, and the numbers of its last validation.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> folder = tempfile.mkdtemp()
    >>> store = CrystalStore.write(bundled_prototypes()[:40], folder + "/store")
    >>> small = dict(encoder={"width": 16}, xrd_encoder={"channels": 4})
    >>> model, numbers = pretrain(store, folder + "/model", epochs=1, batch_size=16, validation=0.2, **small)
    >>> sorted(numbers)[:3]
    ['alignment', 'crystal_to_xrd@1', 'loss']
    """
    unknown = sorted(set(recipe) - set(RECIPE))
    if unknown:
        raise RecipeError("recipe", f"{unknown[0]!r} is no setting", remedy=f"Known are {', '.join(RECIPE)}.")
    settings = {**RECIPE, **recipe}
    dataset = store if isinstance(store, CrystalStore) else CrystalStore(store)
    train, unseen = _split(dataset, settings["validation"], settings["seed"])
    steps = settings["epochs"] * max(1, len(train) // settings["batch_size"])
    try:
        model = CrystalSSLModel(
            settings["preset"],
            encoder=settings["encoder"],
            xrd_encoder=settings["xrd_encoder"],
            grid=XRDGrid(**settings["grid"]),
            instrument=_instrument(settings["instrument"]),
            mixed_precision=settings["mixed_precision"],
            engine=settings["engine"],
            device=settings["device"],
            seed=settings["seed"],
            batch_size=settings["batch_size"],
            model_dir=str(output),
            log_frequency=50,
            optimizer=FusedAdamW(WarmUpCosine(settings["learning_rate"], steps), weight_decay=0.01),
        )
    except (TypeError, ValueError) as error:
        raise RecipeError("recipe", str(error)) from error
    model.fit(
        train,
        nb_epoch=settings["epochs"],
        restore=True,
        validation=unseen,
        patience=settings["patience"],
        checkpoint_interval=200,
        progress=progress,
    )
    return model, model.validate(unseen) if unseen is not None else {}


def _split(store: CrystalStore, share: float, seed: int) -> tuple[CrystalStore, CrystalStore | None]:
    """Train and validation part, no chemical system in both."""
    if not 0 <= share < 1:
        raise RecipeError("recipe", f"validation = {share}", remedy="Give a share of the crystals, 0 to 1.")
    groups = store.groups
    if share == 0 or len(set(groups)) < 2:
        return store, None
    splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
    train, unseen = next(splitter.split(groups, groups=groups))
    return store.select(train), store.select(unseen)


def _instrument(value: Any) -> MeasurementConditions | None:
    if isinstance(value, str):
        if value not in INSTRUMENTS:
            raise ValueError(f"instrument: {value!r}; known are {', '.join(INSTRUMENTS)}")
        return INSTRUMENTS[value]
    return MeasurementConditions.from_dict(value) if isinstance(value, Mapping) else value


def evaluate(
    model: CrystalSSLModel | str | Path,
    store: CrystalStore | str | Path,
    instrument: str | MeasurementConditions | None = "none",
    labels: pd.DataFrame | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """What a model's vectors know of the crystals of a store, beside controls.

    Parameters
    ----------
    model : CrystalSSLModel or path
    store : CrystalStore or path
        Crystals the model has not seen; a few thousand.
    instrument : str, MeasurementConditions or None
        How the patterns that are looked up were measured.
    labels : pandas.DataFrame, optional
        Indexed by material_id; each numeric column is probed, by ridge and by nearest neighbours, in five folds by
        chemical system.
    seed : int
        Of patterns, control weights and shuffling.

    Returns
    -------
    pandas.DataFrame
        One row per measure: ``model``, its 95 % interval ``low`` and ``high``, and the controls ``random encoder``
        (same architecture, random weights) and ``shuffled pairs``.
    """
    trained = model if isinstance(model, CrystalSSLModel) else open_model(model)
    dataset = store if isinstance(store, CrystalStore) else CrystalStore(store)
    graphs = list(dataset.X)
    systems = dataset.groups
    patterns = None
    if trained.needs_patterns:
        patterns, errors = try_patterns(graphs, trained.xrd_grid, _instrument(instrument), seed)
        kept = [k for k, error in enumerate(errors) if error is None]
        graphs, patterns, systems = [graphs[k] for k in kept], patterns[kept], systems[kept]
    seen = _Seen(graphs, patterns, duplicate_groups(graphs), systems, _labels_of(labels, graphs))
    table = _measure(trained, seen)
    table["random encoder"] = _measure(trained.untrained(seed), seen)["model"]
    if patterns is not None:
        vectors = embed_graphs(trained.crystal_encoder, graphs, engine=trained.engine, device=trained.device)
        shuffled = np.random.RandomState(seed).permutation(patterns)
        table["shuffled pairs"] = _recalls(trained, vectors, shuffled, seen.duplicates)["model"]
    order = ("model", "low", "high", "random encoder", "shuffled pairs", "constant")
    frame = table.rename_axis("measure")[[column for column in order if column in table]]
    frame.attrs = {
        "crystals": len(graphs),
        "duplicates": len(graphs) - len(set(seen.duplicates)),
        "grid": asdict(trained.xrd_grid),
    }
    return frame


def embed_table(
    source: Any,
    model: CrystalSSLModel | str | Path | None = None,
    *,
    level: Level = "crystal",
    layers: Sequence[int] | None = None,
    space: Space = "shared",
    disorder: Disorder = "refuse",
) -> tuple[pd.DataFrame, Report]:
    """Vectors of crystals, beside their names.

    Parameters
    ----------
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads.
    model : CrystalSSLModel, str or Path, optional
        A model, a shipped name, or the folder of a trained one; by default the general model.
    level, layers, space, disorder
        As in :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>`.

    Returns
    -------
    (pandas.DataFrame, Report)
        Columns material_id, formula, for sites also site and element, and embedding; and what was left out.
    """
    model = model if isinstance(model, CrystalSSLModel) else open_model(model)
    report = Report()
    graphs = structures_to_graphs(source, disorder=disorder, on_error="skip", report=report)
    vectors = model.embed(graphs, level, layers, space=space, disorder=disorder)
    if level == "crystal":
        table = pd.DataFrame([[g.material_id, g.reduced_formula] for g in graphs], columns=["material_id", "formula"])
    else:
        rows = [
            (g.material_id, g.reduced_formula, k, symbols()[z]) for g in graphs for k, z in enumerate(g.atomic_numbers)
        ]
        table = pd.DataFrame(rows, columns=["material_id", "formula", "site", "element"])
    table["embedding"] = list(vectors)
    return table, report


@dataclass(frozen=True)
class _Seen:
    """Crystals to measure on, and what is known of them."""

    graphs: list
    patterns: np.ndarray | None
    duplicates: np.ndarray
    systems: np.ndarray
    labels: dict[str, np.ndarray]


def _measure(model: CrystalSSLModel, seen: _Seen) -> pd.DataFrame:
    """One row per measure: model, low, high, constant."""
    vectors = embed_graphs(model.crystal_encoder, seen.graphs, engine=model.engine, device=model.device)
    rows = {"spread": {"model": spread(vectors)}, "uniformity": {"model": uniformity(vectors)}}
    table = pd.DataFrame(rows).T
    if seen.patterns is not None:
        table = pd.concat([table, _recalls(model, vectors, seen.patterns, seen.duplicates)])
    return pd.concat([table, _probes(model, seen)]) if seen.labels else table


def _recalls(
    model: CrystalSSLModel, crystals: np.ndarray, patterns: np.ndarray, duplicates: np.ndarray
) -> pd.DataFrame:
    """Both ways between patterns and the vectors of crystals."""
    embedded = model.embed_xrd(patterns, progress=False)
    rows = {"alignment": {"model": alignment(crystals, embedded)}}
    for way, query, gallery in (("xrd to crystal", embedded, crystals), ("crystal to xrd", crystals, embedded)):
        found = retrieval_recall(query, gallery, (1, 5, 10), duplicates)
        for k in found:
            low, high = found.interval[k]
            rows[f"{way} recall@{k}"] = {"model": found[k], "low": low, "high": high}
    return pd.DataFrame(rows).T


def _probes(model: CrystalSSLModel, seen: _Seen) -> pd.DataFrame:
    """Labels, from the vectors of all layers."""
    layers = list(range(len(model.crystal_encoder.convolutions) + 1))
    pooled = embed_graphs(model.crystal_encoder, seen.graphs, layers=layers, engine=model.engine, device=model.device)
    rows = {}
    for name, values in seen.labels.items():
        known = np.isfinite(values)
        if len(set(seen.systems[known])) < 2:
            continue
        for kind, probe in (("linear", linear_probe), ("nearest neighbours", nearest_neighbor_probe)):
            result = probe(pooled[known], values[known], seen.systems[known])
            low, high = result.interval
            rows[f"{name}, {kind} (MAE)"] = {"model": result.error, "low": low, "high": high}
            rows[f"{name}, {kind} (MAE)"]["constant"] = result.baseline
    return pd.DataFrame(rows).T


def xrd_retrieval(
    model: CrystalSSLModel,
    crystals: Sequence[CrystalGraph],
    instruments: Mapping[str, MeasurementConditions] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How often a crystal is found by its pattern, among crystals the model has not seen.

    Every pattern is looked up twice: among the vectors of the crystals in the shared space, and among those of their
    simulated patterns (``embed(space="pattern")``).

    Parameters
    ----------
    model : CrystalSSLModel
    crystals : sequence of CrystalGraph
        The gallery; copies of one crystal count as one.
    instruments : dict from str to MeasurementConditions, optional
        By default ``clean`` sticks; ``R1``, strain up to 1 %, peaks of 0.28 degrees, 1 % noise; ``R2``, pseudo-Voigt
        peaks of 0.1-0.4 degrees, zero shift, 2 % noise, background, intensities off by 30 %.
    seed : int
        Of the patterns.

    Returns
    -------
    pandas.DataFrame
        Columns pattern, index, recall@1 with its 95 % interval (low, high), recall@5, recall@10.
    """
    instruments = {"clean": CLEAN, "R1": REALISTIC, "R2": HARD} if instruments is None else instruments
    report = Report()
    simulated = model.embed(crystals, space="pattern", on_error="skip", report=report, progress=False)
    left_out = {error.index for error in report}
    graphs = [crystal for k, crystal in enumerate(crystals) if k not in left_out]
    groups = duplicate_groups(graphs)
    galleries = {"crystal": model.embed(graphs, progress=False), "simulated pattern": simulated}
    rows = []
    for pattern, instrument in instruments.items():
        queries = model.embed_xrd(measure_patterns(graphs, instrument, model.xrd_grid, seed), progress=False)
        for index, gallery in galleries.items():
            found = retrieval_recall(queries, gallery, (1, 5, 10), groups)
            low, high = found.interval[1]
            rows.append([pattern, index, found[1], low, high, found[5], found[10]])
    return pd.DataFrame(rows, columns=["pattern", "index", "recall@1", "low", "high", "recall@5", "recall@10"])


def read_labels(path: str | Path) -> pd.DataFrame:
    """A CSV or Parquet of labels, indexed by its column material_id."""
    read = pd.read_parquet if str(path).endswith(".parquet") else pd.read_csv
    try:
        return read(path).set_index("material_id")
    except (OSError, KeyError, ValueError) as error:
        raise RecipeError(str(path), f"no table with a column material_id ({error})") from error


def _labels_of(labels: pd.DataFrame | None, graphs: list) -> dict[str, np.ndarray]:
    if labels is None:
        return {}
    rows = labels.reindex([graph.material_id for graph in graphs])
    return {str(name): rows[name].to_numpy(float) for name in rows.select_dtypes("number")}
