"""Building a sharded index: the rows by an engine, then cells, segments and lookups from the rows."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..bulk.engines import EngineName
from ..bulk.output import ShardedOutput
from ..bulk.shards import map_shards
from ..bulk.steps import opened
from ..crystals.checksums import RecordedFile, record_file, record_files, replacing
from ..crystals.disorder import Disorder
from ..crystals.work_folders import alone_in, written_to
from ..errors import IndexFolderError, QueryError, counted
from ..models.folders import CARD, DEFAULT, list_pretrained
from .catalogue import by_id
from .formulas import parse_formula
from .index_rows import IndexRows
from .mapped_tables import REMEDY
from .segments import LARGEST_SAMPLE, record_segment, train, write_segment
from .sharded_layout import MANIFEST, MODEL, PATTERNS, SPACING, VECTORS, Layout
from .stored_rows import Lookup, StoredRows, compound_key
from .vectors import nearest_rows, unit_rows

logger = logging.getLogger(__name__)

SEGMENT_ROWS = 4_000_000
"""Rows of a segment at most: while one is written, its codes (72 bytes a row) are in memory."""
_COLUMNS = "columns-{}.arrow"
_SPACING_SAMPLE, _SPACING_AMONG = 500, 100_000


def build_sharded(
    source: Any,
    folder: Path,
    model: str | Path | None,
    metadata: pd.DataFrame | pd.Series | None,
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
    more: bool = False,
) -> bool:
    """Compute what is missing of an index: :meth:`ShardedIndex.build` and, with ``more``, :meth:`ShardedIndex.add`.

    Returns
    -------
    bool
        Whether the index is whole; not after one share of an array job.
    """
    folder = folder.absolute()
    with written_to(folder, IndexFolderError):
        if more and not (folder / MANIFEST).exists():
            raise IndexFolderError(str(folder), "no index", "crystals are added to an index that is there")
        if folder.exists() and not folder.is_dir() or folder.is_dir() and not _holds_an_index(folder):
            raise IndexFolderError(str(folder), "holds something else", "an index is written to a folder of its own",
                                   "Name a new or empty folder.")  # fmt: skip
        frame = None if metadata is None else by_id(metadata, without=("formula", "chemical_system", "num_sites"))
        with alone_in(folder, IndexFolderError, shard):
            before = Layout.read(folder) if (folder / MANIFEST).exists() else None
            if more and before is not None:
                options, group = before, f"rows-{len(before.groups):03d}"
            else:
                named = _kept_model(folder, DEFAULT if model is None else model)
                options = Layout(0, named, opened(named)[1], patterns, space_groups, disorder)
                group = "rows-000"
                _check_choices(folder, options, before)
            work = {"engine": engine, "workers": workers, "address": address, "size": size, "progress": progress}
            return _build(source, folder, options, group, before, frame, shard, work)


def _holds_an_index(folder: Path) -> bool:
    """Whether a folder is empty or holds an index, finished or not."""
    names = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    return names <= {MODEL} or MANIFEST in names or any(name.startswith("rows-") for name in names)


def _check_choices(folder: Path, now: Layout, before: Layout | None) -> None:
    """An IndexFolderError if an index is built with other choices than those it was built with."""
    names = ("weights", "patterns", "space_groups", "disorder")
    differing = [name for name in names if before is not None and getattr(before, name) != getattr(now, name)]
    if before is not None and differing:
        shown = "; ".join(
            f"model was {before.model} (weights {before.weights[:8]}), now {now.model} (weights {now.weights[:8]})"
            if name == "weights" else f"{name} was {getattr(before, name)}, now {getattr(now, name)}"
            for name in differing
        )  # fmt: skip
        raise IndexFolderError(str(folder), f"built with other choices: {shown}",
                               "an index has one model and one set of choices",
                               "Pass the same choices, or name another folder.")  # fmt: skip


def _build(
    source: Any,
    folder: Path,
    options: Layout,
    group: str,
    before: Layout | None,
    frame: pd.DataFrame | None,
    shard: tuple[int, int] | None,
    work: dict[str, Any],
) -> bool:
    """Compute the rows of one group, and join them to those that are there."""
    step = IndexRows(options.model_in(folder), options.patterns, options.space_groups, options.disorder)
    done = map_shards(source, step, folder / group, shard=shard, **work)
    if shard is not None or done is None:
        logger.warning("%s: run once more without a share when all shares are done, to join them", folder)
        return False
    groups = (group,) if before is None else tuple(dict.fromkeys([*before.groups, group]))
    _join(folder, replace(options, groups=groups), before, frame)
    return True


def _kept_model(folder: Path, model: str | Path) -> str:
    """The name of a model that comes with the package, or the copy of another one within the index."""
    copy = folder / MODEL
    if str(model) in set(list_pretrained()["name"]):
        if copy.is_dir():
            raise IndexFolderError(str(folder), f"begun with a model of its own, and now with {model}",
                                   "an index has one model", f"Give {copy}, or name another folder.")  # fmt: skip
        return str(model)
    if not copy.is_dir():
        if not (Path(model) / CARD).is_file():
            opened(str(model))  # says what is wrong, if it is no model
            raise IndexFolderError(str(model), "a folder of a training", "an index keeps a copy of a saved model",
                                   "Save it with save_pretrained, and give that folder.")  # fmt: skip
        part = folder / f".{MODEL}.{socket.gethostname()}-{os.getpid()}"
        shutil.copytree(model, part)
        try:
            part.rename(copy)
        except OSError:  # another job of the array was first
            shutil.rmtree(part)
    if Path(model).resolve() == copy.resolve():
        return MODEL
    kept, given = (opened(str(path))[1] for path in (copy, model))
    if kept != given:
        was, now = kept[:8], given[:8]
        raise IndexFolderError(str(folder), f"begun with a model of weights {was}; those of {model} are {now}",
                               "an index has one model", "Give that model, or name another folder.")  # fmt: skip
    return str(copy)


def _join(folder: Path, layout: Layout, before: Layout | None, metadata: pd.DataFrame | None) -> None:
    """Write what searches the rows: cells and codes, lookups, given columns; then the manifest."""
    outputs = [ShardedOutput(folder / group) for group in layout.groups]
    rows = StoredRows(outputs)
    shards = tuple(line["sha256"][:16] for output in outputs for line in output.lines)
    if before is not None and shards[: len(before.shards)] != before.shards:
        logger.warning("%s: rows that are in the index have changed; it is joined anew", folder)
        before = None
    if before is not None and shards == before.shards and metadata is None and before.files:
        return
    old = 0 if before is None else before.crystals
    # The name of a file tells of which rows it is made, so that work that was interrupted is not taken for other work.
    stem = f"{old:012d}-{hashlib.sha256(''.join(shards).encode()).hexdigest()[:12]}"
    names = {name: list(getattr(before, name)) if before is not None else [] for name in
             ("segments", "pattern_segments", "ids", "compounds")}  # fmt: skip
    if len(rows) > old:
        for column, name in ((VECTORS, "segments"), (PATTERNS, "pattern_segments")):
            if column in rows.columns:
                names[name] += _write_segments(folder, rows, column, old, stem)
        for name, texts in (("ids", rows.ids), ("compounds", partial(_compounds, rows))):
            file = f"{name}-{stem}.npy"
            Lookup.write(folder / file, _after(texts(), old))
            names[name].append(file)
    columns = _write_columns(folder, rows, metadata, before)
    if before is None or not (folder / SPACING).exists():
        with replacing(folder / SPACING) as part, open(part, "wb") as opened_part:
            np.save(opened_part, _spacing(rows))
    found = {name: tuple(files) for name, files in names.items()}
    joined = replace(layout, crystals=len(rows), shards=shards, columns=columns, **found)  # type: ignore[arg-type]
    replace(joined, files=_recorded(folder, joined, {} if before is None else before.files)).write(folder)


def _recorded(folder: Path, layout: Layout, known: dict[str, Any]) -> dict[str, Any]:
    """Sizes and checksums of the files of an index; those of the files that earlier rows have are kept."""
    segments = [*layout.segments, *layout.pattern_segments]
    files = {name: known.get(name) or record_segment(folder / name) for name in segments}
    for name in (*layout.ids, *layout.compounds):
        files[name] = known.get(name) or record_file(folder / name)
    return files | record_files(folder, [SPACING, *([layout.columns] if layout.columns else [])])


def _after(texts: Iterator[tuple[int, list[str]]], first: int) -> Iterator[tuple[int, list[str]]]:
    """The texts of the rows from the first on."""
    for start, given in texts:
        if start + len(given) > first:
            skip = max(0, first - start)
            yield start + skip, given[skip:]


def _compounds(rows: StoredRows) -> Iterator[tuple[int, list[str]]]:
    for first, formulas in rows.formulas():
        yield first, [compound_key(parse_formula(formula)) for formula in formulas]


def _write_segments(folder: Path, rows: StoredRows, column: str, first: int, stem: str) -> list[str]:
    """Segments of the rows from the first on; cells and codes are trained if they are not yet."""
    trained = folder / f"{column}-trained.faiss"
    if not trained.exists():
        logger.info("%s: training the cells of %s", folder, counted(len(rows), "crystal"))
        train(_sample(rows, column, LARGEST_SAMPLE), len(rows), trained)
    names = []
    for start in range(first, len(rows), SEGMENT_ROWS):
        stop = min(start + SEGMENT_ROWS, len(rows))
        name = f"{column}-{stem}-{start:012d}.faiss"
        if not (folder / name).exists():
            blocks = ((found, unit_rows(vectors)) for found, vectors in rows.blocks(column, start, stop))
            write_segment(trained, blocks, folder / name)
        names.append(name)
    return names


def _sample(rows: StoredRows, column: str, most: int, seed: int = 0) -> np.ndarray:
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
    vectors = unit_rows(rows.vectors(chosen, column))
    vectors = vectors[vectors.any(axis=1)]
    if not len(vectors):
        raise QueryError("index", f"no crystal has a vector in {column}", "an index holds at least one vector",
                         "See skipped.csv of the rows for the reasons.")  # fmt: skip
    return vectors


def _spacing(rows: StoredRows) -> np.ndarray:
    """Distances of a sample of crystals to their nearest neighbours, ascending, estimated among a larger sample."""
    vectors = _sample(rows, VECTORS, _SPACING_AMONG)
    if len(vectors) < 2:
        return np.zeros(0)
    chosen = np.linspace(0, len(vectors) - 1, min(_SPACING_SAMPLE, len(vectors))).astype(int)
    found, products = nearest_rows(vectors, vectors[chosen], 2)
    return np.sort(1.0 - np.where(found[:, 0] == chosen, products[:, 1], products[:, 0]).astype(float))


def _write_columns(folder: Path, rows: StoredRows, metadata: pd.DataFrame | None, before: Layout | None) -> str:
    """The columns that the user gave, in the order of the rows; those of earlier rows are kept."""
    old = pd.DataFrame()
    if before is not None and before.columns:
        record = before.files.get(before.columns)
        old = RecordedFile(folder / before.columns, record, IndexFolderError, REMEDY).map_table().to_pandas()
    if metadata is None and old.empty:
        return ""
    ids = [name for _, given in rows.ids() for name in given]
    frame = old.reindex(range(len(ids)))
    if metadata is not None:
        if not metadata.index.isin(ids).any():
            raise QueryError("metadata", "none of its ids is an id of the index", "rows are matched to crystals by id",
                             f"Ids of the index look like {ids[0]!r}.")  # fmt: skip
        matched = metadata[~metadata.index.duplicated()].reindex(ids).reset_index(drop=True)
        for name in matched:
            frame[name] = matched[name].combine_first(frame[name]) if name in frame else matched[name]
    name = _COLUMNS.format(f"{len(ids):012d}")
    table = pa.Table.from_pandas(frame, preserve_index=False).combine_chunks()
    with replacing(folder / name) as part:
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return name
