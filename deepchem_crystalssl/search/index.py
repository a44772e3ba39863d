"""An index of crystals by their embeddings, to be searched for the crystals most similar to a given one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import storage
from .answers import Answers, Neighbor
from ..crystals.formats.tables import as_ids
from ..crystals.work_folders import alone_in, written_to
from ..errors import IndexFolderError, OnError, QueryError, Report, counted
from .filters import Filter, allowed_by
from .gallery import Gallery
from .materials_map import MaterialsMap, place_new
from .parts import IndexParts, ModelReference, assemble
from .pattern_search import PatternSearch

if TYPE_CHECKING:
    from ..crystals.disorder import Disorder
    from ..crystals.records import Crystal
    from ..models.embedding import Space
    from ..models.pretraining import CrystalSSLModel
    from .catalogue import Crystals
    from .pattern_answers import PatternAnswer
    from .pictures import Picture


class EmbeddingIndex(PatternSearch):
    """Crystals with their embeddings, what is known of them, and the model that embeds queries.

    Made by :meth:`build`, :meth:`from_structures` or :meth:`load`. What it holds is an immutable record
    (:class:`~deepchem_crystalssl.search.parts.IndexParts`), which the methods that change the index replace.

    Parameters
    ----------
    parts : IndexParts

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> index = EmbeddingIndex.from_structures(bundled_prototypes(), model="small", progress=False)
    >>> index.query("CaTiO3", k=2).to_frame()[["formula", "space_group"]].values.tolist()
    [['LiNbO3', 167], ['LiNbO3', 161]]
    """

    gallery: Gallery

    def __init__(self, parts: IndexParts):
        self._become(parts)

    @classmethod
    def build(
        cls,
        embeddings: Any,
        ids: Sequence[Any],
        structures: Any = None,
        model: str | Path | CrystalSSLModel | None = None,
        metadata: pd.DataFrame | pd.Series | None = None,
        *,
        space: Space = "similarity",
        pattern_embeddings: Any = None,
    ) -> EmbeddingIndex:
        """From embeddings that are there already.

        Parameters
        ----------
        embeddings : array-like (n, F)
            They are scaled to length 1: distances are 1 - cosine.
        ids : sequence
            Identifiers of the crystals, compared as text.
        structures : sequence of crystals or RecordStore, optional
            In the order of ids. They give formulas, space groups and patterns, and are shown on the map. Finding the
            space group takes about 3 ms for a crystal.
        model : str, Path or CrystalSSLModel, optional
            The model that made the embeddings, for queries by structure or pattern.
        metadata : pandas.DataFrame or pandas.Series, optional
            What else is known, matched by id: with a column ``material_id``, ``id`` or ``name``, or an index of ids.
            ``formula``, ``chemical_system`` (or ``chemsys``) and ``space_group`` (or ``spacegroup``) are understood; a
            space group that is given here is not computed.
        space : {"similarity", "shared", "pattern", "descriptor"}
            Space of the embeddings; see :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>`.
        pattern_embeddings : array-like (n, P), optional
            Embeddings of the simulated patterns; otherwise they are computed at the first search by a pattern.

        Raises
        ------
        QueryError
            If ids are not unique, the parts do not match, or an embedding is not finite.
        """
        reference = None if model is None else ModelReference(model)
        return cls(assemble(embeddings, ids, structures, reference, metadata, space, pattern_embeddings))

    @classmethod
    def from_structures(
        cls,
        source: Any,
        model: str | Path | CrystalSSLModel | None = None,
        metadata: pd.DataFrame | pd.Series | None = None,
        *,
        patterns: bool = False,
        physics: bool = False,
        disorder: Disorder = "refuse",
        on_error: OnError = "skip",
        report: Report | None = None,
        progress: bool | None = None,
    ) -> EmbeddingIndex:
        """From crystals alone, which are read and embedded. Repeated ids are numbered: "Fe", "Fe (2)".

        Parameters
        ----------
        source
            Anything :func:`~deepchem_crystalssl.read_structures` reads.
        model : str, Path or CrystalSSLModel, optional
            By default the model "general".
        metadata : pandas.DataFrame or pandas.Series, optional
            Matched by id, as :meth:`build` does.
        patterns : bool
            Whether the simulated powder patterns are embedded at once, not at the first search by a pattern.
        physics : bool
            Whether the table has the columns of :func:`~deepchem_crystalssl.physics.values.model_values` too. They hold
            values of a model, as their names say. A crystal of which it has none stays with NaN unless ``on_error`` is
            "raise"; the log says why, and ``report`` lists only crystals that are left out.
        disorder, on_error, report, progress
            As in :func:`~deepchem_crystalssl.structures_to_graphs`.

        Raises
        ------
        NoCrystalsError
            If no crystal of the source can be used.
        QueryError
            If the metadata cannot be matched, or has a column of the name of a model value that is computed.
        """
        from .sources import embed_source

        report = Report() if report is None else report
        index = cls(embed_source(source, model, metadata, physics, disorder, on_error, report, progress))
        if patterns:
            index.embed_patterns(progress)
        return index

    @classmethod
    def load(cls, folder: str | Path) -> EmbeddingIndex:
        """From a folder; vectors and structures stay on disk, mapped into memory.

        Raises
        ------
        IndexFolderError
            If it holds no index, or a broken one.
        """
        return cls(storage.load(folder))

    def save(self, folder: str | Path) -> None:
        """Write into a folder, without pickle; an index that is there is replaced when the new one is whole.

        Raises
        ------
        IndexFolderError
            If the folder holds something else, or the index is empty; if another process writes there, or the disk is
            full or cannot be written to.
        """
        map = self.map if self.has_map else None
        with written_to(folder, IndexFolderError), alone_in(f"{Path(folder)}.saving", IndexFolderError):
            storage.save(folder, replace(self._parts, spacing=self.gallery.spacing, map=map))

    def _become(self, parts: IndexParts) -> None:
        self._parts = parts
        self.gallery = Gallery(parts.vectors, parts.table, self._embed, parts.spacing)

    def _embed(self, crystal: Crystal) -> np.ndarray:
        return self.model.embed([crystal], space=self.space, disorder="average", progress=False)[0]

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        parts = [counted(len(self), "crystal"), f"space {self.space!r}", f"model {self._model_name}", *self._held]
        return f"EmbeddingIndex({', '.join(parts)})"

    def _repr_html_(self) -> str:
        from .displays import facts_html

        space = f"{self.space}, {counted(self.vectors.shape[1], 'column')}"
        facts = {"space": space, "model": self._model_name, "holds": ", ".join(self._held) or "vectors alone"}
        return facts_html(f"Index of {len(self):,} crystals", facts | {"known": ", ".join(map(str, self.table))})

    @property
    def _model_name(self) -> str:
        """The name of the model, which is not opened for it."""
        model = self._parts.model
        if model is None:
            return "none"
        return "of its own" if model.is_part or model.name is None else model.name

    @property
    def _held(self) -> list[str]:
        """What the index holds beside vectors and table."""
        parts = self._parts
        held = {"structures": parts.structures, "patterns": parts.pattern_vectors, "map": parts.map}
        return [name for name, value in held.items() if value is not None]

    @property
    def table(self) -> pd.DataFrame:
        """material_id and all else that is known of each crystal: the columns that a Filter can use."""
        return self._parts.table

    @property
    def vectors(self) -> np.ndarray:
        """float32 (n, F), of length 1."""
        return self.gallery.vectors

    @property
    def structures(self) -> Crystals | None:
        """The crystals, by row."""
        return self._parts.structures

    @property
    def space(self) -> Space:
        """The space of the vectors."""
        return self._parts.space

    @property
    def has_model(self) -> bool:
        """Whether the index can be searched by structures and patterns."""
        return self._parts.model is not None

    @property
    def model(self) -> CrystalSSLModel:
        """The model that embeds queries, read when it is first needed.

        Raises
        ------
        QueryError
            If the index was built without a model.
        IndexFolderError
            If the model of this name does not give the vectors of the index.
        """
        model = self._parts.opened_model()
        if model is None:
            raise QueryError("index", "no model", "structures and patterns are embedded by the index's model",
                             "Give model= when building it, or search by id or vector.")  # fmt: skip
        return model

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
        """The crystals most similar to a given one.

        Parameters
        ----------
        x
            An id, a formula (all crystals of that compound, however it is written), a structure (of mixed sites the
            average counts) or the path of its file, a vector (F,); or a list of these, to find crystals similar to all.
        k : int
            Number of answers.
        unlike : sequence
            Of the same kinds: crystals that the answers should not be similar to. They count half (Rocchio 1971).
        filter : Filter, optional
            Conditions that the answers must fulfil.
        exact : bool, optional
            Whether the query is compared with every crystal; by default in indices of up to 300,000 crystals. Otherwise
            only with those in the cells nearest to it.
        include_self : bool
            Whether the crystals that the query names may be answers.

        Returns
        -------
        Answers of Neighbor

        Raises
        ------
        QueryError, CrystalInputError
            If the index has no such crystal, or a file does not hold exactly one.
        """
        return self.gallery.search(x, k, unlike, filter, exact, include_self)

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
        """The answers to many queries, each as :meth:`query` takes them; a bad one gets no answers.

        Parameters
        ----------
        items : iterable
        k, filter, exact
            As in :meth:`query`.
        on_error, report
            As in :func:`~deepchem_crystalssl.structures_to_graphs`.

        Returns
        -------
        list of Answers of Neighbor
        """
        return self.gallery.search_each(items, k, filter, exact, on_error, report)

    def embed_patterns(self, progress: bool | None = None) -> np.ndarray:
        """Vectors of the simulated patterns, (n, P), zeros where a crystal has none; computed once.

        Raises
        ------
        QueryError
            If the index has no structures or no model.
        """
        if self._parts.pattern_vectors is None:
            from .phases import pattern_vectors

            if self.structures is None:
                raise QueryError("index", "no structures", "patterns are simulated from structures",
                                 "Give structures= when building it.")  # fmt: skip
            crystals = map(self.structures.__getitem__, range(len(self)))
            vectors = pattern_vectors(self.model, crystals, len(self), progress)
            self._parts = replace(self._parts, pattern_vectors=vectors)
        return np.asarray(self._parts.pattern_vectors)

    def _identify(self, conditions: Sequence[Filter], candidates: int, **options: Any) -> PatternAnswer:
        from .phases import identify_among

        allowed = np.logical_and.reduce([allowed_by(condition, self.table) for condition in conditions])
        vectors, names = self.embed_patterns(), self.table["material_id"].tolist()
        assert self.structures is not None
        return identify_among(
            vectors, allowed, self.structures, names, self.model, candidates=candidates, **options
        )  # fmt: skip

    @property
    def has_map(self) -> bool:
        """Whether the map is laid out already."""
        return self._parts.map is not None

    @property
    def map(self) -> MaterialsMap:
        """Positions of the crystals in two dimensions; laid out by :meth:`make_map` when first needed."""
        found = self._parts.map
        if found is None or not np.isfinite(found.positions).any():
            return self.make_map()
        if not found.is_complete:
            found = place_new(found.positions, self.vectors)
            self._parts = replace(self._parts, map=found)
        return found

    def make_map(self, seed: int = 0, progress: bool | None = None) -> MaterialsMap:
        """Lay out the map anew; see :func:`~deepchem_crystalssl.search.projection.make_map`."""
        from .projection import make_map

        found = make_map(self.vectors, seed, progress)
        self._parts = replace(self._parts, map=found)
        return found

    def plot_map(self, color: str = "anion_class") -> Picture:
        """A picture of the map, coloured by a column, by ``anion_class`` or ``crystal_system``, or by an element.

        Raises
        ------
        QueryError
            If there is nothing of that name; the map is not laid out then.
        """
        from .coloring import coloring
        from .pictures import draw_map

        colors = coloring(self.table, color)
        return draw_map(self.map.positions, colors)

    def keep_map(self, folder: str | Path) -> None:
        """Write the map alone into the folder the index was loaded from."""
        with written_to(folder, IndexFolderError), alone_in(folder, IndexFolderError):
            storage.save_map(folder, self.map)

    def add(
        self,
        embeddings: Any,
        ids: Sequence[Any],
        structures: Any = None,
        metadata: pd.DataFrame | pd.Series | None = None,
    ) -> None:
        """Add crystals, as :meth:`build` takes them; a crystal whose id the index has already is replaced.

        If the index has columns of model values, those of the new crystals are computed, unless the metadata have them.
        """
        new = assemble(embeddings, ids, structures, None, metadata).with_values_as(self.table)
        old = ~self.table["material_id"].isin(new.table["material_id"]).to_numpy()
        kept = self._parts if old.all() else self._parts.select(np.flatnonzero(old))
        self._become(kept.joined(new))

    def remove(self, ids: Iterable[Any]) -> None:
        """Remove crystals.

        Raises
        ------
        QueryError
            If the index does not have one of the ids.
        """
        gone = as_ids(ids)
        for name in gone:
            if name not in self.gallery.row_of:
                raise QueryError(name, "not in the index", "only crystals of the index can be removed",
                                 "Check the id; the column material_id of the table lists all.")  # fmt: skip
        if gone:
            self._become(self._parts.select(np.flatnonzero(~self.table["material_id"].isin(gone).to_numpy())))
