"""Vectors and tensors of crystals that turn with them, from sums over edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .graph_batch import TABLE_REACH, TABLE_ROWS, GraphBatch
from .layers import GaussianExpansion
from .message_passing import directed_sum, mean_over_sites

_TRACELESS = torch.zeros(5, 3, 3)
"""The traceless symmetric tensor of each harmonic of degree 2, in the order of ``spherical_harmonics``; unit norm."""
for _harmonic, _a, _b in ((0, 0, 1), (1, 1, 2), (3, 0, 2)):
    _TRACELESS[_harmonic, _a, _b] = _TRACELESS[_harmonic, _b, _a] = 0.5**0.5
_TRACELESS[2] = torch.diag(torch.tensor([-1.0, -1.0, 2.0])) / 6**0.5
_TRACELESS[4] = torch.diag(torch.tensor([1.0, -1.0, 0.0])) / 2**0.5


class DirectedReadout(nn.Module):
    r"""A sum over edges of learned weights times the harmonics of the edge's direction, for each site.

    .. math:: q_i^m = \sum_c v_c(x_i) \sum_{j \to i} Y_{lm}(\hat r_{ij}) \, t_c(d_{ij}) \, n_c(x_j)

    The weights are scalars, so that the result turns with the crystal: a vector for l = 1, a traceless symmetric
    tensor for l = 2.

    Parameters
    ----------
    width : int
        Size of the site vectors.
    channels : int
        C, the number of terms in the weight of an edge.
    """

    table_expansion: Tensor

    def __init__(self, width: int, channels: int = 32):
        super().__init__()
        expansion = GaussianExpansion()(torch.linspace(0.0, TABLE_REACH, TABLE_ROWS))
        self.register_buffer("table_expansion", expansion, persistent=False)
        self.from_center = nn.Linear(width, channels)
        self.from_neighbor = nn.Linear(width, channels)
        self.from_edge = nn.Linear(expansion.shape[1], channels, bias=False)
        nn.init.zeros_(self.from_center.weight)  # training begins with the answer zero
        nn.init.zeros_(self.from_center.bias)

    def forward(self, batch: GraphBatch, sites: Tensor, degree: int) -> Tensor:
        """(A, 2 degree + 1), for degree 1 or 2."""
        table = F.pad(self.from_edge(self.table_expansion), (0, 0, 0, 2))
        moments = directed_sum(batch, self.from_neighbor(sites), table, degree)
        own = moments.split([2 * d + 1 for d in range(1, degree + 1)], dim=1)[-1]
        return (own * self.from_center(sites)[:, None]).sum(2)


class SiteVectors(DirectedReadout):
    """A vector for each site, (A, 3)."""

    def forward(self, batch: GraphBatch, sites: Tensor, degree: int = 1) -> Tensor:
        """(A, 3), along the Cartesian axes."""
        return super().forward(batch, sites, 1)


class CrystalTensors(DirectedReadout):
    """A symmetric tensor for each crystal, (B, 3, 3); its trace is a mean over sites of a function of their vectors."""

    def __init__(self, width: int, channels: int = 32):
        super().__init__(width, channels)
        last = nn.Linear(width, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.trace = nn.Sequential(nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, batch: GraphBatch, sites: Tensor, degree: int = 2) -> Tensor:
        """(B, 3, 3), along the Cartesian axes."""
        seen = torch.cat([super().forward(batch, sites, 2), self.trace(sites)], dim=1)
        means = mean_over_sites(batch, seen)
        basis = torch.cat([_TRACELESS.to(means), torch.eye(3).to(means)[None] / 3**0.5])
        return torch.einsum("bq,qxy->bxy", means, basis)
