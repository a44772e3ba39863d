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
from .targets import PhysicsTargets


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
    physics, site_physics : Tensor or None
        (B, F) and (A, G), numbers of springs and tight binding, if an objective asks for them.
    labels, label_weights : Tensor or None
        (B, n_columns), if an objective learns from labels.
    """

    graphs: GraphBatch
    same: Tensor
    patterns: Tensor | None = None
    ideal_patterns: Tensor | None = None
    physics: Tensor | None = None
    site_physics: Tensor | None = None
    labels: Tensor | None = None
    label_weights: Tensor | None = None


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
    physics: PhysicsTargets = field(default_factory=PhysicsTargets)

    def __call__(
        self,
        graphs: Sequence[CrystalGraph],
        seed: int,
        device: torch.device | str,
        labels: tuple[Tensor, Tensor] | None = None,
    ) -> PretrainingBatch:
        """Batch the graphs and simulate their patterns; the drawn conditions depend on the seed alone.

        ``labels`` are the values and weights of the graphs, (n, n_columns) each, if an objective learns from them.
        """
        graphs, patterns, ideal = list(graphs), None, None
        row = {id(graph): k for k, graph in enumerate(graphs)}
        if "patterns" in self.modalities:
            graphs, drawn = self.simulate(graphs, seed)
            patterns = torch.from_numpy(drawn).to(device)
            if "ideal patterns" in self.modalities:
                ideal = torch.from_numpy(try_patterns(graphs, self.grid)[0]).to(device)
        groups = torch.from_numpy(duplicate_groups(graphs)).to(device)
        same = groups[:, None] == groups
        inputs = PretrainingBatch(GraphBatch.from_graphs(graphs, self.engine).to(device), same, patterns, ideal)
        if "model physics" in self.modalities:
            numbers, of_sites = self.physics.get(graphs)
            inputs = inputs._replace(physics=numbers.to(device), site_physics=of_sites.to(device))
        if labels is not None:
            kept = [row[id(graph)] for graph in graphs]
            values, weights = (part[kept].to(device) for part in labels)
            inputs = inputs._replace(labels=values, label_weights=weights)
        return inputs

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
