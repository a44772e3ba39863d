"""The workflows of the command line, each as one function: train, evaluate and embed."""

from typing import Any

import lazy_loader

from .._moved import moved_name

_public_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """A public name, loaded when first used, or one that has moved."""
    return _public_name(name) if name in __all__ else moved_name(__name__, name)
