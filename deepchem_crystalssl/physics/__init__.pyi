from .columns import (
    column_names as column_names,
    iterate_physics as iterate_physics,
    model_physics as model_physics,
    site_physics as site_physics,
)
from .density import DensityOfStates as DensityOfStates
from .elasticity import Elasticity as Elasticity
from .electrons import ElectronicStructure as ElectronicStructure, electronic_structure as electronic_structure
from .scales import standardized as standardized
from .lattice_dynamics import Vibrations as Vibrations, vibrations as vibrations
from .values import model_values as model_values
