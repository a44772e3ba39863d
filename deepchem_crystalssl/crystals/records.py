"""The records of the package: a crystal, and a crystal with its neighbours. They hold physical quantities only.

Conventions of the whole package:

* lengths in Å, angles in degrees; ``lattice`` holds the cell vectors as *rows*,
* fractional coordinates are wrapped into [0, 1),
* an edge runs *neighbour -> centre*: atom ``edge_index[0, e]``, translated by ``image[e]`` lattice vectors,
  is a neighbour of atom ``edge_index[1, e]`` at ``distance[e]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .elements import N_ELEMENTS, element_features, symbols
from ..errors import UnsupportedObjectError, counted

if TYPE_CHECKING:
    from dgl import DGLGraph
    from pymatgen.core import Structure

EDGE_FEATURE_CENTERS = np.linspace(0.0, 8.0, 41)
"""Centres of the Gaussian expansion of distances that DeepChem's models expect, Å (Xie and Grossman 2018)."""


_COLUMNS = "a record holds NumPy arrays: whole numbers (N,), real coordinates (N, 3) and cell vectors (3, 3)"
_MAKE = "Make crystals with deepchem_crystalssl.crystals.validation.make_crystal, which converts and checks."


def _is_array(values: Any, kinds: str, shape: tuple[int, ...]) -> bool:
    """Whether something is an array of numbers of one of these kinds and of a shape."""
    if type(values) is not np.ndarray and (not isinstance(values, np.ndarray) or isinstance(values, np.ma.MaskedArray)):
        return False
    return values.shape == shape and values.dtype.kind in kinds


def _are_columns(numbers: Any, frac: Any, lattice: Any) -> bool:
    """Whether these are atomic numbers (N,), coordinates (N, 3) and cell vectors (3, 3)."""
    if type(numbers) is type(frac) is type(lattice) is np.ndarray:  # nearly always; this is done for every record
        return (
            numbers.ndim == 1
            and frac.shape == (len(numbers), 3)
            and lattice.shape == (3, 3)
            and numbers.dtype.kind in "iu"
            and frac.dtype.kind == lattice.dtype.kind == "f"
        )
    n = _length(numbers)
    return _is_array(numbers, "iu", (n,)) and _is_array(frac, "f", (n, 3)) and _is_array(lattice, "f", (3, 3))


def _length(values: Any) -> int:
    """The length of an array, -1 for anything else."""
    return len(values) if isinstance(values, np.ndarray) and values.ndim else -1


def _freeze(record: Any) -> None:
    for value in vars(record).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False


@dataclass(frozen=True, eq=False, repr=False)
class Occupancies:
    """The species on each site and their occupancies, one row for each species on a site.

    Attributes
    ----------
    site : numpy.ndarray
        int32 (M,), ascending; every site has at least one row.
    atomic_numbers : numpy.ndarray
        int16 (M,).
    occupancy : numpy.ndarray
        float64 (M,), in (0, 1]; the occupancies of a site sum to at most 1, and the rest is vacant.
    """

    site: np.ndarray
    atomic_numbers: np.ndarray
    occupancy: np.ndarray

    def __post_init__(self) -> None:
        n = _length(self.site)
        if not (
            _is_array(self.site, "iu", (n,))
            and _is_array(self.atomic_numbers, "iu", (n,))
            and _is_array(self.occupancy, "f", (n,))
        ):
            found = "columns that are no arrays of numbers of one length"
            raise UnsupportedObjectError("occupancies", found, _COLUMNS, _MAKE)
        _freeze(self)

    def __reduce__(self) -> tuple:
        return type(self), tuple(getattr(self, name) for name in self.__dataclass_fields__)


