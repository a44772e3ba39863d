"""The one door to DGL: sums of messages along links, by DGL's kernels or by plain torch, with equal results.

DGL is the engine of record. Plain torch is used on other devices than the CPU, where this build of DGL has no kernels,
and where DGL is not installed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

try:
    import dgl
except ImportError:  # an installation without DGL
    dgl = None

Engine = Literal["auto", "dgl", "torch", "fused"]


class Links(ABC):
    """Directed links, along which messages run from neighbours to centres.

    The links of a :class:`~deepchem_crystalssl.nn.graph_batch.GraphBatch` are its edges; those of a line graph are the
    angles between edges.

    Attributes
    ----------
    neighbor, center : Tensor
        (L,) int64; where each link begins and ends.
    engine : {"auto", "dgl", "torch", "fused"}
        What computes the sums.
    """

    neighbor: Tensor
    center: Tensor
    engine: Engine

    @property
    @abstractmethod
    def n_centers(self) -> int:
        """Number of centres."""

    @property
    def n_neighbors(self) -> int:
        """Number of neighbours; the same as that of the centres unless links run between different things."""
        return self.n_centers

    @property
    def uses_dgl(self) -> bool:
        """Whether DGL's kernels compute the sums."""
        if self.engine == "dgl" and dgl is None:
            raise ImportError("engine='dgl' needs dgl; install dgl==1.1.3, or use engine='auto'")
        on_cpu = self.center.device.type == "cpu"
        return self.engine == "dgl" or (self.engine == "auto" and dgl is not None and on_cpu)

    @cached_property
    def dgl_graph(self) -> Any:
        """The links as one DGL graph."""
        if self.n_neighbors == self.n_centers:
            return dgl.graph((self.neighbor, self.center), num_nodes=self.n_centers)
        sizes = {"neighbor": self.n_neighbors, "center": self.n_centers}
        return dgl.heterograph({("neighbor", "link", "center"): (self.neighbor, self.center)}, sizes)


def add_ends(links: Links, neighbor_values: Tensor, center_values: Tensor) -> Tensor:
    """The neighbour's value plus the centre's value for each link, (A, F) and (A, F) to (L, F)."""
    if links.uses_dgl:
        return dgl.ops.u_add_v(links.dgl_graph, neighbor_values, center_values)
    return neighbor_values[links.neighbor] + center_values[links.center]


def sum_to_centers(links: Links, messages: Tensor) -> Tensor:
    """The sum of the messages that arrive at each centre, (L, F) to (A, F)."""
    if links.uses_dgl:
        return dgl.ops.copy_e_sum(links.dgl_graph, messages)
    return messages.new_zeros(links.n_centers, messages.shape[1]).index_add_(0, links.center, messages)


def sum_products_to_centers(links: Links, neighbor_values: Tensor, weights: Tensor) -> Tensor:
    """The sum of the neighbours' values, each times the weight of its link, at each centre.

    Parameters
    ----------
    links : Links
    neighbor_values : Tensor
        (number of neighbours, C).
    weights : Tensor
        (L, M, C) or (L, M, 1).

    Returns
    -------
    Tensor
        (number of centres, M, C).
    """
    if links.uses_dgl:
        return dgl.ops.u_mul_e_sum(links.dgl_graph, neighbor_values[:, None], weights)
    messages = neighbor_values[links.neighbor][:, None] * weights
    return messages.new_zeros(links.n_centers, *messages.shape[1:]).index_add_(0, links.center, messages)
