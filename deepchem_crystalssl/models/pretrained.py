"""Saving trained models, and opening them again."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from .. import __version__
from ..crystals.checksums import replacing, sealed
from ..crystals.work_folders import alone_in, written_to
from ..errors import CheckpointError, UnsupportedObjectError, an_object
from .folders import CARD, DEFAULT, FORMAT, NEXT_CARD, WEIGHTS, list_pretrained, open_folder, read_card
from .negnn import NEGNNModel
from .pretraining import CrystalSSLModel
from .resumable import ResumableModel

__all__ = [
    "DEFAULT",
    "list_pretrained",
    "load_encoder",
    "load_pretrained",
    "open_model",
    "read_card",
    "save_pretrained",
]

_MODELS: dict[str, type[ResumableModel]] = {cls.__name__: cls for cls in (CrystalSSLModel, NEGNNModel)}
_SMALL = 1024  # numbers; smaller tensors, statistics among them, stay in single precision


def save_pretrained(
    model: ResumableModel, path: str | Path, card: Mapping[str, Any] | None = None, half: bool = True
) -> Path:
    """Write a model as a folder of ``model.safetensors`` and ``card.json``, without optimizer and without pickle.

    Parameters
    ----------
    model : CrystalSSLModel or NEGNNModel
    path : str or Path
        The folder, made if needed. A model that was saved there before is replaced with a warning.
    card : dict, optional
        What a user should know, as JSON: data, licence, training, metrics, limits.
    half : bool
        Whether large tensors are stored in half precision.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    CheckpointError
        If it is another kind of model, or a NEGNN whose backbone is a module of your own: a folder holds no code; if
        the path is that of a file, another process writes there, or the disk is full or cannot be written to.

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
    if type(model).__name__ not in _MODELS:
        raise CheckpointError(
            str(path), an_object(model), f"a folder holds a {' or '.join(_MODELS)}", "Save it your own way."
        )
    model.check_portable(str(path))
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(str(path), "a file", "a model is saved in a folder", "Name a folder, new or empty.")
    if (folder / CARD).exists():
        warnings.warn(f"{folder}: the model that was saved there is replaced", UserWarning, stacklevel=2)
    tensors = {}
    for name, component in model.components.items():
        for key, tensor in component.state_dict().items():
            shrinks = half and tensor.is_floating_point() and tensor.numel() >= _SMALL
            tensors[f"{name}.{key}"] = tensor.detach().cpu().to(torch.float16 if shrinks else tensor.dtype).contiguous()
    weights = save(tensors)
    content = {
        "format": FORMAT,
        "package_version": __version__,
        "config": model.config,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "parameters": sum(p.numel() for c in model.components.values() for p in c.parameters()),
        "card": dict(card or {}),
    }
    text = json.dumps(sealed(content), indent=2, ensure_ascii=False)
    with written_to(folder, CheckpointError), alone_in(folder, CheckpointError):
        with replacing(folder / NEXT_CARD) as part:
            part.write_text(text, encoding="utf-8")
        try:
            with replacing(folder / WEIGHTS) as part:
                part.write_bytes(weights)
        except OSError:
            (folder / NEXT_CARD).unlink()
            raise
        os.replace(folder / NEXT_CARD, folder / CARD)
    return folder


def load_pretrained(name_or_path: str | Path | None = None, **kwargs: Any) -> Any:
    """Open a trained model; nothing is fetched from a network, and nothing is unpickled.

    Parameters
    ----------
    name_or_path : str or Path, optional
        Name of a model in :func:`list_pretrained`, a folder that :func:`save_pretrained` wrote, or the ``model_dir`` of
        a training, whose newest checkpoint is loaded; by default ``"general"``. Write a folder that is called like a
        shipped model as ``"./name"``. Of a folder with a card and checkpoints the card counts.
    **kwargs
        Constructor arguments that the weights do not determine: ``engine``, ``device``, ``batch_size``, ... Another
        ``cutoff`` or ``max_neighbors`` than in the training causes a warning.

    Returns
    -------
    CrystalSSLModel or NEGNNModel
        As the folder says. The shipped models are of the former class. The ``card`` attribute holds the card.

    Raises
    ------
    CheckpointError
        If there is no such model, its files were changed, or a newer version wrote them.
    """
    return open_folder(name_or_path, _MODELS, **kwargs)


def load_encoder(model: Any = None) -> CrystalSSLModel:
    """The pretrained model that is given, or named as in :func:`load_pretrained`; no other model gives vectors.

    Raises
    ------
    CheckpointError
        If there is no such model, or it is a NEGNN.
    UnsupportedObjectError
        If it is an object of another kind.
    """
    if isinstance(model, CrystalSSLModel):
        return model
    if model is None or isinstance(model, str | os.PathLike):
        return CrystalSSLModel.from_folder(DEFAULT if model is None else os.fspath(model))
    raise UnsupportedObjectError(
        "model",
        an_object(model),
        "vectors of crystals come from a CrystalSSLModel, its name or its folder",
        "Give a pretrained model; the vectors of a NEGNN are those of its predict_embedding.",
    )


open_model = load_pretrained
"""The former name of :func:`load_pretrained` for folders that were trained in."""
