"""Crystal graphs to vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..crystals.elements import element_features
from .layers import CrystalConvolution, mlp
from .message_passing import GraphBatch, mean_over_sites, sum_species


class CrystalEncoder(nn.Module):
    """Convolutions over nearest shells, then the mean over sites (after Suzuki et al. 2022).

    Parameters
    ----------
    width : int
        Size of a site vector.
    n_layers : int
        Number of convolutions.
    hidden : int
        Width of the layer after pooling.
    embedding_size : int
        Size of the crystal vector.

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> CrystalEncoder()(GraphBatch.from_graphs(structures_to_graphs(salt))).shape
    torch.Size([1, 128])
    """

    element_features: Tensor

    def __init__(self, width: int = 64, n_layers: int = 3, hidden: int = 256, embedding_size: int = 128):
        super().__init__()
        self.register_buffer("element_features", torch.tensor(element_features()), persistent=False)
        self.embed_elements = nn.Linear(self.element_features.shape[1], width)
        self.convolutions = nn.ModuleList(CrystalConvolution(width) for _ in range(n_layers))
        self.head = mlp([width, hidden, embedding_size])

    def encode_sites(self, batch: GraphBatch) -> list[Tensor]:
        """Site vectors after every layer, each (A, width); the first knows only the element."""
        layers = [sum_species(batch, self.embed_elements(self.element_features))]
        for convolution in self.convolutions:
            layers.append(convolution(batch, layers[-1]))
        return layers

    def forward(self, batch: GraphBatch) -> Tensor:
        """Crystal vectors, (B, embedding_size)."""
        return self.head(mean_over_sites(batch, self.encode_sites(batch)[-1]))
