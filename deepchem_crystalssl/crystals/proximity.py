"""Which sites of a cell lie at nearly the same position, in a time that grows with the number of sites.

The cell is divided into boxes at least as thick as the distance that matters, so that whatever lies closer to a site is
in its own box or in one of the 26 around it. Only boxes that hold a site take memory.
"""

from __future__ import annotations

import numpy as np

from .compilation import njit

_MOST_BOXES = 2**20  # along one cell vector; three such numbers fit into 63 bits


@njit(nogil=True)
def squared_distance(frac: np.ndarray, i: int, j: int, lattice: np.ndarray) -> float:
    """Square of the distance between two sites, Å^2; that of their nearest images, where it is small for the cell."""
    u, v, w = frac[j, 0] - frac[i, 0], frac[j, 1] - frac[i, 1], frac[j, 2] - frac[i, 2]
    u, v, w = u - np.floor(u + 0.5), v - np.floor(v + 0.5), w - np.floor(w + 0.5)
    x = u * lattice[0, 0] + v * lattice[1, 0] + w * lattice[2, 0]
    y = u * lattice[0, 1] + v * lattice[1, 1] + w * lattice[2, 1]
    z = u * lattice[0, 2] + v * lattice[1, 2] + w * lattice[2, 2]
    return x * x + y * y + z * z


@njit(nogil=True)
def coinciding_sites(frac: np.ndarray, lattice: np.ndarray, distance: float) -> np.ndarray:
    """For each site the first one before it that lies closer than a distance, among those that have none themselves.

    Parameters
    ----------
    frac : numpy.ndarray
        float64 (N, 3), fractional coordinates.
    lattice : numpy.ndarray
        float64 (3, 3), cell vectors as rows, Å.
    distance : float
        Å; exact below half the thickness of the cell.

    Returns
    -------
    numpy.ndarray
        int64 (N,); a site without such a neighbour is its own.
    """
    n = len(frac)
    same = np.arange(n)
    if n < 2:
        return same
    boxes = np.empty(3, np.int64)
    inverse = np.linalg.inv(lattice)
    for axis in range(3):
        thickness = 1.0 / np.sqrt((inverse[:, axis] ** 2).sum())
        boxes[axis] = int(max(1.0, min(thickness / distance, _MOST_BOXES)))
    place = np.empty((n, 3), np.int64)
    key = np.empty(n, np.int64)
    for i in range(n):
        for axis in range(3):
            x = frac[i, axis] - np.floor(frac[i, axis])
            place[i, axis] = min(int(x * boxes[axis]), boxes[axis] - 1)
        key[i] = (place[i, 0] * boxes[1] + place[i, 1]) * boxes[2] + place[i, 2]
    filled = np.unique(key)
    last = np.full(len(filled), -1, np.int64)  # the site in each box that came last, and the one before each site
    before = np.full(n, -1, np.int64)
    around = np.empty((3, 3), np.int64)
    width = np.empty(3, np.int64)
    for i in range(n):
        for axis in range(3):
            width[axis] = min(3, boxes[axis])  # two boxes are each other's neighbours on both sides
            for k in range(width[axis]):
                around[axis, k] = (place[i, axis] + k - (1 if width[axis] == 3 else 0)) % boxes[axis]
        found = n
        for u in range(width[0]):
            for v in range(width[1]):
                for w in range(width[2]):
                    wanted = (around[0, u] * boxes[1] + around[1, v]) * boxes[2] + around[2, w]
                    box = np.searchsorted(filled, wanted)
                    if box == len(filled) or filled[box] != wanted:
                        continue
                    j = last[box]
                    while j >= 0:
                        if j < found and squared_distance(frac, i, j, lattice) < distance * distance:
                            found = j
                        j = before[j]
        if found < n:
            same[i] = found
            continue
        box = np.searchsorted(filled, key[i])
        before[i], last[box] = last[box], i
    return same


@njit(nogil=True)
def distinct_images(images: np.ndarray, lattice: np.ndarray, distance: float) -> np.ndarray:
    """The first of each group of images of an atom that lie closer than a distance, as their numbers, int64 (K,)."""
    kept = np.empty(len(images), np.int64)
    count = 0
    for i in range(len(images)):
        is_new = True
        for k in range(count):
            if squared_distance(images, i, kept[k], lattice) < distance * distance:
                is_new = False
                break
        if is_new:
            kept[count] = i
            count += 1
    return kept[:count]


@njit(nogil=True)
def sort_into_boxes(frac: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sites in the order of the boxes of a grid.

    Parameters
    ----------
    frac : numpy.ndarray
        float64 (N, 3), in [0, 1).
    boxes : numpy.ndarray
        int64 (3,), along each cell vector; their product must fit into 63 bits.

    Returns
    -------
    order : numpy.ndarray
        int64 (N,).
    box : numpy.ndarray
        int64 (N,), ascending: the box of each of them. The last index of a box runs fastest.
    """
    box = np.empty(len(frac), np.int64)
    for i in range(len(frac)):
        number = 0
        for axis in range(3):
            number = number * boxes[axis] + min(int(frac[i, axis] * boxes[axis]), boxes[axis] - 1)
        box[i] = number
    order = np.argsort(box)
    return order, box[order]


@njit(nogil=True)
def sites_near(
    position: np.ndarray, span: np.ndarray, boxes: np.ndarray, order: np.ndarray, box: np.ndarray, near: np.ndarray
) -> int:
    """Find the sites in all boxes that reach into a range around a position; return how many there are.

    Parameters
    ----------
    position, span : numpy.ndarray
        float64 (3,), fractional coordinates in [0, 1), and how far the range extends along each cell vector.
    boxes, order, box
        From :func:`sort_into_boxes`.
    near : numpy.ndarray
        int64 (N,), filled with the sites in ascending order; no site occurs twice.
    """
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        low[axis] = int(np.floor((position[axis] - span[axis]) * boxes[axis] - 1e-6))
        high[axis] = int(np.floor((position[axis] + span[axis]) * boxes[axis] + 1e-6))
        if high[axis] - low[axis] + 1 >= boxes[axis]:
            low[axis], high[axis] = 0, boxes[axis] - 1
    count = 0
    for u in range(low[0], high[0] + 1):
        for v in range(low[1], high[1] + 1):
            row = ((u % boxes[0]) * boxes[1] + v % boxes[1]) * boxes[2]
            w = low[2]
            while w <= high[2]:  # in one piece, or in two around the end of the cell
                start = w % boxes[2]
                stop = min(start + high[2] - w, boxes[2] - 1)
                k = np.searchsorted(box, row + start)
                while k < len(box) and box[k] <= row + stop:
                    near[count] = order[k]
                    count += 1
                    k += 1
                w += stop - start + 1
    near[:count].sort()
    return count
