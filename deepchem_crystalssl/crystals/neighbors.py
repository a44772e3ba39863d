"""From crystals to graphs of nearest neighbours, independent of how the crystal is written down.

Around each atom the neighbours form *shells*: groups of neighbours whose distances follow each other by at most
``SHELL_GAP``. A graph keeps whole shells, nearest first, until it has ``max_neighbors`` neighbours: the 12 nearest and
every atom at the same distance as the twelfth. Keeping exactly 12 would choose some atoms of an equally distant shell
by their order in the file, and the graph would change with cell, origin and orientation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from .disorder import Disorder
from ..errors import (
    CrystalInputError,
    IsolatedAtomError,
    LatticeError,
    OnError,
    Report,
    check_choice,
    counted,
)
from .neighbor_search import EDGE_OF_CUTOFF, SHELL_GAP, nearest_shells
from .options import check_count, check_number, with_arguments_of
from .records import Crystal, CrystalGraph
from .reading import read_structures
from .threads import map_in_threads

CUTOFF = 8.0
MAX_NEIGHBORS = 12

Engine = Literal["numba", "pymatgen"]
IsolatedAtoms = Literal["keep", "raise"]

_CHUNK, _CHUNK_SITES = 512, 50_000  # crystals, and sites, that a thread takes at a time
_MOST_STEPS = 5e9  # of a search; a skewed or thin cell needs many
_MOST_IMAGES = 120  # an image is stored in one byte


def enumerate_graphs(
    structures: Any,
    cutoff: float = CUTOFF,
    max_neighbors: int = MAX_NEIGHBORS,
    *,
    disorder: Disorder = "refuse",
    isolated_atoms: IsolatedAtoms = "keep",
    on_error: OnError = "raise",
    report: Report | None = None,
    engine: Engine = "numba",
    n_threads: int | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[int, CrystalGraph]]:
    """Make the graphs of crystals one after the other, each with the position of its item in the source.

    Takes the arguments of :func:`structures_to_graphs`. Two crystals of one item, such as two data blocks of one CIF
    file, have the same position, as in :meth:`~deepchem_crystalssl.crystals.reading.StructureReader.enumerate`.

    Yields
    ------
    (int, CrystalGraph)
    """
    report = Report() if report is None else report
    reader = read_structures(structures, on_error=on_error, report=report, disorder=disorder, progress=progress)
    engines = {"numba": _find_compiled, "pymatgen": _find_with_pymatgen}
    check_choice("engine", engine, engines)
    check_graph_options(cutoff, max_neighbors, isolated_atoms)
    find = partial(engines[engine], cutoff=float(cutoff), max_neighbors=int(max_neighbors))
    with report.job(on_error):
        for chunk, found in map_in_threads(find, _chunks(reader.enumerate()), n_threads):
            for (position, crystal), edges in zip(chunk, found, strict=True):
                try:
                    yield position, _to_graph(crystal, edges, cutoff, max_neighbors, isolated_atoms)
                except CrystalInputError as error:
                    report.handle(error, on_error, position)


@with_arguments_of(enumerate_graphs)
def iterate_graphs(**arguments: Any) -> Iterator[CrystalGraph]:
    """Make the graphs of crystals one after the other, so that memory stays flat however long the source is.

    Takes the arguments of :func:`structures_to_graphs`.

    Yields
    ------
    CrystalGraph
    """
    return (graph for _, graph in enumerate_graphs(**arguments))


@with_arguments_of(enumerate_graphs)
def structures_to_graphs(**arguments: Any) -> list[CrystalGraph]:
    """Make the graphs of crystals.

    Parameters
    ----------
    structures
        Anything :func:`~deepchem_crystalssl.read_structures` reads.
    cutoff : float
        No neighbour is farther away than this, Å.
    max_neighbors : int
        Whole shells are kept, nearest first, until they hold at least this many neighbours.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy.
    isolated_atoms : {"keep", "raise"}
        An atom without a neighbour within the cutoff is kept without edges (the default), so that it enters a model
        with its own features alone; or it is an error.
    on_error : {"raise", "warn", "skip"}
        A bad item stops everything, or is left out with a warning, or is left out and only reported.
    report : Report, optional
        Filled with the typed error of every item left out.
    engine : {"numba", "pymatgen"}
        The compiled search, or pymatgen's ``find_points_in_spheres``; the results are equal.
    n_threads : int, optional
        Threads of the compiled search; all processors by default.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    list of CrystalGraph
        In the order of the source, without the items left out. Each graph knows its ``cutoff`` and ``max_neighbors``.

    Raises
    ------
    OptionError
        If an option cannot be used, before anything is read.
    CrystalInputError
        A typed error of the first bad item, if ``on_error`` is "raise".

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> graph = structures_to_graphs(salt)[0]
    >>> graph.num_nodes, graph.num_edges  # 6 Cl and the whole shell of 12 Na around each Na
    (8, 144)
    """
    if arguments.get("report") is None:
        arguments["report"] = Report()
    graphs = list(iterate_graphs(**arguments))
    arguments["report"].log()
    return graphs


def check_graph_options(cutoff: float, max_neighbors: int, isolated_atoms: IsolatedAtoms = "keep") -> None:
    """Refuse options with which no graph can be made.

    Raises
    ------
    OptionError
    """
    check_number("cutoff", cutoff, above=0, unit="Å")
    check_count("max_neighbors", max_neighbors, 1)
    check_choice("isolated_atoms", isolated_atoms, get_args(IsolatedAtoms))


def _chunks(crystals: Iterable[tuple[int, Crystal]]) -> Iterator[list[tuple[int, Crystal]]]:
    chunk, sites = [], 0
    for item in crystals:
        chunk.append(item)
        sites += item[1].num_nodes
        if len(chunk) == _CHUNK or sites >= _CHUNK_SITES:
            yield chunk
            chunk, sites = [], 0
    if chunk:
        yield chunk


_Edges = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # neighbor, image, distance, first_edge


def _to_graph(
    crystal: Crystal,
    edges: _Edges | CrystalInputError,
    cutoff: float,
    max_neighbors: int,
    isolated_atoms: IsolatedAtoms,
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
        float(cutoff),
        int(max_neighbors),
    )


def _cells_per_angstrom(lattices: np.ndarray) -> np.ndarray:
    """How many cells a distance of 1 Å spans along each cell vector (1 / thickness), (..., 3, 3) to (..., 3)."""
    return np.sqrt((np.linalg.inv(lattices) ** 2).sum(axis=-2))


def _steps(reach: np.ndarray, sites: Any, cutoff: float) -> Any:
    """About how many images of atoms a search looks at: the pairs of sites times the cells within the cutoff."""
    return sites * np.minimum(sites, 1000.0) * np.prod(2.0 * cutoff * reach + 1.0, axis=-1)


def _too_thin(crystal: Crystal, reach: np.ndarray, cutoff: float) -> LatticeError | None:
    """An error if the cutoff spans more cells than a one-byte image can count, or than can be searched."""
    if reach.max() * cutoff >= _MOST_IMAGES:
        return LatticeError(crystal.material_id, f"the cutoff of {cutoff:g} Å spans {reach.max() * cutoff:.0f} cells")
    if (steps := _steps(reach, crystal.num_nodes, cutoff)) <= _MOST_STEPS:
        return None
    cells = f"{counted(crystal.num_nodes, 'site')} in a cell {1 / reach.max():.3g} Å thick: {steps:.1g} steps"
    rule = f"the search for neighbours takes at most {_MOST_STEPS:.0g} steps"
    return LatticeError(crystal.material_id, cells, rule, "Give the crystal in its reduced cell, or a smaller cutoff.")


def _find_compiled(
    chunk: list[tuple[int, Crystal]], cutoff: float, max_neighbors: int
) -> list[_Edges | CrystalInputError]:
    crystals = [crystal for _, crystal in chunk]
    lattices = np.stack([crystal.lattice for crystal in crystals])
    reach = _cells_per_angstrom(lattices)
    first_site = np.zeros(len(crystals) + 1, np.int64)
    np.cumsum([crystal.num_nodes for crystal in crystals], out=first_site[1:])
    if reach.max() * cutoff >= _MOST_IMAGES or _steps(reach, np.diff(first_site), cutoff).max() > _MOST_STEPS:
        errors = [_too_thin(crystal, own, cutoff) for crystal, own in zip(crystals, reach, strict=True)]
        others = [item for item, error in zip(chunk, errors, strict=True) if error is None]
        found = iter(_find_compiled(others, cutoff, max_neighbors) if others else ())
        return [next(found) if error is None else error for error in errors]
    frac = np.concatenate([crystal.frac_coords for crystal in crystals])
    width = 2 * max_neighbors + 8
    while True:
        enough, first_edge, neighbor, image, distance = nearest_shells(
            lattices, reach, frac, first_site, float(cutoff), max_neighbors, width
        )
        if enough:
            break
        width *= 2
    edges_of: list[_Edges | CrystalInputError] = []
    for start, stop in zip(first_site[:-1].tolist(), first_site[1:].tolist(), strict=True):
        rows = first_edge[start : stop + 1]
        edges = slice(rows[0], rows[-1])
        # Copies, so that one graph kept alive does not keep its whole chunk.
        edges_of.append(
            (
                neighbor[edges].copy(),
                image[edges].copy(),
                distance[edges].copy(),
                (rows - rows[0]).astype(np.int32),
            )
        )
    return edges_of


def _find_with_pymatgen(
    chunk: list[tuple[int, Crystal]], cutoff: float, max_neighbors: int
) -> list[_Edges | CrystalInputError]:
    return [_find_one_with_pymatgen(crystal, cutoff, max_neighbors) for _, crystal in chunk]


def _find_one_with_pymatgen(crystal: Crystal, cutoff: float, max_neighbors: int) -> _Edges | CrystalInputError:
    from pymatgen.optimization.neighbors import find_points_in_spheres

    if error := _too_thin(crystal, _cells_per_angstrom(crystal.lattice), cutoff):
        return error
    positions = np.ascontiguousarray(crystal.frac_coords @ crystal.lattice)
    center, neighbor, image, distance = find_points_in_spheres(
        positions,
        positions,
        r=cutoff + EDGE_OF_CUTOFF,
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
