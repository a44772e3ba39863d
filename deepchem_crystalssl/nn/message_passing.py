"""The one door to DGL: a batch of crystals as a graph, and the sums that message passing needs.

Three engines stand behind it, with equal results: DGL's built-in kernels, the engine of record; plain torch, where
this build of DGL cannot run (another device, or not installed); and, for the plain convolution on a CPU, the
compiled loop of :mod:`.fused_convolution`, which ``"auto"`` prefers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .harmonics import spherical_harmonics

if TYPE_CHECKING:
    from ..crystals.records import CrystalGraph

try:
    import dgl
except ImportError:  # a DGL-free installation
    dgl = None
try:
    from .fused_convolution import FusedDirectedSum, FusedGatedSum
    from .fused_structure_factor import FusedShellSum
except ImportError:  # no numba
    FusedDirectedSum = FusedGatedSum = FusedShellSum = None  # type: ignore[assignment, misc]

Engine = Literal["auto", "dgl", "torch", "fused"]

TABLE_REACH = 8.0
"""Distances are looked up in tables of ``TABLE_ROWS`` rows from 0 to here, Å."""
TABLE_ROWS = 801
MASKED_ROW = TABLE_ROWS
"""Row of an edge whose distance is hidden."""


class Links(ABC):
    """Messages run along links, from a neighbour to a centre: those of :class:`GraphBatch`, or of a line graph."""

    neighbor: Tensor
    center: Tensor
    engine: Engine

    @property
    @abstractmethod
    def total_sites(self) -> int:
        """How many things are linked."""

    @property
    def uses_dgl(self) -> bool:
        """Whether DGL's kernels do the sums."""
        if self.engine == "dgl" and dgl is None:
            raise ImportError("engine='dgl' needs dgl; install dgl==1.1.3, or use engine='auto'")
        on_cpu = self.center.device.type == "cpu"
        return self.engine == "dgl" or (self.engine == "auto" and dgl is not None and on_cpu)

    @cached_property
    def dgl_graph(self) -> Any:
        """One DGL graph of all links."""
        return dgl.graph((self.neighbor, self.center), num_nodes=self.total_sites)


