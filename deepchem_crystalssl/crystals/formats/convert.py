"""Crystals from objects of pymatgen and ASE, from their dicts, and from entries of databases that hold these.

No library of theirs is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .database_entries import HOLDERS, form_of, is_entry, own_id
from ...errors import (
    CrystalInputError,
    LatticeError,
    OccupancyError,
    UnknownElementError,
    UnsupportedObjectError,
    an_object,
)
from ..records import Crystal
from ..validation import check_record, lattice_from_parameters, make_crystal

_CELL = ("a", "b", "c", "alpha", "beta", "gamma")


def is_one(source: Any) -> bool:
    """Whether a source is a single crystal or path; iterating over a Structure or an Atoms would give its sites."""
    return (
        isinstance(source, Crystal | Mapping | str | Path)
        or hasattr(source, "sites")
        or hasattr(source, "get_scaled_positions")
        or _holds_a_structure(source)
    )


def _holds_a_structure(source: Any) -> bool:
    """Whether a source is a document of the Materials Project or a ComputedStructureEntry, and no table of these."""
    has_id = hasattr(source, "material_id") or hasattr(source, "entry_id")
    return has_id and hasattr(source, "structure") and not hasattr(source, "iloc")


def to_crystal(entry: Any, name: str = "structure 0", id_column: str | None = None) -> Crystal:
    """Make a :class:`Crystal` of an object of another library.

    Parameters
    ----------
    entry : Crystal, pymatgen Structure, ASE Atoms, a dict of one of these, or an entry of a database
        An entry is a dict or an object that holds a structure beside its id, such as a ``ComputedStructureEntry``, a
        document of the Materials Project, JARVIS or OPTIMADE, or a row of ASE.
    name : str
        Used if the object has no id of its own.
    id_column : str, optional
        The field of an entry's id, if it is not one of
        :data:`~deepchem_crystalssl.crystals.formats.database_entries.ENTRY_IDS`.

    Raises
    ------
    CrystalInputError
        A typed error if the object is no crystal, whatever the object itself raises.
    """
    if isinstance(entry, Crystal):
        return check_record(entry)
    try:
        if isinstance(entry, Mapping):
            return from_dict(entry, name, id_column)
        if hasattr(entry, "sites") and hasattr(entry, "lattice"):
            return from_pymatgen(entry, name)
        if hasattr(entry, "get_atomic_numbers") and hasattr(entry, "get_scaled_positions"):
            return from_ase(entry, name, id_column)
        if _holds_a_structure(entry):
            fields = ("material_id", "entry_id") if id_column is None else (id_column,)
            own = {field: value for field in fields if (value := getattr(entry, field, None)) is not None}
            own["data"] = getattr(entry, "data", None)
            return from_pymatgen(entry.structure, own_id(own, id_column) or name)
    except CrystalInputError:
        raise
    except Exception as error:  # an object that only looks like one, whatever it raises
        name = isinstance(entry, Mapping) and "lattice" not in entry and own_id(entry, id_column) or name
        raise UnsupportedObjectError(name, f"{an_object(entry)} that cannot be read ({error})") from error
    raise UnsupportedObjectError(name, an_object(entry))


def from_pymatgen(structure: Any, name: str) -> Crystal:
    """The crystal of a pymatgen ``Structure``; oxidation states and site properties are dropped."""
    name = str(structure.properties.get("material_id", name)) if getattr(structure, "properties", None) else name
    species: list[Any] = []
    for site in structure.sites:
        parts = site.species
        if len(parts) == 1:
            ((element, occupancy),) = parts.items()
            if occupancy == 1.0:
                species.append(_atomic_number(element, name))
                continue
        species.append(_sum_species(parts.items(), name))
    return make_crystal(species, structure.frac_coords, structure.lattice.matrix, name)


def _atomic_number(element: Any, name: str) -> int:
    if type(element).__name__ == "DummySpecies":  # it invents an atomic number for itself
        raise UnknownElementError(name, f"species {str(element)!r}")
    return element.Z


def _sum_species(items: Iterable[tuple[Any, float]], name: str) -> dict[int, float]:
    amounts: dict[int, float] = {}
    for element, occupancy in items:  # two oxidation states of one element are one species here
        z = _atomic_number(element, name)
        amounts[z] = amounts.get(z, 0.0) + occupancy
    return amounts


def from_dict(entry: Mapping, name: str, id_column: str | None = None) -> Crystal:
    """The crystal of a dict, which is read directly: nothing that it names is imported or executed."""
    if "lattice" in entry and "sites" in entry:
        return _from_structure_dict(entry, name)
    own = own_id(entry, id_column)
    if (form := form_of(entry)) is not None:
        return form(entry, own or name)
    fields = [*HOLDERS, "data"] if is_entry(entry.get("data")) else HOLDERS  # OPTIMADE's answer of one structure
    held = next((entry[field] for field in fields if entry.get(field) is not None), None)
    if held is None:
        raise UnsupportedObjectError(own or name, "a dict without lattice and sites")
    if own is None:
        return to_crystal(held, name, id_column)
    if isinstance(held, Mapping) and (form := form_of(held)) is not None:
        return form(held, own)
    crystal = to_crystal(held, own)
    return crystal if crystal.material_id == own else replace(crystal, material_id=own)  # the entry knows better


def _from_structure_dict(entry: Mapping, name: str) -> Crystal:
    properties = entry.get("properties") or {}
    name = str(properties.get("material_id", name))
    lattice = entry["lattice"]
    try:
        if isinstance(lattice, Mapping):
            matrix = lattice.get("matrix")
            if matrix is None:
                matrix = lattice_from_parameters(*(float(lattice[key]) for key in _CELL))
        else:
            matrix = lattice
    except (KeyError, TypeError, ValueError) as error:
        raise LatticeError(name, f"lattice {lattice}") from error
    species = []
    coordinates = []
    for site in entry["sites"]:
        try:
            amounts: dict[str, float] = {}
            for part in site["species"]:
                symbol = str(part["element"])
                amounts[symbol] = amounts.get(symbol, 0.0) + float(part.get("occu", 1.0))
            species.append(amounts)
            coordinates.append(site["abc"])
        except (KeyError, TypeError) as error:
            raise UnsupportedObjectError(name, f"site {len(species)} without species or abc") from error
    return make_crystal(species, coordinates, matrix, name)


def from_ase(atoms: Any, name: str, id_column: str | None = None) -> Crystal:
    """The crystal of an ASE ``Atoms``, periodic in three dimensions, with the id and occupancies in ``atoms.info``."""
    if not np.all(atoms.pbc):
        raise LatticeError(
            name,
            f"pbc {list(map(bool, atoms.pbc))}",
            "a crystal must be periodic in three dimensions",
            "Set atoms.pbc = True if it is one.",
        )
    lattice = np.array(atoms.cell)
    if abs(np.linalg.det(lattice)) < 1e-9:
        raise LatticeError(name, f"cell vectors {lattice.tolist()}")
    name = own_id(atoms.info, id_column) or name
    species: Any = atoms.get_atomic_numbers()
    if atoms.info.get("occupancy"):
        species = _ase_species(atoms, name)
    return make_crystal(species, atoms.get_scaled_positions(wrap=False), lattice, name)


def _ase_species(atoms: Any, name: str) -> list[dict[str, float]]:
    """The species of each site, which ASE's CIF reader stores by the kind of the site (or, by hand, by its tag)."""
    by_kind = {str(kind): parts for kind, parts in atoms.info["occupancy"].items()}  # numbers, or texts from JSON
    kinds = atoms.arrays.get("spacegroup_kinds")
    unused = set(by_kind) - {str(kind) for kind in (atoms.get_tags() if kinds is None else kinds)}
    if unused and (kinds is None or len(unused) == len(by_kind)):
        raise OccupancyError(
            name,
            f"atoms.info['occupancy'] is for the kinds {', '.join(sorted(unused))}, which no atom has",
            "the occupancies must belong to the atoms",
            "Set the array 'spacegroup_kinds' or the tags to the kinds of the atoms.",
        )
    species = []
    for site, (kind, symbol) in enumerate(
        zip(atoms.get_tags() if kinds is None else kinds, atoms.get_chemical_symbols(), strict=True)
    ):
        parts = by_kind.get(str(kind), {symbol: 1.0})
        if symbol not in parts:
            raise OccupancyError(
                name,
                f"atoms.info['occupancy'] names {', '.join(parts)} for site {site}, which is {symbol}",
                "the occupancies must belong to the atoms",
                "Correct atoms.info['occupancy'], or delete it.",
            )
        species.append({element: float(occupancy) for element, occupancy in parts.items()})
    return species
