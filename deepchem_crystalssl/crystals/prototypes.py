"""Real crystals for examples and tests: the structure prototypes that pymatgen contains."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files

from .formats.convert import to_crystal
from .records import Crystal


def bundled_prototypes() -> list[Crystal]:
    """The 288 crystals of the AFLOW prototype library (Mehl et al. 2017) that pymatgen contains.

    Examples
    --------
    >>> prototypes = bundled_prototypes()
    >>> len(prototypes), prototypes[0]
    (288, Crystal(AB_hP6_154_a_b, S3Hg3, 6 sites))
    """
    path = files("pymatgen.analysis") / "prototypes" / "aflow_prototypes.json.gz"
    entries = json.loads(gzip.decompress(path.read_bytes()))
    return [to_crystal(entry["snl"], entry["tags"]["aflow"]) for entry in entries]
