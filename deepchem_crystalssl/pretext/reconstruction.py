"""Objectives that recover what was masked in a crystal, or undo a displacement of its sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crystals.elements import N_ELEMENTS, element_groups_and_periods
from ..nn.bonds import site_elements
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.layers import GaussianExpansion, mlp
from .._names import renamed_arguments
from .batch import Modality, PretextBatch
from .views import choose_sites, choose_species, displaced, edges_at, masked

N_DISTANCE_BINS = 41
"""Classes of a masked distance: bins of 0.2 Å."""


@renamed_arguments(share="mask_rate", looks_at="modalities")
@dataclass(frozen=True)
class MaskedSites:
    """Predict masked elements and masked distances from their surroundings (after Kong et al. 2024).

    A fraction of the sites is masked, and with them the distance of every edge that touches one, in both directions.
    From the site vectors of the last layer, the group, period and element of the masked sites are predicted, and from
    the sum of the vectors of both ends the bin of the masked distances. In the published code the distances of these
    edges remained in the input, so that the answer could be read from it.

    Parameters
    ----------
    mask_rate : float
        int(mask_rate N + 1) of the N sites of a crystal are masked.
    whole_species : bool
        Mask all sites of one element instead, so that no equivalent atom reveals it.
    edges : bool
        Mask and predict distances too.
    crystals : float
        Fraction of the batch's crystals that are masked; each costs a second pass through the encoder.
    weight : float
        Factor of the loss.
    """

    mask_rate: float = 0.15
    whole_species: bool = False
    edges: bool = True
    crystals: float = 1.0
    name: str = "masked_sites"
    weight: float = 1.0
    modalities: ClassVar[frozenset[Modality]] = frozenset()

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """One linear classifier for each quantity that is predicted."""
        width = crystal_encoder.width
        sizes = {"group": 19, "period": 8, "element": N_ELEMENTS + 1, "distance": N_DISTANCE_BINS}
        return nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})

    def losses(self, batch: PretextBatch, head: Any) -> dict[str, tuple[Tensor, Tensor]]:
        """Logits (n, classes) and targets (n,) of each quantity that is predicted."""
        graphs = batch.graphs.first(self.crystals)
        chosen = (
            choose_species(graphs, batch.generator)
            if self.whole_species
            else choose_sites(graphs, self.mask_rate, batch.generator)
        )
        edges = edges_at(graphs, chosen) if self.edges else None
        sites = batch.encode_view(masked(graphs, chosen, edges))
        vectors, number = sites[chosen], site_elements(graphs)[chosen]
        group, period = (torch.as_tensor(x, device=number.device)[number] for x in element_groups_and_periods())
        targets = {"group": group, "period": period, "element": number}
        answers = {name: (head[name](vectors), target) for name, target in targets.items()}
        if edges is not None:
            ends = sites[graphs.center[edges]] + sites[graphs.neighbor[edges]]
            bins = (graphs.distance[edges] / 0.2).round().long().clamp(0, N_DISTANCE_BINS - 1)
            answers["distance"] = (head["distance"](ends), bins)
        return answers

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """Sum of the cross-entropies."""
        share = batch.graphs.share
        terms = [
            share.mean_of(F.cross_entropy(logits, target), len(target))
            for logits, target in self.losses(batch, head).values()
            if len(target) or not share.is_whole
        ]
        return self.weight * torch.stack(terms).sum()


@renamed_arguments(looks_at="modalities")
@dataclass(frozen=True)
class DenoisedDistances:
    """Displace the sites at random, and predict by how much each edge became longer.

    This is the denoising of coordinates (Zaidi et al. 2023), in a form that an encoder of distances can answer.

    Parameters
    ----------
    sigma : float
        Standard deviation of the displacement along each axis, Å.
    crystals : float
        Fraction of the batch's crystals that are displaced; each costs a second pass through the encoder.
    """

    sigma: float = 0.1
    crystals: float = 1.0
    name: str = "denoised_distances"
    modalities: ClassVar[frozenset[Modality]] = frozenset()

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A small network of the vectors of both ends and the displaced distance."""
        expand = GaussianExpansion()
        guess = mlp([crystal_encoder.width + len(expand.centers), 64, 1])
        return nn.ModuleDict({"expand": expand, "guess": guess})

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """Mean squared error of the changes, in units of ``sigma``."""
        graphs = batch.graphs.first(self.crystals)
        view, change = displaced(graphs, self.sigma, batch.generator)
        if not len(change) and graphs.share.is_whole:
            return change.sum()
        sites = batch.encode_view(view)
        ends = sites[view.center] + sites[view.neighbor]
        guess = head["guess"](torch.cat([ends, head["expand"](view.distance)], dim=1))[:, 0]
        return graphs.share.mean(F.mse_loss(guess, change / self.sigma), "edges")
