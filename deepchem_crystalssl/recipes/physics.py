"""Tables of the numbers of model physics of many crystals, made in parts that survive an interruption."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ..crystals.checksums import replacing
from ..crystals.disorder import Disorder
from ..crystals.elements import symbols
from ..crystals.formats.files import in_short
from ..crystals.reading import read_structures
from ..crystals.records import Crystal
from ..crystals.store import open_source
from ..crystals.unfinished import described, is_whole, keep_choices, seal_part
from ..crystals.work_folders import alone_in, written_to
from ..errors import NoCrystalsError, Report, StoreError
from ..physics.columns import MODELS, Level, Model, check_models, column_names, iterate_physics

_CRYSTALS_AT_ONCE = 2048


def physics_table(
    source: Any,
    path: str | Path,
    models: Sequence[Model] = MODELS,
    *,
    level: Level = "crystal",
    disorder: Disorder = "refuse",
    progress: bool | None = None,
) -> int:
    """Compute the numbers of springs and tight binding of crystals and write them as a table.

    Called again after an interruption, it goes on where it stopped. The unfinished work is kept in ``PATH.building``,
    with the choices that it was begun with.

    Parameters
    ----------
    source
        Anything that :func:`~deepchem_crystalssl.read_structures` reads, or the folder of a store.
    path : str or Path
        A ``.parquet`` or ``.csv`` file. Beside it, a file whose name ends with ``.skipped.csv`` lists the crystals
        without numbers, and why.
    models : sequence of {"springs", "electrons"}
    level : {"crystal", "site"}
        One row for each crystal, or for each site.
    disorder, progress
        As in :func:`~deepchem_crystalssl.model_physics`.

    Returns
    -------
    int
        Number of rows. The columns are material_id, formula, for sites also site and element, and those of
        :func:`~deepchem_crystalssl.physics.columns.column_names`.

    Raises
    ------
    StoreError
        If unfinished work was begun with other choices; if another process makes the table, or the disk is full or
        cannot be written to.
    NoCrystalsError
        If no crystal of the source has numbers.
    """
    check_models(models)
    path, source = Path(path), open_source(source)
    work = Path(f"{path}.building")
    choices = {"source": described(source), "models": list(models), "level": level, "disorder": disorder}
    with written_to(path, StoreError), alone_in(work, StoreError):
        if path.is_dir():
            raise StoreError(str(path), "a folder", "a table is written into a file", "Name a file.")
        keep_choices(work, choices, {}, StoreError, "a table")
        return _make(source, path, work, models, level, disorder, progress)


def _make(
    source: Any,
    path: Path,
    work: Path,
    models: Sequence[Model],
    level: Level,
    disorder: Disorder,
    progress: bool | None,
) -> int:
    """The work of :func:`physics_table`, which no other process does at the same time."""
    report = Report()
    reader = read_structures(source, on_error="skip", report=report, progress=progress)
    crystals, parts = reader.enumerate(), []
    chunks = iter(lambda: list(islice(crystals, _CRYSTALS_AT_ONCE)), [])
    for number, chunk in enumerate(chunks):
        part = work / f"numbers-{number:06d}.parquet"
        if not is_whole(part):
            table, lost = _numbers_of(chunk, models, level, disorder)
            with replacing(part.with_suffix(".csv")) as unfinished:
                lost.to_frame().to_csv(unfinished, index=False)
            with replacing(part) as unfinished:  # a part is there whole or not at all
                table.to_parquet(unfinished, index=False)
            seal_part(part, part.with_suffix(".csv"))
        parts.append(part)
    skipped = [report.to_frame(), *(pd.read_csv(part.with_suffix(".csv")) for part in parts)]
    rows = sum(pq.read_metadata(part).num_rows for part in parts)
    if not rows:
        shutil.rmtree(work)
        without = pd.concat([frame for frame in skipped if len(frame)] or skipped[:1])
        reasons = "; ".join(f"{row.item}: {row.value}" for row in without.head(3).itertuples())
        raise NoCrystalsError(in_short(source), f"no crystal has numbers; {reasons}", remedy="Correct the crystals.")
    _join(parts, path)
    with replacing(f"{path}.skipped.csv") as unfinished:
        pd.concat([frame for frame in skipped if len(frame)] or skipped[:1]).to_csv(unfinished, index=False)
    shutil.rmtree(work)
    return rows


def _numbers_of(
    chunk: list[tuple[int, Crystal]], models: Sequence[Model], level: Level, disorder: Disorder
) -> tuple[pd.DataFrame, Report]:
    """The rows of some crystals, and the errors of those without numbers, with their places in the source."""
    report, rows, names = Report(), [np.empty((0, len(column_names(models, level))))], []
    crystals = [crystal for _, crystal in chunk]
    found = iterate_physics(crystals, models, disorder=disorder, on_error="skip", report=report, progress=False)
    for _, crystal, numbers, sites in found:
        rows.append(numbers[None] if level == "crystal" else sites)
        names += list(_names(crystal, level))
    for error in report:
        error.index = None if error.index is None else chunk[error.index][0]
    own = ["material_id", "formula"] if level == "crystal" else ["material_id", "formula", "site", "element"]
    table = pd.DataFrame(np.concatenate(rows).astype(np.float32), columns=column_names(models, level))
    return pd.concat([pd.DataFrame(names, columns=own), table], axis=1), report


def _names(crystal: Crystal, level: Level) -> Iterator[tuple]:
    """What stands before the numbers of a row."""
    name = crystal.material_id, crystal.reduced_formula
    if level == "crystal":
        yield name
        return
    for site in range(crystal.num_nodes):
        of_site = crystal.species.site == site
        yield *name, site, ":".join(symbols()[z] for z in crystal.species.atomic_numbers[of_site])


def _join(parts: Sequence[Path], path: Path) -> None:
    """Write the parts one after the other into one file, which is there whole or not at all."""
    with replacing(path) as unfinished:
        if path.suffix == ".csv":
            for k, part in enumerate(parts):
                pd.read_parquet(part).to_csv(unfinished, index=False, mode="a" if k else "w", header=not k)
            return
        with pq.ParquetWriter(unfinished, pq.read_schema(parts[0]), write_page_checksum=True) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part))
