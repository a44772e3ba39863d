"""The map of crystals as a page in the browser, and the server that answers uploads of crystals and patterns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
