"""Oxidation states, unpaired electrons and rattling, as far as distances tell them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..crystals.elements import bond_valence_parameters, element_table
from ..nn.bonds import single_bond_lengths, site_elements
from ..nn.message_passing import GraphBatch, sum_to_centers


def bond_strengths(batch: GraphBatch) -> Tensor:
    r"""Valence of every edge's bond, :math:`v_{ij} = e^{(R_{ij} - d_{ij}) / 0.37}`, (E,).

    :math:`R_{ij}` is that of :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`.
    """
    return torch.exp((single_bond_lengths(batch) - batch.distance) / 0.37)


def bond_valences(batch: GraphBatch) -> Tensor:
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
    z = site_elements(batch)
    c = torch.tensor(bond_valence_parameters(), device=z.device)[:, 1]
    charge = bond_strengths(batch) * torch.tanh((c[z[batch.neighbor]] - c[z[batch.center]]) / 0.5)
    return sum_to_centers(batch, charge[:, None])[:, 0]


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
    stiffness = sum_to_centers(batch, bond_strengths(batch)[:, None])[:, 0]
    return (10.0 * stiffness / _of_sites(batch, element_table()["mass_u"])).sqrt()


def unpaired_electrons(batch: GraphBatch, valences: Tensor) -> Tensor:
    """Electrons that Hund's rule leaves unpaired in the open d or f shell of an ion of this valence.

    Parameters
    ----------
    batch : GraphBatch
    valences : Tensor
        (A,), as :func:`bond_valences` gives them.

    Returns
    -------
    Tensor
        (A,); 0 outside the d and f blocks.
    """
    z, table = site_elements(batch), element_table()
    group = _of_sites(batch, table["group"])
    size = _of_sites(batch, np.select([table["block"] == "d", table["block"] == "f"], [10, 14]))
    noble = torch.where(z > 86, 86, 54)  # an f shell begins behind it: n electrons outside, of which V are gone
    outside = torch.where(size == 14, (z - noble).float(), group.nan_to_num())
    electrons = (outside - valences.clamp(min=0.0)).clamp(min=0.0)
    electrons = torch.minimum(electrons, size)
    return torch.minimum(electrons, size - electrons)


def _of_sites(batch: GraphBatch, column: np.ndarray) -> Tensor:
    """A column of the element table, by site: (118,) to (A,)."""
    values = torch.as_tensor(column, dtype=torch.float32, device=batch.crystal.device)
    return values[site_elements(batch) - 1]
