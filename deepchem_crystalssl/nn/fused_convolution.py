r"""The sums of a crystal convolution as compiled loops with a backward pass of their own. No edge tensor is stored.

The message that site i receives is

.. math:: m_i = \sum_{e: j \to i} \sigma(z^{\mathrm{gate}}_e)\, \mathrm{softplus}(z^{\mathrm{core}}_e),
          \qquad z_e = c_i + n_j + t(d_e)

Here :math:`c_i` and :math:`n_j` are linear functions of the two sites, and :math:`t` is a function of the distance,
which is read from a table by linear interpolation. Sigmoid and softplus are approximated by rational functions to the
precision of float32, so that the loop over channels calls no library and the compiler can vectorize it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..crystals.compilation import njit
from ..processors import processors

_FAST = {"reassoc", "contract", "nsz", "arcp"}


class FusedGatedSum(torch.autograd.Function):
    """The gated sum over edges as a differentiable function, in float32 on the CPU."""

    @staticmethod
    def forward(ctx: Any, center: Tensor, neighbor: Tensor, table: Tensor, edges: tuple[np.ndarray, ...]) -> Tensor:
        """Return the sums, (A, F), for values of the centre and the neighbour, (A, 2F) each, and the table, (R, 2F).

        A is the number of sites, F that of channels, R that of rows of the table.
        """
        arrays = [x.detach().contiguous().numpy() for x in (center, neighbor, table)]
        out = np.empty((len(center), center.shape[1] // 2), np.float32)
        _for_each_part(edges, _forward, *arrays, out)
        ctx.save_for_backward(center, neighbor, table)
        ctx.edges = edges
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of the three inputs. The values of the edges are computed again."""
        arrays = [x.detach().contiguous().numpy() for x in ctx.saved_tensors]
        out = gradients[0].contiguous().numpy()
        d_center, d_neighbor = np.zeros_like(arrays[0]), np.zeros_like(arrays[1])
        tables = _for_each_part(ctx.edges, _backward, *arrays, out, d_center, d_neighbor)
        return torch.from_numpy(d_center), torch.from_numpy(d_neighbor), torch.from_numpy(sum(tables)), None


class FusedDirectedSum(torch.autograd.Function):
    """The sum over edges, weighted by spherical harmonics, as a differentiable function in float32 on the CPU.

    There is no gradient for the harmonics.
    """

    @staticmethod
    def forward(ctx: Any, neighbor: Tensor, table: Tensor, harmonics: Tensor, edges: tuple[np.ndarray, ...]) -> Tensor:
        """Return the sums (A, M, C) for neighbours' values (A, C), the table (R, C) and the harmonics (E, M)."""
        arrays = [x.detach().contiguous().numpy() for x in (neighbor, table, harmonics)]
        out = np.zeros((len(neighbor), harmonics.shape[1], neighbor.shape[1]), np.float32)
        _for_each_part(edges, _directed_forward, *arrays, out)
        ctx.save_for_backward(neighbor, table, harmonics)
        ctx.edges = edges
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return the gradients of the neighbours' values and of the table."""
        arrays = [x.detach().contiguous().numpy() for x in ctx.saved_tensors]
        out = gradients[0].contiguous().numpy()
        d_neighbor = np.zeros_like(arrays[0])
        tables = _for_each_part(ctx.edges, _directed_backward, *arrays, out, d_neighbor)
        return torch.from_numpy(d_neighbor), torch.from_numpy(sum(tables)), None, None


def _for_each_part(edges: tuple[np.ndarray, ...], function: Any, *arrays: np.ndarray) -> list:
    """Run a compiled loop in threads, each with whole crystals.

    An edge connects sites of one crystal, so two threads never add to the same row.
    """
    first_site, *rows = edges
    ranges = [(int(first_site[a]), int(first_site[b])) for a, b in split_crystals(first_site)]
    return in_threads(lambda begin, end: function(begin, end, *rows, *arrays), ranges)


