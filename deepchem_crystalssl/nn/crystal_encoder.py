"""Crystal graphs to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crystals.elements import element_features
from .bonds import counted_from_single_bonds
from .layers import CrystalConvolution, head_widths, mlp
from .message_passing import GraphBatch, mean_over_sites, sum_species
from .structure_factor import StructureFactorReadout

Readout = Literal["mean", "mean_std"]


class CrystalEncoder(nn.Module):
    """Convolutions over nearest shells, a readout over sites, and a head (after Suzuki et al. 2022).

    Parameters
    ----------
    width : int
        Size of a site vector.
    n_layers : int
        Number of convolutions.
    hidden : int or sequence of int
        Width of the head's hidden layer, or layers.
    embedding_size : int
        Size of the crystal vector.
    readout : {"mean", "mean_std"}
        What the head sees: the mean over sites of the last layer, as published; or mean and standard deviation over
        sites of every layer, and the logarithm of the volume per site.
    angles : bool
        Whether the convolutions see the angles between neighbours, not only distances.
    long_range : bool
        Whether the head sees a :class:`~deepchem_crystalssl.nn.structure_factor.StructureFactorReadout` too.
    bond_relative : bool
        Whether distances are counted from the length of a single bond between the two elements.
    unit_length : bool
        Whether crystal vectors have length 1; as published they have any.

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> CrystalEncoder()(GraphBatch.from_graphs(structures_to_graphs(salt))).shape
    torch.Size([1, 128])
    """

    element_features: Tensor

    def __init__(
        self,
        width: int = 64,
        n_layers: int = 3,
        hidden: int | Sequence[int] = 256,
        embedding_size: int = 128,
        readout: Readout = "mean",
        angles: bool = False,
        long_range: bool = False,
        bond_relative: bool = False,
        unit_length: bool = True,
    ):
        super().__init__()
        self.width = width
        self.readout = readout
        self.bond_relative = bond_relative
        self.unit_length = unit_length
        self.embedding_size = embedding_size
        self.register_buffer("element_features", torch.tensor(element_features()), persistent=False)
        self.embed_elements = nn.Linear(self.element_features.shape[1], width)
        self.hidden_element = nn.Parameter(torch.zeros(width))
        self.convolutions = nn.ModuleList(CrystalConvolution(width, angles) for _ in range(n_layers))
        self.pooled_size = width if readout == "mean" else 2 * width * (n_layers + 1) + 1
        self.long_range = StructureFactorReadout(width) if long_range else None
        n_shells = self.long_range.size if self.long_range is not None else 0
        self.head = mlp(head_widths(self.pooled_size + n_shells, hidden, embedding_size))

    def encode_sites(self, batch: GraphBatch) -> list[Tensor]:
        """Site vectors after every layer, each (A, width); the first knows only the element."""
        if self.bond_relative:
            batch = counted_from_single_bonds(batch)
        sites = sum_species(batch, self.embed_elements(self.element_features))
        if batch.masked_sites is not None:
            sites = torch.where(batch.masked_sites[:, None], self.hidden_element, sites)
        layers = [sites]
        for convolution in self.convolutions:
            layers.append(convolution(batch, layers[-1]))
        return layers

    def pool(self, batch: GraphBatch, layers: list[Tensor]) -> Tensor:
        """The readout over sites, (B, pooled_size)."""
        if self.readout == "mean":
            return mean_over_sites(batch, layers[-1])
        assert batch.volume is not None
        per_site = (batch.volume / batch.num_sites).log()[:, None]
        return torch.cat([*(mean_and_std(batch, layer) for layer in layers), per_site], dim=1)

    def add_long_range(self, batch: GraphBatch, layers: list[Tensor], pooled: Tensor) -> Tensor:
        """What the head sees: the readout over sites and, if it is there, that of long-range order."""
        return pooled if self.long_range is None else torch.cat([pooled, self.long_range(batch, layers[-1])], dim=1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Crystal vectors, (B, embedding_size)."""
        layers = self.encode_sites(batch)
        return self.project(self.add_long_range(batch, layers, self.pool(batch, layers)))

    def project(self, seen: Tensor) -> Tensor:
        """From what the head sees into the space shared with patterns."""
        vectors = self.head(seen).float()
        return F.normalize(vectors, dim=1) if self.unit_length else vectors


def mean_and_std(batch: GraphBatch, values: Tensor) -> Tensor:
    """Mean and standard deviation over the sites of each crystal, (A, F) to (B, 2F)."""
    mean = mean_over_sites(batch, values)
    variance = mean_over_sites(batch, (values - mean[batch.crystal]) ** 2)
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)
