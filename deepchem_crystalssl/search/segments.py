r"""Compressed vectors on disk, searched without reading them all: cells of similar vectors and product quantization.

A vector is rotated onto its first principal components and represented by its cell and by 64 bytes that tell what is
left (Jégou, Douze and Schmid 2011; faiss, Douze et al. 2024). What is nearest by these is a shortlist, of which the
vectors themselves are compared then. Cells, rotation and codes are trained once, on a sample; every segment of an index
is written with the same ones, so that crystals can be added without building anything again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np

from ..crystals.checksums import FileRecord, RecordedFile, record_file, replacing
from ..errors import IndexFolderError
from .mapped_tables import REMEDY

CODE_BYTES = 64
PROBES = 64
"""Cells that are looked into."""
LARGEST_SAMPLE = 200_000
_COMPONENTS = 128
_ROWS_OF_A_CODE = 16_384
_LEAST = 256  # rows that train the 256 values of a byte


def cells_for(n: int) -> int:
    """Number of cells for n vectors."""
    return int(np.clip(4 * n**0.5, 1, max(1, n // 39)))


def train(sample: np.ndarray, n: int, path: Path, seed: int = 0) -> None:
    """Learn rotation, cells and codes from a sample of vectors, and write them as a segment without crystals.

    Parameters
    ----------
    sample : numpy.ndarray
        float32 (m, F), of length 1.
    n : int
        Number of vectors that the index will hold.
    path : Path
    seed : int
    """
    width = sample.shape[1]
    kept = min(_COMPONENTS, 2 ** int(np.log2(width)), len(sample))
    code_bytes = min(CODE_BYTES, kept)
    while kept % code_bytes:
        code_bytes //= 2
    rotation = faiss.PCAMatrix(width, kept, 0, True)
    cells = min(cells_for(n), max(1, len(sample) // 39))
    cells_index = faiss.IndexFlatL2(kept)
    codes = faiss.IndexIVFPQ(cells_index, kept, cells, code_bytes, 8)
    codes.use_precomputed_table = -1  # it would take 64 kB for each cell
    codes.cp.seed, codes.cp.niter, codes.cp.min_points_per_centroid = seed, 8, 1
    codes.pq.cp.seed, codes.pq.cp.niter = seed, 12
    codes.pq.cp.max_points_per_centroid, codes.pq.cp.min_points_per_centroid = _ROWS_OF_A_CODE // 256, 1
    index = faiss.IndexPreTransform(rotation, codes)
    if len(sample) < _LEAST:  # too few to train on: they are repeated
        sample = np.tile(sample, (-(-_LEAST // len(sample)), 1))
    index.train(np.ascontiguousarray(sample, np.float32))
    _write(index, path)


def write_segment(trained: Path, blocks: Iterable[tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Write vectors into a segment of their own.

    Parameters
    ----------
    trained : Path
        What :func:`train` has written.
    blocks : iterable of (numpy.ndarray, numpy.ndarray)
        Rows, int64 (m,), and their vectors, float32 (m, F).
    path : Path
    """
    index = _read(trained, 0)
    for rows, vectors in blocks:
        index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(rows, np.int64))
    _write(index, path)


class SegmentRecord(FileRecord):
    """Size and checksums of a segment, and the number of bytes before its first list of codes."""

    head: int


def record_segment(path: Path) -> SegmentRecord:
    """Size and checksums of a segment, for a manifest."""
    return {**record_file(path), "head": int(_places(_read(path, faiss.IO_FLAG_MMAP))[0].min(initial=2**62))}


def _places(index: faiss.Index) -> tuple[np.ndarray, np.ndarray]:
    """First byte of each list of codes and rows in the file of a mapped segment, and the one after its last."""
    codes = faiss.downcast_index(index.index)
    lists = faiss.downcast_InvertedLists(codes.invlists).lists
    found = np.array([(one.offset, one.capacity) for one in map(lists.at, range(lists.size()))], np.int64)
    starts, capacity = found.reshape(-1, 2).T
    return starts, starts + capacity * (codes.code_size + np.dtype(np.int64).itemsize)


