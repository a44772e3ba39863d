"""Compute the vectors of crystals and patterns by trained encoders, in batches of limited memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import CountsError, CrystalInputError, OnError, OptionError, Report, check_choice
from ..crystals.records import CrystalGraph
from ..diffraction.conditions import MeasurementConditions, measure_patterns, try_patterns
from ..diffraction.grid import XRDGrid, check_intensities
from ..nn.crystal_encoder import CrystalEncoder, mean_and_std
from ..nn.graph_batch import GraphBatch
from ..nn.links import Engine
from ..nn.xrd_encoder import XRDEncoder

Level = Literal["crystal", "site"]
Space = Literal["shared", "pattern", "descriptor", "similarity"]
PEAK_WIDTHS = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Peak widths in degrees over which the vector of a crystal's expected pattern is averaged."""
SITES_PER_BATCH = 5_000
_PATTERNS_PER_BATCH = 256


_LOCK = Lock()
_EVALUATED: WeakKeyDictionary[nn.Module, tuple[int, bool]] = WeakKeyDictionary()
"""Parts of modules that are in evaluation mode for some blocks: for how many, and the mode they were in before."""


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Within the block the module is in evaluation mode; afterwards each of its parts is in the mode it was in before.

    A callback may use a model between two training steps: without this, the next step would run in evaluation mode.
    Several threads may be within such blocks at once, of the same module or of parts of it: a part returns to its mode
    when the last of them leaves. Otherwise a norm would learn from what one thread embeds while another one leaves.
    """
    parts = list(module.modules())
    with _LOCK:
        for part in parts:
            blocks, training = _EVALUATED.get(part, (0, part.training))
            _EVALUATED[part] = blocks + 1, training
            part.training = False
    try:
        yield
    finally:
        with _LOCK:
            for part in parts:
                blocks, training = _EVALUATED.pop(part)
                if blocks > 1:
                    _EVALUATED[part] = blocks - 1, training
                else:
                    part.training = training


def embed_graphs(
    encoder: CrystalEncoder,
    graphs: Iterable[CrystalGraph],
    level: Level = "crystal",
    layers: Sequence[int] | None = None,
    engine: Engine = "auto",
    device: torch.device | str = "cpu",
    space: Space = "shared",
    shared: CrystalEncoder | None = None,
) -> np.ndarray:
    """Compute the vectors of crystals or sites, float32; see :meth:`~deepchem_crystalssl.CrystalSSLModel.embed`.

    ``shared`` is the encoder of the part of similarity vectors that is compared with patterns, by default ``encoder``.
    """
    shared = encoder if shared is None else shared
    check_choice("level", level, get_args(Level))
    depth = len(encoder.convolutions)
    wrong = [k for k in layers or () if not -depth - 1 <= k <= depth]
    if wrong or (layers is not None and not len(layers)):
        rule = f"layers are whole numbers from 0 (the element) to {depth} (the last) of this model, at least one"
        raise OptionError("layers", list(layers or ()), rule, "Give such layers, or leave layers out.")
    check_choice("space", space, get_args(Space))
    if space == "pattern":
        raise OptionError("space", "'pattern'", "vectors for a search by pattern are those of whole crystals",
                          "Choose another space, or leave level and layers out.")  # fmt: skip
    if space != "shared" and (layers is not None or (level == "site" and space != "descriptor")):
        rule = "layers are those of space 'shared', and sites have vectors in 'shared' and 'descriptor' alone"
        raise OptionError("space", repr(space), rule, "Choose space='shared', or leave level and layers out.")
    parts = []
    with evaluation_mode(encoder), evaluation_mode(shared), torch.inference_mode():
        for records in batches_of_sites(graphs, SITES_PER_BATCH):
            batch = GraphBatch.from_graphs(records, engine).to(device)
            parts.append(_embed(encoder, shared, batch, level, layers, space).float().cpu().numpy())
    if parts:
        return np.concatenate(parts)
    return np.empty((0, _size(encoder, shared, level, layers, space)), np.float32)


def _size(
    encoder: CrystalEncoder, shared: CrystalEncoder, level: Level, layers: Sequence[int] | None, space: Space
) -> int:
    if level == "crystal" and layers is None:
        sizes = {"shared": encoder.embedding_size, "descriptor": encoder.descriptor_size}
        return sizes[space] if space in sizes else encoder.pooled_size + shared.embedding_size
    if space == "descriptor":
        return encoder.site_size
    return encoder.width * len([-1] if layers is None else layers) * (1 if level == "site" else 2)


def _embed(
    encoder: CrystalEncoder,
    shared: CrystalEncoder,
    batch: GraphBatch,
    level: Level,
    layers: Sequence[int] | None,
    space: Space,
) -> Tensor:
    if level == "crystal" and layers is None:
        if space == "similarity":
            return encoder.liken(batch, shared)
        return {"shared": encoder.forward, "descriptor": encoder.describe}[space](batch)
    if space == "descriptor":
        return encoder.describe_sites(batch)
    sites = encoder.encode_sites(batch)
    chosen = [sites[k] for k in ([-1] if layers is None else layers)]
    return torch.cat(chosen if level == "site" else [mean_and_std(batch, x) for x in chosen], dim=1)


def embed_expected_patterns(
    encoder: XRDEncoder, graphs: Iterable[CrystalGraph], grid: XRDGrid, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, list[CrystalInputError | None]]:
    """Estimate the vector that a measured pattern of each crystal will have.

    The estimate is the mean of the vectors of the simulated patterns with peaks of all ``PEAK_WIDTHS``, because the
    width of the peaks in a measurement is not known beforehand.

    Returns
    -------
    vectors : numpy.ndarray
        float32 (m, embedding_size), of length 1, for the m crystals whose patterns can be simulated.
    errors : list
        For each of the n crystals None, or the error that explains why it has no pattern.
    """
    vectors, errors = [np.empty((0, encoder.embedding_size), np.float32)], []
    for records in batches_of_sites(graphs, SITES_PER_BATCH):
        found = try_patterns(records, grid, MeasurementConditions())[1]
        errors += found
        good = [record for record, error in zip(records, found, strict=True) if error is None]
        if not good:
            continue
        patterns = (measure_patterns(good, MeasurementConditions(fwhm=(width, width)), grid) for width in PEAK_WIDTHS)
        total = np.sum([embed_patterns(encoder, drawn, device, progress=False) for drawn in patterns], axis=0)
        vectors.append(total / np.linalg.norm(total, axis=1, keepdims=True))
    return np.concatenate(vectors), errors


def embed_patterns(
    encoder: XRDEncoder,
    patterns: np.ndarray,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> np.ndarray:
    """Compute the vectors of patterns on the encoder's grid, float32 (n, embedding_size).

    ``patterns`` has the shape (n, n_bins), or (n_bins,) for a single pattern.
    """
    rows = np.atleast_2d(np.asarray(patterns, np.float32))
    vectors = [np.empty((0, encoder.embedding_size), np.float32)]
    starts = range(0, len(rows), _PATTERNS_PER_BATCH)
    with evaluation_mode(encoder), torch.inference_mode():
        for start in tqdm(starts, "patterns", disable=None if progress is None else not progress, delay=1.0):
            batch = torch.from_numpy(rows[start : start + _PATTERNS_PER_BATCH]).to(device)
            vectors.append(encoder(batch).float().cpu().numpy())
    return np.concatenate(vectors)


def usable_rows(patterns: np.ndarray, on_error: OnError, report: Report | None) -> np.ndarray:
    """The patterns (n, n_bins) that hold intensities; the others are bad items, named by their row."""
    report = Report() if report is None else report
    usable = np.ones(len(patterns), bool)
    with report.job(on_error):
        for row, pattern in enumerate(patterns):
            try:
                check_intensities(pattern, f"pattern {row}")
            except CountsError as error:
                usable[row] = False
                report.handle(error, on_error, row)
    report.log()
    return patterns[usable]


def batches_of_sites(graphs: Iterable[CrystalGraph], limit: int) -> Iterator[list[CrystalGraph]]:
    """Divide graphs into batches of at most ``limit`` sites. A larger graph is a batch of its own."""
    batch: list[CrystalGraph] = []
    n_sites = 0
    for graph in graphs:
        if batch and n_sites + graph.num_nodes > limit:
            yield batch
            batch, n_sites = [], 0
        batch.append(graph)
        n_sites += graph.num_nodes
    if batch:
        yield batch
