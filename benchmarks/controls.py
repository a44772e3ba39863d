"""Build the control of every measure: the same architecture with random weights, normalised on the crystals at hand."""

from __future__ import annotations

import numpy as np

from deepchem_crystalssl import CrystalSSLModel
from deepchem_crystalssl.nn.graph_batch import GraphBatch


def random_control(model: CrystalSSLModel, graphs: list, seed: int = 0) -> CrystalSSLModel:
    """A model with random weights whose running statistics have seen 4,000 of the crystals: not merely unscaled."""
    control = model.untrained(seed)
    order = np.random.default_rng(seed).permutation(len(graphs))[:4000]
    for encoder, read in (
        (control.crystal_encoder, "forward"),
        (control.descriptor_encoder, "describe"),
        (control.descriptor_encoder, "describe_sites"),
    ):
        encoder.train()
        for part in np.array_split(order, max(1, len(order) // 128)):
            getattr(encoder, read)(GraphBatch.from_graphs([graphs[k] for k in part]))
        encoder.eval()
    return control
