"""The data of an index that the page needs, as arrays of numbers that are compressed one by one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..diffraction.kernels import DrawnConditions, compute_patterns
from ..crystals.records import Crystal
from ..crystals.threads import map_in_threads
from ..diffraction.grid import XRDGrid
from ..search.coloring import Coloring, colorings, unit_in
from ..search.index import EmbeddingIndex

LINES = XRDGrid(5.0, 90.0, 4250, "CuKa1")
"""Grid of the diffraction lines that are sent to the page."""
CRYSTALS_PER_PART = 2048
MATERIALS_PROJECT = "https://next-gen.materialsproject.org/materials/"
_NEIGHBORS = 10
_N_LINES = 32
_FAINTEST = 1 / 255
_CRYSTALS_AT_ONCE = 128


class Payload(Mapping[str, bytes]):
    """The data of a page as a mapping from the name of each part to its gzipped bytes.

    A part is made when it is asked for. ``meta`` is JSON that describes the other parts:

    * little-endian arrays: ``positions`` (2, n) uint16, ``neighbors`` (n, k) uint32, ``distances`` (n, k) float16, and
      ``column:NAME`` (n,), float32 for numbers and uint16 for categories;
    * text with one line per crystal: ``ids`` and ``formulas``;
    * for each block of 2,048 crystals ``structures:0``, ``structures:1``, ... and ``patterns:0``, ``patterns:1``, ...,
      in the formats of :func:`pack_structures` and :func:`pack_lines`.

    Parameters
    ----------
    index : EmbeddingIndex
    kinds : sequence of str
        Which of "structures" and "patterns" to include.
    upload_bytes : int, optional
        Largest size of an upload, if the page comes from a server that accepts uploads.

    Examples
    --------
    >>> from deepchem_crystalssl import EmbeddingIndex
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> payload = Payload(EmbeddingIndex.from_structures(bundled_prototypes()[:20], model="small", progress=False))
    >>> sorted(payload)[:4]
    ['column:anion_class', 'column:crystal_system', 'column:n_elements', 'column:num_sites']
    """

    def __init__(
        self, index: EmbeddingIndex, kinds: Sequence[str] = ("structures", "patterns"), upload_bytes: int | None = None
    ):
        self.index = index
        self.kinds = tuple(kinds) if index.structures is not None else ()
        self.upload_bytes = upload_bytes if index.has_model else None
        self.colorings = colorings(index.table)
        self.n_neighbors = min(_NEIGHBORS, index.map.neighbors.shape[1])
        small: dict[str, Callable[[], bytes]] = {
            "meta": self._meta,
            "positions": lambda: squeeze(np.round((index.map.positions.T + 1.0) * 32767.5), "<u2"),
            "neighbors": lambda: squeeze(index.map.neighbors[:, : self.n_neighbors], "<u4"),
            "distances": lambda: squeeze(index.map.distances[:, : self.n_neighbors], "<f2"),
            "ids": lambda: _lines_of("material_id", index),
            "formulas": lambda: _lines_of("formula", index),
        }
        self._small = small | {f"column:{name}": self._column(name) for name in self.colorings}
        self._made: dict[str, bytes] = {}
        self._n_chunks = -(-len(index) // CRYSTALS_PER_PART)

    def __iter__(self) -> Iterator[str]:
        yield from self._small
        for kind in self.kinds:
            yield from (f"{kind}:{chunk}" for chunk in range(self._n_chunks))

    def __len__(self) -> int:
        return len(self._small) + len(self.kinds) * self._n_chunks

    def __contains__(self, name: object) -> bool:
        return any(name == one for one in self)

    def __getitem__(self, name: str) -> bytes:
        if name not in self:
            raise KeyError(name)
        if name in self._small:  # every visit asks for these
            if name not in self._made:
                self._made[name] = self._small[name]()
            return self._made[name]
        kind, _, chunk = name.partition(":")
        assert self.index.structures is not None
        first = int(chunk) * CRYSTALS_PER_PART
        rows = range(first, min(first + CRYSTALS_PER_PART, len(self.index)))
        crystals = [self.index.structures[row] for row in rows]
        return pack_structures(crystals) if kind == "structures" else pack_lines(crystals)

    def _column(self, name: str) -> Callable[[], bytes]:
        return lambda: pack_column(self.colorings[name])

    def _meta(self) -> bytes:
        names = self.index.table["material_id"]
        meta = {
            "crystals": len(self.index),
            "perPart": CRYSTALS_PER_PART,
            "neighbors": self.n_neighbors,
            "columns": [
                {"name": name, "categories": one.categories and list(one.categories), "unit": unit_in(name) or ""}
                for name, one in self.colorings.items()
            ],
            "kinds": list(self.kinds),
            "known": [] if self.index.structures is None else ["structures", "patterns"],
            "lines": {"first": LINES.two_theta_min, "step": LINES.step, "wavelength": LINES.wavelength_angstrom},
            "uploadBytes": self.upload_bytes,
            "link": MATERIALS_PROJECT if names.str.fullmatch(r"m(p|vc)-\d+").mean() > 0.5 else None,
        }
        return gzip.compress(json.dumps(meta).encode(), mtime=0)


def pack_column(one: Coloring) -> bytes:
    """Pack numbers as float32, or the places of categories as uint16; an unknown category, -1, becomes 65,535."""
    return squeeze(one.values, "<f4") if one.categories is None else squeeze(one.values & 0xFFFF, "<u2")


def squeeze(values: np.ndarray, dtype: str) -> bytes:
    """Return the bytes of an array, gzipped."""
    return gzip.compress(np.ascontiguousarray(values, dtype=dtype).tobytes(), mtime=0)


def pack_structures(crystals: Sequence[Crystal]) -> bytes:
    """Pack crystals into gzipped arrays, one after the other.

    The arrays are the number of sites of each crystal (n,) uint16, the lattices (n, 3, 3) float32, the atomic numbers
    (sites,) uint8, and the fractional coordinates in units of 1/65,536: first their low bytes (3, sites), then their
    high bytes (3, sites). A site that several elements share is given the most frequent one. Low and high bytes are
    separate because coordinates that symmetry fixes then compress well.
    """
    turns = np.round(np.concatenate([crystal.frac_coords for crystal in crystals]).T * 65536).astype(np.int64)
    parts = (
        np.array([crystal.num_nodes for crystal in crystals], "<u2"),
        np.stack([crystal.lattice for crystal in crystals]).astype("<f4"),
        np.concatenate([crystal.atomic_numbers for crystal in crystals]).astype("u1"),
        (turns & 0xFF).astype("u1"),
        (turns >> 8 & 0xFF).astype("u1"),
    )
    return gzip.compress(b"".join(part.tobytes() for part in parts), mtime=0)


def pack_lines(crystals: Sequence[Crystal]) -> bytes:
    """Pack the strongest diffraction lines of crystals into gzipped arrays, one after the other.

    The arrays are the number of lines of each crystal (n,) uint8, and then for all lines their bins of the grid
    :data:`LINES` as uint16 and their heights as uint8. The highest line of a crystal has the height 255. A crystal
    whose pattern cannot be simulated has no lines.
    """
    groups = (crystals[start : start + _CRYSTALS_AT_ONCE] for start in range(0, len(crystals), _CRYSTALS_AT_ONCE))
    lines = [line for _, found in map_in_threads(_strongest_bins, groups) for line in found]
    parts = (
        np.array([len(bins) for bins, _ in lines], "u1"),
        np.concatenate([bins for bins, _ in lines]).astype("<u2"),
        np.concatenate([np.round(255 * heights) for _, heights in lines]).astype("u1"),
    )
    return gzip.compress(b"".join(part.tobytes() for part in parts), mtime=0)


def strongest_lines(crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """Return the angles and the heights of the strongest diffraction lines of a crystal, in order of angle.

    Angles are in degrees for Cu K-alpha 1; the highest line has the height 1.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.validation import make_crystal
    >>> angles, heights = strongest_lines(make_crystal([26, 26], [[0, 0, 0], [0.5, 0.5, 0.5]], np.eye(3) * 2.866, "Fe"))
    >>> angles.round(1).tolist(), heights.round(2).tolist()
    ([44.7, 65.0, 82.4], [1.0, 0.15, 0.28])
    """
    [(bins, heights)] = _strongest_bins([crystal])
    return LINES.two_theta[bins], heights


def _strongest_bins(crystals: Sequence[Crystal]) -> list[tuple[np.ndarray, np.ndarray]]:
    patterns = compute_patterns(crystals, LINES, DrawnConditions.of_grid(LINES, len(crystals)))
    found = []
    for pattern in np.nan_to_num(patterns):
        top = np.sort(np.argpartition(-pattern, _N_LINES)[:_N_LINES])
        highest = pattern.max()
        bins = top[pattern[top] > _FAINTEST * highest]
        found.append((bins, pattern[bins] / (highest or 1.0)))
    return found


def _lines_of(column: str, index: EmbeddingIndex) -> bytes:
    words = index.table[column].fillna("").astype(str) if column in index.table else [""] * len(index)
    return gzip.compress("\n".join(" ".join(word.split()) for word in words).encode(), mtime=0)
