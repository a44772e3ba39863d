"""How public names are found: loaded when first used, at the places and under the names of the version before, too.

The package and its subpackages load a public name when it is first used (PEP 562), by :func:`attach`. Version 0.2
sorted the modules into subpackages and gave some names the standard terms of the field: old paths and old names keep
working until version 0.3, with a ``FutureWarning`` that says the new one.
Everything below :func:`attach` is deleted then.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar

import lazy_loader

PACKAGE = "deepchem_crystalssl"


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package whose public names stand in its ``__init__.pyi``.

    Modules of the package are found as attributes as well, as if they had been imported; they are not listed.

    Parameters
    ----------
    package, file : str
        ``__name__`` and ``__file__`` of the package.
    """
    public, _, names = lazy_loader.attach_stub(package, file)

    def find(name: str) -> Any:
        if name in names:
            return public(name)
        if f"{package}.{name}".removeprefix(f"{PACKAGE}.") in MOVED_NAMES:
            return moved_name(package, name)
        if name.startswith("_") or find_spec(f"{package}.{name}") is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return find, lambda: ["__version__", *names] if package == PACKAGE else list(names), names


MOVED = {
    "checkpoints": "models.checkpoints",
    "crystals.convert": "crystals.formats.convert",
    "crystals.diffraction": "diffraction.kernels",
    "crystals.errors": "errors",
    "crystals.graph": "crystals.records",
    "crystals.instrument": "diffraction.conditions",
    "crystals.io": "crystals.reading",
    "crystals.measured": "diffraction.measured",
    "crystals.pattern_fit": "diffraction.fitting",
    "crystals.tables": "crystals.formats.tables",
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
    "search.projection.place_new": "search.materials_map.place_new",
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


T = TypeVar("T", bound=Callable)


def warn_of_new_name(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that ``old`` is now called ``new``."""
    warnings.warn(
        f"{old} is now called {new}; the old name will be removed in the next version", FutureWarning, stacklevel
    )


def renamed_arguments(**new_names: str) -> Callable[[T], T]:
    """Decorate a function, or a dataclass, so that keyword arguments are accepted under their old names too.

    Attributes of a class with renamed fields can be read under the old names as well.

    Parameters
    ----------
    **new_names : str
        ``old_name="new_name"`` for each argument.

    Examples
    --------
    >>> @renamed_arguments(share="mask_rate")
    ... def mask(mask_rate):
    ...     return mask_rate
    >>> mask(share=0.15)
    0.15
    """

    def decorate(target: Any) -> Any:
        called = vars(target)["__init__"] if isinstance(target, type) else target
        owner = target.__name__

        @wraps(called)
        def accept(*args: Any, **kwargs: Any) -> Any:
            for old, new in new_names.items():
                if old in kwargs:
                    if new in kwargs:
                        raise TypeError(f"{owner}() got both {old!r} and its new name {new!r}")
                    warn_of_new_name(f"{owner}({old}=)", f"{new}=")
                    kwargs[new] = kwargs.pop(old)
            return called(*args, **kwargs)

        if not isinstance(target, type):
            return accept
        target.__init__ = accept  # type: ignore[misc]
        for old, new in new_names.items():
            setattr(target, old, _renamed_attribute(owner, old, new))
        return target

    return decorate


def _renamed_attribute(owner: str, old: str, new: str) -> property:
    def read(self: Any) -> Any:
        warn_of_new_name(f"{owner}.{old}", new)
        return getattr(self, new)

    return property(read, doc=f"The old name of ``{new}``.")


def renamed_names(module: str, new_names: Mapping[str, Any]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that finds objects under their old names.

    Parameters
    ----------
    module : str
        Its ``__name__``.
    new_names : dict
        Old name to the object, which has a ``__name__`` if it is a class or a function.
    """

    def find(name: str) -> Any:
        if name not in new_names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        found = new_names[name]
        warn_of_new_name(f"{module}.{name}", getattr(found, "__name__", str(found)))
        return found

    return find
