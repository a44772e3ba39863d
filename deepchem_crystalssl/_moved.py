"""Old module paths and old places of names, which keep working until version 0.3.

Version 0.2 sorted the modules into subpackages. Importing a module by its old path gives the module at its new place,
with a ``FutureWarning`` that names it. This file and its uses are deleted with version 0.3.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "deepchem_crystalssl"
MOVED = {
    "checkpoints": "models.checkpoints",
    "crystals.diffraction": "diffraction.kernels",
    "crystals.errors": "errors",
    "crystals.graph": "crystals.records",
    "crystals.instrument": "diffraction.conditions",
    "crystals.io": "crystals.reading",
    "crystals.measured": "diffraction.measured",
    "crystals.pattern_fit": "diffraction.fitting",
    "crystals.xrd": "diffraction.simulation",
    "crystals.xrd_grid": "diffraction.grid",
    "datasets": "data.datasets",
    "embedding": "models.embedding",
    "environments": "descriptors.environments",
    "featurizers": "data.featurizers",
    "kernel_ridge": "evaluation.kernel_ridge",
    "loaders": "data.loaders",
    "metrics": "evaluation.metrics",
    "monitor": "models.log",
    "negnn": "models.negnn",
    "optimizers": "models.optimizers",
    "pretrained": "models.pretrained",
    "probes": "evaluation.probes",
    "splitters": "data.splitters",
    "training": "models.resumable",
}
"""Old path to new path, both below the package."""

MOVED_NAMES = {
    "demo.bundled_prototypes": "crystals.prototypes.bundled_prototypes",
    "recipes.INSTRUMENTS": "recipes.CONDITIONS",
    "recipes.open_model": "models.pretrained.open_model",
}
"""Old place of a name to its new place, both below the package."""


def moved_name(module: str, name: str) -> Any:
    """The object that has moved away from a module, with a warning; for the ``__getattr__`` of that module."""
    old = f"{module}.{name}"
    new = MOVED_NAMES.get(old.removeprefix(f"{PACKAGE}."))
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(
        f"{old} is now {PACKAGE}.{new}; the old name will stop working in version 0.3.", FutureWarning, stacklevel=3
    )
    place, _, name = f"{PACKAGE}.{new}".rpartition(".")
    return getattr(import_module(place), name)


class MovedModules:
    """Finder and loader of the modules in :data:`MOVED`, to be put on ``sys.meta_path``."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The specification of a module that has moved, None for every other module."""
        package, _, module = name.partition(".")
        return ModuleSpec(name, self) if package == PACKAGE and module in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation of the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and put the module at its new path in the place of the one that was created."""
        old = module.__name__
        new = f"{PACKAGE}.{MOVED[old.partition('.')[2]]}"
        warnings.warn(
            f"The module {old} is now {new}; the old path will stop working in version 0.3.",
            FutureWarning,
            stacklevel=2,
        )
        sys.modules[old] = import_module(new)
