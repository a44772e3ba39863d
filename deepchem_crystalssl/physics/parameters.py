"""Parameters of the sites of a crystal, from the tables of the elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..crystals.elements import bond_valence_parameters, element_table, orbital_parameters, symbols
from ..crystals.records import Crystal
from ..errors import ModelPhysicsError


@dataclass(frozen=True)
class SiteParameters:
    """What springs and tight binding need to know of each site.

    A site that several species share has the mean of their parameters, weighted by occupancy (virtual crystal); what is
    vacant does not count. Energies and radii of d orbitals are means over the species that use them.

    Attributes
    ----------
    mass : numpy.ndarray
        (N,), u.
    radius, c : numpy.ndarray
        (N,), of the bond valences; see :func:`~deepchem_crystalssl.crystals.elements.bond_valence_parameters`.
    orbital_energies, electrons : numpy.ndarray
        (N, 3), of the s, p and d orbitals; eV and number.
    d_radius : numpy.ndarray
        (N,), Å; 0 without d orbitals.
    """

    mass: np.ndarray
    radius: np.ndarray
    c: np.ndarray
    orbital_energies: np.ndarray
    electrons: np.ndarray
    d_radius: np.ndarray

    @classmethod
    def of(cls, crystal: Crystal) -> SiteParameters:
        """The parameters of the sites of a crystal.

        Raises
        ------
        ModelPhysicsError
            If an element is not in the tables.

        Examples
        --------
        >>> from deepchem_crystalssl.crystals.validation import make_crystal
        >>> iron = make_crystal([26, 26], [[0, 0, 0], [.5, .5, .5]], 2.866 * np.eye(3), "Fe")
        >>> SiteParameters.of(iron).mass.tolist()
        [55.845, 55.845]
        """
        species = crystal.species
        energies, electrons, d_radius = orbital_parameters()
        unknown = np.isnan(energies[species.atomic_numbers, 0])
        if unknown.any():
            z = species.atomic_numbers[unknown.argmax()]
            raise ModelPhysicsError(
                crystal.material_id,
                symbols()[z],
                "springs and tight binding are tabulated for Z = 1-103",
                "Leave the structure out.",
            )
        z, site, share = species.atomic_numbers, species.site, species.occupancy

        def mean(values: np.ndarray, weight: np.ndarray = share) -> np.ndarray:
            if crystal.is_ordered:
                return np.where(weight > 0.0, values, 0.0)
            total = np.bincount(site, weight, crystal.num_nodes)
            return np.bincount(site, weight * values, crystal.num_nodes) / np.where(total > 0.0, total, 1.0)

        with_d = np.where(d_radius[z] > 0.0, share, 0.0)
        return cls(
            mean(element_table()["mass_u"][z - 1]),
            mean(bond_valence_parameters()[z, 0].astype(float)),
            mean(bond_valence_parameters()[z, 1].astype(float)),
            np.stack([mean(energies[z, 0]), mean(energies[z, 1]), mean(np.nan_to_num(energies[z, 2]), with_d)], axis=1),
            np.stack([mean(electrons[z, kind]) for kind in range(3)], axis=1),
            mean(d_radius[z], with_d),
        )
