"""Folders of models: one that came with the package, one that was saved, or one that was trained in."""

from __future__ import annotations

import hashlib
import os
from difflib import get_close_matches
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..crystals.checksums import is_file, read_regular, read_sealed
from ..crystals.folder_kinds import kind_of
from ..errors import CheckpointError, CrystalInputError, UnsupportedObjectError, an_object
from .checkpoints import CONFIG, check_newest, newest_checkpoint, read_checkpoint, read_config, with_fine_tune
from .inputs import warn_of_other_graphs
from .resumable import ResumableModel
from .training_folders import CARD as CARD

Model = TypeVar("Model", bound=ResumableModel)

FORMAT = 1
"""Version of the layout of a saved folder."""
WEIGHTS = "model.safetensors"
NEXT_CARD = ".card.next.json"
"""The card of weights that are about to be replaced, until they and it are in their places."""
DEFAULT = "general"


def open_folder(name_or_path: str | Path | None, classes: Mapping[str, type[Model]], **kwargs: Any) -> Model:
    """The model in a folder, of the class that its card or its configuration names.

    Parameters
    ----------
    name_or_path : str or Path, optional
        Name of a shipped model, or a folder that a model was saved or trained in; by default ``"general"``.
    classes : dict from str to class
        The classes that are allowed.
    **kwargs
        Constructor arguments that the weights do not determine.

    Raises
    ------
    CheckpointError
        If there is no such model, it is of another class, or its files cannot be read.
    UnsupportedObjectError
        If it is neither a name nor a folder.
    """
    folder = _find(DEFAULT if name_or_path is None else name_or_path)
    if kind := kind_of(folder):
        raise CheckpointError(
            str(folder),
            kind,
            "a model is opened from the folder that it was saved or trained in",
            "Name that folder, or a model that comes with the package.",
        )
    is_saved = is_file(card_of(folder), CheckpointError)
    if not is_saved and not is_file(folder / CONFIG, CheckpointError):
        raise CheckpointError(
            str(folder),
            f"no {CARD} and no {CONFIG}",
            "a model's folder holds the one if it was saved there, the other if it was trained there",
            "Name the folder that a model was saved or trained in.",
        )
    content = read_card(folder) if is_saved else {"config": read_config(folder)}
    name = content["config"].get("class", "CrystalSSLModel")
    if name not in classes:
        remedy = "load_pretrained opens every model of this package."
        if name == "NEGNNModel":
            remedy = (
                "Name a pretrained model; for a NEGNN use NEGNNModel.from_folder(folder).predict_embedding(dataset)."
            )
        raise CheckpointError(
            str(folder), f"a model of class {name}", f"the folder must hold a {' or '.join(classes)}", remedy
        )
    warn_of_other_graphs(content["config"], kwargs, stacklevel=3)
    source = str(folder / (CARD if is_saved else CONFIG))
    if not is_saved:
        config = with_fine_tune(content["config"], lambda: _read_newest(folder))
        model = _made(classes[name], config, source, {"model_dir": str(folder), **kwargs})
        model.restore(model_dir=str(folder))
        check_newest(folder, model.get_global_step())
        return model
    digest = sha256(folder / WEIGHTS)
    if digest != content["sha256"]:
        raise CheckpointError(
            str(folder / WEIGHTS),
            f"sha256 {digest[:12]}..., the card says {str(content['sha256'])[:12]}...",
            "weights must be those the card describes",
            "Copy or install the model's folder again.",
        )
    states = _read_weights(folder / WEIGHTS)
    config = with_fine_tune(content["config"], lambda: states)
    model = _made(classes[name], config, source, kwargs)
    model.take_over(states, model.components, str(folder / WEIGHTS))
    model.card = content["card"]
    return model


def card_of(folder: str | Path) -> Path:
    """The file of the card that describes the weights in a folder.

    Weights and card are two files: whoever is killed between their renamings leaves new weights, and beside the old
    card the new one under another name.

    Raises
    ------
    CheckpointError
        If the folder may not be looked into.
    """
    card, next_card = Path(folder, CARD), Path(folder, NEXT_CARD)
    if not is_file(next_card, CheckpointError):
        return card
    try:
        is_of_weights = read_sealed(next_card, CheckpointError).get("sha256") == sha256(Path(folder, WEIGHTS))
    except CheckpointError:  # of a saving that had only begun
        return card
    return next_card if is_of_weights else card


