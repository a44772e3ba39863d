from .log import TrainingLog as TrainingLog
from .labels import site_labels as site_labels
from .negnn import NEGNNModel as NEGNNModel
from .optimizers import FusedAdamW as FusedAdamW, WarmUpCosine as WarmUpCosine
from .plots import plot_training as plot_training
from .pretrained import (
    list_pretrained as list_pretrained,
    load_pretrained as load_pretrained,
    save_pretrained as save_pretrained,
)
from .pretraining import CrystalSSLModel as CrystalSSLModel
