"""Simulated powder patterns: crystals in, patterns on an angular grid out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..crystals.disorder import Disorder
from ..crystals.elements import scattering_parameters, symbols
from ..crystals.options import with_arguments_of
from ..crystals.reading import read_structures
from ..crystals.reciprocal import are_too_large, size_error
from ..crystals.records import Crystal
from ..crystals.threads import map_in_threads
from ..errors import CrystalInputError, NoReflectionsError, OnError, Report, ScatteringFactorError
from .grid import PowderPatterns, XRDGrid
from .kernels import DrawnConditions, compute_patterns
from .structure_factors import scattering_table

_CHUNK = 128


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
    """Simulate the powder patterns of crystals one after the other, so that memory stays flat.

    Takes the arguments of :func:`simulate_xrd`.

    Yields
    ------
    (Crystal, PowderPatterns)
        A crystal and its pattern (n_bins,).
    """
    grid.check()
    report = Report() if report is None else report
    reader = read_structures(structures, on_error=on_error, report=report, disorder=disorder, progress=progress)
    scattering_table(grid, debye_waller)  # an unknown element is refused before anything is read

    def draw(chunk: list[tuple[int, Crystal]]) -> tuple[np.ndarray, list[CrystalInputError | None]]:
        crystals = [crystal for _, crystal in chunk]
        ideal = DrawnConditions.of_grid(grid, len(crystals))
        return simulate(crystals, grid, ideal, debye_waller, normalize=normalize, dtype=dtype)

    crystals = reader.enumerate()
    chunks = iter(lambda: list(islice(crystals, _CHUNK)), [])
    with report.job(on_error):
        for chunk, (patterns, errors) in map_in_threads(draw, chunks, n_threads):
            for (position, crystal), pattern, error in zip(chunk, PowderPatterns(patterns, grid), errors, strict=True):
                if error is None:
                    yield crystal, pattern
                else:
                    report.handle(error, on_error, position)


@with_arguments_of(iterate_patterns)
def simulate_xrd(**arguments: Any) -> PowderPatterns:
    """Simulate the powder patterns of crystals.

    Parameters
    ----------
    structures
        Anything :func:`~deepchem_crystalssl.read_structures` reads.
    grid : XRDGrid
        Angular range, bins, radiation and peak profile.
    debye_waller : float or mapping from element symbol to float
        Isotropic displacement parameter B in Å^2, of all elements or of each (0 for those that are not named).
    normalize : bool
        Divide each pattern by its maximum (the default). Otherwise the patterns are intensities per unit cell, in
        electrons squared: per bin for sticks, per degree for a broadened profile.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy; with ``"average"`` each species scatters by its occupancy.
    on_error, report
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.
    dtype : numpy dtype
        Data type of the result.
    n_threads : int, optional
        Number of threads; all processors by default.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    PowderPatterns
        (n, n_bins), a NumPy array that knows its grid; in the order of the source, without the items left out.

    Raises
    ------
    CrystalInputError
        A typed error of the first bad item, if ``on_error`` is "raise".

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> iron = Structure(Lattice.cubic(2.866), ["Fe", "Fe"], [[0, 0, 0], [.5, .5, .5]])
    >>> pattern = simulate_xrd(iron)
    >>> pattern.shape, round(float(XRDGrid().two_theta[pattern[0].argmax()]), 2)
    ((1, 5000), 44.71)
    """
    if arguments.get("report") is None:
        arguments["report"] = Report()
    grid = arguments.get("grid", XRDGrid())
    patterns = [pattern for _, pattern in iterate_patterns(**arguments)]
    arguments["report"].log()
    array = np.array(patterns, arguments.get("dtype", np.float32)).reshape(-1, grid.n_bins)
    return PowderPatterns(array, grid)


def simulate(
    crystals: Sequence[Crystal],
    grid: XRDGrid,
    conditions: DrawnConditions,
    debye_waller: Mapping[str, float] | float = 0.0,
    *,
    normalize: bool = True,
    dtype: DTypeLike = np.float32,
    fast: bool = False,
    n_threads: int = 1,
    whole: DrawnConditions | None = None,
) -> tuple[np.ndarray, list[CrystalInputError | None]]:
    """Patterns of crystals and what is wrong with them: the one way for training and for use.

    Parameters
    ----------
    crystals, grid, conditions, debye_waller, fast, n_threads, whole
        As in :func:`.compute_patterns`.
    normalize : bool
        Divide each pattern by its maximum.
    dtype : numpy dtype
        Of the patterns.

    Returns
    -------
    patterns : numpy.ndarray
        (S, n_bins).
    errors : list of CrystalInputError or None
        For each crystal None, or why it has no pattern; its row means nothing then.
    """
    g_max = grid.largest_g
    sites = [c.num_nodes if c.occupancies is None else len(c.occupancies.site) for c in crystals]
    too_large = are_too_large(np.stack([c.lattice for c in crystals]), np.array(sites), g_max)
    if too_large.any():
        patterns = np.zeros((len(crystals), grid.n_bins))
        kept = np.flatnonzero(~too_large).tolist()
        if kept:
            of_kept = DrawnConditions(*(values[kept] for values in conditions))
            others = [crystals[k] for k in kept]
            patterns[kept] = compute_patterns(others, grid, of_kept, debye_waller, fast, n_threads, whole or conditions)
    else:
        patterns = compute_patterns(crystals, grid, conditions, debye_waller, fast, n_threads, whole)
    top = patterns.max(axis=1)
    if normalize:
        patterns /= np.where(top > 0.0, top, 1.0)[:, None]
    errors = [_pattern_error(crystal, maximum, grid) for crystal, maximum in zip(crystals, top.tolist(), strict=True)]
    for k in np.flatnonzero(too_large).tolist():
        errors[k] = size_error(crystals[k].lattice, crystals[k].num_nodes, g_max, crystals[k].material_id)
    return patterns.astype(dtype, copy=False), errors


def _pattern_error(crystal: Crystal, maximum: float, grid: XRDGrid) -> CrystalInputError | None:
    """What is wrong if the highest point of a pattern is not positive."""
    if maximum > 0.0:
        return None
    numbers = np.unique(crystal.species.atomic_numbers)
    unknown = [symbols()[z] for z in numbers if np.isnan(scattering_parameters()[z, 0, 0])]
    if unknown:
        return ScatteringFactorError(crystal.material_id, ", ".join(unknown))
    span = f"{grid.two_theta_min:g}-{grid.two_theta_max:g}°"
    return NoReflectionsError(crystal.material_id, f"no reflection within {span}")
