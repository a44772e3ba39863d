"""Noise in the positions of the sites and in the shape of the cell of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..nn.graph_batch import GraphBatch
from .views import drawn, noised

Range = tuple[float, float]


@dataclass(frozen=True)
class Noise:
    """How large the noise is, drawn for each crystal, and how often the clean crystal is not told of.

    Attributes
    ----------
    displacement, strain : (float, float)
        Ranges of the standard deviation of a displacement along each axis, Å, and of a strain.
    forgotten : float
        Fraction of the crystals of which the encoder is not told the clean readout.
    """

    displacement: Range
    strain: Range
    forgotten: float


@dataclass(frozen=True)
class NoisedCrystals:
    """Crystals with noise, and the noise.

    Attributes
    ----------
    view : GraphBatch
    level : Tensor
        (B, 2), logarithms of the standard deviations of displacement and strain, scaled to about 1.
    shift : Tensor
        (A, 3), displacement of each site in standard deviations; its mean over a crystal is zero.
    strain : Tensor
        (B, 3, 3), in standard deviations.
    remembered : Tensor
        (B, 1), 1 for the crystals of which the clean readout is told.
    """

    view: GraphBatch
    level: Tensor
    shift: Tensor
    strain: Tensor
    remembered: Tensor


def add_noise(batch: GraphBatch, noise: Noise, generator: torch.Generator) -> NoisedCrystals:
    """Displace the sites and strain the cells of a batch.

    Standard deviations are drawn log-uniformly from their ranges, one for each crystal. The displacements of a crystal
    have a mean of zero, because a shift of the whole crystal cannot be told. The strain is a symmetric random tensor
    whose distribution is the same in every direction.
    """
    uniform = drawn(batch, "crystals", generator, 3)
    sigma, epsilon = (
        _log_uniform(uniform[:, k], limits) for k, limits in enumerate((noise.displacement, noise.strain))
    )
    raw = drawn(batch, "sites", generator, 3, sample=torch.randn)
    mean = raw.new_zeros(len(batch), 3).index_add_(0, batch.crystal, raw) / batch.num_sites[:, None]
    spread = (1.0 - 1.0 / batch.num_sites).clamp(min=0.5).sqrt()  # so that the variance stays 1
    shift = (raw - mean[batch.crystal]) / spread[batch.crystal, None]
    square = drawn(batch, "crystals", generator, 3, 3, sample=torch.randn)
    strain = (square + square.transpose(1, 2)) / 2
    view = noised(batch, shift * sigma[batch.crystal, None], strain * epsilon[:, None, None])
    level = torch.stack([(1.0 + s).log() for s in (sigma / 0.06, epsilon / 0.02)], dim=1)
    return NoisedCrystals(view, level, shift, strain, (uniform[:, 2:] >= noise.forgotten).to(shift))


def _log_uniform(uniform: Tensor, limits: Range) -> Tensor:
    low, high = limits
    return low * (high / low) ** uniform if low > 0 else high * uniform
