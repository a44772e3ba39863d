"""From crystal graphs to what the pretext objectives train on: batched graphs and simulated powder patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..crystals.duplicates import equal_groups, invariants
from ..crystals.records import CrystalGraph
from ..diffraction.conditions import MeasurementConditions, try_patterns
from ..diffraction.grid import XRDGrid
from .. import errors
from ..errors import CrystalInputError, Report
from ..nn.graph_batch import GraphBatch
from ..nn.links import Engine
from ..nn.ranks import ALONE, WHOLE, Ranks, Share
from ..pretext.batch import Modality
from .targets import PhysicsTargets


class PretrainingBatch(NamedTuple):
    """The input of one training step.

    Attributes
    ----------
    graphs : GraphBatch
        B crystals.
    same : Tensor
        (B, B) bool; which of them are the same crystal. If processes share a batch of K crystals, (B, K).
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


class PreparedBatch(NamedTuple):
    """What one process has made of its crystals of a batch.

    Attributes
    ----------
    inputs : PretrainingBatch
        Of the crystals that have a pattern, without ``same``.
    invariants : numpy.ndarray
        (B, 5), by which equal crystals are found.
    positions : numpy.ndarray
        (B,), of these crystals in the whole batch.
    n_rows : int
        Crystals of the whole batch.
    errors : list of CrystalInputError
        Why others have no pattern.
    """

    inputs: PretrainingBatch
    invariants: np.ndarray
    positions: np.ndarray
    n_rows: int
    errors: list[CrystalInputError]


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
    n_threads : int
        Threads that simulate patterns.

    Attributes
    ----------
    left_out : Report
        Crystals without a pattern, each reported once.
    """

    grid: XRDGrid
    conditions: MeasurementConditions | None
    modalities: frozenset[Modality]
    engine: Engine
    n_threads: int = 1
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
        return self.finish(self.prepare(graphs, seed, labels), device)

    def prepare(
        self,
        graphs: Sequence[CrystalGraph],
        seed: int,
        labels: tuple[Tensor, Tensor] | None = None,
        rows: slice = slice(None),
        n_rows: int | None = None,
    ) -> PreparedBatch:
        """The part of the work that needs neither the model nor other processes, so that it can be done ahead of time.

        The graphs may be some ``rows`` of a batch of ``n_rows``; they have the patterns that they have in this batch.
        """
        graphs, n = list(graphs), len(graphs) if n_rows is None else n_rows
        kept, patterns, ideal = list(range(len(graphs))), None, None
        failed: list[CrystalInputError | None] = []
        if "patterns" in self.modalities:
            drawn, failed = try_patterns(graphs, self.grid, self.conditions, seed, rows, n, self.n_threads)
            kept = [k for k, error in enumerate(failed) if error is None]
            graphs, patterns = [graphs[k] for k in kept], torch.from_numpy(np.asarray(drawn)[kept])
            if "ideal patterns" in self.modalities:
                ideal = torch.from_numpy(np.asarray(try_patterns(graphs, self.grid, n_threads=self.n_threads)[0]))
        nobody = torch.empty(0, 0, dtype=torch.bool)
        inputs = PretrainingBatch(GraphBatch.from_graphs(graphs, self.engine), nobody, patterns, ideal)
        if "model physics" in self.modalities:
            numbers, of_sites = self.physics.get(graphs)
            inputs = inputs._replace(physics=numbers, site_physics=of_sites)
        if labels is not None:
            inputs = inputs._replace(labels=labels[0][kept], label_weights=labels[1][kept])
        positions = np.arange(n)[rows][kept]
        return PreparedBatch(inputs, invariants(graphs), positions, n, [error for error in failed if error is not None])

    def finish(self, prepared: PreparedBatch, device: torch.device | str, ranks: Ranks = ALONE) -> PretrainingBatch:
        """The batch on its device, with what it must know of the crystals that other processes have.

        Raises
        ------
        CrystalInputError
            If no crystal of the whole batch has a pattern.
        """
        self._report(prepared.errors)
        share, groups, own = _shared(prepared, ranks)
        if not len(groups):
            missing = CrystalInputError("batch", "no crystal has a pattern", remedy="Leave these crystals out.")
            raise next(iter(prepared.errors), missing)
        all_groups = torch.from_numpy(groups).to(device)
        same = all_groups[own][:, None] == all_groups
        moved = [None if part is None else part.to(device) for part in prepared.inputs]
        inputs = PretrainingBatch(*moved)._replace(same=same)  # type: ignore[arg-type]
        return inputs if share.is_whole else inputs._replace(graphs=replace(inputs.graphs, share=share))

    def simulate(self, graphs: list[CrystalGraph], seed: int) -> tuple[list[CrystalGraph], np.ndarray]:
        """Patterns (n, n_bins) of the crystals that have one, and these crystals.

        Raises
        ------
        CrystalInputError
            If no crystal of the batch has a pattern.
        """
        patterns, failed = try_patterns(graphs, self.grid, self.conditions, seed)
        if not any(failed):
            return graphs, patterns
        self._report([error for error in failed if error is not None])
        kept = [k for k, error in enumerate(failed) if error is None]
        if not kept:
            raise next(error for error in failed if error is not None)
        return [graphs[k] for k in kept], patterns[kept]

    def tell_left_out(self, ranks: Ranks) -> None:
        """Add the crystals that other processes left out to the report of each."""
        told = [[type(e).__name__, e.item, str(e.value), e.rule, e.remedy] for e in self.left_out]
        for rank in [] if ranks.alone else range(ranks.size):
            known = {error.item for error in self.left_out}
            for name, item, *reasons in ranks.agree(lambda: told, rank):
                if item not in known:
                    self.left_out.handle(getattr(errors, name, CrystalInputError)(item, *reasons), "skip")

    def _report(self, failed: Sequence[CrystalInputError]) -> None:
        known = {error.item for error in self.left_out} if failed else set()
        for error in failed:
            if error.item not in known:
                self.left_out.handle(error, "warn")


def _shared(prepared: PreparedBatch, ranks: Ranks) -> tuple[Share, np.ndarray, slice | Tensor]:
    """The share of this process, the groups of equal crystals of the whole batch, and which of these are its own.

    Processes tell each other eight numbers of each crystal: they build no graphs of crystals that are not their own.
    """
    if ranks.alone:
        return WHOLE, equal_groups(prepared.invariants), slice(None)
    graphs = prepared.inputs.graphs
    n_edges = torch.bincount(graphs.crystal[graphs.center], minlength=len(graphs))
    told = torch.full((-(-prepared.n_rows // ranks.size), 3 + prepared.invariants.shape[1]), -1.0, dtype=torch.float64)
    columns = (torch.from_numpy(prepared.positions)[:, None], graphs.num_sites[:, None], n_edges[:, None])
    told[: len(graphs)] = torch.cat([*columns, torch.from_numpy(prepared.invariants)], dim=1)
    owners = torch.arange(ranks.size).repeat_interleave(len(told))
    everyone = ranks.gather_blocks(told).flatten(0, 1)
    order = torch.argsort(everyone[:, 0], stable=True)
    order = order[everyone[order, 0] >= 0]
    share = Share(ranks, owners[order], *everyone[order, 1:3].long().T)
    return share, equal_groups(everyone[order, 3:].numpy()), share.rows


def sum_of(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of the losses of the objectives."""
    return torch.stack(list(losses.values())).sum()
