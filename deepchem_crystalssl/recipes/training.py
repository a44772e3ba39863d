"""Training a model from a recipe of settings."""

from __future__ import annotations

import hashlib
import json
import logging
import tomllib
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sklearn.model_selection import GroupShuffleSplit

from ..crystals.checksums import read_regular, read_sealed, write_sealed
from ..crystals.options import check_count, check_number, check_seed
from ..crystals.work_folders import alone_in, written_to
from ..data.datasets import CrystalStore, digest_of_data
from ..diffraction.grid import XRDGrid
from ..errors import (
    CheckpointError,
    CrystalInputError,
    NoCrystalsError,
    OptionError,
    RecipeError,
    counted,
)
from ..models.options import check_device
from ..models.optimizers import FusedAdamW, WarmUpCosine
from ..models.pretraining import CrystalSSLModel
from ..models.processes import join_processes
from ..models.training_folders import RECIPE_FILE, check_place
from ..pretext.presets import resolve_objectives
from .conditions import conditions_of

logger = logging.getLogger(__name__)

RECIPE: dict[str, Any] = {
    "preset": "joint",
    "epochs": 20,
    "batch_size": 256,
    "learning_rate": 0.003,
    "validation": 0.05,
    "patience": None,
    "seed": 0,
    "conditions": "none",
    "mixed_precision": False,
    "device": None,
    "engine": "auto",
    "prepare_ahead": None,
    "encoder": {},
    "xrd_encoder": {},
    "grid": {},
}
"""The settings of a recipe and their defaults."""

