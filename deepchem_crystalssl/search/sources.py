"""The crystals of a source, read and embedded for an index."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..crystals.disorder import Disorder
from ..crystals.reading import read_structures
from ..errors import NoCrystalsError, OnError, QueryError, Report
from ..models.pretrained import DEFAULT, load_encoder
from ..physics.values import VALUE_COLUMNS, model_values
from .catalogue import by_id, rows_of
from .parts import IndexParts, ModelReference, assemble
from .queries import distinct_names

if TYPE_CHECKING:
    from ..models.pretraining import CrystalSSLModel

logger = logging.getLogger(__name__)


def embed_source(
    source: Any,
    model: str | Path | CrystalSSLModel | None,
    metadata: pd.DataFrame | pd.Series | None,
    physics: bool,
    disorder: Disorder,
    on_error: OnError,
    report: Report,
    progress: bool | None,
) -> IndexParts:
    """Read and embed the crystals of a source: :meth:`EmbeddingIndex.from_structures`."""
    check_metadata(metadata, physics)
    reference = reference_to(model)
    read = list(read_structures(source, on_error, report=report, progress=progress).enumerate())
    crystals, later = [crystal for _, crystal in read], Report()
    ids = ids_for([crystal.material_id for crystal in crystals], metadata)
    options: dict[str, Any] = {"disorder": disorder, "on_error": on_error, "report": later, "progress": progress}
    vectors = reference.opened.embed(crystals, space="similarity", **options)
    lost = set(later.indices)
    for error in later:
        report.handle(error, "skip", None if error.index is None else read[error.index][0])
    kept = [place for place in range(len(crystals)) if place not in lost]
    crystals, ids = [crystals[place] for place in kept], [ids[place] for place in kept]
    if not crystals:
        raise NoCrystalsError("source", report.summary())
    parts = assemble(vectors, ids, crystals, reference, metadata)
    if physics:
        parts = parts.with_columns(model_values(crystals, disorder=disorder, on_error=on_error, progress=progress))
    return parts


def check_metadata(metadata: pd.DataFrame | pd.Series | None, physics: bool) -> None:
    """Refuse, before the work begins, metadata that could not be matched or have the names of model values.

    Raises
    ------
    QueryError
    """
    if metadata is None:
        return
    taken = by_id(metadata).columns.intersection(list(VALUE_COLUMNS))
    if physics and len(taken):
        raise QueryError("metadata", f"column {taken[0]!r}", "with physics=True these columns hold the model's values",
                         "Rename or remove the column, or leave out physics=True.")  # fmt: skip


def ids_for(names: list[str], metadata: pd.DataFrame | pd.Series | None) -> list[str]:
    """Names made distinct, which is said; metadata are refused here, before anything is embedded.

    Raises
    ------
    QueryError
        If a row of the metadata names several crystals, several rows one crystal, or no row any.
    """
    ids = distinct_names(names)
    changed = [(name, id) for name, id in zip(names, ids, strict=True) if id != name]
    if metadata is not None and ids:
        frame = by_id(metadata)
        known = set(frame.index)
        for name, id in changed:
            if name in known and id not in known:
                raise QueryError("metadata", f"id {name!r} names {names.count(name)} crystals of the source",
                                 "a row belongs to one crystal", "Give every crystal an id of its own.")  # fmt: skip
        rows_of(frame, ids)
    if changed:
        one = len(changed) == 1
        who = "1 crystal has the id of another one" if one else f"{len(changed):,} crystals have ids of other ones"
        logger.warning("%s and %s numbered, first %r, now %r", who, "was" if one else "were", *changed[0])
    return ids


def reference_to(model: str | Path | CrystalSSLModel | None) -> ModelReference:
    """The model, opened; one that is not named is the default."""
    named = DEFAULT if model is None else model
    return ModelReference(named, load_encoder(named))
