"""DeepChem models: pretraining on crystals and patterns, NEGNN on labels, and what both share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

from .. import data as _data  # noqa: E402, F401  DeepChem is imported there, before anything that is built on it
