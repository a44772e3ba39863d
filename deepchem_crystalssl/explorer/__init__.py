"""A map of crystals to look at: a page, and the server that answers what is dropped on it."""

from .document import StructureView, write_map, write_page

__all__ = ["StructureView", "write_map", "write_page"]
