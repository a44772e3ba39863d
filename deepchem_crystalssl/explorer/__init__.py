"""The map of crystals as a page in the browser, and the server that answers uploads of crystals and patterns."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
