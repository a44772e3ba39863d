"""A folder that a step was mapped into: its plan, its lines and, when it is finished, its manifest."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..crystals.checksums import (
    WHOLE,
    RecordedFile,
    is_file,
    path_within,
    read_regular,
    read_sealed,
    record_files,
    replacing,
    write_sealed,
)
from ..crystals.formats.files import NamedFile
from ..crystals.shards import FORMAT as STORE_FORMAT, MANIFEST as STORE_MANIFEST, record_of
from ..errors import Report, StoreError, counted
from .parts import Line, Part

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
MANIFEST, STEP, PLAN = "shards.json", "step.json", "plan.jsonl"
SKIPPED = "skipped.csv"
_ANEW = "Run the same command or call again; it writes what is missing anew."
_KINDS = {"part": int, "file": str, "rows": int, "bytes": int, "skipped": list}


class ShardedOutput:
    """The finished output of a step, in shards.

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    StoreError
        If the folder holds none, it is not finished, or a file is missing or of another size.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        self._recorded: list[RecordedFile] = []
        for line in self.lines:
            path = path_within(self.folder, line["file"], StoreError)
            if not path.is_file() or path.stat().st_size != line["bytes"]:
                raise StoreError(str(path), "missing or of another size than when it was written", WHOLE, _ANEW)
            self._recorded.append(RecordedFile(path, record_of(line), StoreError, f"Remove that file. {_ANEW}"))

    @property
    def lines(self) -> list[Line]:
        """The line of each shard, in the order of the source."""
        return self.manifest["lines"]

    @property
    def files(self) -> list[Path]:
        """The files, in the order of the source."""
        return [self.folder / line["file"] for line in self.lines]

    def __len__(self) -> int:
        return sum(line["rows"] for line in self.lines)

    def __repr__(self) -> str:
        return f"ShardedOutput({self.folder}, {counted(len(self), 'row')} in {counted(len(self.lines), 'shard')})"

    @cached_property
    def report(self) -> Report:
        """The items left out, and why."""
        return report_of(self.lines)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The shards one after the other, as Arrow tables; Arrow files are mapped into memory."""
        for number, path in enumerate(self.files):
            self.verify(number)
            names = None if columns is None else list(columns)
            try:
                if path.suffix == ".arrow":
                    table = self._recorded[number].map_table()
                    yield table if names is None else table.select(names)
                else:
                    yield pq.read_table(path, columns=names)
            except (OSError, pa.ArrowException) as error:
                raise StoreError(str(path), f"cannot be read ({error})", WHOLE, f"Remove that file. {_ANEW}") from error

    def verify(self, number: int) -> None:
        """Compare a shard with its checksums, unless that is done already.

        Raises
        ------
        StoreError
            If it is not what was written.
        """
        file, line = self._recorded[number], self.lines[number]
        if file.is_recorded:
            file.verify()
        elif "sha256" in line and not self._is_verified[number]:  # of version 0.2
            with open(file.path, "rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != line["sha256"]:
                    raise StoreError(str(file.path), "damaged", WHOLE, f"Remove that file. {_ANEW}")
            self._is_verified[number] = True

    @cached_property
    def _is_verified(self) -> list[bool]:
        return [False] * len(self.lines)

    def to_frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows as one table in memory."""
        return pa.concat_tables(self.tables(columns)).to_pandas()

    def vectors(self, column: str) -> np.ndarray:
        """A column of vectors or patterns as one array, (n, F); NaN where there is none."""
        parts = []
        for table in self.tables([column]):
            for chunk in table.column(column).chunks:
                parts.append(chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, chunk.type.list_size))
        return np.concatenate(parts)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of finished work, with the lines of all shards."""
    if not is_file(folder / MANIFEST, StoreError):
        raise StoreError(str(folder), f"no readable {MANIFEST}", "finished work has a manifest of all its shards",
                         "Run the same command or call again; it goes on where it stopped.")  # fmt: skip
    manifest = read_sealed(folder / MANIFEST, StoreError, f"Remove that file. {_ANEW}")
    if (version := manifest.get("format")) != FORMAT:
        raise StoreError(str(folder), f"format {version}", f"this version reads format {FORMAT}",
                         "Use the package version that wrote it, or compute it again.")  # fmt: skip
    lines = manifest.get("lines")
    if not isinstance(lines, list) or not all(isinstance(line, dict) and _KINDS.items() <= _kinds_of(line).items()
                                              for line in lines):  # fmt: skip
        raise StoreError(str(folder / MANIFEST), "no valid lines", WHOLE, f"Remove that file. {_ANEW}")
    return manifest


def _kinds_of(line: Line) -> dict[str, type]:
    return {name: type(value) for name, value in line.items()}


def report_of(lines: Sequence[Line]) -> Report:
    """The items left out in some shards."""
    import pandas as pd

    rows = [
        [None, item, error, value, rule, remedy]
        for line in lines
        for item, error, value, rule, remedy in line["skipped"]
    ]
    return Report.from_frame(pd.DataFrame(rows, columns=["index", "item", "error", "value", "rule", "remedy"]))


def read_plan(folder: Path) -> list[Part]:
    """How the source was divided, as far as it was; nothing if the work was not begun."""
    if not (folder / PLAN).exists():
        return []
    try:
        head, *rest = read_regular(folder / PLAN).decode().splitlines() or [""]
        if head.startswith("{"):
            if json.loads(head) != _head_of(rest):
                raise ValueError("it is not what was written")
        else:  # of version 0.2
            rest.insert(0, head)
        parts = []
        for number, text in enumerate(rest):
            files = [NamedFile(Path(path), name, rows and tuple(rows)) for path, name, rows in json.loads(text)]
            parts.append(Part(number, tuple(files)))
        return parts
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(str(folder / PLAN), f"cannot be read ({error})", "the plan lists the parts of the source",
                         "Remove the folder and begin again.") from error  # fmt: skip


def write_plan(folder: Path, parts: Sequence[Part]) -> None:
    """Remember how the source is divided."""
    lines = [json.dumps([[str(f.path), f.name, f.rows] for f in part.files]) for part in parts]
    with replacing(folder / PLAN) as file:
        file.write_text("\n".join([json.dumps(_head_of(lines)), *lines, ""]))


def _head_of(lines: Sequence[str]) -> dict[str, Any]:
    return {"parts": len(lines), "crc32": f"{zlib.crc32(chr(10).join(lines).encode()):08x}"}


def write_skipped(folder: Path, lines: Sequence[Line]) -> None:
    """Write the table of what was left out."""
    with replacing(folder / SKIPPED) as part:
        report_of(lines).to_frame().to_csv(part, index=False)


def is_written(folder: Path, lines: Sequence[Line]) -> bool:
    """Whether the manifest is there and holds these lines."""
    try:
        return _read_manifest(folder)["lines"] == list(lines)
    except StoreError:
        return False


def write_manifest(folder: Path, identity: dict[str, Any], source: str, lines: Sequence[Line]) -> None:
    """Write down that all is there: the last thing that happens."""
    rows, skipped = sum(line["rows"] for line in lines), sum(len(line["skipped"]) for line in lines)
    write_sealed(folder / MANIFEST, {
        "format": FORMAT, "step": identity, "source": source, "rows": rows, "skipped": skipped, "lines": list(lines),
    })  # fmt: skip


def write_store_manifest(folder: Path, disorder: str, lines: Sequence[Line]) -> None:
    """Make the folder a store, which :class:`~deepchem_crystalssl.crystals.store.RecordStore` opens."""
    shards = [
        {"file": line["file"], "crystals": line["rows"], **(record_of(line) or {"bytes": line["bytes"]})}
        for line in lines if line["rows"]
    ]  # fmt: skip
    write_sealed(folder / STORE_MANIFEST, {
        "format": STORE_FORMAT, "disorder": disorder, "complete": True, "consumed": sum(s["crystals"] for s in shards),
        "shards": shards, "skipped": sum(len(line["skipped"]) for line in lines), "source": {"kind": "shards"},
        "files": record_files(folder, [SKIPPED]),
    })  # fmt: skip
