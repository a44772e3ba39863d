"""Keyword arguments of the models: those that exist, those renamed, and those that are gone."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

import torch

from ..crystals.options import check_count, check_number
from ..errors import OptionError, check_choice
from ..nn.backbones import BACKBONES
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.links import Engine
from ..nn.negnn import Mode, PredictionLevel
from ..nn.xrd_encoder import XRDEncoder
from .checkpoints import NO_TASK
from .optimizers import LearningRateSchedule

_OF_FINE_TUNING = ("task", "n_tasks", "n_classes", "layer_decay", "unfreeze_every")
_ENCODERS: dict[str, type] = {"encoder": CrystalEncoder, "xrd_encoder": XRDEncoder}
_SET_BY_THE_MODEL = {"self", "model", "components", "loss"}


def refuse_fine_tuning(options: dict[str, Any]) -> None:
    """Take the arguments of the former fine-tuning out of the options, or refuse them.

    Raises
    ------
    TypeError
        If one of them asks for anything but pretraining.
    """
    given = {name: options.pop(name) for name in _OF_FINE_TUNING if name in options}
    if given and (given.pop("task", "pretraining") != "pretraining" or given):
        raise TypeError(f"CrystalSSLModel is pretrained without labels and no longer takes task=. {NO_TASK}")


def arguments_of(model: type) -> set[str]:
    """Names of the keyword arguments of a model and of the DeepChem models it is built on."""
    names: set[str] = set()
    for base in model.__mro__:
        if "__init__" in vars(base) and base is not object:
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return names - _SET_BY_THE_MODEL


def refuse_unknown(model: type, options: dict[str, Any]) -> None:
    """Refuse arguments that neither the model nor DeepChem's models have; DeepChem itself would drop them silently.

    Raises
    ------
    TypeError
        Naming the argument and the most similar one that exists.
    """
    known = arguments_of(model)
    for name in options:
        if name not in known:
            inner = [where for where, encoder in _ENCODERS.items() if where in known and name in _parameters(encoder)]
            hint = f"; it is one of {inner[0]}=dict({name}=...)" if inner else _hint(name, known | _inner(known))
            raise TypeError(f"{model.__name__}: unknown argument {name!r}{hint}")


def _parameters(encoder: type) -> set[str]:
    return set(inspect.signature(encoder).parameters)


def _inner(known: set[str]) -> set[str]:
    """The arguments of the encoders of a model that takes them as a dict."""
    return {name for where, encoder in _ENCODERS.items() if where in known for name in _parameters(encoder)}


def _hint(name: str, known: set[str]) -> str:
    near = get_close_matches(name, sorted(known), 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"


def check_layers(layers: Sequence[int] | None, depth: int) -> None:
    """Refuse layers that an encoder of so many convolutions does not have.

    Raises
    ------
    OptionError
    """
    if layers is None:
        return
    is_list = isinstance(layers, Iterable) and not isinstance(layers, str)
    if not is_list or not list(layers) or any(k not in range(-depth - 1, depth + 1) for k in layers):
        rule = f"layers are whole numbers from 0 (the element) to {depth} (the last) of the encoder, at least one"
        raise OptionError("layers", repr(layers), rule, "Give such a list, or None for all layers.")


def check_training(learning_rate: Any, engine: Any, max_gradient: Any = 1.0) -> None:
    """Refuse options of a training that cannot be used; a learning rate may also be a schedule of DeepChem.

    Raises
    ------
    OptionError
    """
    if not isinstance(learning_rate, LearningRateSchedule):
        check_number("learning_rate", learning_rate, above=0)
    check_choice("engine", engine, get_args(Engine))
    check_number("max_gradient", max_gradient, above=0)


def check_device(device: torch.device | str | None) -> None:
    """Refuse a device that PyTorch does not know, or does not have on this computer.

    Raises
    ------
    OptionError
    """
    if device is None:
        return
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, TypeError, AssertionError, ValueError, ImportError) as error:
        said = str(error).partition("\n")[0][:200]
        rule = f"device must be one that PyTorch can compute on here ({said})"
        known = ["cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
        remedy = f"Choose from {', '.join(known)}, or leave device out."
        raise OptionError("device", repr(str(device)), rule, remedy) from error


def check_encoder(name: str, arguments: Mapping[str, Any], encoder: type) -> None:
    """Refuse arguments of an encoder that do not exist, and sizes below 1.

    Raises
    ------
    TypeError
        Naming the argument and the most similar one that exists.
    OptionError
    """
    known = _parameters(encoder)
    for key in arguments:
        if key not in known:
            raise TypeError(f"{name}: unknown argument {key!r}{_hint(key, known)}")
    for key in ("width", "n_layers", "channels", "embedding_size", "hidden"):
        if key in arguments:
            value = arguments[key]
            for size in value if isinstance(value, list | tuple) else [value]:
                check_count(f"{name}[{key!r}]", size, 1)


def check_negnn(
    *, mode: Any, n_tasks: Any, n_classes: Any, level: Any, backbone: Any, width: Any, uncertainty: Any, fine_tune: Any,
    pretrained: Any, physics: Any, kernel_share: Any, hidden: Any, dropout: Any, learning_rate: Any, engine: Any,
    n_networks: Any,
) -> None:  # fmt: skip
    """Refuse arguments of a NEGNN that cannot be used, alone or together.

    Raises
    ------
    OptionError
    """
    check_choice("mode", mode, get_args(Mode))
    check_choice("level", level, get_args(PredictionLevel))
    check_count("n_tasks", n_tasks, 1)
    check_count("n_classes", n_classes, 2)
    check_count("hidden", hidden, 1)
    check_count("n_networks", n_networks, 1)
    apart = "Leave n_networks out, and average the predictions of several models, each with its own seed."
    if n_networks > 1 and not isinstance(backbone, str):
        rule = "a module of your own has one set of weights, and networks that share weights are no ensemble"
        raise OptionError("n_networks", n_networks, rule, apart)
    if n_networks > 1 and fine_tune is not None:
        rule = "networks that tune one encoder together are not trained independently"
        raise OptionError("n_networks", n_networks, rule, apart)
    if isinstance(backbone, str):
        check_choice("backbone", backbone, BACKBONES)
    elif width is not None:
        raise OptionError("width", width, "a module of your own has a width", "Leave width out.")
    if width is not None:
        check_count("width", width, 1)
    if uncertainty and mode != "regression":
        raise OptionError("uncertainty", True, "only a regression learns its error", "Use the probabilities.")
    if fine_tune is not None and pretrained is None:
        raise OptionError("fine_tune", fine_tune, "there must be an encoder to tune", "Name one with pretrained=.")
    if fine_tune is not None:
        check_number("fine_tune", fine_tune, above=0)
    if physics and (pretrained is None or fine_tune is not None):
        rule = "model physics goes with an encoder that is not trained"
        raise OptionError("physics", physics, rule, "Leave out fine_tune, and pretrained=None.")
    check_number("kernel_share", kernel_share, least=0, most=1)
    check_number("dropout", dropout, least=0, below=1)
    check_training(learning_rate, engine)
