"""Views of a batch: what is hidden from the encoder. Pure functions; hidden inputs are truly hidden."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..nn.message_passing import GraphBatch


def choose_sites(batch: GraphBatch, share: float, generator: torch.Generator) -> Tensor:
    """Random sites, int(share N + 1) of each crystal's N (Kong et al. 2024).

    Parameters
    ----------
    batch : GraphBatch
    share : float
        0.15 there.
    generator : torch.Generator

    Returns
    -------
    Tensor
        (A,) bool.
    """
    counts = (share * batch.num_sites + 1).long().clamp(max=batch.num_sites)
    return _smallest_per_crystal(batch, torch.rand(batch.total_sites, generator=generator), counts)


def choose_species(batch: GraphBatch, generator: torch.Generator) -> Tensor:
    """All sites of one element of each crystal: none of its kind is left to copy from.

    A crystal of one element keeps one random site visible, if it has more than one.
    """
    z = torch.zeros(batch.total_sites, dtype=torch.long).scatter_(0, batch.species_site, batch.atomic_numbers)
    drawn = _smallest_per_crystal(
        batch, torch.rand(batch.total_sites, generator=generator), torch.ones_like(batch.num_sites)
    )
    chosen_element = torch.zeros(len(batch), dtype=torch.long)
    chosen_element[batch.crystal[drawn]] = z[drawn]
    chosen = z == chosen_element[batch.crystal]
    everything = torch.bincount(batch.crystal[chosen], minlength=len(batch)) == batch.num_sites
    kept = drawn & (everything & (batch.num_sites > 1))[batch.crystal]
    return chosen & ~kept


def _smallest_per_crystal(batch: GraphBatch, scores: Tensor, counts: Tensor) -> Tensor:
    """The counts[k] sites of lowest score of each crystal k, (A,) bool."""
    order = torch.argsort(scores + 2.0 * batch.crystal)  # scores lie in [0, 1): crystals stay together
    first = torch.cumsum(batch.num_sites, 0) - batch.num_sites
    rank = torch.arange(batch.total_sites) - first[batch.crystal]
    chosen = torch.zeros(batch.total_sites, dtype=torch.bool)
    chosen[order[rank < counts[batch.crystal]]] = True
    return chosen


def edges_at(batch: GraphBatch, sites: Tensor) -> Tensor:
    """Edges that start or end at one of the sites, (E,) bool: a distance is hidden only if its way back is too."""
    return sites[batch.center] | sites[batch.neighbor]


def hide(batch: GraphBatch, sites: Tensor | None = None, edges: Tensor | None = None) -> GraphBatch:
    """The batch with the elements of sites and the distances of edges hidden from the encoder."""
    return replace(batch, masked_sites=sites, masked_edges=edges)


def random_view(batch: GraphBatch, share: float, generator: torch.Generator) -> GraphBatch:
    """A view for contrastive learning: a share of the sites and of the edges hidden at random.

    Kong et al. put the crystal's mean vector in their place; a learned token is put here. Their supercell is left out:
    this encoder gives a crystal and its supercell one vector.
    """
    sites = torch.rand(batch.total_sites, generator=generator) < share
    edges = torch.rand(len(batch.distance), generator=generator) < share
    return hide(batch, sites, edges)


def same_crystals(batch: GraphBatch, tolerance: float = 1e-4) -> Tensor:
    """Which crystals of a batch are one, (B, B) bool: equal mean element, volume per site and mean distances.

    Told by numbers that do not depend on the cell, so that a crystal and its supercell count as one.
    """
    assert batch.volume is not None
    z = torch.zeros(len(batch)).index_add_(
        0, batch.crystal[batch.species_site], batch.atomic_numbers.float() ** 1.5 * batch.occupancy
    )
    edge_crystal = batch.crystal[batch.center]
    distances = [torch.zeros(len(batch)).index_add_(0, edge_crystal, batch.distance**k) for k in (1, 3)]
    numbers = torch.stack([z, batch.volume, *distances], 1) / batch.num_sites[:, None]
    scale = numbers.abs().amax(1).clamp(min=1e-6)
    difference = (numbers[:, None] - numbers[None]).abs().amax(2)
    return difference <= tolerance * torch.minimum(scale[:, None], scale[None])
