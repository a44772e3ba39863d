"""Loading labelled crystals into DeepChem datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from deepchem.data import DataLoader, Dataset, DiskDataset, NumpyDataset

from ..crystals.formats.tables import table_ids
from ..crystals.reading import read_structures
from ..crystals.records import Crystal
from ..errors import CrystalInputError, NoCrystalsError, OnError, Report, UnsupportedObjectError, an_object, counted
from .featurizers import BulkFeaturizer, CrystalGraphFeaturizer
from .labels import label_values, labels_and_weights
from .tables import labelled_table


class CrystalLoader(DataLoader):
    """Load crystals with their labels from a table, a folder, or one of matminer's data sets.

    A label that is missing has weight 0. A row whose structure cannot be used is left out together with its labels;
    ``report`` holds its error, with the position of the row as ``index``.

    Parameters
    ----------
    tasks : sequence of str
        Columns of the labels. For a folder whose ``id_prop.csv`` has no header, names for its columns in order.
    structure_column, id_column : str, optional
        Columns of a table; by default as in :func:`~deepchem_crystalssl.read_structures`.
    featurizer : CrystalGraphFeaturizer or XRDFeaturizer, optional
        Makes X of the crystals; by default graphs.
    on_error : {"warn", "skip", "raise"}
        Whether a structure that cannot be used is left out with a warning, is left out (a summary is logged), or
        raises its error.

    Attributes
    ----------
    report : Report
        The errors of the rows that were left out in the last call.

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
        featurizer: BulkFeaturizer | None = None,
        on_error: OnError = "warn",
    ):
        featurizer = CrystalGraphFeaturizer() if featurizer is None else featurizer
        if not isinstance(featurizer, BulkFeaturizer):
            raise UnsupportedObjectError(
                "featurizer",
                an_object(featurizer),
                "CrystalLoader needs a featurizer of this package",
                "Pass a CrystalGraphFeaturizer or an XRDFeaturizer.",
            )
        super().__init__([tasks] if isinstance(tasks, str) else list(tasks), featurizer)
        self.structure_column = structure_column
        self.id_column = id_column
        self.on_error = on_error
        self.report = Report()

    def create_dataset(self, inputs: Any, data_dir: str | None = None, shard_size: int | None = 8192) -> Dataset:
        """Read crystals and labels.

        Parameters
        ----------
        inputs : pandas.DataFrame, str or Path
            * a table with columns of structures and labels, or its file (``.csv``, ``.parquet``, or ``.json`` with a
              list of records or in pandas' "split" form). Structures may be paths of files, which start at the folder
              of the table;
            * a folder with ``id_prop.csv``, whose rows are the name of a file, with or without its suffix, and labels;
            * the name of a data set that ``matminer.datasets`` knows, which matminer downloads once.
        data_dir : str, optional
            Folder for a DiskDataset; by default the dataset is in memory.
        shard_size : int, optional
            Number of crystals in each file of a DiskDataset; by default 8192, None for a single file.

        Returns
        -------
        Dataset
            X of graphs or patterns, y and w (n, n_tasks), and ids as text.

        Raises
        ------
        LabelError
            If a column of labels is missing or holds something that is not a number.
        NoCrystalsError
            If no row holds a crystal that can be used.
        UnsupportedFileError
            If there is no such file, folder or data set, or it cannot be read.
        """
        if shard_size is not None and shard_size < 1:
            raise ValueError(f"shard_size={shard_size}: must be at least 1, or None")
        frame = labelled_table(inputs, self.tasks, self.structure_column, self.id_column)
        values = label_values(frame, self.tasks)
        source = "table" if isinstance(inputs, pd.DataFrame) else str(inputs)
        found, self.report = Report(), Report()
        with self.report.job(self.on_error):
            items = self._read(frame, source)
            results = list(self.featurizer.compute(items, "raise" if self.on_error == "raise" else "skip", found))
            for error in found:
                self.report.handle(error, self.on_error, error.index)
        if self.on_error == "skip":
            self.report.log()
        left_out = set(found.indices)
        rows = [row for row in range(len(items)) if row not in left_out]
        if not rows:
            raise NoCrystalsError(
                source,
                self.report.summary() if items else "a table without rows",
                "at least one row must hold a crystal",
                "Check the column of structures and the paths in it.",
            )
        X = self.featurizer.assemble(len(rows), results, Report())
        y, w = labels_and_weights(values[rows])
        ids = np.empty(len(rows), object)
        ids[:] = [item.material_id for item in (items[row] for row in rows) if isinstance(item, Crystal)]
        if data_dir is None:
            return NumpyDataset(X, y, w, ids)
        parts = np.array_split(np.arange(len(X)), -(-len(X) // (shard_size or len(X))))
        shards = ((X[part], y[part], w[part], ids[part]) for part in parts)
        return DiskDataset.create_dataset(shards, data_dir, self.tasks)

    def _read(self, frame: pd.DataFrame, source: str) -> list[Crystal | CrystalInputError]:
        """The crystal of each row, or the error that says why there is none."""
        found = Report()
        reader = read_structures(
            frame,
            "raise" if self.on_error == "raise" else "skip",
            structure_column=self.structure_column,
            id_column=self.id_column,
            report=found,
        )
        crystals: dict[int, list[Crystal]] = {}
        try:
            for row, crystal in reader.enumerate():
                crystals.setdefault(row, []).append(crystal)
        except NoCrystalsError as error:
            if found or error.index is not None:  # of one row, with on_error="raise"
                raise
            raise NoCrystalsError(
                source,
                error.value,
                "a table needs a column of structures, or the columns atomic_numbers, frac_coords and lattice or cell",
                "Name the column of structures with structure_column, or rename the columns.",
            ) from error
        names = table_ids(frame, self.id_column) or [""] * len(frame)
        errors = {error.index: error for error in reversed(found)}
        items: list[Crystal | CrystalInputError] = []
        for row, name in enumerate(names):
            of_row = crystals.get(row, [])
            if row in errors:
                items.append(errors[row])
            elif len(of_row) == 1:
                items.append(of_row[0] if name in ("", of_row[0].material_id) else replace(of_row[0], material_id=name))
            else:
                items.append(_not_one(name or f"row {row}", of_row))
        return items


def _not_one(name: str, crystals: list[Crystal]) -> CrystalInputError:
    formulas = ", ".join(crystal.reduced_formula for crystal in crystals[:3])
    return UnsupportedObjectError(
        name,
        f"{counted(len(crystals), 'structure')}{formulas and f' ({formulas})'}",
        "a row with labels must hold one structure",
        "Give each structure a row and labels of its own.",
    )
