"""An index on disk: arrays, an Arrow store and a Parquet table. Nothing in the folder can run code."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..crystals.checksums import (
    FileRecord,
    RecordedFile,
    StoredArray,
    path_within,
    read_archive,
    read_sealed,
    record_files,
    replacing,
    write_sealed,
)
from ..errors import CrystalInputError, IndexFolderError
from .materials_map import MaterialsMap
from .parts import IndexParts, ModelReference
from .saving import finish, is_free, part_of, remove, replace_parts

FORMAT = 1
MANIFEST, _VECTORS, _PATTERNS, _SPACING = "index.json", "vectors.npy", "pattern_vectors.npy", "spacing.npy"
_TABLE, STRUCTURES, MODEL, _MAP = "catalogue.parquet", "structures", "model", "map.npz"
_PARTS = (_VECTORS, _PATTERNS, _SPACING, _TABLE, STRUCTURES, MODEL, _MAP)
_STORE = f"{STRUCTURES}/manifest.json"
_FILES = "files"  # in the manifest: sizes and checksums
_REMEDY = (
    "Copy it again from where it is whole, or build the index again with `crystalssl index`; `crystalssl verify` lists "
    "all damage."
)
_MAP_REMEDY = "Copy it again from where it is whole, or remove it: the map is laid out anew then."
_VECTORS_OF_MAP = "vectors_crc32"


def save(folder: str | Path, parts: IndexParts) -> None:
    """Write an index into a folder; one that is there is replaced as a whole: see :mod:`.saving`.

    Raises
    ------
    IndexFolderError
        If the folder holds something else, or the index has no crystal.
    """
    folder = Path(os.path.realpath(folder))
    if not is_free(folder) and not part_of(folder, MANIFEST).is_file():
        raise IndexFolderError(str(folder), "holds something else", "an index is written to a folder of its own",
                               "Name a new or empty folder.")  # fmt: skip
    if not len(parts):
        raise IndexFolderError(str(folder), "0 crystals", "an index on disk holds at least one crystal",
                               "Add crystals before saving it.")  # fmt: skip
    replace_parts(folder, lambda new: _write(new, parts), MANIFEST)
    listed = {name.partition("/")[0] for name in read_sealed(folder / MANIFEST, IndexFolderError)[_FILES]}
    for name in {*_PARTS} - listed - ({_MAP} if parts.map is not None else set()):
        remove(folder / name)


def _write(folder: Path, parts: IndexParts) -> None:
    """Write all parts into an empty folder, the manifest last."""
    from ..crystals.store import write_records

    arrays = {_VECTORS: parts.vectors, _SPACING: parts.spacing, _PATTERNS: parts.pattern_vectors}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    for name, array in arrays.items():
        np.save(folder / name, np.ascontiguousarray(array))
    parts.table.to_parquet(folder / _TABLE, index=False)
    if parts.structures is not None:
        crystals = (parts.structures[k] for k in range(len(parts)))
        write_records(crystals, folder / STRUCTURES, disorder="average", on_error="raise", progress=False)
    model = None if parts.model is None else _keep_model(parts.model, folder / MODEL)
    names = [*arrays, _TABLE]
    names += [_STORE] if parts.structures is not None else []
    names += [path.relative_to(folder).as_posix() for path in sorted((folder / MODEL).rglob("*")) if path.is_file()]
    files = record_files(folder, names)
    if parts.map is not None:
        _write_map(folder / _MAP, parts.map, files[_VECTORS])
    manifest = {"format": FORMAT, "crystals": len(parts), "space": parts.space, "model": model, _FILES: files}
    write_sealed(folder / MANIFEST, manifest)


def _keep_model(model: ModelReference, folder: Path) -> str | None:
    """Write the model into the folder of the index, unless it came with the package: then its name is enough."""
    from ..models.folders import CARD, list_pretrained

    if model.name is not None and not model.is_part and model.name in set(list_pretrained()["name"]):
        return model.name
    if model.name is not None and Path(model.name, CARD).is_file():
        shutil.copytree(model.name, folder)
        return None
    from ..models.pretrained import save_pretrained

    save_pretrained(model.opened, folder, {"description": "the model of an index"}, half=model.name is None)
    return None


def save_map(folder: str | Path, map: MaterialsMap) -> None:
    """Write the map of an index into its folder, whole or not at all."""
    folder = Path(folder)
    if os.access(folder, os.W_OK):
        finish(folder, MANIFEST)
    _write_map(folder / _MAP, map, _read_manifest(folder)[_FILES].get(_VECTORS))


def _write_map(path: Path, map: MaterialsMap, vectors: FileRecord | None) -> None:
    of = {} if vectors is None else {_VECTORS_OF_MAP: _digest(vectors)}
    arrays = {"positions": map.positions, "neighbors": map.neighbors, "distances": map.distances, **of}
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _digest(record: FileRecord) -> np.ndarray:
    return np.array(zlib.crc32(record["crc32"].encode()), np.uint32)


def _load_map(path: Path, vectors: FileRecord | None) -> MaterialsMap | None:
    """The map of an index, None if there is none, or one of other vectors that an interrupted saving has left."""
    if not path.exists():
        return None
    arrays = read_archive(path, IndexFolderError, _MAP_REMEDY)
    of = arrays.pop(_VECTORS_OF_MAP, None)
    if set(arrays) != {"positions", "neighbors", "distances"}:
        raise IndexFolderError(str(path), f"arrays {', '.join(sorted(arrays))}", "a map has positions and neighbors",
                               _MAP_REMEDY)  # fmt: skip
    found = MaterialsMap(**arrays)
    if vectors is not None and of is not None and of != _digest(vectors):
        return None
    n, near = len(found.positions), found.neighbors
    fits = found.positions.shape == (n, 2) and near.ndim == 2 and near.shape == found.distances.shape
    if not fits or (near.size and not 0 <= near.min() <= near.max() < n):
        raise IndexFolderError(str(path), "positions and neighbours that do not belong together",
                               "a map has a position and neighbours for each crystal", _MAP_REMEDY)  # fmt: skip
    return found


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What an index is, without reading it.

    Raises
    ------
    IndexFolderError
        If the folder holds no index, or one of another kind or version.
    """
    return {name: value for name, value in _read_manifest(folder).items() if name != _FILES}


