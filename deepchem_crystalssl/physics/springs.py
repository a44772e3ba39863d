r"""Springs: the force constant of each bond from its valence, and the matrices that follow.

The force constant of a bond of length d and valence v is

.. math::
    k = k_0 \left(\frac{8 v}{3}\right)^{3/2} \frac{1/B - 1/d}{d^2}, \quad
    k_0 = \frac{e^2}{4 \pi \epsilon_0}, \quad B = 0.37 \text{ Å}

(I. D. Brown, *The Chemical Bond in Inorganic Chemistry*, 2002; Brown, Dabkowski and McCleary, Acta Cryst. B53 (1997)
750). It acts along the bond. A small share acts in all directions alike, so that a straight chain of bonds does not
fold freely.
"""

from __future__ import annotations

import numpy as np

from ..crystals.records import CrystalGraph
from .bloch import bloch_matrices
from .bonds import SOFTNESS, Bonds, single_bond_lengths
from .parameters import SiteParameters

COULOMB = 14.399645
"""e^2 / (4 pi epsilon_0), eV Å."""

TRANSVERSE = 0.03
"""Share of the force constant that acts in all directions alike."""

PER_CM = 521.4709
"""Frequency of a mass of 1 u on a spring of 1 eV/Å^2, 1/cm."""

GPA = 160.2176634
"""1 eV/Å^3 in GPa."""

ZERO = 1e-9
"""A squared frequency counts as zero below this share of what the stiffest bond and the lightest atom give."""


