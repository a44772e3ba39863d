"""What a checkpoint must agree with, as JSON beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..diffraction.conditions import MeasurementConditions
from ..diffraction.grid import XRDGrid
from ..pretext.objectives import current_configuration, objective_from_configuration

CONFIG = "config.json"
NO_TASK = "Fine-tune a pretrained encoder with NEGNNModel(pretrained=..., fine_tune=1e-4)."


def write_config(folder: str | Path, config: dict[str, Any]) -> None:
    """Write a model's configuration."""
    path = Path(folder, CONFIG)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2))


def read_json(folder: str | Path) -> dict[str, Any]:
    """The configuration written beside checkpoints.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    path = Path(folder, CONFIG)
    if not path.is_file():
        raise CheckpointError(str(folder), f"no {CONFIG}", remedy="Name the folder a model was trained or saved in.")
    return json.loads(path.read_text())


def read_config(folder: str | Path) -> dict[str, Any]:
    """The same, as constructor arguments of a :class:`CrystalSSLModel`.

    Raises
    ------
    CheckpointError
        If there is none, or it names an objective this version does not know.
    """
    return arguments_of(read_json(folder), str(Path(folder, CONFIG)))


def arguments_of(config: dict[str, Any], source: str) -> dict[str, Any]:
    """Constructor arguments of the model a configuration describes.

    Raises
    ------
    CheckpointError
        If it names an objective or a setting this version does not know.
    """
    if config.get("task", "pretraining") != "pretraining":
        raise CheckpointError(source, f"task = {config['task']}", "this model is pretrained only", NO_TASK)
    try:
        arguments = {name: config[name] for name in ("encoder", "xrd_encoder")}
        arguments["objectives"] = [objective_from_configuration(fields) for fields in config["objectives"]]
        arguments["grid"] = XRDGrid(**config["grid"])
        arguments["instrument"] = config["instrument"] and MeasurementConditions.from_dict(config["instrument"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            source, f"a configuration this version cannot read ({error})", remedy="Update the package."
        ) from error
    return arguments


def check_config(checkpoint: str | Path, config: dict[str, Any]) -> None:
    """Raise a CheckpointError if the checkpoint was written by a model of another configuration."""
    path = Path(checkpoint).parent / CONFIG
    if not path.exists():
        return
    stored, ours = json.loads(path.read_text()), json.loads(json.dumps(config))
    if "objectives" in stored:
        stored["objectives"] = [current_configuration(fields) for fields in stored["objectives"]]
    for key, value in ours.items():
        if stored.get(key) != value:
            raise CheckpointError(str(checkpoint), f"{key} = {stored.get(key)}, this model has {value}")