def _read_manifest(folder: str | Path) -> dict[str, Any]:
    """What an index is, and the sizes and checksums of its files, if it has them."""
    path = part_of(folder, MANIFEST)
    try:
        manifest = read_sealed(path, IndexFolderError, _REMEDY)
    except IndexFolderError as error:
        if os.path.lexists(path):
            raise
        raise IndexFolderError(str(folder), f"its file {MANIFEST} is missing or cannot be read") from error
    if manifest.get("kind") == "sharded":
        raise IndexFolderError(str(folder), "a sharded index", "this reads an index that is held in memory",
                               "Open it with ShardedIndex.load.")  # fmt: skip
    missing = [name for name in ("format", "crystals", "space", "model") if name not in manifest]
    if missing or not isinstance(manifest.setdefault(_FILES, {}), dict):
        raise IndexFolderError(str(path), f"no {missing[0] if missing else _FILES} that can be read", remedy=_REMEDY)
    if manifest["format"] != FORMAT:
        raise IndexFolderError(str(folder), f"format {manifest['format']}", f"this version reads format {FORMAT}")
    return manifest


def load(folder: str | Path) -> IndexParts:
    """The parts of an index, the large ones mapped into memory, where they are verified when they are first used.

    Raises
    ------
    IndexFolderError
        If the folder holds no index, or a broken one.
    """
    folder, manifest = Path(folder), _read_manifest(folder)
    size, space, model, files = (manifest[name] for name in ("crystals", "space", "model", _FILES))
    vectors = _array(folder, files, _VECTORS, needed=True)
    assert vectors is not None
    spacing, patterns = _array(folder, files, _SPACING), _array(folder, files, _PATTERNS)
    table, structures = _table(folder, files), _structures(folder, files)
    map = _load_map(part_of(folder, _MAP), files.get(_VECTORS))
    sizes = {len(part) for part in (vectors, table, patterns, structures, map) if part is not None}
    axes = [part.ndim for part in (vectors, patterns) if part is not None]
    if sizes != {size} or {*axes} != {2} or "material_id" not in table:
        raise IndexFolderError(str(folder), f"parts of {sorted(sizes)} crystals, the manifest says {size}")
    reference = None if model is None else ModelReference(str(model), is_checked=False)
    if part_of(folder, MODEL).is_dir() and (not files or any(name.startswith(f"{MODEL}/") for name in files)):
        for name in files:
            if name.startswith(f"{MODEL}/"):
                file = _recorded(folder, files, name)
                if name.endswith(".json"):  # it has the digest of the weights, which are verified when they are read
                    file.verify()
        reference = ModelReference(part_of(folder, MODEL), is_part=True)
    known = None if spacing is None else np.asarray(spacing)
    return IndexParts(vectors, table, structures, reference, space, patterns, known, map)


def _recorded(folder: Path, files: Mapping[str, FileRecord], name: str) -> RecordedFile:
    path = part_of(folder, path_within(folder, name, IndexFolderError).relative_to(folder).as_posix())
    return RecordedFile(path, files.get(name), IndexFolderError, _REMEDY)


def _is_there(folder: Path, files: Mapping[str, FileRecord], name: str) -> bool:
    """Whether an index has a part; without a list of files, whether there is one."""
    return name in files if files else part_of(folder, name).exists()


def _array(folder: Path, files: Mapping[str, FileRecord], name: str, needed: bool = False) -> StoredArray | None:
    return _recorded(folder, files, name).map_array() if needed or _is_there(folder, files, name) else None


def _table(folder: Path, files: Mapping[str, FileRecord]) -> pd.DataFrame:
    file = _recorded(folder, files, _TABLE)
    try:
        return pd.read_parquet(pa.BufferReader(file.read_bytes()))
    except CrystalInputError:
        raise
    except Exception as error:  # a table without a checksum; its readers raise much
        raise IndexFolderError(str(file.path), f"no table ({str(error)[:80]})", remedy=_REMEDY) from error


def _structures(folder: Path, files: Mapping[str, FileRecord]) -> Any:
    from ..crystals.store import RecordStore

    if not _is_there(folder, files, _STORE if files else STRUCTURES):
        return None
    if files:
        _recorded(folder, files, _STORE).verify()
    try:
        return RecordStore(part_of(folder, STRUCTURES))
    except CrystalInputError as error:
        raise IndexFolderError(error.item, error.value, error.rule, _REMEDY) from error
