"""Elasticity of one crystal: moduli, anisotropy, sound velocities, Debye temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.constants import Boltzmann, atomic_mass, hbar

from .springs import moduli


@dataclass(frozen=True, eq=False, repr=False)
class Elasticity:
    """Elastic tensors of a crystal and what follows from the relaxed one.

    Attributes
    ----------
    unrelaxed, relaxed : numpy.ndarray
        (6, 6), GPa, in Voigt's notation: with all atoms strained alike, and with relaxed positions.
    density : float
        u/Å^3.
    sites_per_volume : float
        1/Å^3.

    Examples
    --------
    >>> from deepchem_crystalssl.physics.lattice_dynamics import vibrations
    >>> from pymatgen.core import Lattice, Structure
    >>> diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])
    >>> vibrations(diamond).elasticity
    Elasticity(K 916 GPa, G 106 GPa)
    """

    unrelaxed: np.ndarray
    relaxed: np.ndarray
    density: float
    sites_per_volume: float

    def __repr__(self) -> str:
        return f"Elasticity(K {self.bulk_modulus:.0f} GPa, G {self.shear_modulus:.0f} GPa)"

    @property
    def bulk_modulus(self) -> float:
        """Mean of the averages after Voigt and Reuss (Hill 1952), GPa."""
        k_voigt, _, k_reuss, _, _ = moduli(self.relaxed)
        return float(k_voigt + k_reuss) / 2

    @property
    def shear_modulus(self) -> float:
        """Mean of the averages after Voigt and Reuss (Hill 1952), GPa."""
        _, g_voigt, _, g_reuss, _ = moduli(self.relaxed)
        return float(g_voigt + g_reuss) / 2

    @property
    def anisotropy(self) -> float:
        """Universal anisotropy 5 G_V / G_R + K_V / K_R - 6 (Ranganathan and Ostoja-Starzewski 2008); 0 if isotropic."""
        k_voigt, g_voigt, k_reuss, g_reuss, _ = moduli(self.relaxed)
        return float(5 * g_voigt / g_reuss + k_voigt / k_reuss - 6)

    @property
    def sound_velocities(self) -> tuple[float, float]:
        """Velocities of longitudinal and transverse sound, averaged over directions, m/s."""
        return sound_velocities(self.bulk_modulus, self.shear_modulus, self.density)

    @property
    def debye_temperature(self) -> float:
        """From the sound velocities and the number of sites per volume (Anderson 1963), K."""
        return debye_temperature(self.sound_velocities, self.sites_per_volume)


def sound_velocities(bulk_modulus: float, shear_modulus: float, density: float) -> tuple[float, float]:
    """Velocities of longitudinal and transverse sound in an isotropic solid, m/s.

    Parameters
    ----------
    bulk_modulus, shear_modulus : float
        GPa.
    density : float
        u/Å^3.
    """
    density = density * atomic_mass * 1e30
    longitudinal = np.sqrt(1e9 * (bulk_modulus + 4 / 3 * shear_modulus) / density)
    return float(longitudinal), float(np.sqrt(1e9 * shear_modulus / density))


def debye_temperature(velocities: tuple[float, float], sites_per_volume: float) -> float:
    """Debye temperature (Anderson 1963), K; 0 if transverse sound does not move.

    Parameters
    ----------
    velocities : (float, float)
        Of longitudinal and transverse sound, m/s.
    sites_per_volume : float
        1/Å^3.
    """
    longitudinal, transverse = velocities
    if transverse == 0:
        return 0.0
    mean = ((1 / longitudinal**3 + 2 / transverse**3) / 3) ** (-1 / 3)
    return float(hbar / Boltzmann * (6 * np.pi**2 * sites_per_volume * 1e30) ** (1 / 3) * mean)
