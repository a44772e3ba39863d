"""The steps that are mapped over shards: what is computed of the crystals of a shard, and what it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, get_args, runtime_checkable

import numpy as np
import pyarrow as pa

from ..crystals.disorder import Disorder, check_policy
from ..crystals.neighbors import enumerate_graphs
from ..crystals.reading import read_structures
from ..crystals.records import Crystal
from ..crystals.shards import SCHEMA, to_batch
from ..diffraction.grid import XRDGrid
from ..diffraction.simulation import iterate_patterns
from ..errors import OptionError, Report, check_choice
from ..models.digest import weights_digest
from ..models.embedding import Space
from ..models.pretrained import load_encoder

if TYPE_CHECKING:
    import pandas as pd

    from ..models.pretraining import CrystalSSLModel


class Work(Protocol):
    """A step that is ready to work: its model is open."""

    schema: pa.Schema

    def __call__(self, crystals: Sequence[Crystal], report: Report) -> pa.RecordBatch:
        """The rows of some crystals, in order; those without a row are in the report."""


@runtime_checkable
class Step(Protocol):
    """What is computed of each shard. A step of your own is a class with these members that can be pickled."""

    @property
    def suffix(self) -> str:
        """Kind of the files that are written, ".parquet" or ".arrow"."""

    @property
    def disorder(self) -> Disorder:
        """How crystals with partial occupancies are read."""

    def identity(self) -> dict[str, Any]:
        """All that the result depends on besides the crystals, as JSON holds it."""

    def open(self) -> Work:
        """Get ready, once in every process."""


@dataclass(frozen=True)
class Featurize:
    """Checked crystals as Arrow records: the output is a store, from which models are trained.

    Parameters
    ----------
    disorder : {"refuse", "dominant", "average"}
        What is done with partial occupancies.
    """

    disorder: Disorder = "refuse"
    suffix: str = ".arrow"

    def identity(self) -> dict[str, Any]:
        """The policy for disorder."""
        check_policy(self.disorder)
        return {"step": "featurize", "disorder": self.disorder}

    def open(self) -> Work:
        """Nothing is needed."""
        return _Records()


class _Records:
    schema = SCHEMA

    def __call__(self, crystals: Sequence[Crystal], report: Report) -> pa.RecordBatch:
        return to_batch(list(crystals))


@dataclass(frozen=True)
class Embed:
    """Vectors of crystals by a trained model: columns material_id, formula, and one of vectors for each space.

    Parameters
    ----------
    model : str
        Name of a model that comes with the package, or folder of a trained one, which every worker must see.
    spaces : tuple of {"shared", "pattern", "descriptor", "similarity"}
        As in :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>`. A crystal whose pattern cannot
        be simulated has NaN in the space "pattern".
    disorder : {"refuse", "dominant", "average"}
        What is done with partial occupancies.
    half : bool
        Whether the vectors are stored in half precision (16 bits).

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> table = compute_table(Embed("small", ("shared",)), bundled_prototypes()[:3])
    >>> table.columns.tolist(), table["shared"][0].shape
    (['material_id', 'formula', 'shared'], (128,))
    """

    model: str = "general"
    spaces: tuple[Space, ...] = ("shared",)
    disorder: Disorder = "refuse"
    half: bool = False
    suffix: str = ".parquet"

    def identity(self) -> dict[str, Any]:
        """Model with the digest of its weights, spaces, precision and policy for disorder."""
        check_policy(self.disorder)
        if not self.spaces:
            raise OptionError("spaces", "none", "at least one space of vectors is computed", "Pass ('shared',), say.")
        for space in self.spaces:
            check_choice("space", space, get_args(Space))
        return {"step": "embed", "weights": opened(self.model)[1], "spaces": list(self.spaces), "half": self.half,
                "disorder": self.disorder}  # fmt: skip

    def open(self) -> VectorRows:
        """Open the model."""
        return VectorRows(opened(self.model)[0], self.spaces, self.half)


@lru_cache(maxsize=4)
def opened(model: str) -> tuple[CrystalSSLModel, str]:
    """A model and the digest of its weights, opened once in every process."""
    encoder = load_encoder(model)
    return encoder, weights_digest(encoder)


class VectorRows:
    def __init__(self, model: CrystalSSLModel, spaces: Sequence[Space], half: bool):
        self.model, self.spaces, self.half = model, tuple(spaces), half
        empty = {space: model.embed([], space=space, progress=False) for space in spaces}
        kind = pa.float16() if half else pa.float32()
        columns = [pa.field(space, pa.list_(kind, empty[space].shape[1])) for space in spaces]
        self.schema = pa.schema([pa.field("material_id", pa.string()), pa.field("formula", pa.string()), *columns])

    def __call__(self, crystals: Sequence[Crystal], report: Report) -> pa.RecordBatch:
        return self.rows(crystals, report)[0]

    def rows(self, crystals: Sequence[Crystal], report: Report) -> tuple[pa.RecordBatch, list[int]]:
        """The rows, and which of the crystals they belong to."""
        found = enumerate_graphs(
            crystals, disorder="average", on_error="skip", report=report, n_threads=1, progress=False,
            **self._graph_options,
        )  # fmt: skip
        pairs = list(found)
        kept, graphs = [position for position, _ in pairs], [graph for _, graph in pairs]
        names = [graph.material_id for graph in graphs]
        columns = [pa.array(names, pa.string()), pa.array([graph.reduced_formula for graph in graphs], pa.string())]
        for space in self.spaces:
            lost = Report()
            vectors = self.model.embed(graphs, space=space, on_error="skip", report=lost, n_threads=1, progress=False)
            good = np.setdiff1d(np.arange(len(graphs)), lost.indices)
            columns.append(fixed_lists(vectors, good, len(graphs), self.half))
            report.extend(lost)
        return pa.record_batch(columns, schema=self.schema), kept

    @property
    def _graph_options(self) -> dict[str, Any]:
        return {} if self.model.graph_options is None else asdict(self.model.graph_options)


def fixed_lists(vectors: np.ndarray, rows: np.ndarray, n: int, half: bool) -> pa.Array:
    """Vectors as a column of n rows, NaN in those that have none: Parquet cannot hold null in a list of fixed size."""
    values = np.full((n, vectors.shape[1]), np.nan, np.float16 if half else np.float32)
    values[rows] = vectors
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), vectors.shape[1])


@dataclass(frozen=True)
class SimulatePatterns:
    """Simulated powder patterns: columns material_id, formula and pattern, on an angular grid.

    Parameters
    ----------
    grid : XRDGrid
        Angular range, bins, radiation and peak profile.
    disorder : {"refuse", "dominant", "average"}
        With "average" each species scatters by its occupancy.
    half : bool
        Whether the patterns are stored in half precision (16 bits).
    """

    grid: XRDGrid = XRDGrid()
    disorder: Disorder = "refuse"
    half: bool = False
    suffix: str = ".parquet"

    def identity(self) -> dict[str, Any]:
        """Grid, precision and policy for disorder."""
        check_policy(self.disorder)
        return {"step": "simulate patterns", "grid": asdict(self.grid.check()), "half": self.half,
                "disorder": self.disorder}  # fmt: skip

    def open(self) -> Work:
        """Nothing is opened."""
        return _Patterns(self.grid, self.half)


class _Patterns:
    def __init__(self, grid: XRDGrid, half: bool):
        self.grid, self.half = grid, half
        kind = pa.list_(pa.float16() if half else pa.float32(), grid.n_bins)
        self.schema = pa.schema([("material_id", pa.string()), ("formula", pa.string()), ("pattern", kind)])

    def __call__(self, crystals: Sequence[Crystal], report: Report) -> pa.RecordBatch:
        found = list(iterate_patterns(
            crystals, self.grid, disorder="average", on_error="skip", report=report, n_threads=1, progress=False
        ))  # fmt: skip
        patterns = np.array([pattern for _, pattern in found], np.float32).reshape(-1, self.grid.n_bins)
        columns = [
            pa.array([crystal.material_id for crystal, _ in found], pa.string()),
            pa.array([crystal.reduced_formula for crystal, _ in found], pa.string()),
            fixed_lists(patterns, np.arange(len(found)), len(found), self.half),
        ]
        return pa.record_batch(columns, schema=self.schema)


def compute_table(step: Step, source: Any, report: Report | None = None) -> pd.DataFrame:
    """The rows of a step for crystals in memory: for ``dask.bag``, ``map_partitions`` of a Dask DataFrame, or a test.

    Parameters
    ----------
    step : Step
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads, such as a list of structures or a DataFrame.
    report : Report, optional
        Filled with the typed error of every item left out.

    Returns
    -------
    pandas.DataFrame
        A column of vectors or patterns holds arrays.
    """
    report = Report() if report is None else report
    work = opened_step(step)
    crystals = list(read_structures(source, "skip", disorder=step.disorder, report=report, progress=False))
    return pa.Table.from_batches([work(crystals, report)], work.schema).to_pandas()


_READY: dict[str, Work] = {}


def opened_step(step: Step) -> Work:
    """The step, ready to work; opened once in every process."""
    digest = digest_of(step.identity())
    if digest not in _READY:
        _READY[digest] = step.open()
    return _READY[digest]


def digest_of(identity: dict[str, Any]) -> str:
    """Digest of what a step depends on, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
