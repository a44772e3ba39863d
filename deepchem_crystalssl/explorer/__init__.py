"""A map of crystals to look at: a page, and the server that answers what is dropped on it."""

from .document import StructureView, open_mapped, write_map, write_page

__all__ = ["StructureView", "open_mapped", "write_map", "write_page"]
