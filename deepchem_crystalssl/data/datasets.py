"""DeepChem datasets over crystals on disk."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from deepchem.data import Dataset, NumpyDataset

from ..crystals.formats.tables import write_csv
from ..crystals.neighbors import CUTOFF, MAX_NEIGHBORS, structures_to_graphs
from ..crystals.store import RecordStore, write_records
from ..errors import StoreError
from .labels import labels_and_weights, labels_by_id


def with_own_randomness(iterator: Iterator[Any], seed: int) -> Iterator[Any]:
    """Iterate while NumPy's global random generator has a state of its own.

    DeepChem shuffles with the global generator. Here neither the shuffling changes what others draw from that
    generator, nor do their draws change the shuffling.

    Parameters
    ----------
    iterator : iterator
    seed : int
        Seed of the generator's state during the iteration.
    """
    own = np.random.RandomState(seed % 2**32).get_state()
    while True:
        outer = np.random.get_state()
        np.random.set_state(own)
        try:
            item = next(iterator, None)
            own = np.random.get_state()
        finally:
            np.random.set_state(outer)
        if item is None:
            return
        yield item


Rows = tuple[Any, Any, Any, Any]
"""X, y, w and ids."""


class UnreadBatch(NamedTuple):
    """A batch of a dataset, whose rows are read when they are needed.

    Attributes
    ----------
    size : int
        Number of rows.
    read : callable
        Takes a slice of the rows, and returns X, y, w and ids of them.
    """

    size: int
    read: Callable[[slice], Rows]


def iterate_unread(dataset: Dataset, batch_size: int, deterministic: bool = False) -> Iterator[UnreadBatch]:
    """The batches of any DeepChem dataset, unpadded; a :class:`CrystalStore` builds only graphs that are read."""
    if type(dataset).iterbatches is CrystalStore.iterbatches:
        yield from dataset.unread_batches(batch_size, deterministic)
        return
    for batch in dataset.iterbatches(batch_size, deterministic=deterministic, pad_batches=False):

        def read(rows: slice, batch: Rows = batch) -> Rows:
            X, y, w, ids = (part[rows] for part in batch)
            return X, y, w, ids

        yield UnreadBatch(len(batch[0]), read)


def digest_of_data(dataset: Dataset, with_labels: bool) -> str:
    """Digest of the crystals of any DeepChem dataset in their order, and of their labels and weights.

    Parameters
    ----------
    dataset : dc.data.Dataset
        Of a dataset on disk that is no :class:`CrystalStore`, the ids stand for the crystals.
    with_labels : bool

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(f"{len(dataset)}".encode())
    if isinstance(dataset, CrystalStore):
        digest.update(f"{dataset.records.digest} {dataset.cutoff} {dataset.max_neighbors}".encode())
        digest.update(dataset.indices.tobytes())
    else:
        digest.update("\n".join(map(str, dataset.ids)).encode())
        for graph in dataset.X if isinstance(dataset, NumpyDataset) else ():
            digest.update(f"{graph.material_id}".encode())
            for array in (graph.atomic_numbers, graph.frac_coords, graph.lattice):
                digest.update(array.tobytes())
    for array in map(np.asarray, (dataset.y, dataset.w) if with_labels else ()):
        for labels in array.ravel() if array.dtype == object else (array,):  # of sites, one array for each crystal
            digest.update(np.asarray(labels, float).tobytes())
    return digest.hexdigest()[:16]


