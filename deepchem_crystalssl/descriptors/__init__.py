"""Columns for the pipelines of matminer and scikit-learn, and what surrounds a site in words."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
