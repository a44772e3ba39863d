"""Find: neighbours of crystals, phases of measured patterns, members of a class."""

from .answers import Answer, Answers, Neighbor
from .building import build_index
from .catalogue import Filter
from .concepts import Concept, Enrichment, Member, enrichment, find_members, likeness, precision_at_k
from .index import EmbeddingIndex
from .neighbors import neighbor_table
from .phases import PatternAnswer, PhaseMatch
from .projection import MaterialsMap, make_map

__all__ = [
    "Answer",
    "Answers",
    "Concept",
    "EmbeddingIndex",
    "Enrichment",
    "Filter",
    "MaterialsMap",
    "Member",
    "Neighbor",
    "PatternAnswer",
    "PhaseMatch",
    "build_index",
    "enrichment",
    "find_members",
    "likeness",
    "make_map",
    "neighbor_table",
    "precision_at_k",
]