@dataclass(frozen=True, eq=False, repr=False)
class Crystal:
    """A crystal: its atoms, their positions and the cell. The record is immutable.

    Make one with :func:`~deepchem_crystalssl.crystals.validation.make_crystal`, which checks the values, or with
    :func:`~deepchem_crystalssl.read_structures`; the constructor itself checks types and shapes, and no values.

    Attributes
    ----------
    atomic_numbers : numpy.ndarray
        int16 (N,); on a site shared by several species the one with the largest occupancy.
    frac_coords : numpy.ndarray
        float64 (N, 3), in [0, 1).
    lattice : numpy.ndarray
        float64 (3, 3), cell vectors as rows, Å.
    material_id : str
        Identifier of the crystal, which errors and results name.
    occupancies : Occupancies or None
        None for an ordered crystal.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> silicon = make_crystal([14, 14], [[0, 0, 0], [.25, .25, .25]], 2.715 * (1 - np.eye(3)), "Si")
    >>> silicon
    Crystal(Si, Si2, 2 sites)
    >>> round(silicon.volume, 2)
    40.03
    """

    atomic_numbers: np.ndarray
    frac_coords: np.ndarray
    lattice: np.ndarray
    material_id: str = ""
    occupancies: Occupancies | None = None

    def __post_init__(self) -> None:
        if not _are_columns(self.atomic_numbers, self.frac_coords, self.lattice):
            raise UnsupportedObjectError(str(self.material_id), "species, coordinates or a cell", _COLUMNS, _MAKE)
        if self.occupancies is not None:
            n = len(self.atomic_numbers)
            site = self.occupancies.site if isinstance(self.occupancies, Occupancies) else ()
            if not len(site) or site[0] != 0 or site[-1] != n - 1:
                raise UnsupportedObjectError(
                    str(self.material_id), f"occupancies that are not those of {counted(n, 'site')}",
                    "occupancies have rows for every site, in their order", _MAKE,
                )  # fmt: skip
        _freeze(self)

    def __reduce__(self) -> tuple:  # rebuilt through __post_init__, so that a reloaded record is frozen too
        return type(self), tuple(getattr(self, name) for name in self.__dataclass_fields__)

    def __repr__(self) -> str:
        name = f"{self.material_id}, " if self.material_id else ""
        return f"{type(self).__name__}({name}{self.formula}, {counted(self.num_nodes, 'site')})"

    @property
    def num_nodes(self) -> int:
        """Number of sites N."""
        return len(self.atomic_numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å^3."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def is_ordered(self) -> bool:
        """Whether every site holds one species at full occupancy."""
        return self.occupancies is None

    @property
    def species(self) -> Occupancies:
        """The species on each site and their occupancies, also for an ordered crystal."""
        if self.occupancies is not None:
            return self.occupancies
        return Occupancies(np.arange(self.num_nodes, dtype=np.int32), self.atomic_numbers, np.ones(self.num_nodes))

    @property
    def formula(self) -> str:
        """Contents of the cell in the order of atomic numbers, such as ``"O3Ti1Sr1"``."""
        species = self.species
        amounts = np.bincount(species.atomic_numbers, species.occupancy, N_ELEMENTS + 1)
        return "".join(f"{symbols()[z]}{amounts[z]:g}" for z in np.flatnonzero(amounts))

    @property
    def reduced_formula(self) -> str:
        """Reduced formula with the elements in pymatgen's order, such as ``"SrTiO3"``."""
        from pymatgen.core import Composition

        species = self.species
        amounts: dict[str, float] = {}
        for z, occupancy in zip(species.atomic_numbers.tolist(), species.occupancy.tolist(), strict=True):
            amounts[symbols()[z]] = amounts.get(symbols()[z], 0.0) + occupancy
        return Composition(amounts).reduced_formula

    @property
    def chemical_system(self) -> str:
        """Element symbols, sorted and joined by a hyphen."""
        return "-".join(sorted({symbols()[z] for z in self.species.atomic_numbers}))

    @property
    def node_features(self) -> np.ndarray:
        """Element features, float32 (N, 92), on a shared site the sum weighted by occupancy."""
        if self.occupancies is None:
            return element_features()[self.atomic_numbers]
        features = np.zeros((self.num_nodes, element_features().shape[1]), np.float32)
        weighted = element_features()[self.occupancies.atomic_numbers] * self.occupancies.occupancy[:, None]
        np.add.at(features, self.occupancies.site, weighted.astype(np.float32))
        return features

    def to_structure(self) -> Structure:
        """The same crystal as a pymatgen ``Structure``."""
        from pymatgen.core import Structure

        species = self.species
        sites: list[dict[str, float]] = [{} for _ in range(self.num_nodes)]
        for site, z, occupancy in zip(species.site, species.atomic_numbers, species.occupancy, strict=True):
            sites[site][symbols()[z]] = float(occupancy)
        return Structure(self.lattice, sites, self.frac_coords)


@dataclass(frozen=True, eq=False, repr=False)
class CrystalGraph(Crystal):
    """A crystal with its neighbours, the input of every model. The record is immutable.

    The edges are stored in compressed rows, 11 bytes each: those of centre ``i`` are
    ``first_edge[i]:first_edge[i + 1]``, nearest first. The record has the interface of ``deepchem.feat.GraphData``, so
    that DeepChem's graph models can train on it; the features they need are computed on demand and not stored.

    Attributes
    ----------
    neighbor : numpy.ndarray
        int32 (E,), index of the neighbouring atom.
    image : numpy.ndarray
        int8 (E, 3), lattice translation of the neighbour.
    distance : numpy.ndarray
        float32 (E,), Å.
    first_edge : numpy.ndarray
        int32 (N + 1,).
    cutoff : float
        The largest distance the neighbours were searched in, Å; NaN if unknown.
    max_neighbors : int
        Whole shells were kept until they held at least this many neighbours; 0 if unknown.

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> silicon = make_crystal([14, 14], [[0, 0, 0], [.25, .25, .25]], 2.715 * (1 - np.eye(3)), "Si")
    >>> graph = structures_to_graphs(silicon)[0]
    >>> graph
    CrystalGraph(Si, Si2, 2 sites, 32 edges)
    >>> graph.edge_index.shape, graph.image.shape, graph.distance.shape
    ((2, 32), (32, 3), (32,))
    """

    neighbor: np.ndarray = None  # type: ignore[assignment]
    image: np.ndarray = None  # type: ignore[assignment]
    distance: np.ndarray = None  # type: ignore[assignment]
    first_edge: np.ndarray = None  # type: ignore[assignment]
    cutoff: float = float("nan")
    max_neighbors: int = 0

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {self.num_edges} edges)"

    @property
    def num_edges(self) -> int:
        """Number of edges E."""
        return len(self.distance)

    @property
    def edge_index(self) -> np.ndarray:
        """int64 (2, E): row 0 the neighbour, row 1 the centre."""
        centers = np.repeat(np.arange(self.num_nodes), np.diff(self.first_edge))
        return np.stack([self.neighbor.astype(np.int64), centers])

    @property
    def edge_features(self) -> np.ndarray:
        """Gaussian expansion of the distances, float32 (E, 41): exp(-((d - mu) / 0.2 Å)^2), mu = 0..8 Å."""
        width = EDGE_FEATURE_CENTERS[1] - EDGE_FEATURE_CENTERS[0]
        return np.exp(-(((self.distance[:, None] - EDGE_FEATURE_CENTERS) / width) ** 2)).astype(np.float32)

    @property
    def node_pos_features(self) -> None:
        """None, because distances between these positions would ignore periodicity."""
        return None

    @property
    def num_node_features(self) -> int:
        """Width of ``node_features``."""
        return element_features().shape[1]

    @property
    def num_edge_features(self) -> int:
        """Width of ``edge_features``."""
        return len(EDGE_FEATURE_CENTERS)

    def to_dgl_graph(self, self_loop: bool = False) -> DGLGraph:
        """A DGL graph with ``ndata['x']`` and ``edata['edge_attr']``, as DeepChem's graph models need it."""
        import torch
        from dgl import add_self_loop, graph

        source, center = torch.from_numpy(self.edge_index)
        g = graph((source, center), num_nodes=self.num_nodes)
        g.ndata["x"] = torch.from_numpy(self.node_features)
        g.edata["edge_attr"] = torch.from_numpy(self.edge_features)
        return add_self_loop(g) if self_loop else g
