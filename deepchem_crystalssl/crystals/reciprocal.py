"""The reciprocal lattice of a crystal.

The functions are compiled by numba where it is installed, and run as plain Python where it is not, so that networks
need PyTorch and NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import LimitError

MOST_VECTORS = 4_000_000
"""Reciprocal lattice vectors of one crystal that are listed, half of those in range."""
MOST_PHASES = 5e9
"""Phases of one crystal that are computed: vectors times sites."""
_MOST_LINES, _MOST_TABLED = 2e7, 2e7  # of vectors with equal h and k; phases in tables

try:
    from .compilation import njit
except ImportError:

    def njit(**options: Any) -> Callable[[Callable], Any]:
        """Leave a function as it is."""
        return lambda function: function


def are_too_large(lattices: np.ndarray, sites: np.ndarray, g_max: float) -> np.ndarray:
    """Which crystals have too many reciprocal lattice vectors, or phases of these, to be computed in a short time.

    Parameters
    ----------
    lattices : (S, 3, 3) float64
        Cell vectors as rows, Å.
    sites : (S,)
        Numbers of sites.
    g_max : float
        Length up to which vectors are listed, 1/Å.

    Returns
    -------
    numpy.ndarray
        bool (S,).
    """
    indices = g_max * np.sqrt((lattices * lattices).sum(axis=2)) + 1.0
    vectors = _half_sphere(lattices, g_max)
    lines, tabled = 2.0 * indices[:, 0] * indices[:, 1], indices.sum(axis=1) * sites
    return (
        (vectors > MOST_VECTORS)
        | (vectors * sites > MOST_PHASES)
        | (lines > _MOST_LINES)
        | (tabled > _MOST_TABLED)
    )  # fmt: skip


def _half_sphere(lattices: np.ndarray, g_max: float) -> np.ndarray:
    """About how many vectors are listed: the half sphere of radius g_max times the volume of the cell."""
    return 2.0 / 3.0 * np.pi * g_max**3 * np.abs(np.linalg.det(lattices))


def size_error(lattice: np.ndarray, sites: int, g_max: float, item: str) -> LimitError:
    """The error of a crystal that is too large."""
    vectors, volume = float(_half_sphere(lattice, g_max)), float(abs(np.linalg.det(lattice)))
    return LimitError(
        item,
        f"a cell of {volume:.3g} Å^3 with {sites:,} sites, and about {vectors:.2g} reflections",
        f"a crystal has at most {MOST_VECTORS:,} reflections, and {MOST_PHASES:.0g} if multiplied by its sites",
        "Give the crystal in a smaller or reduced cell, or a smaller range of angles.",
    )


@njit(nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def list_half_space(
    lengths: np.ndarray, metric: np.ndarray, g_min: float, g_max: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""One of every two opposite reciprocal lattice vectors g with g_min <= \|g\| <= g_max.

    The intensities of g and -g are equal (Friedel's law). Of each pair that vector is listed whose first index other
    than 0 is positive. Vectors of equal h and k follow each other.

    Parameters
    ----------
    lengths : (3,) float64
        Lengths of the cell vectors, Å.
    metric : (3, 3) float64
        Scalar products of the reciprocal cell vectors (without 2 pi), 1/Å^2.
    g_min, g_max : float
        1/Å; g = 1/d = 2 sin(theta) / lambda.

    Returns
    -------
    hkl : (R, 3) int32
        Miller indices.
    g2 : (R,) float64
        Squared lengths of the vectors, 1/Å^2.
    """
    h_max, k_max, l_max = largest_indices(lengths, g_max)
    g2_min, g2_max = g_min * g_min, g_max * g_max
    c = metric[2, 2]
    room, n = 4096, 0
    hkl, g2 = np.empty((room, 3), np.int32), np.empty(room)
    for h in range(h_max + 1):
        for k in range(-k_max if h > 0 else 0, k_max + 1):
            # g^2 = a + 2 b l + c l^2 <= g2_max bounds l.
            a = metric[0, 0] * h * h + 2.0 * metric[0, 1] * h * k + metric[1, 1] * k * k
            b = metric[0, 2] * h + metric[1, 2] * k
            inside = b * b - c * (a - g2_max)
            if inside < 0.0:
                continue
            l_low = max(int(np.ceil((-b - np.sqrt(inside)) / c)), -l_max)
            l_high = min(int(np.floor((-b + np.sqrt(inside)) / c)), l_max)
            if h == 0 and k == 0:
                l_low = 1
            for l in range(l_low, l_high + 1):
                squared = a + 2.0 * b * l + c * l * l
                if squared < g2_min or squared > g2_max:
                    continue
                if n == room:
                    room *= 2
                    hkl, g2 = _grown(hkl, room), _grown(g2, room)
                hkl[n, 0], hkl[n, 1], hkl[n, 2] = h, k, l
                g2[n] = squared
                n += 1
    return hkl[:n], g2[:n]


@njit(nogil=True, error_model="numpy")
def largest_indices(lengths: np.ndarray, g_max: float) -> tuple[int, int, int]:
    """Largest absolute values of the Miller indices of reciprocal lattice vectors up to a length, 1/Å.

    An index is the scalar product of g with a cell vector, and so at most the product of their lengths.
    """
    return int(g_max * lengths[0] + 1e-6), int(g_max * lengths[1] + 1e-6), int(g_max * lengths[2] + 1e-6)


@njit(nogil=True, error_model="numpy")
def fill_phases(x: np.ndarray, re: np.ndarray, im: np.ndarray) -> None:
    """Fill in real and imaginary parts of exp(2 pi i n x) for n = 0, 1, ..., by powers of the first.

    Parameters
    ----------
    x : (N,)
        Fractional coordinates.
    re, im : (n_max + 1, N)
        Filled.
    """
    for m in range(len(x)):
        c, s = np.cos(2.0 * np.pi * x[m]), np.sin(2.0 * np.pi * x[m])
        u, v = 1.0, 0.0
        for n in range(len(re)):
            re[n, m], im[n, m] = u, v
            u, v = u * c - v * s, u * s + v * c


@njit(nogil=True, error_model="numpy")
def _grown(values: np.ndarray, size: int) -> np.ndarray:
    larger = np.empty((size, *values.shape[1:]), values.dtype)
    larger[: len(values)] = values
    return larger