_SETTINGS = {"objectives": "preset"}  # by the names of the model's arguments
_MAY_CHANGE = ("epochs", "patience", "device", "engine", "prepare_ahead")


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Read a recipe, the settings of a training, from a TOML file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict
        Those settings of :data:`RECIPE` that the file contains.

    Raises
    ------
    RecipeError
        If the file cannot be read, is not TOML, or contains a setting that does not exist.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "recipe.toml")
    >>> _ = path.write_text("epochs = 5")
    >>> read_recipe(path)
    {'epochs': 5}
    """
    path = Path(path)
    if path.suffix != ".toml":
        remedy = "Write the settings as TOML, for example: epochs = 5"
        raise RecipeError(str(path), f"suffix {path.suffix!r}", "a recipe is a .toml file", remedy)
    try:
        recipe = tomllib.loads(read_regular(path).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(str(path), str(error)) from error
    return _checked(recipe, str(path))


def _checked(recipe: Mapping[str, Any], item: str) -> dict[str, Any]:
    """The recipe, if all its settings exist; one under its old name is renamed with a warning."""
    recipe = dict(recipe)
    if "instrument" in recipe:
        warnings.warn(
            f"{item}: the setting instrument is now conditions; the old name will stop working in version 0.3.",
            FutureWarning,
            stacklevel=3,
        )
        recipe["conditions"] = recipe.pop("instrument")
    unknown = sorted(set(recipe) - set(RECIPE))
    if unknown:
        raise RecipeError(item, f"no setting is called {unknown[0]!r}", remedy=f"The settings are {', '.join(RECIPE)}.")
    return recipe


def pretrain(
    store: CrystalStore | str | Path, output: str | Path, progress: bool | None = None, **recipe: Any
) -> tuple[CrystalSSLModel, dict[str, float]]:
    """Train a model on the crystals of a store; called again, it goes on where it stopped.

    The recipe and the identity of the store are kept in ``recipe.json`` in the folder. A training only goes on with the
    same store and the same recipe; the number of epochs, the patience, the device, the engine and the number of
    processes may change. Started by ``torchrun``, its processes train one model together (``CrystalSSLModel.fit``).

    Parameters
    ----------
    store : CrystalStore or path
        A store, or the folder that ``crystalssl featurize`` wrote.
    output : str or Path
        Folder of the model, for its checkpoints, configuration and log.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal only.
    **recipe
        Settings, see :data:`RECIPE`: ``validation`` is the fraction of the crystals, by whole chemical systems, that is
        kept for validation; ``conditions`` is a name of :data:`CONDITIONS` or a table of the parameters of
        :class:`~deepchem_crystalssl.diffraction.conditions.MeasurementConditions`; ``encoder``, ``xrd_encoder`` and
        ``grid`` are tables of arguments.

    Returns
    -------
    (CrystalSSLModel, dict)
        The model, and the numbers of its last validation.

    Raises
    ------
    RecipeError
        If a setting does not exist or its value cannot be used.
    CheckpointError
        If the folder holds a training with another store or another recipe, or another process trains there.

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
    settings = {**RECIPE, **_checked(recipe, "recipe")}
    _check_values(settings)
    check_place(output, own=True)
    dataset = store if isinstance(store, CrystalStore) else CrystalStore(store)
    train, unseen = _split(dataset, settings["validation"], settings["seed"])
    _check_parts(len(train), unseen, settings["validation"])
    steps = settings["epochs"] * max(1, len(train) // settings["batch_size"])
    try:
        conditions = conditions_of(settings["conditions"])
        model = CrystalSSLModel(
            settings["preset"],
            encoder=settings["encoder"],
            xrd_encoder=settings["xrd_encoder"],
            grid=XRDGrid(**settings["grid"]),
            conditions=conditions,
            mixed_precision=settings["mixed_precision"],
            engine=settings["engine"],
            device=settings["device"],
            prepare_ahead=settings["prepare_ahead"],
            seed=settings["seed"],
            batch_size=settings["batch_size"],
            model_dir=str(output),
            log_frequency=50,
            optimizer=FusedAdamW(WarmUpCosine(settings["learning_rate"], steps), weight_decay=0.01),
        )
    except CheckpointError:  # of the folder
        raise
    except CrystalInputError as error:
        raise RecipeError(_SETTINGS.get(error.item, error.item), error.value, error.rule, error.remedy) from error
    except (TypeError, ValueError) as error:
        raise RecipeError("recipe", str(error)) from error
    settings["conditions"] = None if conditions is None else asdict(conditions)
    ranks = join_processes(model.device)
    with alone_in(output, CheckpointError) if ranks.rank == 0 else nullcontext():
        with written_to(output, CheckpointError):
            ranks.agree(lambda: _remember(Path(output), settings, dataset))
        model.fit(
            train,
            nb_epoch=settings["epochs"],
            restore=True,
            validation=unseen,
            patience=settings["patience"],
            checkpoint_interval=200,
            progress=progress,
        )
    if ranks.rank == 0:
        _tell_of_epochs(output, settings["epochs"], model.get_global_step(), model.count_batches(train))
    return model, ranks.agree(lambda: model.validate(unseen) if unseen is not None else {})


def _check_values(settings: Mapping[str, Any]) -> None:
    """Refuse numbers and a device that cannot be used, by the names of the settings, before anything is read."""
    try:
        if isinstance(settings["preset"], str):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of an old name, said when the model is made
                resolve_objectives(settings["preset"])
        check_count("epochs", settings["epochs"], 0)
        check_count("batch_size", settings["batch_size"], CrystalSSLModel.min_batch)
        check_number("learning_rate", settings["learning_rate"], above=0)
        check_number("validation", settings["validation"], least=0, below=1)
        if settings["patience"] is not None:
            check_count("patience", settings["patience"], 1)
        check_seed("seed", settings["seed"])
        check_device(settings["device"])
    except OptionError as error:
        raise RecipeError(_SETTINGS.get(error.item, error.item), error.value, error.rule, error.remedy) from error


def _tell_of_epochs(output: str | Path, epochs: int, done: int, steps: int) -> None:
    """Warn of a model that was not trained, or was trained before for more epochs than are asked for."""
    if not done:
        logger.warning("%s: epochs = 0: the model is untrained, its weights are random", output)
    elif done > epochs * steps:
        logger.warning(
            "%s: trained for %d steps before, and epochs = %d would be %d; nothing was trained, and the numbers are "
            "those of the earlier training. Train in another folder for a shorter training.",
            output, done, epochs, epochs * steps,
        )  # fmt: skip


def _split(store: CrystalStore, fraction: float, seed: int) -> tuple[CrystalStore, CrystalStore | None]:
    """Training and validation part; no chemical system is in both."""
    groups = store.groups
    if fraction == 0 or len(set(groups)) < 2:
        return store, None
    splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
    train, unseen = next(splitter.split(groups, groups=groups))
    return store.select(train), store.select(unseen)


def _change(name: str, before: Any, now: Any) -> str:
    """How a setting or the store differs from those that a training began with, in words."""
    if name != "store":
        return f"trained with {name} = {before}, and now {name} = {now}"
    crystals = counted(now["crystals"], "crystal")
    if before["crystals"] == now["crystals"]:
        return f"trained with another store: both have {crystals}, but not the same"
    return f"trained with a store of {counted(before['crystals'], 'crystal')}, and now the store has {crystals}"


def _check_parts(n_train: int, unseen: CrystalStore | None, fraction: float) -> None:
    """Refuse a part that is too small to train on or to measure on."""
    n_unseen = 0 if unseen is None else len(unseen)
    parts = {"training": n_train} if unseen is None else {"training": n_train, "validation": n_unseen}
    for name, count in parts.items():
        if count < CrystalSSLModel.min_batch:
            other = "smaller" if name == "training" else "larger"
            remedy = f"Train on more crystals, or choose a {other} share with validation, or validation = 0 for none."
            raise NoCrystalsError(
                f"{name} part",
                f"{count} of the {n_train + n_unseen} crystals of the store (validation = {fraction})",
                f"the {name} part needs at least {CrystalSSLModel.min_batch} crystals",
                remedy if unseen is not None else "Train on more crystals.",
            )


def _remember(folder: Path, settings: Mapping[str, Any], store: CrystalStore) -> None:
    """Write the recipe and the identity of the store to the folder, or compare them with those that are there."""
    identity = hashlib.sha256("\n".join([*store.ids, *map(str, store.records.num_sites)]).encode()).hexdigest()
    of_store = {"crystals": len(store), "sha256": identity, "content": digest_of_data(store, with_labels=False)}
    now = json.loads(json.dumps({**settings, "store": of_store}))
    path = folder / RECIPE_FILE
    if path.exists():
        before = read_sealed(path, CheckpointError, "Copy it again, or train in another folder.")
        try:
            if "content" not in before["store"]:  # of version 0.2
                del now["store"]["content"]
            changed = [name for name in now if name not in _MAY_CHANGE and now[name] != before[name]]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(str(path), f"cannot be read ({error})", remedy="Name another folder.") from error
        if changed:
            name = changed[0]
            raise CheckpointError(
                str(folder),
                _change(name, before[name], now[name]),
                "a training goes on with the store and the recipe it began with",
                f"Train in another folder, or use the settings of {path}.",
            )
    elif not any(folder.glob("*.json")):  # a training of an earlier version did not write its recipe
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(path, now)
