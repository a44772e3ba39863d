"""Objectives that undo noise in the positions of the sites and in the shape of the cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ..crystals.options import check_number
from ..errors import OptionError
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.equivariant import CrystalTensors, SiteVectors
from .batch import Modality, PretextBatch
from .noise import Noise, Range


@dataclass(frozen=True)
class _Denoised:
    """What both objectives share: their noise, and which crystals they read."""

    displacement: Range = (0.03, 0.15)
    strain: Range = (0.008, 0.05)
    forgotten: float = 0.5
    weight: float = 1.0
    modalities: ClassVar[frozenset[Modality]] = frozenset({"crystals"})
    encoder_needs: ClassVar[dict[str, Any]] = {"conditioned": True}

    def __post_init__(self) -> None:
        for name in ("displacement", "strain"):  # configurations hold lists
            object.__setattr__(self, name, _checked_range(name, getattr(self, name)))
        check_number("forgotten", self.forgotten, least=0, most=1)
        check_number("weight", self.weight, least=0)

    @property
    def noise(self) -> Noise:
        """What is drawn; objectives of equal noise read the same noised crystals, in one pass."""
        return Noise(self.displacement, self.strain, self.forgotten)


@dataclass(frozen=True)
class DenoisedSites(_Denoised):
    """Displace the sites and strain the cell, and predict by how much each site was displaced.

    This is self-conditioned denoising (arXiv 2603.17196): the encoder first reads the clean crystal, and its readout is
    an input of every site when it reads the noised one, so that the readout must hold what the noised crystal cannot
    tell. An isotropic encoder predicts a vector as a sum over edges
    (:class:`~deepchem_crystalssl.nn.equivariant.SiteVectors`). To undo small noise is to know the forces (Zaidi et al.
    2023), without any label.

    Parameters
    ----------
    displacement, strain : (float, float)
        Ranges of the standard deviation of a displacement along each axis, Å, and of a strain. One value of each is
        drawn for every crystal, and told to the encoder.
    forgotten : float
        Fraction of the crystals whose clean readout is not told.
    weight : float
        Factor of the loss.

    Raises
    ------
    OptionError
        If a range or a fraction cannot be used.
    """

    name: str = "denoised_sites"

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A vector for each site."""
        return SiteVectors(crystal_encoder.width)

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Mean squared error of the displacements, in standard deviations; lone sites of a cell do not count."""
        noised, sites = batch.noised(self.noise)
        errors = (head(noised.view, sites) - noised.shift).square().mean(1)
        moved = (batch.graphs.num_sites > 1)[batch.graphs.crystal].to(errors)
        n_moved = batch.graphs.share.total(moved.sum())
        return self.weight * (errors * moved).sum() / n_moved.clamp(min=1.0)


@dataclass(frozen=True)
class DenoisedCell(_Denoised):
    """Displace the sites and strain the cell, and predict the strain.

    It teaches how long bonds want to be, and is next of kin to stress. Conditions are those of
    :class:`DenoisedSites`, which reads the same noised crystals if the noise is the same.

    Parameters
    ----------
    displacement, strain, forgotten, weight
        As in :class:`DenoisedSites`.
    """

    name: str = "denoised_cell"

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A symmetric tensor for each crystal."""
        return CrystalTensors(crystal_encoder.width)

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Mean squared error of the six components of the strain, in standard deviations."""
        noised, sites = batch.noised(self.noise)
        error = (head(noised.view, sites) - noised.strain).square().sum((1, 2)).mean()
        return self.weight * batch.graphs.share.mean(error, "crystals") / 6.0


def _checked_range(name: str, limits: Any) -> Range:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not 0 <= low <= high < math.inf:
        rule = "a range of noise is two finite numbers, the smaller first, none below 0"
        raise OptionError(name, limits, rule, "Give for example (0.03, 0.15).")
    return low, high
