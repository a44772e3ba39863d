"""Self-supervised learning on crystals, for DeepChem and matminer.

Importing the package loads none of the libraries it is built on: every public name is loaded when it is first used
(PEP 562). If DeepChem is loaded already, or as soon as it is imported later, the featurizers, the splitter and the
models are registered there; see :func:`deepchem_crystalssl.register`.
"""

import sys

from ._names import MovedModules, attach
from .processors import let_threads_yield
from .registry import register_with_deepchem

__version__ = "0.2.0"

let_threads_yield()  # before anything loads OpenMP

__getattr__, __dir__, __all__ = attach(__name__, __file__)
__all__ = ["__version__", *__all__]

sys.meta_path.append(MovedModules())
register_with_deepchem()
