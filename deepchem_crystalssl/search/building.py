"""Building an index of many crystals on disk, in parts that survive an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..crystals.disorder import Disorder
from ..crystals.files import in_short
from ..crystals.store import RecordStore, open_source, skipped_of, write_records
from ..errors import IndexFolderError, NoCrystalsError, Report, counted
from ..physics.values import VALUE_COLUMNS, model_values
from .catalogue import Joined
from .index import EmbeddingIndex
from .parts import assemble
from .phases import pattern_vectors
from .sources import check_metadata, ids_for, reference_to

if TYPE_CHECKING:
    from ..models.pretraining import CrystalSSLModel

_CRYSTALS_AT_ONCE = 4096
_CHOICES = "building.json"


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
        If the folder is not empty, or unfinished work was begun with other choices.
    NoCrystalsError
        If no crystal of the source can be used.
    QueryError
        If the metadata cannot be matched, or has a column of the name of a model value that is computed.
    """
    folder, work, source = Path(folder), Path(f"{folder}.building"), open_source(source)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise IndexFolderError(str(folder), "not empty", "an index is written to a folder of its own",
                               "Name a new folder, or remove this one.")  # fmt: skip
    check_metadata(metadata, physics)
    reference = reference_to(model)
    _keep_choices(work, {
        "source": _described(source), "model": _weights_digest(reference.opened),
        "metadata": None if metadata is None else hashlib.sha256(metadata.to_csv().encode()).hexdigest(),
        "patterns": patterns, "physics": physics, "disorder": disorder,
    })  # fmt: skip
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
        path = work / f"vectors-{start:09d}.npz"
        if not path.exists():
            rows = np.arange(start, min(start + _CRYSTALS_AT_ONCE, len(store)))
            found, lost, valueless = _embed(reference.opened, store, rows, patterns, physics)
            lost.to_frame().to_csv(path.with_suffix(".csv"), index=False)
            valueless.to_frame().to_csv(work / f"without-{start:09d}.csv", index=False)
            np.savez(work / "part.npz", **found)  # type: ignore[arg-type]
            os.replace(work / "part.npz", path)  # a part is there whole or not at all
        parts.append(dict(np.load(path, allow_pickle=False)))
    skipped = [*skipped_of(source), work / "structures" / "skipped.csv", *sorted(work.glob("vectors-*.csv"))]
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
    pd.concat(map(pd.read_csv, skipped)).to_csv(folder / "skipped.csv", index=False)
    if physics:
        without = map(pd.read_csv, sorted(work.glob("without-*.csv")))
        pd.concat(without).to_csv(folder / "without_physics.csv", index=False)
    shutil.rmtree(work)
    return EmbeddingIndex.load(folder)


def _keep_choices(work: Path, choices: dict[str, Any]) -> None:
    """Write down what the work is begun with, or compare it with what is written there.

    Raises
    ------
    IndexFolderError
        If they differ.
    """
    path = work / _CHOICES
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_text(json.dumps(choices, indent=1))
        os.replace(path.with_suffix(".part"), path)
        return
    try:
        before = {"physics": False, **json.loads(path.read_text())}  # older notes do not name it
        differing = [name for name in choices if before[name] != choices[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFolderError(str(work), f"no readable {_CHOICES} ({error})", remedy=f"Remove {work}.") from error
    if differing:
        shown = "; ".join(f"{name} was {before[name]}, now {choices[name]}" for name in differing)
        raise IndexFolderError(str(work), f"unfinished work that was begun with another {' and '.join(differing)} "
                               f"({shown})", "an index is built with one source and one set of choices",
                               f"Go on with the same choices, or remove {work} to begin anew.")  # fmt: skip


def _described(source: Any) -> str:
    """A source in words, the same for the same source: paths with sizes, or kind, number and digest of the objects."""
    source = getattr(source, "path", source)  # of a store
    if isinstance(source, str | os.PathLike) and "\n" not in str(source):
        path = Path(os.path.realpath(source))
        if path.is_file():
            return f"{path} ({path.stat().st_size} bytes)"
        files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else []
        size = sum(found.stat().st_size for found in files)
        return f"{path} ({len(files)} files, {size} bytes)" if files else str(path)
    if not isinstance(source, Sequence | pd.DataFrame) or isinstance(source, str):
        return type(source).__name__
    entries = source.itertuples() if isinstance(source, pd.DataFrame) else source
    sample = islice(entries, 0, None, 1 + len(source) // 100)
    digest = hashlib.sha256("\n".join(map(str, sample)).encode()).hexdigest()[:16]
    return f"{type(source).__name__} of {len(source)}, digest {digest}"


def _weights_digest(model: CrystalSSLModel) -> str:
    digest = hashlib.sha256()
    for name, component in sorted(model.components.items()):
        for key, tensor in component.state_dict().items():
            digest.update(f"{name}.{key}".encode())
            digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


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
