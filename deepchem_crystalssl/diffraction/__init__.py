"""Powder X-ray diffraction: patterns simulated, measured ones read and fitted."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
