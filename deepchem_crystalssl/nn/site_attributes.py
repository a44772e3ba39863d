"""Attributes of sites that need no training: tabulated properties of the element, and what follows from the bonds."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .bonds import (
    bond_valences,
    by_atomic_number,
    of_elements,
    polarity,
    single_bond_lengths,
    unpaired_electrons,
)
from .graph_batch import GraphBatch, once_per_batch
from .links import sum_to_centers
from .message_passing import mean_over_sites

_MAX_DEGREE = 4
ELEMENT_ATTRIBUTES = (
    "electronegativity",
    "covalent radius",
    "ionization energy",
    "electron affinity",
    "log polarizability",
    "s electrons",
    "p electrons",
    "d electrons",
    "f electrons",
    "group",
    "period",
    "log mass",
    "melting point",
    "molar volume",
    "Mendeleev number",
)
BOND_ATTRIBUTES = (
    "valence",
    "valence size",
    "bond strength",
    "unpaired electrons",
    "frequency",
    "frequency against neighbors",
    "highest bond frequency",
    "nearest distance",
    "nearest relative distance",
    "coordination number",
    "number of bonds",
    "ionicity",
    "neighbor electronegativity",
    "charge transfer",
    "bond length spread",
    "relative bond length",
    "dipole",
    "quadrupole",
    "octupole",
    "hexadecapole",
    "covalent strength",
    "like neighbors",
    "stiffness",
    "root square strength",
    "neighbor log mass",
    "neighbor d electrons",
    "neighbor p electrons",
)
SITE_ATTRIBUTES = ELEMENT_ATTRIBUTES + BOND_ATTRIBUTES
"""Names of the columns of :func:`site_attributes`."""
CELL_ATTRIBUTES = ("log volume per site", "mass density", "packing", "strength density", "log stiffness density")
"""Names of the columns of :func:`cell_attributes`."""


@cache
def _element_columns() -> np.ndarray:
    """(119, 15), in the order of ``ELEMENT_ATTRIBUTES``."""
    columns = [
        by_atomic_number("electronegativity_pauling", unknown=1.8),
        by_atomic_number("covalent_radius_angstrom"),
        by_atomic_number("ionization_energy_ev") / 10.0,
        by_atomic_number("electron_affinity_ev", unknown=0.0),
        np.log(by_atomic_number("polarizability_au").clip(1.0)),
        *(by_atomic_number(f"{shell}_electrons") for shell in "spdf"),
        by_atomic_number("group", unknown=3.0),
        by_atomic_number("period"),
        np.log(by_atomic_number("mass_u").clip(1.0)),
        by_atomic_number("melting_point_k") / 1000.0,
        by_atomic_number("molar_volume_cm3") / 10.0,
        by_atomic_number("mendeleev_number") / 10.0,
    ]
    return np.stack(columns, axis=1)


@once_per_batch
def site_attributes(batch: GraphBatch) -> Tensor:
    r"""Attributes of each site: tabulated properties of its element, and properties of its bonds.

    With the bond valence :math:`v_{ij}` of an edge (:func:`~deepchem_crystalssl.nn.bonds.bond_valences`), the fraction
    :math:`p_{ij} = v_{ij} / \sum_j v_{ij}`, electronegativities :math:`\chi`, masses m, and Racah's spherical harmonics
    Y, the columns of ``BOND_ATTRIBUTES`` are

    * the bond-valence sum :math:`V_i` (:func:`~deepchem_crystalssl.nn.bonds.bond_valence_sums`), :math:`|V_i|`,
      :math:`\sum v`, unpaired electrons;
    * frequencies :math:`(\sum v / m_i)^{1/2}`, :math:`(\sum v / \mu_{ij})^{1/2}` with the reduced mass, and the highest
      :math:`(v / \mu_{ij})^{1/2}` of one bond;
    * the nearest distance, in Å and in single-bond lengths; the effective coordination number (Hoppe 1979);
      :math:`1 / \sum p^2`;
    * :math:`\sum p |\Delta\chi|`, :math:`\sum p \chi_j`, :math:`\sum p (\chi_j - \chi_i)`; spread and mean of d / R;
    * bond-orientational order :math:`(\sum_m |\sum_j p Y_{lm}|^2)^{1/2}`, l = 1 to 4 (Steinhardt et al. 1983);
    * :math:`\sum v e^{-\Delta\chi^2}`, the fraction p of neighbours of the same element, :math:`\sum v d^2`,
      :math:`(\sum v^2)^{1/2}`; means over p of the neighbours' log mass, d and p electrons.

    All follow from tables and distances. They do not depend on the choice of the cell, orientation or order of sites.

    Parameters
    ----------
    batch : GraphBatch

    Returns
    -------
    Tensor
        (A, 42); a masked element has the mean of all elements, and a masked distance counts as no bond.

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> attributes = site_attributes(GraphBatch.from_graphs(structures_to_graphs(salt)))
    >>> nearest = attributes[0, SITE_ATTRIBUTES.index("nearest distance")]
    >>> f"{nearest:.2f}"
    '2.82'
    """
    elements = of_elements(batch, _element_columns())
    return torch.cat([elements, _bond_attributes(batch, elements)], dim=1)


def _bond_attributes(batch: GraphBatch, elements: Tensor) -> Tensor:
    """(A, 27), in the order of ``BOND_ATTRIBUTES``."""
    i, j = batch.center, batch.neighbor
    own = dict(zip(ELEMENT_ATTRIBUTES, elements.unbind(1), strict=True))
    chi, mass = own["electronegativity"], own["log mass"].exp()
    v = bond_valences(batch)
    relative = batch.distance / single_bond_lengths(batch)
    difference = chi[j] - chi[i]
    stiffness = 10.0 * v * (1.0 / mass[i] + 1.0 / mass[j])
    nearest, nearest_relative = _least(batch, batch.distance), _least(batch, relative)
    per_bond = {
        "strength": torch.ones_like(v),
        "valence": polarity(batch),
        "relative": relative,
        "square": relative**2,
        "strengths": v,
        "stiffness": stiffness / v.clamp(min=1e-12),
        "ionicity": difference.abs(),
        "difference": difference,
        "covalent": torch.exp(-(difference**2)),
        "like": (own["Mendeleev number"][i] == own["Mendeleev number"][j]).to(v),
        "moduli": batch.distance**2,
    }
    weighted = torch.cat([torch.stack(list(per_bond.values()), 1), batch.harmonics(_MAX_DEGREE)], 1) * v[:, None]
    sums = sum_to_centers(batch, weighted)
    total = dict(zip(per_bond, sums.unbind(1), strict=False))
    strength = total["strength"]
    mean = {name: value / strength.clamp(min=1e-6) for name, value in total.items()}
    order = sums[:, len(per_bond) :] / strength.clamp(min=1e-6)[:, None]
    degrees = order.square().split([2 * degree + 1 for degree in range(1, _MAX_DEGREE + 1)], dim=1)
    names = ("electronegativity", "log mass", "d electrons", "p electrons")
    around = sum_to_centers(batch, torch.stack([own[name][j] for name in names], 1) * v[:, None])
    chi_around, *others = (around / strength.clamp(min=1e-6)[:, None]).unbind(1)
    valence = total["valence"].clamp(-9.0, 9.0)
    highest = torch.zeros_like(strength).scatter_reduce(0, i, stiffness, "amax").sqrt()
    columns = [
        valence,
        valence.abs(),
        strength,
        unpaired_electrons(batch, valence),
        (10.0 * strength / mass).sqrt(),
        total["stiffness"].sqrt(),
        highest,
        nearest,
        nearest_relative,
        _coordination(batch, nearest),
        strength**2 / total["strengths"].clamp(min=1e-9),
        mean["ionicity"],
        chi_around,
        mean["difference"],
        (mean["square"] - mean["relative"] ** 2).clamp(min=1e-8).sqrt(),
        mean["relative"],
        *((degree.sum(1) + 1e-8).sqrt() for degree in degrees),
        total["covalent"],
        mean["like"],
        total["moduli"].clamp(max=200.0) / 10.0,
        total["strengths"].sqrt(),
        *others,
    ]
    return torch.stack(columns, dim=1)


def cell_attributes(batch: GraphBatch, attributes: Tensor) -> Tensor:
    """Attributes of each crystal, from its volume and the attributes of its sites.

    They are the logarithm of the volume per site, mass per volume, volume of the atoms (from their covalent radii) per
    volume, and bond valence and the logarithm of the bond stiffness per volume. A cell and its supercell have the same.

    Parameters
    ----------
    batch : GraphBatch
    attributes : Tensor
        (A, 42), of :func:`site_attributes`.

    Returns
    -------
    Tensor
        (B, 5), in the order of ``CELL_ATTRIBUTES``.
    """
    assert batch.volume is not None
    own = dict(zip(SITE_ATTRIBUTES, attributes.unbind(1), strict=True))
    per_site = (batch.volume / batch.num_sites)[:, None]
    sums = [own["log mass"].exp(), 4 / 3 * math.pi * own["covalent radius"] ** 3, own["bond strength"]]
    mass, atoms, strength, stiffness = (
        mean_over_sites(batch, torch.stack([*sums, own["stiffness"]], 1)) / per_site
    ).unbind(1)
    columns = [per_site[:, 0].log(), mass, atoms, strength, (10.0 * stiffness + 1e-3).log()]
    return torch.stack(columns, dim=1)


def _least(batch: GraphBatch, values: Tensor, beyond: float = 9.0) -> Tensor:
    """Minimum over the edges of each site, (E,) to (A,); ``beyond`` for a site without edges."""
    if batch.masked_edges is not None:
        values = values.masked_fill(batch.masked_edges, beyond)
    start = torch.full_like(batch.crystal, beyond, dtype=values.dtype)
    return start.scatter_reduce(0, batch.center, values, "amin")


def _coordination(batch: GraphBatch, nearest: Tensor) -> Tensor:
    """Effective coordination number (Hoppe, Z. Kristallogr. 150, 23, 1979): near neighbours count more, (A,)."""
    d, i = batch.distance, batch.center
    seen = torch.ones_like(d) if batch.masked_edges is None else (~batch.masked_edges).to(d)
    weights = seen * torch.exp(1.0 - (d / nearest[i]) ** 6)
    sums = sum_to_centers(batch, torch.stack([weights, weights * d], 1))
    mean = sums[:, 1] / sums[:, 0].clamp(min=1e-6)
    weights = seen * torch.exp(1.0 - (d / mean[i].clamp(min=0.1)) ** 6)
    return sum_to_centers(batch, weights[:, None])[:, 0]
