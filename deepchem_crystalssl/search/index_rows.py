"""The step that computes the rows of a sharded index: crystals, what is known of them, and their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..bulk.steps import Embed, VectorRows, Work
from ..crystals.disorder import Disorder
from ..crystals.records import Crystal
from ..crystals.shards import SCHEMA, to_batch
from ..crystals.symmetry import space_group
from ..errors import Report
from .sharded_layout import PATTERNS, VECTORS
from .stored_rows import bits_of

_FACTS = [
    pa.field("formula", pa.string()),
    pa.field("chemical_system", pa.string()),
    pa.field("num_sites", pa.int32()),
    pa.field("elements", pa.list_(pa.uint64(), 2)),
]
_GROUP = pa.field("space_group", pa.int16())


@dataclass(frozen=True)
class IndexRows:
    """The rows of an index: records of crystals, facts to filter by, and vectors in half precision.

    Parameters
    ----------
    model : str
        Name of a model that comes with the package, or folder of a trained one, which every worker must see.
    patterns : bool
        Whether the index will be searched by measured patterns.
    space_groups : bool
        Whether space groups are found; it takes about 3 ms for a crystal.
    disorder : {"refuse", "dominant", "average"}
        What is done with partial occupancies.
    """

    model: str = "general"
    patterns: bool = True
    space_groups: bool = False
    disorder: Disorder = "refuse"
    suffix: str = ".arrow"

    @property
    def _vectors(self) -> Embed:
        return Embed(self.model, (VECTORS, PATTERNS) if self.patterns else (VECTORS,), self.disorder, half=True)

    def identity(self) -> dict[str, Any]:
        """Model with the digest of its weights, and what else is computed."""
        return {**self._vectors.identity(), "step": "index rows", "space_groups": self.space_groups}

    def open(self) -> Work:
        """Open the model."""
        return _Rows(self._vectors.open(), self.space_groups)


class _Rows:
    def __init__(self, vectors: VectorRows, space_groups: bool):
        self.vectors, self.space_groups = vectors, space_groups
        columns = [field for field in vectors.schema if field.name in (VECTORS, PATTERNS)]
        self.schema = pa.schema([*SCHEMA, *_FACTS, *([_GROUP] if space_groups else []), *columns])

    def __call__(self, crystals: Sequence[Crystal], report: Report) -> pa.RecordBatch:
        embedded, kept = self.vectors.rows(crystals, report)
        chosen = [crystals[k] for k in kept]
        facts: list[Any] = [
            embedded.column("formula"),
            [crystal.chemical_system for crystal in chosen],
            [crystal.num_nodes for crystal in chosen],
            [element_bits(crystal) for crystal in chosen],
        ]
        if self.space_groups:
            facts.append([space_group(crystal) for crystal in chosen])
        fields = [*_FACTS, _GROUP][: len(facts)]
        columns = [
            *to_batch(chosen).columns,
            *(pa.array(column, field.type) for column, field in zip(facts, fields, strict=True)),
            *(_without_nan(embedded.column(name)) for name in (VECTORS, PATTERNS) if name in self.schema.names),
        ]
        return pa.record_batch(columns, schema=self.schema)


def _without_nan(column: pa.FixedSizeListArray) -> pa.FixedSizeListArray:
    """Vectors with zeros where a crystal has none, as everywhere in an index."""
    values = np.nan_to_num(column.values.to_numpy(zero_copy_only=False))
    return pa.FixedSizeListArray.from_arrays(pa.array(values), column.type.list_size)


def element_bits(crystal: Crystal) -> np.ndarray:
    """The elements of a crystal as bits of two numbers, uint64 (2,); see :func:`bits_of`."""
    return bits_of(np.unique(crystal.species.atomic_numbers).tolist())
