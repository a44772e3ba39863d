"""DeepChem datasets over stores on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from deepchem.data import Dataset, NumpyDataset

from ..errors import StoreError
from ..crystals.neighbors import CUTOFF, MAX_NEIGHBORS, structures_to_graphs
from ..crystals.store import RecordStore, write_records


def with_own_randomness(iterator: Iterator[Any], seed: int) -> Iterator[Any]:
    """Run an iterator that draws from NumPy's global generator on a seeded state of its own.

    DeepChem shuffles with the global generator; nobody else's draws change, or are changed by, the shuffling.
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


class CrystalStore(Dataset):
    """Crystals on disk as a DeepChem dataset: graphs are built when a batch is asked for, memory stays flat.

    Parameters
    ----------
    path : str or Path
        Folder written by :meth:`write` or ``crystalssl featurize``.
    labels : pandas.DataFrame, optional
        Indexed by material_id, one column per task; crystals without label get weight 0.
    cutoff, max_neighbors
        Of the graphs, as in :func:`~deepchem_crystalssl.structures_to_graphs`.
    indices : array of int, optional
        The part of the store this dataset is; by default all of it.

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
        labels: pd.DataFrame | None = None,
        cutoff: float = CUTOFF,
        max_neighbors: int = MAX_NEIGHBORS,
        indices: Sequence[int] | np.ndarray | None = None,
    ):
        self.path = Path(path)
        self.labels = labels
        self.cutoff = cutoff
        self.max_neighbors = max_neighbors
        if labels is not None and not labels.index.is_unique:
            raise StoreError(
                str(path),
                "labels with a material_id twice",
                "labels have one row per material_id",
                "Remove or merge the double rows.",
            )
        self.records = RecordStore(path)
        self.indices = np.arange(len(self.records)) if indices is None else np.asarray(indices, np.int64)

    @classmethod
    def write(cls, source: Any, path: str | Path, **options: Any) -> CrystalStore:
        """Write the crystals of a source and open the store; goes on where an earlier call stopped.

        Takes the options of :func:`~deepchem_crystalssl.crystals.store.write_records`.
        """
        write_records(source, path, **options)
        return cls(path)

    def __len__(self) -> int:
        return len(self.indices)

    def get_shape(self) -> tuple[tuple, tuple, tuple, tuple]:
        """Shapes of X, y, w and ids."""
        n, tasks = len(self), len(self.get_task_names())
        return (n,), (n, tasks), (n, tasks), (n,)

    def get_task_names(self) -> np.ndarray:
        """Columns of the labels."""
        return np.array([] if self.labels is None else self.labels.columns, dtype=object)

    def _graphs(self, indices: np.ndarray) -> np.ndarray:
        graphs = structures_to_graphs(
            self.records.records(indices),
            self.cutoff,
            self.max_neighbors,
            disorder="average",
            isolated_atoms="keep",
            progress=False,
        )
        X = np.empty(len(graphs), object)
        X[:] = graphs
        return X

    def _labels(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.labels is None:
            return np.zeros((len(indices), 0)), np.zeros((len(indices), 0))
        y = self.labels.reindex(self.records.material_ids[indices]).to_numpy(float)
        return np.nan_to_num(y), np.isfinite(y).astype(float)

    @property
    def X(self) -> np.ndarray:
        """All graphs at once: for small parts only."""
        return self._graphs(self.indices)

    @property
    def y(self) -> np.ndarray:
        """Labels, 0 where unknown."""
        return self._labels(self.indices)[0]

    @property
    def w(self) -> np.ndarray:
        """1 where a label is known, else 0."""
        return self._labels(self.indices)[1]

    @property
    def ids(self) -> np.ndarray:
        """material_ids."""
        return self.records.material_ids[self.indices]

    @property
    def groups(self) -> np.ndarray:
        """Chemical systems, for ``dc.splits.RandomGroupSplitter``."""
        return self.records.chemical_systems[self.indices]

    def iterbatches(
        self,
        batch_size: int | None = None,
        epochs: int = 1,
        deterministic: bool = False,
        pad_batches: bool = False,
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """(X, y, w, ids) batches, shuffled unless deterministic, by NumPy's global generator as DeepChem does."""
        size = batch_size or max(1, len(self))
        for _ in range(epochs):
            order = self.indices if deterministic else np.random.permutation(self.indices)
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                y, w = self._labels(chosen)
                if pad_batches and len(chosen) < size:
                    w = np.concatenate([w, np.zeros((size - len(chosen), w.shape[1]))])
                    extra = np.resize(chosen, size - len(chosen))
                    chosen = np.concatenate([chosen, extra])
                    y = self._labels(chosen)[0]
                yield self._graphs(chosen), y, w, self.records.material_ids[chosen]

    def itersamples(self) -> Iterator[tuple[Any, np.ndarray, np.ndarray, Any]]:
        """(x, y, w, id) of one crystal after the other."""
        for X, y, w, ids in self.iterbatches(256, deterministic=True):
            yield from zip(X, y, w, ids, strict=True)

    def select(self, indices: Sequence[int] | np.ndarray, select_dir: str | None = None) -> CrystalStore:
        """The part at some positions; nothing is copied."""
        return CrystalStore(
            self.path, self.labels, self.cutoff, self.max_neighbors, self.indices[np.asarray(indices, int)]
        )

    def transform(self, transformer: Any, **kwargs: Any) -> NumpyDataset:
        """A transformed copy in memory."""
        X, y, w, ids = transformer.transform_array(self.X, self.y, self.w, self.ids)
        return NumpyDataset(X, y, w, ids)

    def make_pytorch_dataset(self, epochs: int = 1, deterministic: bool = False, batch_size: int | None = None) -> Any:
        """Not offered: graphs are no tensors."""
        raise StoreError(str(self.path), "make_pytorch_dataset", "graphs are no tensors", "Use iterbatches.")

    def to_dataframe(self) -> pd.DataFrame:
        """material_id, sites, chemical system and labels; no graphs."""
        frame = pd.DataFrame(
            {"material_id": self.ids, "num_sites": self.records.num_sites[self.indices], "chemical_system": self.groups}
        )
        for k, name in enumerate(self.get_task_names()):
            frame[name] = self.y[:, k]
        return frame


def records_of(dataset: Dataset) -> Iterator[Any]:
    """The records of a dataset, in order, with flat memory."""
    for X, _, _, _ in dataset.iterbatches(256, deterministic=True, pad_batches=False):
        yield from X
