"""What tight binding says of a crystal in a few numbers: gap, band edges, charges, energies."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from ..crystals.records import CrystalGraph
from .bloch import bloch_matrices, wave_vectors, waves_per_axis
from .bonds import Bonds, single_bond_lengths
from .carriers import SITE_ATTRIBUTES, named, shares, site_attributes
from .hopping import hopping_blocks
from .parameters import SiteParameters

BAND_COLUMNS = (
    "band gap (eV)",
    "direct gap (eV)",
    "valence band edge (eV)",
    "conduction band edge (eV)",
    "band energy (eV/atom)",
    "occupied width (eV)",
    "density of states at the Fermi level (1/eV/atom)",
    "std charge (e)",
    "maximum charge (e)",
    "minimum charge (e)",
    "s share of the valence band edge",
    "p share of the valence band edge",
    "d share of the valence band edge",
    "s share of the conduction band edge",
    "p share of the conduction band edge",
    "d share of the conduction band edge",
    "odd number of electrons",
    "std of the energies (eV)",
    "Fermi level (eV)",
    "bond energy (eV/atom)",
)
"""Energies of the bands, which count from the vacuum level of the tabulated atoms, charges and densities."""

_EDGE_ATTRIBUTES = (*SITE_ATTRIBUTES, "energy of the orbitals (eV)", "localization")

EDGE_COLUMNS = (*named(_EDGE_ATTRIBUTES, "valence band edge"), *named(_EDGE_ATTRIBUTES, "conduction band edge"))
"""Which sites carry the two edges of the gap; in a metal, the levels below and above the Fermi level."""

ELECTRON_COLUMNS = (*BAND_COLUMNS, *EDGE_COLUMNS)

SITE_ELECTRON_COLUMNS = (
    "charge (e)",
    "s electrons",
    "p electrons",
    "d electrons",
    "density of states at the Fermi level (1/eV)",
    "share of the valence band edge",
    "share of the conduction band edge",
)
"""Numbers of each site."""

SMEARING = 0.1
"""k T of the Fermi function, eV, so that levels of equal energy are equally occupied."""

BROADENING = 0.3
"""Width of the levels in the density of states, and range of energies that count as a band edge, eV."""


def electron_columns(graph: CrystalGraph, own: SiteParameters) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of one crystal in its primitive cell.

    Parameters
    ----------
    graph : CrystalGraph
    own : SiteParameters
        Of its sites.

    Returns
    -------
    crystal : numpy.ndarray
        (40,), in the order of ``ELECTRON_COLUMNS``.
    sites : numpy.ndarray
        (N, 7), in the order of ``SITE_ELECTRON_COLUMNS``.
    """
    n_sites, n_electrons = graph.num_nodes, own.electrons.sum()
    levels, kind, site = orbitals(own)
    q, weight, n_real = wave_vectors(waves_per_axis(n_sites, len(levels)))
    hamiltonian = Hamiltonian(graph, own)
    real_energies, real_waves = np.linalg.eigh(hamiltonian.at(q[:n_real], real=True))
    other_energies, waves = np.linalg.eigh(hamiltonian.at(q[n_real:]))
    energies = np.concatenate([real_energies, other_energies])
    density = np.concatenate([real_waves**2, waves.real**2 + waves.imag**2])  # of levels (columns) on orbitals (rows)

    gap, direct_gap, top, bottom = gaps(energies, n_electrons)
    fermi = fermi_level(energies, weight, n_electrons)
    if not gap:
        top = bottom = fermi
    occupied = weight[:, None] * occupations(energies - fermi)
    at_fermi = 2 * weight[:, None] * _gaussian(energies - fermi)
    filled, fermi_density = ((density @ x[:, :, None]).sum(0)[:, 0] for x in (occupied, at_fermi))
    by_kind = np.zeros((n_sites, 3))
    np.add.at(by_kind, (site, kind), filled)
    charge = own.electrons.sum(1) - by_kind.sum(1)
    band_energy = (occupied * energies).sum()

    def edge(beyond: np.ndarray) -> np.ndarray:
        """Share of each orbital in the levels that are little beyond an edge, (M,)."""
        near = weight[:, None] * np.where(beyond > -1e-6, np.exp(-np.abs(beyond) / BROADENING), 0.0)
        return shares((density @ near[:, :, None]).sum(0)[:, 0])

    edges = edge(top - energies), edge(energies - bottom)
    on_sites = [np.bincount(site, of_orbitals, n_sites) for of_orbitals in edges]
    attributes = site_attributes(own)
    numbers = [
        gap,
        direct_gap,
        top,
        bottom,
        (band_energy - (own.electrons * own.orbital_energies).sum()) / n_sites,
        top - energies.min(),
        fermi_density.sum() / n_sites,
        charge.std(),
        charge.max(),
        charge.min(),
        *(share for of_orbitals in edges for share in np.bincount(kind, of_orbitals, 3)),
        float(n_filled(n_electrons) is None),
        np.sqrt(weight @ ((energies - levels.mean()) ** 2).mean(1)),
        fermi,
        (band_energy - filled @ levels) / n_sites,
        *(
            number
            for of_orbitals, of_sites in zip(edges, on_sites, strict=True)
            for number in (*of_sites @ attributes, of_orbitals @ levels, of_sites @ of_sites)
        ),
    ]
    sites = np.column_stack([charge, by_kind, np.bincount(site, fermi_density, n_sites), *on_sites])
    return np.array(numbers), sites


