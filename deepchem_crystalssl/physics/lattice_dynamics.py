"""Vibrations of one crystal: frequencies, modes, density of states, heat capacity and mean square displacements."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.constants import Avogadro, Boltzmann, atomic_mass, c as light, hbar, physical_constants

from ..crystals.disorder import Disorder
from ..crystals.elements import symbols
from ..crystals.options import check_number
from ..crystals.records import Crystal
from ..errors import counted
from .bands import Bands, bands_of
from .columns import prepare
from .density import DensityOfStates, checked_places, lines, places, site_names
from .elasticity import Elasticity
from .springs import PER_CM, ZERO, Springs

if TYPE_CHECKING:
    import pandas as pd
    from .density import Axes

THZ = light * 1e-10
"""1/cm in THz."""

KELVIN = 100 * physical_constants["inverse meter-kelvin relationship"][0]
"""Temperature whose thermal energy k T is that of 1/cm, K."""

_WAVES = 500  # wave vectors times sites of the default grid


@dataclass(frozen=True, eq=False, repr=False)
class Vibrations:
    """Vibrations of a crystal whose bonds are springs; numbers of a model and no measurement.

    Attributes
    ----------
    crystal : Crystal
        As it was given, N sites.
    primitive : Crystal
        In a primitive cell, P sites.
    site : numpy.ndarray
        int64 (N,), the site of the primitive cell that each site is.
    mass : numpy.ndarray
        (P,), u.
    wave_vectors, weight : numpy.ndarray
        (Q, 3) in reciprocal lattice vectors of the primitive cell, Gamma first, and (Q,).
    frequencies : numpy.ndarray
        (Q, 3P), 1/cm, ascending.
    modes : numpy.ndarray
        (Q, 3P, 3P), eigenvectors of the dynamical matrices as columns.
    elasticity : Elasticity
    """

    crystal: Crystal
    primitive: Crystal
    site: np.ndarray
    mass: np.ndarray
    wave_vectors: np.ndarray
    weight: np.ndarray
    frequencies: np.ndarray
    modes: np.ndarray
    elasticity: Elasticity

    def __repr__(self) -> str:
        free = f", {counted(self.free_modes, 'free mode')}" if self.free_modes else ""
        return f"Vibrations({self.crystal.reduced_formula}, up to {self.frequencies.max():.0f} 1/cm{free})"

    @property
    def free_modes(self) -> int:
        """Largest number of modes of a wave vector that cost nothing, beside those that move the whole crystal.

        If there are any, parts of the crystal are not held by bonds: the springs cannot say how they vibrate.
        """
        free = (~self._firm).sum(1)
        return int(max(free[0] - 3, *free[1:])) if len(free) > 1 else int(free[0] - 3)

    @property
    def _firm(self) -> np.ndarray:
        """Which modes cost something, (Q, 3P)."""
        return self.frequencies > max(np.sqrt(ZERO) * self.frequencies.max(), 1e-6)

    def at_gamma(self) -> pd.DataFrame:
        """The modes at Gamma: frequency (1/cm), frequency (THz) and degeneracy, the lowest first."""
        import pandas as pd

        values = self.frequencies[0]
        first = np.flatnonzero(np.diff(values, prepend=-np.inf) > 1e-4 * max(values[-1], 1.0))
        level = [part.mean() for part in np.split(values, first[1:])]
        degeneracy = np.diff([*first, len(values)])
        table = {"frequency (1/cm)": level, "frequency (THz)": np.array(level) * THZ, "degeneracy": degeneracy}
        return pd.DataFrame(table)

    def density_of_states(self, frequencies: np.ndarray | None = None, width: float = 5.0) -> DensityOfStates:
        """Number of modes per site and 1/cm, by site and element by their shares in each mode.

        Parameters
        ----------
        frequencies : numpy.ndarray, optional
            Where it is computed, (F,) 1/cm; by default up to the highest frequency, in steps of less than half the
            width.
        width : float
            Standard deviation of the Gaussian that stands for each mode, 1/cm.
        """
        check_number("width", width, above=0, unit="1/cm")
        if frequencies is None:
            frequencies = places(-5 * width, self.frequencies.max() + 5 * width, 400, width)
        frequencies = checked_places("frequencies", frequencies)
        shares = (np.abs(self.modes) ** 2).reshape(len(self.weight), -1, 3, self.modes.shape[2]).sum(2)
        broadened = lines(frequencies, self.frequencies, self.weight, width)
        by_site = np.einsum("fqm,qsm->sf", broadened, shares, optimize=True)[self.site]
        return DensityOfStates(
            frequencies, by_site, site_names(self.crystal), "frequency (1/cm)", "modes per site and 1/cm"
        )

    def bands(self, n_points: int = 40) -> Bands:
        """Frequencies along a path through the points of high symmetry, 1/cm.

        Parameters
        ----------
        n_points : int
            Number of points on each piece of the path.
        """
        floor = (np.sqrt(ZERO) * self.frequencies.max() / PER_CM) ** 2
        return bands_of(
            self.crystal,
            Springs,
            lambda squared: PER_CM * np.sqrt(np.where(squared > floor, squared, 0.0)),
            "frequency (1/cm)",
            n_points,
        )

    def heat_capacity(self, temperature: float) -> float:
        """Heat capacity at constant volume in the harmonic approximation, J/(K mol of atoms).

        The three modes at Gamma that move the whole crystal are left out, and the others count for them; free modes
        count k each. Below some 50 K it needs more wave vectors than the default.
        """
        firm, x = self._frequencies_of(temperature)
        each = np.where(firm, np.minimum(x, 600) / 2 / np.sinh(np.clip(x / 2, 1e-12, 300)), 1.0) ** 2
        weight = np.repeat(self.weight[:, None], x.shape[1], axis=1)
        weight[0, :3] = 0.0
        mean = (weight * each).sum() / weight.sum() if weight.any() else 1.0
        return float(3 * Boltzmann * Avogadro * mean)

    def mean_square_displacements(self, temperature: float) -> np.ndarray:
        r"""Mean square displacements of the sites in the harmonic approximation, zero-point motion included.

        .. math::
            \langle u_i u_i^T \rangle = \frac{\hbar}{2 m_i} \sum_{q, m} w_q
            \frac{e_{iqm} e_{iqm}^\dagger}{\omega_{qm}} \coth \frac{\hbar \omega_{qm}}{2 k T}

        Modes that cost nothing have no part in it; if there are more than those that move the whole crystal, a warning
        says so.

        Parameters
        ----------
        temperature : float
            K, above 0.

        Returns
        -------
        numpy.ndarray
            (N, 3, 3), Å^2, in Cartesian axes.
        """
        firm, x = self._frequencies_of(temperature)
        if self.free_modes:
            warnings.warn(f"{self.crystal.material_id}: {counted(self.free_modes, 'free mode')}, which no bond holds; "
                          "displacements are those of the other modes alone and too small", stacklevel=2)  # fmt: skip
        omega = 2 * np.pi * 100 * light * self.frequencies
        amplitude = np.zeros_like(omega)
        amplitude[firm] = hbar / (2 * omega[firm] * np.tanh(x[firm] / 2))
        waves = self.modes.reshape(len(self.weight), -1, 3, self.modes.shape[2])
        weighted = self.weight[:, None] * amplitude
        squares = np.einsum("qsxm,qsym,qm->sxy", waves, waves.conj(), weighted, optimize=True).real
        return (1e20 * squares / (self.mass * atomic_mass)[:, None, None])[self.site]

    def b_factors(self, temperature: float) -> np.ndarray:
        """Isotropic displacement parameters B = 8 pi^2 <u^2> of the sites, (N,) Å^2."""
        displacements = self.mean_square_displacements(temperature)
        return 8 * np.pi**2 * np.trace(displacements, axis1=1, axis2=2) / 3

    def debye_waller(self, temperature: float) -> dict[str, float]:
        """Mean B of each element in Å^2, as ``debye_waller=`` of :func:`~deepchem_crystalssl.simulate_xrd` takes it."""
        species = self.crystal.species
        b = self.b_factors(temperature)[species.site]
        kinds = {symbols()[z]: species.atomic_numbers == z for z in np.unique(species.atomic_numbers)}
        return {name: float(np.average(b[own], weights=species.occupancy[own])) for name, own in kinds.items()}

    def to_cif(self, path: str | Path, temperature: float = 295.0) -> None:
        """Write a CIF of the crystal with the isotropic displacement parameter of each site."""
        from pymatgen.io.cif import CifWriter

        structure = self.crystal.to_structure()
        structure.add_site_property("B_iso_or_equiv", self.b_factors(temperature).round(4).tolist())
        CifWriter(structure, write_site_properties=True).write_file(str(path))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density of states, with the part of each element."""
        return self.density_of_states().plot(ax)

    def _frequencies_of(self, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """Which modes cost something (Q, 3P), and their energies in units of k T."""
        check_number("temperature", temperature, above=0, unit="K")
        firm = self._firm
        return firm, np.where(firm, self.frequencies, 0.0) * KELVIN / temperature


def vibrations(structure: Any, waves_per_axis: int | None = None, disorder: Disorder = "refuse") -> Vibrations:
    """Compute the vibrations of one crystal from springs in place of its bonds.

    Parameters
    ----------
    structure
        One crystal, as anything :func:`~deepchem_crystalssl.read_structures` reads.
    waves_per_axis : int, optional
        Number of wave vectors along each reciprocal lattice vector; the smaller the cell, the more by default.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy.

    Returns
    -------
    Vibrations

    Raises
    ------
    CrystalInputError
        If the crystal cannot be read or is too large, or the grid is empty.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> found = vibrations(salt)
    >>> found
    Vibrations(NaCl, up to 255 1/cm)
    >>> {element: round(b, 1) for element, b in found.debye_waller(295).items()}
    {'Na': 1.6, 'Cl': 1.7}
    """
    one = prepare(structure, waves_per_axis, _WAVES, disorder)
    graph, own, q = one.graph, one.own, one.wave_vectors
    springs = Springs(graph, own)
    squared, modes = np.linalg.eigh(springs.at(q))
    elastic = springs.elasticity(*np.linalg.eigh(springs.at(q[:1], real=True)[0]))
    elasticity = Elasticity(*elastic, float(own.mass.sum() / graph.volume), graph.num_nodes / graph.volume)
    frequencies = springs.frequencies(squared)
    return Vibrations(one.crystal, graph, one.site, own.mass, q, one.weight, frequencies, modes, elasticity)
