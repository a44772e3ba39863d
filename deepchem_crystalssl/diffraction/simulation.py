"""Simulated powder patterns: crystals in, patterns on an angular grid out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .kernels import DrawnConditions, compute_patterns, scattering_table
from ..crystals.disorder import Disorder
from ..crystals.elements import scattering_parameters, symbols
from ..errors import CrystalInputError, NoReflectionsError, OnError, Report, ScatteringFactorError
from ..crystals.records import Crystal
from ..crystals.reading import read_structures
from ..crystals.threads import map_in_threads
from .grid import PowderPatterns, XRDGrid

_CHUNK = 128


def simulate_xrd(
    structures: Any,
    grid: XRDGrid = XRDGrid(),
    *,
    debye_waller: Mapping[str, float] | float = 0.0,
    normalize: bool = True,
    disorder: Disorder = "refuse",
    on_error: OnError = "raise",
    report: Report | None = None,
    dtype: DTypeLike = np.float32,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> PowderPatterns:
    """Powder patterns of crystals.

    Parameters
    ----------
    structures
        Anything :func:`~deepchem_crystalssl.read_structures` reads.
    grid : XRDGrid
        Angular range, bins, radiation and peak profile.
    debye_waller : float or mapping from element symbol to float
        Isotropic displacement parameter B in Å^2, of all or of each element (0 where not named).
    normalize : bool
        Divide each pattern by its maximum (default); otherwise intensities per cell, in electrons squared,
        per bin for sticks and per degree for a broadened profile.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy; ``"average"`` scatters by occupancy.
    on_error, report
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.
    dtype : numpy dtype
        Of the result.
    n_threads : int, optional
        Threads; all processors by default.
    progress : bool, optional
        Progress bar; by default on a terminal only.

    Returns
    -------
    PowderPatterns
        (n, n_bins), a NumPy array that knows its grid; in the order of the source, bad items left out.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> iron = Structure(Lattice.cubic(2.866), ["Fe", "Fe"], [[0, 0, 0], [.5, .5, .5]])
    >>> pattern = simulate_xrd(iron)
    >>> pattern.shape, round(float(XRDGrid().two_theta[pattern[0].argmax()]), 2)
    ((1, 5000), 44.71)
    """
    report = Report() if report is None else report
    patterns = list(
        iterate_patterns(
            structures,
            grid,
            debye_waller=debye_waller,
            normalize=normalize,
            disorder=disorder,
            on_error=on_error,
            report=report,
            dtype=dtype,
            n_threads=n_threads,
            progress=progress,
        )
    )
    report.log()
    return PowderPatterns(np.array([pattern for _, pattern in patterns], dtype).reshape(-1, grid.n_bins), grid)


def iterate_patterns(
    structures: Any,
    grid: XRDGrid = XRDGrid(),
    *,
    debye_waller: Mapping[str, float] | float = 0.0,
    normalize: bool = True,
    disorder: Disorder = "refuse",
    on_error: OnError = "raise",
    report: Report | None = None,
    dtype: DTypeLike = np.float32,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[Crystal, PowderPatterns]]:
    """Like :func:`simulate_xrd`, lazily: yields (crystal, pattern) with flat memory."""
    grid.check()
    report = Report() if report is None else report
    reader = read_structures(structures, on_error=on_error, report=report, disorder=disorder, progress=progress)
    draw = partial(
        _draw_chunk, grid=grid, factors=scattering_table(grid, debye_waller), normalize=normalize, dtype=dtype
    )
    crystals = reader.enumerate()
    chunks = iter(lambda: list(islice(crystals, _CHUNK)), [])
    for chunk, (patterns, errors) in map_in_threads(draw, chunks, n_threads):
        for (index, crystal), pattern, error in zip(chunk, PowderPatterns(patterns, grid), errors, strict=True):
            if error is None:
                yield crystal, pattern
            else:
                report.handle(error, on_error, index)


def _draw_chunk(
    chunk: list[tuple[int, Crystal]], grid: XRDGrid, factors: np.ndarray, normalize: bool, dtype: DTypeLike
) -> tuple[np.ndarray, list[CrystalInputError | None]]:
    crystals = [crystal for _, crystal in chunk]
    patterns = compute_patterns(crystals, grid, factors, DrawnConditions.of_grid(grid, len(crystals)))
    top = patterns.max(axis=1)
    if normalize:
        patterns /= np.where(top > 0.0, top, 1.0)[:, None]
    errors = [pattern_error(crystal, maximum, grid) for crystal, maximum in zip(crystals, top.tolist(), strict=True)]
    return patterns.astype(dtype, copy=False), errors


def pattern_error(crystal: Crystal, maximum: float, grid: XRDGrid) -> CrystalInputError | None:
    """What is wrong if the highest point of a pattern is not positive."""
    if maximum > 0.0:
        return None
    heavy = [
        symbols()[z] for z in np.unique(crystal.species.atomic_numbers) if np.isnan(scattering_parameters()[z, 0, 0])
    ]
    if heavy:
        return ScatteringFactorError(crystal.material_id, ", ".join(heavy))
    span = f"{grid.two_theta_min:g}-{grid.two_theta_max:g}°"
    return NoReflectionsError(crystal.material_id, f"no reflection within {span}")