def orbitals(own: SiteParameters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The orbitals of the sites, one s and three p, and five d where the site has any.

    Returns
    -------
    levels : numpy.ndarray
        (M,), energies in the free atoms, eV.
    kind : numpy.ndarray
        int64 (M,): 0, 1, 2 for s, p, d.
    site : numpy.ndarray
        int64 (M,).
    """
    number = np.where(own.d_radius > 0, 9, 4)
    site = np.repeat(np.arange(len(number)), number)
    place = np.arange(len(site)) - np.repeat(np.cumsum(number) - number, number)
    kind = np.digitize(place, (1, 4))
    return own.orbital_energies[site, kind], kind, site


class Hamiltonian:
    """Tight binding of a crystal.

    Parameters
    ----------
    graph : CrystalGraph
    own : SiteParameters
        Of its sites.
    """

    def __init__(self, graph: CrystalGraph, own: SiteParameters):
        self.bonds, (self.levels, _, site) = Bonds.of(graph), orbitals(own)
        single_lengths = single_bond_lengths(self.bonds, own.radius, own.c)
        self.blocks = hopping_blocks(self.bonds, single_lengths, own.d_radius)
        self.rows = np.searchsorted(site, np.arange(graph.num_nodes + 1))

    def at(self, q: np.ndarray, real: bool = False) -> np.ndarray:
        """The matrices at wave vectors (Q, 3), (Q, M, M) eV; see :func:`.bloch_matrices`."""
        return bloch_matrices(q, np.diag(self.levels), self.blocks, self.rows, self.bonds, real)


def n_filled(n_electrons: float) -> int | None:
    """Number of bands that an even number of electrons fills; None if the number is odd or no whole number."""
    half = round(n_electrons / 2)
    return half if abs(n_electrons / 2 - half) < 1e-6 else None


def gaps(energies: np.ndarray, n_electrons: float) -> tuple[float, float, float, float]:
    """Gap, direct gap, upper edge of the valence and lower edge of the conduction band, eV; all 0 for a metal.

    Parameters
    ----------
    energies : numpy.ndarray
        (Q, M), ascending for each wave vector.
    n_electrons : float
        In the cell.
    """
    bands = n_filled(n_electrons)
    if bands is None or not 0 < bands < energies.shape[1]:
        return 0.0, 0.0, 0.0, 0.0
    below, above = energies[:, bands - 1], energies[:, bands]
    if above.min() <= below.max() + 1e-6:  # levels that touch by symmetry
        return 0.0, 0.0, 0.0, 0.0
    return above.min() - below.max(), (above - below).min(), below.max(), above.min()


def all_filled(energies: np.ndarray, n_electrons: float) -> bool:
    """Whether the electrons fill all levels (Q, M), as those of a noble gas do in this basis."""
    return n_electrons >= 2 * energies.shape[1] - 1e-6


def occupations(above_fermi: np.ndarray) -> np.ndarray:
    """Electrons, 0 to 2, in levels this far above the Fermi level (eV)."""
    return 2 * expit(-above_fermi / SMEARING)


def fermi_level(energies: np.ndarray, weight: np.ndarray, n_electrons: float) -> float:
    """Level up to which electrons fill levels (Q, M), eV; the middle of a gap wider than 20 k T.

    Where all levels are full, as in a noble gas, it lies 50 k T above them.
    """
    gap, _, top, bottom = gaps(energies, n_electrons)
    if gap > 20 * SMEARING:
        return (top + bottom) / 2

    if all_filled(energies, n_electrons):
        return energies.max() + 50 * SMEARING

    def surplus(level: float) -> float:
        return (weight @ occupations(energies - level)).sum() - n_electrons

    filled = min(int(n_electrons / 2), energies.shape[1] - 1)  # the level lies near this band or the one below
    low, high = energies[:, max(filled - 1, 0)].min() - 50 * SMEARING, energies[:, filled].max() + 50 * SMEARING
    return brentq(surplus, low, high, xtol=1e-12)


def _gaussian(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (x / BROADENING) ** 2) / (BROADENING * np.sqrt(2 * np.pi))
