"""Structure factors of learned site values, summed over shells of reciprocal space, as one compiled loop.

The backward pass computes the structure factors again, so that no phases are stored. The formula is in the
documentation of :func:`.message_passing.shell_sum`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..crystals.compilation import njit
from ..crystals.reciprocal import fill_phases, largest_indices, list_half_space
from .fused_convolution import in_threads, split_crystals


class FusedShellSum(torch.autograd.Function):
    """The compiled loop as a differentiable function, in float32 on the CPU."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, cells: tuple[np.ndarray, ...], shells: tuple[float, float, int]) -> Tensor:
        """Return the shell sums (B, S, C) of site values (A, C).

        B is the number of crystals, S that of shells, A that of sites and C that of channels. ``cells`` are the arrays
        of :attr:`.GraphBatch.cells`; ``shells`` is (g_min, g_max, S).
        """
        first_site, lengths, metrics, positions = cells
        out = np.zeros((len(lengths), shells[2], values.shape[1]), np.float32)
        array = values.detach().contiguous().numpy()
        nothing = np.zeros((0, 0, 0), np.float32)
        _sum_in_threads(cells, array, shells, out, nothing, np.zeros((0, 0), np.float32))
        ctx.save_for_backward(values)
        ctx.cells, ctx.shells = cells, shells
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the site values. The structure factors are computed again."""
        array = ctx.saved_tensors[0].detach().contiguous().numpy()
        d_values = np.zeros_like(array)
        out = np.zeros((0, 0, 0), np.float32)
        _sum_in_threads(ctx.cells, array, ctx.shells, out, gradients[0].contiguous().numpy(), d_values)
        return torch.from_numpy(d_values), None, None


def _sum_in_threads(cells: tuple[np.ndarray, ...], values: np.ndarray, shells: Any, *arrays: np.ndarray) -> None:
    first_site, *rest = cells
    in_threads(lambda a, b: _sum_shells(a, b, first_site, *rest, values, *shells, *arrays), split_crystals(first_site))


@njit(nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _sum_shells(
    begin: int,
    end: int,
    first_site: np.ndarray,
    lengths: np.ndarray,
    metrics: np.ndarray,
    positions: np.ndarray,
    values: np.ndarray,
    g_min: float,
    g_max: float,
    n_shells: int,
    out: np.ndarray,
    gradient: np.ndarray,
    d_values: np.ndarray,
) -> None:
    """Add the shell sums of the crystals from ``begin`` to ``end`` to ``out``.

    If ``gradient`` is not empty, write the gradient of the values into ``d_values`` instead.
    """
    n_channels = values.shape[1]
    learning = len(gradient) > 0
    per_log = (n_shells - 1) / np.log(g_max / g_min)
    f_re, f_im = np.zeros(n_channels, np.float32), np.zeros(n_channels, np.float32)
    for b in range(begin, end):
        first, last = first_site[b], first_site[b + 1]
        n = last - first
        h_max, k_max, l_max = largest_indices(lengths[b], g_max)
        h_re, h_im = np.empty((h_max + 1, n), np.float32), np.empty((h_max + 1, n), np.float32)
        k_re, k_im = np.empty((k_max + 1, n), np.float32), np.empty((k_max + 1, n), np.float32)
        l_re, l_im = np.empty((l_max + 1, n), np.float32), np.empty((l_max + 1, n), np.float32)
        fill_phases(positions[first:last, 0], h_re, h_im)
        fill_phases(positions[first:last, 1], k_re, k_im)
        fill_phases(positions[first:last, 2], l_re, l_im)
        hk_re, hk_im = np.empty(n, np.float32), np.empty(n, np.float32)
        re, im = np.empty(n, np.float32), np.empty(n, np.float32)
        of_site = values[first:last].T.copy()  # sites come last, because the inner loops run over sites
        d_of_site = np.zeros_like(of_site)
        hkl, g2 = list_half_space(lengths[b], metrics[b], g_min, g_max)
        for r in range(len(g2)):
            h, k, l = hkl[r, 0], hkl[r, 1], hkl[r, 2]
            if r == 0 or h != hkl[r - 1, 0] or k != hkl[r - 1, 1]:
                sign = np.float32(-1.0 if k < 0 else 1.0)
                for m in range(n):
                    u, v = k_re[abs(k), m], sign * k_im[abs(k), m]
                    hk_re[m] = h_re[h, m] * u - h_im[h, m] * v
                    hk_im[m] = h_re[h, m] * v + h_im[h, m] * u
            sign = np.float32(-1.0 if l < 0 else 1.0)
            for m in range(n):
                u, v = l_re[abs(l), m], sign * l_im[abs(l), m]
                re[m] = hk_re[m] * u - hk_im[m] * v
                im[m] = hk_re[m] * v + hk_im[m] * u
            for q in range(n_channels):
                x, y = np.float32(0.0), np.float32(0.0)
                for m in range(n):
                    x += re[m] * of_site[q, m]
                    y += im[m] * of_site[q, m]
                f_re[q], f_im[q] = x, y
            at = 0.5 * np.log(g2[r] / (g_min * g_min)) * per_log
            row = min(int(at), n_shells - 2)
            part = np.float32(at - row)
            weight = np.float32(2.0 / (g2[r] * n * n))  # of g and -g one is listed
            if learning:
                low, high = np.float32(2.0) * weight * (np.float32(1.0) - part), np.float32(2.0) * weight * part
                for q in range(n_channels):
                    d = low * gradient[b, row, q] + high * gradient[b, row + 1, q]
                    x, y = d * f_re[q], d * f_im[q]
                    for m in range(n):
                        d_of_site[q, m] += re[m] * x + im[m] * y
            else:
                for q in range(n_channels):
                    power = weight * (f_re[q] * f_re[q] + f_im[q] * f_im[q])
                    out[b, row, q] += (np.float32(1.0) - part) * power
                    out[b, row + 1, q] += part * power
        if learning:
            d_values[first:last] = d_of_site.T