class CrystalStore(Dataset):
    """Crystals on disk as a DeepChem dataset; the graphs of a batch are built when the batch is asked for.

    Memory use does not grow with the number of crystals. An atom without a neighbour within the cutoff is kept without
    edges.

    Parameters
    ----------
    path : str or Path
        Folder that :meth:`write` or ``crystalssl featurize`` wrote.
    labels : pandas.DataFrame, pandas.Series, str or Path, optional
        A table of labels, or its file, with one column for each task. Its ids are in the column ``material_id``,
        ``id`` or ``name``, or else in its index. A crystal without a label has weight 0 for that task.
    cutoff, max_neighbors
        Options of the graphs, as in :func:`~deepchem_crystalssl.structures_to_graphs`.
    indices : array of int, optional
        Positions of the crystals that belong to this dataset; by default all crystals of the store.

    Raises
    ------
    StoreError
        If the folder is not a complete store.
    LabelError
        If labels are not numbers, if two rows of labels have the same id, or if no id is that of a crystal.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> store = CrystalStore.write(bundled_prototypes()[:20], tempfile.mkdtemp())
    >>> len(store), store.select([3]).X[0]
    (20, CrystalGraph(AB_oI4_44_a_b, Ga1As1, 2 sites, 36 edges))
    """

    def __init__(
        self,
        path: str | Path,
        labels: pd.DataFrame | pd.Series | str | Path | None = None,
        cutoff: float = CUTOFF,
        max_neighbors: int = MAX_NEIGHBORS,
        indices: Sequence[int] | np.ndarray | None = None,
    ):
        self.path = Path(path)
        self.cutoff = cutoff
        self.max_neighbors = max_neighbors
        self.records = RecordStore(path)
        everything = np.arange(len(self.records))
        self.indices = everything if indices is None else np.asarray(indices, np.int64)
        table = pd.DataFrame(index=everything) if labels is None else labels_by_id(labels, self.records.material_ids)
        self._tasks = np.array(table.columns, object)
        self._y, self._w = labels_and_weights(table.to_numpy(float)[self.indices])

    @classmethod
    def write(cls, source: Any, path: str | Path, **options: Any) -> CrystalStore:
        """Write the crystals of a source to a folder and open it as a dataset.

        Takes the arguments of :func:`~deepchem_crystalssl.crystals.store.write_records`.
        """
        write_records(source, path, **options)
        return cls(path)

    def __len__(self) -> int:
        return len(self.indices)

    def get_shape(self) -> tuple[tuple, tuple, tuple, tuple]:
        """Return the shapes of X, y, w and ids."""
        return (len(self),), self._y.shape, self._w.shape, (len(self),)

    def get_task_names(self) -> np.ndarray:
        """Return the names of the tasks, which are the columns of the labels."""
        return self._tasks

    def _graphs(self, positions: np.ndarray) -> np.ndarray:
        graphs = structures_to_graphs(
            self.records.records(self.indices[positions]),
            self.cutoff,
            self.max_neighbors,
            disorder="average",
            isolated_atoms="keep",
            progress=False,
        )
        X = np.empty(len(graphs), object)
        X[:] = graphs
        return X

    @property
    def X(self) -> np.ndarray:
        """Graphs of all crystals, object (n,). All of them are built and held in memory."""
        return self._graphs(np.arange(len(self)))

    @property
    def y(self) -> np.ndarray:
        """Labels, float (n, n_tasks); 0 where unknown."""
        return self._y

    @property
    def w(self) -> np.ndarray:
        """Weights of the labels, float (n, n_tasks); 0 where a label is unknown."""
        return self._w

    @property
    def ids(self) -> np.ndarray:
        """The material_id of each crystal, object (n,)."""
        return self.records.material_ids[self.indices]

    @property
    def groups(self) -> np.ndarray:
        """The chemical system of each crystal, object (n,), for ``dc.splits.RandomGroupSplitter``."""
        return self.records.chemical_systems[self.indices]

    def iterbatches(
        self,
        batch_size: int | None = None,
        epochs: int = 1,
        deterministic: bool = False,
        pad_batches: bool = False,
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Iterate over batches (X, y, w, ids).

        Parameters
        ----------
        batch_size : int, optional
            Crystals of a batch; by default all.
        epochs : int
            How often the dataset is iterated over.
        deterministic : bool
            If False, each epoch has an order of its own, drawn from NumPy's global generator, as in DeepChem.
        pad_batches : bool
            Fill the last batch up to ``batch_size`` with repeated crystals of weight 0.
        """
        for _ in range(epochs):
            for chosen in self._positions(batch_size, deterministic):
                w = self._w[chosen]
                if pad_batches and batch_size is not None and len(chosen) < batch_size:
                    w = np.concatenate([w, np.zeros((batch_size - len(chosen), w.shape[1]))])
                    chosen = np.resize(chosen, batch_size)
                yield self._graphs(chosen), self._y[chosen], w, self.ids[chosen]

    def _positions(self, batch_size: int | None, deterministic: bool) -> Iterator[np.ndarray]:
        """Positions of the crystals of each batch."""
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1")
        order = np.arange(len(self)) if deterministic else np.random.permutation(len(self))
        size = batch_size or max(1, len(self))
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def unread_batches(self, batch_size: int, deterministic: bool = False) -> Iterator[UnreadBatch]:
        """The batches of :meth:`iterbatches`; the graphs are built when rows of a batch are read, of these rows only.

        Parameters
        ----------
        batch_size : int
        deterministic : bool
        """
        ids = self.ids
        for chosen in self._positions(batch_size, deterministic):

            def read(rows: slice, chosen: np.ndarray = chosen) -> Rows:
                own = chosen[rows]
                return self._graphs(own), self._y[own], self._w[own], ids[own]

            yield UnreadBatch(len(chosen), read)

    def itersamples(self) -> Iterator[tuple[Any, np.ndarray, np.ndarray, Any]]:
        """Iterate over (x, y, w, id) of one crystal after the other."""
        for X, y, w, ids in self.iterbatches(256, deterministic=True):
            yield from zip(X, y, w, ids, strict=True)

    def select(self, indices: Sequence[int] | np.ndarray, select_dir: str | None = None) -> CrystalStore:
        """Return the dataset of the crystals at some positions; the store on disk is shared, not copied.

        Parameters
        ----------
        indices : array of int, or of bool (n,)
        select_dir : str, optional
            Accepted because DeepChem's splitters pass it; nothing is written.
        """
        chosen = np.asarray(indices)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return self._with(self.indices[chosen], self._y[chosen], self._w[chosen])

    def transform(self, transformer: Any, **kwargs: Any) -> Dataset:
        """Return a transformed copy of the dataset.

        A transformer of labels or weights, such as ``dc.trans.NormalizationTransformer``, gives another
        CrystalStore. A transformer of X gives a dataset in memory with all graphs.
        """
        if transformer.transform_X:
            return NumpyDataset(*transformer.transform_array(self.X, self.y, self.w, self.ids))
        positions, y, w, _ = transformer.transform_array(np.arange(len(self)), self.y, self.w, self.ids)
        return self._with(self.indices[positions], y, w)

    def _with(self, indices: np.ndarray, y: np.ndarray, w: np.ndarray) -> CrystalStore:
        part = copy.copy(self)
        part.indices, part._y, part._w = indices, y, w
        return part

    def get_statistics(self, X_stats: bool = True, y_stats: bool = True) -> tuple[np.ndarray, ...]:
        """Return mean and standard deviation of the labels, each (n_tasks,), over the crystals with a label.

        Parameters
        ----------
        X_stats : bool
            Must be False: graphs have no mean.
        y_stats : bool
            Whether statistics are returned at all.

        Raises
        ------
        StoreError
            If ``X_stats`` is True.
        """
        if X_stats:
            raise StoreError(str(self.path), "X_stats=True", "graphs have no mean", "Pass X_stats=False.")
        if not y_stats:
            return ()
        known = np.where(self._w > 0, 1.0, 0.0)
        n = np.maximum(known.sum(axis=0), 1.0)
        means = (known * self._y).sum(axis=0) / n
        return means, np.sqrt((known * (self._y - means) ** 2).sum(axis=0) / n)

    def make_pytorch_dataset(self, epochs: int = 1, deterministic: bool = False, batch_size: int | None = None) -> Any:
        """Raise a StoreError: graphs are not tensors."""
        raise StoreError(str(self.path), "make_pytorch_dataset", "graphs are not tensors", "Use iterbatches.")

    def to_dataframe(self) -> pd.DataFrame:
        """Return a table of material_id, number of sites, chemical system and labels, without the graphs.

        A label that is not known is NaN.
        """
        frame = pd.DataFrame(
            {"material_id": self.ids, "num_sites": self.records.num_sites[self.indices], "chemical_system": self.groups}
        )
        for k, name in enumerate(self.get_task_names()):
            frame[name] = np.where(self._w[:, k] > 0, self._y[:, k], np.nan)
        return frame

    def to_csv(self, path: str) -> None:
        """Write the table of :meth:`to_dataframe` as CSV."""
        write_csv(self.to_dataframe(), path)


def records_of(dataset: Dataset) -> Iterator[Any]:
    """Iterate over the records X of a dataset, in order, with constant memory."""
    for X, _, _, _ in dataset.iterbatches(256, deterministic=True, pad_batches=False):
        yield from X
