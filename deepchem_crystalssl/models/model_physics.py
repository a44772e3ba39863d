"""The numbers of springs and tight binding as inputs of networks and kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from ..crystals.disorder import Disorder
from ..crystals.records import Crystal, CrystalGraph
from ..errors import CrystalInputError, Report
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.negnn import PHYSICS_WEIGHT
from ..physics.columns import MODELS, Level, column_names, iterate_physics
from ..physics.electron_columns import BAND_COLUMNS, EDGE_COLUMNS
from ..physics.scales import standardized
from ..pretext.answers import LABELS, PHYSICS
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


PREDICTED_BLOCKS = tuple(
    "predicted electrons" if block in ("electrons", "band edges") else f"predicted {block}".replace("local ", "")
    for block in PHYSICS_BLOCKS
)
"""Block of the prediction of each column; there are fewer of them than of the numbers themselves."""


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


def weighed_physics(
    crystals: list[Crystal | CrystalInputError], level: Level, disorder: Disorder, n_threads: int
) -> list[np.ndarray]:
    """The numbers of each crystal as columns of a kernel; one that has none is replaced by the error that says why.

    Parameters
    ----------
    crystals : list of Crystal or CrystalInputError
    level : {"crystal", "site"}
    disorder, n_threads
        As in :func:`~deepchem_crystalssl.physics.columns.model_physics`.

    Returns
    -------
    list of numpy.ndarray
        float32, (1, 89) for a crystal, or (N, 11) for its sites; without rows if there is an error in its place.
    """
    columns, lost = np.empty((0, len(column_names(MODELS, level))), np.float32), Report()
    table: list[np.ndarray] = [columns] * len(crystals)
    options: dict[str, Any] = {"disorder": disorder, "on_error": "skip", "report": lost, "n_threads": n_threads}
    for k, _, numbers, sites in iterate_physics(crystals, **options, progress=False):
        table[k] = PHYSICS_WEIGHT * standardized(numbers[None] if level == "crystal" else sites, level=level)
    for error in lost:
        crystals[cast(int, error.index)] = error
    return table


def without(left_out: Sequence[int], table: list[np.ndarray]) -> list[np.ndarray]:
    """One array of the rows of the crystals that were not left out; nothing if there is no table."""
    if not table:
        return []
    lost = set(left_out)
    return [np.concatenate([table[0][:0], *(rows for k, rows in enumerate(table) if k not in lost)])]


def answer_names(encoder: CrystalEncoder, level: Level, label_columns: Sequence[str] = ()) -> list[str]:
    """Names of the numbers that an encoder predicts of a crystal or of a site, in the order of its answers."""
    names: list[str] = []
    for subject, size in (encoder.answers if level == "crystal" else encoder.site_answers).items():
        known = {PHYSICS: column_names(MODELS, level), LABELS: list(label_columns)}.get(subject, [])
        names += known if len(known) == size else [f"{subject} #{k}" for k in range(size)]
    return names


def descriptor_blocks(encoder: CrystalEncoder, physics: bool = False) -> list[str]:
    """Block of each column of an encoder's descriptor: attributes, learned, and what is predicted, by subject.

    With ``physics`` the numbers of :func:`crystal_physics` follow, and all of their predictions are one block.
    """
    n_attributes = 0 if encoder.attributes is None else encoder.attributes.size
    blocks = ["attributes"] * n_attributes + ["learned"] * (encoder.pooled_size - n_attributes)
    for subject, size in encoder.answers.items():
        of_physics = subject == PHYSICS and size == CRYSTAL_PHYSICS and not physics
        blocks += PREDICTED_BLOCKS if of_physics else [f"predicted {subject}"] * size
    return blocks + list(PHYSICS_BLOCKS) * physics