def split_crystals(first_site: np.ndarray) -> list[tuple[int, int]]:
    """Divide the crystals into one range per thread, with about the same number of sites in each range."""
    n_parts = max(1, min(torch.get_num_threads(), processors(), len(first_site) - 1))
    cuts = np.searchsorted(first_site, np.linspace(0, first_site[-1], n_parts + 1))
    return [(int(a), int(b)) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]


def in_threads(function: Callable[[int, int], Any], ranges: list[tuple[int, int]]) -> list:
    """Call a function for each range, in threads, and return the results in the order of the ranges."""
    if len(ranges) == 1:
        return [function(*ranges[0])]
    with ThreadPoolExecutor(len(ranges)) as pool:  # a new pool for each call, because a pool does not survive a fork
        return list(pool.map(lambda part: function(*part), ranges))


@njit(nogil=True, fastmath=_FAST, error_model="numpy", inline="always")
def _half_tanh(x: np.float32) -> np.float32:
    """Return tanh(x / 2), approximated by a quotient of polynomials (fitted by ``tools/fit_tanh.py``)."""
    y = x * np.float32(0.5)
    y = np.float32(-8.5) if y < np.float32(-8.5) else y
    y = np.float32(8.5) if y > np.float32(8.5) else y
    s = y * y
    p = np.float32(1.411639630e-08)
    p = p * s + np.float32(2.113415515e-05)
    p = p * s + np.float32(3.526595990e-03)
    p = p * s + np.float32(1.340686499e-01)
    p = p * s + np.float32(9.999999479e-01)
    q = np.float32(8.080694464e-07)
    q = q * s + np.float32(3.336951581e-04)
    q = q * s + np.float32(2.599410516e-02)
    q = q * s + np.float32(4.674017699e-01)
    q = q * s + np.float32(1.0)
    return y * p / q


@njit(nogil=True, fastmath=_FAST, error_model="numpy", inline="always")
def _softplus(x: np.float32, half_tanh: np.float32) -> np.float32:
    """Return log(1 + exp(x)), given x and tanh(x / 2).

    It is max(x, 0) + log(1 + y) with y = exp(-abs(x)). The logarithm is computed by the series of atanh.
    """
    t = abs(half_tanh)
    y = (np.float32(1.0) - t) / (np.float32(1.0) + t)
    z = y / (np.float32(2.0) + y)
    z2 = z * z
    s = np.float32(1.0 / 13.0)
    s = s * z2 + np.float32(1.0 / 11.0)
    s = s * z2 + np.float32(1.0 / 9.0)
    s = s * z2 + np.float32(1.0 / 7.0)
    s = s * z2 + np.float32(1.0 / 5.0)
    s = s * z2 + np.float32(1.0 / 3.0)
    s = s * z2 + np.float32(1.0)
    return max(x, np.float32(0.0)) + np.float32(2.0) * z * s


@njit(nogil=True, fastmath=_FAST, error_model="numpy")
def _forward(
    begin: int,
    end: int,
    first_edge: np.ndarray,
    sender: np.ndarray,
    row: np.ndarray,
    part: np.ndarray,
    center: np.ndarray,
    neighbor: np.ndarray,
    table: np.ndarray,
    out: np.ndarray,
) -> None:
    width = out.shape[1]
    half = np.float32(0.5)
    for i in range(begin, end):
        for f in range(width):
            out[i, f] = np.float32(0.0)
        for e in range(first_edge[i], first_edge[i + 1]):
            j, r, t = sender[e], row[e], part[e]
            for f in range(width):
                g = center[i, f] + neighbor[j, f] + table[r, f] + t * (table[r + 1, f] - table[r, f])
                h = f + width
                c = center[i, h] + neighbor[j, h] + table[r, h] + t * (table[r + 1, h] - table[r, h])
                out[i, f] += (half + half * _half_tanh(g)) * _softplus(c, _half_tanh(c))


