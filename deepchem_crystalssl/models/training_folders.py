"""The folder of a training: one process trains there, and it goes on with the data that it began with."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from ..crystals.checksums import read_sealed, write_sealed
from ..crystals.folder_kinds import kind_of
from ..crystals.formats.kinds import crystal_kind
from ..crystals.work_folders import alone_in
from ..errors import CheckpointError
from ..nn.ranks import Ranks
from .checkpoints import CONFIG, is_configuration, newest_checkpoint, read_checkpoint
from .log import LOG

MADE_OF = "training.json"
"""Name of the file that says what a training was begun with, in ``model_dir``."""
RECIPE_FILE, CARD = "recipe.json", "card.json"
_OF_CRYSTALS = {"cif", "poscar", "xyz", "xsf", "trajectory", "vasprun", "lmdb"}  # tables may be of labels
_OF_A_TRAINING = (MADE_OF, RECIPE_FILE, LOG)
Fit = TypeVar("Fit", bound=Callable[..., Any])


def is_training(folder: str | Path) -> bool:
    """Whether a folder holds a training, finished or not."""
    if any(Path(folder, name).is_file() for name in _OF_A_TRAINING) or newest_checkpoint(folder) is not None:
        return True
    return is_configuration(Path(folder, CONFIG))  # of one that was killed before its first checkpoint


def check_place(folder: str | Path, own: bool = False) -> None:
    """Refuse to train in a folder that holds something that a training must not be mixed with.

    This is a folder of another kind of this package, files of crystals, or a configuration of another program, which
    would be replaced. Hidden files do not count.

    Parameters
    ----------
    folder : str or Path
    own : bool
        Whether the folder must be one of its own, new or empty or that of a training: then notes, scripts and other
        files are refused too.

    Raises
    ------
    CheckpointError
    """
    if not Path(folder).is_dir():
        return
    found = kind_of(folder)
    if found is None and not is_training(folder):
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
        mixing = [name for name in names if name in (CARD, CONFIG) or crystal_kind(name) in _OF_CRYSTALS]
        first = next(iter(mixing or (names if own else [])), None)
        found = "a saved model" if first == CARD else first
    if found is not None:
        raise CheckpointError(
            str(folder),
            f"holds {found}",
            "a model is trained in a folder of its own",
            "Name a new or empty folder, or that of a training that is to go on.",
        )


def alone_in_its_folder(fit: Fit) -> Fit:
    """A ``fit`` during which no other process trains in ``model_dir``; of several that train together one locks it."""

    @wraps(fit)
    def locked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if Ranks.here().rank or os.environ.get("RANK", "0") != "0":
            return fit(self, *args, **kwargs)
        check_place(self.model_dir)
        with alone_in(self.model_dir, CheckpointError):
            return fit(self, *args, **kwargs)

    return locked  # type: ignore[return-value]


def check_made_of(folder: str | Path, now: Mapping[str, Any]) -> None:
    """Compare what a training goes on with and what it was begun with, if its folder says so.

    Raises
    ------
    CheckpointError
        If they differ.
    """
    path = Path(folder, MADE_OF)
    if not path.exists():  # of version 0.2
        return
    before = read_sealed(path, CheckpointError)
    differing = [name for name in now if before.get(name) != now[name]]
    if differing:
        shown = "; ".join(f"{name} was {before.get(name)}, now {now[name]}" for name in differing)
        raise CheckpointError(
            str(folder),
            f"a training that was begun with another {' and '.join(differing)} ({shown})",
            "a training goes on with the data and the options that it began with",
            "Pass the same data and options, or begin in another folder; load_from_pretrained(model_dir=...) takes "
            "over the weights.",
        )


def write_made_of(folder: str | Path, now: Mapping[str, Any]) -> None:
    """Write down what the checkpoints in a folder were trained with."""
    path, content = Path(folder, MADE_OF), json.loads(json.dumps(now))
    try:
        is_known = path.exists() and read_sealed(path, CheckpointError) == content
    except CheckpointError:
        is_known = False
    if not is_known:
        write_sealed(path, content)


def warn_of_earlier_run(folder: str, steps: int) -> None:
    """Say that a folder holds checkpoints of another run, which a fit would replace one after another."""
    newest = newest_checkpoint(folder)
    if newest is None:
        return
    try:
        run = f"a run of {read_checkpoint(newest)['global_step']} steps"
    except (CheckpointError, KeyError):
        run = "a checkpoint that cannot be read"
    start = f"goes on from step {steps}, with" if steps else "starts anew at step 0, from"
    warnings.warn(
        f"{folder} holds {run}; this fit {start} the weights that the model has in memory, and replaces these "
        "checkpoints. Pass restore=True to go on with that run, or name another model_dir.",
        UserWarning,
        stacklevel=5,
    )
