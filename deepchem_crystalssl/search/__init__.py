"""Find: neighbours of crystals, phases of measured patterns, members of a class."""

from .answers import Answer, Answers, Neighbor
from .building import build_index
from .catalogue import Filter
from .concepts import Concept, Enrichment, Member, enrichment, find_members, precision_at_k
from .index import EmbeddingIndex
from .neighbors import neighbor_table
from .phases import PatternAnswer, PhaseMatch

__all__ = [
    "Answer",
    "Answers",
    "Concept",
    "EmbeddingIndex",
    "Enrichment",
    "Filter",
    "Member",
    "Neighbor",
    "PatternAnswer",
    "PhaseMatch",
    "build_index",
    "enrichment",
    "find_members",
    "neighbor_table",
    "precision_at_k",
]
