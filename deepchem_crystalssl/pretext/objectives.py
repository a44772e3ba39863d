"""Pretext objectives: what a model is trained for when nothing is labelled. Nothing here needs a calculation or a
measurement: patterns, elements, distances and densities follow from the structure itself.

An objective is a loss of what the encoders make of a batch, with a head of its own where it needs one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crystals.elements import N_ELEMENTS, element_features, element_groups_and_periods
from ..nn.bonds import bond_valences, rattling_frequencies, site_elements, unpaired_electrons
from ..nn.crystal_encoder import CrystalEncoder, mean_and_std
from ..nn.layers import GaussianExpansion, mlp
from ..nn.message_passing import GraphBatch, mean_over_sites, sum_species, sum_to_centers
from .batch import Look, PretextBatch
from .losses import SamplingPolicy, barlow_twins_loss, bidirectional_triplet_loss, info_nce_loss, nt_xent_loss
from .views import choose_sites, choose_species, displaced, edges_at, hide, random_view

N_DISTANCE_BINS = 41


class Objective(Protocol):
    """A named loss with, where it needs one, a head."""

    @property
    def name(self) -> str:
        """What the loss is called in logs."""

    @property
    def looks_at(self) -> frozenset[Look]:
        """What it needs of a batch: whole crystals, their patterns, their ideal patterns.

        A loss that hides or moves something of the crystals makes its own views, and looks at nothing.
        """

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """The head; an empty module if there is none."""

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """Scalar loss."""


@dataclass(frozen=True)
class CrystalXRDTriplet:
    """A crystal and its powder pattern meet in one space, by triplets (Suzuki et al. 2022).

    Parameters
    ----------
    margin : float
    policy : str
        How negatives are drawn; see :func:`~deepchem_crystalssl.pretext.losses.bidirectional_triplet_loss`.
    """

    margin: float = 1.0
    policy: SamplingPolicy = "non-easy"
    name: str = "crystal_xrd_triplet"
    looks_at: ClassVar[frozenset[Look]] = frozenset({"crystals", "patterns"})

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """No head."""
        return nn.Identity()

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Bidirectional triplet loss of the two views."""
        return bidirectional_triplet_loss(
            batch.crystal, batch.xrd, self.margin, batch.same, batch.generator, self.policy
        )


class Temperature(nn.Module):
    """A learned temperature, kept between 0.01 and 1."""

    def __init__(self, start: float = 0.1):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(start).log())

    def forward(self) -> Tensor:
        """The temperature."""
        return self.log.clamp(-4.605, 0.0).exp()


