"""Radiation of laboratory diffractometers: wavelengths, the K-alpha doublet, and the rule which wavelength counts."""

from __future__ import annotations

from dataclasses import dataclass
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
"""Wavelengths of laboratory anodes, Å. "CuKa" is the mean of the doublet, (2 CuKa1 + CuKa2) / 3."""
ANODES = ("Cu", "Mo", "Cr", "Fe", "Co", "Ag")


def resolve_wavelength(wavelength: str | float, item: str = "wavelength") -> float:
    """Wavelength in Å, from the name of a radiation or a number.

    Parameters
    ----------
    wavelength : str or float
        A key of :data:`WAVELENGTHS`, or Å.
    item : str
        What the wavelength belongs to, for the error.

    Raises
    ------
    GridError
        If the name is unknown or the number is not positive.

    Examples
    --------
    >>> resolve_wavelength("MoKa"), resolve_wavelength(1.54)
    (0.71073, 1.54)
    """
    if isinstance(wavelength, str):
        if wavelength not in WAVELENGTHS:
            raise GridError(
                item, f"radiation {wavelength!r}", "a radiation is known by name or given in Å",
                f"Use one of {', '.join(WAVELENGTHS)}, or a number in Å.",
            )  # fmt: skip
        return WAVELENGTHS[wavelength]
    if not 0.0 < float(wavelength) < np.inf:
        raise GridError(item, f"wavelength {wavelength} Å", "a wavelength is positive and finite")
    return float(wavelength)


def kalpha_doublet(wavelength: float) -> tuple[float, float] | None:
    """Wavelengths of K-alpha 1 and K-alpha 2 (Å) of the laboratory anode to which a wavelength belongs.

    The wavelength may be that of K-alpha 1, or the mean of the doublet, in which K-alpha 1 counts twice. It is taken as
    the nearer of the two, so that rounded values (1.5406, 1.5418) give the doublet of their own scale.

    Parameters
    ----------
    wavelength : float
        Å.

    Returns
    -------
    (float, float) or None
        None if the wavelength belongs to none of the :data:`ANODES`, as that of a synchrotron.

    Examples
    --------
    >>> [round(line, 4) for line in kalpha_doublet(1.5418)], kalpha_doublet(1.0)
    ([1.5405, 1.5444], None)
    """
    for anode in ANODES:
        first, second = WAVELENGTHS[f"{anode}Ka1"], WAVELENGTHS[f"{anode}Ka2"]
        if first * 0.9995 < wavelength < second:
            mean = (2.0 * first + second) / 3.0
            scale = wavelength / (first if wavelength < (first + mean) / 2.0 else mean)
            return scale * first, scale * second
    return None


def radiation_name(wavelength: float) -> str | None:
    """The line of a laboratory anode that has a wavelength (Å) within .02 %, as it is written; None if none has.

    Examples
    --------
    >>> radiation_name(1.5406), radiation_name(1.54184), radiation_name(1.0)
    ('Cu Kα₁', 'Cu Kα', None)
    """
    name = min(WAVELENGTHS, key=lambda key: abs(WAVELENGTHS[key] - wavelength))
    if abs(WAVELENGTHS[name] / wavelength - 1.0) > 2e-4:
        return None
    greek = name[2:].replace("a", "α").replace("b", "β").replace("1", "₁").replace("2", "₂")
    return f"{name[:2]} {greek}"


_SAME_RADIATION = 0.003
"""Largest relative difference between two wavelengths of one anode: those of K-alpha 1 and of the mean of a doublet."""


@dataclass(frozen=True)
class Radiation:
    """The wavelength of a measurement, and how it is known.

    Attributes
    ----------
    wavelength : float
        Å.
    source : {"given", "file", "assumed"}
        Given by the caller, read from the file of the measurement, or assumed to be Cu K-alpha for want of both.
    contradicted : float or None
        The wavelength that the file states, if the caller gave another one; Å.
    """

    wavelength: float
    source: Literal["given", "file", "assumed"]
    contradicted: float | None = None

    @classmethod
    def of_measurement(cls, given: str | float | None, in_file: float | None, item: str = "pattern") -> Radiation:
        """The one rule for all measurements: what the caller gives counts, else what the file says, else Cu K-alpha.

        Examples
        --------
        >>> print(Radiation.of_measurement("CuKa1", 1.54187))
        1.54056 Å (given)
        >>> print(Radiation.of_measurement("CuKa1", 0.7093))
        1.54056 Å (given; the file states 0.7093 Å)
        >>> print(Radiation.of_measurement(None, 1.54187))
        1.54187 Å (from the file)
        >>> print(Radiation.of_measurement(None, None))
        1.54184 Å (Cu K-alpha, assumed because no wavelength is given)
        """
        if given is not None:
            length = resolve_wavelength(given, item)
            other = in_file is not None and abs(in_file / length - 1.0) > _SAME_RADIATION
            return cls(length, "given", in_file if other else None)
        if in_file is not None:
            return cls(resolve_wavelength(in_file, item), "file")
        return cls(WAVELENGTHS["CuKa"], "assumed")

    def __str__(self) -> str:
        """Wavelength and source in words."""
        stated = "" if self.contradicted is None else f"; the file states {self.contradicted:g} Å"
        sources = {
            "given": f"given{stated}",
            "file": "from the file",
            "assumed": "Cu K-alpha, assumed because no wavelength is given",
        }
        return f"{self.wavelength:g} Å ({sources[self.source]})"
