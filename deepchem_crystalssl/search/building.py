"""Building an index of many crystals on disk, in parts that survive an interruption."""

from __future__ import annotations

import hashlib
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from tqdm import tqdm

from .catalogue import Joined
from ..crystals.checksums import replacing
from ..crystals.disorder import Disorder
from ..crystals.formats.files import in_short
from ..crystals.store import RecordStore, open_source, skipped_of, write_records
from ..crystals.unfinished import described, is_whole, keep_choices, seal_part
from ..crystals.work_folders import alone_in, written_to
from ..errors import IndexFolderError, NoCrystalsError, Report, counted
from .index import EmbeddingIndex
from ..models.digest import weights_digest
from .parts import assemble
from .phases import pattern_vectors
from ..physics.values import VALUE_COLUMNS, model_values
from .saving import is_free
from .sources import check_metadata, ids_for, reference_to

if TYPE_CHECKING:
    from ..models.pretraining import CrystalSSLModel

_CRYSTALS_AT_ONCE = 4096


def build_index(
    source: object,
    folder: str | Path,
    model: str | Path | CrystalSSLModel | None = None,
    metadata: pd.DataFrame | pd.Series | None = None,
    *,
    patterns: bool = True,
    physics: bool = False,
    disorder: Disorder = "refuse",
    progress: bool | None = None,
) -> EmbeddingIndex:
    """Read and embed crystals and write an index; called again after an interruption, it goes on where it stopped.

    The unfinished work is kept in ``FOLDER.building``, with the choices that it was begun with.

    Parameters
    ----------
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads, or a store of crystals or its folder.
        ``skipped.csv`` in the folder of the index lists what could not be read or embedded, and why; of a store also
        what was left out when the store was written.
    folder : str or Path
        Of the index.
    model : str, Path or CrystalSSLModel, optional
        By default the model "general".
    metadata : pandas.DataFrame or pandas.Series, optional
        Matched by id, as :meth:`EmbeddingIndex.build <deepchem_crystalssl.EmbeddingIndex.build>` does.
    patterns : bool
        Whether the index will be searched by measured patterns.
    physics : bool
        Whether the table has the columns of :func:`~deepchem_crystalssl.physics.values.model_values` too. They hold
        values of a model, as their names say. A crystal of which it has none has NaN there, and is listed with the
        reason in ``without_physics.csv`` in the folder of the index.
    disorder, progress
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.

    Returns
    -------
    EmbeddingIndex
        As :meth:`EmbeddingIndex.load <deepchem_crystalssl.EmbeddingIndex.load>` gives it.

    Raises
    ------
    IndexFolderError
        If the folder is not empty, or unfinished work was begun with other choices; if another process builds the
        index, or the disk is full or cannot be written to.
    NoCrystalsError
        If no crystal of the source can be used.
    QueryError
        If the metadata cannot be matched, or has a column of the name of a model value that is computed.
    """
    folder, source = Path(folder), open_source(source)
    check_metadata(metadata, physics)
    with written_to(folder, IndexFolderError), alone_in(f"{folder}.building", IndexFolderError):
        if not is_free(folder):
            raise IndexFolderError(str(folder), "not empty", "an index is written to a folder of its own",
                                   "Name a new folder, or remove this one.")  # fmt: skip
        _build(source, folder, model, metadata, patterns, physics, disorder, progress)
    return EmbeddingIndex.load(folder)