class Segment:
    """A segment on disk, opened for the first search; its cells are mapped, and verified when they are looked into.

    Parameters
    ----------
    path : Path
    record : SegmentRecord, optional
        Size and checksums of the file.

    Raises
    ------
    IndexFolderError
        If it cannot be read; later, if a cell is not what was written.
    """

    def __init__(self, path: Path, record: SegmentRecord | None = None):
        self._file = RecordedFile(path, record, IndexFolderError, REMEDY)
        self._head = self._file.size if record is None else record.get("head")
        if not isinstance(self._head, int) or self._head < 1:
            raise IndexFolderError(str(path), f"begins at {self._head!r}", remedy=REMEDY)

    @cached_property
    def _index(self) -> faiss.Index:
        """The segment, opened for the first search, after what stands before its cells is verified."""
        self._file.verify(0, self._head)
        return _read(self._file.path, faiss.IO_FLAG_MMAP)

    @cached_property
    def _lists(self) -> tuple[np.ndarray, np.ndarray]:
        return _places(self._index)

    def _verify(self, queries: np.ndarray, probes: int) -> None:
        """Verify the cells that a search looks into."""
        codes = faiss.downcast_index(self._index.index)
        rotated = faiss.downcast_VectorTransform(self._index.chain.at(0)).apply(queries)
        _, cells = codes.quantizer.search(rotated, min(probes, codes.nlist))
        cells = np.unique(cells[cells >= 0])
        starts, stops = self._lists
        self._file.verify_ranges(starts[cells], stops[cells])

    def __len__(self) -> int:
        return self._index.ntotal

    def nearest(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None, probes: int = PROBES
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the k nearest vectors by their codes and squared distances, (q, k) each; -1 where there are no more.

        ``allowed`` are the bits of the rows that may be answers, as ``numpy.packbits(..., bitorder="little")`` gives.
        """
        inner = faiss.SearchParametersIVF(nprobe=probes)
        if allowed is not None:
            inner = faiss.SearchParametersIVF(nprobe=probes, sel=faiss.IDSelectorBitmap(allowed))
        parameters = faiss.SearchParametersPreTransform(index_params=inner)
        queries = np.ascontiguousarray(queries, np.float32)
        if self._file.is_recorded:
            self._verify(queries, probes)
        distances, rows = self._index.search(queries, k, params=parameters)
        return rows, distances


def shortlist(
    segments: Sequence[Segment], queries: np.ndarray, k: int, allowed: np.ndarray | None, probes: int = PROBES
) -> np.ndarray:
    """Rows of the k nearest by codes in all segments, (q, k); -1 where there are no more."""
    bits = None if allowed is None else np.packbits(allowed, bitorder="little")
    found = [segment.nearest(queries, k, bits, probes) for segment in segments]
    rows, distances = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
    order = np.argsort(np.where(rows < 0, np.inf, distances), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, order, axis=1)


def _read(path: Path, flags: int) -> faiss.Index:
    try:
        return faiss.read_index(str(path), flags | faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)
    except RuntimeError as error:
        reason = str(error).split("\n")[0][-120:]
        raise IndexFolderError(str(path), f"cannot be read ({reason})", "an index has all its segments",
                               REMEDY) from error  # fmt: skip


def _write(index: faiss.Index, path: Path) -> None:
    with replacing(path) as part:
        try:
            faiss.write_index(index, str(part))
        except RuntimeError as error:  # the library has no other for what the system refuses
            is_full = os.strerror(errno.ENOSPC) in str(error)
            said = str(error).split("\n")[0][-120:]
            raise OSError(errno.ENOSPC if is_full else errno.EIO, said, str(path)) from error
