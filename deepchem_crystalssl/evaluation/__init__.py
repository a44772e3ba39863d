"""Evaluation of vectors: retrieval recall, probes that are cross-validated by chemical system, kernel regression."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
