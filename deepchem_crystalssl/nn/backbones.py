"""Backbones of a NEGNN: graph networks that map site vectors to site vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import CrystalConvolution, GaussianExpansion, mlp
from .graph_batch import GraphBatch
from .links import Engine, Links, add_ends, sum_to_centers
from .message_passing import mean_over_sites
from .normalization import BatchRenorm


class Backbone(Protocol):
    """The interface of a backbone of :class:`~deepchem_crystalssl.nn.negnn.NEGNN`: a module with a ``width``."""

    width: int

    def __call__(self, batch: GraphBatch, sites: Tensor) -> Tensor:
        """(A, width) to (A, width)."""


class CGCNN(nn.Module):
    """A sequence of crystal-graph convolutions (Xie and Grossman 2018).

    Parameters
    ----------
    width : int
    n_layers : int
    angles : bool
        Whether the convolutions use angles too.
    """

    def __init__(self, width: int = 64, n_layers: int = 3, angles: bool = False):
        super().__init__()
        self.width = width
        self.convolutions = nn.ModuleList(CrystalConvolution(width, angles) for _ in range(n_layers))

    def forward(self, batch: GraphBatch, sites: Tensor) -> Tensor:
        """(A, width) to (A, width)."""
        for convolution in self.convolutions:
            sites = convolution(batch, sites)
        return sites


class MEGNet(nn.Module):
    r"""MEGNet (Chen et al. 2019): edges, sites and a state of the whole crystal are updated in turn.

    .. math::
        e_{ij} &\leftarrow e_{ij} + \phi_e(x_i + x_j + e_{ij} + u) \\
        x_i &\leftarrow x_i + \phi_x(x_i, \langle e_{ij} \rangle_j, u) \\
        u &\leftarrow u + \phi_u(u, \langle x_i \rangle_i, \langle e_{ij} \rangle)

    with a linear map of each term before the sum. The outputs are the vectors of the sites, each joined with the state
    of its crystal; means over sites take the place of the published set2set.

    Parameters
    ----------
    width : int
    n_layers : int
    """

    def __init__(self, width: int = 64, n_layers: int = 3):
        super().__init__()
        self.width = width
        self.expand = GaussianExpansion()
        self.embed_edges = nn.Linear(len(self.expand.centers), width)
        self.blocks = nn.ModuleList(_MEGNetBlock(width) for _ in range(n_layers))
        self.join = nn.Linear(2 * width, width)

    def forward(self, batch: GraphBatch, sites: Tensor) -> Tensor:
        """(A, width) to (A, width)."""
        edges, state = self.embed_edges(self.expand(batch.distance)), mean_over_sites(batch, sites)
        for block in self.blocks:
            sites, edges, state = block(batch, sites, edges, state)
        return F.silu(self.join(torch.cat([sites, state[batch.crystal]], dim=1)))


class _MEGNetBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.from_neighbor, self.from_center, self.from_edge = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.from_state = nn.Linear(width, width)
        self.change_edge = nn.Sequential(BatchRenorm(width), nn.SiLU(), nn.Linear(width, width))
        self.change_site = mlp([3 * width, width, width])
        self.change_state = mlp([3 * width, width, width])

    def forward(self, batch: GraphBatch, sites: Tensor, edges: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The updated sites (A, F), edges (E, F) and states (B, F)."""
        around = self.from_center(sites) + self.from_state(state)[batch.crystal]
        edges = edges + self.change_edge(add_ends(batch, self.from_neighbor(sites), around) + self.from_edge(edges))
        degree = torch.bincount(batch.center, minlength=batch.total_sites).clamp(min=1)[:, None]
        near = sum_to_centers(batch, edges) / degree
        sites = sites + self.change_site(torch.cat([sites, near, state[batch.crystal]], dim=1))
        means = mean_over_sites(batch, torch.cat([sites, near], dim=1))
        return sites, edges, state + self.change_state(torch.cat([means, state], dim=1))


class ALIGNN(nn.Module):
    """ALIGNN (Choudhary and DeCost 2021): convolutions alternate between the graph and its line graph of angles.

    Parameters
    ----------
    width : int
    n_angle_layers : int
        Number of layers with both convolutions.
    n_layers : int
        Number of layers after them, with the convolution on the graph alone.
    reach : float
        Angles are taken between bonds of at most this many times the shortest distance of the site.
    """

    def __init__(self, width: int = 64, n_angle_layers: int = 2, n_layers: int = 2, reach: float = 1.25):
        super().__init__()
        self.width = width
        self.reach = reach
        self.expand = GaussianExpansion()
        self.expand_angles = GaussianExpansion(-1.0, 1.0, 21)
        self.embed_edges = nn.Linear(len(self.expand.centers), width)
        self.embed_angles = nn.Linear(len(self.expand_angles.centers), width)
        self.on_line_graph = nn.ModuleList(EdgeGatedConvolution(width) for _ in range(n_angle_layers))
        self.on_graph = nn.ModuleList(EdgeGatedConvolution(width) for _ in range(n_angle_layers + n_layers))

    def forward(self, batch: GraphBatch, sites: Tensor) -> Tensor:
        """(A, width) to (A, width)."""
        edges = self.embed_edges(self.expand(batch.distance))
        angles = LineGraph.of(batch, self.reach)
        links = self.embed_angles(self.expand_angles(angles.cosine))
        for k, on_graph in enumerate(self.on_graph):
            if k < len(self.on_line_graph):
                edges, links = self.on_line_graph[k](angles, edges, links)
            sites, edges = on_graph(batch, sites, edges)
        return sites