class Springs:
    """A crystal whose bonds are springs.

    Parameters
    ----------
    graph : CrystalGraph
        In a primitive cell.
    own : SiteParameters
        Of its sites.

    Attributes
    ----------
    bonds : Bonds
    constants : numpy.ndarray
        Force constants, (E,) eV/Å^2.
    """

    def __init__(self, graph: CrystalGraph, own: SiteParameters):
        self.mass, self.volume, self.bonds = own.mass, graph.volume, Bonds.of(graph)
        self.constants = force_constants(self.bonds.length, single_bond_lengths(self.bonds, own.radius, own.c))
        self._tensors = spring_tensors(self.constants, self.bonds.direction)
        self._parts = dynamical_parts(self._tensors, self.mass, self.bonds)

    def at(self, q: np.ndarray, real: bool = False) -> np.ndarray:
        """The dynamical matrices at wave vectors (Q, 3), (Q, 3N, 3N) eV/(Å^2 u); see :func:`.bloch_matrices`."""
        return bloch_matrices(q, *self._parts, 3 * np.arange(len(self.mass) + 1), self.bonds, real)

    def frequencies(self, squared: np.ndarray) -> np.ndarray:
        """Frequencies of eigenvalues of the dynamical matrices, 1/cm; exactly 0 where an eigenvalue is rounding."""
        floor = ZERO * self.constants.max(initial=0.0) / self.mass.min()
        return PER_CM * np.sqrt(np.where(squared > floor, squared, 0.0))

    def energies(self, displacements: np.ndarray) -> np.ndarray:
        """Twice the energy of each spring, (E,) eV, summed over displacements (N, 3, M) Å of the atoms."""
        change = displacements[self.bonds.neighbor] - displacements[self.bonds.center]
        along = (self.bonds.direction[:, None] @ change)[:, 0]
        everywhere = (change**2).sum((1, 2))
        return self.constants * ((1 - TRANSVERSE) * (along**2).sum(1) + TRANSVERSE * everywhere)

    def elasticity(self, squared: np.ndarray, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The elastic tensors of :func:`elastic_tensors`, given the eigenvalues and eigenvectors at Gamma."""
        return elastic_tensors(self._tensors, self.bonds, self.mass, self.volume, squared, modes)


def force_constants(length: np.ndarray, single_length: np.ndarray) -> np.ndarray:
    """Force constant of each bond, (E,) eV/Å^2; 0 below 0.37 Å, where the formula has no meaning.

    Examples
    --------
    >>> force_constants(np.array([1.95]), np.array([1.622])).round(2).tolist()  # Ti-O
    [9.55]
    """
    valence = np.exp((single_length - length) / SOFTNESS)
    return COULOMB * (8 * valence / 3) ** 1.5 * np.maximum(1 / SOFTNESS - 1 / length, 0) / length**2


def spring_tensors(constants: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Force-constant matrix of each bond, K = k [(1 - t) r r^T + t 1], (E, 3, 3) eV/Å^2."""
    along = direction[:, :, None] * direction[:, None, :]
    return constants[:, None, None] * ((1 - TRANSVERSE) * along + TRANSVERSE * np.eye(3))


def dynamical_parts(tensors: np.ndarray, mass: np.ndarray, bonds: Bonds) -> tuple[np.ndarray, np.ndarray]:
    """The parts of the dynamical matrix, for :func:`~deepchem_crystalssl.physics.bloch.bloch_matrices`.

    Every edge is half a spring between its two atoms. What an atom feels from its own displacement follows from the
    others, because moving the whole crystal costs nothing (acoustic sum rule).

    Parameters
    ----------
    tensors : numpy.ndarray
        K, (E, 3, 3), eV/Å^2.
    mass : numpy.ndarray
        (N,), u.
    bonds : Bonds

    Returns
    -------
    same_site : numpy.ndarray
        (3N, 3N), eV/(Å^2 u).
    blocks : numpy.ndarray
        (E, 3, 3).
    """
    n_sites = len(mass)
    own = np.zeros((n_sites, 3, 3))
    np.add.at(own, bonds.center, tensors / 2)
    np.add.at(own, bonds.neighbor, tensors / 2)
    same_site = np.zeros((n_sites, 3, n_sites, 3))
    same_site[np.arange(n_sites), :, np.arange(n_sites)] = own / mass[:, None, None]
    weight = np.sqrt(mass[bonds.center] * mass[bonds.neighbor])
    return same_site.reshape(3 * n_sites, 3 * n_sites), -tensors / weight[:, None, None]


def elastic_tensors(
    tensors: np.ndarray, bonds: Bonds, mass: np.ndarray, volume: float, squared: np.ndarray, modes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Elastic tensors in Voigt's notation, with all atoms strained alike, and with relaxed positions.

    .. math:: C = C_{unrelaxed} - \Lambda^T H^{+} \Lambda / V

    where :math:`\Lambda` are the forces on the atoms per strain, and H is the matrix of force constants at Gamma (Born
    and Huang, *Dynamical Theory of Crystal Lattices*, 1954, §11). Its pseudoinverse is written with the modes at Gamma.

    Parameters
    ----------
    tensors : numpy.ndarray
        K, (E, 3, 3), eV/Å^2.
    bonds : Bonds
    mass : numpy.ndarray
        (N,), u.
    volume : float
        Å^3.
    squared, modes : numpy.ndarray
        Eigenvalues (3N,), ascending, and eigenvectors (3N, 3N) of the dynamical matrix at Gamma.

    Returns
    -------
    unrelaxed, relaxed : numpy.ndarray
        (6, 6) each, GPa, in the order xx, yy, zz, yz, xz, xy.
    """
    x, y, z = (bonds.direction * bonds.length[:, None]).T
    zero = np.zeros_like(x)
    strained = np.array(  # displacement of the neighbour against the centre, per strain
        [[x, zero, zero, zero, z / 2, y / 2], [zero, y, zero, z / 2, zero, x / 2], [zero, zero, z, y / 2, x / 2, zero]]
    )
    pull = np.einsum("exy,yse->exs", tensors, strained) / 2
    unrelaxed = np.einsum("xse,ext->st", strained, pull)
    forces = np.zeros((len(mass), 3, 6))
    np.subtract.at(forces, bonds.center, pull)
    np.add.at(forces, bonds.neighbor, pull)
    on_modes = modes.T @ (forces / np.sqrt(mass)[:, None, None]).reshape(-1, 6)
    firm = squared > ZERO * np.abs(tensors).max(initial=0.0) / mass.min()
    relaxed = unrelaxed - on_modes[firm].T / squared[firm] @ on_modes[firm]
    return unrelaxed * (GPA / volume), relaxed * (GPA / volume)


def moduli(elastic: np.ndarray, softest: float = 1e-9) -> np.ndarray:
    """Bulk and shear moduli of Voigt, the same of Reuss, and the smallest eigenvalue of an elastic tensor.

    Parameters
    ----------
    elastic : numpy.ndarray
        (6, 6), GPa, in Voigt's notation.
    softest : float
        Eigenvalues below this count as this in the averages of Reuss, GPa.

    Returns
    -------
    numpy.ndarray
        (5,), GPa: K and G of Voigt, K and G of Reuss, eigenvalue.

    Examples
    --------
    >>> isotropic = np.diag([2.0, 2, 2, 1, 1, 1]) + np.pad(np.full((3, 3), 1.0), (0, 3))
    >>> moduli(isotropic).round(2).tolist()
    [1.67, 1.0, 1.67, 1.0, 2.0]
    """
    k_voigt, g_voigt = _averages(elastic[:3, :3], np.diag(elastic)[3:])
    mandel = np.sqrt([1, 1, 1, 2, 2, 2])  # with these factors the matrix turns like a tensor
    values, vectors = np.linalg.eigh(elastic * np.outer(mandel, mandel))
    compliance = vectors / np.maximum(values, softest) @ vectors.T
    k_reuss, g_reuss = _averages(compliance[:3, :3], np.diag(compliance)[3:] / 2)
    return np.array([k_voigt, g_voigt, 1 / (9 * k_reuss), 1 / (4 * g_reuss), values[0]])


def _averages(normal: np.ndarray, shear: np.ndarray) -> tuple[float, float]:
    """Averages over all directions: of the response to compression, and of that to shear."""
    diagonal = np.trace(normal)
    across = (normal.sum() - diagonal) / 2
    return (diagonal + 2 * across) / 9, (diagonal - across + 3 * shear.sum()) / 15
