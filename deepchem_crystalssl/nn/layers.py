"""Layers shared by the encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .graph_batch import TABLE_REACH, TABLE_ROWS, GraphBatch
from .message_passing import directed_sum, gated_sum
from .normalization import BatchRenorm


class GaussianExpansion(nn.Module):
    r"""Expansion in evenly spaced Gaussians, :math:`e_k = \exp(-((d - \mu_k) / \Delta)^2)` (Xie and Grossman 2018).

    Parameters
    ----------
    start, stop : float
        First and last centre, Å.
    n_centers : int
        Number of centres; the width of the Gaussians is their spacing.

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
    r"""The crystal-graph convolution (Xie and Grossman 2018): each site receives messages from its own neighbours.

    .. math::
        z_{ij} &= W_c x_i + W_n x_j + W_e e(d_{ij}) + b \\
        x_i &\leftarrow \mathrm{softplus}\Big(x_i + \mathrm{BRN}\sum_{j \in N(i)}
                 \sigma(z^{\mathrm{gate}}_{ij}) \odot \mathrm{softplus}(z^{\mathrm{core}}_{ij})\Big)

    The linear map of the concatenated :math:`[x_i, x_j, e_{ij}]` is split, so that sites are mapped before they are
    gathered along the edges. The edge's part :math:`W_e e(d)` is read from a table over distance, by linear
    interpolation between rows 0.01 Å apart. A masked distance has a learned row of its own. BRN is
    :class:`~deepchem_crystalssl.nn.normalization.BatchRenorm` over sites, and takes the place of their BatchNorm.

    Parameters
    ----------
    width : int
        Size of the site vectors.
    angles : bool
        Whether :class:`AngularMoments` of the neighbourhood are added to the messages.
    """

    table_expansion: Tensor

    def __init__(self, width: int, angles: bool = False):
        super().__init__()
        expansion = GaussianExpansion()(torch.linspace(0.0, TABLE_REACH, TABLE_ROWS))
        self.register_buffer("table_expansion", expansion, persistent=False)
        self.from_center = nn.Linear(width, 2 * width)
        self.from_neighbor = nn.Linear(width, 2 * width, bias=False)
        self.from_edge = nn.Linear(expansion.shape[1], 2 * width, bias=False)
        self.edge_mask_token = nn.Parameter(torch.zeros(2 * width))
        self.norm = BatchRenorm(width)
        self.angular = AngularMoments(width) if angles else None

    def forward(self, batch: GraphBatch, sites: Tensor) -> Tensor:
        """(A, width) to (A, width)."""
        table = torch.cat([self.from_edge(self.table_expansion), self.edge_mask_token.expand(2, -1)])
        messages = self.norm(gated_sum(batch, self.from_center(sites), self.from_neighbor(sites), table))
        if self.angular is not None:
            messages = messages + self.angular(batch, sites, self.table_expansion)
        return F.softplus(sites + messages)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Take the mask token under the name it had in earlier weights, too."""
        take_renamed(state_dict, prefix, "hidden_edge", "edge_mask_token")
        super()._load_from_state_dict(state_dict, prefix, *args)


def take_renamed(state_dict: dict[str, Tensor], prefix: str, old: str, new: str) -> None:
    """Rename a tensor of a state that was saved when a parameter had its old name."""
    if prefix + old in state_dict:
        state_dict[prefix + new] = state_dict.pop(prefix + old)


class AngularMoments(nn.Module):
    r"""The angles between the neighbours of a site, at the cost of a sum over edges instead of pairs of edges.

    .. math::
        a_i^{lmc} &= \sum_{j \in N(i)} Y_{lm}(\hat r_{ij}) \, t_c(d_{ij}) \, (W_n x_j)_c \\
        p_i^{lc} &= \Big(\sum_m (a_i^{lmc})^2\Big)^{1/2}
                 = \Big(\sum_{j,k \in N(i)} t_c t'_c \, (W_n x_j)_c (W_n x_k)_c \,
                   P_l(\cos\theta_{jik})\Big)^{1/2}

    The second equality is the addition theorem of spherical harmonics: each pair of neighbours enters with the Legendre
    polynomials of its angle, and the sum is invariant under rotations. This is the power spectrum of Bartók et al.
    (2013), with learned radial functions and learned element vectors. Edges whose distance is masked take no part.

    Parameters
    ----------
    width : int
        Size of the site vectors.
    channels : int
        C, the number of channels.
    max_degree : int
        Largest l, from 1 to 4.
    """

    def __init__(self, width: int, channels: int = 8, max_degree: int = 4):
        super().__init__()
        self.max_degree = max_degree
        self.from_neighbor = nn.Linear(width, channels, bias=False)
        self.from_edge = nn.Linear(GaussianExpansion().centers.shape[0], channels, bias=False)
        self.norm = BatchRenorm(channels * max_degree)
        self.mix = nn.Linear(channels * max_degree, width, bias=False)

    def forward(self, batch: GraphBatch, sites: Tensor, table_expansion: Tensor) -> Tensor:
        """(A, width) to (A, width)."""
        table = F.pad(self.from_edge(table_expansion), (0, 0, 0, 2))
        moments = directed_sum(batch, self.from_neighbor(sites), table, self.max_degree)
        degrees = moments.square().split([2 * degree + 1 for degree in range(1, self.max_degree + 1)], dim=1)
        powers = torch.cat([degree.sum(1) for degree in degrees], dim=1)
        return self.mix(self.norm((powers + 1e-4).sqrt()))


def head_widths(n_inputs: int, hidden: int | Sequence[int], n_outputs: int) -> list[int]:
    """Widths of a head with one hidden layer, or several."""
    return [n_inputs, *([hidden] if isinstance(hidden, int) else hidden), n_outputs]


def mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with normalisation and SiLU between them, none after the last."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(n_in, n_out), BatchRenorm(n_out), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
