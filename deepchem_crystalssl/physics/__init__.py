"""Model physics: vibrations, elasticity and electrons of a crystal in milliseconds, from its structure alone."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
