"""CIF, read and written: what is stated, what it claims, and the crystal that both make."""

from ..._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