@dataclass(frozen=True)
class GraphBatch(Links):
    """Many crystals as one graph of separate parts.

    Attributes
    ----------
    species_site, atomic_numbers, occupancy : Tensor
        (M,) int64, int64, float32; which element is on which site, and how much. M = A for ordered crystals.
    neighbor, center : Tensor
        (E,) int64; an edge runs from a neighbour to the centre it surrounds; centres ascend.
    distance : Tensor
        (E,) float32, Å.
    crystal : Tensor
        (A,) int64; which crystal a site belongs to.
    num_sites : Tensor
        (B,) int64; sites of each crystal.
    engine : {"auto", "dgl", "torch", "fused"}
        Who computes the sums.
    masked_edges : Tensor or None
        (E,) bool; edges whose distance is hidden.
    masked_sites : Tensor or None
        (A,) bool; sites whose element is hidden.
    volume : Tensor or None
        (B,) float32, Å^3.
    image : Tensor or None
        (E, 3), the cell a neighbour lies in.
    frac_coords, lattice : Tensor or None
        (A, 3), (B, 3, 3) float32, rows are cell vectors, Å.
    """

    species_site: Tensor
    atomic_numbers: Tensor
    occupancy: Tensor
    neighbor: Tensor
    center: Tensor
    distance: Tensor
    crystal: Tensor
    num_sites: Tensor
    engine: Engine = "auto"
    masked_edges: Tensor | None = None
    masked_sites: Tensor | None = None
    volume: Tensor | None = None
    image: Tensor | None = None
    frac_coords: Tensor | None = None
    lattice: Tensor | None = None
    _directions: dict[int, Tensor] = field(default_factory=dict, repr=False)  # and their harmonics; views share them
    _kept: dict[str, Tensor] = field(default_factory=dict, repr=False, init=False)  # of this view alone

    @classmethod
    def from_graphs(
        cls, graphs: Sequence[CrystalGraph], engine: Engine = "auto", masked_edges: Tensor | None = None
    ) -> GraphBatch:
        """Concatenate records; no per-structure graph object is ever made."""
        num_sites = np.array([graph.num_nodes for graph in graphs])
        first_site = np.cumsum(num_sites) - num_sites
        num_edges = np.array([graph.num_edges for graph in graphs])
        species = [graph.species for graph in graphs]
        rows = np.array([len(s.site) for s in species])
        degree = np.concatenate([np.diff(graph.first_edge) for graph in graphs]).astype(np.int64)

        def tensor(parts: Any, dtype: torch.dtype) -> Tensor:
            return torch.from_numpy(np.concatenate(parts)).to(dtype)

        neighbor = tensor([graph.neighbor for graph in graphs], torch.int64) + _repeat(first_site, num_edges)
        center = torch.repeat_interleave(torch.from_numpy(degree))
        return cls(
            species_site=tensor([s.site for s in species], torch.int64) + _repeat(first_site, rows),
            atomic_numbers=tensor([s.atomic_numbers for s in species], torch.int64),
            occupancy=tensor([s.occupancy for s in species], torch.float32),
            neighbor=neighbor,
            center=center,
            distance=tensor([graph.distance for graph in graphs], torch.float32),
            crystal=_repeat(np.arange(len(graphs)), num_sites),
            num_sites=torch.from_numpy(num_sites),
            engine=engine,
            masked_edges=masked_edges,
            volume=torch.tensor([graph.volume for graph in graphs], dtype=torch.float32),
            image=torch.from_numpy(np.concatenate([graph.image for graph in graphs])),
            frac_coords=tensor([graph.frac_coords for graph in graphs], torch.float32),
            lattice=torch.from_numpy(np.stack([graph.lattice for graph in graphs])).float(),
        )

    def __len__(self) -> int:
        return len(self.num_sites)

    def to(self, device: torch.device | str) -> GraphBatch:
        """The batch on another device."""
        tensors: dict[str, Any] = {k: value.to(device) for k, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors, _directions={})

    def head(self, n: int) -> GraphBatch:
        """The first n crystals."""
        n_sites = int(self.num_sites[:n].sum())
        n_edges = int((self.center < n_sites).sum())
        n_species = int((self.species_site < n_sites).sum())
        lengths = dict.fromkeys(("species_site", "atomic_numbers", "occupancy"), n_species)
        lengths |= dict.fromkeys(("neighbor", "center", "distance", "image", "masked_edges"), n_edges)
        lengths |= {"crystal": n_sites, "masked_sites": n_sites, "num_sites": n, "volume": n}
        lengths |= {"frac_coords": n_sites, "lattice": n}
        parts: dict[str, Any] = {
            k: value[: lengths[k]] for k, value in vars(self).items() if k in lengths and value is not None
        }
        return replace(self, **parts, _directions={key: values[:n_edges] for key, values in self._directions.items()})

    @property
    def total_sites(self) -> int:
        """Number of sites A of all crystals together."""
        return len(self.crystal)

    @cached_property
    def table_position(self) -> tuple[Tensor, Tensor]:
        """Where each distance lies in a table over distance: row (E,) int64, and part (E,) of the way to the next."""
        at = self.distance.clamp(0.0, TABLE_REACH) * ((TABLE_ROWS - 1) / TABLE_REACH)
        row = at.floor().clamp(max=TABLE_ROWS - 2).long()
        part = at - row
        if self.masked_edges is not None:
            row = row.masked_fill(self.masked_edges, MASKED_ROW)
            part = part.masked_fill(self.masked_edges, 0.0)
        return row, part

    @property
    def direction(self) -> Tensor:
        """Unit vectors from centre to neighbour, (E, 3)."""
        if 0 not in self._directions:
            assert self.image is not None and self.lattice is not None and self.frac_coords is not None
            sites = _to_cartesian(self.frac_coords, self.lattice, self.crystal)
            cells = _to_cartesian(self.image.float(), self.lattice, self.crystal[self.center])
            self._directions[0] = F.normalize(cells + sites[self.neighbor] - sites[self.center], dim=1)
        return self._directions[0]

    def harmonics(self, max_degree: int) -> Tensor:
        """Spherical harmonics of the edges' directions, (E, M); zero where the distance is hidden."""
        if max_degree not in self._directions:
            self._directions[max_degree] = spherical_harmonics(self.direction, max_degree)
        values = self._directions[max_degree]
        return values if self.masked_edges is None else values * ~self.masked_edges[:, None]

    @cached_property
    def compressed_edges(self) -> tuple[np.ndarray, ...]:
        """For the compiled loop: first site of each crystal, first edge of each site, senders, table positions."""
        degree = np.bincount(self.center.numpy(), minlength=self.total_sites)
        row, part = self.table_position
        return (
            np.concatenate([[0], np.cumsum(self.num_sites.numpy())]),
            np.concatenate([[0], np.cumsum(degree)]),
            self.neighbor.numpy(),
            row.numpy(),
            part.numpy(),
        )

    @cached_property
    def cells(self) -> tuple[np.ndarray, ...]:
        """For the compiled walk through reciprocal space: first sites, cell lengths, reciprocal metrics, positions."""
        assert self.lattice is not None and self.frac_coords is not None
        lattice = self.lattice.double().numpy()
        return (
            np.concatenate([[0], np.cumsum(self.num_sites.numpy())]),
            np.linalg.norm(lattice, axis=2),
            np.linalg.inv(lattice @ lattice.transpose(0, 2, 1)),
            self.frac_coords.double().numpy(),
        )