def _build(
    source: Any,
    folder: Path,
    model: str | Path | CrystalSSLModel | None,
    metadata: pd.DataFrame | pd.Series | None,
    patterns: bool,
    physics: bool,
    disorder: Disorder,
    progress: bool | None,
) -> None:
    """The work of :func:`build_index`, which no other process does at the same time."""
    work = Path(f"{folder}.building")
    reference = reference_to(model)
    choices = {
        "source": described(source), "model": weights_digest(reference.opened),
        "metadata": None if metadata is None else hashlib.sha256(metadata.to_csv().encode()).hexdigest(),
        "patterns": patterns, "physics": physics, "disorder": disorder,
    }  # fmt: skip
    keep_choices(work, choices, {"physics": False}, IndexFolderError, "an index")  # older notes do not name it
    try:
        write_records(source, work / "structures", disorder=disorder, progress=progress)
    except NoCrystalsError:  # nothing was begun, so the corrected source need not be another choice
        shutil.rmtree(work)
        raise
    store = RecordStore(work / "structures")
    ids = ids_for(store.material_ids.tolist(), metadata)
    parts = []
    starts = range(0, len(store), _CRYSTALS_AT_ONCE)
    for start in tqdm(starts, "embedding", disable=None if progress is None else not progress, delay=1.0):
        path = work / f"vectors-{start:09d}-{store.digest}.npz"  # of these crystals and no others
        found = _read_part(path, patterns, physics)
        if found is None:
            rows = np.arange(start, min(start + _CRYSTALS_AT_ONCE, len(store)))
            found, lost, valueless = _embed(reference.opened, store, rows, patterns, physics)
            without = work / f"without-{path.stem}.csv"
            for name, report in ((path.with_suffix(".csv"), lost), (without, valueless)):
                with replacing(name) as unfinished:
                    report.to_frame().to_csv(unfinished, index=False)
            with replacing(path) as unfinished, open(unfinished, "wb") as file:  # whole or not at all
                np.savez(file, **found)  # type: ignore[arg-type]
            seal_part(path, path.with_suffix(".csv"), without)
        parts.append(found)
    skipped = [
        *skipped_of(source),
        work / "structures" / "skipped.csv",
        *sorted(work.glob(f"vectors-*-{store.digest}.csv")),
    ]
    rows, vectors = (np.concatenate([part[name] for part in parts]) for name in ("rows", "vectors"))
    if not len(rows):
        raise NoCrystalsError(in_short(source), f"none of {counted(len(store), 'crystal')} can be embedded; see {work}")
    drawn = np.concatenate([part["patterns"] for part in parts]) if patterns else None
    structures = Joined.of(store).select(rows)
    ids = [ids[row] for row in rows]
    assembled = assemble(vectors, ids, structures, reference, metadata, pattern_embeddings=drawn)
    if physics:
        values = np.concatenate([part["physics"] for part in parts])
        assembled = assembled.with_columns(pd.DataFrame(values, columns=list(VALUE_COLUMNS)))
    EmbeddingIndex(assembled).save(folder)
    with replacing(folder / "skipped.csv") as part:
        pd.concat(map(pd.read_csv, skipped)).to_csv(part, index=False)
    if physics:
        lists = map(pd.read_csv, sorted(work.glob(f"without-*-{store.digest}.csv")))
        with replacing(folder / "without_physics.csv") as part:
            pd.concat(lists).to_csv(part, index=False)
    shutil.rmtree(work)


def _read_part(path: Path, patterns: bool, physics: bool) -> dict[str, np.ndarray] | None:
    """What an earlier call computed of some crystals; None if it is not there or not what was written."""
    if not is_whole(path):
        return None
    names = {"rows", "vectors", *(["patterns"] if patterns else []), *(["physics"] if physics else [])}
    try:
        with np.load(path, allow_pickle=False) as part:
            return {name: part[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None


def _embed(
    model: CrystalSSLModel, store: RecordStore, rows: np.ndarray, patterns: bool, physics: bool
) -> tuple[dict[str, np.ndarray], Report, Report]:
    """Vectors of some crystals of a store with the rows of those that have one.

    The reports hold the errors of those without a vector, and of those with a vector and without model values.
    """
    lost, valueless = Report(), Report()
    records = store.records(rows)
    vectors = model.embed(records, space="similarity", disorder="average", on_error="skip", report=lost, progress=False)
    good = np.setdiff1d(np.arange(len(rows)), lost.indices)
    found = {"rows": rows[good], "vectors": vectors}
    if patterns:
        found["patterns"] = pattern_vectors(model, [records[k] for k in good], len(good), progress=False)
    if physics:
        embedded = [records[k] for k in good]
        found["physics"] = model_values(embedded, disorder="average", report=valueless, progress=False).to_numpy()
    for error in (*lost, *valueless):
        error.index = None  # its place in the store is not its place in the source
    return found, lost, valueless
