"""Sums over the neighbours, sites and species of a batch of crystals: what message passing is made of.

Each sum has up to three engines with equal results: DGL's kernels, the engine of record; plain torch, where DGL cannot
run (:mod:`.links`); and compiled loops for float32 on a CPU (:mod:`.fused_convolution`,
:mod:`.fused_structure_factor`), which ``engine="auto"`` prefers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..crystals.reciprocal import list_half_space
from .graph_batch import GraphBatch
from .links import Engine, Links, add_ends, sum_products_to_centers, sum_to_centers

try:
    from .fused_convolution import FusedDirectedSum, FusedGatedSum
    from .fused_structure_factor import FusedShellSum
except ImportError:  # numba is not installed
    FusedDirectedSum = FusedGatedSum = FusedShellSum = None  # type: ignore[assignment, misc]


def read_table(batch: GraphBatch, table: Tensor) -> Tensor:
    """Values of a table over distance, linearly interpolated at the distance of each edge, (R, F) to (E, F)."""
    row, part = batch.table_position
    weights = torch.stack([1.0 - part, part], dim=1).to(table.dtype)
    return F.embedding_bag(torch.stack([row, row + 1], dim=1), table, per_sample_weights=weights, mode="sum")


def gated_sum(batch: GraphBatch, center: Tensor, neighbor: Tensor, table: Tensor) -> Tensor:
    r"""The sum of the gated messages of all neighbours at each centre.

    .. math:: m_i = \sum_{j \to i} \sigma(z^{\mathrm{gate}}_{ij}) \, \mathrm{softplus}(z^{\mathrm{core}}_{ij}),
              \qquad z_{ij} = c_i + n_j + t(d_{ij})

    Parameters
    ----------
    center, neighbor : Tensor
        (A, 2F), what each site contributes as a centre and as a neighbour; first the gate, then the core.
    table : Tensor
        (TABLE_ROWS + 2, 2F), what a distance contributes; the last two rows are that of a masked distance.

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
    r"""Moments of the neighbourhood: the sum of the neighbours' values times spherical harmonics, at each centre.

    .. math:: a_i^{mc} = \sum_{j \to i} Y_m(\hat r_{ij}) \, t_c(d_{ij}) \, n_{jc}

    Parameters
    ----------
    neighbor : Tensor
        (A, C).
    table : Tensor
        (TABLE_ROWS + 2, C), weight as a function of distance.
    max_degree : int
        Largest degree of the harmonics.

    Returns
    -------
    Tensor
        (A, M, C), M = (max_degree + 1)^2 - 1.
    """
    harmonics = batch.harmonics(max_degree)
    if _fused(batch, neighbor):
        return FusedDirectedSum.apply(neighbor, table, harmonics, batch.compressed_edges)
    weights = harmonics[:, :, None].to(table.dtype) * read_table(batch, table)[:, None]
    return sum_products_to_centers(batch, neighbor, weights)


def shell_sum(batch: GraphBatch, values: Tensor, g_min: float, g_max: float, n_shells: int) -> Tensor:
    r"""Squared structure factors of site values, summed over shells of reciprocal space.

    .. math:: F_c(\mathbf g) = \sum_i v_{ic}\, e^{2\pi i\, \mathbf g \cdot \mathbf r_i}, \qquad
              P_{sc} = \frac{1}{N^2} \sum_{\mathbf g} \Lambda_s(\ln g)\, \frac{|F_c(\mathbf g)|^2}{g^2}

    over all reciprocal vectors with :math:`g_{min} \le g \le g_{max}` (1/Å); :math:`\Lambda_s` is a triangle around
    shell s; the shells are evenly spaced in :math:`\ln g`. The result depends neither on the choice of the cell, nor on
    origin or orientation.

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
    factors = sum_products_to_centers(
        _Scattering(site, reflection, batch.engine, batch.total_sites, len(g)), values, wave
    )
    weight = 2.0 / (g * batch.num_sites[crystal]) ** 2  # only one of g and -g is listed
    powers = weight[:, None].to(values.dtype) * factors.square().sum(1)
    at = (g / g_min).log() * ((n_shells - 1) / math.log(g_max / g_min))
    row = at.long().clamp(max=n_shells - 2)
    part = (at - row)[:, None].to(values.dtype)
    shells = powers.new_zeros(len(batch) * n_shells, values.shape[1])
    shells = shells.index_add(0, crystal * n_shells + row, (1 - part) * powers)
    shells = shells.index_add(0, crystal * n_shells + row + 1, part * powers)
    return shells.unflatten(0, (len(batch), n_shells))


@dataclass(frozen=True, eq=False)
class _Scattering(Links):
    """Links from every site to the reflections of its crystal."""

    neighbor: Tensor
    center: Tensor
    engine: Engine
    n_sites: int
    n_reflections: int

    @property
    def n_centers(self) -> int:
        return self.n_reflections

    @property
    def n_neighbors(self) -> int:
        return self.n_sites


def _reflections(batch: GraphBatch, g_min: float, g_max: float) -> tuple[np.ndarray, ...]:
    """Half of the reciprocal lattice vectors in range: crystal (R,), Miller indices (R, 3), length (R,), 1/Å."""
    assert batch.lattice is not None
    parts = []
    for crystal, lattice in enumerate(batch.lattice.double().cpu().numpy()):
        lengths, metric = np.linalg.norm(lattice, axis=1), np.linalg.inv(lattice @ lattice.T)
        hkl, g2 = list_half_space(lengths, metric, g_min, g_max)
        parts.append((np.full(len(g2), crystal), hkl, np.sqrt(g2)))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _fused(batch: GraphBatch, values: Tensor) -> bool:
    """Whether the compiled loops compute a sum."""
    fits = FusedGatedSum is not None and values.device.type == "cpu" and values.dtype == torch.float32
    if batch.engine == "fused" and not fits:
        raise ValueError(f"engine: 'fused' needs numba, a CPU and float32, not {values.device.type} {values.dtype}")
    return fits and batch.engine in ("auto", "fused")


def mean_over_sites(batch: GraphBatch, values: Tensor) -> Tensor:
    """Mean over the sites of each crystal, (A, F) to (B, F). It is the same for a cell and its supercell."""
    sums = values.new_zeros(len(batch), values.shape[1]).index_add_(0, batch.crystal, values)
    return sums / batch.num_sites[:, None]


def sum_species(batch: GraphBatch, element_values: Tensor) -> Tensor:
    """Values of the sites from values of the elements, weighted by occupancy, (119, F) to (A, F)."""
    values = element_values[batch.atomic_numbers]
    if len(batch.species_site) == batch.total_sites and bool((batch.occupancy == 1).all()):
        return values
    weighted = values * batch.occupancy[:, None]
    return weighted.new_zeros(batch.total_sites, values.shape[1]).index_add_(0, batch.species_site, weighted)
