"""The files of a store: one manifest, and crystals in Arrow shards that are read by memory map."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import StoreError, counted
from .checksums import FileRecord, RecordedFile, path_within, read_sealed, record_file, replacing
from .folder_kinds import STORE, kind_of
from .records import Crystal, Occupancies

FORMAT = 1
MANIFEST = "manifest.json"
_TURN = 2.0**32  # one cell vector in fixed-point units
SCHEMA = pa.schema(
    [
        ("material_id", pa.string()),
        ("lattice", pa.list_(pa.float64(), 9)),
        ("atomic_numbers", pa.list_(pa.uint8())),
        ("frac_coords", pa.list_(pa.uint32())),
        ("species_site", pa.list_(pa.uint32())),
        ("species_numbers", pa.list_(pa.uint8())),
        ("species_occupancy", pa.list_(pa.float32())),
    ]
)


def to_batch(crystals: list[Crystal]) -> pa.RecordBatch:
    """Crystals as the columns of a shard."""
    species = [crystal.occupancies for crystal in crystals]
    columns = [
        [crystal.material_id for crystal in crystals],
        [crystal.lattice.ravel() for crystal in crystals],
        [crystal.atomic_numbers.astype(np.uint8) for crystal in crystals],
        [
            np.floor(crystal.frac_coords.ravel() * _TURN + 0.5).astype(np.uint64).astype(np.uint32)
            for crystal in crystals
        ],
        [None if s is None else s.site.astype(np.uint32) for s in species],
        [None if s is None else s.atomic_numbers.astype(np.uint8) for s in species],
        [None if s is None else s.occupancy.astype(np.float32) for s in species],
    ]
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def read_manifest(folder: Path) -> dict:
    """What the manifest of a store says.

    Raises
    ------
    StoreError
        If there is none that can be read, or another version of the package wrote it.
    """
    found = "a file" if folder.is_file() else kind_of(folder)
    if found not in (None, STORE) and not (folder / MANIFEST).is_file():  # a store may be made shard by shard
        raise StoreError(str(folder), found, "a store is a folder that `crystalssl featurize` has written",
                         f"Write the crystals into a store first: crystalssl featurize {folder} -o store."
                         if found == "a file" else "Name the folder of a store.")  # fmt: skip
    manifest = read_sealed(folder / MANIFEST, StoreError, StoreError.remedy)
    version = manifest.get("format")
    if version != FORMAT:
        raise StoreError(str(folder), f"format {version}", f"this version reads format {FORMAT}",
                         "Use the package version that wrote it, or write the store again.")  # fmt: skip
    kinds = {"disorder": str, "complete": bool, "consumed": int, "shards": list}
    wrong = [name for name, kind in kinds.items() if not isinstance(manifest.get(name), kind)]
    if not wrong and not all(isinstance(s, dict) and isinstance(s.get("crystals"), int) for s in manifest["shards"]):
        wrong = ["shards"]
    if wrong:
        raise StoreError(str(folder / MANIFEST), f"no valid {' and '.join(wrong)}")
    for shard in manifest["shards"]:
        path_within(folder, shard.get("file"), StoreError)
    return manifest


def write_json(path: Path, content: dict | list) -> None:
    """Write a file that is there whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1))


def write_shard(path: Path, crystals: list[Crystal]) -> FileRecord:
    """Write a shard that is there whole or not at all, and return its size and checksums."""
    with replacing(path) as part:
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_batch(to_batch(crystals))
        return record_file(part)


def record_of(entry: Mapping[str, Any]) -> FileRecord | None:
    """Size and checksums in the entry of a manifest; None in one of an earlier version."""
    return {"bytes": entry.get("bytes", -1), "crc32": entry["crc32"]} if "crc32" in entry else None


def record_beside(path: Path) -> FileRecord | None:
    """Size and checksums of a shard that the manifest in its folder knows."""
    try:
        state = os.stat(path.parent / MANIFEST)
    except OSError:
        return None
    return _records_in(path.parent, state.st_mtime_ns, state.st_size).get(path.name)


