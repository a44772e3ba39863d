"""What carries a vibration or a band edge: means over sites and bonds, each weighted by its part in it.

The highest vibration of a hydride is the stretching of its hydrogen bonds, the upper edge of an oxide's valence band
lies on the oxygen. A model errs alike for crystals whose vibrations, or band edges, are carried by like atoms, so that
these means tell a regression which error to expect.
"""

from __future__ import annotations

import numpy as np

from .bonds import SOFTNESS, Bonds, single_bond_lengths
from .parameters import SiteParameters

SITE_ATTRIBUTES = (
    "electronegativity (Allred-Rochow)",
    "log mass (log u)",
    "bonding radius (Å)",
    "number of s electrons",
    "number of p electrons",
    "number of d electrons",
    "energy of the s orbitals (eV)",
    "energy of the p orbitals (eV)",
)
"""Attributes of a site, all from tables of the elements."""

BOND_ATTRIBUTES = (
    "bond length (Å)",
    "log bond valence (1)",
    "length of a single bond (Å)",
    "difference of electronegativity (1)",
    "mean electronegativity (1)",
    "inverse root of the lighter mass (u^-1/2)",
    "log force constant (log eV/Å^2)",
)
"""Attributes of a bond between two sites."""

_WEAKEST = 1e-6
"""Force constants below this count as this, eV/Å^2, so that they have a logarithm."""


def named(attributes: tuple[str, ...], carrier: str) -> tuple[str, ...]:
    """Names of the means of attributes over a carrier, such as "bond length of the highest modes (Å)".

    Examples
    --------
    >>> named(("bond length (Å)",), "highest modes")
    ('bond length of the highest modes (Å)',)
    """
    parts = [attribute.rsplit(" (", 1) for attribute in attributes]
    return tuple(f"{name[0]} of the {carrier}" + (f" ({name[1]}" if len(name) > 1 else "") for name in parts)


def site_attributes(own: SiteParameters) -> np.ndarray:
    """Attributes of sites, (N, 8), in the order of ``SITE_ATTRIBUTES``."""
    return np.column_stack([own.c, np.log(own.mass), own.radius, own.electrons, own.orbital_energies[:, :2]])


def bond_attributes(bonds: Bonds, constants: np.ndarray, own: SiteParameters) -> np.ndarray:
    """Attributes of bonds, (E, 7), in the order of ``BOND_ATTRIBUTES``.

    Parameters
    ----------
    bonds : Bonds
    constants : numpy.ndarray
        Force constants, (E,) eV/Å^2.
    own : SiteParameters
    """
    single_length = single_bond_lengths(bonds, own.radius, own.c)
    c, c_ = own.c[bonds.center], own.c[bonds.neighbor]
    lighter = np.minimum(own.mass[bonds.center], own.mass[bonds.neighbor])
    return np.column_stack(
        [
            bonds.length,
            (single_length - bonds.length) / SOFTNESS,
            single_length,
            np.abs(c - c_),
            (c + c_) / 2,
            lighter**-0.5,
            np.log(np.maximum(constants, _WEAKEST)),
        ]
    )


def shares(parts: np.ndarray) -> np.ndarray:
    """Parts that are not negative, divided by their sum; equal shares if all are zero.

    Examples
    --------
    >>> shares(np.array([1.0, 3.0])).tolist(), shares(np.zeros(4)).tolist()
    ([0.25, 0.75], [0.25, 0.25, 0.25, 0.25])
    """
    total = parts.sum()
    return parts / total if total > 0 else np.full(len(parts), 1 / max(len(parts), 1))
