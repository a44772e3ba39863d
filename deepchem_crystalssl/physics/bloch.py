"""Bloch sums: matrices over the atoms of one cell, for waves that run through the whole crystal.

Wave vectors form the grid (1/n) times the reciprocal lattice, with Gamma and the same n in all directions. This grid
does not depend on which cell vectors describe the lattice. Where all components are 0 or 1/2, the matrices are real.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..crystals.compilation import njit
from .bonds import Bonds


@cache
def wave_vectors(n: int) -> tuple[np.ndarray, np.ndarray, int]:
    """One wave vector of each pair q, -q, with its weight.

    Parameters
    ----------
    n : int
        Number of wave vectors along each reciprocal lattice vector.

    Returns
    -------
    q : numpy.ndarray
        float64 (Q, 3), in reciprocal lattice vectors; Gamma first, then the others at which matrices are real.
    weight : numpy.ndarray
        float64 (Q,), which adds up to 1.
    n_real : int
        At how many wave vectors matrices are real.

    Examples
    --------
    >>> q, weight, n_real = wave_vectors(2)
    >>> q.shape, q[0].tolist(), weight[0].item(), n_real
    ((8, 3), [0.0, 0.0, 0.0], 0.125, 8)
    """
    grid = np.indices((n, n, n)).reshape(3, -1).T
    place = grid @ (n * n, n, 1)
    opposite = (-grid % n) @ (n * n, n, 1)
    own, paired = grid[place == opposite], grid[place < opposite]
    q, weight = np.concatenate([own, paired]) / n, np.repeat([1.0, 2.0], [len(own), len(paired)]) / n**3
    q.flags.writeable = weight.flags.writeable = False
    return q, weight, len(own)


def waves_per_axis(n_sites: int, n_rows: int) -> int:
    """Number of wave vectors along each axis: the smaller the cell, the more.

    Parameters
    ----------
    n_sites : int
        Number of atoms in the primitive cell.
    n_rows : int
        Of the matrices.

    Returns
    -------
    int
        4 up to 2 atoms, 3 up to 6, 2 up to 20 atoms and 110 rows, else 1.

    Examples
    --------
    >>> waves_per_axis(2, 18), waves_per_axis(5, 45), waves_per_axis(15, 135)
    (4, 3, 1)
    """
    return 4 if n_sites <= 2 else 3 if n_sites <= 6 else 2 if n_sites <= 20 and n_rows <= 110 else 1


def bloch_matrices(
    q: np.ndarray, same_site: np.ndarray, blocks: np.ndarray, rows: np.ndarray, bonds: Bonds, real: bool = False
) -> np.ndarray:
    r"""The Hermitian matrices :math:`M_{ij}(q) = S_{ij} + \sum_{e: j \to i} B_e e^{2 \pi i\, q \cdot image_e}`.

    An edge and the edge that leads back are one bond, so that each is counted half, with :math:`B_e / 2` in the place
    (i, j) and its transpose in the place (j, i). The matrix is then Hermitian also where only one of two atoms counts
    the other among its nearest.

    Parameters
    ----------
    q : numpy.ndarray
        (Q, 3), in reciprocal lattice vectors.
    same_site : numpy.ndarray
        S, (M, M).
    blocks : numpy.ndarray
        B, (E, b, b): for each edge a matrix of the centre (rows) and the neighbour (columns); atoms with fewer than b
        rows use its upper left part.
    rows : numpy.ndarray
        int64 (N + 1,), where the rows of each atom begin.
    bonds : Bonds
    real : bool
        Whether all components of q are 0 or 1/2.

    Returns
    -------
    numpy.ndarray
        (Q, M, M), float64 or complex128.

    Examples
    --------
    A chain with hopping 1 has the energies 2 cos(2 pi q):

    >>> ends = np.zeros(2, int), np.zeros(2, int), np.array([[1, 0, 0], [-1, 0, 0]])
    >>> chain = Bonds(*ends, direction=np.array([[1.0, 0, 0], [-1, 0, 0]]), length=np.ones(2))
    >>> q = np.array([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0], [0.5, 0.0, 0.0]])
    >>> matrices = bloch_matrices(q, np.zeros((1, 1)), np.ones((2, 1, 1)), np.array([0, 1]), chain)
    >>> (matrices.real.ravel().round(9) + 0.0).tolist()
    [2.0, 0.0, -2.0]
    """
    turn = 2 * np.pi * (q @ bonds.image.T)
    matrices = np.empty((len(q), *same_site.shape), float if real else complex)
    matrices[:] = same_site
    _add_bonds(matrices, (np.cos(turn) if real else np.exp(1j * turn)) / 2, blocks, rows, bonds.center, bonds.neighbor)
    return matrices


@njit(nogil=True)
def _add_bonds(
    matrices: np.ndarray,
    phase: np.ndarray,
    blocks: np.ndarray,
    rows: np.ndarray,
    center: np.ndarray,
    neighbor: np.ndarray,
) -> None:
    for wave in range(len(matrices)):
        for e in range(len(center)):
            i, j, forth = rows[center[e]], rows[neighbor[e]], phase[wave, e]
            back = np.conj(forth)
            for a in range(rows[center[e] + 1] - i):
                for b in range(rows[neighbor[e] + 1] - j):
                    matrices[wave, i + a, j + b] += forth * blocks[e, a, b]
                    matrices[wave, j + b, i + a] += back * blocks[e, a, b]
