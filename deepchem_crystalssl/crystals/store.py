"""Crystals on disk: sharded Arrow files, memory-mapped, written once and resumable.

A record takes about 13 bytes per site and 100 for the rest. Edges are not kept: the kernel builds them far faster
than a model trains on them, and at 11 bytes each they would take most of the room. Fractional coordinates are
fixed-point numbers of 32 bits, good to 10^-9 of a cell vector.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .disorder import Disorder
from ..errors import NoCrystalsError, OnError, Report, StoreError
from .records import Crystal, Occupancies
from .reading import read_structures

FORMAT = 1
SHARD_SIZE = 8192
_MANIFEST = "manifest.json"
_TURN = 2.0**32  # one cell vector in fixed-point units
_SCHEMA = pa.schema(
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


def write_records(
    source: Any,
    path: str | Path,
    *,
    disorder: Disorder = "refuse",
    on_error: OnError = "skip",
    report: Report | None = None,
    progress: bool | None = None,
) -> int:
    """Write the crystals of a source into a folder; called again after a kill, it goes on where it stopped.

    Parameters
    ----------
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads; the same source when going on.
    path : str or Path
        Folder, made if needed.
    disorder, on_error, report, progress
        As in :func:`~deepchem_crystalssl.structures_to_graphs`.

    Returns
    -------
    int
        Number of crystals in the store.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = _read_manifest(folder) if (folder / _MANIFEST).exists() else {
        "format": FORMAT, "disorder": disorder, "complete": False, "consumed": 0, "shards": [],
    }  # fmt: skip
    if manifest["complete"]:
        return sum(shard["crystals"] for shard in manifest["shards"])
    if manifest["disorder"] != disorder:
        raise StoreError(str(folder), f"begun with disorder={manifest['disorder']!r}", "one store has one policy",
                         "Go on with the same, or write another folder.")  # fmt: skip
    report = Report() if report is None else report
    reader = read_structures(source, on_error, disorder=disorder, report=report, progress=progress)
    batch: list[Crystal] = []
    position = -1
    for position, crystal in reader.enumerate():
        if position < manifest["consumed"]:
            continue
        batch.append(crystal)
        if len(batch) == SHARD_SIZE:
            _add_shard(folder, manifest, batch, position + 1)
            batch = []
    if batch:
        _add_shard(folder, manifest, batch, position + 1)
    if not manifest["shards"]:
        raise NoCrystalsError(str(source), report.summary())
    manifest["complete"] = True
    _write_manifest(folder, manifest)
    report.to_frame().to_csv(folder / "skipped.csv", index=False)
    report.log()
    return sum(shard["crystals"] for shard in manifest["shards"])


def _add_shard(folder: Path, manifest: dict, crystals: list[Crystal], consumed: int) -> None:
    name = f"shard-{len(manifest['shards']):05d}.arrow"
    temporary = folder / (name + ".part")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(_to_batch(crystals))
    os.replace(temporary, folder / name)  # a shard is there whole or not at all
    size = (folder / name).stat().st_size
    manifest["shards"].append({"file": name, "crystals": len(crystals), "bytes": size})
    manifest["consumed"] = consumed
    _write_manifest(folder, manifest)


def _to_batch(crystals: list[Crystal]) -> pa.RecordBatch:
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
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA)


def _read_manifest(folder: Path) -> dict:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        version = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(str(folder), f"no readable {_MANIFEST} ({error})") from error
    if version != FORMAT:
        raise StoreError(str(folder), f"format {version}", f"this version reads format {FORMAT}",
                         "Use the package version that wrote it, or write the store again.")  # fmt: skip
    return manifest


def _write_manifest(folder: Path, manifest: dict) -> None:
    temporary = folder / (_MANIFEST + ".part")
    temporary.write_text(json.dumps(manifest, indent=1))
    os.replace(temporary, folder / _MANIFEST)


@dataclass(frozen=True)
class _Shard:
    """One file's columns as arrays over its mapped memory."""

    lattice: np.ndarray  # (n, 3, 3)
    first: np.ndarray  # (n + 1,)
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray  # (sites, 3), fixed point
    table: pa.Table

    @classmethod
    def open(cls, path: Path, crystals: int) -> _Shard:
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            columns = {name: table.column(name).chunk(0) for name in ("lattice", "atomic_numbers", "frac_coords")}
        except (OSError, pa.ArrowInvalid, KeyError, IndexError) as error:
            raise StoreError(str(path), f"broken or missing shard ({str(error)[:80]})") from error
        if len(table) != crystals:
            raise StoreError(str(path), f"{len(table)} crystals, the manifest says {crystals}")
        return cls(
            columns["lattice"].flatten().to_numpy(zero_copy_only=False).reshape(-1, 3, 3),
            columns["atomic_numbers"].offsets.to_numpy(),
            columns["atomic_numbers"].values.to_numpy(),
            columns["frac_coords"].values.to_numpy().reshape(-1, 3),
            table,
        )

    def record(self, row: int) -> Crystal:
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


class RecordStore:
    """Crystals of a folder written by :func:`write_records`, read by memory map.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    StoreError
        If the folder is no store, was not finished, or a shard is cut off or missing.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> folder = tempfile.mkdtemp()
    >>> write_records(bundled_prototypes()[:5], folder)
    5
    >>> RecordStore(folder)[3]
    Crystal(AB_oI4_44_a_b, Ga1As1, 2 sites)
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        manifest = _read_manifest(self.path)
        if not manifest["complete"]:
            raise StoreError(str(path), f"unfinished after {manifest['consumed']} items", "a store must be finished",
                             "Run the same featurize command again; it goes on where it stopped.")  # fmt: skip
        self._shards = [_Shard.open(self.path / s["file"], s["crystals"]) for s in manifest["shards"]]
        self._first = np.cumsum([0, *(s["crystals"] for s in manifest["shards"])])

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> Crystal:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        return self._shards[shard].record(index - int(self._first[shard]))

    def __iter__(self) -> Iterator[Crystal]:
        return (self[k] for k in range(len(self)))

    def records(self, indices: Iterable[int]) -> list[Crystal]:
        """The crystals at some positions."""
        return [self[int(k)] for k in indices]

    @cached_property
    def material_ids(self) -> np.ndarray:
        """Names, object (n,)."""
        return np.concatenate([shard.table.column("material_id").to_numpy() for shard in self._shards])

    @cached_property
    def num_sites(self) -> np.ndarray:
        """Sites of each crystal, (n,)."""
        return np.concatenate([np.diff(shard.first) for shard in self._shards])

    @cached_property
    def chemical_systems(self) -> np.ndarray:
        """Chemical system of each crystal, object (n,): the groups no split should cut."""
        return np.array([crystal.chemical_system for crystal in self], dtype=object)


def open_source(source: Any) -> Any:
    """Open a source that is the path of a store, and return any other source as it is.

    Parameters
    ----------
    source
        Anything that :func:`~deepchem_crystalssl.read_structures` reads, or the folder of a store.

    Returns
    -------
    RecordStore or object
        Crystals that :func:`~deepchem_crystalssl.read_structures` reads.
    """
    is_store = isinstance(source, str | Path) and Path(source, _MANIFEST).is_file()
    return RecordStore(source) if is_store else source
