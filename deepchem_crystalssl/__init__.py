"""Self-supervised learning on crystals, for DeepChem and matminer.

Where DeepChem is not installed, only the networks and pretext objectives can be imported, from ``nn`` and ``pretext``;
they need torch alone.
"""

import logging
import os
from contextlib import contextmanager
from importlib.util import find_spec

from .version import __version__


@contextmanager
def _quiet_imports():
    """Hide what deepchem, rdkit and dgl say about optional packages while they load; it floods every command."""
    os.environ.setdefault("DGLBACKEND", "pytorch")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


if find_spec("deepchem") is not None:
    with _quiet_imports():
        import deepchem as _deepchem  # noqa: F401

    from .crystals.errors import CrystalInputError, Report
    from .crystals.graph import Crystal, CrystalGraph
    from .crystals.io import read_structures
    from .crystals.measured import prepare_measured_pattern
    from .crystals.neighbors import structures_to_graphs
    from .crystals.xrd import simulate_xrd
    from .crystals.xrd_grid import XRDGrid
    from .datasets import CrystalStore
    from .descriptors import CrystalEmbedding, SiteEmbedding, XRDEmbedding
    from .environments import compare_layers, local_environments
    from .featurizers import CrystalGraphFeaturizer, XRDFeaturizer
    from .kernel_ridge import LaplacianRidgeCV
    from .loaders import CrystalLoader
    from .models import CrystalSSLModel
    from .negnn import NEGNNModel, site_labels
    from .pretrained import list_pretrained, load_pretrained, save_pretrained
    from .registry import register, register_on_import
    from .search import EmbeddingIndex, Filter, build_index, find_members
    from .splitters import CrystalSplitter

    register_on_import()

__all__ = [
    "__version__",
    "Crystal",
    "CrystalEmbedding",
    "CrystalInputError",
    "CrystalGraph",
    "CrystalGraphFeaturizer",
    "CrystalLoader",
    "CrystalSSLModel",
    "CrystalSplitter",
    "CrystalStore",
    "EmbeddingIndex",
    "Filter",
    "LaplacianRidgeCV",
    "NEGNNModel",
    "Report",
    "SiteEmbedding",
    "XRDEmbedding",
    "XRDFeaturizer",
    "XRDGrid",
    "build_index",
    "compare_layers",
    "find_members",
    "list_pretrained",
    "load_pretrained",
    "local_environments",
    "prepare_measured_pattern",
    "read_structures",
    "register",
    "save_pretrained",
    "simulate_xrd",
    "site_labels",
    "structures_to_graphs",
]
