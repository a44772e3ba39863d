"""The data of an index that the page needs: arrays of numbers, each compressed separately."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..diffraction.kernels import DrawnConditions, compute_patterns
from ..crystals.records import Crystal
from ..crystals.threads import map_in_threads
from ..diffraction.grid import XRDGrid
from ..diffraction.structure_factors import scattering_table
from ..search.coloring import colorings
from ..search.index import EmbeddingIndex

LINES = XRDGrid(5.0, 90.0, 4250, "CuKa1")
"""Where the lines of simulated patterns lie on the page."""
CRYSTALS_PER_PART = 2048
MATERIALS_PROJECT = "https://next-gen.materialsproject.org/materials/"
_NEIGHBORS = 10
_N_LINES = 32
_FAINTEST = 1 / 255
_CRYSTALS_AT_ONCE = 128


class Payload(Mapping[str, bytes]):
    """The parts of a page by name, gzipped; each is made when it is asked for.

    ``meta`` (JSON) says what there is. The others are little-endian arrays: ``positions`` (2, n) uint16,
    ``neighbors`` (n, k) uint32, ``distances`` (n, k) float16, ``column:NAME`` (n,) float32 or, of kinds, uint16;
    lines of text: ``ids``, ``formulas``; and for every 2,048 crystals ``structures:0``, ... and ``patterns:0``, ...,
    see :func:`pack_structures` and :func:`pack_lines`.

    Parameters
    ----------
    index : EmbeddingIndex
    kinds : sequence of str
        Of the two large kinds of parts, those wanted.
    upload_bytes : int, optional
        What an upload may weigh, if the page has a server that takes them.

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
        if name in self._small:
            return self._small[name]()
        kind, _, chunk = name.partition(":")
        assert self.index.structures is not None
        first = int(chunk) * CRYSTALS_PER_PART
        rows = range(first, min(first + CRYSTALS_PER_PART, len(self.index)))
        crystals = [self.index.structures[row] for row in rows]
        return pack_structures(crystals) if kind == "structures" else pack_lines(crystals)

    def _column(self, name: str) -> Callable[[], bytes]:
        one = self.colorings[name]
        # An unknown kind, -1, becomes 65,535.
        return lambda: squeeze(one.values, "<f4") if one.categories is None else squeeze(one.values & 0xFFFF, "<u2")

    def _meta(self) -> bytes:
        names = self.index.table["material_id"]
        meta = {
            "crystals": len(self.index),
            "perPart": CRYSTALS_PER_PART,
            "neighbors": self.n_neighbors,
            "columns": [
                {"name": name, "categories": one.categories and list(one.categories)}
                for name, one in self.colorings.items()
            ],
            "kinds": list(self.kinds),
            "known": [] if self.index.structures is None else ["structures", "patterns"],
            "lines": {"first": LINES.two_theta_min, "step": LINES.step, "wavelength": LINES.wavelength_angstrom},
            "uploadBytes": self.upload_bytes,
            "link": MATERIALS_PROJECT if names.str.fullmatch(r"m(p|vc)-\d+").mean() > 0.5 else None,
        }
        return gzip.compress(json.dumps(meta).encode(), mtime=0)


def squeeze(values: np.ndarray, dtype: str) -> bytes:
    """An array's bytes, gzipped."""
    return gzip.compress(np.ascontiguousarray(values, dtype=dtype).tobytes(), mtime=0)


def pack_structures(crystals: Sequence[Crystal]) -> bytes:
    """Crystals as the number of sites of each (n,) uint16, lattices (n, 3, 3) float32, atomic numbers (sites,) uint8
    and coordinates as fractions of 65,536, first their low bytes (3, sites), then their high bytes (3, sites); mixed
    sites as their majority; gzipped.

    With the bytes of a coordinate apart, positions that symmetry fixes compress well.
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
    """The strongest lines of crystals: how many of each (n,) uint8, then of all of them the bin of :data:`LINES`
    uint16 and the height, 255 the highest, uint8; gzipped. A crystal that cannot be simulated has none."""
    groups = (crystals[start : start + _CRYSTALS_AT_ONCE] for start in range(0, len(crystals), _CRYSTALS_AT_ONCE))
    lines = [line for _, found in map_in_threads(_strongest_bins, groups) for line in found]
    parts = (
        np.array([len(bins) for bins, _ in lines], "u1"),
        np.concatenate([bins for bins, _ in lines]).astype("<u2"),
        np.concatenate([np.round(255 * heights) for _, heights in lines]).astype("u1"),
    )
    return gzip.compress(b"".join(part.tobytes() for part in parts), mtime=0)


def strongest_lines(crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """Angles (degrees, Cu K-alpha 1) and heights, 1 the highest, of a crystal's strongest lines, by angle.

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
    patterns = compute_patterns(
        crystals, LINES, scattering_table(LINES, 0.0), DrawnConditions.of_grid(LINES, len(crystals))
    )
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
