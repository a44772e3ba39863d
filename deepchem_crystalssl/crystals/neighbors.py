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
from .errors import (
    CrystalInputError,
    IsolatedAtomError,
    LatticeError,
    OnError,
    Report,
)
from .graph import Crystal, CrystalGraph
from .io import read_structures
from .threads import map_in_threads

CUTOFF = 8.0
MAX_NEIGHBORS = 12
SHELL_GAP = 1e-3
"""Two neighbours belong to one shell if their distances differ by at most this, Å."""

Engine = Literal["numba", "pymatgen"]
IsolatedAtoms = Literal["raise", "keep"]

_MARGIN = 10 * SHELL_GAP  # beyond the last neighbour, to see where its shell ends
_EDGE_OF_CUTOFF = 1e-6  # a shell exactly at the cutoff is in, whatever rounding says
_CHUNK = 512  # crystals a worker takes at a time
_OK, _OVERFLOW, _TOO_THIN = 0, 1, 2


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
    find = partial(
        {"numba": _find_compiled, "pymatgen": _find_with_pymatgen}[engine], cutoff=cutoff, max_neighbors=max_neighbors
    )
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


def _check_images(crystal: Crystal, cutoff: float) -> CrystalInputError | None:
    """Images are stored in one byte: refuse a cell so thin that the cutoff reaches past 120 of them."""
    reach = cutoff * np.sqrt((np.linalg.inv(crystal.lattice) ** 2).sum(0)).max()
    if reach < 120:
        return None
    return LatticeError(crystal.material_id, f"the cutoff of {cutoff:g} Å reaches across {reach:.0f} cells")


def _find_compiled(
    chunk: list[tuple[int, Crystal]], cutoff: float, max_neighbors: int
) -> list[_Edges | CrystalInputError]:
    crystals = [crystal for _, crystal in chunk]
    first_site = np.zeros(len(crystals) + 1, np.int64)
    np.cumsum([crystal.num_nodes for crystal in crystals], out=first_site[1:])
    frac = np.concatenate([crystal.frac_coords for crystal in crystals])
    lattices = np.stack([crystal.lattice for crystal in crystals])
    width = 2 * max_neighbors + 8
    while True:
        status, first_edge, neighbor, image, distance = nearest_shells(
            lattices, frac, first_site, float(cutoff), max_neighbors, width
        )
        if not (status == _OVERFLOW).any():
            break
        width *= 2
    found: list[_Edges | CrystalInputError] = []
    for crystal, start, stop, code in zip(
        crystals, first_site[:-1].tolist(), first_site[1:].tolist(), status.tolist(), strict=True
    ):
        if code == _TOO_THIN:
            found.append(_check_images(crystal, cutoff) or LatticeError(crystal.material_id, "too thin a cell"))
            continue
        rows = first_edge[start : stop + 1]
        edges = slice(rows[0], rows[-1])
        # Copies, so that one graph kept alive does not keep its whole chunk.
        found.append(
            (neighbor[edges].copy(), image[edges].copy(), distance[edges].copy(), (rows - rows[0]).astype(np.int32))
        )
    return found


def _find_with_pymatgen(
    chunk: list[tuple[int, Crystal]], cutoff: float, max_neighbors: int
) -> list[_Edges | CrystalInputError]:
    return [_find_one_with_pymatgen(crystal, cutoff, max_neighbors) for _, crystal in chunk]


