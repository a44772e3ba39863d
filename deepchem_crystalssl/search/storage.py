"""An index on disk: arrays, an Arrow store and a Parquet table. Nothing in the folder can run code."""

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
from .materials_map import MaterialsMap
from .parts import IndexParts, ModelReference

FORMAT = 1
_MANIFEST, _VECTORS, _PATTERNS, _SPACING = "index.json", "vectors.npy", "pattern_vectors.npy", "spacing.npy"
_TABLE, _STRUCTURES, _MODEL, _MAP = "catalogue.parquet", "structures", "model", "map.npz"


def save(folder: str | Path, parts: IndexParts) -> None:
    """Write an index beside the folder, then put it into its place.

    Raises
    ------
    IndexFolderError
        If the folder holds something else, or the index has no crystal.
    """
    from ..crystals.store import write_records

    folder = Path(folder)
    if folder.exists() and not (folder / _MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise IndexFolderError(str(folder), "holds something else", "an index is written to a folder of its own",
                               "Name a new or empty folder.")  # fmt: skip
    if not len(parts):
        raise IndexFolderError(str(folder), "0 crystals", "an index on disk holds at least one crystal",
                               "Add crystals before saving it.")  # fmt: skip
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    np.save(part / _VECTORS, parts.vectors)
    if parts.spacing is not None:
        np.save(part / _SPACING, parts.spacing)
    if parts.pattern_vectors is not None:
        np.save(part / _PATTERNS, parts.pattern_vectors)
    if parts.map is not None:
        save_map(part, parts.map)
    parts.table.to_parquet(part / _TABLE, index=False)
    if parts.structures is not None:
        write_records((parts.structures[k] for k in range(len(parts))), part / _STRUCTURES, disorder="average",
                      on_error="raise", progress=False)  # fmt: skip
    name = None if parts.model is None else _keep_model(parts.model, part / _MODEL)
    manifest = {"format": FORMAT, "crystals": len(parts), "space": parts.space, "model": name}
    (part / _MANIFEST).write_text(json.dumps(manifest, indent=1))
    old = folder.with_name(folder.name + ".old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)


def _keep_model(model: ModelReference, folder: Path) -> str | None:
    """Write the model into the folder of the index, unless a name is enough to find it: then the name."""
    if model.name is not None and not model.is_part:
        return model.name
    if model.name is not None:
        shutil.copytree(model.name, folder)
        return None
    from ..models.pretrained import save_pretrained

    save_pretrained(model.opened, folder, {"description": "the model of an index"})
    return None


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


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What an index is, without reading it.

    Raises
    ------
    IndexFolderError
        If the folder holds no index, or one of another kind or version.
    """
    try:
        manifest = json.loads((Path(folder) / _MANIFEST).read_text())
        if manifest.get("kind") == "sharded":
            raise IndexFolderError(str(folder), "a sharded index", "this reads an index that is held in memory",
                                   "Open it with ShardedIndex.load.")  # fmt: skip
        found = {name: manifest[name] for name in ("format", "crystals", "space", "model")}
    except IndexFolderError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexFolderError(str(folder), f"its file {_MANIFEST} is missing or cannot be read ({error})") from error
    if found["format"] != FORMAT:
        raise IndexFolderError(str(folder), f"format {found['format']}", f"this version reads format {FORMAT}")
    return found


def load(folder: str | Path) -> IndexParts:
    """The parts of an index, the large ones mapped into memory.

    Raises
    ------
    IndexFolderError
        If the folder holds no index, or a broken one.
    """
    from ..crystals.store import RecordStore

    folder, manifest = Path(folder), read_manifest(folder)
    size, space, model = (manifest[name] for name in ("crystals", "space", "model"))
    try:
        vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
        spacing = np.load(folder / _SPACING, allow_pickle=False) if (folder / _SPACING).exists() else None
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
    reference = None if model is None else ModelReference(model, is_checked=False)
    if (folder / _MODEL).is_dir():
        reference = ModelReference(folder / _MODEL, is_part=True)
    return IndexParts(vectors, table, structures, reference, space, patterns, spacing, map)
