"""Work on more crystals than one process or one machine should do: steps mapped over shards by an engine."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
