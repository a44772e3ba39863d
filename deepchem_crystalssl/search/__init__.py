"""Find: neighbours of crystals, phases of measured patterns, members of a class."""

from .answers import Answer, Answers, Neighbor
from .building import build_index
from .catalogue import Filter
from .index import EmbeddingIndex
from .neighbors import neighbor_table
from .phases import PatternAnswer, PhaseMatch

__all__ = [
    "Answer",
    "Answers",
    "EmbeddingIndex",
    "Filter",
    "Neighbor",
    "PatternAnswer",
    "PhaseMatch",
    "build_index",
    "neighbor_table",
]
