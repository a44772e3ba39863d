"""What the workers of all engines have in common."""

from __future__ import annotations

from ..errors import StoreError
from ..processors import VARIABLES
from .units import Unit

ATTEMPTS = 3
"""So many workers may die with a unit before it is given up."""
ONE_THREAD = dict.fromkeys(VARIABLES, "1")
"""Environment of a worker: as many workers as processors leave one thread to each."""


def killed(unit: Unit) -> StoreError:
    """The error of a unit whose worker dies again and again."""
    files = ", ".join(str(file.path) for file in unit.part.files[:3])
    return StoreError(
        f"part {unit.part.number}",
        f"{ATTEMPTS} workers were killed while they worked on it ({files})",
        "a worker needs about 1.5 GB of memory",
        "Check the memory limits, or the files of that part; what is done stays done.",
    )
