r"""Hopping between s, p and d orbitals (Slater and Koster, Phys. Rev. 94 (1954) 1498; Harrison 1999).

An orbital with m quanta of angular momentum along the bond hops only into one with the same m. With the unit vector u
of the bond, the p orbitals are the components of a vector and the d orbitals those of five symmetric traceless
matrices Q. Their parts along the bond are

.. math:: p_\sigma = u, \quad d_\sigma = \sqrt{3/2}\, u^T Q u, \quad d_\pi = \sqrt{2}\, (Q u - u\, u^T Q u)

and every block of the table of Slater and Koster is a product of these. At the length R of a single bond, the hopping
has the strength of Harrison's universal parameters; from there it falls exponentially with the length d,

.. math::
    V_{ll'm} = \eta_{ll'm} \frac{\hbar^2}{m_e R^2} e^{-(d - R) / \lambda}, \quad
    V_{ldm} = \eta_{ldm} \frac{\hbar^2 r_d^{3/2}}{m_e R^{7/2}} e^{-3 (d - R) / 2 \lambda}, \quad
    V_{ddm} = \eta_{ddm} \frac{\hbar^2 r_d^{3/2} r_d'^{3/2}}{m_e R^5} e^{-2 (d - R) / \lambda}

so that distant atoms need no cutoff (W. A. Harrison, *Elementary Electronic Structure*, 1999).
"""

from __future__ import annotations

import numpy as np

from .bonds import Bonds

HBAR2_PER_MASS = 7.6199642
"""hbar^2 / m_e, eV Å^2."""

DECAY = 0.5
"""lambda, Å."""

SS, SP, PP_SIGMA, PP_PI = -1.32, 1.42, 2.22, -0.63
SD, PD_SIGMA, PD_PI = -3.16, -2.95, 1.36
DD_SIGMA, DD_PI = -16.2, 8.75
"""Harrison's universal parameters eta; dd delta is 0."""


def _d_matrices() -> np.ndarray:
    """The d orbitals xy, yz, xz, x2-y2, z2 as matrices Q (5, 3, 3) with tr(Q Q') = 0 or 1."""
    q = np.zeros((5, 3, 3))
    for k, (x, y) in enumerate(((0, 1), (1, 2), (0, 2))):
        q[k, x, y] = q[k, y, x] = 1.0
    q[3] = np.diag([1.0, -1.0, 0.0])
    q[4] = np.diag([-1.0, -1.0, 2.0]) / np.sqrt(3.0)
    return q / np.sqrt(2.0)


D_MATRICES = _d_matrices()


def hopping_blocks(bonds: Bonds, single_length: np.ndarray, d_radius: np.ndarray) -> np.ndarray:
    """Hopping from the orbitals of the neighbour (columns) to those of the centre (rows), for each edge.

    Parameters
    ----------
    bonds : Bonds
    single_length : numpy.ndarray
        R, (E,) Å.
    d_radius : numpy.ndarray
        (N,), r_d of each site in Å; 0 for a site without d orbitals.

    Returns
    -------
    numpy.ndarray
        (E, 9, 9), eV, in the order s, px, py, pz, dxy, dyz, dxz, dx2-y2, dz2; (E, 4, 4) if no site has d orbitals.
    """
    u, decay = bonds.direction, np.exp(-(bonds.length - single_length) / DECAY)
    strength = HBAR2_PER_MASS / single_length**2 * decay
    size = 9 if d_radius.any() else 4
    blocks = np.zeros((len(u), size, size))
    blocks[:, 0, 0] = SS * strength
    blocks[:, 0, 1:4] = SP * strength[:, None] * u
    blocks[:, 1:4, 0] = -blocks[:, 0, 1:4]
    along = u[:, :, None] * u[:, None, :]
    blocks[:, 1:4, 1:4] = strength[:, None, None] * (PP_SIGMA * along + PP_PI * (np.eye(3) - along))
    if size == 4:
        return blocks
    own, other = d_radius[bonds.center] ** 1.5, d_radius[bonds.neighbor] ** 1.5
    d_along = np.einsum("kxy,ey->ekx", D_MATRICES, u)
    both = np.einsum("ekx,ex->ek", d_along, u)
    sigma, pi = np.sqrt(1.5) * both, np.sqrt(2.0) * (d_along - both[:, :, None] * u[:, None, :])
    strength = HBAR2_PER_MASS / single_length**3.5 * decay**1.5
    sd = SD * strength[:, None] * sigma
    pd = strength[:, None, None] * (PD_SIGMA * u[:, :, None] * sigma[:, None, :] + PD_PI * pi.transpose(0, 2, 1))
    blocks[:, 0, 4:], blocks[:, 4:, 0] = other[:, None] * sd, own[:, None] * sd
    blocks[:, 1:4, 4:] = other[:, None, None] * pd
    blocks[:, 4:, 1:4] = -own[:, None, None] * pd.transpose(0, 2, 1)
    strength = HBAR2_PER_MASS * own * other / single_length**5 * decay**2
    dd = DD_SIGMA * sigma[:, :, None] * sigma[:, None, :] + DD_PI * np.einsum("ekx,emx->ekm", pi, pi)
    blocks[:, 4:, 4:] = strength[:, None, None] * dd
    return blocks
