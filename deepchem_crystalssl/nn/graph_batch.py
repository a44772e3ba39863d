"""A batch of crystals as tensors, and what follows from it without any weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .harmonics import MAX_DEGREE, spherical_harmonics
from .links import Engine, Links
from .ranks import WHOLE, Share

if TYPE_CHECKING:
    from ..crystals.records import CrystalGraph

TABLE_REACH = 8.0
"""Functions of distance are read from tables of ``TABLE_ROWS`` rows, from 0 to this distance, Å."""
TABLE_ROWS = 801
MASKED_ROW = TABLE_ROWS
"""Row of an edge whose distance is masked."""

_FIELDS_ALONG = {
    "species": ("species_site", "atomic_numbers", "occupancy"),
    "edges": ("neighbor", "center", "distance", "image", "masked_edges"),
    "sites": ("crystal", "masked_sites", "frac_coords"),
    "crystals": ("num_sites", "volume", "lattice"),
}


@dataclass(frozen=True, eq=False)
class EdgeDirections:
    """The directions of the edges of a batch. They depend on positions alone, not on distances or masks.

    Attributes
    ----------
    neighbor, center, crystal : Tensor
        (E,), (E,), (A,) int64, as in :class:`GraphBatch`.
    image, frac_coords, lattice : Tensor or None
        (E, 3), (A, 3), (B, 3, 3), as in :class:`GraphBatch`.
    """

    neighbor: Tensor
    center: Tensor
    crystal: Tensor
    image: Tensor | None
    frac_coords: Tensor | None
    lattice: Tensor | None

    def are_of(self, batch: GraphBatch) -> bool:
        """Whether they were made from the very tensors of a batch."""
        return all(getattr(self, part.name) is getattr(batch, part.name) for part in fields(self))

    @cached_property
    def vectors(self) -> Tensor:
        """Unit vectors from centre to neighbour, (E, 3)."""
        assert self.image is not None and self.lattice is not None and self.frac_coords is not None
        sites = _to_cartesian(self.frac_coords, self.lattice, self.crystal)
        cells = _to_cartesian(self.image.float(), self.lattice, self.crystal[self.center])
        return F.normalize(cells + sites[self.neighbor] - sites[self.center], dim=1)

    @cached_property
    def harmonics(self) -> Tensor:
        """Their spherical harmonics of degree 1 to ``MAX_DEGREE``, (E, 24)."""
        return spherical_harmonics(self.vectors, MAX_DEGREE)


@dataclass(frozen=True, eq=False)
class GraphBatch(Links):
    """Many crystals as one graph whose parts are not connected with each other. Immutable.

    A view of a batch, in which elements or distances are masked or sites are displaced, is made by
    ``dataclasses.replace``. Views share the directions of the edges, as long as these have the same positions;
    everything else that follows from the fields is computed for each view.

    Attributes
    ----------
    species_site, atomic_numbers, occupancy : Tensor
        (M,) int64, int64, float32; which element is on which site, and with which occupancy. M = A if all crystals are
        ordered.
    neighbor, center : Tensor
        (E,) int64; an edge runs from a neighbour to the centre it surrounds; edges are in order of their centres.
    distance : Tensor
        (E,) float32, Å.
    crystal : Tensor
        (A,) int64; which crystal a site belongs to.
    num_sites : Tensor
        (B,) int64; number of sites of each crystal.
    engine : {"auto", "dgl", "torch", "fused"}
        What computes the sums.
    masked_edges : Tensor or None
        (E,) bool; edges whose distance is masked.
    masked_sites : Tensor or None
        (A,) bool; sites whose element is masked.
    volume : Tensor or None
        (B,) float32, Å^3.
    image : Tensor or None
        (E, 3); the cell that the neighbour lies in, in lattice vectors.
    frac_coords, lattice : Tensor or None
        (A, 3), (B, 3, 3) float32; fractional coordinates, and the cell vectors as rows, Å.
    share : Share
        Which crystals of a larger batch these are, if several processes compute it together.
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
    share: Share = field(default=WHOLE, repr=False)
    directions: EdgeDirections | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.directions is None or not self.directions.are_of(self):
            tensors = {part.name: getattr(self, part.name) for part in fields(EdgeDirections)}
            object.__setattr__(self, "directions", EdgeDirections(**tensors))

    @classmethod
    def from_graphs(
        cls, graphs: Sequence[CrystalGraph], engine: Engine = "auto", masked_edges: Tensor | None = None
    ) -> GraphBatch:
        """Concatenate records.

        Parameters
        ----------
        graphs : sequence of CrystalGraph
        engine : {"auto", "dgl", "torch", "fused"}
        masked_edges : Tensor, optional
            (E,) bool.
        """
        if not len(graphs):
            return cls._without_crystals(engine)
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

    @classmethod
    def _without_crystals(cls, engine: Engine) -> GraphBatch:
        none, number = torch.empty(0, dtype=torch.int64), torch.empty(0)
        return cls(
            species_site=none, atomic_numbers=none, occupancy=number, neighbor=none, center=none, distance=number,
            crystal=none, num_sites=none, engine=engine, volume=number, image=torch.empty(0, 3, dtype=torch.int8),
            frac_coords=number.view(0, 3), lattice=number.view(0, 3, 3),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.num_sites)

    def to(self, device: torch.device | str) -> GraphBatch:
        """The batch on another device."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        moved: dict[str, Any] = {k: value.to(device) for k, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)

    def first(self, fraction: float) -> GraphBatch:
        """The first crystals, this fraction of them and at least one; of the whole batch, if processes share it."""
        n = max(1, int(fraction * (len(self) if self.share.is_whole else self.share.length("crystals"))))
        share = self.share.head(n)
        return replace(self.head(n if share.is_whole else len(share.rows)), share=share)

    def head(self, n: int) -> GraphBatch:
        """The first n crystals of this batch."""
        n_sites = int(self.num_sites[:n].sum())
        lengths = {
            "species": int((self.species_site < n_sites).sum()),
            "edges": int((self.center < n_sites).sum()),
            "sites": n_sites,
            "crystals": n,
        }
        values = {name: (getattr(self, name), n) for axis, n in lengths.items() for name in _FIELDS_ALONG[axis]}
        return replace(self, **{name: value[:n] for name, (value, n) in values.items() if value is not None})

    @property
    def total_sites(self) -> int:
        """Number of sites A of all crystals together."""
        return len(self.crystal)

    @property
    def n_centers(self) -> int:
        """Number of sites A of all crystals together."""
        return len(self.crystal)

    @property
    def direction(self) -> Tensor:
        """Unit vectors from centre to neighbour, (E, 3)."""
        assert self.directions is not None
        return self.directions.vectors

    def harmonics(self, max_degree: int) -> Tensor:
        """Spherical harmonics of the directions, of degree 1 to ``max_degree``, (E, M); 0 for masked distances."""
        assert self.directions is not None
        values = self.directions.harmonics
        if max_degree != MAX_DEGREE:
            values = values[:, : (max_degree + 1) ** 2 - 1]
        return values if self.masked_edges is None else values * ~self.masked_edges[:, None]

    @cached_property
    def table_position(self) -> tuple[Tensor, Tensor]:
        """Where each distance lies in a table over distance: row (E,) int64, and fraction (E,) of the way to the next.

        A masked distance lies at ``MASKED_ROW``.
        """
        at = self.distance.clamp(0.0, TABLE_REACH) * ((TABLE_ROWS - 1) / TABLE_REACH)
        row = at.floor().clamp(max=TABLE_ROWS - 2).long()
        part = at - row
        if self.masked_edges is not None:
            row = row.masked_fill(self.masked_edges, MASKED_ROW)
            part = part.masked_fill(self.masked_edges, 0.0)
        return row, part

    @cached_property
    def compressed_edges(self) -> tuple[np.ndarray, ...]:
        """The edges for the compiled loops of :mod:`.fused_convolution`.

        First site of each crystal (B + 1,), first edge of each site (A + 1,), neighbours (E,), row and fraction of
        :attr:`table_position` (E,).
        """
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
        """The cells for the compiled sums of :mod:`.fused_structure_factor`.

        First site of each crystal (B + 1,), lengths of the cell vectors (B, 3), reciprocal metric tensors (B, 3, 3),
        fractional coordinates (A, 3).
        """
        assert self.lattice is not None and self.frac_coords is not None
        lattice = self.lattice.double().numpy()
        return (
            np.concatenate([[0], np.cumsum(self.num_sites.numpy())]),
            np.linalg.norm(lattice, axis=2),
            np.linalg.inv(lattice @ lattice.transpose(0, 2, 1)),
            self.frac_coords.double().numpy(),
        )


def once_per_batch(function: Callable[[GraphBatch], Tensor]) -> Callable[[GraphBatch], Tensor]:
    """Compute a function of a batch once for each batch object, and keep the result as long as the object lives.

    The function must have no weights. Batches are immutable and compared by identity, so that a view has a result of
    its own.
    """
    results: WeakKeyDictionary[GraphBatch, Tensor] = WeakKeyDictionary()

    @wraps(function)
    def compute_once(batch: GraphBatch) -> Tensor:
        if batch not in results:
            results[batch] = function(batch)
        return results[batch]

    return compute_once


def _repeat(values: np.ndarray, counts: np.ndarray) -> Tensor:
    return torch.from_numpy(np.repeat(values, counts))


def _to_cartesian(fractional: Tensor, lattices: Tensor, owner: Tensor) -> Tensor:
    return torch.einsum("na,nab->nb", fractional, lattices[owner])
