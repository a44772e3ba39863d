"""Oxidation states and unpaired electrons, as far as distances tell them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..crystals.elements import bond_valence_parameters, element_table
from ..nn.bonds import single_bond_lengths, site_elements
from ..nn.message_passing import GraphBatch


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
    return torch.zeros_like(z, dtype=charge.dtype).index_add_(0, batch.center, charge)


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
    z = site_elements(batch)
    mass = torch.ones(len(element_table()["mass_u"]) + 1, device=z.device)
    mass[1:] = torch.as_tensor(element_table()["mass_u"], dtype=torch.float32)
    stiffness = torch.zeros_like(z, dtype=torch.float32).index_add_(0, batch.center, bond_strengths(batch))
    return (10.0 * stiffness / mass[z]).sqrt()


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
    z = site_elements(batch)
    table = element_table()
    group = torch.zeros(len(table["group"]) + 1, device=z.device)
    group[1:] = torch.as_tensor(table["group"], dtype=torch.float32)
    block = torch.zeros(len(group), dtype=torch.long, device=z.device)
    block[1:] = torch.as_tensor([{"d": 10, "f": 14}.get(b, 0) for b in table["block"].tolist()])
    size = block[z]
    noble = torch.where(z > 86, 86, 54)  # an f shell begins behind it: n electrons outside, of which V are gone
    outside = torch.where(size == 14, (z - noble).float(), group[z].nan_to_num())
    electrons = (outside - valences.clamp(min=0.0)).clamp(min=0.0)
    electrons = torch.minimum(electrons, size.float())
    return torch.minimum(electrons, size - electrons)
