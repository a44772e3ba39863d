"""Data sets and graphs as a model takes them, checked before they are used."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, get_args

import numpy as np
from deepchem.data import Dataset, NumpyDataset

from ..crystals.disorder import Disorder, check_policy
from ..crystals.neighbors import CUTOFF, MAX_NEIGHBORS, IsolatedAtoms, enumerate_graphs
from ..crystals.reading import read_structures
from ..crystals.reciprocal import are_too_large, size_error
from ..crystals.records import Crystal, CrystalGraph
from ..data.datasets import records_of
from ..errors import (
    CrystalInputError,
    GraphMismatchError,
    OnError,
    Report,
    UnsupportedObjectError,
    an_object,
    check_choice,
)

_LARGEST_G, _CHANNELS = 1 / 1.2, 8  # of the readout of long-range order, 1/Å, and its values per site
_OFTEN_SITES, _OFTEN_LENGTH = 300, 50.0  # up to these sites and Å a crystal is surely small enough


def check_dataset(dataset: Any, item: str = "dataset") -> None:
    """Refuse what is not a DeepChem data set, and data in memory that are not all crystal graphs.

    Raises
    ------
    UnsupportedObjectError
    """
    if not isinstance(dataset, Dataset):
        raise UnsupportedObjectError(
            item,
            an_object(dataset),
            "a model takes a DeepChem data set of crystal graphs",
            "Make one with CrystalLoader or CrystalStore, or with "
            "dc.data.NumpyDataset(CrystalGraphFeaturizer().featurize(structures)).",
        )
    if isinstance(dataset, NumpyDataset):
        check_datapoints(dataset.X, dataset)


def check_datapoints(X: Iterable[Any], dataset: Dataset, ids: Any = None) -> None:
    """Refuse datapoints that are not crystal graphs, by their position in the data set.

    Parameters
    ----------
    X : iterable
        All datapoints in order, or those of a batch.
    dataset : dc.data.Dataset
        Where they come from.
    ids : sequence, optional
        Identifiers of those of a batch; the position is found by them.

    Raises
    ------
    UnsupportedObjectError
    """
    for k, datapoint in enumerate(X):
        if not isinstance(datapoint, CrystalGraph):
            raise _no_graph(datapoint, k if ids is None else int(np.flatnonzero(dataset.ids == ids[k])[0]))


def _no_graph(datapoint: Any, position: int) -> UnsupportedObjectError:
    failed = isinstance(datapoint, np.ndarray) and datapoint.size == 0
    error = UnsupportedObjectError(
        f"datapoint {position}",
        "an empty array, as a failed featurization leaves it" if failed else an_object(datapoint),
        "every datapoint is a CrystalGraph",
        "Leave the failed rows out, as CrystalLoader does." if failed else "Featurize with CrystalGraphFeaturizer.",
    )
    error.index = position
    return error


@dataclass(frozen=True)
class GraphOptions:
    """How the graphs of a model are made.

    Parameters
    ----------
    cutoff : float
        The largest distance of a neighbour, Å.
    max_neighbors : int
        Whole shells are kept until they hold at least this many neighbours.
    """

    cutoff: float = CUTOFF
    max_neighbors: int = MAX_NEIGHBORS

    @classmethod
    def of(cls, graph: CrystalGraph) -> GraphOptions | None:
        """The options a graph was made with; None if it does not say."""
        if math.isnan(graph.cutoff) or not graph.max_neighbors:
            return None
        return cls(graph.cutoff, graph.max_neighbors)

    @classmethod
    def first_of(cls, graphs: Iterable[CrystalGraph]) -> GraphOptions | None:
        """Those of the first graph that says."""
        return next((options for options in map(cls.of, graphs) if options is not None), None)

    def check(self, graph: CrystalGraph) -> None:
        """Refuse a graph that was made with other options; one that does not say is taken.

        Raises
        ------
        GraphMismatchError
        """
        theirs = self.of(graph)
        if theirs is not None and theirs != self:
            raise GraphMismatchError(
                graph.material_id or "graph",
                f"cutoff={theirs.cutoff:g} Å, max_neighbors={theirs.max_neighbors}",
                f"this model was trained on graphs with cutoff={self.cutoff:g} Å, max_neighbors={self.max_neighbors}",
                f"Make the graphs with cutoff={self.cutoff:g}, max_neighbors={self.max_neighbors}; embed also takes "
                "structures and makes the graphs itself.",
            )


def warn_of_other_graphs(trained: Mapping[str, Any], given: Mapping[str, Any], stacklevel: int) -> None:
    """Warn if the graphs of a trained model shall be made with other options than those of its training.

    Parameters
    ----------
    trained, given : dict
        ``cutoff`` and ``max_neighbors``, as far as they are known and given.
    stacklevel : int
        As in :func:`warnings.warn`, seen from the caller.
    """
    names = ("cutoff", "max_neighbors")
    if any(given.get(name) is not None and trained.get(name) not in (None, given[name]) for name in names):
        before, now = (", ".join(f"{k}={d[k]:g}" for k in names if d.get(k) is not None) for d in (trained, given))
        warnings.warn(
            f"the encoder was trained on graphs with {before}, and its graphs will now be made with {now}; what it "
            "says of them is not what it learned. Leave these arguments out to use the graphs of the training.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def enumerate_model_graphs(
    source: Any,
    graph_options: GraphOptions | None,
    on_error: OnError,
    report: Report,
    edges: bool = True,
    **options: Any,
) -> Iterator[tuple[int, CrystalGraph]]:
    """Graphs of anything that can be read, with the position of each item; finished graphs keep their edges.

    Parameters
    ----------
    source
        A DeepChem data set, a :class:`CrystalGraph`, or anything :func:`~deepchem_crystalssl.read_structures` reads.
    graph_options : GraphOptions or None
        How the graphs of structures are made; finished ones must have been made alike. None for the usual options, and
        finished graphs of any.
    on_error, report
        What happens to a bad item, as everywhere.
    edges : bool
        Whether edges are needed; without them crystals are only read.
    **options
        ``disorder``, ``isolated_atoms``, ``n_threads``, ``progress``, for the graphs that are made.
    """
    check_choice("on_error", on_error, get_args(OnError))  # finished graphs need none of these
    check_policy(options.get("disorder", "refuse"))
    check_choice("isolated_atoms", options.get("isolated_atoms", "keep"), get_args(IsolatedAtoms))
    options |= {"on_error": on_error, **asdict(graph_options or GraphOptions())}
    make = enumerate_graphs if edges else _enumerate_crystals
    items = _items(source)
    if items is None:
        yield from _of_size(make(source, report=report, **options), on_error, report)
        return
    position, of_graphs = 0, isinstance(source, Dataset)
    for is_finished, run in groupby(items, lambda item: of_graphs or isinstance(item, CrystalGraph)):
        if is_finished:
            for position, graph in enumerate(run, position):
                try:
                    if not isinstance(graph, CrystalGraph):
                        raise _no_graph(graph, position)
                    if edges and graph_options is not None:
                        graph_options.check(graph)
                    check_size(graph)
                except CrystalInputError as error:
                    report.handle(error, on_error, position)
                    continue
                yield position, graph
            position += 1
            continue
        counted = _Counted(run)
        made = make(counted, report=(part := Report()), **options)
        yield from _shifted(_of_size(made, on_error, part), position)
        for left_out in part:
            report.handle(left_out, "skip", None if left_out.index is None else left_out.index + position)
        position += counted.count


def check_size(crystal: Crystal) -> None:
    """Refuse a crystal whose long-range order would take minutes: a huge cell.

    Raises
    ------
    LimitError
    """
    lattice, sites = crystal.lattice, crystal.num_nodes
    if sites <= _OFTEN_SITES and max(lattice.max(), -lattice.min()) <= _OFTEN_LENGTH:
        return
    if are_too_large(lattice[None], np.array([_CHANNELS * sites]), _LARGEST_G)[0]:
        raise size_error(lattice, sites, _LARGEST_G, crystal.material_id)


def _of_size(
    found: Iterable[tuple[int, CrystalGraph]], on_error: OnError, report: Report
) -> Iterator[tuple[int, CrystalGraph]]:
    for position, graph in found:
        try:
            check_size(graph)
        except CrystalInputError as error:
            report.handle(error, on_error, position)
        else:
            yield position, graph


def note_positions(found: Iterable[tuple[int, CrystalGraph]], positions: list[int]) -> Iterator[CrystalGraph]:
    """The graphs alone; the position of each is appended to the list when it is read."""
    for position, graph in found:
        positions.append(position)
        yield graph


def _enumerate_crystals(
    source: Any, on_error: OnError, report: Report, disorder: Disorder, progress: bool | None, **_: Any
) -> Iterator[tuple[int, Any]]:
    return read_structures(source, on_error, disorder=disorder, report=report, progress=progress).enumerate()


class _Counted:
    """An iterator that counts what it has given."""

    def __init__(self, items: Iterable[Any]):
        self._items, self.count = iter(items), 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.count += 1
        return item


def _shifted(found: Iterator[tuple[int, CrystalGraph]], first: int) -> Iterator[tuple[int, CrystalGraph]]:
    """Positions counted from the first item of all, also in errors."""
    try:
        for position, graph in found:
            yield position + first, graph
    except CrystalInputError as error:
        if error.index is not None:
            error.index += first
        raise


def _items(source: Any) -> Iterable[Any] | None:
    """The single items of a source that holds finished graphs, or may; None of all others."""
    if isinstance(source, Dataset):
        return records_of(source)
    if isinstance(source, CrystalGraph):
        return [source]
    if isinstance(source, (list, tuple)) or getattr(source, "dtype", None) == object:
        return source if any(isinstance(item, CrystalGraph) for item in source) else None
    return source if isinstance(source, Iterator) else None
