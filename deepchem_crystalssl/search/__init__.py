"""Search among crystals: similar ones, those a measured pattern may belong to, members of a class, and the map."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
