"""Writing CIF: a crystal in the standard setting of its space group, with the sites that symmetry does not repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gemmi
import numpy as np

from ..elements import symbols
from ..symmetry import StandardSetting

_SITES = "label type_symbol symmetry_multiplicity fract_x fract_y fract_z occupancy".split()


def write_cif_text(crystals: Sequence[tuple[str, StandardSetting]], facts: Mapping[str, str] | None = None) -> str:
    """A CIF text with one data block for each crystal.

    Parameters
    ----------
    crystals : sequence of (str, StandardSetting)
        Names and crystals. Characters that the name of a block cannot hold become underscores.
    facts : mapping from str to str, optional
        Further tags and their values, for every block.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> text = write_cif_text([("cinnabar", StandardSetting.of(bundled_prototypes()[0]))])
    >>> print(*text.splitlines()[:2], sep="; ")
    data_cinnabar; _chemical_formula_sum 'Hg3 S3'
    """
    document = gemmi.cif.Document()
    taken: set[str] = set()
    for name, setting in crystals:
        _add_block(document, _distinct(name, taken), setting, facts or {})
    return document.as_string()


def _distinct(name: str, taken: set[str]) -> str:
    """A name of a block that is not yet taken."""
    word = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name) or "crystal"
    distinct, times = word, 1
    while distinct.lower() in taken:  # names of blocks differ by more than their case
        times += 1
        distinct = f"{word}_{times}"
    taken.add(distinct.lower())
    return distinct


def _add_block(document: gemmi.cif.Document, name: str, setting: StandardSetting, facts: Mapping[str, str]) -> None:
    crystal, block = setting.crystal, document.add_new_block(name)
    species = crystal.species
    amounts = np.bincount(species.atomic_numbers, species.occupancy, len(symbols()))
    parts = sorted(f"{symbols()[z]}{amounts[z]:.6g}" for z in np.flatnonzero(amounts))
    block.set_pair("_chemical_formula_sum", gemmi.cif.quote(" ".join(parts)))
    for tag, value in facts.items():
        block.set_pair(tag, gemmi.cif.quote(value))
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    for axis, length in zip("abc", lengths, strict=True):
        block.set_pair(f"_cell_length_{axis}", f"{length:.5f}")
    for angle, value in zip(("alpha", "beta", "gamma"), cell_angles(crystal.lattice), strict=True):
        block.set_pair(f"_cell_angle_{angle}", f"{value:.4f}")
    block.set_pair("_cell_volume", f"{crystal.volume:.4f}")
    operations = [_operation(*pair) for pair in zip(setting.rotations, setting.translations, strict=True)]
    group = gemmi.find_spacegroup_by_ops(gemmi.GroupOps(operations))
    block.set_pair("_space_group_name_H-M_alt", gemmi.cif.quote(group.hm if group else setting.symbol))
    block.set_pair("_space_group_name_Hall", gemmi.cif.quote(setting.hall))
    block.set_pair("_space_group_IT_number", str(setting.number))
    loop = block.init_loop("_space_group_symop_", ["id", "operation_xyz"])
    for place, operation in enumerate(operations, start=1):
        loop.add_row([str(place), gemmi.cif.quote(operation.triplet())])
    sites = block.init_loop("_atom_site_", _SITES)
    orbits = setting.orbits()
    times: dict[str, int] = {}
    for site in np.unique(orbits):
        multiplicity, position = int((orbits == site).sum()), [f"{x:.6f}" for x in crystal.frac_coords[site]]
        for row in np.flatnonzero(species.site == site):
            symbol = symbols()[species.atomic_numbers[row]]
            times[symbol] = times.get(symbol, 0) + 1
            label = f"{symbol}{times[symbol]}"
            sites.add_row([label, symbol, str(multiplicity), *position, f"{species.occupancy[row]:.6g}"])


def _operation(rotation: np.ndarray, translation: np.ndarray) -> gemmi.Op:
    operation = gemmi.Op()
    operation.rot = (gemmi.Op.DEN * rotation).astype(int).tolist()
    operation.tran = np.round(gemmi.Op.DEN * translation).astype(int).tolist()
    return operation


def cell_angles(lattice: np.ndarray) -> np.ndarray:
    """Angles alpha, beta and gamma of a cell whose vectors (Å) are rows, degrees, (3,).

    Examples
    --------
    >>> cell_angles(np.diag([3.0, 4.0, 5.0])).tolist()
    [90.0, 90.0, 90.0]
    """
    unit = lattice / np.linalg.norm(lattice, axis=1, keepdims=True)
    cosines = np.array([unit[1] @ unit[2], unit[2] @ unit[0], unit[0] @ unit[1]])
    return np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
