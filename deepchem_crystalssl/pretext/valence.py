"""Oxidation states and unpaired electrons, as far as distances tell them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..crystals.elements import bond_valence_parameters, element_table
from ..nn.message_passing import GraphBatch
from .views import site_elements


def bond_valences(batch: GraphBatch) -> Tensor:
    r"""Bond-valence sum of every site: its oxidation state, where bonds are ionic.

    .. math:: V_i = \sum_{j \to i} s_{ij}\, e^{(R_{ij} - d_{ij}) / 0.37}, \qquad
              s_{ij} = \tanh \frac{c_j - c_i}{0.5}

    :math:`R_{ij}` is that of :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`. The sign
    is soft: a bond between equals carries no charge.

    Parameters
    ----------
    batch : GraphBatch

    Returns
    -------
    Tensor
        (A,), positive for cations.
    """
    z = site_elements(batch)
    r, c = torch.tensor(bond_valence_parameters(), device=z.device).unbind(1)
    i, j = z[batch.center], z[batch.neighbor]
    softness = (c[i].sqrt() - c[j].sqrt()) ** 2 / (c[i] * r[i] + c[j] * r[j])
    length = r[i] + r[j] - r[i] * r[j] * softness
    valence = torch.tanh((c[j] - c[i]) / 0.5) * torch.exp((length - batch.distance) / 0.37)
    return torch.zeros_like(z, dtype=valence.dtype).index_add_(0, batch.center, valence)


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
