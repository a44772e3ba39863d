"""Descriptors for matminer and scikit-learn, and the coordination of sites in words."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
