"""Layers shared by the encoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .message_passing import TABLE_REACH, TABLE_ROWS, GraphBatch, gated_sum
from .normalization import BatchRenorm


class GaussianExpansion(nn.Module):
    r"""Distances on a row of Gaussians, :math:`e_k = \exp(-((d - \mu_k) / \Delta)^2)` (Xie and Grossman 2018).

    Parameters
    ----------
    start, stop : float
        First and last centre, Å.
    n_centers : int
        Number of centres; their spacing is the width.

    Examples
    --------
    >>> GaussianExpansion()(torch.tensor([2.35])).shape
    torch.Size([1, 41])
    """

    centers: Tensor

    def __init__(self, start: float = 0.0, stop: float = 8.0, n_centers: int = 41):
        super().__init__()
        self.register_buffer("centers", torch.linspace(start, stop, n_centers), persistent=False)
        self.width = (stop - start) / (n_centers - 1)

    def forward(self, distance: Tensor) -> Tensor:
        """(E,) to (E, n_centers)."""
        return torch.exp(-(((distance[:, None] - self.centers) / self.width) ** 2))


class CrystalConvolution(nn.Module):
    r"""The crystal-graph convolution (Xie and Grossman 2018), with own neighbours as senders.

    .. math::
        z_{ij} &= W_c x_i + W_n x_j + W_e e(d_{ij}) + b \\
        x_i &\leftarrow \mathrm{softplus}\Big(x_i + \mathrm{BRN}\sum_{j \in N(i)}
                 \sigma(z^{\mathrm{gate}}_{ij}) \odot \mathrm{softplus}(z^{\mathrm{core}}_{ij})\Big)

    The linear map of the concatenated :math:`[x_i, x_j, e_{ij}]` is split, so that the atoms are mapped before
    they are gathered, and the edge's part :math:`W_e e(d)` is a table over distance, read by linear interpolation
    between rows 0.01 Å apart. A hidden distance has a learned row of its own. BRN is
    :class:`~deepchem_crystalssl.nn.normalization.BatchRenorm` over sites, in the place of their BatchNorm, whose running
    statistics ruin the result.

    Parameters
    ----------
    width : int
        Size of the site vectors.
    """

    table_expansion: Tensor

    def __init__(self, width: int):
        super().__init__()
        expansion = GaussianExpansion()(torch.linspace(0.0, TABLE_REACH, TABLE_ROWS))
        self.register_buffer("table_expansion", expansion, persistent=False)
        self.from_center = nn.Linear(width, 2 * width)
        self.from_neighbor = nn.Linear(width, 2 * width, bias=False)
        self.from_edge = nn.Linear(expansion.shape[1], 2 * width, bias=False)
        self.hidden_edge = nn.Parameter(torch.zeros(2 * width))
        self.norm = BatchRenorm(width)

    def forward(self, batch: GraphBatch, sites: Tensor) -> Tensor:
        """(A, width) to (A, width)."""
        table = torch.cat([self.from_edge(self.table_expansion), self.hidden_edge.expand(2, -1)])
        messages = gated_sum(batch, self.from_center(sites), self.from_neighbor(sites), table)
        return F.softplus(sites + self.norm(messages))


def head_widths(n_inputs: int, hidden: int | Sequence[int], n_outputs: int) -> list[int]:
    """Widths of a head with one hidden layer, or several."""
    return [n_inputs, *([hidden] if isinstance(hidden, int) else hidden), n_outputs]


def mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with normalisation and SiLU between them, none after the last."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(n_in, n_out), BatchRenorm(n_out), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
