"""Powder patterns to vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import head_widths, mlp
from .normalization import BatchRenorm


class XRDEncoder(nn.Module):
    """A one-dimensional convolutional network over two-theta (after Suzuki et al. 2022).

    :class:`~deepchem_crystalssl.nn.normalization.BatchRenorm` takes the place of their BatchNorm: it does the same in
    training and in use.

    Parameters
    ----------
    n_bins : int
        Number of bins of a pattern.
    channels : int
        Width of the convolutions.
    hidden : int or sequence of int
        Width of the layer, or layers, after them.
    embedding_size : int
        Size of the vector.
    power : float
        Intensities enter raised to it: the square root lets weak reflections speak, 1 is as published.
    unit_length : bool
        Whether vectors have length 1; as published they have any.

    Examples
    --------
    >>> XRDEncoder(channels=16)(torch.rand(2, 5000)).shape
    torch.Size([2, 128])
    """

    def __init__(
        self,
        n_bins: int = 5000,
        channels: int = 80,
        hidden: int | Sequence[int] = 256,
        embedding_size: int = 128,
        power: float = 0.5,
        unit_length: bool = True,
    ):
        super().__init__()
        self.n_bins = n_bins
        self.embedding_size = embedding_size
        self.power = power
        self.unit_length = unit_length
        self.convolutions = nn.Sequential(
            *_block(1, channels, kernel=50, stride=5, padding=10),
            *_block(channels, channels, kernel=10, stride=5, padding=5),
            nn.AvgPool1d(4, 2),
            *_block(channels, channels, kernel=3, stride=3, padding=0),
            nn.AvgPool1d(3),
            nn.Flatten(),
        )
        with torch.no_grad():
            n_features = self.convolutions(torch.zeros(1, 1, n_bins)).shape[1]
        self.head = mlp(head_widths(n_features, hidden, embedding_size))

    def forward(self, patterns: Tensor) -> Tensor:
        """(B, n_bins) to (B, embedding_size)."""
        intensities = patterns.clamp(min=0) ** self.power
        vectors = self.head(self.convolutions(intensities[:, None])).float()
        return F.normalize(vectors, dim=1) if self.unit_length else vectors


def _block(n_in: int, n_out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    return [nn.Conv1d(n_in, n_out, kernel, stride, padding), BatchRenorm(n_out), nn.ReLU()]