@lru_cache(maxsize=4)
def _records_in(folder: Path, changed: int, size: int) -> dict[str, FileRecord | None]:
    return {shard["file"]: record_of(shard) for shard in read_manifest(folder)["shards"]}


@dataclass(frozen=True)
class Shard:
    """The columns of one shard as arrays over its mapped memory."""

    lattice: np.ndarray  # (n, 3, 3)
    first: np.ndarray  # (n + 1,)
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray  # (sites, 3), fixed point
    table: pa.Table

    @classmethod
    def open(cls, path: Path, crystals: int | None = None, record: FileRecord | None = None) -> Shard:
        """Verify a file and map it into memory.

        Parameters
        ----------
        path : Path
        crystals : int, optional
            How many it must hold.
        record : FileRecord, optional
            Its size and checksums; by default those in the manifest beside it, if there is one that knows it.

        Raises
        ------
        StoreError
            If it is missing, is not what was written, or holds something else than crystals or another number of them.
        """
        table = RecordedFile(path, record or record_beside(path), StoreError, StoreError.remedy).map_table()
        lost = [field.name for field in SCHEMA if field.name not in table.schema.names
                or table.schema.field(field.name).type != field.type]  # fmt: skip
        if lost or any(table.column(name).num_chunks != 1 for name in SCHEMA.names):
            raise StoreError(str(path), f"no columns of crystals ({', '.join(lost) or 'in pieces'})")
        if crystals is not None and len(table) != crystals:
            raise StoreError(str(path), f"{counted(len(table), 'crystal')}, the manifest says {crystals}")
        lattice, numbers, coordinates = (
            table.column(name).chunk(0) for name in ("lattice", "atomic_numbers", "frac_coords")
        )
        first = numbers.offsets.to_numpy()
        if lattice.null_count or not np.array_equal(coordinates.offsets.to_numpy(), 3 * first):
            raise StoreError(str(path), "coordinates or lattices do not belong to the atoms")
        return cls(
            lattice.flatten().to_numpy(zero_copy_only=False).reshape(-1, 3, 3),
            first,
            numbers.values.to_numpy(),
            coordinates.values.to_numpy().reshape(-1, 3),
            table,
        )

    def __len__(self) -> int:
        return len(self.table)

    def columns(self) -> Iterator[tuple[str, Any]]:
        """Name and content of each column, so that those of shards can be put one after the other."""
        yield "material_id", "".join(f"{name}\0" for name in self.table.column("material_id").to_pylist()).encode()
        yield "lattice", np.ascontiguousarray(self.lattice)
        yield "num_sites", np.diff(self.first).astype(np.int64)
        yield "atomic_numbers", np.ascontiguousarray(self.atomic_numbers)
        yield "frac_coords", np.ascontiguousarray(self.frac_coords)
        for name in ("species_site", "species_numbers", "species_occupancy"):
            column = self.table.column(name).combine_chunks()
            yield f"{name} length", np.asarray(pc.fill_null(pc.list_value_length(column), -1)).astype(np.int64)
            yield name, np.asarray(column.flatten())

    def records(self, rows: tuple[int, int] | None = None) -> Iterator[Crystal]:
        """The crystals from one row up to before another, by default all."""
        return (self.record(row) for row in range(*(rows or (0, len(self)))))

    def record(self, row: int) -> Crystal:
        """The crystal of one row."""
        sites = slice(self.first[row], self.first[row + 1])
        occupancies = None
        site = self.table.column("species_site")[row].as_py()
        if site is not None:
            numbers, occupancy = (self.table.column(f"species_{k}")[row].as_py() for k in ("numbers", "occupancy"))
            occupancies = Occupancies(np.array(site, np.int32), np.array(numbers, np.int16), np.array(occupancy, float))
        return Crystal(
            self.atomic_numbers[sites].astype(np.int16),
            self.frac_coords[sites] / _TURN,
            self.lattice[row].copy(),
            self.table.column("material_id")[row].as_py(),
            occupancies,
        )