def once_per_batch(function: Callable[[GraphBatch], Tensor]) -> Callable[[GraphBatch], Tensor]:
    """Keep what a function without weights makes of a batch for as long as the batch lives."""

    @wraps(function)
    def kept(batch: GraphBatch) -> Tensor:
        if function.__name__ not in batch._kept:
            batch._kept[function.__name__] = function(batch)
        return batch._kept[function.__name__]

    return kept


def _repeat(values: np.ndarray, counts: np.ndarray) -> Tensor:
    return torch.from_numpy(np.repeat(values, counts))


def _to_cartesian(fractional: Tensor, lattices: Tensor, owner: Tensor) -> Tensor:
    return torch.einsum("na,nab->nb", fractional, lattices[owner])


def add_ends(batch: Links, neighbor_values: Tensor, center_values: Tensor) -> Tensor:
    """Per edge, the neighbour's value plus the centre's: (A, F) and (A, F) to (E, F)."""
    if batch.uses_dgl:
        return dgl.ops.u_add_v(batch.dgl_graph, neighbor_values, center_values)
    return neighbor_values[batch.neighbor] + center_values[batch.center]


def sum_to_centers(batch: Links, messages: Tensor) -> Tensor:
    """Sum the messages arriving at each centre: (E, F) to (A, F)."""
    if batch.uses_dgl:
        return dgl.ops.copy_e_sum(batch.dgl_graph, messages)
    return messages.new_zeros(batch.total_sites, messages.shape[1]).index_add_(0, batch.center, messages)


def read_table(batch: GraphBatch, table: Tensor) -> Tensor:
    """A table over distance, interpolated at each edge: (R, F) to (E, F)."""
    row, part = batch.table_position
    weights = torch.stack([1.0 - part, part], dim=1).to(table.dtype)
    return F.embedding_bag(torch.stack([row, row + 1], dim=1), table, per_sample_weights=weights, mode="sum")


def gated_sum(batch: GraphBatch, center: Tensor, neighbor: Tensor, table: Tensor) -> Tensor:
    r"""Gated messages of all neighbours, summed at each centre.

    .. math:: m_i = \sum_{j \to i} \sigma(z^{\mathrm{gate}}_{ij}) \, \mathrm{softplus}(z^{\mathrm{core}}_{ij}),
              \qquad z_{ij} = c_i + n_j + t(d_{ij})

    Parameters
    ----------
    center, neighbor : Tensor
        (A, 2F), what each site contributes as centre and as neighbour; gate first, core second.
    table : Tensor
        (TABLE_ROWS + 2, 2F), what a distance contributes; the last two rows are that of a hidden distance.

    Returns
    -------
    Tensor
        (A, F).
    """
    if _fused(batch, center):
        return FusedGatedSum.apply(center, neighbor, table, batch.compressed_edges)
    gate, core = (add_ends(batch, neighbor, center) + read_table(batch, table)).chunk(2, dim=1)
    return sum_to_centers(batch, torch.sigmoid(gate) * F.softplus(core))


def directed_sum(batch: GraphBatch, neighbor: Tensor, table: Tensor, max_degree: int) -> Tensor:
    r"""What lies in which direction: neighbours' values on spherical harmonics, summed at each centre.

    .. math:: a_i^{mc} = \sum_{j \to i} Y_m(\hat r_{ij}) \, t_c(d_{ij}) \, n_{jc}

    Parameters
    ----------
    neighbor : Tensor
        (A, C).
    table : Tensor
        (TABLE_ROWS + 2, C), the weight of a distance.
    max_degree : int
        Of the harmonics.

    Returns
    -------
    Tensor
        (A, M, C), M = (max_degree + 1)^2 - 1.
    """
    harmonics = batch.harmonics(max_degree)
    if _fused(batch, neighbor):
        return FusedDirectedSum.apply(neighbor, table, harmonics, batch.compressed_edges)
    weights = harmonics[:, :, None].to(table.dtype) * read_table(batch, table)[:, None]
    if batch.uses_dgl:
        return dgl.ops.u_mul_e_sum(batch.dgl_graph, neighbor[:, None], weights)
    messages = neighbor[batch.neighbor][:, None] * weights
    return messages.new_zeros(batch.total_sites, *messages.shape[1:]).index_add_(0, batch.center, messages)


