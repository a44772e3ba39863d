"""An index of crystals by their embeddings: what is like this?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.convert import to_crystal
from ..errors import CrystalInputError, OnError, QueryError, Report
from ..crystals.records import Crystal
from ..crystals.reading import read_structures
from ..crystals.store import RecordStore
from ..crystals.tables import as_ids
from ..models.embedding import Space
from ..models.pretraining import CrystalSSLModel
from ..models.pretrained import open_model
from . import storage
from .answers import Answers, Neighbor
from .catalogue import Crystals, Joined, catalogue
from .coloring import coloring
from .filters import Filter
from .gallery import Gallery
from .phases import PatternAnswer, identify, pattern_vectors
from .pictures import Picture, draw_map
from .projection import MaterialsMap, make_map, place_new
from .queries import Asked, checked_k, distinct_names, is_several, resolve
from .vectors import nearest_to_any, unit_rows

_UNLIKE = 0.5


class EmbeddingIndex:
    """Crystals by their embeddings, what is known of them, and the model that embeds queries.

    Made by :meth:`build`, :meth:`from_structures` or :meth:`load`.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> index = EmbeddingIndex.from_structures(bundled_prototypes(), model="small", progress=False)
    >>> index.query("CaTiO3", k=2).to_frame()[["formula", "shares"]].values.tolist()
    [['LiNbO3', 'O, ABC3'], ['LiNbO3', 'O, ABC3']]
    """

    def __init__(
        self,
        vectors: np.ndarray,
        table: pd.DataFrame,
        structures: Crystals | None = None,
        model: str | Path | CrystalSSLModel | None = None,
        space: Space = "similarity",
        pattern_vectors: np.ndarray | None = None,
        spacing: np.ndarray | None = None,
        map: MaterialsMap | None = None,
    ):
        self.gallery = Gallery(vectors, table, spacing)
        self.structures = structures
        self.space = space
        self._model = model
        self._pattern_vectors = pattern_vectors
        self._map = map

    @classmethod
    def build(
        cls,
        embeddings: Any,
        ids: Sequence[str],
        structures: Any = None,
        model: str | Path | CrystalSSLModel | None = None,
        metadata: pd.DataFrame | None = None,
        *,
        space: Space = "similarity",
        pattern_embeddings: Any = None,
    ) -> EmbeddingIndex:
        """From what is there already.

        Parameters
        ----------
        embeddings : array-like (n, F)
            Scaled to length 1: distances are 1 - cosine.
        ids : sequence of str
        structures : sequence of crystals or RecordStore, optional
            For what crystals share, for their patterns and to be shown; in the order of ids.
        model : str, Path or CrystalSSLModel, optional
            What made the embeddings, for queries by structure or pattern.
        metadata : pandas.DataFrame, optional
            What else is known, matched by id: with a column ``material_id``, ``id`` or ``name``, or an index of ids.
        space : {"similarity", "shared", "pattern", "descriptor"}
            Of the embeddings; see :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>`.
        pattern_embeddings : array-like (n, P), optional
            Of the simulated patterns; otherwise computed when the first pattern is looked for.

        Raises
        ------
        QueryError
            If lengths differ, ids are not unique or an embedding is not finite.
        """
        ids = as_ids(ids)
        vectors = np.asarray(embeddings, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(ids):
            raise QueryError("embeddings", f"shape {vectors.shape} for {len(ids)} ids", "one vector goes with one id")
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise QueryError(ids[int(finite.argmin())], "an embedding that is not finite", "vectors are finite")
        if structures is not None and not isinstance(structures, RecordStore):
            structures = list(structures)
            if len(structures) == len(ids):
                structures = [to_crystal(entry, name) for entry, name in zip(structures, ids, strict=True)]
        table = catalogue(ids, structures, metadata)
        patterns = None if pattern_embeddings is None else unit_rows(pattern_embeddings)
        if patterns is not None and len(patterns) != len(ids):
            raise QueryError("pattern_embeddings", f"{len(patterns)} for {len(ids)} ids", "each id has exactly one")
        return cls(unit_rows(vectors), table, structures, model, space, patterns)

    @classmethod
    def from_structures(
        cls,
        source: Any,
        model: str | Path | CrystalSSLModel | None = None,
        metadata: pd.DataFrame | None = None,
        *,
        patterns: bool = False,
        on_error: OnError = "skip",
        report: Report | None = None,
        progress: bool | None = None,
    ) -> EmbeddingIndex:
        """From crystals alone: they are read and embedded. An id that comes again goes on as "id (2)".

        Parameters
        ----------
        source
            Anything :func:`~deepchem_crystalssl.read_structures` reads.
        model : str, Path or CrystalSSLModel, optional
            By default the general model.
        metadata : pandas.DataFrame, optional
            Matched by id, as :meth:`build` does.
        patterns : bool
            Whether their powder patterns are embedded at once, or when the first pattern is looked for.
        on_error, report, progress
            As in :func:`~deepchem_crystalssl.structures_to_graphs`.
        """
        report = Report() if report is None else report
        opened = model if isinstance(model, CrystalSSLModel) else open_model(model)
        crystals = list(read_structures(source, on_error, report=report, progress=progress))
        later = Report()
        vectors = opened.embed(crystals, space="similarity", on_error=on_error, report=later, progress=progress)
        lost = {error.index for error in later}
        report.extend(later)
        crystals = [crystal for k, crystal in enumerate(crystals) if k not in lost]
        ids = distinct_names([crystal.material_id for crystal in crystals])
        index = cls.build(vectors, ids, crystals, opened if model is None else model, metadata)
        if model is None:
            index._model = "general"
        index.__dict__["model"] = opened
        if patterns:
            index._embed_patterns(progress)
        return index

    def __len__(self) -> int:
        return len(self.gallery)

    @property
    def table(self) -> pd.DataFrame:
        """material_id and all that is known of each crystal: where a Filter looks."""
        return self.gallery.table

    @property
    def vectors(self) -> np.ndarray:
        """float32 (n, F), of length 1."""
        return self.gallery.vectors

    def __repr__(self) -> str:
        return f"EmbeddingIndex({len(self)} crystals, {self.vectors.shape[1]} columns)"

    @property
    def has_model(self) -> bool:
        """Whether structures and patterns can be asked for."""
        return self._model is not None

    @cached_property
    def model(self) -> CrystalSSLModel:
        """The model that embeds queries.

        Raises
        ------
        QueryError
            If the index was built without.
        """
        if self._model is None:
            raise QueryError("index", "no model", "structures and patterns are embedded by the index's model",
                             "Give model= when building it, or ask by id or vector.")  # fmt: skip
        return self._model if isinstance(self._model, CrystalSSLModel) else open_model(self._model)

    def query(
        self,
        x: Any,
        k: int = 10,
        *,
        unlike: Sequence[Any] = (),
        filter: Filter | None = None,
        exact: bool | None = None,
        include_self: bool = False,
    ) -> Answers[Neighbor]:
        """The crystals nearest to something.

        Parameters
        ----------
        x
            An id, a formula (all crystals of it), a structure (of mixed sites the average) or the path of its file, a
            vector (F,); or a list of these: crystals like all of them.
        k : int
        unlike : sequence
            Of the same kinds: crystals not like these; they count half (Rocchio 1971).
        filter : Filter, optional
            Which crystals may be answers.
        exact : bool, optional
            Every crystal is looked at; by default up to ``EXACT_UP_TO`` of them. Else those of the nearest cells.
        include_self : bool
            Whether the crystals asked by may be answers.

        Raises
        ------
        QueryError, CrystalInputError
            If there is no such crystal in the index, or no crystal in the file.
        """
        wanted = self._resolve(x)
        vector, own = wanted.vector, wanted.rows
        if len(unlike := unlike if is_several(unlike) else [unlike]):
            unwanted = self._resolve(unlike)
            vector, own = vector - _UNLIKE * unwanted.vector, own + unwanted.rows
        own = [] if include_self else own
        rows, distances = self.gallery.nearest(unit_rows(vector[None]), k, filter, exact, own)
        return self.gallery.answer(rows[0], distances[0], wanted.facts)

    def query_each(
        self,
        items: Iterable[Any],
        k: int = 10,
        *,
        filter: Filter | None = None,
        exact: bool | None = None,
        on_error: OnError = "raise",
        report: Report | None = None,
    ) -> list[Answers[Neighbor]]:
        """The answers to many queries, each as :meth:`query` takes them; one that cannot be asked has none.

        Parameters
        ----------
        items : iterable
        k, filter, exact
            As in :meth:`query`.
        on_error, report
            As in :func:`~deepchem_crystalssl.structures_to_graphs`.
        """
        k, report = checked_k(k), Report() if report is None else report
        asked: list[Asked | None] = []
        for position, item in enumerate(items):
            try:
                asked.append(self._resolve(item))
            except CrystalInputError as error:
                report.handle(error, on_error, position)
                asked.append(None)
        good = [one for one in asked if one is not None]
        answers: list[Answers[Neighbor]] = [Answers([]) for _ in asked]
        if good:
            more = max(len(one.rows) for one in good)
            queries = unit_rows(np.stack([one.vector for one in good]))
            found = iter(zip(good, *self.gallery.nearest(queries, k + more, filter, exact, []), strict=True))
            for position, one in enumerate(asked):
                if one is not None:
                    _, rows, distances = next(found)
                    kept = ~np.isin(rows, one.rows)
                    answers[position] = self.gallery.answer(rows[kept][:k], distances[kept][:k], one.facts)
        return answers

    def _resolve(self, item: Any) -> Asked:
        def embed(crystal: Crystal) -> np.ndarray:
            return self.model.embed([crystal], space=self.space, disorder="average", progress=False)[0]

        if not is_several(item):
            return resolve(item, self.gallery, embed)
        parts = [resolve(one, self.gallery, embed) for one in item]
        if not parts:
            raise QueryError("query", "an empty list", "a search needs at least one crystal to compare with")
        vector = np.mean([part.vector for part in parts], axis=0)
        return Asked(vector, [row for part in parts for row in part.rows], parts[0].facts if len(parts) == 1 else None)

    def query_pattern(
        self,
        two_theta: Any,
        intensity: Any = None,
        wavelength: str | float | None = None,
        k: int = 10,
        elements: Sequence[str] | None = None,
        *,
        filter: Filter | None = None,
        candidates: int = 300,
    ) -> PatternAnswer:
        """Which known crystals a measured powder pattern may be of.

        Candidates are retrieved by the pattern encoder among the vectors of simulated patterns, then the pattern of
        each is fitted to the measurement; see :mod:`~deepchem_crystalssl.search.phases`.

        Parameters
        ----------
        two_theta : array-like (n,) or path
            Angles, degrees, or a file, as :func:`~deepchem_crystalssl.prepare_measured_pattern` reads them.
        intensity : array-like (n,), optional
            Counts as measured, with their background; left out for a file.
        wavelength : str or float, optional
            Radiation by name, or in Å. By default that which the file states, else Cu K-alpha; the answer says so.
        k : int
        elements : sequence of str, optional
            Elements besides which the sample has none.
        filter : Filter, optional
            What else the answers must be.
        candidates : int
            How many are fitted.

        Raises
        ------
        PatternError
            If the measurement cannot be used.
        QueryError
            If the index has no structures or no model, or no crystal is left by the filters.
        """
        if self.structures is None:
            raise QueryError("index", "no structures", "patterns are simulated from structures",
                             "Give structures= when building it.")  # fmt: skip
        allowed = np.ones(len(self), bool) if filter is None else filter.mask(self.table)
        if elements is not None:
            allowed &= Filter(only=elements).mask(self.table)
        vectors = self._embed_patterns()
        allowed &= np.asarray(vectors).any(axis=1)
        if not allowed.any():
            raise QueryError("filter", "no crystal is left", "at least one crystal must pass", "Ask for less.")

        retrieve = partial(nearest_to_any, vectors, k=candidates, allowed=allowed)
        names = self.table["material_id"].tolist()
        return identify(two_theta, intensity, wavelength, checked_k(k), self.model, retrieve, self.structures, names)

    def _embed_patterns(self, progress: bool | None = None) -> np.ndarray:
        """Vectors of the simulated patterns, zeros where a crystal has none."""
        if self._pattern_vectors is None:
            assert self.structures is not None
            crystals = map(self.structures.__getitem__, range(len(self)))
            self._pattern_vectors = pattern_vectors(self.model, crystals, len(self), progress)
        return self._pattern_vectors

    @property
    def has_map(self) -> bool:
        """Whether the map is laid out already."""
        return self._map is not None

    @property
    def map(self) -> MaterialsMap:
        """Where the crystals are in two dimensions; laid out when first asked for, by :meth:`make_map`."""
        if self._map is None:
            return self.make_map()
        if len(self._map.neighbors) != len(self):
            self._map = place_new(self._map.positions, self.vectors)
        return self._map

    def make_map(self, seed: int = 0, progress: bool | None = None) -> MaterialsMap:
        """Lay out the map anew; see :func:`~deepchem_crystalssl.search.projection.make_map`."""
        self._map = make_map(self.vectors, seed, progress)
        return self._map

    def plot_map(self, color: str = "anion_class") -> Picture:
        """A picture of the map, coloured by a column, by ``anion_class`` or ``crystal_system``, or by an element."""
        return draw_map(self.map.positions, coloring(self.table, color))

    def keep_map(self, folder: str | Path) -> None:
        """Write the map alone into the folder the index was loaded from."""
        storage.save_map(folder, self.map)

    def add(
        self, embeddings: Any, ids: Sequence[str], structures: Any = None, metadata: pd.DataFrame | None = None
    ) -> None:
        """More crystals, as :meth:`build` takes them; an id the index has is replaced."""
        new = self.build(embeddings, ids, structures, None, metadata)
        if new.vectors.shape[1] != self.vectors.shape[1]:
            raise QueryError("embeddings", f"{new.vectors.shape[1]} columns", f"the index has {self.vectors.shape[1]}")
        if (new.structures is None) != (self.structures is None):
            raise QueryError("structures", "some without", "either all crystals of an index have a structure, or none")
        self.remove([name for name in new.table["material_id"] if name in self.gallery.row_of])
        vectors = np.concatenate([self.vectors, new.vectors])
        table = pd.concat([self.table, new.table], ignore_index=True)
        structures = None
        if self.structures is not None and new.structures is not None:
            structures = Joined.of(self.structures, new.structures)
        self._become(vectors, table, structures)

    def remove(self, ids: Iterable[str]) -> None:
        """Forget crystals.

        Raises
        ------
        QueryError
            If the index does not have one.
        """
        gone = list(ids)
        for name in gone:
            if name not in self.gallery.row_of:
                raise QueryError(str(name), "not in the index", "only what is there can be removed")
        if gone:
            kept = np.setdiff1d(np.arange(len(self)), [self.gallery.row_of[name] for name in gone])
            structures = None if self.structures is None else Joined.of(self.structures).select(kept)
            self._become(self.vectors[kept], self.table.iloc[kept].reset_index(drop=True), structures, kept)

    def _become(
        self, vectors: np.ndarray, table: pd.DataFrame, structures: Crystals | None, kept: np.ndarray | None = None
    ) -> None:
        """Take over new rows."""
        patterns = self._pattern_vectors if kept is not None else None
        if self._map is not None:
            self._map = self._map.moved(kept, len(vectors))
        self.gallery, self.structures = Gallery(vectors, table), structures
        self._pattern_vectors = None if patterns is None else patterns[kept]

    def save(self, folder: str | Path) -> None:
        """Write into a folder, without pickle; an index that is there is replaced when the new one is whole.

        Raises
        ------
        IndexFolderError
            If the folder holds something else.
        """
        storage.save(
            folder, self.vectors, self.table, self.structures, self._model, self.space, self._pattern_vectors,
            self.gallery.spacing, None if self._map is None else self.map,
        )  # fmt: skip

    @classmethod
    def load(cls, folder: str | Path) -> EmbeddingIndex:
        """From a folder; vectors and structures stay on disk, mapped into memory.

        Raises
        ------
        IndexFolderError
            If it holds no index, or a broken one.
        """
        return cls(**storage.load(folder))
