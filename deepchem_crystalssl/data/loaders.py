"""Labelled crystals into DeepChem datasets: tables, folders, and matminer's benchmark sets by name."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from deepchem.data import DataLoader, Dataset, DiskDataset, NumpyDataset
from matminer.datasets import get_available_datasets, load_dataset

from ..errors import LabelError, OnError, Report, UnsupportedFileError
from ..crystals.records import CrystalGraph
from ..crystals.reading import read_structures
from .featurizers import CrystalGraphFeaturizer, read_one

ID_PROP = "id_prop.csv"


class CrystalLoader(DataLoader):
    """Loads crystals with their labels, whatever holds them.

    Labels that are missing have weight 0. A structure that cannot be read costs itself and its labels alone; ``report``
    names it.

    Parameters
    ----------
    tasks : sequence of str
        Columns of the labels. For a folder whose ``id_prop.csv`` has no header, their names in order.
    structure_column, id_column : str, optional
        Columns of a table; by default as in :func:`~deepchem_crystalssl.read_structures`.
    featurizer : CrystalGraphFeaturizer, optional
        Makes the graphs.
    on_error : {"warn", "skip", "raise"}
        What a bad structure does.

    Examples
    --------
    >>> import pandas as pd
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> table = pd.DataFrame({"structure": [c.to_structure() for c in bundled_prototypes()[:3]], "gap": [0.1, None, 2]})
    >>> dataset = CrystalLoader(["gap"]).create_dataset(table)
    >>> dataset.X[0], dataset.w.ravel().tolist()
    (CrystalGraph(row 0, S3Hg3, 6 sites, 84 edges), [1.0, 0.0, 1.0])
    """

    def __init__(
        self,
        tasks: Sequence[str],
        structure_column: str | None = None,
        id_column: str | None = None,
        featurizer: CrystalGraphFeaturizer | None = None,
        on_error: OnError = "warn",
    ):
        super().__init__(list(tasks), featurizer or CrystalGraphFeaturizer(on_error="skip"))
        self.structure_column = structure_column
        self.id_column = id_column
        self.on_error = on_error
        self.report = Report()

    def create_dataset(self, inputs: Any, data_dir: str | None = None, shard_size: int | None = 8192) -> Dataset:
        """Read crystals and labels.

        Parameters
        ----------
        inputs : pandas.DataFrame, str or Path
            A table; a file of one (``.csv``, ``.parquet``, ``.json`` with a list of records or in pandas' "split"
            form); a folder of CIF files with an ``id_prop.csv``, whose rows are name and labels; or the name of a data
            set that ``matminer.datasets`` knows, which matminer downloads once.
        data_dir : str, optional
            Folder for a DiskDataset; by default the dataset is in memory.
        shard_size : int
            Crystals per file there.

        Returns
        -------
        Dataset
            X of crystal graphs, y and w (n, tasks), ids.

        Raises
        ------
        LabelError
            If a column of labels is missing, or holds no numbers.
        UnsupportedFileError
            If there is no such file, folder or data set.
        """
        frame = self._frame(inputs)
        labels = self._labels(frame)
        self.report = Report()
        items = self._items(frame, inputs)
        graphs = self.featurizer.featurize([item for _, item in items])
        good = [isinstance(graph, CrystalGraph) for graph in graphs]
        for error in self.featurizer.report:
            self.report.handle(error, self.on_error, items[error.index][0])
        self.report.log()
        rows = [row for (row, _), kept in zip(items, good, strict=True) if kept]
        X = np.empty(len(rows), object)
        X[:] = [graph for graph, kept in zip(graphs, good, strict=True) if kept]
        known = np.isfinite(labels[rows])
        y, w = np.where(known, labels[rows], 0.0), known.astype(float)
        ids = np.array([graph.material_id for graph in X], object)
        if data_dir is None:
            return NumpyDataset(X, y, w, ids)
        parts = np.array_split(np.arange(len(X)), max(1, -(-len(X) // (shard_size or len(X) or 1))))
        shards = ((X[part], y[part], w[part], ids[part]) for part in parts)
        return DiskDataset.create_dataset(shards, data_dir, self.tasks)

    def _frame(self, inputs: Any) -> pd.DataFrame:
        if isinstance(inputs, pd.DataFrame):
            return inputs
        path = Path(inputs)
        if path.is_dir():
            return self._id_prop(path)
        if path.is_file():
            return _read_table(path)
        if str(inputs) in get_available_datasets(print_format=None):
            return load_dataset(str(inputs))
        raise UnsupportedFileError(
            str(inputs), "no file, folder or data set", "inputs name what is there", "See matminer.datasets for names."
        )

    def _id_prop(self, folder: Path) -> pd.DataFrame:
        path = folder / ID_PROP
        if not path.is_file():
            raise UnsupportedFileError(
                str(folder),
                f"no {ID_PROP}",
                "a folder of CIF files has a table of their labels",
                "Add name,label rows.",
            )
        first = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].tolist()
        if set(self.tasks) & set(first):
            frame = pd.read_csv(path, dtype={0: str})
            return frame.rename(columns={frame.columns[0]: "material_id"})
        names = ["material_id", *self.tasks]
        if len(first) < len(names):
            raise LabelError(
                str(path), f"{len(first) - 1} columns of labels", f"tasks are {self.tasks}", "Name them all."
            )
        return pd.read_csv(path, header=None, names=names, usecols=range(len(names)), dtype={"material_id": str})

    def _labels(self, frame: pd.DataFrame) -> np.ndarray:
        missing = [task for task in self.tasks if task not in frame]
        if missing:
            columns = ", ".join(map(str, frame.columns))
            raise LabelError("tasks", ", ".join(missing), "tasks are columns of the table", f"It has {columns}.")
        try:
            return frame[list(self.tasks)].to_numpy(float)
        except (TypeError, ValueError) as error:
            raise LabelError("tasks", str(error), "labels are numbers", "Encode classes as 0, 1, ...") from error

    def _items(self, frame: pd.DataFrame, inputs: Any) -> list[tuple[int, Any]]:
        """(row, crystal or what is wrong with its file) of what could be read."""
        if not isinstance(inputs, pd.DataFrame) and Path(inputs).is_dir():
            paths = [Path(inputs, f"{name}.cif") for name in frame["material_id"]]
            return [(row, read_one(path, path.name)) for row, path in enumerate(paths)]
        reader = read_structures(
            frame,
            self.on_error,
            structure_column=self.structure_column or next((c for c in ("structures",) if c in frame), None),
            id_column=self.id_column,
            report=self.report,
        )
        return list(reader.enumerate())


def _read_table(path: Path) -> pd.DataFrame:
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".csv"):
            return pd.read_csv(path)
        if name.endswith(".parquet"):
            return pd.read_parquet(path)
        if name.endswith(".json"):
            raw = path.read_bytes()
            content = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
            split = isinstance(content, dict) and {"columns", "data"} <= set(content)
            return pd.DataFrame(content["data"], columns=content["columns"]) if split else pd.DataFrame(content)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise UnsupportedFileError(str(path), str(error), "a table can be read", "Check the file.") from error
    raise UnsupportedFileError(
        str(path), f"suffix {path.suffix!r}", "tables are .csv, .json or .parquet", "Convert it."
    )
