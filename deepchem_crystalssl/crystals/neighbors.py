r"""Nearest shells: crystals in, graphs out, independent of how the crystal is written down.

Around each atom the neighbours fall into *shells*: runs of distances with gaps of at most
``SHELL_GAP``. A graph keeps whole shells, nearest first, until it has ``max_neighbors`` neighbours:
the 12 nearest *plus every atom tied with the last one*. A plain cut at 12 would pick some of a tied
shell by the accident of atom order, and the graph would change with cell, origin and orientation.

The compiled kernel never lists a whole cutoff sphere: it starts from the radius that should hold enough
atoms at this density, shrinks it as neighbours come in, and widens it only where it must.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Literal

import numpy as np
from numba import njit

from .disorder import Disorder
from ..errors import (
    CrystalInputError,
    IsolatedAtomError,
    LatticeError,
    OnError,
    Report,
)
from .records import Crystal, CrystalGraph
from .reading import read_structures
from .threads import map_in_threads
from .validation import cell_size

CUTOFF = 8.0
MAX_NEIGHBORS = 12
SHELL_GAP = 1e-3
"""Two neighbours belong to one shell if their distances differ by at most this, Å."""

Engine = Literal["numba", "pymatgen"]
IsolatedAtoms = Literal["raise", "keep"]

_MARGIN = 10 * SHELL_GAP  # beyond the last neighbour, to see where its shell ends
_EDGE_OF_CUTOFF = 1e-6  # a shell exactly at the cutoff is in, whatever rounding says
_CHUNK = 512  # crystals a worker takes at a time
_MOST_IMAGES = 120  # an image is stored in one byte


def structures_to_graphs(
    structures: Any,
    cutoff: float = CUTOFF,
    max_neighbors: int = MAX_NEIGHBORS,
    *,
    disorder: Disorder = "refuse",
    isolated_atoms: IsolatedAtoms = "raise",
    on_error: OnError = "raise",
    report: Report | None = None,
    engine: Engine = "numba",
    n_threads: int | None = None,
    progress: bool | None = None,
) -> list[CrystalGraph]:
    """Crystals to graphs of nearest shells.

    Parameters
    ----------
    structures
        Anything :func:`~deepchem_crystalssl.read_structures` reads.
    cutoff : float
        No neighbour is farther than this, Å.
    max_neighbors : int
        Whole shells are kept, nearest first, until they hold at least this many neighbours.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy.
    isolated_atoms : {"raise", "keep"}
        An atom without neighbour within the cutoff is an error, or stays without edges.
    on_error : {"raise", "warn", "skip"}
        What a bad item costs: everything, or itself alone.
    report : Report, optional
        Filled with the typed error of every item left out.
    engine : {"numba", "pymatgen"}
        The compiled kernel, or pymatgen's ``find_points_in_spheres``; the results are equal.
    n_threads : int, optional
        Threads of the compiled kernel; all processors by default.
    progress : bool, optional
        Progress bar; by default on a terminal only.

    Returns
    -------
    list of CrystalGraph
        In the order of the source, bad items left out.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> graph = structures_to_graphs(salt)[0]
    >>> graph.num_nodes, graph.num_edges  # 6 Cl and the whole shell of 12 Na around each Na
    (8, 144)
    """
    report = Report() if report is None else report
    graphs = list(
        iterate_graphs(
            structures,
            cutoff,
            max_neighbors,
            disorder=disorder,
            isolated_atoms=isolated_atoms,
            on_error=on_error,
            report=report,
            engine=engine,
            n_threads=n_threads,
            progress=progress,
        )
    )
    report.log()
    return graphs


def iterate_graphs(
    structures: Any,
    cutoff: float = CUTOFF,
    max_neighbors: int = MAX_NEIGHBORS,
    *,
    disorder: Disorder = "refuse",
    isolated_atoms: IsolatedAtoms = "raise",
    on_error: OnError = "raise",
    report: Report | None = None,
    engine: Engine = "numba",
    n_threads: int | None = None,
    progress: bool | None = None,
) -> Iterator[CrystalGraph]:
    """Like :func:`structures_to_graphs`, lazily: memory stays flat however long the source is."""
    report = Report() if report is None else report
    reader = read_structures(structures, on_error=on_error, report=report, disorder=disorder, progress=progress)
    engines = {"numba": _find_compiled, "pymatgen": _find_with_pymatgen}
    for name, value, known in (("engine", engine, engines), ("isolated_atoms", isolated_atoms, ("raise", "keep"))):
        if value not in known:
            raise ValueError(f"{name}: {value!r}; must be one of {', '.join(known)}")
    find = partial(engines[engine], cutoff=cutoff, max_neighbors=max_neighbors)
    for chunk, found in map_in_threads(find, _chunks(reader.enumerate()), n_threads):
        for (index, crystal), edges in zip(chunk, found, strict=True):
            try:
                yield _to_graph(crystal, edges, cutoff, isolated_atoms)
            except CrystalInputError as error:
                report.handle(error, on_error, index)


def _chunks(crystals: Iterable[tuple[int, Crystal]]) -> Iterator[list[tuple[int, Crystal]]]:
    iterator = iter(crystals)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


_Edges = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # neighbor, image, distance, first_edge


def _to_graph(
    crystal: Crystal, edges: _Edges | CrystalInputError, cutoff: float, isolated_atoms: IsolatedAtoms
) -> CrystalGraph:
    if isinstance(edges, CrystalInputError):
        raise edges
    neighbor, image, distance, first_edge = edges
    if isolated_atoms == "raise" and not (degree := first_edge[1:] - first_edge[:-1]).all():
        atom = int(np.argmin(degree))
        raise IsolatedAtomError(crystal.material_id, f"atom {atom} has no neighbour within {cutoff:g} Å")
    return CrystalGraph(
        crystal.atomic_numbers,
        crystal.frac_coords,
        crystal.lattice,
        crystal.material_id,
        crystal.occupancies,
        neighbor,
        image,
        distance,
        first_edge,
    )


def _cells_per_angstrom(lattices: np.ndarray) -> np.ndarray:
    """How many cells one Å reaches across, along each cell vector (1 / thickness): (..., 3, 3) to (..., 3)."""
    return np.sqrt((np.linalg.inv(lattices) ** 2).sum(axis=-2))


def _too_thin(crystal: Crystal, reach: np.ndarray, cutoff: float) -> LatticeError | None:
    """An error if the cutoff reaches across more cells than a one-byte image can count."""
    if reach.max() * cutoff < _MOST_IMAGES:
        return None
    return LatticeError(
        crystal.material_id, f"the cutoff of {cutoff:g} Å reaches across {reach.max() * cutoff:.0f} cells"
    )


def _find_compiled(
    chunk: list[tuple[int, Crystal]], cutoff: float, max_neighbors: int
) -> list[_Edges | CrystalInputError]:
    crystals = [crystal for _, crystal in chunk]
    lattices = np.stack([crystal.lattice for crystal in crystals])
    reach = _cells_per_angstrom(lattices)
    if reach.max() * cutoff >= _MOST_IMAGES:  # rare: leave the chunk to pymatgen, crystal by crystal
        return _find_with_pymatgen(chunk, cutoff, max_neighbors)
    first_site = np.zeros(len(crystals) + 1, np.int64)
    np.cumsum([crystal.num_nodes for crystal in crystals], out=first_site[1:])
    frac = np.concatenate([crystal.frac_coords for crystal in crystals])
    width = 2 * max_neighbors + 8
    while True:
        enough, first_edge, neighbor, image, distance = nearest_shells(
            lattices, reach, frac, first_site, float(cutoff), max_neighbors, width
        )
        if enough:
            break
        width *= 2
    found: list[_Edges | CrystalInputError] = []
    for start, stop in zip(first_site[:-1].tolist(), first_site[1:].tolist(), strict=True):
        rows = first_edge[start : stop + 1]
        edges = slice(rows[0], rows[-1])
        # Copies, so that one graph kept alive does not keep its whole chunk.
        found.append(
            (
                neighbor[edges].copy(),
                image[edges].copy(),
                distance[edges].copy(),
                (rows - rows[0]).astype(np.int32),
            )
        )
    return found


def _find_with_pymatgen(
    chunk: list[tuple[int, Crystal]], cutoff: float, max_neighbors: int
) -> list[_Edges | CrystalInputError]:
    return [_find_one_with_pymatgen(crystal, cutoff, max_neighbors) for _, crystal in chunk]


def _find_one_with_pymatgen(crystal: Crystal, cutoff: float, max_neighbors: int) -> _Edges | CrystalInputError:
    from pymatgen.optimization.neighbors import find_points_in_spheres

    if error := _too_thin(crystal, _cells_per_angstrom(crystal.lattice), cutoff):
        return error
    positions = np.ascontiguousarray(crystal.frac_coords @ crystal.lattice)
    center, neighbor, image, distance = find_points_in_spheres(
        positions,
        positions,
        r=cutoff + _EDGE_OF_CUTOFF,
        pbc=np.ones(3, np.int64),
        lattice=np.array(crystal.lattice),
        tol=1e-8,
    )
    other = ~((center == neighbor) & (image == 0).all(1))
    center, neighbor, image, distance = (x[other] for x in (center, neighbor, image, distance))
    order = np.lexsort((distance, center))
    rows = np.searchsorted(center[order], np.arange(crystal.num_nodes + 1))
    kept, first_edge = [], np.zeros(crystal.num_nodes + 1, np.int32)
    for atom, (start, stop) in enumerate(zip(rows[:-1], rows[1:], strict=True)):
        d = distance[order[start:stop]]
        shell_ends = np.append(np.flatnonzero(np.diff(d) > SHELL_GAP) + 1, len(d))
        enough = shell_ends[shell_ends >= max_neighbors]
        kept.append(order[start : start + (enough[0] if len(enough) else len(d))])
        first_edge[atom + 1] = first_edge[atom] + len(kept[-1])
    edges = np.concatenate(kept)
    return (
        neighbor[edges].astype(np.int32),
        image[edges].astype(np.int8),
        distance[edges].astype(np.float32),
        first_edge,
    )


@njit(nogil=True, cache=True)
def nearest_shells(
    lattices: np.ndarray,
    reach: np.ndarray,
    frac: np.ndarray,
    first_site: np.ndarray,
    cutoff: float,
    max_neighbors: int,
    width: int,
) -> tuple[bool, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours in whole shells, for many crystals: arrays in, compressed rows out.

    Parameters
    ----------
    lattices : (S, 3, 3) float64, Å
    reach : (S, 3) float64, cells per Å along each cell vector
    frac : (A, 3) float64, all crystals concatenated, in [0, 1)
    first_site : (S + 1,) int64
    cutoff, max_neighbors : see :func:`structures_to_graphs`
    width : room for this many neighbours per atom

    Returns
    -------
    enough : bool, whether the room sufficed
    first_edge : (A + 1,) int64
    neighbor, image, distance : (E,) int32, (E, 3) int8, (E,) float32
    """
    first_edge = np.zeros(len(frac) + 1, np.int64)
    neighbor = np.empty(len(frac) * width, np.int32)
    image = np.empty((len(frac) * width, 3), np.int8)
    distance = np.empty(len(frac) * width, np.float32)
    room = 64 * width
    found = np.empty((room, 4), np.int32)  # neighbour and image, as they come
    squared = np.empty(room)
    order = np.empty(room, np.int64)
    sorted_distance = np.empty(room)
    nearest = np.empty(max_neighbors)
    r_max = cutoff + _EDGE_OF_CUTOFF
    n_edges = 0

    for s in range(len(lattices)):
        begin, end = first_site[s], first_site[s + 1]
        lattice, sites = lattices[s], frac[begin:end]
        density = len(sites) / cell_size(lattice)[0]
        r_start = min(r_max, 1.1 * (max_neighbors / density / 4.18879) ** (1 / 3))
        for i in range(end - begin):
            r, margin = r_start, _MARGIN
            while True:
                n, bound = _collect(i, sites, lattice, reach[s], r, margin, found, squared, nearest)
                if n == room:
                    return False, first_edge, neighbor, image, distance
                kept = _sort(squared, n, bound, order, sorted_distance)
                take = min(kept, max_neighbors)
                if kept >= max_neighbors:
                    while take < kept and sorted_distance[take] - sorted_distance[take - 1] <= SHELL_GAP:
                        take += 1
                    if take < kept or sorted_distance[take - 1] + SHELL_GAP < bound:
                        break  # the end of the shell was seen
                if bound >= r_max:
                    break  # all there is within the cutoff
                if bound < r:
                    margin *= 4.0
                else:
                    r = min(r_max, r * 1.3)
            if take > width:
                return False, first_edge, neighbor, image, distance
            for k in range(take):
                neighbor[n_edges + k] = found[order[k], 0]
                distance[n_edges + k] = sorted_distance[k]
                for axis in range(3):
                    image[n_edges + k, axis] = found[order[k], axis + 1]
            n_edges += take
            first_edge[begin + i + 1] = n_edges
    return True, first_edge, neighbor[:n_edges], image[:n_edges], distance[:n_edges]


