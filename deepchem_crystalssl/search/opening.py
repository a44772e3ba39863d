"""Opening an index of either kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..crystals.folder_kinds import INDEX, UNFINISHED, kind_of
from ..errors import IndexFolderError
from .saving import part_of
from .sharded_layout import MANIFEST

if TYPE_CHECKING:
    from .index import EmbeddingIndex
    from .sharded import ShardedIndex


def is_sharded(folder: str | Path) -> bool:
    """Whether a folder holds a sharded index; a folder that cannot be read holds none."""
    try:
        return json.loads(part_of(folder, MANIFEST).read_bytes())["kind"] == "sharded"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def check_is_index(folder: str | Path) -> None:
    """Say what a folder is that is no index, if it is something else that this package writes, or unfinished.

    Raises
    ------
    IndexFolderError
    """
    folder = Path(folder)
    work = folder if folder.exists() else folder.with_name(f"{folder.name}.building")
    found = kind_of(work)
    if found == UNFINISHED:
        raise IndexFolderError(str(folder), f"unfinished work{'' if work == folder else f' in {work}'}",
                               "an index must be finished before it is read",
                               "Run the command that began it again: it goes on where it stopped.")  # fmt: skip
    if found not in (None, INDEX):
        raise IndexFolderError(str(folder), found)


def open_index(folder: str | Path) -> EmbeddingIndex | ShardedIndex:
    """The index in a folder, whether it is held in memory or stays on disk.

    Raises
    ------
    IndexFolderError
        If there is none.
    """
    check_is_index(folder)
    if is_sharded(folder):
        from .sharded import ShardedIndex

        return ShardedIndex.load(folder)
    from .index import EmbeddingIndex

    return EmbeddingIndex.load(folder)
