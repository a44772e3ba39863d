"""What a CIF file says of its content beside the atoms: formula sum, formula units in the cell, density."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import gemmi
import numpy as np

from ..elements import N_ELEMENTS
from ..records import Crystal
from .statements import density, formula_sum, formula_units, parse_formula

_RATIO_TOLERANCE = 0.04
_DENSITY_TOLERANCE = 0.12
_DALTON_PER_CUBIC_ANGSTROM = 1.66053907  # in g/cm3


@dataclass(frozen=True)
class Claims:
    """The statements of a file with which the atoms that are built from it are compared.

    Attributes
    ----------
    block : gemmi.cif.Block
        That of the file, of which the density is read when it is asked for.
    formula : str
        ``_chemical_formula_sum`` as it is written, empty if the file has none.
    amounts : dict from int to float
        Atoms in the formula sum by atomic number; empty if there is none that can be understood.
    units : float
        Formula units in the cell; NaN if the file does not say.
    """

    block: gemmi.cif.Block
    formula: str
    amounts: Mapping[int, float]
    units: float

    @classmethod
    def of(cls, block: gemmi.cif.Block) -> Claims:
        """The claims of a data block."""
        formula = formula_sum(block)
        return cls(block, formula, parse_formula(formula) or {}, formula_units(block))

    @property
    def density(self) -> float:
        """g/cm3; NaN if the file does not say."""
        return density(self.block)

    @property
    def count_atoms(self) -> bool:
        """Whether they fix the number of atoms in the cell."""
        return bool(self.amounts) and self.units > 0 or self.density > 0

    def contradiction(self, crystal: Crystal) -> str:
        """What of the claims a crystal contradicts, in words; empty if nothing.

        Hydrogen atoms that the formula has and the crystal lacks are no contradiction: many files do not list them.
        """
        if self._is_exact(crystal):
            return ""
        found = _counts(crystal)
        if self.amounts:
            heavy = {z: n for z, n in self.amounts.items() if z > 1} or self.amounts
            total = sum(heavy.values())
            units = sum(found[z] for z in heavy) / total
            if not self._has_ratio(found, units):
                return f"{crystal.formula} in the cell, formula sum {self.formula}"
            if self.units > 0:
                if any(abs(units - n) <= _RATIO_TOLERANCE * n for n in self._possible_units()):
                    return ""
                return f"{crystal.formula} in the cell, {self.units:g} units of {self.formula} by the file"
        if self.density > 0:
            mass = float(found @ _atomic_masses())
            density = mass / abs(float(np.linalg.det(crystal.lattice))) * _DALTON_PER_CUBIC_ANGSTROM
            if abs(density - self.density) > _DENSITY_TOLERANCE * self.density:
                return f"{density:.3g} g/cm3 by the atoms in the cell, {self.density:g} g/cm3 by the file"
        return ""

    def _is_exact(self, crystal: Crystal) -> bool:
        """Whether an ordered crystal has just the atoms of the formula units in the cell, as most have."""
        if crystal.occupancies is not None or not self.amounts or not self.units > 0:
            return False
        found, units = crystal.atomic_numbers.tolist(), self.units
        if len(found) == sum(self.amounts.values()) and not any(n % units for n in self.amounts.values()):
            units = 1.0  # the formula sum is that of the whole cell, as pymatgen writes it
        return len(found) == units * sum(self.amounts.values()) and all(
            found.count(z) == units * n for z, n in self.amounts.items()
        )

    def missing_hydrogen(self, crystal: Crystal) -> bool:
        """Whether the crystal has fewer hydrogen atoms than the formula sum."""
        hydrogen = self.amounts.get(1, 0.0)
        if not hydrogen or len(self.amounts) == 1:
            return False
        found = _counts(crystal)
        units = sum(found[z] for z in self.amounts if z > 1) / sum(n for z, n in self.amounts.items() if z > 1)
        return bool(found[1] < (1.0 - _RATIO_TOLERANCE) * units * hydrogen)

    def _has_ratio(self, found: np.ndarray, units: float) -> bool:
        """Whether the atoms are in the ratio of the formula sum, but for hydrogen that is not listed."""
        if units <= 0.0:
            return False
        for z in {*self.amounts, *np.flatnonzero(found).tolist()}:
            listed, meant = float(found[z]), units * self.amounts.get(z, 0.0)
            if abs(listed - meant) > _RATIO_TOLERANCE * meant + 0.02 * units and (z > 1 or listed > meant):
                return False
        return True

    def _possible_units(self) -> list[float]:
        """The numbers of formula sums in the cell: Z, or 1 where the sum is that of the cell, as pymatgen writes it."""
        is_of_cell = sum(self.amounts.values()) >= self.units and all(
            abs(n / self.units - round(n / self.units)) < 1e-3 or n != round(n) for n in self.amounts.values()
        )
        return [self.units, 1.0] if is_of_cell else [self.units]


def _counts(crystal: Crystal) -> np.ndarray:
    """Atoms in the cell by atomic number, float64 (119,)."""
    species = crystal.occupancies
    if species is None:
        return np.bincount(crystal.atomic_numbers, minlength=N_ELEMENTS + 1)
    return np.bincount(species.atomic_numbers, species.occupancy, N_ELEMENTS + 1)


@lru_cache(maxsize=1)
def _atomic_masses() -> np.ndarray:
    """Atomic masses by atomic number, u, float64 (119,)."""
    return np.array([0.0] + [gemmi.Element(z).weight for z in range(1, N_ELEMENTS + 1)])
