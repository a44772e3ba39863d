"""Self-supervised learning on crystals, for DeepChem and matminer.

Importing the package loads none of the libraries it is built on: every public name is loaded when it is first used
(PEP 562). Where DeepChem is loaded already, or whenever it is imported later, the featurizers and models are registered
there; see :func:`deepchem_crystalssl.register`.
"""

import lazy_loader

from .registry import register_with_deepchem

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *__all__]

register_with_deepchem()
