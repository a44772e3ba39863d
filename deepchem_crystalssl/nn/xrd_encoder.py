"""The encoder of powder patterns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import head_widths, mlp
from .normalization import BatchRenorm

Axis = Literal["two_theta", "log_q"]


class XRDEncoder(nn.Module):
    """A one-dimensional convolutional network over two-theta (after Suzuki et al. 2022).

    :class:`~deepchem_crystalssl.nn.normalization.BatchRenorm` takes the place of their BatchNorm, so that the encoder
    computes the same in training and in use.

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
        Exponent of the intensities. The square root raises weak reflections; 1 is as published.
    axis : {"two_theta", "log_q"}
        Coordinate of the convolutions: the angle, as published, or the logarithm of the scattering vector
        (:class:`LogScatteringVector`).
    two_theta : (float, float)
        First and last angle of the patterns, degrees.
    pooling : bool
        Whether neighbouring positions are averaged between the convolutions, as published, which leaves 11 positions.
        Otherwise only strides shorten the pattern, to 50 positions, so that the head resolves the positions of peaks.
    unit_length : bool
        Whether vectors are normalised to length 1; in the paper they are not.

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
        axis: Axis = "two_theta",
        two_theta: tuple[float, float] = (10.0, 110.0),
        pooling: bool = True,
        unit_length: bool = True,
    ):
        super().__init__()
        self.n_bins = n_bins
        self.embedding_size = embedding_size
        self.power = power
        self.unit_length = unit_length
        if axis not in ("two_theta", "log_q"):
            raise ValueError(f"axis: {axis!r}; must be 'two_theta' or 'log_q'")
        self.rebin = LogScatteringVector(n_bins, *two_theta) if axis == "log_q" else nn.Identity()
        self.convolutions = nn.Sequential(
            *_block(1, channels, kernel=50, stride=5, padding=10),
            *_block(channels, channels, kernel=10, stride=5, padding=5),
            *(_pooled(channels) if pooling else _strided(channels)),
            nn.Flatten(),
        )
        with torch.no_grad():
            n_features = self.convolutions(torch.zeros(1, 1, n_bins)).shape[1]
        self.head = mlp(head_widths(n_features, hidden, embedding_size))

    def forward(self, patterns: Tensor) -> Tensor:
        """(B, n_bins) to (B, embedding_size)."""
        intensities = self.rebin(patterns.clamp(min=0)) ** self.power
        vectors = self.head(self.convolutions(intensities[:, None])).float()
        return F.normalize(vectors, dim=1) if self.unit_length else vectors


class LogScatteringVector(nn.Module):
    r"""Patterns over two-theta, rebinned over :math:`\ln q` with :math:`q \propto \sin\theta`.

    In this coordinate an isotropic strain shifts all peaks by the same amount, :math:`\ln q \to \ln q - \epsilon`, to
    which a convolution is insensitive. The total intensity is conserved: a bin is divided among the bins it overlaps.

    Parameters
    ----------
    n_bins : int
        Number of bins, before and after.
    two_theta_min, two_theta_max : float
        Degrees.
    """

    position: Tensor

    def __init__(self, n_bins: int, two_theta_min: float, two_theta_max: float):
        super().__init__()
        first, last = (math.log(math.sin(math.radians(angle / 2))) for angle in (two_theta_min, two_theta_max))
        angle = 2 * torch.rad2deg(torch.asin(torch.linspace(first, last, n_bins + 1, dtype=torch.float64).exp()))
        position = (angle - two_theta_min) / (two_theta_max - two_theta_min) * n_bins
        self.register_buffer("position", position.clamp(0, n_bins).float(), persistent=False)

    def forward(self, patterns: Tensor) -> Tensor:
        """(B, n_bins) to (B, n_bins)."""
        below = F.pad(patterns.double().cumsum(1), (1, 0))
        left = self.position.floor().long().clamp(max=patterns.shape[1] - 1)
        part = self.position - left
        held = below[:, left] + part * (below[:, left + 1] - below[:, left])
        return held.diff(dim=1).to(patterns.dtype).clamp(min=0)


class OneChannelConvolution(nn.Conv1d):
    """A convolution of one channel, whose kernel length is a multiple of the stride.

    It is computed with the bins of one stride as channels, which is several times faster because the fast algorithms of
    the libraries need inputs of several channels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, n_bins) to (B, F, L); the output is contiguous, which makes the next layers faster."""
        stride, padding = self.stride[0], int(self.padding[0])
        padded = F.pad(x[:, 0], (padding, padding))
        n = padded.shape[1] // stride
        bins = padded[:, : n * stride].unflatten(1, (n, stride)).transpose(1, 2).contiguous()
        kernel = self.weight[:, 0].unflatten(1, (-1, stride)).transpose(1, 2).contiguous()
        return F.conv1d(bins, kernel, self.bias)


class MeanPool(nn.Module):
    """``torch.nn.AvgPool1d``, computed as a sum of slices, which is several times faster on a CPU."""

    def __init__(self, kernel: int, stride: int):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, L) to (B, F, (L - kernel) // stride + 1)."""
        reach = (x.shape[-1] - self.kernel) // self.stride * self.stride + 1
        slices = [x[..., k : k + reach : self.stride] for k in range(self.kernel)]
        return sum(slices[1:], slices[0]) / self.kernel


def _block(n_in: int, n_out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    convolution = OneChannelConvolution if n_in == 1 else nn.Conv1d
    return [convolution(n_in, n_out, kernel, stride, padding), BatchRenorm(n_out), nn.ReLU()]


def _pooled(channels: int) -> list[nn.Module]:
    """The last layers as published, which reduce 200 positions to 11."""
    return [MeanPool(4, 2), *_block(channels, channels, kernel=3, stride=3, padding=0), MeanPool(3, 3)]


def _strided(channels: int) -> list[nn.Module]:
    """The last layers with strides alone, which reduce 200 positions to 50."""
    return [layer for _ in range(2) for layer in _block(channels, channels, kernel=5, stride=2, padding=2)]
