"""Search among crystals: similar ones, those a measured pattern may belong to, members of a class, and the map."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
