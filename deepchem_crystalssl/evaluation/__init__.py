"""Evaluation of vectors: retrieval recall, probes that are cross-validated by chemical system, kernel regression."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
