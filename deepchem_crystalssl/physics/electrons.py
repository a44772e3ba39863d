"""Electrons of one crystal in tight binding: bands, gap, density of states, charges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..crystals.disorder import Disorder
from ..crystals.options import check_number
from ..crystals.records import Crystal
from .bands import Bands, bands_of
from .columns import prepare
from .density import DensityOfStates, checked_places, lines, places, site_names
from .electron_columns import Hamiltonian, all_filled, fermi_level, gaps, occupations, orbitals

if TYPE_CHECKING:
    from .density import Axes

_WAVES = 250  # wave vectors times sites of the default grid


@dataclass(frozen=True, eq=False, repr=False)
class ElectronicStructure:
    """Electrons of a crystal in tight binding; numbers of a model and no measurement.

    Attributes
    ----------
    crystal : Crystal
        As it was given, N sites.
    primitive : Crystal
        In a primitive cell, P sites.
    site : numpy.ndarray
        int64 (N,), the site of the primitive cell that each site is.
    wave_vectors, weight : numpy.ndarray
        (Q, 3) in reciprocal lattice vectors of the primitive cell, Gamma first, and (Q,).
    energies : numpy.ndarray
        (Q, M), eV, ascending.
    shares : numpy.ndarray
        (Q, M, M), of each level (last axis) on each orbital.
    orbital_site, orbital_kind : numpy.ndarray
        (M,), the site of the primitive cell, and 0, 1 or 2 for s, p and d.
    electrons : numpy.ndarray
        (P,), valence electrons of the free atoms.
    """

    crystal: Crystal
    primitive: Crystal
    site: np.ndarray
    wave_vectors: np.ndarray
    weight: np.ndarray
    energies: np.ndarray
    shares: np.ndarray
    orbital_site: np.ndarray
    orbital_kind: np.ndarray
    electrons: np.ndarray

    def __repr__(self) -> str:
        full = all_filled(self.energies, self.electrons.sum())
        gap = f"gap {self.gap:.2f} eV" if self.gap else "no empty level" if full else "a metal"
        return f"ElectronicStructure({self.crystal.reduced_formula}, {gap})"

    @property
    def gap(self) -> float:
        """Gap between the highest filled and the lowest empty level of the wave vectors, eV; 0 for a metal.

        It is also 0 for a noble gas, which has no empty level in this basis.
        """
        return float(gaps(self.energies, self.electrons.sum())[0])

    @property
    def direct_gap(self) -> float:
        """Smallest gap at one wave vector, eV; 0 for a metal."""
        return float(gaps(self.energies, self.electrons.sum())[1])

    @property
    def fermi_level(self) -> float:
        """Fermi level, of an insulator the middle of its gap, eV."""
        gap, _, top, bottom = gaps(self.energies, self.electrons.sum())
        return float((top + bottom) / 2 if gap else self._smeared_level)

    @property
    def _smeared_level(self) -> float:
        """Level at which smeared occupations add up to the number of electrons, eV."""
        return fermi_level(self.energies, self.weight, self.electrons.sum())

    @property
    def charges(self) -> np.ndarray:
        """Electrons that each site has lost, (N,), from the populations of its orbitals."""
        occupied = self.weight[:, None] * occupations(self.energies - self._smeared_level)
        filled = (self.shares @ occupied[:, :, None]).sum(0)[:, 0]
        return (self.electrons - np.bincount(self.orbital_site, filled, len(self.electrons)))[self.site]

    def density_of_states(self, energies: np.ndarray | None = None, width: float = 0.15) -> DensityOfStates:
        """Number of levels per site and eV, each for two electrons, by site, element and orbital.

        Parameters
        ----------
        energies : numpy.ndarray, optional
            Where it is computed, (F,) eV against the Fermi level; by default from the lowest level to 12 eV, in steps
            of less than half the width.
        width : float
            Standard deviation of the Gaussian that stands for each level, eV.
        """
        check_number("width", width, above=0, unit="eV")
        levels = self.energies - self.fermi_level
        if energies is None:
            energies = places(levels.min() - 5 * width, min(levels.max(), 12.0) + 5 * width, 600, width)
        energies = checked_places("energies", energies)
        broadened = lines(energies, levels, self.weight, width)
        density = np.einsum("fqm,qom->of", broadened, self.shares, optimize=True)
        n_sites = len(self.electrons)
        by_site = np.zeros((n_sites, len(energies)))
        np.add.at(by_site, self.orbital_site, density)
        elements = site_names(self.crystal)
        by_orbital = {name: density[self.orbital_kind == kind].sum(0) / n_sites for kind, name in enumerate("spd")}
        labels = "energy above the Fermi level (eV)", "levels per site and eV"
        return DensityOfStates(energies, by_site[self.site], elements, *labels, by_orbital)

    def bands(self, n_points: int = 40) -> Bands:
        """Energies against the Fermi level along a path through the points of high symmetry, eV.

        Parameters
        ----------
        n_points : int
            Number of points on each piece of the path.
        """
        label = "energy above the Fermi level (eV)"
        return bands_of(self.crystal, Hamiltonian, lambda energies: energies - self.fermi_level, label, n_points)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density of states around the Fermi level, with the part of each element."""
        ax = self.density_of_states().plot(ax)
        ax.axvline(0.0, color="0.4", lw=0.8, ls=":")
        return ax


def electronic_structure(
    structure: Any, waves_per_axis: int | None = None, disorder: Disorder = "refuse"
) -> ElectronicStructure:
    """Compute the electrons of one crystal in tight binding.

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
    ElectronicStructure

    Raises
    ------
    CrystalInputError
        If the crystal cannot be read or is too large, or the grid is empty.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> found = electronic_structure(salt)
    >>> found
    ElectronicStructure(NaCl, gap 5.17 eV)
    >>> found.charges[[0, -1]].round(2).tolist()
    [0.68, -0.68]
    """
    one = prepare(structure, waves_per_axis, _WAVES, disorder)
    energies, waves = np.linalg.eigh(Hamiltonian(one.graph, one.own).at(one.wave_vectors))
    _, kind, of_site = orbitals(one.own)
    shares = waves.real**2 + waves.imag**2
    grid = one.wave_vectors, one.weight
    return ElectronicStructure(
        one.crystal, one.graph, one.site, *grid, energies, shares, of_site, kind, one.own.electrons.sum(1)
    )
