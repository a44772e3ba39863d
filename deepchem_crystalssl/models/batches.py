"""From crystal graphs to what the pretext objectives train on: batched graphs and simulated powder patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..crystals.duplicates import duplicate_groups
from ..crystals.records import CrystalGraph
from ..diffraction.conditions import MeasurementConditions, try_patterns
from ..diffraction.grid import XRDGrid
from ..errors import CrystalInputError, Report
from ..nn.graph_batch import GraphBatch
from ..nn.links import Engine
from ..pretext.batch import Modality


class PretrainingBatch(NamedTuple):
    """The input of one training step.

    Attributes
    ----------
    graphs : GraphBatch
        B crystals.
    same : Tensor
        (B, B) bool; which of them are the same crystal.
    patterns : Tensor or None
        (B, n_bins), under the measurement conditions, if an objective uses patterns.
    ideal_patterns : Tensor or None
        (B, n_bins), without instrument and noise, if an objective uses those.
    """

    graphs: GraphBatch
    same: Tensor
    patterns: Tensor | None = None
    ideal_patterns: Tensor | None = None


class PretrainingNetwork(nn.ModuleDict):
    """Encoders and objectives' heads as one module; its output is the crystal vectors."""

    def forward(self, inputs: PretrainingBatch) -> Tensor:
        """(B, embedding_size)."""
        return self["crystal_encoder"](inputs.graphs)


@dataclass
class BatchMaker:
    """Prepares training steps: it simulates the patterns of a batch and leaves out crystals that have none.

    Parameters
    ----------
    grid : XRDGrid
        Grid of the simulated patterns.
    conditions : MeasurementConditions or None
        Ranges from which the measurement conditions of each pattern are drawn; None for ideal patterns.
    modalities : set of {"crystals", "patterns", "ideal patterns"}
        The modalities that the objectives use.
    engine : {"auto", "dgl", "torch", "fused"}
        Implementation of the message passing.

    Attributes
    ----------
    left_out : Report
        Crystals without a pattern, each reported once.
    """

    grid: XRDGrid
    conditions: MeasurementConditions | None
    modalities: frozenset[Modality]
    engine: Engine
    left_out: Report = field(default_factory=Report)

    def __call__(self, graphs: Sequence[CrystalGraph], seed: int, device: torch.device | str) -> PretrainingBatch:
        """Batch the graphs and simulate their patterns; the drawn conditions depend on the seed alone."""
        graphs, patterns, ideal = list(graphs), None, None
        if "patterns" in self.modalities:
            graphs, drawn = self.simulate(graphs, seed)
            patterns = torch.from_numpy(drawn).to(device)
            if "ideal patterns" in self.modalities:
                ideal = torch.from_numpy(try_patterns(graphs, self.grid)[0]).to(device)
        groups = torch.from_numpy(duplicate_groups(graphs)).to(device)
        same = groups[:, None] == groups
        return PretrainingBatch(GraphBatch.from_graphs(graphs, self.engine).to(device), same, patterns, ideal)

    def simulate(self, graphs: list[CrystalGraph], seed: int) -> tuple[list[CrystalGraph], np.ndarray]:
        """Patterns (n, n_bins) of the crystals that have one, and these crystals.

        Raises
        ------
        CrystalInputError
            If no crystal of the batch has a pattern.
        """
        patterns, errors = try_patterns(graphs, self.grid, self.conditions, seed)
        if not any(errors):
            return graphs, patterns
        self._report(errors)
        kept = [k for k, error in enumerate(errors) if error is None]
        if not kept:
            raise next(error for error in errors if error is not None)
        return [graphs[k] for k in kept], patterns[kept]

    def _report(self, errors: Sequence[CrystalInputError | None]) -> None:
        known = {error.item for error in self.left_out}
        for error in errors:
            if error is not None and error.item not in known:
                self.left_out.handle(error, "warn")
