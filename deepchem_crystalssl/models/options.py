"""Keyword arguments of the models: which exist, and which no longer do."""

from __future__ import annotations

from typing import Any

from .checkpoints import NO_TASK

_OF_FINE_TUNING = ("task", "n_tasks", "n_classes", "layer_decay", "unfreeze_every")


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