def shell_sum(batch: GraphBatch, values: Tensor, g_min: float, g_max: float, n_shells: int) -> Tensor:
    r"""Structure factors of site values, squared, in shells of reciprocal space: order at any range.

    .. math:: F_c(\mathbf g) = \sum_i v_{ic}\, e^{2\pi i\, \mathbf g \cdot \mathbf r_i}, \qquad
              P_{sc} = \frac{1}{N^2} \sum_{\mathbf g} \Lambda_s(\ln g)\, \frac{|F_c(\mathbf g)|^2}{g^2}

    over all reciprocal vectors with :math:`g_{min} \le g \le g_{max}` (1/Å); :math:`\Lambda_s` is a triangle around
    shell s, the shells lie evenly over :math:`\ln g`. No choice of cell, origin or orientation changes it.

    Parameters
    ----------
    values : Tensor
        (A, C).

    Returns
    -------
    Tensor
        (B, n_shells, C).
    """
    if _fused(batch, values):
        return FusedShellSum.apply(values, batch.cells, (g_min, g_max, n_shells))
    crystal, hkl, g = (torch.as_tensor(x, device=values.device) for x in _reflections(batch, g_min, g_max))
    counts = batch.num_sites[crystal]
    reflection = torch.repeat_interleave(counts)
    first_site = torch.cumsum(batch.num_sites, 0) - batch.num_sites
    place = torch.arange(len(reflection), device=values.device) - (torch.cumsum(counts, 0) - counts)[reflection]
    site = first_site[crystal][reflection] + place
    assert batch.frac_coords is not None
    phase = 2 * torch.pi * (hkl[reflection] * batch.frac_coords[site]).sum(1)
    wave = torch.stack([phase.cos(), phase.sin()], dim=1)[:, :, None].to(values.dtype)
    if batch.uses_dgl:
        graph = dgl.heterograph(
            {("site", "scatters", "reflection"): (site, reflection)},
            {"site": batch.total_sites, "reflection": len(g)},
        )
        factors = dgl.ops.u_mul_e_sum(graph, values[:, None], wave)
    else:
        waves = values[site][:, None] * wave
        factors = waves.new_zeros(len(g), *waves.shape[1:]).index_add_(0, reflection, waves)
    weight = 2.0 / (g * batch.num_sites[crystal]) ** 2  # of g and -g one is there
    powers = weight[:, None].to(values.dtype) * factors.square().sum(1)
    at = (g / g_min).log() * ((n_shells - 1) / math.log(g_max / g_min))
    row = at.long().clamp(max=n_shells - 2)
    part = (at - row)[:, None].to(values.dtype)
    shells = powers.new_zeros(len(batch) * n_shells, values.shape[1])
    shells = shells.index_add(0, crystal * n_shells + row, (1 - part) * powers)
    shells = shells.index_add(0, crystal * n_shells + row + 1, part * powers)
    return shells.unflatten(0, (len(batch), n_shells))


def _reflections(batch: GraphBatch, g_min: float, g_max: float) -> tuple[np.ndarray, ...]:
    """Half of the reciprocal vectors in range: crystal (R,), indices (R, 3), length (R,) 1/Å."""
    assert batch.lattice is not None
    parts = []
    for crystal, lattice in enumerate(batch.lattice.double().cpu().numpy()):
        reach = (g_max * np.linalg.norm(lattice, axis=1) + 1e-6).astype(int)
        hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, 3)
        hkl = hkl[len(hkl) // 2 + 1 :]  # in this order -hkl comes before hkl
        g = np.linalg.norm(hkl @ np.linalg.inv(lattice).T, axis=1)
        inside = (g >= g_min) & (g <= g_max)
        parts.append((np.full(inside.sum(), crystal), hkl[inside], g[inside]))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _fused(batch: GraphBatch, values: Tensor) -> bool:
    """Whether the compiled loop does a sum."""
    fits = FusedGatedSum is not None and values.device.type == "cpu" and values.dtype == torch.float32
    if batch.engine == "fused" and not fits:
        raise ValueError(f"engine: 'fused' needs numba, a CPU and float32, not {values.device.type} {values.dtype}")
    return fits and batch.engine in ("auto", "fused")


def mean_over_sites(batch: GraphBatch, values: Tensor) -> Tensor:
    """Mean over the sites of each crystal, (A, F) to (B, F): the same for a cell and its supercell."""
    sums = values.new_zeros(len(batch), values.shape[1]).index_add_(0, batch.crystal, values)
    return sums / batch.num_sites[:, None]


def sum_species(batch: GraphBatch, element_values: Tensor) -> Tensor:
    """Values of elements to values of sites, weighted by occupancy: (119, F) to (A, F)."""
    values = element_values[batch.atomic_numbers]
    if len(batch.species_site) == batch.total_sites and bool((batch.occupancy == 1).all()):
        return values
    weighted = values * batch.occupancy[:, None]
    return weighted.new_zeros(batch.total_sites, values.shape[1]).index_add_(0, batch.species_site, weighted)
