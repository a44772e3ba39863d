"""An index of more crystals than memory holds: shards on disk, compressed vectors to search by, exact answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..bulk.output import ShardedOutput
from ..crystals.checksums import RecordedFile
from ..errors import CrystalInputError, IndexFolderError, OnError, QueryError, Report, counted
from .answers import Answers, Neighbor
from .filters import Filter
from .mapped_tables import REMEDY
from .pattern_search import PatternSearch
from .queries import distinct_names
from .segments import Segment
from .sharded_layout import MANIFEST, PATTERNS, SPACING, VECTORS, Layout
from .sharded_gallery import Files, ShardedGallery
from .stored_rows import Lookup, StoredColumns, StoredRows

if TYPE_CHECKING:
    from ..bulk.engines import EngineName
    from ..crystals.disorder import Disorder
    from ..crystals.records import Crystal
    from ..models.pretraining import CrystalSSLModel
    from .index import EmbeddingIndex
    from .pattern_answers import PatternAnswer


class ShardedIndex(PatternSearch):
    """Crystals by the hundred thousand or the hundred million, searched on disk.

    Vectors, structures and facts stay in the files that the workers wrote; in memory are the cells of the search, about
    ten megabytes. A query is compared with the codes of the crystals in the cells nearest to it, and the best
    400 of them by their vectors. Made by :meth:`build` or :meth:`load`.

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    IndexFolderError
        If the folder holds no sharded index, or a part of it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> folder = tempfile.mkdtemp() + "/index"
    >>> index = ShardedIndex.build(bundled_prototypes()[:60], folder, model="small", engine="serial", progress=False)
    >>> len(index), index.query("AB_cF8_216_c_a", k=2).to_frame()["formula"].tolist()
    (60, ['FeCu2SnS4', 'In2S3'])
    """

    gallery: ShardedGallery

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._layout = Layout.read(self.folder)
        try:
            self._outputs = [ShardedOutput(self.folder / name) for name in self._layout.groups]
        except CrystalInputError as error:
            raise IndexFolderError(error.item, error.value, error.rule, error.remedy) from error
        self.structures = StoredRows(self._outputs)
        digests = tuple(str(line.get("sha256"))[:16] for output in self._outputs for line in output.lines)
        if digests != self._layout.shards:
            raise IndexFolderError(str(folder), "rows that have changed since the index was joined",
                                   "an index is joined of the rows that are there",
                                   "Run the command that built the index again.")  # fmt: skip
        if len(self.structures) != self._layout.crystals:
            raise IndexFolderError(str(folder), f"{len(self.structures)} crystals, {MANIFEST} says "
                                   f"{self._layout.crystals}")  # fmt: skip
        self.gallery = ShardedGallery(self._files(), self._embed)
        self._model: CrystalSSLModel | None = None

    def _files(self) -> Files:
        """What is searched, with its checksums."""
        layout, folder, known = self._layout, self.folder, self._layout.files
        columns = StoredColumns(folder / layout.columns, known.get(layout.columns)) if layout.columns else None
        if columns is not None and len(columns) != layout.crystals:
            raise IndexFolderError(str(folder / layout.columns), f"{len(columns)} rows of {layout.crystals}")
        return Files(
            self.structures,
            columns,
            {
                VECTORS: [Segment(folder / name, known.get(name)) for name in layout.segments],
                PATTERNS: [Segment(folder / name, known.get(name)) for name in layout.pattern_segments],
            },
            [Lookup(folder / name, known.get(name)) for name in layout.ids],
            [Lookup(folder / name, known.get(name)) for name in layout.compounds],
            np.asarray(RecordedFile(folder / SPACING, known.get(SPACING), IndexFolderError, REMEDY).map_array()),
        )

    @classmethod
    def build(
        cls,
        source: Any,
        folder: str | Path,
        model: str | Path | None = None,
        metadata: pd.DataFrame | pd.Series | None = None,
        *,
        patterns: bool = False,
        space_groups: bool = False,
        disorder: Disorder = "refuse",
        engine: EngineName = "processes",
        workers: int | None = None,
        address: Any = None,
        shard: tuple[int, int] | None = None,
        size: int | None = None,
        progress: bool | None = None,
    ) -> ShardedIndex | None:
        """Compute the shards of an index by an engine, and join them; called again, only what is missing is done.

        A crystal whose id comes again is a row of its own; a query by that id stands for all of them.

        Parameters
        ----------
        source, engine, workers, address, shard, size, progress
            As in :func:`~deepchem_crystalssl.bulk.map_shards`.
        folder : str or Path
            Of the index. If it holds an index of the same source already, what is new in the source is added, and
            what is there is not built again.
        model : str or Path, optional
            Name of a model, or folder of a trained one, which is copied into the index; by default "general".
        metadata : pandas.DataFrame or pandas.Series, optional
            Matched by id, as in :func:`~deepchem_crystalssl.build_index`.
        patterns : bool
            Whether the index will be searched by measured patterns.
        space_groups : bool
            Whether space groups are found, about 3 ms for a crystal, so that answers show them and filters use them.
        disorder : {"refuse", "dominant", "average"}
            What is done with partial occupancies.

        Returns
        -------
        ShardedIndex or None
            None if ``shard`` is given: one more call without it joins the shards.
        """
        from .sharded_building import build_sharded

        built = build_sharded(
            source, Path(folder), model, metadata, patterns=patterns, space_groups=space_groups, disorder=disorder,
            engine=engine, workers=workers, address=address, shard=shard, size=size, progress=progress,
        )  # fmt: skip
        return cls(folder) if built else None

    @classmethod
    def load(cls, folder: str | Path) -> ShardedIndex:
        """From a folder.

        Raises
        ------
        IndexFolderError
            If it holds none.
        """
        return cls(folder)

    def add(self, source: Any, metadata: pd.DataFrame | pd.Series | None = None, **options: Any) -> None:
        """Add the crystals of another source, without building again what is there.

        Parameters
        ----------
        source, metadata
            As in :meth:`build`.
        **options
            ``engine``, ``workers``, ``address``, ``size`` and ``progress`` of :meth:`build`.
        """
        from .sharded_building import build_sharded

        build_sharded(source, self.folder, None, metadata, more=True, **options)
        self.__init__(self.folder)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.structures)

    def __repr__(self) -> str:
        crystals, held = counted(len(self), "crystal"), ", patterns" if self._layout.patterns else ""
        return f"ShardedIndex({self.folder}, {crystals}, model {self._layout.model}, structures{held})"

    def _repr_html_(self) -> str:
        from .displays import facts_html

        holds = "structures, patterns" if self._layout.patterns else "structures"
        parts = f"{counted(len(self._layout.shards), 'shard')}, {counted(len(self._layout.segments), 'segment')}"
        facts = {"folder": str(self.folder), "space": f"{VECTORS}, {counted(self.gallery.width, 'column')}",
                 "model": self._layout.model, "holds": holds, "parts": parts,
                 "known": ", ".join(self.columns)}  # fmt: skip
        return facts_html(f"Index of {len(self):,} crystals on disk", facts)

    @property
    def columns(self) -> list[str]:
        """Names of what is known of the crystals, which a Filter can use."""
        own = [name for name in ("material_id", "formula", "chemical_system", "num_sites", "space_group")
               if name in self.structures.columns]  # fmt: skip
        given = self.gallery.files.columns
        return own + (given.columns if given else [])

    @property
    def report(self) -> Report:
        """The items that were left out, and why."""
        report = Report()
        for output in self._outputs:
            report.extend(output.report)
        return report

    @property
    def model(self) -> CrystalSSLModel:
        """The model that embeds queries, read when it is first needed.

        Raises
        ------
        IndexFolderError
            If the model of this name is not the one that made the vectors.
        """
        if self._model is None:
            from ..bulk.steps import opened

            model, digest = opened(self._layout.model_in(self.folder))
            if digest != self._layout.weights:
                raise IndexFolderError(
                    f"model {self._layout.model}", f"weights {digest}; the index has {self._layout.weights}",
                    "an index is searched with the model that made its vectors",
                    "Use the package version that built the index, or build it again.",
                )  # fmt: skip
            self._model = model
        return self._model

    def _embed(self, crystal: Crystal) -> np.ndarray:
        return self.model.embed([crystal], space=VECTORS, disorder="average", progress=False)[0]

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
        """The crystals most similar to a given one, as :meth:`EmbeddingIndex.query` finds them.

        Parameters
        ----------
        x, k, unlike, filter, include_self
            As in :meth:`EmbeddingIndex.query <deepchem_crystalssl.EmbeddingIndex.query>`.
        exact : bool, optional
            Whether the query is compared with every crystal; by default in indices of up to 20,000 crystals.

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
        """The answers to many queries; a bad one gets no answers. Takes the arguments of :meth:`query`."""
        return self.gallery.search_each(items, k, filter, exact, on_error, report)

    def _identify(self, conditions: Sequence[Filter], candidates: int, **options: Any) -> PatternAnswer:
        from .phases import identify

        if PATTERNS not in self.structures.columns:
            raise QueryError("index", "no patterns", "this index was built without the vectors of patterns",
                             "Build it with patterns=True.")  # fmt: skip
        allowed = np.logical_and.reduce([self.gallery.mask(condition) for condition in conditions])
        if not allowed.any():
            raise QueryError("filter", "no crystal is left", "at least one crystal must fulfil the conditions",
                             "Loosen the conditions.")  # fmt: skip
        retrieve = partial(self.gallery.nearest_patterns, k=candidates, allowed=allowed)
        return identify(model=self.model, retrieve=retrieve, structures=self.structures, names=_Names(self), **options)

    def select(self, rows: Sequence[int] | np.ndarray) -> EmbeddingIndex:
        """Some rows as an index in memory, in that order: for the map, the page, concepts and all else.

        Parameters
        ----------
        rows : array-like of int

        Returns
        -------
        EmbeddingIndex
        """
        from .index import EmbeddingIndex

        rows = np.asarray(rows, np.int64)
        known = pd.DataFrame(self.gallery.known(rows))
        ids = distinct_names(known["material_id"].tolist())
        own = ["material_id", "formula", "chemical_system", "num_sites"]
        metadata = known.drop(columns=own, errors="ignore").set_axis(pd.Index(ids, name="material_id"))
        if not self.gallery.has_space_groups:  # unknown, and not to be found for each crystal now
            metadata["space_group"] = pd.array([pd.NA] * len(metadata), "Int64")
        patterns = self.structures.vectors(rows, PATTERNS) if PATTERNS in self.structures.columns else None
        crystals = [self.structures[int(row)] for row in rows]
        return EmbeddingIndex.build(
            self.gallery.vectors_of(rows), ids, crystals, self._layout.model_in(self.folder), metadata,
            pattern_embeddings=patterns,
        )  # fmt: skip

    def sample(self, n: int, seed: int = 0) -> EmbeddingIndex:
        """So many crystals chosen at random, or all if there are no more, as an index in memory."""
        rows = np.random.default_rng(seed).permutation(len(self))[:n]
        return self.select(np.sort(rows))


class _Names(Sequence):
    """The ids of a sharded index by row, read one at a time."""

    def __init__(self, index: ShardedIndex):
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, row: Any) -> Any:
        return self._index.structures.known([row])[0]["material_id"]
