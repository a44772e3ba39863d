"""The record: a crystal, and a crystal with its neighbours. Physical quantities only.

Conventions (the whole package keeps them):

* lengths in Å, angles in degrees; ``lattice`` holds the cell vectors as *rows*,
* fractional coordinates are wrapped into [0, 1),
* an edge runs *neighbour -> centre*: atom ``edge_index[0, e]``, translated by ``image[e]`` lattice vectors,
  is a neighbour of atom ``edge_index[1, e]`` at ``distance[e]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .elements import N_ELEMENTS, atomic_number_of, element_features, symbols
from .errors import (
    CoordinateError,
    EmptyStructureError,
    LatticeError,
    OccupancyError,
    UnknownElementError,
)

if TYPE_CHECKING:
    from dgl import DGLGraph
    from pymatgen.core import Structure

MIN_THICKNESS = 0.1
"""Smallest distance between opposite faces of a cell, Å."""

OCCUPANCY_TOLERANCE = 1e-3
"""Occupancies that sum to at most this much over 1 are rounding, and are scaled down to 1."""

EDGE_FEATURE_CENTERS = np.linspace(0.0, 8.0, 41)
"""Centres of the Gaussian distance expansion handed to host models, Å (Xie and Grossman 2018)."""


def lattice_from_parameters(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> np.ndarray:
    """Cell vectors as rows, (3, 3) in Å, from lengths (Å) and angles (degrees).

    c lies along z and a in the xz plane, as in pymatgen.

    Examples
    --------
    >>> lattice_from_parameters(2, 3, 4, 90, 90, 90).round(6).tolist()
    [[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]]
    """
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians([alpha, beta, gamma]))
    sin_alpha, sin_beta = np.sin(np.radians([alpha, beta]))
    with np.errstate(invalid="ignore", divide="ignore"):
        cos_gamma_star = np.clip((cos_alpha * cos_beta - cos_gamma) / (sin_alpha * sin_beta), -1.0, 1.0)
        sin_gamma_star = np.sqrt(1.0 - cos_gamma_star**2)
    return np.array(
        [
            [a * sin_beta, 0.0, a * cos_beta],
            [-b * sin_alpha * cos_gamma_star, b * sin_alpha * sin_gamma_star, b * cos_alpha],
            [0.0, 0.0, c],
        ]
    )


def _freeze(record: Any) -> None:
    for value in vars(record).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False


@dataclass(frozen=True, eq=False, repr=False)
class Occupancies:
    """Which species share which site, and how much: one row per (site, species).

    Attributes
    ----------
    site : numpy.ndarray
        int32 (M,), ascending; every site has at least one row.
    atomic_numbers : numpy.ndarray
        int16 (M,).
    occupancy : numpy.ndarray
        float64 (M,), in (0, 1]; what is missing from 1 on a site is vacancy.
    """

    site: np.ndarray
    atomic_numbers: np.ndarray
    occupancy: np.ndarray

    def __post_init__(self) -> None:
        _freeze(self)

    def __reduce__(self) -> tuple:
        return type(self), tuple(vars(self).values())


@dataclass(frozen=True, eq=False, repr=False)
class Crystal:
    """A crystal: which atoms, where, in which cell. Immutable.

    Make one with :func:`make_crystal`, which checks the values, or with
    :func:`~deepchem_crystalssl.read_structures`; the constructor itself only stores and freezes.

    Attributes
    ----------
    atomic_numbers : numpy.ndarray
        int16 (N,); on a shared site the species of largest occupancy.
    frac_coords : numpy.ndarray
        float64 (N, 3), in [0, 1).
    lattice : numpy.ndarray
        float64 (3, 3), cell vectors as rows, Å.
    material_id : str
        Name of the crystal; errors and results carry it.
    occupancies : Occupancies or None
        None for an ordered crystal.

    Examples
    --------
    >>> silicon = make_crystal([14, 14], [[0, 0, 0], [.25, .25, .25]], 2.715 * (1 - np.eye(3)), "Si")
    >>> silicon
    Crystal(Si, Si2, 2 sites)
    >>> silicon.volume.round(2)
    np.float64(40.03)
    """

    atomic_numbers: np.ndarray
    frac_coords: np.ndarray
    lattice: np.ndarray
    material_id: str = ""
    occupancies: Occupancies | None = None

    def __post_init__(self) -> None:
        _freeze(self)

    def __reduce__(self) -> tuple:  # rebuilt through __post_init__, so that a reloaded record is frozen too
        return type(self), tuple(vars(self).values())

    def __repr__(self) -> str:
        name = f"{self.material_id}, " if self.material_id else ""
        return f"{type(self).__name__}({name}{self.formula}, {self.num_nodes} sites)"

    @property
    def num_nodes(self) -> int:
        """Number of sites N."""
        return len(self.atomic_numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å^3."""
        return abs(np.linalg.det(self.lattice))

    @property
    def is_ordered(self) -> bool:
        """Whether every site holds one species at full occupancy."""
        return self.occupancies is None

    @property
    def species(self) -> Occupancies:
        """One row per (site, species), also for an ordered crystal."""
        if self.occupancies is not None:
            return self.occupancies
        return Occupancies(
            np.arange(self.num_nodes, dtype=np.int32), self.atomic_numbers, np.ones(self.num_nodes)
        )

    @property
    def formula(self) -> str:
        """Cell contents in order of atomic number, as ``"O3Ti1Sr1"``-like text."""
        species = self.species
        amounts = np.bincount(species.atomic_numbers, species.occupancy, N_ELEMENTS + 1)
        return "".join(f"{symbols()[z]}{amounts[z]:g}" for z in np.flatnonzero(amounts))

    @property
    def reduced_formula(self) -> str:
        """Formula as chemists write it, by pymatgen."""
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
        """Element features, float32 (N, 92), averaged by occupancy (a vacancy counts as zeros)."""
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
    """A crystal with its neighbours: the record every model reads. Immutable and compact.

    Edges are kept in compressed rows, 11 bytes each: those of centre ``i`` are
    ``first_edge[i]:first_edge[i + 1]``, nearest first. It also satisfies the interface of
    ``deepchem.feat.GraphData``, so that DeepChem's graph models train on it; the features they ask for
    are computed when asked, not stored.

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

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> silicon = make_crystal([14, 14], [[0, 0, 0], [.25, .25, .25]], 2.715 * (1 - np.eye(3)), "Si")
    >>> graph = structures_to_graphs(silicon)[0]
    >>> graph
    CrystalGraph(Si, Si2, 2 sites, 32 edges)
    >>> graph.edge_index.shape, graph.image.shape, graph.distance[:4].round(3).tolist()
    ((2, 32), (32, 3), [2.3510000705718994, 2.3510000705718994, 2.3510000705718994, 2.3510000705718994])
    """

    neighbor: np.ndarray = None  # type: ignore[assignment]
    image: np.ndarray = None  # type: ignore[assignment]
    distance: np.ndarray = None  # type: ignore[assignment]
    first_edge: np.ndarray = None  # type: ignore[assignment]

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
        """None: distances between raw positions would ignore periodicity."""
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
        """As a DGL graph with ``ndata['x']`` and ``edata['edge_attr']``, what DeepChem's graph models ask for."""
        import torch
        from dgl import add_self_loop, graph

        source, center = torch.from_numpy(self.edge_index)
        g = graph((source, center), num_nodes=self.num_nodes)
        g.ndata["x"] = torch.from_numpy(self.node_features)
        g.edata["edge_attr"] = torch.from_numpy(self.edge_features)
        return add_self_loop(g) if self_loop else g