@dataclass(frozen=True)
class InfoNCE:
    """Two looks at one crystal meet, by InfoNCE with a learned temperature.

    A crystal and its pattern meet in one space, as in Suzuki et al. 2022, here with all others of the batch as
    negatives. A pattern as measured and the ideal one meet to teach the pattern encoder what an instrument and a sample
    do to a pattern: so that a measurement is found among simulated ones.

    Parameters
    ----------
    views : ("crystals" | "patterns" | "ideal patterns", another of them)
        The crystal itself, its pattern as measured, the pattern as the grid draws it.
    temperature : float
        Where it starts.

    Examples
    --------
    >>> InfoNCE(("patterns", "ideal patterns")).name
    'patterns_ideal_patterns_infonce'
    """

    views: tuple[Look, Look] = ("crystals", "patterns")
    temperature: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))  # configurations hold lists
        if len(set(self.views)) != 2 or not set(self.views) <= set(get_args(Look)):
            raise ValueError(f"views: {self.views}; must be two of {', '.join(get_args(Look))}")

    @property
    def name(self) -> str:
        """After its views."""
        return "_".join(self.views).replace(" ", "_") + "_infonce"

    @property
    def looks_at(self) -> frozenset[Look]:
        """Its views; an ideal pattern is drawn beside a measured one."""
        return frozenset(self.views) | {"patterns"}

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """The temperature."""
        return Temperature(self.temperature)

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Symmetric InfoNCE of the two views."""
        one, other = (batch.vectors(view) for view in self.views)
        return info_nce_loss(one, other, head(), batch.same)


@dataclass(frozen=True)
class MaskedSites:
    """Guess hidden atoms and hidden distances from what surrounds them (after Kong et al. 2024).

    A share of the sites is hidden, and with them the distance of every edge that touches one, in both directions. From
    the last layer's site vectors, group, period and element of the hidden sites are predicted, and from the sum of both
    ends' vectors the distance bin of the hidden edges. As published the edge input stayed visible, and the task read
    its own answer.

    Parameters
    ----------
    share : float
        int(share N + 1) sites are hidden per crystal.
    whole_species : bool
        Hide all sites of one element instead, so that no equivalent atom gives it away.
    elements : bool
        Predict the element too, not only group and period.
    edges : bool
        Hide and predict distances too.
    crystals : float
        Share of the batch's crystals that are asked; each costs a second pass through the encoder.
    """

    share: float = 0.15
    whole_species: bool = False
    elements: bool = True
    edges: bool = True
    crystals: float = 1.0
    name: str = "masked_sites"
    looks_at: ClassVar[frozenset[Look]] = frozenset()

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """One linear classifier per question."""
        width = crystal_encoder.width
        sizes = {"group": 19, "period": 8, "element": N_ELEMENTS + 1, "distance": N_DISTANCE_BINS}
        return nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})

    def losses(self, batch: PretextBatch, head: Any) -> dict[str, tuple[Tensor, Tensor]]:
        """(logits, target) of every question asked."""
        graphs = batch.graphs.head(max(1, int(self.crystals * len(batch.graphs))))
        chosen = (
            choose_species(graphs, batch.generator)
            if self.whole_species
            else choose_sites(graphs, self.share, batch.generator)
        )
        hidden_edges = edges_at(graphs, chosen) if self.edges else None
        sites = batch.encode_view(hide(graphs, chosen, hidden_edges))
        masked, number = sites[chosen], site_elements(graphs)[chosen]
        group, period = (torch.as_tensor(x, device=number.device)[number] for x in element_groups_and_periods())
        answers = {"group": (head["group"](masked), group), "period": (head["period"](masked), period)}
        if self.elements:
            answers["element"] = (head["element"](masked), number)
        if hidden_edges is not None:
            ends = sites[graphs.center[hidden_edges]] + sites[graphs.neighbor[hidden_edges]]
            bins = (graphs.distance[hidden_edges] / 0.2).round().long().clamp(0, N_DISTANCE_BINS - 1)
            answers["distance"] = (head["distance"](ends), bins)
        return answers

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """Sum of the cross-entropies."""
        answers = self.losses(batch, head)
        return torch.stack(
            [F.cross_entropy(logits, target) for logits, target in answers.values() if len(target)]
        ).sum()


@dataclass(frozen=True)
class TwoViews:
    """Two partly hidden views of one crystal meet (Kong et al. 2024, NT-Xent).

    Parameters
    ----------
    share : float
        Of sites and of edges hidden in each view.
    temperature : float
    """

    share: float = 0.2
    temperature: float = 0.1
    name: str = "two_views"
    looks_at: ClassVar[frozenset[Look]] = frozenset()

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """Projection head."""
        width = crystal_encoder.width
        return mlp([width, width, width])

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """NT-Xent of the projected means over sites."""
        one, other = (_projected_view(batch, head, self.share) for _ in range(2))
        return nt_xent_loss(one, other, self.temperature, batch.same)


def _projected_view(batch: PretextBatch, head: nn.Module, share: float) -> Tensor:
    """The mean over sites of a partly hidden view, after a projection head."""
    view = random_view(batch.graphs, share, batch.generator)
    return head(mean_over_sites(view, batch.encode_view(view)))


@dataclass(frozen=True)
class Descriptors:
    """Predict what can be computed from the structure: element statistics, volume per site, distances, coordination.

    Parameters
    ----------
    weight : float
        Factor of the mean squared error.
    """

    weight: float = 1.0
    name: str = "descriptors"
    looks_at: ClassVar[frozenset[Look]] = frozenset({"crystals"})

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A linear map from the readout."""
        return nn.Linear(crystal_encoder.pooled_size, 2 * element_features().shape[1] + 4)

    def targets(self, graphs: GraphBatch) -> Tensor:
        """(B, D): mean and spread of element features; log volume, distance and its spread, neighbours per site."""
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
        return self.weight * 10.0 * F.mse_loss(head(batch.pooled), self.targets(batch.graphs))


