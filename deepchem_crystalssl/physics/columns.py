"""The numbers of model physics of many crystals: springs and tight binding, in milliseconds each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast

import numpy as np
from threadpoolctl import threadpool_limits

from ..crystals.disorder import Disorder
from ..crystals.neighbors import enumerate_graphs
from ..crystals.options import check_count, with_arguments_of
from ..crystals.reading import read_structures
from ..crystals.records import Crystal, CrystalGraph
from ..crystals.symmetry import primitive_cell
from ..crystals.threads import map_in_threads
from ..errors import CrystalInputError, ModelPhysicsError, OnError, OptionError, Report, check_choice, counted
from .bloch import wave_vectors
from .electron_columns import ELECTRON_COLUMNS, SITE_ELECTRON_COLUMNS, electron_columns
from .parameters import SiteParameters
from .spring_columns import SITE_SPRING_COLUMNS, SPRING_COLUMNS, spring_columns

Model = Literal["springs", "electrons"]
Level = Literal["crystal", "site"]
MODELS: tuple[Model, ...] = ("springs", "electrons")

CUTOFF, MAX_NEIGHBORS = 8.0, 12
"""The graph that both models read, whatever graph a crystal comes with, so that its numbers do not depend on it."""

MAX_SITES = 1000
"""Sites of the largest primitive cell; its matrices have up to 9,000 rows."""

MOST_WAVES = 1_000_000
"""Wave vectors times sites of one crystal, so that its matrices fit into memory."""

_CHUNK = 32


def column_names(models: Sequence[Model] = MODELS, level: Level = "crystal") -> list[str]:
    """Names of the columns of :func:`model_physics`, each with its unit.

    Examples
    --------
    >>> column_names(["electrons"])[:2]
    ['band gap (eV)', 'direct gap (eV)']
    """
    check_models(models)
    check_choice("level", level, ("crystal", "site"))
    names = {
        ("springs", "crystal"): SPRING_COLUMNS,
        ("springs", "site"): SITE_SPRING_COLUMNS,
        ("electrons", "crystal"): ELECTRON_COLUMNS,
        ("electrons", "site"): SITE_ELECTRON_COLUMNS,
    }
    return [name for model in models for name in names[model, level]]


def check_models(models: Any) -> None:
    """Refuse what is no list of models.

    Raises
    ------
    OptionError
    """
    if (
        not isinstance(models, list | tuple)
        or not models
        or set(models) - set(MODELS)
        or len(set(models)) < len(models)
    ):
        rule, remedy = "models is a list of 'springs' and 'electrons', each once", "Name one or both, in a list."
        raise OptionError("models", repr(models), rule, remedy)


def iterate_physics(
    structures: Any,
    models: Sequence[Model] = MODELS,
    *,
    disorder: Disorder = "refuse",
    on_error: OnError = "raise",
    report: Report | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[int, Crystal, np.ndarray, np.ndarray]]:
    """Compute the numbers of crystals one after the other, so that memory stays flat.

    Takes the arguments of :func:`model_physics`.

    Yields
    ------
    position : int
        Of the crystal in the source.
    crystal : Crystal
    numbers : numpy.ndarray
        float64 (F,), of the crystal.
    sites : numpy.ndarray
        float64 (N, G), of its sites.
    """
    check_models(models)
    report = Report() if report is None else report
    reader = read_structures(structures, on_error=on_error, report=report, disorder=disorder, progress=progress)

    def compute(chunk: list[tuple[int, Crystal]]) -> list[tuple[np.ndarray, np.ndarray] | CrystalInputError]:
        cells = [primitive_cell(crystal) for _, crystal in chunk]
        graphs = _bonded([primitive for primitive, _ in cells])
        return [_of_one(graph, site, models) for graph, (_, site) in zip(graphs, cells, strict=True)]

    crystals = reader.enumerate()
    chunks = iter(lambda: list(islice(crystals, _CHUNK)), [])
    with report.job(), threadpool_limits(1, "blas"):  # the threads work on different crystals
        for chunk, found in map_in_threads(compute, chunks, n_threads):
            for (position, crystal), result in zip(chunk, found, strict=True):
                if isinstance(result, CrystalInputError):
                    report.handle(result, on_error, position)
                else:
                    yield position, crystal, *result


@with_arguments_of(iterate_physics)
def model_physics(**arguments: Any) -> np.ndarray:
    """Compute vibrations, elasticity and electrons of crystals from springs and tight binding.

    Parameters
    ----------
    structures
        Anything :func:`~deepchem_crystalssl.read_structures` reads.
    models : sequence of {"springs", "electrons"}
        Which of the two models.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy; with ``"average"`` a mixed site has the mean parameters of its
        species.
    on_error, report, n_threads, progress
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.

    Returns
    -------
    numpy.ndarray
        float32 (n, F), with the columns of :func:`column_names`; in the order of the source, without the items left
        out. The numbers are those of a model and no substitute for a measurement.

    Raises
    ------
    CrystalInputError
        A typed error of the first bad item, if ``on_error`` is "raise".

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])
    >>> numbers = dict(zip(column_names(), model_physics(diamond)[0]))
    >>> f"{numbers['highest frequency (1/cm)']:.0f}, {numbers['band gap (eV)']:.1f}"
    '1918, 4.0'
    """
    return _table(arguments, "crystal")


@with_arguments_of(iterate_physics)
def site_physics(**arguments: Any) -> np.ndarray:
    """Compute the numbers of the sites of crystals from springs and tight binding.

    Takes the arguments of :func:`model_physics`.

    Returns
    -------
    numpy.ndarray
        float32 (sites of all crystals, G), with the columns of :func:`column_names` for ``level="site"``.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> charges = site_physics(salt, ["electrons"])[:, 0]
    >>> [f"{charge:.1f}" for charge in charges]
    ['0.7', '0.7', '0.7', '0.7', '-0.7', '-0.7', '-0.7', '-0.7']
    """
    return _table(arguments, "site")


def _table(arguments: dict[str, Any], level: Level) -> np.ndarray:
    if arguments.get("report") is None:
        arguments["report"] = Report()
    rows = [sites if level == "site" else numbers[None] for _, _, numbers, sites in iterate_physics(**arguments)]
    arguments["report"].log()
    width = len(column_names(arguments.get("models", MODELS), level))
    return np.concatenate([np.empty((0, width)), *rows]).astype(np.float32)


def _of_one(
    graph: CrystalGraph | CrystalInputError, site: np.ndarray, models: Sequence[Model]
) -> tuple[np.ndarray, np.ndarray] | CrystalInputError:
    try:
        if isinstance(graph, CrystalInputError):
            return graph
        numbers, sites = zip(*_numbers(graph, models), strict=True)
        of_crystal, of_sites = np.concatenate(numbers), np.concatenate(sites, axis=1)[site]
        if not (np.isfinite(of_crystal).all() and np.isfinite(of_sites).all()):
            raise ModelPhysicsError(graph.material_id, "numbers that are not finite")
        return of_crystal, of_sites
    except CrystalInputError as error:
        return error


@dataclass(frozen=True)
class Prepared:
    """One crystal, ready to be computed on a grid of wave vectors.

    Attributes
    ----------
    crystal : Crystal
        As it was given, N sites.
    graph : CrystalGraph
        Of its primitive cell, P sites.
    site : numpy.ndarray
        int64 (N,), the site of the primitive cell that each site is.
    own : SiteParameters
        Of the sites of the primitive cell.
    wave_vectors, weight : numpy.ndarray
        (Q, 3), Gamma first, and (Q,).
    """

    crystal: Crystal
    graph: CrystalGraph
    site: np.ndarray
    own: SiteParameters
    wave_vectors: np.ndarray
    weight: np.ndarray


def prepare(structure: Any, waves_per_axis: int | None, waves_of_sites: int, disorder: Disorder) -> Prepared:
    """Read the one crystal that a source holds, and choose its wave vectors.

    Parameters
    ----------
    structure, disorder
        As in :func:`~deepchem_crystalssl.read_structures`.
    waves_per_axis : int, optional
        Number of wave vectors along each reciprocal lattice vector.
    waves_of_sites : int
        By default there are about as many wave vectors as this number divided by the number of sites.

    Raises
    ------
    CrystalInputError
        If the crystal cannot be read or is too large, if there are several, or if there would be no wave vector.
    """
    if waves_per_axis is not None:
        check_count("waves_per_axis", waves_per_axis, 1)
    found = list(read_structures(structure, disorder=disorder, progress=False))
    if len(found) != 1:
        rule, remedy = "one crystal is computed at a time", "Use model_physics for many."
        raise ModelPhysicsError("structure", counted(len(found), "crystal"), rule, remedy)
    (crystal,) = found
    primitive, site = primitive_cell(crystal)
    graph = bonded(primitive)
    waves = waves_per_axis or max(1, round((waves_of_sites / graph.num_nodes) ** (1 / 3)))
    if waves**3 * graph.num_nodes > MOST_WAVES:
        rule, remedy = f"wave vectors times sites are at most {MOST_WAVES:,}", "Give fewer."
        raise OptionError("waves_per_axis", waves_per_axis, rule, remedy)
    q, weight, _ = wave_vectors(int(waves))
    return Prepared(crystal, graph, site, SiteParameters.of(graph), q, weight)


def bonded(primitive: Crystal) -> CrystalGraph:
    """The graph of a primitive cell that springs and tight binding read.

    Raises
    ------
    ModelPhysicsError
        If the cell is too large.
    """
    (graph,) = _bonded([primitive])
    if isinstance(graph, CrystalInputError):
        raise graph
    return graph


def _bonded(primitives: Sequence[Crystal]) -> list[CrystalGraph | CrystalInputError]:
    """The graph of each, or the error that says why it has none."""
    found: list[CrystalGraph | CrystalInputError] = []
    searched, lost = [], Report()
    for k, primitive in enumerate(primitives):
        if primitive.num_nodes > MAX_SITES:
            found.append(ModelPhysicsError(primitive.material_id, f"{primitive.num_nodes} sites in the primitive cell"))
            continue
        own = isinstance(primitive, CrystalGraph) and (CUTOFF, MAX_NEIGHBORS) == (
            primitive.cutoff,
            primitive.max_neighbors,
        )
        found.append(primitive)  # type: ignore[arg-type]
        if not own:
            searched.append(k)
    options: dict[str, Any] = {"disorder": "average", "on_error": "skip", "report": lost, "n_threads": 1}
    crystals = [primitives[k] for k in searched]
    for place, graph in enumerate_graphs(crystals, CUTOFF, MAX_NEIGHBORS, **options, progress=False):
        found[searched[place]] = graph
    for error in lost:
        found[searched[cast(int, error.index)]] = error
    return found


def _numbers(graph: CrystalGraph, models: Sequence[Model]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    own, functions = SiteParameters.of(graph), {"springs": spring_columns, "electrons": electron_columns}
    return (functions[model](graph, own) for model in models)
