from .kernel_ridge import LaplacianRidgeCV as LaplacianRidgeCV
from .median_forest import MedianForest as MedianForest
from .metrics import (
    RetrievalRecall as RetrievalRecall,
    alignment as alignment,
    duplicate_groups as duplicate_groups,
    neighbor_overlap as neighbor_overlap,
    retrieval_recall as retrieval_recall,
    spread as spread,
    uniformity as uniformity,
    variance_explained as variance_explained,
)
from .probes import (
    Probe as Probe,
    cross_validate as cross_validate,
    interval_of_mean as interval_of_mean,
    linear_probe as linear_probe,
    nearest_neighbor_probe as nearest_neighbor_probe,
)
