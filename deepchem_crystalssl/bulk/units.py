"""The unit of work: one part of a source in, one file and one line of a manifest out.

A unit may be run any number of times, by any process, also by several at once: it gives the same file under the same
name, which is there whole or not at all, and its line is written after the file. Nothing else has to be right for a
result to be right, so an engine only has to call :func:`run_unit` until every line is there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .. import __version__
from ..crystals.checksums import RecordedFile, read_sealed, record_file, replacing, write_sealed
from ..crystals.reading import read_structures
from ..crystals.records import Crystal
from ..crystals.shards import record_of
from ..crystals.work_folders import written_to
from ..errors import Report, StoreError
from .parts import LINES, Line, Part
from .steps import Step, Work, digest_of, opened_step

logger = logging.getLogger(__name__)

_CRYSTALS_AT_ONCE = 1024
_SITES_AT_ONCE = 60_000


@dataclass(frozen=True)
class Unit:
    """What one call of :func:`run_unit` does.

    Attributes
    ----------
    part : Part
        The crystals.
    step : Step
        What is computed of them.
    digest : str
        Of all that the step depends on, as it is where the work was begun.
    folder : Path
        Of the output.
    """

    part: Part
    step: Step
    digest: str
    folder: Path

    @property
    def file(self) -> Path:
        """The file that is written."""
        return self.folder / f"part-{self.part.number:06d}{self.step.suffix}"

    @property
    def line_file(self) -> Path:
        """The file of the line."""
        return self.folder / LINES / f"{self.part.number:06d}.json"

    def finished(self, thorough: bool = False) -> Line | None:
        """The line, if the unit was done with the same step and its input and output are unchanged.

        The output is compared with its checksums if its times are not those of when it was written, or always if the
        check is ``thorough``. The line of one that is damaged is removed, so that it is written anew.
        """
        try:
            line = read_sealed(self.line_file, StoreError)
            read = line["input"]
            same = line["step"] == self.digest and os.path.getsize(self.file) == line["bytes"]
            same &= read.get("items", self.part.items) == self.part.items  # version 0.2 did not write it
            if same and read["state"] != self.part.state:  # touched or copied: its content decides
                same = read["sha256"] == self.part.checksum
        except (OSError, StoreError, KeyError, TypeError, AttributeError):
            return None
        return self._verified(line, thorough) if same else None

    def _verified(self, line: Line, thorough: bool) -> Line | None:
        """The line of a whole output, with its times; None for a damaged one."""
        changed = line.get("times") not in (None, _times_of(self.file))  # earlier versions wrote none
        if not (changed or thorough) or record_of(line) is None:
            return line
        try:
            RecordedFile(self.file, record_of(line), StoreError).verify()
        except StoreError as error:
            logger.warning("%s: %s; it is written anew", error.item, error.value)
            self.line_file.unlink(missing_ok=True)
            return None
        if changed:  # copied: once is enough
            line = {**line, "times": _times_of(self.file)}
            write_sealed(self.line_file, line)
        return line


def run_unit(unit: Unit) -> Line:
    """Do a unit, unless it is done already.

    Parameters
    ----------
    unit : Unit

    Returns
    -------
    dict
        The line of the manifest: part, file, rows, bytes, sha256 and crc32 of the output; input (items, state and
        sha256); skipped (a list of item, error, value, rule, remedy); step (its digest), version, seconds, worker,
        peak_mb, times (of the output).

    Raises
    ------
    StoreError
        If this process has another model or another step than the one where the work was begun, or the disk is full
        or cannot be written to.
    """
    if (line := unit.finished()) is not None:
        return line
    begun = time.perf_counter()
    here = digest_of(unit.step.identity())
    if here != unit.digest:
        raise StoreError(
            f"{unit.folder}, part {unit.part.number}",
            f"this worker ({socket.gethostname()}) has another model or another step: {here}, not {unit.digest}",
            "all workers use the model and the step that the work was begun with",
            "Install the same version of the package and the same model for all workers.",
        )
    with written_to(unit.folder, StoreError):
        return _run(unit, begun)


def _run(unit: Unit, begun: float) -> Line:
    """Compute the rows, and write them and then the line."""
    report, part = Report(), unit.part
    read = {"items": part.items, "state": part.state, "sha256": part.checksum}
    unit.line_file.parent.mkdir(parents=True, exist_ok=True)
    with report.job(), replacing(unit.file) as temporary:  # the summary is that of all parts
        rows = _write(temporary, opened_step(unit.step), _chunks(unit, report), report, unit.step.suffix)
        line: Line = {
            "part": part.number, "file": unit.file.name, "rows": rows, **record_file(temporary),
            "sha256": _sha256(temporary), "input": read, "skipped": _listed(report), "step": unit.digest,
            "version": __version__, "seconds": round(time.perf_counter() - begun, 3),
            "worker": f"{socket.gethostname()}-{os.getpid()}",
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }  # fmt: skip
    line["times"] = _times_of(unit.file)
    write_sealed(unit.line_file, line)
    return line


def _times_of(path: Path) -> list[int]:
    """When a file was changed, and when it came to its place, which no program can set."""
    state = os.stat(path)
    return [state.st_mtime_ns, state.st_ctime_ns]


def _chunks(unit: Unit, report: Report) -> Iterator[list[Crystal]]:
    """The crystals of the part, a limited number of sites at a time."""
    reader = read_structures(iter(unit.part.files), "skip", disorder=unit.step.disorder, report=report, progress=False)
    chunk: list[Crystal] = []
    sites = 0
    for crystal in reader:
        if chunk and (len(chunk) == _CRYSTALS_AT_ONCE or sites + crystal.num_nodes > _SITES_AT_ONCE):
            yield chunk
            chunk, sites = [], 0
        chunk.append(crystal)
        sites += crystal.num_nodes
    if chunk:
        yield chunk


def _write(path: Path, work: Work, chunks: Iterator[list[Crystal]], report: Report, suffix: str) -> int:
    """Write the rows of all chunks and return their number; a Parquet file chunk by chunk."""
    batches = (work(chunk, report) for chunk in chunks)
    if suffix == ".arrow":  # one batch, so that every column is one piece of mapped memory
        table = pa.Table.from_batches(list(batches), work.schema).combine_chunks()
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, work.schema) as writer:
            writer.write_table(table)
        return len(table)
    rows = 0
    with pq.ParquetWriter(path, work.schema, compression="zstd", use_dictionary=False) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += len(batch)
    return rows


def _listed(report: Report) -> list[list[str]]:
    """The items left out: item, error, value, rule and remedy of each."""
    return [[e.item, type(e).__name__, str(e.value), e.rule, e.remedy] for e in report]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
