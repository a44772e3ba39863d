"""Where a powder pattern lives: angles, radiation, peak profile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ..errors import GridError

WAVELENGTHS = {
    "CuKa": 1.54184,
    "CuKa1": 1.54056,
    "CuKa2": 1.54439,
    "CuKb1": 1.39222,
    "MoKa": 0.71073,
    "MoKa1": 0.70930,
    "MoKa2": 0.71359,
    "MoKb1": 0.63229,
    "CrKa": 2.29100,
    "CrKa1": 2.28970,
    "CrKa2": 2.29361,
    "CrKb1": 2.08487,
    "FeKa": 1.93735,
    "FeKa1": 1.93604,
    "FeKa2": 1.93998,
    "FeKb1": 1.75661,
    "CoKa": 1.79026,
    "CoKa1": 1.78896,
    "CoKa2": 1.79285,
    "CoKb1": 1.63079,
    "AgKa": 0.560885,
    "AgKa1": 0.559421,
    "AgKa2": 0.563813,
    "AgKb1": 0.497082,
}
"""Wavelengths of laboratory anodes, Å."""

Profile = Literal["gaussian", "lorentzian", "pseudo-voigt"]
_PROFILES: tuple[Profile, ...] = ("gaussian", "lorentzian", "pseudo-voigt")


def resolve_wavelength(wavelength: str | float, item: str = "wavelength") -> float:
    """Wavelength in Å from a radiation's name or a number.

    Examples
    --------
    >>> resolve_wavelength("MoKa"), resolve_wavelength(1.54)
    (0.71073, 1.54)
    """
    if isinstance(wavelength, str):
        if wavelength not in WAVELENGTHS:
            raise GridError(item, f"radiation {wavelength!r}", remedy=f"Use one of {', '.join(WAVELENGTHS)}, or Å.")
        return WAVELENGTHS[wavelength]
    if not 0.0 < float(wavelength) < np.inf:
        raise GridError(item, f"wavelength {wavelength} Å")
    return float(wavelength)


@dataclass(frozen=True)
class XRDGrid:
    """Where and how a powder pattern is drawn.

    Bin ``i`` covers ``two_theta_min + i * step`` to ``+ (i + 1) * step``; :attr:`two_theta` holds the centres.

    Parameters
    ----------
    two_theta_min, two_theta_max : float
        Range, degrees. Default 10-110, as in Suzuki et al. 2022.
    n_bins : int
        Number of bins. Default 5,000.
    wavelength : str or float
        Radiation by name (``"CuKa"``, ``"MoKa1"``, ...) or in Å.
    profile : {"gaussian", "lorentzian", "pseudo-voigt"}
        Shape of a peak; it does not matter while ``fwhm`` is 0.
    fwhm : float
        Full width at half maximum, degrees. 0 (default) draws sticks: a bin holds the intensities falling into it.
    mixing : float
        Lorentzian fraction of the pseudo-Voigt profile, 0-1.

    Examples
    --------
    >>> grid = XRDGrid()
    >>> grid.two_theta.shape, round(grid.step, 4), round(float(grid.two_theta[0]), 4)
    ((5000,), 0.02, 10.01)
    """

    two_theta_min: float = 10.0
    two_theta_max: float = 110.0
    n_bins: int = 5000
    wavelength: str | float = "CuKa"
    profile: Profile = "gaussian"
    fwhm: float = 0.0
    mixing: float = 0.5

    def check(self) -> XRDGrid:
        """The grid itself, or a GridError that names the parameter."""
        resolve_wavelength(self.wavelength, "XRDGrid.wavelength")
        rules = {
            "two_theta_min": 0.0 < self.two_theta_min < self.two_theta_max,
            "two_theta_max": self.two_theta_max <= 180.0,
            "n_bins": self.n_bins >= 1 and self.n_bins == int(self.n_bins),
            "profile": self.profile in _PROFILES,
            "fwhm": 0.0 <= self.fwhm < np.inf,
            "mixing": 0.0 <= self.mixing <= 1.0,
        }
        for name, kept in rules.items():
            if not kept:
                raise GridError(f"XRDGrid.{name}", getattr(self, name))
        return self

    @property
    def step(self) -> float:
        """Width of a bin, degrees."""
        return (self.two_theta_max - self.two_theta_min) / self.n_bins

    @cached_property
    def two_theta(self) -> np.ndarray:
        """Centres of the bins, degrees, (n_bins,)."""
        return self.two_theta_min + (np.arange(self.n_bins) + 0.5) * self.step

    @cached_property
    def edges(self) -> np.ndarray:
        """Edges of the bins, degrees, (n_bins + 1,)."""
        return np.linspace(self.two_theta_min, self.two_theta_max, self.n_bins + 1)

    @property
    def wavelength_angstrom(self) -> float:
        """Wavelength in Å."""
        return resolve_wavelength(self.wavelength)
