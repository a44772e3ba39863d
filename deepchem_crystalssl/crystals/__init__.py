"""Crystals: records, reading and writing them, and their graphs of neighbours. NumPy arrays in, NumPy arrays out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
