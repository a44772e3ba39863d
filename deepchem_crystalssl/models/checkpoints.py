"""The configuration of a model as JSON beside its weights: a checkpoint loads into a model of the same one."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..crystals.checksums import WHOLE, check_regular, is_file, read_regular, read_sealed, write_sealed
from ..crystals.neighbors import CUTOFF, MAX_NEIGHBORS
from ..diffraction.conditions import MeasurementConditions
from ..diffraction.grid import XRDGrid
from ..nn.backbones import BACKBONES
from ..pretext.objectives import current_configuration, objective_from_configuration

CONFIG = "config.json"
_STEP, _DIGEST, _LOG_LINE = "newest_step", "newest_checkpoint", "newest_log_line"  # in the configuration
_COPY = "Copy the folder again from where it is whole."
_GO_BACK = "Copy it again, or remove it: the training then goes on from the checkpoint before, or from its beginning."
NO_TASK = "Fine-tune a pretrained encoder with NEGNNModel(pretrained=..., fine_tune=1e-4)."
_USUAL_RATE = 1e-4
_GRAPHS = ("cutoff", "max_neighbors")  # None until a model has seen a graph
PLAIN = ("mode", "n_tasks", "n_classes", "level", "uncertainty", "kernel_share", "n_networks")
"""Arguments of a NEGNN that are written down as they are."""
_BOUND = ("backbone", "hidden", "dropout", "layers", *PLAIN)
_LATER = ("width", "fine_tune", "physics", *_GRAPHS)  # unknown to configurations of version 0.1


def write_config(folder: str | Path, config: dict[str, Any], step: int, log_line: str = "") -> None:
    """Write a model's configuration into a folder, which is made if needed.

    With it are written the step and the digest of its newest checkpoint and the checksum of the last line of its log.
    """
    path = Path(folder, CONFIG)
    path.parent.mkdir(parents=True, exist_ok=True)
    newest = newest_checkpoint(folder)
    notes = {_DIGEST: "" if newest is None else digest_of(newest), _LOG_LINE: log_line}
    write_sealed(path, {**config, _STEP: step, **{name: text for name, text in notes.items() if text}})


def is_configuration(path: str | Path) -> bool:
    """Whether a file is the configuration of a model of this package, as far as it tells."""
    try:
        content = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and not content.keys().isdisjoint(("class", "objectives"))


def forget_digest(folder: str | Path, step: int) -> None:
    """Before another checkpoint of the same step: whoever is killed when it is written has either of the two."""
    path = Path(folder, CONFIG)
    content = read_sealed(path, CheckpointError) if path.is_file() else {}
    if content.get(_STEP) == step and _DIGEST in content:
        write_sealed(path, {name: value for name, value in content.items() if name != _DIGEST})


def digest_of(checkpoint: str | Path) -> str:
    """Digest of a checkpoint, from the checksums that it has of its parts: 8 hexadecimal digits."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            parts = [(part.filename, part.CRC) for part in archive.infolist()]
    except (OSError, zipfile.BadZipFile):  # reading it will tell
        return ""
    return f"{zlib.crc32(json.dumps(parts).encode()):08x}"


