"""What is done with partially occupied and mixed sites: refuse them, keep the dominant species, or keep all."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from .elements import symbols
from ..errors import DisorderError, EmptyStructureError, check_choice, counted
from .records import Crystal

Disorder = Literal["refuse", "dominant", "average"]


def check_policy(policy: str) -> None:
    """Raise an OptionError for anything that is not a policy."""
    check_choice("disorder", policy, get_args(Disorder))


def resolve_disorder(crystal: Crystal, policy: Disorder) -> Crystal:
    """Apply a policy for partial and mixed occupancy to a crystal.

    Parameters
    ----------
    crystal : Crystal
    policy : {"average", "dominant", "refuse"}
        Keep all occupancies; or keep the majority species of every site that is at least half occupied, as if it
        occupied the site alone; or raise an error.

    Raises
    ------
    DisorderError
        With ``"refuse"``, if a site is not fully occupied by one species.
    EmptyStructureError
        With ``"dominant"``, if every site is less than half occupied.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> alloy = make_crystal([{"Cu": 0.75, "Au": 0.25}], [[0, 0, 0]], 2.8 * np.eye(3), "alloy")
    >>> resolve_disorder(alloy, "dominant").formula
    'Cu1'
    """
    occupancies = crystal.occupancies
    if occupancies is None or policy == "average":
        return crystal
    totals = np.bincount(occupancies.site, occupancies.occupancy)
    if policy == "refuse":
        partial = np.flatnonzero((totals < 1.0) | (np.bincount(occupancies.site) > 1))
        rows = occupancies.site == partial[0]
        parts = zip(occupancies.occupancy[rows], occupancies.atomic_numbers[rows], strict=True)
        site = " + ".join(f"{occupancy:g} {symbols()[z]}" for occupancy, z in parts)
        raise DisorderError(
            crystal.material_id, f"{counted(len(partial), 'disordered site')}, first {partial[0]}: {site}"
        )
    full = kept_sites(crystal, policy)
    if not full.any():
        raise EmptyStructureError(crystal.material_id, "every site less than half occupied")
    return Crystal(crystal.atomic_numbers[full], crystal.frac_coords[full], crystal.lattice, crystal.material_id)


def kept_sites(crystal: Crystal, policy: Disorder) -> np.ndarray:
    """Return which sites :func:`resolve_disorder` keeps, bool (N,): all of them, or those at least half full."""
    if crystal.occupancies is None or policy != "dominant":
        return np.ones(crystal.num_nodes, bool)
    return np.bincount(crystal.occupancies.site, crystal.occupancies.occupancy) >= 0.5
