__version__: str
from .crystals.neighbors import structures_to_graphs as structures_to_graphs
from .crystals.reading import read_structures as read_structures
from .crystals.records import Crystal as Crystal, CrystalGraph as CrystalGraph
from .data.datasets import CrystalStore as CrystalStore
from .data.featurizers import (
    CrystalGraphFeaturizer as CrystalGraphFeaturizer,
    ModelPhysicsFeaturizer as ModelPhysicsFeaturizer,
    XRDFeaturizer as XRDFeaturizer,
)
from .data.loaders import CrystalLoader as CrystalLoader
from .data.splitters import CrystalSplitter as CrystalSplitter
from .descriptors.embeddings import (
    CrystalEmbedding as CrystalEmbedding,
    SiteEmbedding as SiteEmbedding,
    XRDEmbedding as XRDEmbedding,
)
from .descriptors.physics import (
    SpringElasticity as SpringElasticity,
    SpringVibrations as SpringVibrations,
    TightBinding as TightBinding,
)
from .descriptors.environments import compare_layers as compare_layers, local_environments as local_environments
from .diffraction.grid import XRDGrid as XRDGrid
from .diffraction.measured import prepare_measured_pattern as prepare_measured_pattern
from .diffraction.pattern_files import read_pattern as read_pattern
from .diffraction.simulation import simulate_xrd as simulate_xrd
from .errors import CrystalInputError as CrystalInputError, Report as Report
from .evaluation.kernel_ridge import LaplacianRidgeCV as LaplacianRidgeCV
from .models.labels import site_labels as site_labels
from .models.negnn import NEGNNModel as NEGNNModel
from .models.plots import plot_training as plot_training
from .models.pretrained import (
    list_pretrained as list_pretrained,
    load_pretrained as load_pretrained,
    save_pretrained as save_pretrained,
)
from .models.pretraining import CrystalSSLModel as CrystalSSLModel
from .physics.columns import model_physics as model_physics
from .physics.electrons import electronic_structure as electronic_structure
from .physics.lattice_dynamics import vibrations as vibrations
from .processors import set_num_threads as set_num_threads
from .registry import register as register
from .search.building import build_index as build_index
from .search.filters import Filter as Filter
from .search.concepts import find_members as find_members
from .search.index import EmbeddingIndex as EmbeddingIndex
