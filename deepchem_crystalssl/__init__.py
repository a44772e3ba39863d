"""Self-supervised learning on crystals, for DeepChem and matminer.

Importing the package loads none of the libraries it is built on: every public name is loaded when it is first used
(PEP 562). If DeepChem is loaded already, or as soon as it is imported later, the featurizers, the splitter and the
models are registered there; see :func:`deepchem_crystalssl.register`.
"""

import sys
from importlib import import_module
from importlib.util import find_spec

import lazy_loader

from ._moved import MovedModules
from .registry import register_with_deepchem

__version__ = "0.2.0"

_public_name, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *__all__]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    """A public name, or a module of the package, such as ``deepchem_crystalssl.search``, loaded when first used."""
    if name in __all__:
        return _public_name(name)
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


sys.meta_path.append(MovedModules())
register_with_deepchem()
