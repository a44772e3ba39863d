from .embeddings import (
    CrystalEmbedding as CrystalEmbedding,
    SiteEmbedding as SiteEmbedding,
    XRDEmbedding as XRDEmbedding,
)
from .environments import compare_layers as compare_layers, local_environments as local_environments
