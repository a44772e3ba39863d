"""Crystals: records, reading and writing them, and their graphs of neighbours. NumPy arrays in, NumPy arrays out."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
