"""What the springs of a crystal say in a few numbers: frequencies, local stiffness, elasticity."""

from __future__ import annotations

import numpy as np

from ..crystals.records import CrystalGraph
from .bloch import wave_vectors, waves_per_axis
from .carriers import BOND_ATTRIBUTES, SITE_ATTRIBUTES, bond_attributes, named, shares, site_attributes
from .parameters import SiteParameters
from .springs import PER_CM, Springs, moduli

VIBRATION_COLUMNS = (
    "highest frequency (1/cm)",
    "mean frequency (1/cm)",
    "std frequency (1/cm)",
    "10 % quantile frequency (1/cm)",
    "25 % quantile frequency (1/cm)",
    "median frequency (1/cm)",
    "75 % quantile frequency (1/cm)",
    "90 % quantile frequency (1/cm)",
    "mean log frequency (log 1/cm)",
    "highest frequency at Gamma (1/cm)",
)
"""Frequencies of the springs on a grid of wave vectors."""

SITE_SPRING_COLUMNS = (
    "frequency of the site (1/cm)",
    "frequency of the stiffest bond (1/cm)",
    "frequency of the bonds (1/cm)",
    "share of the highest modes",
)
r"""Of each site: :math:`(\sum k / m)^{1/2}`, the highest :math:`(k / \mu)^{1/2}`, :math:`(\sum k / \mu)^{1/2}`, and
its part in the highest modes at Gamma."""

LOCAL_COLUMNS = (
    *(f"{statistic} {name}" for name in SITE_SPRING_COLUMNS[:3] for statistic in ("mean", "std", "minimum", "maximum")),
    "log stiffness (log eV/Å^3)",
)
"""Statistics of the sites' numbers, and the sum of k d^2 per volume."""

ELASTICITY_COLUMNS = tuple(
    f"log10 {name} {positions} (log10 GPa)"
    for positions in ("unrelaxed", "relaxed")
    for name in (
        "bulk modulus Voigt",
        "shear modulus Voigt",
        "bulk modulus Reuss",
        "shear modulus Reuss",
        "softest strain",
    )
)
"""Moduli of the springs, with all atoms strained alike and with relaxed positions."""

HIGHEST_MODE_COLUMNS = (
    *named(SITE_ATTRIBUTES, "highest modes"),
    *named(BOND_ATTRIBUTES, "highest modes"),
    "localization of the highest modes",
)
"""Which sites move in the highest modes at Gamma, and which bonds are stretched."""

SPRING_COLUMNS = (*VIBRATION_COLUMNS, *LOCAL_COLUMNS, *ELASTICITY_COLUMNS, *HIGHEST_MODE_COLUMNS)

LOWEST_FREQUENCY = 5.0
"""Frequencies below this count as this in the mean logarithm, 1/cm: the acoustic modes at Gamma are zero."""

NEAR_HIGHEST = 0.1
"""Part of the highest frequency over which the weight of a mode falls by a factor e."""

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)

SOFTEST = 0.3
"""Eigenvalues of the elastic tensor below this count as this, GPa: softer is no solid."""


def spring_columns(graph: CrystalGraph, own: SiteParameters) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of one crystal in its primitive cell.

    Parameters
    ----------
    graph : CrystalGraph
    own : SiteParameters
        Of its sites.

    Returns
    -------
    crystal : numpy.ndarray
        (49,), in the order of ``SPRING_COLUMNS``.
    sites : numpy.ndarray
        (N, 4), in the order of ``SITE_SPRING_COLUMNS``.
    """
    springs = Springs(graph, own)
    q, weight, n_real = wave_vectors(waves_per_axis(graph.num_nodes, 3 * graph.num_nodes))
    at_gamma, modes = np.linalg.eigh(springs.at(q[:1], real=True)[0])
    others = springs.at(q[1:n_real], real=True), springs.at(q[n_real:])
    squared = np.concatenate([at_gamma[None], *map(np.linalg.eigvalsh, others)])

    local = _local_frequencies(springs)
    statistics = local.mean(0), local.std(0), local.min(0), local.max(0)
    stiffness = (springs.constants * springs.bonds.length**2).sum() / graph.volume
    elastic = springs.elasticity(at_gamma, modes)
    hardness = [np.log10(np.maximum(moduli(tensor, SOFTEST), SOFTEST)) for tensor in elastic]
    vibrations = _spectrum(springs.frequencies(squared), weight)
    frequencies = [*np.stack(statistics, axis=1).ravel(), np.log(stiffness + 1e-6)]
    of_sites, of_bonds = _carriers(springs, springs.frequencies(at_gamma), modes)
    highest = [
        *of_sites @ site_attributes(own),
        *of_bonds @ bond_attributes(springs.bonds, springs.constants, own),
        of_sites @ of_sites,
    ]
    return np.concatenate([vibrations, frequencies, *hardness, highest]), np.column_stack([local, of_sites])


def _carriers(springs: Springs, frequencies: np.ndarray, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of each site, (N,), and of each bond, (E,), in the energy of the highest modes at Gamma (3N).

    A mode counts the less the farther it is below the highest one, and not at all below half its frequency, so that
    modes of equal frequency count alike. In a cell of one atom nothing vibrates at Gamma: its bonds then count by their
    force constants.
    """
    highest = frequencies.max()
    if highest == 0:
        return shares(np.zeros(len(springs.mass))), shares(springs.constants)
    high = frequencies > 0.5 * highest
    weight = np.exp((frequencies[high] / highest - 1) / NEAR_HIGHEST) - np.exp(-0.5 / NEAR_HIGHEST)
    parts = (modes[:, high] * np.sqrt(weight)).reshape(len(springs.mass), 3, -1)
    of_sites = (parts**2).sum((1, 2))
    return shares(of_sites), shares(springs.energies(parts / np.sqrt(springs.mass)[:, None, None]))


def _local_frequencies(springs: Springs) -> np.ndarray:
    """(N, 3), in the order of the first of ``SITE_SPRING_COLUMNS``."""
    constants, mass, bonds = springs.constants, springs.mass, springs.bonds
    per_reduced_mass = constants * (1 / mass[bonds.center] + 1 / mass[bonds.neighbor])
    stiffest = np.zeros(len(mass))
    np.maximum.at(stiffest, bonds.center, per_reduced_mass)
    total, reduced = (np.bincount(bonds.center, k, len(mass)) for k in (constants, per_reduced_mass))
    return PER_CM * np.sqrt(np.stack([total / mass, stiffest, reduced], axis=1))


def _spectrum(frequencies: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(10,), in the order of ``VIBRATION_COLUMNS``, of frequencies (Q, 3N)."""
    flat, weights = frequencies.ravel(), np.repeat(weight, frequencies.shape[1]) / frequencies.shape[1]
    order = np.argsort(flat)
    flat, weights = flat[order], weights[order]
    reached = np.searchsorted(np.cumsum(weights), np.array(_QUANTILES) - 1e-9)
    mean = weights @ flat
    return np.array(
        [
            flat[-1],
            mean,
            np.sqrt(weights @ (flat - mean) ** 2),
            *flat[reached],
            weights @ np.log(np.maximum(flat, LOWEST_FREQUENCY)),
            frequencies[0].max(),
        ]
    )
