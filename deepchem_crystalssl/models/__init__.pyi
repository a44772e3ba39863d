from .log import TrainingLog as TrainingLog
from .negnn import NEGNNModel as NEGNNModel, site_labels as site_labels
from .optimizers import FusedAdamW as FusedAdamW, WarmUpCosine as WarmUpCosine
from .pretrained import (
    list_pretrained as list_pretrained,
    load_pretrained as load_pretrained,
    save_pretrained as save_pretrained,
)
from .pretraining import CrystalSSLModel as CrystalSSLModel
