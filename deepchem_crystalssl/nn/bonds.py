"""Distances as bonds: how long a single bond between two elements is."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..crystals.elements import bond_valence_parameters
from .message_passing import GraphBatch

_SINGLE_BOND = 2.5
"""Where a single bond lies among distances counted from it, Å: the middle of what tables over distance resolve well."""


def site_elements(batch: GraphBatch) -> Tensor:
    """Atomic number of each site, (A,); of a mixed site, of one of its species."""
    z = torch.zeros_like(batch.crystal)
    return z.scatter_(0, batch.species_site, batch.atomic_numbers)


def single_bond_lengths(batch: GraphBatch) -> Tensor:
    """Length of a bond of valence one between the elements at the ends of every edge, (E,) Å.

    See :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`. A site whose element is hidden counts as
    an average one, so that the length does not give it away.
    """
    z = site_elements(batch)
    parameters = torch.tensor(bond_valence_parameters(), device=z.device)
    parameters[0] = parameters[1:].mean(0)
    if batch.masked_sites is not None:
        z = z.masked_fill(batch.masked_sites, 0)
    r, c = parameters.unbind(1)
    i, j = z[batch.center], z[batch.neighbor]
    softness = (c[i].sqrt() - c[j].sqrt()) ** 2 / (c[i] * r[i] + c[j] * r[j])
    return r[i] + r[j] - r[i] * r[j] * softness


def counted_from_single_bonds(batch: GraphBatch) -> GraphBatch:
    """The batch with every distance counted from the length of a single bond between the two elements.

    How strong a bond is then lies in the distance itself, and need not be learned pair by pair.
    """
    return replace(batch, distance=batch.distance - single_bond_lengths(batch) + _SINGLE_BOND)
