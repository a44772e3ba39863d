"""Crystals on disk: sharded Arrow files, memory-mapped, whose writing can be interrupted.

A record takes about 13 bytes for each site and 100 for the rest. Edges are not stored: they are searched for far faster
than a model trains on them, and at 11 bytes each they would take most of the room. Fractional coordinates are
fixed-point numbers of 32 bits, exact to 10^-9 of a cell vector.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from .checksums import RecordedFile, is_unfinished, record_files, remove_unfinished, replacing, write_sealed
from .disorder import Disorder, check_policy
from ..errors import (
    NoCrystalsError,
    OnError,
    Report,
    StoreError,
    UnsupportedFileError,
    an_object,
    check_choice,
    counted,
)
from .folder_kinds import INDEX, kind_of
from .records import Crystal
from .shards import FORMAT, MANIFEST, Shard, read_manifest, record_of, to_batch, write_shard
from .store_source import LISTING, StoreSource
from .work_folders import LOCK, alone_in, written_to

if TYPE_CHECKING:
    from .reading import StructureReader

logger = logging.getLogger(__name__)

SHARD_SIZE = 8192
_SKIPPED = "skipped.csv"
_SAME_SOURCE = "a store goes on with the source it was begun with"
_ANOTHER_FOLDER = "Write another folder, or remove this one to start again."


def write_records(
    source: Any,
    path: str | Path,
    *,
    disorder: Disorder = "refuse",
    on_error: OnError = "skip",
    report: Report | None = None,
    progress: bool | None = None,
) -> int:
    """Write the crystals of a source into a folder.

    Called again with the same source, it goes on where it was interrupted, and adds what has been added to the source:
    new files in a folder or rows at the end of a table. If the source holds nothing new, it changes nothing. Each of
    these is written to the log.

    Parameters
    ----------
    source
        Anything :func:`~deepchem_crystalssl.read_structures` reads. Files in a folder that the store knows are read
        again if their size or time has changed; any other source is read again from its beginning. What is read again
        must give the crystals that are in the store.
    path : str or Path
        Folder, made if needed.
    disorder, on_error, report, progress
        As in :func:`~deepchem_crystalssl.structures_to_graphs`. The items left out are also listed in ``skipped.csv``
        in the folder; report and list include those of earlier calls.

    Returns
    -------
    int
        Number of crystals in the store.

    Raises
    ------
    StoreError
        If the store was begun with another source or another policy for disorder, or files that it was made of are
        missing or hold other crystals; if another process writes there, or the disk is full or cannot be written to.
    NoCrystalsError
        If the source holds no crystal.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> folder = tempfile.mkdtemp()
    >>> write_records(bundled_prototypes()[:5], folder), write_records(bundled_prototypes()[:8], folder)
    (5, 8)
    """
    check_policy(disorder)
    check_source(source)
    check_choice("on_error", on_error, get_args(OnError))
    folder, found = Path(path), Report()
    try:
        with written_to(folder, StoreError):
            _check_place(folder)
            if isinstance(source, str | Path) and os.path.abspath(source) == os.path.abspath(folder):
                raise StoreError(str(folder), "the source is the store itself", "a store is written from other files",
                                 "Name another folder for the store.")  # fmt: skip
            with alone_in(folder, StoreError):
                remove_unfinished(folder)
                return _StoreWriter(folder, source, disorder, found).write(source, on_error, progress)
    finally:
        if report is not None:
            report.extend(found)


def _check_place(folder: Path) -> None:
    """A StoreError unless a folder is new or empty, or holds a store, finished or not."""
    names = {entry.name for entry in folder.iterdir() if not is_unfinished(entry)} if folder.is_dir() else set()
    others = [name for name in names if not name.startswith(("shard-", _SKIPPED, MANIFEST, LISTING, LOCK))]
    if (folder.exists() and not folder.is_dir()) or (others and MANIFEST not in names):
        raise StoreError(
            str(folder),
            "holds something else",
            "a store is written to a folder of its own",
            "Name a new or empty folder.",
        )


class _StoreWriter:
    """One call of :func:`write_records`: compares what is in the store already, and adds the rest."""

    def __init__(self, folder: Path, source: Any, disorder: Disorder, found: Report):
        self.folder = folder
        self.found = found
        self.manifest: dict = {"format": FORMAT, "disorder": disorder, "complete": False, "consumed": 0, "shards": []}
        if (folder / MANIFEST).exists():
            before = read_manifest(folder)
            if before["shards"]:
                self.manifest = before
        if self.manifest["disorder"] != disorder:
            begun = self.manifest["disorder"]
            rule, remedy = "one store has one policy", f"Pass disorder={begun!r}, or write another folder."
            raise StoreError(str(folder), f"begun with disorder={begun!r}, not {disorder!r}", rule, remedy)
        self.source = StoreSource.of(source, folder, self.manifest)
        self.batch: list[Crystal] = []

    def __len__(self) -> int:
        return sum(shard["crystals"] for shard in self.manifest["shards"])

    def write(self, source: Any, on_error: OnError, progress: bool | None) -> int:
        """Read the source, as far as it has to be read, and write what is new."""
        from .reading import read_structures  # loads compiled kernels, which opening a finished store does not need

        manifest, earlier = self.manifest, self._earlier_errors()
        before, known = len(self), self.source.is_known and earlier is not None
        if known and self.source.kind == "folder":
            consumed = manifest["consumed"]
            self.found.extend(e for e in earlier or () if e.index is not None and e.index < consumed)
        if known and manifest["complete"] and not self.source.new:
            if self.source.kind == "file":
                self.found.extend(earlier or ())
            logger.warning("%s: complete, and its source is unchanged; nothing to do", self.folder)
            return before
        if before and self.source.new:
            files = "1 new file is" if self.source.new == 1 else f"{self.source.new} new files are"
            logger.warning("%s: %s added to %s", self.folder, files, counted(before, "crystal"))
        elif before and not manifest["complete"]:
            logger.warning("%s: goes on after %s", self.folder, counted(before, "crystal"))
        is_folder = self.source.kind == "folder"
        reader = read_structures(
            self.source.items() if is_folder else source,
            on_error,
            disorder=manifest["disorder"],
            report=self.found,
            progress=progress,
        )
        if is_folder and known:
            reader.skip = manifest["consumed"]
            last = self._add(reader, manifest.get("within", 0), compare=False)
        else:
            last = self._add(reader, before, compare=True)
        if self.batch:
            self._flush(*last)
        if not manifest["shards"]:
            raise NoCrystalsError(_named(source), self.found.summary())
        if len(self) == before and manifest["complete"]:
            logger.warning("%s: complete, and its source holds nothing new", self.folder)
        manifest["complete"] = True
        self._remember(len(self.source.files) if is_folder else last[0] + 1, 0)
        self.found.log()
        return len(self)

    def _add(self, reader: StructureReader, stored: int, compare: bool) -> tuple[int, int]:
        """Pass over the crystals that are in the store, add the others; the last position and its crystals so far."""
        again: list[Crystal] = []
        shards = list(self.manifest["shards"])
        position, within, number = -1, 0, 0
        for at, crystal in reader.enumerate():
            within = within + 1 if at == position else 1
            position = at
            number += 1
            if number <= stored:
                if compare:
                    again.append(crystal)
                    if len(again) == shards[0]["crystals"]:
                        self._compare(shards.pop(0), again, number - len(again))
                        again = []
                continue
            self.batch.append(crystal)
            if len(self.batch) == SHARD_SIZE:
                self._flush(position, within)
        if number < stored:
            raise self._other_source(f"it gives {counted(number, 'crystal')}, and the store already has {stored}")
        return position, within

    def _compare(self, shard: dict, crystals: list[Crystal], first: int) -> None:
        """A StoreError unless the crystals are those of a shard."""
        stored = Shard.open(self.folder / shard["file"], shard["crystals"], record_of(shard)).table
        ours = pa.Table.from_batches([to_batch(crystals)])
        if ours.equals(stored):
            return
        row = next(k for k in range(len(crystals)) if not ours.slice(k, 1).equals(stored.slice(k, 1)))
        old, new = stored.column("material_id")[row].as_py(), crystals[row].material_id
        told = f"is {new} and was {old}" if new != old else f"({new}) has changed"
        raise self._other_source(f"its crystal {first + row} {told}")

    def _other_source(self, difference: str) -> StoreError:
        begun = (self.manifest.get("source") or {}).get("path")
        value = f"another source: {difference}" + (f"; begun with {begun}" if begun else "")
        return StoreError(str(self.folder), value, _SAME_SOURCE, _ANOTHER_FOLDER)

    def _earlier_errors(self) -> Report | None:
        """The errors that earlier calls wrote down; None if they cannot be read, so that the source must be."""
        try:
            return _read_skipped(self.folder, self.manifest)
        except StoreError:
            return None

    def _flush(self, position: int, within: int) -> None:
        name = f"shard-{len(self.manifest['shards']):05d}.arrow"
        record = write_shard(self.folder / name, self.batch)
        self.manifest["shards"].append({"file": name, "crystals": len(self.batch), **record})
        self.manifest["complete"] = False
        self.batch = []
        self._remember(position, within)

    def _remember(self, consumed: int, within: int) -> None:
        """Write down how far the source is read: so many items, and so many crystals of the next one."""
        with replacing(self.folder / _SKIPPED) as part:
            self.found.to_frame().to_csv(part, index=False)
        files = record_files(self.folder, [_SKIPPED])
        self.manifest.update(consumed=consumed, within=within, skipped=len(self.found), files=files)
        self.source.write(self.folder, self.manifest)
        write_sealed(self.folder / MANIFEST, self.manifest)


def _named(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) and "\n" not in str(source) else an_object(source)


def _read_skipped(folder: Path, manifest: dict) -> Report:
    """The errors that earlier calls wrote down, a StoreError if the file is not what they wrote."""
    path = folder / _SKIPPED
    if _SKIPPED not in manifest.get("files", {}) and not path.exists():
        return Report()
    text = RecordedFile(path, manifest.get("files", {}).get(_SKIPPED), StoreError, StoreError.remedy).read_bytes()
    try:
        return Report.from_frame(pd.read_csv(BytesIO(text), keep_default_na=False, dtype=str))
    except (ValueError, KeyError) as error:
        raise StoreError(str(path), f"cannot be read ({error})") from error


class RecordStore:
    """Crystals of a folder written by :func:`write_records`, read by memory map.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    StoreError
        If the folder is no store, was not finished, or a shard is cut off or missing; later, when a shard is first
        read, if it is not what was written.

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
        manifest = read_manifest(self.path)
        if not manifest["complete"]:
            raise StoreError(
                str(path),
                f"unfinished after {counted(manifest['consumed'], 'item')}",
                "a store must be finished before it is read",
                "Write it again from the same source; it goes on where it stopped.",
            )
        self._manifest, self._entries = manifest, manifest["shards"]
        self._opened: list[Shard | None] = [None] * len(self._entries)
        for shard in self._entries:
            RecordedFile(self.path / shard["file"], record_of(shard), StoreError, StoreError.remedy)
        self._first = np.cumsum([0, *(s["crystals"] for s in manifest["shards"])])

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> Crystal:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        return self._shard(shard).record(index - int(self._first[shard]))

    def _shard(self, number: int) -> Shard:
        """A shard, verified when it is first read."""
        shard = self._opened[number]
        if shard is None:
            entry = self._entries[number]
            shard = Shard.open(self.path / entry["file"], entry["crystals"], record_of(entry))
            self._opened[number] = shard
        return shard

    @property
    def _shards(self) -> Iterator[Shard]:
        return map(self._shard, range(len(self._entries)))

    def __iter__(self) -> Iterator[Crystal]:
        return (self[k] for k in range(len(self)))

    def records(self, indices: Iterable[int]) -> list[Crystal]:
        """The crystals at some positions."""
        return [self[int(k)] for k in indices]

    @cached_property
    def material_ids(self) -> np.ndarray:
        """Names, object (n,)."""
        return np.concatenate([shard.table.column("material_id").to_numpy() for shard in self._shards])

    @property
    def report(self) -> Report:
        """The items that were left out when the store was written, and why."""
        return _read_skipped(self.path, self._manifest)

    @cached_property
    def digest(self) -> str:
        """Digest of all crystals in their order, 16 hexadecimal digits; it does not depend on the shards."""
        digests: dict[str, Any] = defaultdict(hashlib.sha256)
        for shard in self._shards:
            for name, content in shard.columns():
                digests[name].update(content)
        return hashlib.sha256("".join(d.hexdigest() for d in digests.values()).encode()).hexdigest()[:16]

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
    check_source(source)
    is_store = isinstance(source, str | Path) and bool(str(source)) and Path(source, MANIFEST).is_file()
    return RecordStore(source) if is_store else source


def check_source(source: Any) -> None:
    """An UnsupportedFileError if a source is the folder of an index, whose crystals are in a store within it."""
    if isinstance(source, str | Path) and kind_of(source) == INDEX:
        remedy = (
            "Name the folder of the crystals; those of an index that is held in memory are in its folder structures."
        )
        raise UnsupportedFileError(str(source), INDEX, "crystals are read from files, tables, databases and stores",
                                   remedy)  # fmt: skip


def skipped_of(source: Any) -> list[Path]:
    """The table of what a store left out when it was written, if the source is a store that has one."""
    return [source.path / _SKIPPED] if isinstance(source, RecordStore) and source.report else []
