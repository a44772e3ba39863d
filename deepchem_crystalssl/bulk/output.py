"""A folder that a step was mapped into: its plan, its lines and, when it is finished, its manifest."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..crystals.files import NamedFile
from ..crystals.shards import FORMAT as STORE_FORMAT, MANIFEST as STORE_MANIFEST, write_json
from ..errors import Report, StoreError, counted
from .parts import Line, Part

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
MANIFEST, STEP, PLAN = "shards.json", "step.json", "plan.jsonl"
SKIPPED = "skipped.csv"


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
        try:
            self.manifest = json.loads((self.folder / MANIFEST).read_text())
            version = self.manifest["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                str(folder), f"no readable {MANIFEST} ({error})", "finished work has a manifest of all its shards",
                "Run the same command or call again; it goes on where it stopped.",
            ) from error  # fmt: skip
        if version != FORMAT:
            raise StoreError(str(folder), f"format {version}", f"this version reads format {FORMAT}",
                             "Use the package version that wrote it, or compute it again.")  # fmt: skip
        for line in self.lines:
            path = self.folder / line["file"]
            if not path.is_file() or path.stat().st_size != line["bytes"]:
                raise StoreError(str(path), "missing or of another size than when it was written",
                                 remedy="Run the same command or call again; it writes that shard anew.")  # fmt: skip

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
        for path in self.files:
            if path.suffix == ".arrow":
                table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
                yield table if columns is None else table.select(list(columns))
            else:
                yield pq.read_table(path, columns=None if columns is None else list(columns))

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
        parts = []
        for number, text in enumerate((folder / PLAN).read_text().splitlines()):
            files = [NamedFile(Path(path), name, rows and tuple(rows)) for path, name, rows in json.loads(text)]
            parts.append(Part(number, tuple(files)))
        return parts
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(str(folder / PLAN), f"cannot be read ({error})", "the plan lists the parts of the source",
                         "Remove the folder and begin again.") from error  # fmt: skip


def write_plan(folder: Path, parts: Sequence[Part]) -> None:
    """Remember how the source is divided."""
    temporary = folder / f".{PLAN}.{socket.gethostname()}-{os.getpid()}"
    with open(temporary, "w") as file:
        for part in parts:
            file.write(json.dumps([[str(f.path), f.name, f.rows] for f in part.files]) + "\n")
    os.replace(temporary, folder / PLAN)


def is_written(folder: Path, lines: Sequence[Line]) -> bool:
    """Whether the manifest is there and holds these lines."""
    try:
        return json.loads((folder / MANIFEST).read_text())["lines"] == list(lines)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_manifest(folder: Path, identity: dict[str, Any], source: str, lines: Sequence[Line]) -> None:
    """Write down that all is there: the last thing that happens."""
    report_of(lines).to_frame().to_csv(folder / SKIPPED, index=False)
    rows, skipped = sum(line["rows"] for line in lines), sum(len(line["skipped"]) for line in lines)
    write_json(folder / MANIFEST, {
        "format": FORMAT, "step": identity, "source": source, "rows": rows, "skipped": skipped, "lines": list(lines),
    })  # fmt: skip


def write_store_manifest(folder: Path, disorder: str, lines: Sequence[Line]) -> None:
    """Make the folder a store, which :class:`~deepchem_crystalssl.crystals.store.RecordStore` opens."""
    shards = [
        {"file": line["file"], "crystals": line["rows"], "bytes": line["bytes"]} for line in lines if line["rows"]
    ]
    write_json(folder / STORE_MANIFEST, {
        "format": STORE_FORMAT, "disorder": disorder, "complete": True, "consumed": sum(s["crystals"] for s in shards),
        "shards": shards, "skipped": sum(len(line["skipped"]) for line in lines), "source": {"kind": "shards"},
    })  # fmt: skip