def make_crystal(
    species: Sequence[Any],
    frac_coords: Any,
    lattice: Any,
    material_id: str = "",
) -> Crystal:
    """Check the quantities and make a :class:`Crystal` of them.

    Parameters
    ----------
    species : sequence of length N
        Per site an atomic number, or a dict from atomic number or symbol to occupancy.
    frac_coords : array-like (N, 3)
        Fractional coordinates; wrapped into the cell.
    lattice : array-like (3, 3)
        Cell vectors as rows, Å.
    material_id : str
        Name used in errors and results.

    Returns
    -------
    Crystal

    Raises
    ------
    CrystalInputError
        A subclass that names the rule: EmptyStructureError, CoordinateError, LatticeError,
        UnknownElementError, OccupancyError.

    Examples
    --------
    >>> make_crystal([{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]], 2.8 * np.eye(3), "CuAu").formula
    'Cu0.5Au0.5'
    """
    frac = np.array(frac_coords, float)
    if len(species) == 0:
        raise EmptyStructureError(material_id, "0 sites")
    if frac.shape != (len(species), 3):
        raise CoordinateError(material_id, f"coordinates of shape {frac.shape} for {len(species)} sites")
    if not np.isfinite(frac).all():
        site = int(np.argmin(np.isfinite(frac).all(1)))
        raise CoordinateError(material_id, f"site {site} at {frac[site].tolist()}")
    atomic_numbers, occupancies = _split_species(species, material_id)
    frac -= np.floor(frac)
    frac[frac >= 1.0] = 0.0  # -1e-17 wraps to 1.0 in floating point
    return Crystal(atomic_numbers, frac, check_lattice(lattice, material_id), material_id, occupancies)


