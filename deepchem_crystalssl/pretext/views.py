"""Views of a batch, as pure functions: crystals with masked elements and distances, or with displaced sites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..nn.bonds import site_elements
from ..nn.graph_batch import GraphBatch
from ..nn.ranks import Axis
from .._names import renamed_arguments, renamed_names


@renamed_arguments(share="mask_rate")
def choose_sites(batch: GraphBatch, mask_rate: float, generator: torch.Generator) -> Tensor:
    """Choose int(mask_rate N + 1) of the N sites of each crystal at random (Kong et al. 2024).

    Parameters
    ----------
    batch : GraphBatch
    mask_rate : float
        0.15 in the paper.
    generator : torch.Generator

    Returns
    -------
    Tensor
        (A,) bool.
    """
    counts = (mask_rate * batch.num_sites + 1).long().clamp(max=batch.num_sites)
    return _smallest_per_crystal(batch, drawn(batch, "sites", generator), counts)


def choose_species(batch: GraphBatch, generator: torch.Generator) -> Tensor:
    """Choose all sites of one element in each crystal, so that no equivalent atom remains to copy from, (A,) bool.

    In a crystal of a single element, one random site is left out of the choice, if there is more than one.
    """
    z = site_elements(batch)
    one = _smallest_per_crystal(batch, drawn(batch, "sites", generator), torch.ones_like(batch.num_sites))
    chosen_element = torch.zeros_like(batch.num_sites)
    chosen_element[batch.crystal[one]] = z[one]
    chosen = z == chosen_element[batch.crystal]
    everything = torch.bincount(batch.crystal[chosen], minlength=len(batch)) == batch.num_sites
    kept = one & (everything & (batch.num_sites > 1))[batch.crystal]
    return chosen & ~kept


def drawn(
    batch: GraphBatch,
    along: Axis,
    generator: torch.Generator,
    *shape: int,
    sample: Callable[..., Tensor] = torch.rand,
) -> Tensor:
    r"""Random numbers for each crystal, site or edge of a batch, the first axis, and of a shape for each of them.

    They are drawn on the CPU, so that they are the same on every device, and for the whole batch if processes share it,
    so that each has its part of what one process would draw.

    Parameters
    ----------
    batch : GraphBatch
    along : {"crystals", "sites", "edges"}
    generator : torch.Generator
    \*shape : int
        Of what is drawn for each of them.
    sample : callable
        ``torch.rand`` or ``torch.randn``.
    """
    own = {"crystals": len(batch), "sites": batch.total_sites, "edges": len(batch.distance)}
    n = own[along] if batch.share.is_whole else batch.share.length(along)
    return batch.share.own(sample(n, *shape, generator=generator), along).to(batch.crystal.device)


def _smallest_per_crystal(batch: GraphBatch, scores: Tensor, counts: Tensor) -> Tensor:
    """The counts[k] sites with the lowest scores in each crystal k, (A,) bool."""
    order = torch.argsort(
        scores.double() + 2.0 * batch.crystal
    )  # scores lie in [0, 1), so the order keeps crystals together
    first = torch.cumsum(batch.num_sites, 0) - batch.num_sites
    rank = torch.arange(batch.total_sites, device=first.device) - first[batch.crystal]
    chosen = torch.zeros_like(batch.crystal, dtype=torch.bool)
    chosen[order[rank < counts[batch.crystal]]] = True
    return chosen


def edges_at(batch: GraphBatch, sites: Tensor) -> Tensor:
    """Edges that begin or end at one of the sites, (E,) bool. Each distance is chosen in both directions."""
    return sites[batch.center] | sites[batch.neighbor]


def masked(batch: GraphBatch, sites: Tensor | None = None, edges: Tensor | None = None) -> GraphBatch:
    """The batch with the elements of some sites and the distances of some edges masked.

    Parameters
    ----------
    batch : GraphBatch
    sites, edges : Tensor, optional
        (A,) and (E,) bool; what is masked.
    """
    return replace(batch, masked_sites=sites, masked_edges=edges)


@renamed_arguments(share="mask_rate")
def random_view(batch: GraphBatch, mask_rate: float, generator: torch.Generator) -> GraphBatch:
    """A view for contrastive learning, in which each site and each edge is masked with probability ``mask_rate``.

    A learned token takes the place of what is masked, where Kong et al. (2024) use the mean vector of the crystal.
    Their supercells are not used, because this encoder gives a crystal and its supercell the same vector.
    """
    sites = drawn(batch, "sites", generator) < mask_rate
    edges = drawn(batch, "edges", generator) < mask_rate
    return masked(batch, sites, edges)


def displaced(batch: GraphBatch, sigma: float, generator: torch.Generator) -> tuple[GraphBatch, Tensor]:
    """A view in which every site is displaced at random, and the change of each distance, (E,) Å.

    The change is computed to first order, from the component of the displacements along the edge. Periodic images of a
    site are displaced together.

    Parameters
    ----------
    batch : GraphBatch
    sigma : float
        Standard deviation of the displacement along each axis, Å.
    generator : torch.Generator
    """
    shift = sigma * drawn(batch, "sites", generator, 3, sample=torch.randn)
    change = ((shift[batch.neighbor] - shift[batch.center]) * batch.direction).sum(1)
    change = torch.maximum(change, -0.5 * batch.distance)  # distances stay positive
    return replace(batch, distance=batch.distance + change), change


def noised(batch: GraphBatch, shift: Tensor, strain: Tensor) -> GraphBatch:
    """A view in which every site is displaced and then the whole crystal is strained.

    The edges are those of the batch, so that whole shells stay whole and edges do not tell where a site was;
    distances, directions and volumes are those of the new positions.

    Parameters
    ----------
    batch : GraphBatch
    shift : Tensor
        (A, 3), displacement of each site, Å.
    strain : Tensor
        (B, 3, 3), symmetric.
    """
    assert batch.lattice is not None and batch.frac_coords is not None
    assert batch.image is not None and batch.volume is not None
    inverse = torch.linalg.inv(batch.lattice)
    moved = batch.frac_coords + torch.einsum("na,nab->nb", shift, inverse[batch.crystal])
    stretched = torch.eye(3, device=strain.device) + strain
    lattice = batch.lattice @ stretched
    along = batch.image.to(moved.dtype) + moved[batch.neighbor] - moved[batch.center]
    vectors = torch.einsum("na,nab->nb", along, lattice[batch.crystal[batch.center]])
    distance = vectors.norm(dim=1).clamp(min=_NEAREST)
    volume = batch.volume * torch.linalg.det(stretched)
    return replace(batch, frac_coords=moved, lattice=lattice, distance=distance, volume=volume)


_NEAREST = 0.3
"""Where noise makes two atoms meet, they are taken to be this far apart, Å."""


__getattr__ = renamed_names(__name__, {"hide": masked})