@njit(nogil=True, cache=True)
def _collect(
    i: int,
    frac: np.ndarray,
    lattice: np.ndarray,
    reach: np.ndarray,
    r: float,
    margin: float,
    found: np.ndarray,
    squared: np.ndarray,
    nearest: np.ndarray,
) -> tuple[int, float]:
    """Neighbours of site i within r, or, once enough are known, within the last needed one plus the margin.

    Fills ``found`` and ``squared``; returns how many, and the distance within which they are complete.
    """
    a0, a1, a2 = lattice[0]
    b0, b1, b2 = lattice[1]
    c0, c1, c2 = lattice[2]
    f0, f1, f2 = frac[i]
    reach0, reach1, reach2 = r * reach[0], r * reach[1], r * reach[2]
    enough = len(nearest)
    n, n_nearest = 0, 0
    bound, bound2 = r, r * r
    for j in range(len(frac)):
        d0, d1, d2 = frac[j, 0] - f0, frac[j, 1] - f1, frac[j, 2] - f2
        low0, high0 = int(np.ceil(-d0 - reach0)), int(np.floor(reach0 - d0))
        if low0 > high0:
            continue
        low1, high1 = int(np.ceil(-d1 - reach1)), int(np.floor(reach1 - d1))
        if low1 > high1:
            continue
        low2, high2 = int(np.ceil(-d2 - reach2)), int(np.floor(reach2 - d2))
        for m0 in range(low0, high0 + 1):
            for m1 in range(low1, high1 + 1):
                u, v = d0 + m0, d1 + m1
                x0, x1, x2 = u * a0 + v * b0, u * a1 + v * b1, u * a2 + v * b2
                for m2 in range(low2, high2 + 1):
                    w = d2 + m2
                    y0, y1, y2 = x0 + w * c0, x1 + w * c1, x2 + w * c2
                    dd = y0 * y0 + y1 * y1 + y2 * y2
                    if dd > bound2 or (i == j and m0 == 0 and m1 == 0 and m2 == 0):
                        continue
                    if n == len(squared):
                        return n, bound
                    squared[n] = dd
                    found[n, 0], found[n, 1], found[n, 2], found[n, 3] = j, m0, m1, m2
                    n += 1
                    if n_nearest < enough:
                        k = n_nearest
                        n_nearest += 1
                    elif dd < nearest[enough - 1]:
                        k = enough - 1
                    else:
                        continue
                    while k > 0 and nearest[k - 1] > dd:
                        nearest[k] = nearest[k - 1]
                        k -= 1
                    nearest[k] = dd
                    if n_nearest == enough:
                        shrunk = np.sqrt(nearest[enough - 1]) + margin
                        if shrunk < bound:
                            bound, bound2 = shrunk, shrunk * shrunk
    return n, bound


@njit(nogil=True, cache=True)
def _sort(squared: np.ndarray, n: int, bound: float, order: np.ndarray, sorted_distance: np.ndarray) -> int:
    """Order the n squared distances within the bound (insertion: there are some twenty); returns how many."""
    kept = 0
    for k in range(n):
        if squared[k] > bound * bound:
            continue
        m = kept
        while m > 0 and squared[order[m - 1]] > squared[k]:
            order[m] = order[m - 1]
            m -= 1
        order[m] = k
        kept += 1
    for k in range(kept):
        sorted_distance[k] = np.sqrt(squared[order[k]])
    return kept
