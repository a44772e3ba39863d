"""Crystals as DeepChem knows data: featurizers, datasets, loaders and splitters.

DeepChem is imported here, before the modules of this folder. Its import sets off the registration of the package (see
:func:`deepchem_crystalssl.register`), which must not find half-loaded modules.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .._names import attach


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide the messages about optional packages that deepchem, rdkit and dgl log while they are imported."""
    os.environ.setdefault("DGLBACKEND", "pytorch")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


__getattr__, __dir__, __all__ = attach(__name__, __file__)

with _quietly():
    import deepchem as _deepchem  # noqa: F401
