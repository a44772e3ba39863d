from .answers import Answer as Answer, Answers as Answers, Neighbor as Neighbor
from .building import build_index as build_index
from .filters import Filter as Filter
from .concepts import (
    Concept as Concept,
    Enrichment as Enrichment,
    Member as Member,
    enrichment as enrichment,
    find_members as find_members,
    likeness as likeness,
    precision_at_k as precision_at_k,
)
from .index import EmbeddingIndex as EmbeddingIndex
from .neighbors import neighbor_table as neighbor_table
from .matches import Hypothesis as Hypothesis, Phase as Phase, PhaseMatch as PhaseMatch
from .pattern_answers import PatternAnswer as PatternAnswer
from .materials_map import MaterialsMap as MaterialsMap
from .projection import make_map as make_map
from .series import PatternSeries as PatternSeries
from .sharded import ShardedIndex as ShardedIndex
