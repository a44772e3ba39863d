"""DeepChem models: pretraining on crystals and patterns, NEGNN on labels, and what both share."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)

from .. import data as _data  # noqa: E402, F401  DeepChem is imported there, before anything that is built on it
