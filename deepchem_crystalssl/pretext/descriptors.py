"""Objectives that predict descriptors computed from the structure itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crystals.elements import element_features
from ..nn.bonds import bond_valence_sums, rattling_frequencies, unpaired_electrons
from ..nn.crystal_encoder import CrystalEncoder, mean_and_std
from ..nn.graph_batch import GraphBatch
from ..nn.links import sum_to_centers
from ..nn.message_passing import sum_species
from .._names import renamed_arguments
from .batch import Modality, PretextBatch


@renamed_arguments(looks_at="modalities")
@dataclass(frozen=True)
class Descriptors:
    """Predict descriptors of the crystal: element statistics, volume per site, distances and coordination.

    Parameters
    ----------
    weight : float
        Factor of the mean squared error.
    """

    weight: float = 1.0
    name: str = "descriptors"
    modalities: ClassVar[frozenset[Modality]] = frozenset({"crystals"})

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A linear map from the readout."""
        return nn.Linear(crystal_encoder.pooled_size, 2 * element_features().shape[1] + 4)

    def targets(self, graphs: GraphBatch) -> Tensor:
        """Targets of each crystal, (B, D).

        They are mean and standard deviation of the element features, the logarithm of the volume per site, mean and
        standard deviation of the distances, and the number of neighbours per site.
        """
        assert graphs.volume is not None
        features = sum_species(graphs, torch.tensor(element_features(), device=graphs.volume.device))
        edge_crystal = graphs.crystal[graphs.center]
        n_edges = torch.bincount(edge_crystal, minlength=len(graphs)).clamp(min=1)
        mean = torch.zeros_like(graphs.volume).index_add_(0, edge_crystal, graphs.distance) / n_edges
        square = torch.zeros_like(graphs.volume).index_add_(0, edge_crystal, graphs.distance**2) / n_edges
        numbers = [
            (graphs.volume / graphs.num_sites).log() - 3.0,
            mean - 3.0,
            (square - mean**2).clamp(min=0).sqrt(),
            n_edges / graphs.num_sites / 12.0 - 1.0,
        ]
        return torch.cat([mean_and_std(graphs, features), torch.stack(numbers, 1)], dim=1)

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Mean squared error."""
        error = F.mse_loss(head(batch.pooled), self.targets(batch.graphs))
        return self.weight * 10.0 * batch.graphs.share.mean(error, "crystals")


@renamed_arguments(looks_at="modalities")
@dataclass(frozen=True)
class SiteDescriptors:
    """Predict descriptors of each site: its own element, the elements, distances and number of its neighbours.

    Parameters
    ----------
    weight : float
        Factor of the mean squared error.
    """

    weight: float = 1.0
    name: str = "site_descriptors"
    modalities: ClassVar[frozenset[Modality]] = frozenset({"crystals"})

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A linear map from the site vectors of the last layer."""
        return nn.Linear(crystal_encoder.width, 2 * element_features().shape[1] + 3)

    def targets(self, graphs: GraphBatch) -> Tensor:
        """Targets of each site, (A, D).

        They are the element features of the site, their mean over the neighbours, mean and standard deviation of the
        distances, and the number of neighbours.
        """
        own = sum_species(graphs, torch.tensor(element_features(), device=graphs.distance.device))
        number = torch.bincount(graphs.center, minlength=graphs.total_sites).clamp(min=1)
        around = sum_to_centers(graphs, own[graphs.neighbor]) / number[:, None]
        moments = sum_to_centers(graphs, torch.stack([graphs.distance, graphs.distance**2], 1)) / number[:, None]
        spread = (moments[:, 1] - moments[:, 0] ** 2).clamp(min=0).sqrt()
        return torch.cat([own, around, torch.stack([moments[:, 0] - 3.0, spread, number / 12.0 - 1.0], 1)], dim=1)

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """Mean squared error."""
        error = F.mse_loss(head(batch.site_layers[-1]), self.targets(batch.graphs))
        return self.weight * 10.0 * batch.graphs.share.mean(error, "sites")


@renamed_arguments(looks_at="modalities")
@dataclass(frozen=True)
class BondValences:
    """Predict what the bond valences say of each site: bond-valence sum, unpaired electrons, rattling frequency.

    The targets follow from the distances; see :mod:`~deepchem_crystalssl.nn.bonds`.

    Parameters
    ----------
    weight : float
        Factor of the mean squared error.
    """

    weight: float = 1.0
    name: str = "bond_valences"
    modalities: ClassVar[frozenset[Modality]] = frozenset({"crystals"})

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A linear map from the site vectors of the last layer."""
        return nn.Linear(crystal_encoder.width, 3)

    def targets(self, graphs: GraphBatch) -> Tensor:
        """Bond-valence sum, number of unpaired electrons and rattling frequency of each site, (A, 3)."""
        sums = bond_valence_sums(graphs).clamp(-8.0, 8.0)
        return torch.stack([sums, unpaired_electrons(graphs, sums), rattling_frequencies(graphs)], dim=1)

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Mean squared error."""
        error = F.mse_loss(head(batch.site_layers[-1]), self.targets(batch.graphs))
        return self.weight * batch.graphs.share.mean(error, "sites")
