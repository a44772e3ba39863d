"""What the pretext objectives are given."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ..nn.crystal_encoder import CrystalEncoder
from ..nn.graph_batch import GraphBatch
from ..nn.normalization import statistics_kept
from ..nn.xrd_encoder import XRDEncoder
from .noise import Noise, NoisedCrystals, add_noise

Compared = Literal["crystals", "patterns", "ideal patterns"]
"""What has a vector: structures, patterns as they would be measured, patterns without such effects."""
Modality = Literal["crystals", "patterns", "ideal patterns", "model physics", "labels"]
"""What an objective needs of a batch: vectors, or numbers that the encoder shall predict."""


@dataclass(frozen=True)
class PretextBatch:
    """A batch with its encoders; each encoding is computed once, when it is first needed.

    Attributes
    ----------
    graphs : GraphBatch
    patterns, ideal_patterns : Tensor or None
        (B, n_bins), as they would be measured, and without effects of instrument and sample.
    same : Tensor
        (B, B) bool, which crystals of the batch are the same; (B, K), if processes share a batch of K crystals.
    crystal_encoder, xrd_encoder : modules
    generator : torch.Generator
        Source of all random numbers.
    mixed_precision : bool
        Whether the pattern encoder and the head of the crystal encoder compute in bfloat16.
    physics, site_physics : Tensor or None
        (B, F) and (A, G), standardised numbers of springs and tight binding, NaN where there are none.
    labels, label_weights : Tensor or None
        (B, n_columns), and 0 where a label is not known.
    views_alone : bool
        Whether no objective uses the whole crystals, but only masked or displaced views of them.
    """

    graphs: GraphBatch
    patterns: Tensor | None
    same: Tensor
    crystal_encoder: CrystalEncoder
    xrd_encoder: XRDEncoder | None
    generator: torch.Generator
    ideal_patterns: Tensor | None = None
    mixed_precision: bool = False
    views_alone: bool = True
    physics: Tensor | None = None
    site_physics: Tensor | None = None
    labels: Tensor | None = None
    label_weights: Tensor | None = None
    _noised: dict[Noise, tuple[NoisedCrystals, Tensor]] = field(default_factory=dict, repr=False)

    @cached_property
    def site_layers(self) -> list[Tensor]:
        """Site vectors after each layer, (A, width) each."""
        return self.crystal_encoder.encode_sites(self.graphs)

    def encode_view(self, view: GraphBatch) -> Tensor:
        """Site vectors of the last layer, of a view that is masked or displaced, (A, width).

        If the whole crystals are encoded too, only they change the running statistics of the norms: the encoder is
        later used on whole crystals.
        """
        with nullcontext() if self.views_alone else statistics_kept(self.crystal_encoder):
            return self.crystal_encoder.encode_sites(view)[-1]

    def noised(self, noise: Noise) -> tuple[NoisedCrystals, Tensor]:
        """The crystals with noise, and their site vectors of the last layer, (A, width); drawn and read once."""
        if noise not in self._noised:
            drawn = add_noise(self.graphs, noise, self.generator)
            told = self.crystal_encoder.recall(drawn.remembered * self.pooled, drawn.level)
            with statistics_kept(self.crystal_encoder):
                self._noised[noise] = drawn, self.crystal_encoder.encode_sites(drawn.view, told)[-1]
        return self._noised[noise]

    @cached_property
    def pooled(self) -> Tensor:
        """The readout over the sites, before the head, (B, pooled_size)."""
        return self.crystal_encoder.pool(self.graphs, self.site_layers)

    @cached_property
    def crystal(self) -> Tensor:
        """Crystal vectors (B, F)."""
        encoder = self.crystal_encoder
        seen = encoder.add_long_range(self.graphs, self.site_layers, self.pooled)  # these sums stay in float32
        with self._autocast():
            return encoder.project(seen)

    @cached_property
    def xrd(self) -> Tensor:
        """Pattern vectors (B, F)."""
        return self._encode_patterns(self.patterns)

    @cached_property
    def ideal_xrd(self) -> Tensor:
        """Vectors of the ideal patterns (B, F)."""
        return self._encode_patterns(self.ideal_patterns)

    def vectors(self, modality: Compared) -> Tensor:
        """Vectors of one modality, (B, F)."""
        if modality == "crystals":
            return self.crystal
        return self.xrd if modality == "patterns" else self.ideal_xrd

    def _encode_patterns(self, patterns: Tensor | None) -> Tensor:
        assert self.xrd_encoder is not None
        with self._autocast():
            return self.xrd_encoder(patterns)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.graphs.crystal.device.type, torch.bfloat16, enabled=self.mixed_precision)
