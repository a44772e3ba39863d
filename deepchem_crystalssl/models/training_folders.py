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
from ..crystals.work_folders import alone_in
from ..errors import CheckpointError
from ..nn.ranks import Ranks
from .checkpoints import newest_checkpoint, read_checkpoint

MADE_OF = "training.json"
"""Name of the file that says what a training was begun with, in ``model_dir``."""
Fit = TypeVar("Fit", bound=Callable[..., Any])


def alone_in_its_folder(fit: Fit) -> Fit:
    """A ``fit`` during which no other process trains in ``model_dir``; of several that train together one locks it."""

    @wraps(fit)
    def locked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if Ranks.here().rank or os.environ.get("RANK", "0") != "0":
            return fit(self, *args, **kwargs)
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
