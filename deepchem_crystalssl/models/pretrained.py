"""Trained models as folders that can be shipped: weights without code, and a card that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .checkpoints import CONFIG, arguments_of
from ..errors import CheckpointError
from .pretraining import CrystalSSLModel
from .. import __version__

FORMAT = 1
"""Version of the layout of a model's folder."""
CARD, WEIGHTS = "card.json", "model.safetensors"
DEFAULT = "general"
_SMALL = 1024  # numbers; smaller tensors, statistics among them, stay in float32


def save_pretrained(
    model: CrystalSSLModel, path: str | Path, card: Mapping[str, Any] | None = None, half: bool = True
) -> Path:
    """Write a model as a folder: ``model.safetensors`` and ``card.json``.

    Parameters
    ----------
    model : CrystalSSLModel
    path : str or Path
        The folder, made if needed.
    card : dict, optional
        What a user should know: data, licence, training, metrics, limits. JSON.
    half : bool
        Large weights in half precision.

    Returns
    -------
    Path
        The folder.

    Examples
    --------
    >>> import tempfile
    >>> model = CrystalSSLModel("joint", encoder=dict(width=16), xrd_encoder=dict(channels=4))
    >>> folder = save_pretrained(model, tempfile.mkdtemp(), {"data": "none"})
    >>> sorted(file.name for file in folder.iterdir())
    ['card.json', 'model.safetensors']
    >>> load_pretrained(folder).encoder_arguments["width"]
    16
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, component in model.components.items():
        for key, tensor in component.state_dict().items():
            shrinks = half and tensor.is_floating_point() and tensor.numel() >= _SMALL
            tensors[f"{name}.{key}"] = tensor.detach().cpu().to(torch.float16 if shrinks else tensor.dtype).contiguous()
    save_file(tensors, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
    content = {
        "format": FORMAT,
        "package_version": __version__,
        "config": model.config,
        "sha256": _sha256(folder / WEIGHTS),
        "parameters": sum(p.numel() for c in model.components.values() for p in c.parameters()),
        "card": dict(card or {}),
    }
    (folder / CARD).write_text(json.dumps(content, indent=2, ensure_ascii=False))
    return folder


def load_pretrained(name_or_path: str | Path | None = None, **kwargs: Any) -> CrystalSSLModel:
    """A trained model, ready for ``embed`` and ``embed_xrd``; no network, nothing unpickled.

    Parameters
    ----------
    name_or_path : str or Path, optional
        A name of :func:`list_pretrained`, or a folder :func:`save_pretrained` wrote (one of the same name as a shipped
        model as ``"./name"``); by default ``"general"``.
    **kwargs
        Constructor arguments the weights do not bind: ``engine``, ``device``, ``batch_size``, ...

    Returns
    -------
    CrystalSSLModel
        Its ``card`` attribute holds the card.

    Raises
    ------
    CheckpointError
        If there is no such model, its files were changed, or a newer version wrote them.
    """
    folder = _find(DEFAULT if name_or_path is None else name_or_path)
    content = read_card(folder)
    digest = _sha256(folder / WEIGHTS)
    if digest != content["sha256"]:
        raise CheckpointError(
            str(folder / WEIGHTS),
            f"sha256 {digest[:12]}..., the card says {str(content['sha256'])[:12]}...",
            "weights must be those the card describes",
            "Copy or install the model's folder again.",
        )
    model = CrystalSSLModel(**{**arguments_of(content["config"], str(folder / CARD)), **kwargs})
    try:
        tensors = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise CheckpointError(str(folder / WEIGHTS), f"cannot be read: {error}") from error
    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        component, _, rest = key.partition(".")
        states.setdefault(component, {})[rest] = tensor.float() if tensor.is_floating_point() else tensor
    model.take_over(states, model.components, str(folder / WEIGHTS))
    model.card = content["card"]
    return model


def open_model(name_or_path: str | Path | None = None) -> CrystalSSLModel:
    """A shipped model by its name, one that was saved, or one that is being trained, by its folder."""
    if name_or_path is not None and Path(name_or_path, CONFIG).is_file():
        return CrystalSSLModel.from_folder(name_or_path)
    return load_pretrained(name_or_path)


def read_card(folder: str | Path) -> dict[str, Any]:
    """The card of a model's folder.

    Raises
    ------
    CheckpointError
        If there is none, or a newer version wrote it.
    """
    path = Path(folder, CARD)
    try:
        content = json.loads(path.read_text())
        version = int(content["format"])
        missing = {"config", "sha256", "card"} - set(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            str(path), f"no card ({error})", remedy="Name a folder a model was saved or trained in."
        ) from error
    if version > FORMAT:
        raise CheckpointError(
            str(path), f"format {version}", f"this version reads formats up to {FORMAT}", "Update the package."
        )
    if missing:
        raise CheckpointError(str(path), f"no {', '.join(sorted(missing))}", remedy="Write the folder again.")
    return content


def list_pretrained() -> pd.DataFrame:
    """The models that came with the package.

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
    with as_file(files(__package__) / "weights") as root:
        shipped = root / str(name_or_path)
        if (shipped / CARD).is_file() and shipped.parent == root:
            return shipped
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    known = ", ".join(list_pretrained()["name"]) or "none"
    raise CheckpointError(
        str(name_or_path), "no model", "a model is a shipped name or a folder", f"Shipped are: {known}."
    )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(str(path), f"cannot be read: {error}") from error
