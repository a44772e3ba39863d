"""Entries of databases: what their fields are called, which one is the id, and the crystals they describe.

An entry is a dict. It is read field by field; nothing that it names is imported or executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import CoordinateError, CrystalInputError, DisorderError, LatticeError, UnsupportedObjectError
from ..records import Crystal
from .tables import as_ids
from ..validation import check_lattice, make_crystal, real_numbers

ENTRY_IDS = ("material_id", "jid", "entry_id", "id", "name", "immutable_id", "mat_id", "mbid", "unique_id")
"""Fields that hold the id of an entry; the first that an entry has is used."""

HOLDERS = ("structure", "atoms", "attributes", "snl")
"""Fields that hold the crystal of an entry, beside its id and properties."""

_OPTIMADE = {"lattice_vectors", "cartesian_site_positions", "species_at_sites"}


def own_id(entry: Mapping, id_column: str | None = None) -> str | None:
    """The id that an entry has itself, None if it has none.

    Parameters
    ----------
    entry : dict
    id_column : str, optional
        The field of the id; by default the first of :data:`ENTRY_IDS`, in the entry, and then in the key-value pairs
        and the data that it holds.

    Examples
    --------
    >>> own_id({"entry_id": None, "data": {"mat_id": "agm002214"}}), own_id({"jid": "JVASP-90856"})
    ('agm002214', 'JVASP-90856')
    """
    fields = ENTRY_IDS if id_column is None else (id_column,)
    data = entry.get("data")
    info = data.get("__info__") if isinstance(data, Mapping) else None  # where fairchem keeps Atoms.info
    own = [part for part in (entry.get("key_value_pairs"), entry, data, info) if isinstance(part, Mapping)]
    if "numbers" not in entry:  # in a row of ASE, the key-value pairs are what the user chose
        own.sort(key=lambda part: part is not entry)
    for part in own:
        for field in fields:
            value = part.get(field)
            # ASE's `id` is the number of the row in its file, and not kept when rows are copied.
            if value is None or isinstance(value, Mapping | list) or (field == "id" and "numbers" in part):
                continue
            if name := as_ids([value])[0]:
                return name
    return None


def is_entry(entry: Any) -> bool:
    """Whether something is a dict with the fields of a crystal, or with one field that holds them."""
    if not isinstance(entry, Mapping):
        return False
    if ("lattice" in entry and "sites" in entry) or form_of(entry) is not None:
        return True
    return any(key in entry for key in HOLDERS)


def form_of(entry: Mapping) -> Callable[[Mapping, str], Crystal] | None:
    """The reader of the form that a dict's fields follow, None if they follow none of those here."""
    if "lattice_mat" in entry and "coords" in entry:
        return from_jarvis
    if _OPTIMADE <= entry.keys():
        return from_optimade
    if "numbers" in entry and "positions" in entry:
        return from_ase_row
    return None


def from_jarvis(entry: Mapping, name: str) -> Crystal:
    """The crystal of JARVIS's ``atoms``: ``lattice_mat`` (rows, Å), ``coords``, ``elements`` and ``cartesian``.

    Examples
    --------
    >>> atoms = {"lattice_mat": 4 * np.eye(3), "coords": [[2, 2, 2]], "elements": ["Po"], "cartesian": True}
    >>> from_jarvis(atoms, "JVASP-1").frac_coords.tolist()
    [[0.5, 0.5, 0.5]]
    """
    elements = _field(entry, "elements", name)
    coordinates = _vectors(entry["coords"], name, "coords")
    if entry.get("cartesian", False):
        return cartesian_crystal(list(elements), coordinates, entry["lattice_mat"], name)
    return make_crystal(list(elements), coordinates, _matrix(entry["lattice_mat"]), name)


def from_optimade(entry: Mapping, name: str) -> Crystal:
    """The crystal of the attributes of an OPTIMADE structure, or of a row of LeMaterial, which has the same fields.

    The rows of ``lattice_vectors`` are the cell vectors. A vacancy among the species of a site leaves it partly empty.
    """
    features = entry.get("structure_features")
    if features is not None and "assemblies" in list(features):
        raise DisorderError(
            name,
            "sites that occur in assemblies",
            "a crystal has sites with occupancies, independent of each other",
            "Leave the structure out, or take it as a CIF file with occupancies.",
        )
    dimensions = entry.get("dimension_types")
    if dimensions is not None and list(dimensions) != [1, 1, 1]:
        raise LatticeError(
            name, f"dimension_types {list(dimensions)}", "a crystal must be periodic in three dimensions"
        )
    mixed = {}
    kinds = entry.get("species")
    for kind in () if kinds is None else kinds:
        shares = kind.get("concentration")
        symbols = list(kind["chemical_symbols"])
        shares = [1.0] * len(symbols) if shares is None else list(shares)
        if len(shares) != len(symbols):
            raise UnsupportedObjectError(
                name,
                f"species {kind['name']} has {len(symbols)} chemical symbols and {len(shares)} concentrations",
                "a species has a concentration for each chemical symbol",
                "Correct the entry.",
            )
        amounts: dict[str, float] = {}
        for symbol, share in zip(symbols, shares, strict=True):
            if symbol != "vacancy":
                amounts[symbol] = amounts.get(symbol, 0.0) + float(share)
        mixed[kind["name"]] = amounts
    species = [mixed.get(site, site) for site in entry["species_at_sites"]]
    positions = _vectors(entry["cartesian_site_positions"], name, "cartesian_site_positions")
    return cartesian_crystal(species, positions, entry["lattice_vectors"], name)


