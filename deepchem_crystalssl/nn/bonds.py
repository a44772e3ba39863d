"""Bond valences from distances, and what follows: bond-valence sums, unpaired electrons, rattling frequencies.

Masked elements and masked distances do not enter, so that all functions can be applied to masked views of a batch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..crystals.elements import bond_valence_parameters, element_table
from .._names import renamed_names
from .graph_batch import GraphBatch, once_per_batch
from .links import sum_to_centers
from .message_passing import sum_species

_SINGLE_BOND = 2.5
"""Value of a relative distance at the length of a single bond, Å: where the tables over distance resolve well."""


def site_elements(batch: GraphBatch) -> Tensor:
    """Atomic number of each site, (A,) int64; for a mixed site, that of one of its species."""
    z = torch.zeros_like(batch.crystal)
    return z.scatter_(0, batch.species_site, batch.atomic_numbers)


def of_elements(batch: GraphBatch, table: np.ndarray) -> Tensor:
    """Values of the sites from a table over the elements, (119, F) to (A, F).

    A mixed site has the mean of its species, weighted by occupancy. A site whose element is masked has the mean of all
    elements.
    """
    values = torch.tensor(table, dtype=torch.float32, device=batch.crystal.device)
    of_sites = sum_species(batch, values) / sum_species(batch, torch.ones_like(values[:, :1]))
    if batch.masked_sites is not None:
        of_sites = torch.where(batch.masked_sites[:, None], values[1:].mean(0), of_sites)
    return of_sites


@once_per_batch
def single_bond_lengths(batch: GraphBatch) -> Tensor:
    """Length that a bond of valence one has between the two elements of each edge, (E,) Å.

    See :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`.
    """
    r, c = of_elements(batch, bond_valence_parameters()).unbind(1)
    root = c.sqrt()
    i, j = batch.center, batch.neighbor
    softness = (root[i] - root[j]) ** 2 / (c[i] * r[i] + c[j] * r[j])
    return r[i] + r[j] - r[i] * r[j] * softness


def counted_from_single_bonds(batch: GraphBatch) -> GraphBatch:
    """The batch with each distance given relative to the length of a single bond between the two elements.

    The strength of a bond then follows from the distance itself, and need not be learned for each pair of elements.
    """
    return replace(batch, distance=batch.distance - single_bond_lengths(batch) + _SINGLE_BOND)


@once_per_batch
def bond_valences(batch: GraphBatch) -> Tensor:
    r"""Bond valence of each edge, :math:`v_{ij} = e^{(R_{ij} - d_{ij}) / 0.37}`, (E,).

    :math:`R_{ij}` is that of :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`. A masked distance
    has bond valence 0.
    """
    strengths = torch.exp((single_bond_lengths(batch) - batch.distance) / 0.37)
    return strengths if batch.masked_edges is None else strengths.masked_fill(batch.masked_edges, 0.0)


def bond_valence_sums(batch: GraphBatch) -> Tensor:
    r"""Bond-valence sum of each site, which is its oxidation state if the bonds are ionic.

    .. math:: V_i = \sum_{j \to i} v_{ij} \tanh \frac{c_j - c_i}{0.5}

    where c are electronegativities. The sign is smooth, because a bond between equal elements transfers no charge.

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
    """Charge transfer along each edge, (E,): 1 if the neighbour takes the electrons, -1 if the centre does."""
    c = of_elements(batch, bond_valence_parameters())[:, 1]
    return torch.tanh((c[batch.neighbor] - c[batch.center]) / 0.5)


def rattling_frequencies(batch: GraphBatch) -> Tensor:
    r"""Einstein frequency of each site, from the valence of its bonds and its mass.

    .. math:: \omega_i = \Big(\frac{1}{m_i} \sum_{j \to i} v_{ij}\Big)^{1/2}

    The site is taken as held by springs whose stiffness is the bond valence. The unit is
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
    """Number of electrons that Hund's rule leaves unpaired in the open d or f shell of an ion of this valence.

    Parameters
    ----------
    batch : GraphBatch
    valences : Tensor
        (A,), as returned by :func:`bond_valence_sums`.

    Returns
    -------
    Tensor
        (A,); 0 outside the d and f blocks, and for masked elements.
    """
    z, block = site_elements(batch), element_table()["block"]
    if batch.masked_sites is not None:
        z = z.masked_fill(batch.masked_sites, 0)
    size, group = (
        torch.tensor(np.concatenate([[0], np.nan_to_num(column)]), dtype=torch.float32, device=z.device)[z]
        for column in (np.select([block == "d", block == "f"], [10, 14]), element_table()["group"])
    )
    noble = torch.where(z > 86, 86, 54)  # noble gas before the f shell; V of the electrons after it are given away
    outside = torch.where(size == 14, (z - noble).float(), group)
    electrons = (outside - valences.clamp(min=0.0)).clamp(min=0.0)
    electrons = torch.minimum(electrons, size)
    return torch.minimum(electrons, size - electrons)


def by_atomic_number(name: str, unknown: float | None = None) -> np.ndarray:
    """A column of the element table by atomic number, (119,); unknown values are the median, or as given."""
    column = element_table()[name]
    filled = np.where(np.isnan(column), np.nanmedian(column) if unknown is None else unknown, column)
    return np.concatenate([[0.0], filled]).astype(np.float32)


__getattr__ = renamed_names(__name__, {"bond_strengths": bond_valences})
