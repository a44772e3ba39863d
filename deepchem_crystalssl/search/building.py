"""Indices of many crystals, built in parts that survive a kill."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..crystals.disorder import Disorder
from ..errors import IndexFolderError, Report
from ..crystals.store import RecordStore, write_records
from ..models.pretraining import CrystalSSLModel
from ..models.pretrained import open_model
from .catalogue import Joined
from .index import EmbeddingIndex
from .phases import pattern_vectors

_CRYSTALS_AT_ONCE = 4096


def build_index(
    source: object,
    folder: str | Path,
    model: str | Path | None = None,
    metadata: pd.DataFrame | None = None,
    *,
    patterns: bool = True,
    disorder: Disorder = "refuse",
    progress: bool | None = None,
) -> EmbeddingIndex:
    """Read and embed crystals and write an index; called again after a kill, it goes on where it stopped.

    Parameters
    ----------
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads; the same when going on. What cannot be read is
        listed in ``skipped.csv``.
    folder : str or Path
        Of the index.
    model : str or Path, optional
        By default the general model.
    metadata : pandas.DataFrame, optional
        With a column material_id.
    patterns : bool
        Whether measured patterns will be looked for.
    disorder, progress
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.

    Returns
    -------
    EmbeddingIndex
        As :meth:`EmbeddingIndex.load <deepchem_crystalssl.EmbeddingIndex.load>` gives it.
    """
    folder, work = Path(folder), Path(f"{folder}.building")
    if folder.exists() and any(folder.iterdir()):
        raise IndexFolderError(str(folder), "not empty", "an index is written to a folder of its own",
                               "Name a new folder, or remove this one.")  # fmt: skip
    opened = open_model(model)
    write_records(source, work / "structures", disorder=disorder, progress=progress)
    store = RecordStore(work / "structures")
    starts = range(0, len(store), _CRYSTALS_AT_ONCE)
    for start in tqdm(starts, "embedding", disable=None if progress is None else not progress, delay=1.0):
        path = work / f"vectors-{start:09d}.npz"
        if not path.exists():
            rows = np.arange(start, min(start + _CRYSTALS_AT_ONCE, len(store)))
            np.savez(work / "part.npz", **_embed(opened, store, rows, patterns))  # type: ignore[arg-type]
            os.replace(work / "part.npz", path)  # a part is there whole or not at all
    parts = [dict(np.load(work / f"vectors-{start:09d}.npz", allow_pickle=False)) for start in starts]
    rows, vectors = (np.concatenate([part[name] for part in parts]) for name in ("rows", "vectors"))
    drawn = np.concatenate([part["patterns"] for part in parts]) if patterns else None
    ids, named = store.material_ids[rows].tolist(), "general" if model is None else model
    structures = Joined.of(store).select(rows)
    index = EmbeddingIndex.build(vectors, ids, structures, named, metadata, pattern_embeddings=drawn)
    index.save(folder)
    shutil.copy(work / "structures" / "skipped.csv", folder / "skipped.csv")
    shutil.rmtree(work)
    return EmbeddingIndex.load(folder)


def _embed(model: CrystalSSLModel, store: RecordStore, rows: np.ndarray, patterns: bool) -> dict[str, np.ndarray]:
    """Vectors of some crystals of a store, and the rows of those that have one."""
    lost = Report()
    records = store.records(rows)
    vectors = model.embed(records, space="similarity", disorder="average", on_error="skip", report=lost, progress=False)
    good = np.setdiff1d(np.arange(len(rows)), lost.indices)
    found = {"rows": rows[good], "vectors": vectors}
    if patterns:
        found["patterns"] = pattern_vectors(model, [records[k] for k in good], len(good), progress=False)
    return found