def from_ase_row(entry: Mapping, name: str) -> Crystal:
    """The crystal of a row of an ASE database, or of ``Atoms.todict()``."""
    pbc = np.broadcast_to(_ase_array(entry.get("pbc", False)), 3)
    if pbc.dtype.kind not in "biuf" or not pbc.all():
        raise LatticeError(name, f"pbc {pbc.tolist()}", "a crystal must be periodic in three dimensions")
    numbers = _ase_array(entry["numbers"])
    positions = _ase_array(entry["positions"])
    if numbers.ndim != 1 or positions.size != 3 * len(numbers):
        raise CoordinateError(
            name, f"{positions.size} coordinates of {numbers.size} atoms", "an atom has three coordinates"
        )
    return cartesian_crystal(numbers, positions.reshape(-1, 3), _ase_array(entry.get("cell", [])), name)


def cartesian_crystal(species: Any, positions: np.ndarray, lattice: Any, name: str) -> Crystal:
    """The crystal of Cartesian positions (N, 3) in Å, and of cell vectors as rows."""
    matrix = check_lattice(_matrix(lattice), name)
    cartesian = real_numbers(positions, CoordinateError, name, "positions")
    if cartesian.ndim != 2 or cartesian.shape[1] != 3:
        raise CoordinateError(name, f"positions of shape {cartesian.shape}")
    return make_crystal(species, cartesian @ np.linalg.inv(matrix), matrix, name)


def trajectory_frames(entry: Mapping, name: str) -> list[Crystal | CrystalInputError]:
    """The crystals of the dict of a pymatgen ``Trajectory``, one for each frame."""
    species = [_species(part) for part in _field(entry, "species", name)]
    coordinates = np.asarray(_plain(entry["coords"]), float)
    if coordinates.ndim != 3 or coordinates.shape[1:] != (len(species), 3):
        raise CoordinateError(name, f"coordinates of shape {coordinates.shape} for {len(species)} sites")
    if entry.get("coords_are_displacement"):
        coordinates = np.asarray(_plain(_field(entry, "base_positions", name)), float) + np.cumsum(coordinates, axis=0)
    lattice = _plain(_field(entry, "lattice", name))
    frames: list[Crystal | CrystalInputError] = []
    for k, frac in enumerate(coordinates):
        try:
            cell = lattice if entry.get("constant_lattice", True) else lattice[k]
            frames.append(make_crystal(species, frac, _matrix(cell), f"{name} {k}"))
        except CrystalInputError as error:
            frames.append(error)
    return frames


def _species(part: Any) -> Any:
    """A species as MSONable objects are written: a symbol, an element's dict, or amounts."""
    if isinstance(part, Mapping) and "element" in part:
        return str(part["element"])
    if not isinstance(part, Mapping):
        return part
    return {key: float(share) for key, share in part.items() if not key.startswith("@")}


def _field(entry: Mapping, field: str, name: str) -> Any:
    value = entry.get(field)
    if value is None:
        raise UnsupportedObjectError(name, f"a dict without {field}")
    return value


def _plain(value: Any) -> Any:
    """A list, also where monty has written a NumPy array as a dict."""
    return value["data"] if isinstance(value, Mapping) and "data" in value else value


def _matrix(lattice: Any) -> Any:
    """Cell vectors as nested lists; tables hold them as arrays of arrays."""
    return [list(row) for row in lattice] if isinstance(lattice, np.ndarray) and lattice.dtype == object else lattice


def _vectors(values: Any, name: str, field: str) -> np.ndarray:
    try:
        rows = [list(row) for row in values]
    except TypeError as error:
        raise CoordinateError(name, f"{field} that are not three numbers for each site") from error
    vectors = real_numbers(rows, CoordinateError, name, field)
    return vectors.reshape(-1, 3) if vectors.size == 0 else vectors


def _ase_array(value: Any) -> np.ndarray:
    """An array as ASE writes it to JSON: ``{"__ndarray__": [shape, type, numbers]}``, or the array itself.

    The numbers must be as many as the shape says, so that no memory is taken for numbers that are not there.
    """
    if isinstance(value, Mapping):
        if "array" in value:  # a Cell
            return _ase_array(value["array"])
        shape, _, numbers = value["__ndarray__"]
        return np.array(numbers).reshape(shape)
    return np.asarray(value)
