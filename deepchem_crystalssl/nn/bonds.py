"""What a chemist reads off distances: bonds, their valence, oxidation states, unpaired electrons, rattling.

Nothing here knows an element that is hidden, nor a distance that is: views for masking can be looked at too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..crystals.elements import bond_valence_parameters, element_table
from .._renamed import renamed_names
from .graph_batch import GraphBatch, once_per_batch
from .links import sum_to_centers
from .message_passing import sum_species

_SINGLE_BOND = 2.5
"""Where a single bond lies among distances counted from it, Å: the middle of what tables over distance resolve well."""


def site_elements(batch: GraphBatch) -> Tensor:
    """Atomic number of each site, (A,); of a mixed site, of one of its species."""
    z = torch.zeros_like(batch.crystal)
    return z.scatter_(0, batch.species_site, batch.atomic_numbers)


def of_elements(batch: GraphBatch, table: np.ndarray) -> Tensor:
    """Columns of a table over elements, by site: (119, F) to (A, F).

    A mixed site counts as the mean of its species, one whose element is hidden as the mean of all elements.
    """
    values = torch.tensor(table, dtype=torch.float32, device=batch.crystal.device)
    of_sites = sum_species(batch, values) / sum_species(batch, torch.ones_like(values[:, :1]))
    if batch.masked_sites is not None:
        of_sites = torch.where(batch.masked_sites[:, None], values[1:].mean(0), of_sites)
    return of_sites


@once_per_batch
def single_bond_lengths(batch: GraphBatch) -> Tensor:
    """Length of a bond of valence one between the elements at the ends of every edge, (E,) Å.

    See :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`.
    """
    r, c = of_elements(batch, bond_valence_parameters()).unbind(1)
    root = c.sqrt()
    i, j = batch.center, batch.neighbor
    softness = (root[i] - root[j]) ** 2 / (c[i] * r[i] + c[j] * r[j])
    return r[i] + r[j] - r[i] * r[j] * softness


def counted_from_single_bonds(batch: GraphBatch) -> GraphBatch:
    """The batch with every distance counted from the length of a single bond between the two elements.

    How strong a bond is then lies in the distance itself, and need not be learned pair by pair.
    """
    return replace(batch, distance=batch.distance - single_bond_lengths(batch) + _SINGLE_BOND)


@once_per_batch
def bond_valences(batch: GraphBatch) -> Tensor:
    r"""Valence of every edge's bond, :math:`v_{ij} = e^{(R_{ij} - d_{ij}) / 0.37}`, (E,).

    :math:`R_{ij}` is that of :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`. A hidden distance
    counts as no bond.
    """
    strengths = torch.exp((single_bond_lengths(batch) - batch.distance) / 0.37)
    return strengths if batch.masked_edges is None else strengths.masked_fill(batch.masked_edges, 0.0)


def bond_valence_sums(batch: GraphBatch) -> Tensor:
    r"""Bond-valence sum of every site: its oxidation state, where bonds are ionic.

    .. math:: V_i = \sum_{j \to i} v_{ij} \tanh \frac{c_j - c_i}{0.5}

    The sign is soft: a bond between equals carries no charge.

    Parameters
    ----------
    batch : GraphBatch

    Returns
    -------
    Tensor
        (A,), positive for cations.
    """
    return sum_to_centers(batch, (bond_valences(batch) * polarity(batch))[:, None])[:, 0]


@once_per_batch
def polarity(batch: GraphBatch) -> Tensor:
    """Which end of every edge's bond holds the electrons, (E,): from 1, the neighbour, to -1, the centre."""
    c = of_elements(batch, bond_valence_parameters())[:, 1]
    return torch.tanh((c[batch.neighbor] - c[batch.center]) / 0.5)


def rattling_frequencies(batch: GraphBatch) -> Tensor:
    r"""How fast every site would swing among its neighbours: strong bonds and a small mass.

    .. math:: \omega_i = \Big(\frac{1}{m_i} \sum_{j \to i} v_{ij}\Big)^{1/2}

    The Einstein frequency of a site held by springs as stiff as its bonds are valent, in units of
    (valence / 10 atomic mass units)^1/2.

    Parameters
    ----------
    batch : GraphBatch

    Returns
    -------
    Tensor
        (A,).
    """
    stiffness = sum_to_centers(batch, bond_valences(batch)[:, None])[:, 0]
    return (10.0 * stiffness / of_elements(batch, by_atomic_number("mass_u")[:, None])[:, 0]).sqrt()


def unpaired_electrons(batch: GraphBatch, valences: Tensor) -> Tensor:
    """Electrons that Hund's rule leaves unpaired in the open d or f shell of an ion of this valence.

    Parameters
    ----------
    batch : GraphBatch
    valences : Tensor
        (A,), as :func:`bond_valence_sums` gives them.

    Returns
    -------
    Tensor
        (A,); 0 outside the d and f blocks, and where the element is hidden.
    """
    z, block = site_elements(batch), element_table()["block"]
    if batch.masked_sites is not None:
        z = z.masked_fill(batch.masked_sites, 0)
    size, group = (
        torch.tensor(np.concatenate([[0], np.nan_to_num(column)]), dtype=torch.float32, device=z.device)[z]
        for column in (np.select([block == "d", block == "f"], [10, 14]), element_table()["group"])
    )
    noble = torch.where(z > 86, 86, 54)  # an f shell begins behind it: n electrons outside, of which V are gone
    outside = torch.where(size == 14, (z - noble).float(), group)
    electrons = (outside - valences.clamp(min=0.0)).clamp(min=0.0)
    electrons = torch.minimum(electrons, size)
    return torch.minimum(electrons, size - electrons)


def by_atomic_number(name: str, unknown: float | None = None) -> np.ndarray:
    """A column of the element table with a row 0, (119,); what is not known is the median of what is, or as given."""
    column = element_table()[name]
    filled = np.where(np.isnan(column), np.nanmedian(column) if unknown is None else unknown, column)
    return np.concatenate([[0.0], filled]).astype(np.float32)


__getattr__ = renamed_names(__name__, {"bond_strengths": bond_valences})
