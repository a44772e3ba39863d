"""Opening an index of either kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

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


def open_index(folder: str | Path) -> EmbeddingIndex | ShardedIndex:
    """The index in a folder, whether it is held in memory or stays on disk.

    Raises
    ------
    IndexFolderError
        If there is none.
    """
    if is_sharded(folder):
        from .sharded import ShardedIndex

        return ShardedIndex.load(folder)
    from .index import EmbeddingIndex

    return EmbeddingIndex.load(folder)
