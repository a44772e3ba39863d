"""Objectives that compare two vectors of each crystal: of two modalities, or of two masked views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor, nn

from ..nn.crystal_encoder import CrystalEncoder
from ..nn.layers import mlp
from ..nn.message_passing import mean_over_sites
from .._names import renamed_arguments
from .batch import Compared, Modality, PretextBatch
from .losses import barlow_twins_loss, bidirectional_triplet_loss, info_nce_loss, nt_xent_loss
from .views import random_view


@renamed_arguments(looks_at="modalities")
@dataclass(frozen=True)
class CrystalXRDTriplet:
    """Triplet loss between crystals and their powder patterns (Suzuki et al. 2022).

    Parameters
    ----------
    margin : float
        Distance by which a negative should be farther away than the positive.
    """

    margin: float = 1.0
    name: str = "crystal_xrd_triplet"
    modalities: ClassVar[frozenset[Modality]] = frozenset({"crystals", "patterns"})

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """No head is needed."""
        return nn.Identity()

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """:func:`~deepchem_crystalssl.pretext.losses.bidirectional_triplet_loss` of crystals and patterns."""
        return bidirectional_triplet_loss(
            batch.crystal, batch.xrd, self.margin, batch.same, batch.generator, batch.graphs.share
        )


class Temperature(nn.Module):
    """A learned temperature, kept between 0.01 and 1.

    Parameters
    ----------
    start : float
        Initial value.
    """

    def __init__(self, start: float = 0.1):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(start).log())

    def forward(self) -> Tensor:
        """The temperature, a scalar."""
        return self.log.clamp(-4.605, 0.0).exp()


@renamed_arguments(views="modalities", looks_at="modalities")
@dataclass(frozen=True)
class InfoNCE:
    """InfoNCE between two modalities of the same crystal, with a learned temperature.

    Between crystals and their patterns the loss builds one common space, as in Suzuki et al. 2022, with all other
    members of the batch as negatives. Between measured and ideal patterns it teaches the pattern encoder what the
    instrument and the sample do to a pattern, so that a measured pattern is found among simulated ones.

    Parameters
    ----------
    modalities : (str, str)
        Two of ``"crystals"`` (the structure itself), ``"patterns"`` (the pattern as it would be measured) and
        ``"ideal patterns"`` (the pattern without effects of instrument and sample).
    temperature : float
        Initial temperature.

    Raises
    ------
    ValueError
        If ``modalities`` are not two different ones of these.

    Examples
    --------
    >>> InfoNCE(("patterns", "ideal patterns")).name
    'patterns_ideal_patterns_infonce'
    """

    modalities: tuple[Compared, Compared] = ("crystals", "patterns")
    temperature: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(self.modalities))  # configurations hold lists
        if len(set(self.modalities)) != 2 or not set(self.modalities) <= set(get_args(Compared)):
            raise ValueError(f"modalities: {self.modalities}; must be two of {', '.join(get_args(Compared))}")

    @property
    def name(self) -> str:
        """Name of the loss, made of the two modalities."""
        return "_".join(self.modalities).replace(" ", "_") + "_infonce"

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """The temperature."""
        return Temperature(self.temperature)

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Symmetric InfoNCE of the two modalities."""
        one, other = (batch.vectors(modality) for modality in self.modalities)
        return info_nce_loss(one, other, head(), batch.same, batch.graphs.share)


@renamed_arguments(share="mask_rate", looks_at="modalities")
@dataclass(frozen=True)
class TwoViews:
    """NT-Xent between two masked views of the same crystal (Kong et al. 2024).

    Parameters
    ----------
    mask_rate : float
        Probability that a view masks a site, and that it masks an edge.
    temperature : float
        Temperature of the loss.
    """

    mask_rate: float = 0.2
    temperature: float = 0.1
    name: str = "two_views"
    modalities: ClassVar[frozenset[Modality]] = frozenset()

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """The projection head."""
        width = crystal_encoder.width
        return mlp([width, width, width])

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """NT-Xent of the projected means over sites."""
        one, other = (_projected_view(batch, head, self.mask_rate) for _ in range(2))
        return nt_xent_loss(one, other, self.temperature, batch.same, batch.graphs.share)


@renamed_arguments(share="mask_rate", looks_at="modalities")
@dataclass(frozen=True)
class BarlowTwins:
    """Redundancy reduction between two masked views of the same crystal (Zbontar et al. 2021; Magar et al. 2022).

    Each feature should agree between the two views, and different features should not be correlated. The loss needs
    no negatives.

    Parameters
    ----------
    mask_rate : float
        Probability that a view masks a site, and that it masks an edge.
    weight : float
        Factor of the loss per feature.
    """

    mask_rate: float = 0.1
    weight: float = 1.0
    name: str = "barlow_twins"
    modalities: ClassVar[frozenset[Modality]] = frozenset()

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """The projection head."""
        return mlp([crystal_encoder.width, 128, 128])

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Redundancy reduction of the projected means over sites."""
        one, other = (_projected_view(batch, head, self.mask_rate) for _ in range(2))
        return self.weight * barlow_twins_loss(one, other, share=batch.graphs.share) / one.shape[1]


def _projected_view(batch: PretextBatch, head: nn.Module, mask_rate: float) -> Tensor:
    """Mean over the sites of a masked view, after the projection head, (B, F)."""
    view = random_view(batch.graphs, mask_rate, batch.generator)
    return head(mean_over_sites(view, batch.encode_view(view)))
