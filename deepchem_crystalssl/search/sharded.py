"""An index of more crystals than memory holds: shards on disk, compressed vectors to search by, exact answers."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..bulk.engines import EngineName
from ..bulk.output import ShardedOutput
from ..crystals.disorder import Disorder
from ..errors import CrystalInputError, IndexFolderError, OnError, QueryError, Report, counted
from .answers import Answers, Neighbor
from .catalogue import Facts
from .filters import Filter, known_elements, of_elements
from .formulas import formula_type, read_formula
from .gallery import UNLIKE, neighbors_of
from .queries import Asked, checked_number, resolve, with_direction
from .segments import PROBES, Segment, shortlist
from .sharded_building import MANIFEST, SPACING, Layout, build_sharded
from .stored_rows import Lookup, StoredColumns, StoredRows, compound_key
from .index_rows import PATTERNS, VECTORS
from .vectors import nearest_rows, unit_rows

if TYPE_CHECKING:
    from ..crystals.records import Crystal
    from ..models.pretraining import CrystalSSLModel
    from .index import EmbeddingIndex
    from .pattern_answers import PatternAnswer

EXACT_UP_TO = 20_000
"""Number of crystals up to which a search compares the query with all of them by default."""
SHORTLIST = 400
"""At least so many crystals are compared with the query exactly, and more if more answers are asked for."""


class ShardedIndex:
    """Crystals by the hundred thousand or the hundred million, searched on disk.

    Vectors, structures and facts stay in the files that the workers wrote; in memory are the cells of the search, about
    ten megabytes. A query is compared with the codes of the crystals in the cells nearest to it, and the best
    ``SHORTLIST`` of them by their vectors. Made by :meth:`build` or :meth:`load`.

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

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._layout = Layout.read(self.folder)
        try:
            self._outputs = [ShardedOutput(self.folder / name) for name in self._layout.groups]
        except CrystalInputError as error:
            raise IndexFolderError(str(folder), f"a broken part ({error.item}: {error.value})") from error
        self.structures = StoredRows(self._outputs)
        if len(self.structures) != self._layout.crystals:
            raise IndexFolderError(str(folder), f"{len(self.structures)} crystals, {MANIFEST} says "
                                   f"{self._layout.crystals}")  # fmt: skip
        self._segments = [Segment(self.folder / name) for name in self._layout.segments]
        self._pattern_segments = [Segment(self.folder / name) for name in self._layout.pattern_segments]
        self._by_id = [Lookup(self.folder / name) for name in self._layout.ids]
        self._by_compound = [Lookup(self.folder / name) for name in self._layout.compounds]
        self._columns = StoredColumns(self.folder / self._layout.columns) if self._layout.columns else None
        self._spacing = np.load(self.folder / SPACING, allow_pickle=False)
        self._model: CrystalSSLModel | None = None
        self._masks: dict[str, np.ndarray] = {}

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
        size: int = 8192,
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
        build_sharded(source, self.folder, None, metadata, more=True, **options)
        self.__init__(self.folder)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.structures)

    def __repr__(self) -> str:
        return f"ShardedIndex({self.folder}, {counted(len(self), 'crystal')})"

    @property
    def columns(self) -> list[str]:
        """Names of what is known of the crystals, which a Filter can use."""
        own = [name for name in ("material_id", "formula", "chemical_system", "num_sites", "space_group")
               if name in self.structures.columns]  # fmt: skip
        return own + (self._columns.columns if self._columns else [])

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

    # What a query needs of an index (search.queries.Searched)

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.structures.width(VECTORS)

    @property
    def has_space_groups(self) -> bool:
        """Whether the space groups of the crystals are known."""
        return "space_group" in self.structures.columns

    def rows_named(self, text: str) -> list[int]:
        """The rows of an id, or of a compound by its formula; none if the text is neither."""
        rows = [row for lookup in self._by_id for row in lookup.rows(text) if self._known(row)["material_id"] == text]
        if rows:
            return rows
        found = {}
        for amounts in read_formula(text):
            key = compound_key(amounts)
            rows = [row for lookup in self._by_compound for row in lookup.rows(key)]
            if rows:
                found[self._known(rows[0])["formula"]] = rows
        if len(found) > 1:
            raise QueryError(text, f"may mean {' or '.join(found)}", "a formula names one compound",
                             "Write the symbols of the elements with their capital letters.")  # fmt: skip
        return next(iter(found.values()), [])

    def vectors_of(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """float32 (len(rows), F), of length 1."""
        return unit_rows(self.structures.vectors(rows, VECTORS))

    def facts_of(self, row: int) -> Facts:
        """What is known of a crystal."""
        return Facts.of_row(self._known(row))

    def _known(self, row: int) -> dict[str, Any]:
        return self.structures.known([row], self._columns)[0]

    def _embed(self, crystal: Crystal) -> np.ndarray:
        return self.model.embed([crystal], space=VECTORS, disorder="average", progress=False)[0]

    # Queries

    def query(
        self,
        x: Any,
        k: int = 10,
        *,
        unlike: Sequence[Any] = (),
        filter: Filter | None = None,
        exact: bool | None = None,
        include_self: bool = False,
        probes: int = PROBES,
    ) -> Answers[Neighbor]:
        """The crystals most similar to a given one, as :meth:`EmbeddingIndex.query` finds them.

        Parameters
        ----------
        x, k, unlike, filter, include_self
            As in :meth:`EmbeddingIndex.query <deepchem_crystalssl.EmbeddingIndex.query>`.
        exact : bool, optional
            Whether the query is compared with every crystal; by default in indices of up to 20,000 crystals.
        probes : int
            Number of cells that are looked into.

        Returns
        -------
        Answers of Neighbor

        Raises
        ------
        QueryError, CrystalInputError
            If the index has no such crystal, or a file does not hold exactly one.
        """
        wanted = resolve(x, self, self._embed)
        vector, own = wanted.vector, list(wanted.rows)
        if not isinstance(unlike, Sequence) or len(unlike):
            unwanted = resolve(unlike, self, self._embed)
            vector, own = with_direction(vector - UNLIKE * unwanted.vector), own + unwanted.rows
        left_out = [] if include_self else own
        rows, distances = self.nearest(
            unit_rows(vector[None]), checked_number(k) + len(left_out), filter, exact, probes
        )
        return self._answers(rows[0], distances[0], wanted.facts, left_out, k)

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
        report, asked = Report() if report is None else report, list[Asked | None]()
        with report.job(on_error):
            for position, item in enumerate(items):
                try:
                    asked.append(resolve(item, self, self._embed))
                except CrystalInputError as error:
                    report.handle(error, on_error, position)
                    asked.append(None)
        good = [one for one in asked if one is not None]
        if not good:
            return [Answers([]) for _ in asked]
        more = max(len(one.rows) for one in good)
        found = iter(zip(*self.nearest(unit_rows(np.stack([one.vector for one in good])), checked_number(k) + more,
                                       filter, exact), strict=True))  # fmt: skip
        return [Answers([]) if one is None else self._answers(*next(found), one.facts, one.rows, k) for one in asked]

    def nearest(
        self,
        queries: np.ndarray,
        k: int,
        filter: Filter | None = None,
        exact: bool | None = None,
        probes: int = PROBES,
        column: str = VECTORS,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and distances (1 - cosine) of the k nearest crystals, (q, k) each; -1 and infinite beyond the last.

        Parameters
        ----------
        queries : numpy.ndarray
            float32 (q, F), of length 1.
        k, filter, exact, probes
            As in :meth:`query`.
        column : {"similarity", "pattern"}
            Vectors of crystals, or of their patterns.
        """
        allowed = None if filter is None else self.mask(filter)
        if len(self) <= EXACT_UP_TO if exact is None else exact:
            return self._nearest_of_all(queries, k, allowed, column)
        segments = self._segments if column == VECTORS else self._pattern_segments
        listed = shortlist(segments, queries, max(SHORTLIST, 4 * k), allowed, probes)
        rows, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf)
        for number, (query, near) in enumerate(zip(queries, listed, strict=True)):
            near = near[near >= 0]
            products = unit_rows(self.structures.vectors(near, column)) @ query
            best = np.argsort(-products, kind="stable")[:k]
            rows[number, : len(best)] = near[best]
            distances[number, : len(best)] = np.maximum(0.0, 1.0 - products[best])
        return rows, distances

    def _nearest_of_all(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, column: str
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, products = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf)
        for of_block, vectors in self.structures.blocks(column):
            kept = slice(None) if allowed is None else allowed[of_block]
            block = of_block[kept]
            if len(block):
                places, found = nearest_rows(unit_rows(vectors[kept]), queries, min(k, len(block)))
                rows, products = np.hstack([rows, block[places]]), np.hstack([products, found])
                order = np.argsort(-products, axis=1, kind="stable")[:, :k]
                rows, products = (np.take_along_axis(part, order, axis=1) for part in (rows, products))
        return rows, np.where(rows < 0, np.inf, np.maximum(0.0, 1.0 - products))

    def _answers(
        self, rows: np.ndarray, distances: np.ndarray, facts: Facts | None, left_out: Sequence[int], k: int
    ) -> Answers[Neighbor]:
        kept = (rows >= 0) & ~np.isin(rows, left_out)
        rows, distances = rows[kept][:k], distances[kept][:k]
        return neighbors_of(self.structures.known(rows, self._columns), distances, facts, self._spacing)

    def mask(self, filter: Filter) -> np.ndarray:
        """Which rows fulfil the conditions, bool (n,); those of the last filter are remembered.

        Raises
        ------
        QueryError
            If there is no such column or element.
        """
        asked = repr(filter)
        if asked not in self._masks:
            self._masks = {asked: self.structures.mask(filter, self._columns)}
        return self._masks[asked]

    def query_pattern(
        self,
        two_theta: Any,
        intensity: Any = None,
        wavelength: str | float | None = None,
        k: int = 10,
        elements: Sequence[str] | None = None,
        *,
        allowed: Sequence[str] | None = None,
        excluded: Sequence[str] = (),
        filter: Filter | None = None,
        candidates: int = 300,
        phases: int | None = None,
    ) -> PatternAnswer:
        """Which of the crystals a measured powder pattern may belong to, and the phases of a mixture.

        Takes the arguments of :meth:`EmbeddingIndex.query_pattern <deepchem_crystalssl.EmbeddingIndex.query_pattern>`.
        The candidates are retrieved on disk.

        Raises
        ------
        PatternError
            If the measurement cannot be used.
        QueryError
            If the index was built without patterns, or no crystal is left by the filters.
        """
        from .phases import identify

        if PATTERNS not in self.structures.columns:
            raise QueryError("index", "no patterns", "this index was built without the vectors of patterns",
                             "Build it with patterns=True.")  # fmt: skip
        of_sample = of_elements(elements, allowed, excluded)
        rows = self.mask(of_sample) if filter is None else self.mask(of_sample) & self.mask(filter)
        if not rows.any():
            raise QueryError("filter", "no crystal is left", "at least one crystal must fulfil the conditions",
                             "Loosen the conditions.")  # fmt: skip
        if phases is not None:
            phases = checked_number(phases, "phases", "phases", "Pass phases=2, say, or None to let the search decide.")
        return identify(
            two_theta, intensity, wavelength, checked_number(k), self.model,
            partial(self._retrieve, k=checked_number(candidates), allowed=rows), self.structures, _Names(self),
            phases, frozenset(known_elements(elements or ())), self.prototype_of,
        )  # fmt: skip

    def _retrieve(self, queries: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows whose pattern is most similar to one of several, and the cosines."""
        if len(self) <= EXACT_UP_TO:
            rows, distances = self._nearest_of_all(queries, k, allowed, PATTERNS)
        else:
            listed = np.unique(shortlist(self._pattern_segments, queries, max(SHORTLIST, 2 * k), allowed))
            listed = listed[listed >= 0]
            places, products = nearest_rows(unit_rows(self.structures.vectors(listed, PATTERNS)), queries, k)
            rows, distances = listed[places], 1.0 - products
        order = np.argsort(distances, axis=None, kind="stable")
        order = order[rows.ravel()[order] >= 0]
        distinct, first = np.unique(rows.ravel()[order], return_index=True)
        best = np.argsort(first)[:k]
        return distinct[best], 1.0 - distances.ravel()[order][first[best]]

    def prototype_of(self, row: int) -> Hashable:
        """Kind of formula and space group of a crystal, such as ("AB2", 225); the row itself if they are not known."""
        known = self._known(row)
        kind, group = formula_type(known.get("formula")), known.get("space_group")
        return row if not kind or group is None else (kind, int(group))

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
        from .queries import distinct_names

        rows = np.asarray(rows, np.int64)
        known = pd.DataFrame(self.structures.known(rows, self._columns))
        ids = distinct_names(known["material_id"].tolist())
        own = ["material_id", "formula", "chemical_system", "num_sites"]
        metadata = known.drop(columns=own, errors="ignore").set_axis(pd.Index(ids, name="material_id"))
        patterns = self.structures.vectors(rows, PATTERNS) if PATTERNS in self.structures.columns else None
        crystals = [self.structures[int(row)] for row in rows]
        return EmbeddingIndex.build(
            self.vectors_of(rows), ids, crystals, self._layout.model_in(self.folder),
            metadata if len(metadata.columns) else None, pattern_embeddings=patterns,
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


def is_sharded(folder: str | Path) -> bool:
    """Whether a folder holds a sharded index."""
    try:
        return json.loads((Path(folder) / MANIFEST).read_text()).get("kind") == "sharded"
    except (OSError, ValueError, AttributeError):
        return False