def check_lattice(lattice: Any, material_id: str) -> np.ndarray:
    """The lattice as a (3, 3) float array, or a LatticeError."""
    try:
        matrix = np.array(lattice, float)
    except (TypeError, ValueError) as error:
        raise LatticeError(material_id, f"cell vectors {lattice!r}") from error
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise LatticeError(material_id, f"cell vectors {matrix.tolist()}")
    a, b, c = matrix.tolist()
    cross = [_cross(b, c), _cross(c, a), _cross(a, b)]
    volume = abs(sum(x * y for x, y in zip(a, cross[0], strict=True)))
    thickness = [volume / area if (area := sum(x * x for x in v) ** 0.5) else 0.0 for v in cross]
    if not min(thickness) >= MIN_THICKNESS:
        raise LatticeError(material_id, f"volume {volume:.3g} Å^3, thinnest direction {min(thickness):.3g} Å")
    return matrix


def _cross(u: list[float], v: list[float]) -> tuple[float, float, float]:
    # np.cross costs 20 microseconds on three numbers, half of what a whole graph takes.
    return (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])


def _split_species(species: Sequence[Any], material_id: str) -> tuple[np.ndarray, Occupancies | None]:
    if not any(isinstance(s, dict) for s in species):
        return check_atomic_numbers(species, material_id), None
    number_of = atomic_number_of()
    rows: list[tuple[int, int, float]] = []
    for site, parts in enumerate(species):
        amounts: dict[int, float] = {}
        for key, occupancy in (parts if isinstance(parts, dict) else {parts: 1.0}).items():
            z = number_of.get(key, 0) if isinstance(key, str) else int(key)
            if not 1 <= z <= N_ELEMENTS:
                raise UnknownElementError(material_id, f"species {key!r} on site {site}")
            if not 0.0 <= occupancy <= 1.0 + OCCUPANCY_TOLERANCE:
                raise OccupancyError(material_id, f"occupancy {occupancy:g} of {symbols()[z]} on site {site}")
            amounts[z] = amounts.get(z, 0.0) + float(occupancy)
        total = sum(amounts.values())
        if not 0.0 < total <= 1.0 + OCCUPANCY_TOLERANCE:
            raise OccupancyError(material_id, f"total occupancy {total:g} on site {site}")
        rows += [(site, z, x / max(total, 1.0)) for z, x in sorted(amounts.items()) if x > 0.0]
    if len(rows) == len(species) and all(occupancy == 1.0 for _, _, occupancy in rows):
        return np.array([z for _, z, _ in rows], np.int16), None
    site, z, occupancy = (np.array(column) for column in zip(*rows, strict=True))
    order = np.lexsort((z, -occupancy, site))
    first = np.searchsorted(site[order], np.arange(len(species)))
    dominant = z[order][first].astype(np.int16)
    return dominant, Occupancies(site.astype(np.int32), z.astype(np.int16), occupancy.astype(float))


def check_atomic_numbers(numbers: Any, material_id: str) -> np.ndarray:
    """The atomic numbers as an int16 array, or an UnknownElementError."""
    z = np.array(numbers)
    if z.dtype.kind not in "iu":
        raise UnknownElementError(material_id, f"species {z[0]!r}")
    if z.min() < 1 or z.max() > N_ELEMENTS:
        site = int(np.argmax((z < 1) | (z > N_ELEMENTS)))
        raise UnknownElementError(material_id, f"atomic number {z[site]} on site {site}")
    return z.astype(np.int16)
