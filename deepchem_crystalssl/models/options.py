"""Keyword arguments of the models: those that exist, those renamed, and those that are gone."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any

from ..errors import OptionError
from .checkpoints import NO_TASK

_OF_FINE_TUNING = ("task", "n_tasks", "n_classes", "layer_decay", "unfreeze_every")
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
            near = get_close_matches(name, sorted(known), 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
            raise TypeError(f"{model.__name__}: unknown argument {name!r}{hint}")


def check_choice(name: str, value: Any, known: Any) -> None:
    """Refuse a value that is not one of the known ones.

    Raises
    ------
    OptionError
    """
    if value not in known:
        raise OptionError(name, repr(value), f"{name} must be one of {', '.join(map(str, known))}")


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``.

    Raises
    ------
    OptionError
    """
    try:
        whole = int(value) == value
    except (TypeError, ValueError):
        whole = False
    if not whole or value < least:
        raise OptionError(name, repr(value), f"{name} must be a whole number of at least {least}")
