"""Mapping a step over the shards of a source, on one process or many, again and again until all is done."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..crystals.checksums import is_unfinished, read_sealed, write_sealed
from ..crystals.formats.files import in_short
from ..crystals.options import check_count
from ..crystals.store import RecordStore, open_source, write_records
from ..crystals.work_folders import alone_in, is_lock, written_to
from .engines import EngineName, engine as engine_of
from ..errors import NoCrystalsError, OptionError, StoreError, an_object, counted
from .output import (
    STEP,
    ShardedOutput,
    is_written,
    read_plan,
    report_of,
    write_manifest,
    write_plan,
    write_skipped,
    write_store_manifest,
)
from .parts import LINES, Line, divide, is_divisible
from ..processors import processors
from .steps import Featurize, Step, digest_of
from .units import Unit

logger = logging.getLogger(__name__)

VERIFIED_BYTES = 256 * 2**20
"""An output of at most so many bytes is compared with its checksums by each call.

Of a larger one, the files whose times have changed are."""
_CRYSTALS, _MODEL = "crystals", "model_name"


def map_shards(
    source: Any,
    step: Step,
    output: str | Path,
    *,
    engine: EngineName = "processes",
    workers: int | None = None,
    address: Any = None,
    shard: tuple[int, int] | None = None,
    size: int | None = None,
    progress: bool | None = None,
) -> ShardedOutput | None:
    """Compute a step for all crystals of a source, shard by shard, and write a folder of shards.

    Called again, it does only what is missing: after an interruption, or after the source has grown. A shard whose
    input has changed, or that is damaged, is computed again. Damage is told by sizes; by checksums in files whose times
    have changed, and in all files of an output of at most 256 MB. :func:`~deepchem_crystalssl.recipes.verify_folder`
    reads all.

    Parameters
    ----------
    source
        A store, a folder or a glob pattern of files, Parquet tables or a list of paths are divided as they are.
        Anything else that :func:`~deepchem_crystalssl.read_structures` reads is first written into a store within the
        output.
    step : Step
        :class:`Featurize`, :class:`Embed`, :class:`SimulatePatterns`, or one of your own.
    output : str or Path
        A folder of its own, which all workers see under the same path.
    engine : {"processes", "dask", "ray", "serial"}
        Who does it: processes on this machine, a cluster of Dask or of Ray, or this process alone.
    workers : int, optional
        Number of workers on this machine; by default one for each processor.
    address : str or distributed.Client, optional
        Of the cluster; by default one is started on this machine.
    shard : (int, int), optional
        ``(i, n)``: do only the i-th of n equal shares of the shards, i = 1, ..., n. For array jobs of a scheduler such
        as SLURM, each of which does one share.
    size : int, optional
        Crystals of a shard; by default 4096, and 512 if each has a file of its own. The rows do not depend on it, but
        for rounding.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    ShardedOutput or None
        None if shares of other jobs are still missing.

    Raises
    ------
    StoreError
        If the folder holds something else, or work that was begun with another step, another model or another source;
        if another process does the same work there, or the disk is full or cannot be written to.
    OptionError
        If an option cannot be used, or an engine is not installed.
    NoCrystalsError
        If no crystal of the source can be used.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.bulk import Embed, map_shards
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> done = map_shards(bundled_prototypes()[:20], Embed("small"), tempfile.mkdtemp(), engine="serial", size=8)
    >>> len(done), len(done.files), done.vectors("shared").shape
    (20, 3, (20, 128))
    """
    folder, chosen = Path(output).absolute(), engine_of(engine)
    if size is not None:
        check_count("size", size, 1)
    if address is not None and engine not in ("dask", "ray"):
        raise OptionError("address", str(address), f"the engine {engine!r} works on this machine alone",
                          "Pass engine='dask' or engine='ray', or leave the address out.")  # fmt: skip
    if workers is not None:
        check_count("workers", workers, 1)
    most = workers or processors()
    _check_share(shard)

    def run(units: Sequence[Unit]) -> Iterator[Line]:
        return chosen(units, min(most, len(units)), address)

    with written_to(folder, StoreError):
        if folder.exists() and not folder.is_dir():
            raise StoreError(str(folder), "a file", "shards are written to a folder", "Name a new or empty folder.")
        with alone_in(folder, StoreError, shard):
            return _map(source, step, folder, run, shard, size, progress)


def _map(
    source: Any,
    step: Step,
    folder: Path,
    run: Callable[[Sequence[Unit]], Iterator[Line]],
    shard: tuple[int, int] | None,
    size: int | None,
    progress: bool | None,
) -> ShardedOutput | None:
    """The work of :func:`map_shards`, in a folder that is locked."""
    source, named = open_source(source), _named(source)
    if _check_divisible(source, step, shard):
        parts = divide(source, size, read_plan(folder))  # a source that does not exist begins no folder
        identity = _begin(folder, step)
    else:
        identity = _begin(folder, step)
        parts = divide(_stored(source, step, folder, progress), size, read_plan(folder))
    write_plan(folder, parts)
    if read_plan(folder) != parts:
        raise StoreError(str(folder), "another job of the array divides another source, or by another size",
                         "all jobs have the same source and the same size of shards",
                         "Start all of them with the same options.")  # fmt: skip
    units = [Unit(part, step, digest_of(identity), folder) for part in parts]
    lines = _finished(units)
    missing = [unit for unit in units if unit.part.number not in lines]
    mine = missing if shard is None else [unit for unit in missing if unit.part.number % shard[1] == shard[0] - 1]
    if lines and missing:
        logger.warning("%s: %d of %s are done; goes on", folder, len(lines), counted(len(units), "shard"))
    if mine:
        for line in _shown(run(mine), len(mine), progress):
            lines[line["part"]] = line
    if shard is not None:  # other jobs have been at work
        lines |= _finished([unit for unit in missing if unit.part.number not in lines])
    if len(lines) < len(units):
        if shard is None:
            raise StoreError(str(folder), f"the engine gave {len(lines)} of {counted(len(units), 'shard')}",
                             "an engine does every shard",
                             "Call again; it goes on with those that are missing.")  # fmt: skip
        logger.warning("%s: %d of %s are done", folder, len(lines), counted(len(units), "shard"))
        return None
    ordered = [lines[part.number] for part in parts]
    if not any(line["rows"] for line in ordered):
        raise NoCrystalsError(named, report_of(ordered).summary())
    if mine or not is_written(folder, ordered):
        write_skipped(folder, ordered)
        if isinstance(step, Featurize):
            write_store_manifest(folder, step.disorder, ordered)
        write_manifest(folder, identity, named, ordered)
        for left in (*folder.glob(".part-*"), *(folder / LINES).glob(".*")):  # by workers that were killed
            left.unlink(missing_ok=True)
    done = ShardedOutput(folder)
    done.report.log()
    return done


def _finished(units: Sequence[Unit]) -> dict[int, Line]:
    """The lines of the units that are done, by the number of the part."""
    size = sum(unit.file.stat().st_size for unit in units if unit.file.exists())
    found = ((unit.part.number, unit.finished(thorough=size <= VERIFIED_BYTES)) for unit in units)
    return {number: line for number, line in found if line is not None}


def _check_share(shard: tuple[int, int] | None) -> None:
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise OptionError("shard", f"{shard[0]}/{shard[1]}", "a share is i/n with i from 1 to n",
                          "For an array job of SLURM submit --array=1-n.")  # fmt: skip


def _begin(folder: Path, step: Step) -> dict[str, Any]:
    """Make the folder of the output, or compare the step with the one it was begun with."""
    identity = json.loads(json.dumps(step.identity()))
    model = str(getattr(step, "model", ""))  # its name is no choice: the weights are
    path = folder / STEP
    if not path.exists():
        if folder.is_dir() and not all(is_lock(path) or is_unfinished(path) for path in folder.iterdir()):
            raise StoreError(str(folder), "holds something else", "shards are written to a folder of their own",
                             "Name a new or empty folder.")  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(path, {**identity, _MODEL: model} if model else identity)
        return identity
    before = read_sealed(path, StoreError, "Remove the folder and begin again.")
    named = before.pop(_MODEL, None)
    differing = [name for name in {**before, **identity} if before.get(name) != identity.get(name)]
    if differing:
        shown = "; ".join(
            f"model was {_called(named, before)}, now {_called(model, identity)}" if name == "weights"
            else f"{name} was {before.get(name)}, now {identity.get(name)}"
            for name in differing
        )  # fmt: skip
        raise StoreError(str(folder), f"begun with other choices: {shown}",
                         "all shards are made by one step and one model", "Name another folder.")  # fmt: skip
    return identity


def _called(model: str | None, identity: dict[str, Any]) -> str:
    """A model by its name, where that is known, and the begin of the digest of its weights."""
    if "weights" not in identity:
        return "none"
    weights = str(identity["weights"])[:8]
    return f"{model} (weights {weights})" if model else f"one of weights {weights}"


def _check_divisible(source: Any, step: Step, shard: tuple[int, int] | None) -> bool:
    """Whether the source can be divided; if not, it must be possible to write its crystals into a store first.

    Raises
    ------
    OptionError
    """
    if is_divisible(source):
        return True
    rule = "only a store, a folder, a pattern, Parquet tables and lists of paths are divided without reading them"
    if isinstance(step, Featurize):
        raise OptionError("source", _named(source), rule, "Write it with write_records, or crystalssl featurize "
                          "without an engine.")  # fmt: skip
    if shard is not None:
        raise OptionError("shard", "given for a source that cannot be divided", rule,
                          "Write it into a store first, with crystalssl featurize, and give that.")  # fmt: skip
    return False


def _stored(source: Any, step: Step, folder: Path, progress: bool | None) -> RecordStore:
    """A store of the crystals of a source within the output."""
    write_records(source, folder / _CRYSTALS, disorder=step.disorder, progress=progress)
    return RecordStore(folder / _CRYSTALS)


def _named(source: Any) -> str:
    if isinstance(source, RecordStore):
        return str(source.path)
    return in_short(source) if isinstance(source, str | Path) else an_object(source)


def _shown(lines: Iterator[Line], total: int, progress: bool | None) -> Iterator[Line]:
    """The lines, with a progress bar that counts the rows too."""
    disable = None if progress is None else not progress
    rows = 0
    with tqdm(total=total, desc="shards", disable=disable, delay=1.0) as bar:
        for line in lines:
            rows += line["rows"]
            bar.set_postfix_str(f"{rows:,} rows", refresh=False)
            bar.update()
            yield line
