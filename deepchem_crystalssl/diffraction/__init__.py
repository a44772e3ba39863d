"""Powder X-ray diffraction: patterns simulated, measured ones read and fitted."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