def check_own(checkpoint: str | Path, step: int, config: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of another training in the place of the newest one that the configuration speaks of.

    Raises
    ------
    CheckpointError
    """
    if config.get(_STEP) == step and config.get(_DIGEST) not in (None, digest_of(checkpoint)):
        raise CheckpointError(
            str(checkpoint),
            f"not the checkpoint of step {step} that was written here",
            "the weights of a training are its own",
            _GO_BACK,
        )


def log_line_of(folder: str | Path) -> str:
    """Checksum of a line that the log of a training must have; nothing if none is known."""
    try:
        return str(read_sealed(Path(folder, CONFIG), CheckpointError).get(_LOG_LINE, ""))
    except CheckpointError:  # reading the model will tell
        return ""


def forget_log_line(folder: str | Path) -> None:
    """No line of the log is known any more: another training begins, or goes on without lines that were lost."""
    content = read_sealed(Path(folder, CONFIG), CheckpointError)
    write_sealed(Path(folder, CONFIG), {name: value for name, value in content.items() if name != _LOG_LINE})


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read the configuration beside the checkpoints of a folder, under the names of this version.

    Raises
    ------
    CheckpointError
        If there is none, or it cannot be read.
    """
    path = Path(folder, CONFIG)
    if not is_file(path, CheckpointError):
        raise CheckpointError(str(folder), f"no {CONFIG}", remedy="Name the folder a model was trained or saved in.")
    content = read_sealed(path, CheckpointError, _COPY)
    try:
        return current_config(content)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise _unreadable(str(path), error) from error


def current_config(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration under the names of this version.

    Versions up to 0.1 did not say how graphs are made: they always used 8 Å and 12 neighbours. A NEGNN was one network.
    """
    config = {"cutoff": CUTOFF, "max_neighbors": MAX_NEIGHBORS, **config}
    if config.get("class") == "NEGNNModel":
        config.setdefault("n_networks", 1)
    if "instrument" in config:
        config["conditions"] = config.pop("instrument")
    if "objectives" in config:
        config["objectives"] = [current_configuration(fields) for fields in config["objectives"]]
    if config.get("descriptor_model"):
        config["descriptor_model"] = current_config(config["descriptor_model"])
    return config


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint of DeepChem in a folder, which numbers them from the newest to the oldest."""
    found = (path for path in Path(folder).glob("checkpoint*.pt") if path.stem.removeprefix("checkpoint").isdecimal())
    return min(found, default=None, key=lambda path: int(path.stem.removeprefix("checkpoint")))


def read_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What is in a checkpoint, without running any code in it.

    Raises
    ------
    CheckpointError
        If it cannot be read.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:  # PyTorch does not compare the checksums that it writes
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(str(path), f"damaged: {damaged} is not what was written", WHOLE, _GO_BACK)
        content = torch.load(path, map_location=device, weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # the readers of archives and of pickled names raise much
        raise CheckpointError(str(path), f"cannot be read: {str(error)[:200]}", WHOLE, _GO_BACK) from error
    if not isinstance(content, dict) or not {"global_step", "optimizer_state_dict"} <= set(content):
        raise CheckpointError(str(path), "no checkpoint of a training", WHOLE, _GO_BACK)
    return content


def check_newest(folder: str | Path, step: int) -> None:
    """Refuse an older checkpoint in the place of the newest one that the configuration of a training speaks of.

    Raises
    ------
    CheckpointError
    """
    newest = read_config(folder).get(_STEP, step)
    if newest != step and not (isinstance(newest, int) and newest < step):  # killed before it wrote the configuration
        raise CheckpointError(
            str(folder),
            f"the newest checkpoint is of step {step}, and one of step {newest} was written",
            "the weights of a training are those of its newest checkpoint",
            "Copy that checkpoint again, or train on: fit(restore=True) goes on from the one that is there.",
        )


def with_fine_tune(config: dict[str, Any], read_states: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The configuration of a NEGNN, with its ``fine_tune``, which versions up to 0.1 left out: the weights tell it."""
    if "fine_tune" in config or config.get("class") != "NEGNNModel" or config.get("encoder") is None:
        return config
    states, rate = read_states(), None
    if "optimizer_state_dict" in states:
        groups = states["optimizer_state_dict"]["param_groups"]
        rate = groups[1].get("initial_lr", groups[1]["lr"]) if len(groups) == 2 else None
    elif "kernel" not in states and (config.get("mode"), config.get("level")) == ("regression", "crystal"):
        rate = _USUAL_RATE  # which one it was is not known
    return {**config, "fine_tune": rate}


def arguments_of(config: dict[str, Any], source: str) -> dict[str, Any]:
    """Constructor arguments of the :class:`CrystalSSLModel` that a configuration describes.

    Raises
    ------
    CheckpointError
        If it names an objective or a setting that this version does not know.
    """
    if config.get("task", "pretraining") != "pretraining":
        raise CheckpointError(source, f"task = {config['task']}", "this model is pretrained only", NO_TASK)
    try:
        config = current_config(config)
        arguments = {name: config[name] for name in ("encoder", "xrd_encoder", *_GRAPHS)}
        arguments["objectives"] = [objective_from_configuration(fields) for fields in config["objectives"]]
        arguments["grid"] = XRDGrid(**config["grid"])
        described = config.get("descriptor_model")
        arguments["descriptor_model"] = described and arguments_of(described, source)
        arguments["conditions"] = config["conditions"] and MeasurementConditions.from_dict(config["conditions"])
    except (KeyError, TypeError) as error:
        raise _unreadable(source, error) from error
    return arguments


def negnn_arguments(config: dict[str, Any], source: str) -> dict[str, Any]:
    """Constructor arguments of the :class:`NEGNNModel` of a configuration; ``pretrained`` holds those of the encoder.

    Raises
    ------
    CheckpointError
        If the configuration is not that of a NEGNN.
    """
    try:
        config = {"n_networks": 1, **config}
        arguments = {name: config[name] for name in _BOUND} | {name: config.get(name) for name in _LATER}
        return {**arguments, "pretrained": config["encoder"]}
    except KeyError as error:
        raise CheckpointError(source, f"no NEGNN ({error} is missing)", remedy="Name its folder.") from error


def check_backbone(backbone: Any, source: str) -> None:
    """Refuse the name of a backbone that was a module, which no configuration holds.

    Raises
    ------
    CheckpointError
    """
    if isinstance(backbone, str) and backbone not in BACKBONES:
        raise CheckpointError(
            source,
            f"backbone {backbone}",
            "a folder holds no code",
            "Give the module as backbone= of NEGNNModel.from_folder.",
        )


def check_config(checkpoint: str | Path, config: dict[str, Any]) -> dict[str, Any]:
    """Compare the configuration beside a checkpoint with that of a model; returns the one beside the checkpoint.

    Raises
    ------
    CheckpointError
        If they differ.
    """
    if not (Path(checkpoint).parent / CONFIG).exists():
        return {}
    stored, ours = read_config(Path(checkpoint).parent), json.loads(json.dumps(config))
    for key, value in ours.items():
        if key in _GRAPHS and None in (value, stored[key]):
            continue
        if key == "fine_tune" and (key not in stored or None not in (value, stored[key])):
            continue  # a learning rate may change
        if stored.get(key) != value:
            raise CheckpointError(str(checkpoint), f"{key} = {stored.get(key)}, this model has {value}")
    return stored


def _unreadable(source: str, error: Exception) -> CheckpointError:
    return CheckpointError(source, f"a configuration this version cannot read ({error})", remedy="Update the package.")
