"""An index on disk: arrays, an Arrow store, a Parquet table; nothing that could run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import CrystalInputError, IndexFolderError
from ..crystals.store import RecordStore, write_records
from ..models.embedding import Space
from ..models.pretraining import CrystalSSLModel
from ..models.pretrained import save_pretrained
from .catalogue import Crystals
from .projection import MaterialsMap

FORMAT = 1
_MANIFEST, _VECTORS, _PATTERNS, _SPACING = "index.json", "vectors.npy", "pattern_vectors.npy", "spacing.npy"
_TABLE, _STRUCTURES, _MODEL, _MAP = "catalogue.parquet", "structures", "model", "map.npz"


def save(
    folder: str | Path,
    vectors: np.ndarray,
    table: pd.DataFrame,
    structures: Crystals | None,
    model: str | Path | CrystalSSLModel | None,
    space: Space,
    pattern_vectors: np.ndarray | None,
    spacing: np.ndarray,
    map: MaterialsMap | None = None,
) -> None:
    """Write the parts of an index beside the folder, then put them into its place.

    Raises
    ------
    IndexFolderError
        If the folder holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / _MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise IndexFolderError(str(folder), "holds something else", "an index is written to a folder of its own",
                               "Name a new or empty folder.")  # fmt: skip
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    np.save(part / _VECTORS, vectors)
    np.save(part / _SPACING, spacing)
    if pattern_vectors is not None:
        np.save(part / _PATTERNS, pattern_vectors)
    if map is not None:
        save_map(part, map)
    table.to_parquet(part / _TABLE, index=False)
    if structures is not None:
        write_records((structures[k] for k in range(len(structures))), part / _STRUCTURES, disorder="average",
                      on_error="raise", progress=False)  # fmt: skip
    named = model
    if isinstance(model, CrystalSSLModel):
        save_pretrained(model, part / _MODEL, {"description": "the model of an index"})
        named = None
    manifest = {"format": FORMAT, "crystals": len(table), "space": space, "model": named and str(named)}
    (part / _MANIFEST).write_text(json.dumps(manifest, indent=1))
    old = folder.with_name(folder.name + ".old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)


def save_map(folder: str | Path, map: MaterialsMap) -> None:
    """Write the map of an index into its folder, whole or not at all."""
    part = Path(folder) / f"{_MAP}.part"
    with open(part, "wb") as file:
        np.savez(file, positions=map.positions, neighbors=map.neighbors, distances=map.distances)
    os.replace(part, Path(folder) / _MAP)


def _load_map(folder: Path) -> MaterialsMap | None:
    if not (folder / _MAP).exists():
        return None
    with np.load(folder / _MAP, allow_pickle=False) as arrays:
        return MaterialsMap(arrays["positions"], arrays["neighbors"], arrays["distances"])


def load(folder: str | Path) -> dict[str, Any]:
    """The parts of an index, large ones mapped into memory.

    Raises
    ------
    IndexFolderError
        If the folder holds no index, or a broken one.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        version, size, space, model = (manifest[name] for name in ("format", "crystals", "space", "model"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFolderError(str(folder), f"no readable {_MANIFEST} ({error})") from error
    if version != FORMAT:
        raise IndexFolderError(str(folder), f"format {version}", f"this version reads format {FORMAT}")
    try:
        vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
        spacing = np.load(folder / _SPACING, allow_pickle=False)
        patterns = None
        if (folder / _PATTERNS).exists():
            patterns = np.load(folder / _PATTERNS, mmap_mode="r", allow_pickle=False)
        table = pd.read_parquet(folder / _TABLE)
        structures = RecordStore(folder / _STRUCTURES) if (folder / _STRUCTURES).exists() else None
        map = _load_map(folder)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, pa.ArrowException, CrystalInputError) as error:
        raise IndexFolderError(str(folder), f"a broken part ({str(error)[:120]})") from error
    sizes = {len(part) for part in (vectors, table, patterns, structures, map) if part is not None}
    if sizes != {size} or vectors.ndim != 2 or "material_id" not in table:
        raise IndexFolderError(str(folder), f"parts of {sorted(sizes)} crystals, the manifest says {size}")
    if (folder / _MODEL).is_dir():
        model = folder / _MODEL
    return {
        "vectors": vectors,
        "table": table,
        "structures": structures,
        "model": model,
        "space": space,
        "pattern_vectors": patterns,
        "spacing": spacing,
        "map": map,
    }
