r"""Structure factors of learned site values, summed over shells of reciprocal space, as one compiled loop with its own
backward: no phase is ever stored. See :mod:`.structure_factor` for the formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..diffraction.kernels import fill_phases
from .fused_convolution import in_threads, split_crystals


class FusedShellSum(torch.autograd.Function):
    """Autograd node of the compiled loop; float32, CPU."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, cells: tuple[np.ndarray, ...], shells: tuple[float, float, int]) -> Tensor:
        """(A, C), the crystals' arrays and (g_min, g_max, number of shells) to (B, S, C)."""
        first_site, lengths, metrics, positions = cells
        out = np.zeros((len(lengths), shells[2], values.shape[1]), np.float32)
        array = values.detach().contiguous().numpy()
        nothing = np.zeros((0, 0, 0), np.float32)
        _walk_in_parts(cells, array, shells, out, nothing, np.zeros((0, 0), np.float32))
        ctx.save_for_backward(values)
        ctx.cells, ctx.shells = cells, shells
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of the values; the structure factors are computed anew."""
        array = ctx.saved_tensors[0].detach().contiguous().numpy()
        d_values = np.zeros_like(array)
        out = np.zeros((0, 0, 0), np.float32)
        _walk_in_parts(ctx.cells, array, ctx.shells, out, gradients[0].contiguous().numpy(), d_values)
        return torch.from_numpy(d_values), None, None


def _walk_in_parts(cells: tuple[np.ndarray, ...], values: np.ndarray, shells: Any, *arrays: np.ndarray) -> None:
    first_site, *rest = cells
    in_threads(lambda a, b: _walk(a, b, first_site, *rest, values, *shells, *arrays), split_crystals(first_site))


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _walk(
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
    """Shell sums of crystals begin..end into ``out``, or, where there is a ``gradient``, that of the values."""
    n_channels = values.shape[1]
    learning = len(gradient) > 0
    per_log = (n_shells - 1) / np.log(g_max / g_min)
    f_re, f_im = np.zeros(n_channels, np.float32), np.zeros(n_channels, np.float32)
    for b in range(begin, end):
        first, last = first_site[b], first_site[b + 1]
        n = last - first
        h_max, k_max = int(g_max * lengths[b, 0] + 1e-6), int(g_max * lengths[b, 1] + 1e-6)
        l_max = int(g_max * lengths[b, 2] + 1e-6)
        h_re, h_im = np.empty((h_max + 1, n), np.float32), np.empty((h_max + 1, n), np.float32)
        k_re, k_im = np.empty((k_max + 1, n), np.float32), np.empty((k_max + 1, n), np.float32)
        l_re, l_im = np.empty((l_max + 1, n), np.float32), np.empty((l_max + 1, n), np.float32)
        fill_phases(positions[first:last, 0], h_re, h_im)
        fill_phases(positions[first:last, 1], k_re, k_im)
        fill_phases(positions[first:last, 2], l_re, l_im)
        hk_re, hk_im = np.empty(n, np.float32), np.empty(n, np.float32)
        re, im = np.empty(n, np.float32), np.empty(n, np.float32)
        metric = metrics[b]
        of_site = values[first:last].T.copy()  # the loops over sites are the long ones
        d_of_site = np.zeros_like(of_site)
        for h in range(h_max + 1):
            for k in range(-k_max if h > 0 else 0, k_max + 1):
                # g^2 = a + 2 b l + c l^2 <= g_max^2 bounds l; of g and -g one is enough.
                a = metric[0, 0] * h * h + 2.0 * metric[0, 1] * h * k + metric[1, 1] * k * k
                half = metric[0, 2] * h + metric[1, 2] * k
                c = metric[2, 2]
                inside = half * half - c * (a - g_max * g_max)
                if inside < 0.0:
                    continue
                l_low = max(int(np.ceil((-half - np.sqrt(inside)) / c)), -l_max)
                l_high = min(int(np.floor((-half + np.sqrt(inside)) / c)), l_max)
                if h == 0 and k == 0:
                    l_low = 1
                if l_low > l_high:
                    continue
                sign = np.float32(-1.0 if k < 0 else 1.0)
                for m in range(n):
                    u, v = k_re[abs(k), m], sign * k_im[abs(k), m]
                    hk_re[m] = h_re[h, m] * u - h_im[h, m] * v
                    hk_im[m] = h_re[h, m] * v + h_im[h, m] * u
                for l in range(l_low, l_high + 1):
                    g2 = a + 2.0 * half * l + c * l * l
                    if g2 < g_min * g_min or g2 > g_max * g_max:
                        continue
                    turn = np.float32(-1.0 if l < 0 else 1.0)
                    for m in range(n):
                        u, v = l_re[abs(l), m], turn * l_im[abs(l), m]
                        re[m] = hk_re[m] * u - hk_im[m] * v
                        im[m] = hk_re[m] * v + hk_im[m] * u
                    for q in range(n_channels):
                        x, y = np.float32(0.0), np.float32(0.0)
                        for m in range(n):
                            x += re[m] * of_site[q, m]
                            y += im[m] * of_site[q, m]
                        f_re[q], f_im[q] = x, y
                    at = 0.5 * np.log(g2 / (g_min * g_min)) * per_log
                    row = min(int(at), n_shells - 2)
                    part = np.float32(at - row)
                    weight = np.float32(2.0 / (g2 * n * n))
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
