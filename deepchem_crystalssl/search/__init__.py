"""Find: neighbours of crystals, phases of measured patterns, members of a class."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
