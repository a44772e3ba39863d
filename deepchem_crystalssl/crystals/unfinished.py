"""Unfinished work on disk: what it was begun with, so that it goes on only with the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import CrystalInputError, StoreError
from .checksums import RecordedFile, is_file, path_within, read_sealed, record_files, write_sealed

CHOICES = "building.json"


def keep_choices(
    work: Path,
    choices: Mapping[str, Any],
    unnamed: Mapping[str, Any],
    error: type[CrystalInputError],
    thing: str,
) -> None:
    """Write down what work is begun with, or compare it with what is written there.

    Parameters
    ----------
    work : Path
        Folder of the unfinished work.
    choices : dict
        What it is begun with.
    unnamed : dict
        What choices were that older notes do not name.
    error : type
        Of the error.
    thing : str
        What is made, with its article.

    Raises
    ------
    CrystalInputError
        An error of the type given, if the choices differ or the notes cannot be read.
    """
    path = work / CHOICES
    if not is_file(path, error) and not os.path.lexists(path):
        if os.path.lexists(work) and not _is_own(work):
            raise error(str(work), "holds something else", f"unfinished work on {thing} is kept in a folder of its own",
                        "Rename it, or choose another name for the output.")  # fmt: skip
        work.mkdir(parents=True, exist_ok=True)
        write_sealed(path, choices)
        return
    content = read_sealed(path, error, f"Remove {work}.")
    try:
        before = {**unnamed, **content}
        differing = [name for name in choices if before[name] != choices[name]]
    except (OSError, ValueError, KeyError, TypeError) as failed:
        raise error(str(work), f"no readable {CHOICES} ({failed})", remedy=f"Remove {work}.") from failed
    if differing:
        shown = "; ".join(f"{name} was {before[name]}, now {choices[name]}" for name in differing)
        raise error(str(work), f"unfinished work that was begun with another {' and '.join(differing)} ({shown})",
                    f"{thing} is built with one source and one set of choices",
                    f"Go on with the same choices, or remove {work} to begin anew.")  # fmt: skip


def seal_part(part: Path, *others: Path) -> None:
    """Write beside a part of the work the checksums of it and of other files that belong to it: the part is done."""
    write_sealed(part.with_suffix(".json"), record_files(part.parent, [part.name, *(other.name for other in others)]))


def is_whole(part: Path) -> bool:
    """Whether an earlier call did a part of the work, and its files are what was written."""
    try:
        records = read_sealed(part.with_suffix(".json"), StoreError)
        for name, record in records.items():
            RecordedFile(path_within(part.parent, name, StoreError), record, StoreError).verify()
    except StoreError:
        return False
    return part.name in records


def _is_own(work: Path) -> bool:
    """Whether what is there is a folder in which work was about to begin, and not someone's own."""
    return work.is_dir() and all(entry.name.startswith((".lock", f".{CHOICES}")) for entry in work.iterdir())


def described(source: Any) -> str:
    """A source in words, the same for the same source: paths with sizes, or kind, number and digest of the objects."""
    source = getattr(source, "path", source)  # of a store
    if isinstance(source, str | os.PathLike) and "\n" not in str(source):
        path = Path(os.path.realpath(source))
        if path.is_file():
            return f"{path} ({path.stat().st_size} bytes)"
        files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else []
        size = sum(found.stat().st_size for found in files)
        return f"{path} ({len(files)} files, {size} bytes)" if files else str(path)
    if not isinstance(source, Sequence | pd.DataFrame) or isinstance(source, str):
        return type(source).__name__
    entries = source.itertuples() if isinstance(source, pd.DataFrame) else source
    sample = islice(entries, 0, None, 1 + len(source) // 100)
    digest = hashlib.sha256("\n".join(map(str, sample)).encode()).hexdigest()[:16]
    return f"{type(source).__name__} of {len(source)}, digest {digest}"
