"""Data sets and graphs as a model takes them, checked before they are used."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from deepchem.data import Dataset, NumpyDataset

from ..crystals.neighbors import CUTOFF, MAX_NEIGHBORS
from ..crystals.records import CrystalGraph
from ..errors import GraphMismatchError, UnsupportedObjectError


def check_dataset(dataset: Any, item: str = "dataset") -> None:
    """Refuse what is not a DeepChem data set, and data in memory that are not all crystal graphs.

    Raises
    ------
    UnsupportedObjectError
    """
    if not isinstance(dataset, Dataset):
        raise UnsupportedObjectError(
            item,
            f"a {type(dataset).__name__}",
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
        if isinstance(datapoint, CrystalGraph):
            continue
        position = k if ids is None else int(np.flatnonzero(dataset.ids == ids[k])[0])
        failed = isinstance(datapoint, np.ndarray) and datapoint.size == 0
        error = UnsupportedObjectError(
            f"datapoint {position}",
            "an empty array, as a failed featurization leaves it" if failed else f"a {type(datapoint).__name__}",
            "every datapoint is a CrystalGraph",
            "Leave the failed rows out, as CrystalLoader does." if failed else "Featurize with CrystalGraphFeaturizer.",
        )
        error.index = position
        raise error


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

    def asdict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)
