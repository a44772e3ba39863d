"""The compiled neighbour search: the nearest whole shells around every atom of many crystals.

The search never lists a whole cutoff sphere. It starts from the radius that should hold enough atoms at the density of
the crystal, shrinks it as neighbours are found, and widens it only where it must.
"""

from __future__ import annotations

import numpy as np

from .compilation import njit
from .proximity import sites_near, sort_into_boxes
from .validation import cell_size

SHELL_GAP = 1e-3
"""Two neighbours belong to one shell if their distances differ by at most this, Å."""

EDGE_OF_CUTOFF = 1e-6
"""A shell exactly at the cutoff is inside it, whatever rounding makes of its distance, Å."""

FEW_SITES = 300
"""Up to this many sites of a cell, all are compared with each other; of more, those in boxes nearby."""

_MARGIN = 10 * SHELL_GAP  # searched beyond the last neighbour, to see where its shell ends


@njit(nogil=True)
def nearest_shells(
    lattices: np.ndarray,
    reach: np.ndarray,
    frac: np.ndarray,
    first_site: np.ndarray,
    cutoff: float,
    max_neighbors: int,
    width: int,
) -> tuple[bool, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find the neighbours of every atom in whole shells, for many crystals at once.

    Parameters
    ----------
    lattices : numpy.ndarray
        float64 (S, 3, 3), cell vectors as rows, Å.
    reach : numpy.ndarray
        float64 (S, 3), how many cells a distance of 1 Å spans along each cell vector.
    frac : numpy.ndarray
        float64 (A, 3), the fractional coordinates of all crystals one after the other, in [0, 1).
    first_site : numpy.ndarray
        int64 (S + 1,), where each crystal begins in ``frac``.
    cutoff, max_neighbors
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.
    width : int
        Memory is reserved for this many neighbours of each atom on average.

    Returns
    -------
    enough : bool
        Whether the reserved memory sufficed; if not, call again with a larger ``width``.
    first_edge : numpy.ndarray
        int64 (A + 1,), where the edges of each atom begin.
    neighbor, image, distance : numpy.ndarray
        int32 (E,), int8 (E, 3) and float32 (E,) in Å, nearest first.
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
    r_max = cutoff + EDGE_OF_CUTOFF
    n_edges = 0
    boxes, near = np.ones(3, np.int64), np.empty(0, np.int64)
    order_of, box_of = near, near

    for s in range(len(lattices)):
        begin, end = first_site[s], first_site[s + 1]
        lattice, sites = lattices[s], frac[begin:end]
        density = len(sites) / cell_size(lattice)[0]
        r_start = min(r_max, 1.1 * (max_neighbors / density / 4.18879) ** (1 / 3))
        in_boxes = len(sites) > FEW_SITES
        if in_boxes:
            near = np.empty(len(sites), np.int64)
            for axis in range(3):
                boxes[axis] = int(max(1.0, min(1.0 / (r_start * reach[s, axis]), 2.0**20)))
            order_of, box_of = sort_into_boxes(sites, boxes)
        for i in range(end - begin):
            r, margin = r_start, _MARGIN
            while True:
                if in_boxes:
                    around = near[: sites_near(sites[i], r * reach[s], boxes, order_of, box_of, near)]
                    own = np.searchsorted(around, i)
                    n, bound = _collect(own, sites[around], lattice, reach[s], r, margin, found, squared, nearest)
                    for k in range(n):
                        found[k, 0] = around[found[k, 0]]
                else:
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


@njit(nogil=True)
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
    """Collect the neighbours of site i within r; once enough are known, within the last one needed plus the margin.

    The neighbours go into ``found`` and their squared distances into ``squared``. Returns how many there are, and the
    distance within which they are complete.
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


@njit(nogil=True)
def _sort(squared: np.ndarray, n: int, bound: float, order: np.ndarray, sorted_distance: np.ndarray) -> int:
    """Sort those of the n squared distances that lie within the bound, and return how many these are.

    Insertion sort is the fastest here, because there are about twenty.
    """
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