def _made(kind: type[Model], config: dict[str, Any], source: str, arguments: Mapping[str, Any]) -> Model:
    """A model of a configuration; one that makes none, as of an earlier version without a checksum, is an error."""
    try:
        return kind.from_config(config, source, **arguments)
    except CrystalInputError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        if arguments.keys() - {"model_dir"}:
            raise  # it may be those of the caller
        raise CheckpointError(
            source,
            f"no model can be made of it ({error})",
            "a configuration is what a model has written",
            "Copy the model's folder again, or name another one.",
        ) from error


def _read_newest(folder: Path) -> Mapping[str, Any]:
    """The newest checkpoint of a training."""
    newest = newest_checkpoint(folder)
    if newest is None:
        raise CheckpointError(
            str(folder), "no checkpoint", "the folder of a training holds checkpoints", "Train first, or name another."
        )
    return read_checkpoint(newest)


def _read_weights(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The state of every component, floating-point numbers in single precision."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(str(path), f"cannot be read: {error}") from error
    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        component, _, rest = key.partition(".")
        states.setdefault(component, {})[rest] = tensor.float() if tensor.is_floating_point() else tensor
    return states


def read_card(folder: str | Path) -> dict[str, Any]:
    """Read the card of a saved folder.

    Raises
    ------
    CheckpointError
        If there is none, or a newer version wrote it.
    """
    path = card_of(folder)
    try:
        if not is_file(path, CheckpointError):
            raise FileNotFoundError
        content = read_sealed(path, CheckpointError, "Copy or install the model's folder again.")
        version = int(content["format"])
        missing = {"config", "sha256", "card"} - set(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            str(path),
            "no card here" if isinstance(error, OSError) else f"no card ({error})",
            "a folder that a model was saved in has a card, in JSON",
            "Name a folder that a model was saved or trained in.",
        ) from error
    if version > FORMAT:
        raise CheckpointError(
            str(path), f"format {version}", f"this version reads formats up to {FORMAT}", "Update the package."
        )
    if missing:
        raise CheckpointError(str(path), f"no {', '.join(sorted(missing))}", remedy="Write the folder again.")
    if not isinstance(content["config"], dict) or not isinstance(content["card"], dict):
        raise CheckpointError(str(path), "no configuration that can be read", remedy="Write the folder again.")
    return content


def list_pretrained() -> pd.DataFrame:
    """List the models that came with the package.

    Returns
    -------
    pandas.DataFrame
        name, parameters, megabytes, description, licence; one row each.

    Examples
    --------
    >>> list_pretrained().columns.tolist()
    ['name', 'parameters', 'megabytes', 'description', 'licence']
    """
    rows = []
    with as_file(files(__package__) / "weights") as root:
        for folder in sorted(path.parent for path in root.glob(f"*/{CARD}")):
            content = read_card(folder)
            card = content["card"]
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
            texts = [str(card.get(key, "")) for key in ("description", "licence")]
            rows.append([folder.name, content["parameters"], round(size, 1), *texts])
    return pd.DataFrame(rows, columns=["name", "parameters", "megabytes", "description", "licence"])


def _find(name_or_path: str | Path) -> Path:
    if not isinstance(name_or_path, str | os.PathLike):
        raise UnsupportedObjectError(
            "model",
            an_object(name_or_path),
            "a model is opened by its name or its folder, and an encoder is taken of a CrystalSSLModel",
            "Give one of these; a NEGNN is not an encoder.",
        )
    with as_file(files(__package__) / "weights") as root:
        shipped = root / str(name_or_path)
        if shipped.parent == root and (shipped / CARD).is_file():
            return shipped
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    known = list_pretrained()["name"].tolist()
    near = get_close_matches(str(name_or_path), known, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise CheckpointError(
        str(name_or_path),
        "no model",
        "a model is the name of a shipped one, or a folder that one was saved or trained in",
        f"{hint}Shipped are: {', '.join(known) or 'none'}.",
    )


def sha256(path: Path) -> str:
    """Digest of a file, as hexadecimal text."""
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as error:
        raise CheckpointError(
            str(path),
            f"cannot be read ({error.strerror})",
            "the folder of a model holds its weights",
            "Copy the model's folder again, or name another one.",
        ) from error