@dataclass(frozen=True)
class BarlowTwins:
    """Two partly hidden views of one crystal agree, feature by feature, and no two features say the same.

    (Zbontar et al. 2021; for crystals Magar et al. 2022.) It needs no negatives.

    Parameters
    ----------
    share : float
        Of sites and of edges hidden in each view.
    weight : float
        Factor of the loss per feature.
    """

    share: float = 0.1
    weight: float = 1.0
    name: str = "barlow_twins"
    looks_at: ClassVar[frozenset[Look]] = frozenset()

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """Projection head."""
        return mlp([crystal_encoder.width, 128, 128])

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Redundancy reduction of the projected means over sites."""
        one, other = (_projected_view(batch, head, self.share) for _ in range(2))
        return self.weight * barlow_twins_loss(one, other) / one.shape[1]


@dataclass(frozen=True)
class DenoisedDistances:
    """Sites are moved at random; from the moved crystal, guess how much longer each edge became.

    Denoising of coordinates (Zaidi et al. 2023), in the form an encoder of distances can answer.

    Parameters
    ----------
    sigma : float
        Standard deviation of the shift along each axis, Å.
    crystals : float
        Share of the batch's crystals that are moved; each costs a second pass through the encoder.
    """

    sigma: float = 0.1
    crystals: float = 1.0
    name: str = "denoised_distances"
    looks_at: ClassVar[frozenset[Look]] = frozenset()

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A small network over both ends and the distance seen."""
        expand = GaussianExpansion()
        guess = mlp([crystal_encoder.width + len(expand.centers), 64, 1])
        return nn.ModuleDict({"expand": expand, "guess": guess})

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """Mean squared error, in units of the shift."""
        graphs = batch.graphs.head(max(1, int(self.crystals * len(batch.graphs))))
        view, change = displaced(graphs, self.sigma, batch.generator)
        if not len(change):
            return change.sum()
        sites = batch.encode_view(view)
        ends = sites[view.center] + sites[view.neighbor]
        guess = head["guess"](torch.cat([ends, head["expand"](view.distance)], dim=1))[:, 0]
        return F.mse_loss(guess, change / self.sigma)


@dataclass(frozen=True)
class SiteDescriptors:
    """Predict of every site what can be computed: its own and its neighbours' elements, their distances and number.

    Parameters
    ----------
    weight : float
        Factor of the mean squared error.
    """

    weight: float = 1.0
    name: str = "site_descriptors"
    looks_at: ClassVar[frozenset[Look]] = frozenset({"crystals"})

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A linear map from the last layer's site vectors."""
        return nn.Linear(crystal_encoder.width, 2 * element_features().shape[1] + 3)

    def targets(self, graphs: GraphBatch) -> Tensor:
        """(A, D): own features; mean of the neighbours'; mean distance, its spread, number of neighbours."""
        own = sum_species(graphs, torch.tensor(element_features(), device=graphs.distance.device))
        number = torch.bincount(graphs.center, minlength=graphs.total_sites).clamp(min=1)
        around = sum_to_centers(graphs, own[graphs.neighbor]) / number[:, None]
        moments = sum_to_centers(graphs, torch.stack([graphs.distance, graphs.distance**2], 1)) / number[:, None]
        spread = (moments[:, 1] - moments[:, 0] ** 2).clamp(min=0).sqrt()
        return torch.cat([own, around, torch.stack([moments[:, 0] - 3.0, spread, number / 12.0 - 1.0], 1)], dim=1)

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """Mean squared error."""
        return self.weight * 10.0 * F.mse_loss(head(batch.site_layers[-1]), self.targets(batch.graphs))


@dataclass(frozen=True)
class Valences:
    """Predict of every site what bond valences tell: oxidation state, unpaired electrons, and how fast it rattles.

    What a chemist reads off the distances; see :mod:`~deepchem_crystalssl.nn.bonds`.

    Parameters
    ----------
    weight : float
        Factor of the mean squared error.
    """

    weight: float = 1.0
    name: str = "valences"
    looks_at: ClassVar[frozenset[Look]] = frozenset({"crystals"})

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """A linear map from the last layer's site vectors."""
        return nn.Linear(crystal_encoder.width, 3)

    def targets(self, graphs: GraphBatch) -> Tensor:
        """(A, 3): oxidation state, unpaired electrons, frequency."""
        valences = bond_valences(graphs).clamp(-8.0, 8.0)
        return torch.stack([valences, unpaired_electrons(graphs, valences), rattling_frequencies(graphs)], dim=1)

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Mean squared error."""
        return self.weight * F.mse_loss(head(batch.site_layers[-1]), self.targets(batch.graphs))


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    cls.__name__: cls
    for cls in (
        CrystalXRDTriplet,
        InfoNCE,
        MaskedSites,
        TwoViews,
        BarlowTwins,
        DenoisedDistances,
        Descriptors,
        SiteDescriptors,
        Valences,
    )
}
"""Objectives by the name a configuration gives them."""