class EdgeGatedConvolution(nn.Module):
    r"""Gated convolution that updates sites and links (Bresson and Laurent 2017).

    .. math::
        \hat y_{ij} &= W_n x_j + W_c x_i + W_e y_{ij} \\
        x_i &\leftarrow x_i + \mathrm{SiLU}\,\mathrm{BRN}\Big(W_u x_i +
              \frac{\sum_j \sigma(\hat y_{ij}) \odot W_v x_j}{\sum_j \sigma(\hat y_{ij}) + \epsilon}\Big) \\
        y_{ij} &\leftarrow y_{ij} + \mathrm{SiLU}\,\mathrm{BRN}\, \hat y_{ij}

    Parameters
    ----------
    width : int
    """

    def __init__(self, width: int):
        super().__init__()
        self.from_neighbor, self.from_link, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.from_center, self.own = nn.Linear(width, width), nn.Linear(width, width)
        self.norm, self.norm_link = BatchRenorm(width), BatchRenorm(width)

    def forward(self, graph: Links, values: Tensor, links: Tensor) -> tuple[Tensor, Tensor]:
        """The updated vectors of the sites (n, F) and of the links (m, F)."""
        raw = add_ends(graph, self.from_neighbor(values), self.from_center(values)) + self.from_link(links)
        gate = torch.sigmoid(raw)
        sent = torch.cat([gate * self.value(values)[graph.neighbor], gate], dim=1)
        received, weight = sum_to_centers(graph, sent).chunk(2, dim=1)
        changed = F.silu(self.norm(self.own(values) + received / (weight + 1e-6)))
        return values + changed, links + F.silu(self.norm_link(raw))


@dataclass(frozen=True)
class LineGraph(Links):
    """The line graph of a batch: edges are linked if one ends where the other begins.

    Attributes
    ----------
    neighbor, center : Tensor
        (T,) int64; the first edge, k to j, and the second edge, j to i.
    cosine : Tensor
        (T,), cosine of the angle at j between k and i.
    """

    neighbor: Tensor
    center: Tensor
    cosine: Tensor
    n_edges: int
    engine: Engine = "auto"

    @property
    def n_centers(self) -> int:
        """Number of edges of the batch."""
        return self.n_edges

    @classmethod
    def of(cls, batch: GraphBatch, reach: float) -> LineGraph:
        """All angles between bonds of at most ``reach`` times the shortest distance, without returns along an edge."""
        before, after = _consecutive_edges(batch)
        nearest = torch.full_like(batch.crystal, torch.inf, dtype=batch.distance.dtype)
        nearest = nearest.scatter_reduce(0, batch.center, batch.distance, "amin")
        bonded = batch.distance <= reach * nearest[batch.center]
        assert batch.image is not None
        back = (batch.neighbor[before] == batch.center[after]) & (batch.image[before] == -batch.image[after]).all(1)
        kept = bonded[before] & ~back
        before, after = before[kept], after[kept]
        cosine = -(batch.direction[before] * batch.direction[after]).sum(1)
        return cls(before, after, cosine.clamp(-1.0, 1.0), len(batch.center), batch.engine)


def _consecutive_edges(batch: GraphBatch) -> tuple[Tensor, Tensor]:
    """Indices of all pairs of edges of which the first ends where the second begins, (T,) and (T,).

    An edge from a site to its own periodic image is followed by itself, as it would be in a supercell;
    ``dgl.line_graph`` does not link an edge with itself.
    """
    degree = torch.bincount(batch.center, minlength=batch.total_sites)
    first = torch.cumsum(degree, 0) - degree
    counts = degree[batch.neighbor]
    after = torch.repeat_interleave(counts)
    place = torch.arange(len(after), device=after.device) - (torch.cumsum(counts, 0) - counts)[after]
    return first[batch.neighbor][after] + place, after


BACKBONES = {"cgcnn": CGCNN, "megnet": MEGNet, "alignn": ALIGNN}
"""Backbones by name."""
