"""Whole workflows as one call each: what the command line runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from deepchem.models.optimizers import AdamW
from sklearn.model_selection import GroupShuffleSplit

from .crystals.errors import RecipeError
from .crystals.instrument import CLEAN, HARD, REALISTIC, Instrument, try_patterns
from .crystals.xrd_grid import XRDGrid
from .datasets import CrystalStore
from .embedding import embed_graphs
from .metrics import alignment, duplicate_groups, retrieval_recall, spread, uniformity
from .models import CrystalSSLModel
from .probes import linear_probe, nearest_neighbor_probe
from .schedules import WarmUpCosine

INSTRUMENTS = {"none": None, "clean": CLEAN, "realistic": REALISTIC, "hard": HARD}
"""Instruments by name; "none" draws the grid's own profile."""

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
        ``instrument`` a name of :data:`INSTRUMENTS` or a table of an Instrument's parameters; ``encoder``,
        ``xrd_encoder`` and ``grid`` are tables of arguments.

    Returns
    -------
    (CrystalSSLModel, dict)
        The model, and the numbers of its last validation.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.demo import bundled_prototypes
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
            optimizer=AdamW(WarmUpCosine(settings["learning_rate"], steps), weight_decay=0.01),
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


def _instrument(value: Any) -> Instrument | None:
    if isinstance(value, str):
        if value not in INSTRUMENTS:
            raise ValueError(f"instrument: {value!r}; known are {', '.join(INSTRUMENTS)}")
        return INSTRUMENTS[value]
    return Instrument.from_dict(value) if isinstance(value, Mapping) else value


def evaluate(
    model: CrystalSSLModel | str | Path,
    store: CrystalStore | str | Path,
    instrument: str | Instrument | None = "none",
    labels: pd.DataFrame | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """What a model's vectors know of the crystals of a store, beside controls.

    Parameters
    ----------
    model : CrystalSSLModel or path
    store : CrystalStore or path
        Crystals the model has not seen; a few thousand.
    instrument : str, Instrument or None
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
    trained = model if isinstance(model, CrystalSSLModel) else CrystalSSLModel.from_folder(model)
    dataset = store if isinstance(store, CrystalStore) else CrystalStore(store)
    graphs = list(dataset.X)
    systems = dataset.groups
    patterns = None
    if trained.needs_patterns:
        patterns, errors = try_patterns(graphs, trained.xrd_grid, _instrument(instrument), seed)
        kept = [k for k, error in enumerate(errors) if error is None]
        graphs, patterns, systems = [graphs[k] for k in kept], patterns[kept], systems[kept]
    groups = duplicate_groups(graphs)
    shuffled = np.random.RandomState(seed).permutation(len(graphs))
    table: dict[str, dict[str, float]] = {}
    for column, encoder in (("model", trained), ("random encoder", trained.untrained(seed))):
        vectors = embed_graphs(encoder.crystal_encoder, graphs, engine=encoder.engine, device=encoder.device)
        layers = list(range(len(encoder.crystal_encoder.convolutions) + 1))
        pooled = embed_graphs(
            encoder.crystal_encoder, graphs, layers=layers, engine=encoder.engine, device=encoder.device
        )
        numbers = {"spread": spread(vectors), "uniformity": uniformity(vectors)}
        if patterns is not None:
            seen = encoder.embed_xrd(patterns, progress=False)
            numbers["alignment"] = alignment(vectors, seen)
            for way, query, gallery in (("xrd to crystal", seen, vectors), ("crystal to xrd", vectors, seen)):
                found = retrieval_recall(query, gallery, (1, 5, 10), groups)
                for k in found:
                    numbers[f"{way} recall@{k}"] = found[k]
                    if column == "model":
                        chance = retrieval_recall(query[shuffled], gallery, (k,), groups)[k]
                        low, high = found.interval[k]
                        table[f"{way} recall@{k}"] = {"low": low, "high": high, "shuffled pairs": chance}
        for name, values in _labels_of(labels, graphs).items():
            known = np.isfinite(values)
            if len(set(systems[known])) < 2:
                continue
            for kind, probe in (("linear", linear_probe), ("nearest neighbours", nearest_neighbor_probe)):
                result = probe(pooled[known], values[known], systems[known])
                numbers[f"{name}, {kind} (MAE)"] = result.error
                if column == "model":
                    low, high = result.interval
                    table[f"{name}, {kind} (MAE)"] = {"low": low, "high": high, "constant": result.baseline}
        for name, value in numbers.items():
            table.setdefault(name, {})[column] = value
    frame = pd.DataFrame(table).T.rename_axis("measure")
    order = [c for c in ("model", "low", "high", "random encoder", "shuffled pairs", "constant") if c in frame]
    frame = frame[order]
    frame.attrs = {
        "crystals": len(graphs),
        "duplicates": len(graphs) - len(set(groups)),
        "grid": asdict(trained.xrd_grid),
    }
    return frame


def read_labels(path: str | Path) -> pd.DataFrame:
    """A CSV of labels, indexed by its column material_id."""
    try:
        return pd.read_csv(path).set_index("material_id")
    except (OSError, KeyError, ValueError) as error:
        raise RecipeError(str(path), f"no table with a column material_id ({error})") from error


def _labels_of(labels: pd.DataFrame | None, graphs: list) -> dict[str, np.ndarray]:
    if labels is None:
        return {}
    rows = labels.reindex([graph.material_id for graph in graphs])
    return {str(name): rows[name].to_numpy(float) for name in rows.select_dtypes("number")}
