"""The files of a store: one manifest, and crystals in Arrow shards that are read by memory map."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import StoreError, counted
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
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        version = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(str(folder), f"no readable {MANIFEST} ({error})") from error
    if version != FORMAT:
        raise StoreError(str(folder), f"format {version}", f"this version reads format {FORMAT}",
                         "Use the package version that wrote it, or write the store again.")  # fmt: skip
    return manifest


def write_json(path: Path, content: dict | list) -> None:
    """Write a file that is there whole or not at all."""
    temporary = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.part")  # several may write at once
    temporary.write_text(json.dumps(content, indent=1))
    os.replace(temporary, path)


def write_shard(path: Path, crystals: list[Crystal]) -> int:
    """Write a shard that is there whole or not at all, and return its size in bytes."""
    temporary = path.with_name(path.name + ".part")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(to_batch(crystals))
    os.replace(temporary, path)
    return path.stat().st_size


@dataclass(frozen=True)
class Shard:
    """The columns of one shard as arrays over its mapped memory."""

    lattice: np.ndarray  # (n, 3, 3)
    first: np.ndarray  # (n + 1,)
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray  # (sites, 3), fixed point
    table: pa.Table

    @classmethod
    def open(cls, path: Path, crystals: int | None = None) -> Shard:
        """Map the file into memory; a StoreError if it is broken, missing, or holds another number of crystals."""
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            columns = {name: table.column(name).chunk(0) for name in ("lattice", "atomic_numbers", "frac_coords")}
        except (OSError, pa.ArrowInvalid, KeyError, IndexError) as error:
            raise StoreError(str(path), f"broken or missing shard ({str(error)[:80]})") from error
        if crystals is not None and len(table) != crystals:
            raise StoreError(str(path), f"{counted(len(table), 'crystal')}, the manifest says {crystals}")
        return cls(
            columns["lattice"].flatten().to_numpy(zero_copy_only=False).reshape(-1, 3, 3),
            columns["atomic_numbers"].offsets.to_numpy(),
            columns["atomic_numbers"].values.to_numpy(),
            columns["frac_coords"].values.to_numpy().reshape(-1, 3),
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
