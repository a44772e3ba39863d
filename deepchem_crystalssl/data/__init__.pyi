from .datasets import CrystalStore as CrystalStore
from .featurizers import (
    CrystalGraphFeaturizer as CrystalGraphFeaturizer,
    ModelPhysicsFeaturizer as ModelPhysicsFeaturizer,
    XRDFeaturizer as XRDFeaturizer,
)
from .loaders import CrystalLoader as CrystalLoader
from .splitters import CrystalSplitter as CrystalSplitter