@njit(nogil=True, fastmath=_FAST, error_model="numpy")
def _backward(
    begin: int,
    end: int,
    first_edge: np.ndarray,
    sender: np.ndarray,
    row: np.ndarray,
    part: np.ndarray,
    center: np.ndarray,
    neighbor: np.ndarray,
    table: np.ndarray,
    out: np.ndarray,
    d_center: np.ndarray,
    d_neighbor: np.ndarray,
) -> np.ndarray:
    width = out.shape[1]
    half, one = np.float32(0.5), np.float32(1.0)
    d_table = np.zeros_like(table)
    for i in range(begin, end):
        for e in range(first_edge[i], first_edge[i + 1]):
            j, r, t = sender[e], row[e], part[e]
            for f in range(width):
                g = center[i, f] + neighbor[j, f] + table[r, f] + t * (table[r + 1, f] - table[r, f])
                h = f + width
                c = center[i, h] + neighbor[j, h] + table[r, h] + t * (table[r + 1, h] - table[r, h])
                tanh_c = _half_tanh(c)
                gate, slope = half + half * _half_tanh(g), half + half * tanh_c
                d_g = out[i, f] * _softplus(c, tanh_c) * gate * (one - gate)
                d_c = out[i, f] * gate * slope
                d_center[i, f] += d_g
                d_center[i, h] += d_c
                d_neighbor[j, f] += d_g
                d_neighbor[j, h] += d_c
                d_table[r, f] += d_g * (one - t)
                d_table[r + 1, f] += d_g * t
                d_table[r, h] += d_c * (one - t)
                d_table[r + 1, h] += d_c * t
    return d_table


@njit(nogil=True, fastmath=_FAST, error_model="numpy")
def _directed_forward(
    begin: int,
    end: int,
    first_edge: np.ndarray,
    sender: np.ndarray,
    row: np.ndarray,
    part: np.ndarray,
    neighbor: np.ndarray,
    table: np.ndarray,
    harmonics: np.ndarray,
    out: np.ndarray,
) -> None:
    n_channels, n_harmonics = neighbor.shape[1], harmonics.shape[1]
    value = np.empty(n_channels, np.float32)
    for i in range(begin, end):
        for e in range(first_edge[i], first_edge[i + 1]):
            j, r, t = sender[e], row[e], part[e]
            for c in range(n_channels):
                value[c] = neighbor[j, c] * (table[r, c] + t * (table[r + 1, c] - table[r, c]))
            for m in range(n_harmonics):
                y = harmonics[e, m]
                for c in range(n_channels):
                    out[i, m, c] += y * value[c]


@njit(nogil=True, fastmath=_FAST, error_model="numpy")
def _directed_backward(
    begin: int,
    end: int,
    first_edge: np.ndarray,
    sender: np.ndarray,
    row: np.ndarray,
    part: np.ndarray,
    neighbor: np.ndarray,
    table: np.ndarray,
    harmonics: np.ndarray,
    out: np.ndarray,
    d_neighbor: np.ndarray,
) -> np.ndarray:
    n_channels, n_harmonics = neighbor.shape[1], harmonics.shape[1]
    one = np.float32(1.0)
    d_table = np.zeros_like(table)
    d_value = np.empty(n_channels, np.float32)
    for i in range(begin, end):
        for e in range(first_edge[i], first_edge[i + 1]):
            j, r, t = sender[e], row[e], part[e]
            for c in range(n_channels):
                d_value[c] = np.float32(0.0)
            for m in range(n_harmonics):
                y = harmonics[e, m]
                for c in range(n_channels):
                    d_value[c] += y * out[i, m, c]
            for c in range(n_channels):
                d_neighbor[j, c] += d_value[c] * (table[r, c] + t * (table[r + 1, c] - table[r, c]))
                slope = d_value[c] * neighbor[j, c]
                d_table[r, c] += slope * (one - t)
                d_table[r + 1, c] += slope * t
    return d_table
