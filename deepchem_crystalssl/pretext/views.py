"""Views of a batch: what is hidden from the encoder. Pure functions; hidden inputs are truly hidden."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..nn.bonds import site_elements
from ..nn.graph_batch import GraphBatch
from .._renamed import renamed_arguments, renamed_names


@renamed_arguments(share="mask_rate")
def choose_sites(batch: GraphBatch, mask_rate: float, generator: torch.Generator) -> Tensor:
    """Random sites, int(mask_rate N + 1) of each crystal's N (Kong et al. 2024).

    Parameters
    ----------
    batch : GraphBatch
    mask_rate : float
        0.15 there.
    generator : torch.Generator

    Returns
    -------
    Tensor
        (A,) bool.
    """
    counts = (mask_rate * batch.num_sites + 1).long().clamp(max=batch.num_sites)
    return _smallest_per_crystal(batch, _draw(batch.total_sites, generator, batch), counts)


def choose_species(batch: GraphBatch, generator: torch.Generator) -> Tensor:
    """All sites of one element of each crystal: none of its kind is left to copy from.

    A crystal of one element keeps one random site visible, if it has more than one.
    """
    z = site_elements(batch)
    drawn = _smallest_per_crystal(batch, _draw(batch.total_sites, generator, batch), torch.ones_like(batch.num_sites))
    chosen_element = torch.zeros_like(batch.num_sites)
    chosen_element[batch.crystal[drawn]] = z[drawn]
    chosen = z == chosen_element[batch.crystal]
    everything = torch.bincount(batch.crystal[chosen], minlength=len(batch)) == batch.num_sites
    kept = drawn & (everything & (batch.num_sites > 1))[batch.crystal]
    return chosen & ~kept


def _draw(n: int, generator: torch.Generator, batch: GraphBatch) -> Tensor:
    """Uniform numbers, drawn on the CPU: the same on every device."""
    return torch.rand(n, generator=generator).to(batch.crystal.device)


def _smallest_per_crystal(batch: GraphBatch, scores: Tensor, counts: Tensor) -> Tensor:
    """The counts[k] sites of lowest score of each crystal k, (A,) bool."""
    order = torch.argsort(scores.double() + 2.0 * batch.crystal)  # scores lie in [0, 1): crystals stay together
    first = torch.cumsum(batch.num_sites, 0) - batch.num_sites
    rank = torch.arange(batch.total_sites, device=first.device) - first[batch.crystal]
    chosen = torch.zeros_like(batch.crystal, dtype=torch.bool)
    chosen[order[rank < counts[batch.crystal]]] = True
    return chosen


def edges_at(batch: GraphBatch, sites: Tensor) -> Tensor:
    """Edges that start or end at one of the sites, (E,) bool: a distance is hidden only if its way back is too."""
    return sites[batch.center] | sites[batch.neighbor]


def masked(batch: GraphBatch, sites: Tensor | None = None, edges: Tensor | None = None) -> GraphBatch:
    """The batch with the elements of sites and the distances of edges hidden from the encoder."""
    return replace(batch, masked_sites=sites, masked_edges=edges)


@renamed_arguments(share="mask_rate")
def random_view(batch: GraphBatch, mask_rate: float, generator: torch.Generator) -> GraphBatch:
    """A view for contrastive learning: a random part of the sites and of the edges is masked.

    Kong et al. put the crystal's mean vector in their place; a learned token is put here. Their supercell is left out:
    this encoder gives a crystal and its supercell one vector.
    """
    sites = _draw(batch.total_sites, generator, batch) < mask_rate
    edges = _draw(len(batch.distance), generator, batch) < mask_rate
    return masked(batch, sites, edges)


def displaced(batch: GraphBatch, sigma: float, generator: torch.Generator) -> tuple[GraphBatch, Tensor]:
    """A view in which every site is moved at random, and how much longer that makes each edge, (E,) Å.

    To first order: the part of the two ends' shift along the edge. Periodic images of a site move together.

    Parameters
    ----------
    batch : GraphBatch
    sigma : float
        Standard deviation of the shift along each axis, Å.
    generator : torch.Generator
    """
    shift = sigma * torch.randn(batch.total_sites, 3, generator=generator).to(batch.distance.device)
    change = ((shift[batch.neighbor] - shift[batch.center]) * batch.direction).sum(1)
    change = torch.maximum(change, -0.5 * batch.distance)  # a distance stays one
    return replace(batch, distance=batch.distance + change), change


__getattr__ = renamed_names(__name__, {"hide": masked})
