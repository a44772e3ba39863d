"""The kinds of folders that this package writes, told apart by their manifests."""

from __future__ import annotations

import os
from pathlib import Path

INDEX, STORE, SHARDS, UNFINISHED = "an index", "a store", "an output of shards", "unfinished work"
KINDS = {
    "index.json": INDEX,
    ".saved/index.json": INDEX,  # of a saving that was interrupted after its last file
    "shards.json": SHARDS,
    "step.json": SHARDS,
    "manifest.json": STORE,
    "building.json": UNFINISHED,
}
"""Names of manifests, and what a folder that has one is. Models and trainings are told apart by the room of models."""


def kind_of(folder: str | Path) -> str | None:
    """Of which kind a folder is; None if it has no manifest, is no folder or may not be looked into.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> from deepchem_crystalssl.crystals.store import write_records
    >>> folder = tempfile.mkdtemp()
    >>> write_records(bundled_prototypes()[:2], folder)
    2
    >>> kind_of(folder)
    'a store'
    """
    return next((kind for name, kind in KINDS.items() if os.path.isfile(os.path.join(folder, name))), None)