def _find_one_with_pymatgen(crystal: Crystal, cutoff: float, max_neighbors: int) -> _Edges | CrystalInputError:
    from pymatgen.optimization.neighbors import find_points_in_spheres

    if error := _check_images(crystal, cutoff):
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
    lattices: np.ndarray, frac: np.ndarray, first_site: np.ndarray, cutoff: float, max_neighbors: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours in whole shells, for many crystals: arrays in, compressed rows out.

    Parameters
    ----------
    lattices : (S, 3, 3) float64, Å
    frac : (A, 3) float64, all crystals concatenated, in [0, 1)
    first_site : (S + 1,) int64
    cutoff, max_neighbors : see :func:`structures_to_graphs`
    width : room for this many neighbours per atom

    Returns
    -------
    status : (S,) int64
    first_edge : (A + 1,) int64
    neighbor, image, distance : (E,) int32, (E, 3) int8, (E,) float32
    """
    n_atoms = len(frac)
    status = np.zeros(len(lattices), np.int64)
    count = np.zeros(n_atoms, np.int64)
    wide_neighbor = np.empty((n_atoms, width), np.int32)
    wide_image = np.empty((n_atoms, width, 3), np.int8)
    wide_distance = np.empty((n_atoms, width), np.float32)
    room = 64 * width
    found_d = np.empty(room)  # squared distances as found, then their order, then sorted roots
    order = np.empty(room, np.int32)
    sorted_d = np.empty(room)
    found = np.empty((room, 4), np.int32)
    nearest = np.empty(max_neighbors)
    r_max = cutoff + _EDGE_OF_CUTOFF

    for s in range(len(lattices)):
        begin, end = first_site[s], first_site[s + 1]
        n_sites = end - begin
        a0, a1, a2 = lattices[s, 0]
        b0, b1, b2 = lattices[s, 1]
        c0, c1, c2 = lattices[s, 2]
        u0, u1, u2 = b1 * c2 - b2 * c1, b2 * c0 - b0 * c2, b0 * c1 - b1 * c0
        v0, v1, v2 = c1 * a2 - c2 * a1, c2 * a0 - c0 * a2, c0 * a1 - c1 * a0
        w0, w1, w2 = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
        volume = abs(a0 * u0 + a1 * u1 + a2 * u2)
        # Cells per Å along each direction: how many images a radius can reach.
        p = np.sqrt(u0 * u0 + u1 * u1 + u2 * u2) / volume
        q = np.sqrt(v0 * v0 + v1 * v1 + v2 * v2) / volume
        t = np.sqrt(w0 * w0 + w1 * w1 + w2 * w2) / volume
        if max(p, q, t) * r_max >= 120.0:
            status[s] = _TOO_THIN
            continue
        r_start = min(r_max, 1.1 * (max_neighbors * volume / n_sites / 4.18879) ** (1 / 3))

        for i in range(n_sites):
            f0, f1, f2 = frac[begin + i]
            r = r_start
            margin = _MARGIN
            take = 0
            while True:
                n = 0
                n_nearest = 0
                bound = r
                bound2 = r * r
                rp, rq, rt = r * p, r * q, r * t
                for j in range(n_sites):
                    d0 = frac[begin + j, 0] - f0
                    d1 = frac[begin + j, 1] - f1
                    d2 = frac[begin + j, 2] - f2
                    lo0, hi0 = int(np.ceil(-d0 - rp)), int(np.floor(rp - d0))
                    if lo0 > hi0:
                        continue
                    lo1, hi1 = int(np.ceil(-d1 - rq)), int(np.floor(rq - d1))
                    if lo1 > hi1:
                        continue
                    lo2, hi2 = int(np.ceil(-d2 - rt)), int(np.floor(rt - d2))
                    for m0 in range(lo0, hi0 + 1):
                        g0 = d0 + m0
                        for m1 in range(lo1, hi1 + 1):
                            g1 = d1 + m1
                            x0 = g0 * a0 + g1 * b0
                            x1 = g0 * a1 + g1 * b1
                            x2 = g0 * a2 + g1 * b2
                            for m2 in range(lo2, hi2 + 1):
                                g2 = d2 + m2
                                y0 = x0 + g2 * c0
                                y1 = x1 + g2 * c1
                                y2 = x2 + g2 * c2
                                dd = y0 * y0 + y1 * y1 + y2 * y2
                                if dd > bound2:
                                    continue
                                if i == j and m0 == 0 and m1 == 0 and m2 == 0:
                                    continue
                                if n == room:  # only a crystal of thousands of tied atoms comes here
                                    status[s] = _OVERFLOW
                                    continue
                                found_d[n] = dd
                                found[n, 0], found[n, 1], found[n, 2], found[n, 3] = j, m0, m1, m2
                                n += 1
                                if n_nearest < max_neighbors:
                                    k = n_nearest
                                    n_nearest += 1
                                elif dd < nearest[max_neighbors - 1]:
                                    k = max_neighbors - 1
                                else:
                                    continue
                                while k > 0 and nearest[k - 1] > dd:
                                    nearest[k] = nearest[k - 1]
                                    k -= 1
                                nearest[k] = dd
                                if n_nearest == max_neighbors:
                                    reach = np.sqrt(nearest[max_neighbors - 1]) + margin
                                    if reach < bound:
                                        bound = reach
                                        bound2 = reach * reach
                if status[s] != _OK:
                    break
                # Keep what the final bound still covers, sorted by distance.
                kept = 0
                for k in range(n):
                    if found_d[k] > bound2:
                        continue
                    m = kept
                    while m > 0 and found_d[order[m - 1]] > found_d[k]:
                        order[m] = order[m - 1]
                        m -= 1
                    order[m] = k
                    kept += 1
                for k in range(kept):
                    sorted_d[k] = np.sqrt(found_d[order[k]])
                if kept < max_neighbors:
                    take = kept
                else:
                    take = max_neighbors
                    while take < kept and sorted_d[take] - sorted_d[take - 1] <= SHELL_GAP:
                        take += 1
                    if take < kept or sorted_d[take - 1] + SHELL_GAP < bound:
                        break  # the end of the shell was seen
                if r >= r_max and bound >= r_max:
                    break  # all there is within the cutoff
                if bound < r:
                    margin *= 4.0
                else:
                    r = min(r_max, r * 1.3)
            if status[s] != _OK:
                break
            if take > width:
                status[s] = _OVERFLOW
                break
            count[begin + i] = take
            for k in range(take):
                wide_distance[begin + i, k] = sorted_d[k]
                wide_neighbor[begin + i, k] = found[order[k], 0]
                for c in range(3):
                    wide_image[begin + i, k, c] = found[order[k], c + 1]

    first_edge = np.zeros(n_atoms + 1, np.int64)
    for i in range(n_atoms):
        first_edge[i + 1] = first_edge[i] + count[i]
    neighbor = np.empty(first_edge[-1], np.int32)
    image = np.empty((first_edge[-1], 3), np.int8)
    distance = np.empty(first_edge[-1], np.float32)
    for i in range(n_atoms):
        for k in range(count[i]):
            e = first_edge[i] + k
            neighbor[e] = wide_neighbor[i, k]
            distance[e] = wide_distance[i, k]
            for c in range(3):
                image[e, c] = wide_image[i, k, c]
    return status, first_edge, neighbor, image, distance
