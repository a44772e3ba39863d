"""The map of crystals as a page, and the server that answers what is dropped on it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
