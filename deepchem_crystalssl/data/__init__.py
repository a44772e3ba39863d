"""Crystals in the shapes DeepChem knows: featurizers, data sets, loaders and splitters.

This room is where DeepChem enters. It is imported here, before anything that is built on it, so that registration,
which its import sets off, finds no half-loaded module.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import lazy_loader


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide what deepchem, rdkit and dgl say about optional packages while they load; it floods every command."""
    os.environ.setdefault("DGLBACKEND", "pytorch")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

with _quietly():
    import deepchem as _deepchem  # noqa: F401
