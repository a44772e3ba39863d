"""What an index is made of, as one record that never changes: vectors, table, structures, model and map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .catalogue import Crystals, Joined, catalogue
from ..crystals.checksums import StoredArray
from ..crystals.formats.tables import as_ids
from ..errors import IndexFolderError, QueryError, counted
from .materials_map import MaterialsMap
from .vectors import unit_rows

if TYPE_CHECKING:
    from ..models.embedding import Space
    from ..models.pretraining import CrystalSSLModel


class ModelReference:
    """The model of an index: a name or a folder until it is needed, then the opened model.

    Parameters
    ----------
    model : str, Path or CrystalSSLModel
    opened : CrystalSSLModel, optional
        If a named model is open already.
    is_part : bool
        Whether the model is a folder within that of the index, and is copied with it.
    is_checked : bool
        Whether it is known that this model made the vectors; weights of a name may have changed since.
    """

    def __init__(
        self,
        model: str | Path | CrystalSSLModel,
        opened: CrystalSSLModel | None = None,
        is_part: bool = False,
        is_checked: bool = True,
    ):
        self.is_part, self.is_checked = is_part, is_checked
        self.name = os.fspath(model) if isinstance(model, str | os.PathLike) else None
        self._opened = model if opened is None and not isinstance(model, str | os.PathLike) else opened

    @property
    def opened(self) -> CrystalSSLModel:
        """The model, read when it is first asked for."""
        if self._opened is None:
            if not self.is_part and not self.is_checked and Path(str(self.name)).name != self.name:
                raise IndexFolderError(
                    f"model {self.name}", "a folder outside that of the index",
                    "an index names a model that comes with the package, or holds a copy",
                    "Copy the folder of the model into that of the index, under the name model.",
                )  # fmt: skip
            from ..models.pretrained import load_encoder

            self._opened = load_encoder(self.name)
        return self._opened


_ALIKE = 0.99


@dataclass(frozen=True)
class IndexParts:
    """The parts of an index of n crystals, row by row.

    Attributes
    ----------
    vectors : numpy.ndarray or StoredArray
        float32 (n, F), of length 1.
    table : pandas.DataFrame
        material_id and all else that is known, n rows.
    structures : Crystals, optional
    model : ModelReference, optional
    space : {"similarity", "shared", "pattern", "descriptor"}
        Space of the vectors.
    pattern_vectors : numpy.ndarray or StoredArray, optional
        float32 (n, P) of the simulated patterns; zeros where a crystal has none.
    spacing : numpy.ndarray, optional
        Distances of a sample of crystals to their nearest neighbours, ascending.
    map : MaterialsMap, optional
        It may lack positions of crystals that were added later (NaN).
    """

    vectors: np.ndarray | StoredArray
    table: pd.DataFrame
    structures: Crystals | None = None
    model: ModelReference | None = None
    space: Space = "similarity"
    pattern_vectors: np.ndarray | StoredArray | None = None
    spacing: np.ndarray | None = None
    map: MaterialsMap | None = None

    def __len__(self) -> int:
        return len(self.table)

    def opened_model(self) -> CrystalSSLModel | None:
        """The model, after a look whether it gives the first crystal the vector that the index has.

        Raises
        ------
        IndexFolderError
            If it does not: the weights of this name are others than when the index was built.
        """
        if self.model is None:
            return None
        model = self.model.opened
        if not self.model.is_checked and self.structures is not None and len(self):
            options: dict[str, Any] = {"space": self.space, "disorder": "average", "on_error": "skip"}
            found = unit_rows(model.embed([self.structures[0]], **options, progress=False))
            if len(found) and (
                found.shape[1] != self.vectors.shape[1] or found[0] @ np.asarray(self.vectors)[0] < _ALIKE
            ):
                raise IndexFolderError(
                    f"model {self.model.name}",
                    f"it gives {self.table['material_id'].iloc[0]} another vector than the index has",
                    "an index is searched with the model that made its vectors",
                    "The weights have changed since: build the index again with this version.",
                )
            self.model.is_checked = True
        return model

    def select(self, rows: np.ndarray) -> IndexParts:
        """The crystals of some rows, which stay where they are on the map."""
        return replace(
            self,
            vectors=np.asarray(self.vectors)[rows],
            table=self.table.iloc[rows].reset_index(drop=True),
            structures=None if self.structures is None else Joined.of(self.structures).select(rows),
            pattern_vectors=None if self.pattern_vectors is None else np.asarray(self.pattern_vectors)[rows],
            spacing=None,
            map=None if self.map is None else self.map.select(rows),
        )

    def with_columns(self, columns: pd.DataFrame) -> IndexParts:
        """The same crystals with more columns in the table, whose rows come in the same order."""
        return replace(self, table=pd.concat([self.table, columns.set_axis(self.table.index)], axis=1))

    def with_values_as(self, table: pd.DataFrame) -> IndexParts:
        """The same crystals with model values, if another table has all columns of these and their own has none."""
        if self.structures is None:
            return self
        from ..physics.values import VALUE_COLUMNS, model_values

        if not {*VALUE_COLUMNS} <= {*table} or {*VALUE_COLUMNS} & {*self.table}:
            return self
        crystals = map(self.structures.__getitem__, range(len(self)))
        return self.with_columns(model_values(crystals, disorder="average", progress=False))

    def joined(self, other: IndexParts) -> IndexParts:
        """These crystals and then those of another record, which are not on the map yet.

        Raises
        ------
        QueryError
            If the vectors differ in length, or only one of both has structures.
        """
        width, columns = self.vectors.shape[1], other.vectors.shape[1]
        if width != columns:
            raise QueryError("embeddings", counted(columns, "column"), f"the vectors of the index have {width}",
                             f"Embed new crystals with the index's model, in the space {self.space!r}.")  # fmt: skip
        structures = None
        if self.structures is not None and other.structures is not None:
            structures = Joined.of(self.structures, other.structures)
        elif self.structures is not None or other.structures is not None:
            raise QueryError("structures", "some without", "either all crystals of an index have a structure, or none",
                             "Give structures= if the index has structures, and only then.")  # fmt: skip
        return replace(
            self,
            vectors=np.concatenate([np.asarray(self.vectors), np.asarray(other.vectors)]),
            table=pd.concat([self.table, other.table], ignore_index=True),
            structures=structures,
            pattern_vectors=None,
            spacing=None,
            map=None if self.map is None else self.map.extended(len(other)),
        )


def assemble(
    embeddings: Any,
    material_ids: Sequence[Any],
    structures: Any = None,
    model: ModelReference | None = None,
    metadata: pd.DataFrame | pd.Series | None = None,
    space: Space = "similarity",
    pattern_embeddings: Any = None,
) -> IndexParts:
    """Check and join the parts, as :meth:`EmbeddingIndex.build <deepchem_crystalssl.EmbeddingIndex.build>` takes them.

    Raises
    ------
    QueryError
        If the parts do not match or an embedding is not finite.
    """
    ids = as_ids(material_ids)
    vectors = np.asarray(embeddings, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise QueryError("embeddings", f"shape {vectors.shape} for {counted(len(ids), 'id')}",
                         "embeddings are rows of numbers, one for each id", "Check ids and embeddings.")  # fmt: skip
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise QueryError(ids[int(finite.argmin())], "an embedding that is not finite", "embeddings are finite numbers",
                         "Leave out the crystal, or embed it again.")  # fmt: skip
    patterns = None if pattern_embeddings is None else unit_rows(pattern_embeddings)
    if patterns is not None and len(patterns) != len(ids):
        raise QueryError("pattern_embeddings", f"{len(patterns)} for {counted(len(ids), 'id')}",
                         "each id has exactly one", "Give a row of zeros for a crystal without a pattern.")  # fmt: skip
    crystals = _as_crystals(structures, ids)
    return IndexParts(unit_rows(vectors), catalogue(ids, crystals, metadata), crystals, model, space, patterns)


def _as_crystals(structures: Any, ids: list[str]) -> Crystals | None:
    if structures is None:
        return None
    from ..crystals.formats.convert import to_crystal
    from ..crystals.store import RecordStore

    if isinstance(structures, RecordStore | Joined):
        return structures
    given = list(structures)
    return given if len(given) != len(ids) else [to_crystal(one, name) for one, name in zip(given, ids, strict=True)]
