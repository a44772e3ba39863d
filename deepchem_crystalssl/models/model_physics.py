"""The numbers of springs and tight binding as inputs of networks and kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..crystals.records import CrystalGraph
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.negnn import PHYSICS_WEIGHT
from ..physics.columns import MODELS, column_names, iterate_physics
from ..physics.electron_columns import BAND_COLUMNS, EDGE_COLUMNS
from ..physics.scales import standardized
from ..physics.spring_columns import ELASTICITY_COLUMNS, HIGHEST_MODE_COLUMNS, LOCAL_COLUMNS, VIBRATION_COLUMNS

CRYSTAL_PHYSICS = len(column_names(MODELS))
SITE_PHYSICS = len(column_names(MODELS, "site"))

PHYSICS_BLOCKS = tuple(
    "highest frequency" if name.startswith("highest frequency") else block
    for block, columns in (
        ("vibrations", VIBRATION_COLUMNS),
        ("local vibrations", LOCAL_COLUMNS),
        ("elasticity", ELASTICITY_COLUMNS),
        ("highest modes", HIGHEST_MODE_COLUMNS),
        ("electrons", BAND_COLUMNS),
        ("band edges", EDGE_COLUMNS),
    )
    for name in columns
)
"""Block of each column, (89,)."""


def crystal_physics(graphs: Sequence[CrystalGraph]) -> np.ndarray:
    """The numbers of crystals as columns of a kernel, float32 (n, 89)."""
    found = [numbers for _, _, numbers, _ in iterate_physics(graphs, disorder="average", progress=False)]
    return PHYSICS_WEIGHT * standardized(np.array(found))


def site_physics(graphs: Sequence[CrystalGraph]) -> list[np.ndarray]:
    """For each crystal the standardised numbers of its sites, followed by its own at each site, float32 (N, 100)."""
    rows = []
    for _, _, numbers, sites in iterate_physics(graphs, disorder="average", progress=False):
        own = standardized(numbers[None])
        rows.append(np.hstack([standardized(sites, level="site"), np.repeat(own, len(sites), axis=0)]))
    return rows


def blocks_of(encoder: CrystalEncoder) -> list[str]:
    """Block of each column of the descriptor of crystals followed by :func:`crystal_physics`."""
    n_attributes = 0 if encoder.attributes is None else encoder.attributes.size
    learned = ["learned"] * (encoder.pooled_size - n_attributes)
    return ["attributes"] * n_attributes + learned + list(PHYSICS_BLOCKS)
