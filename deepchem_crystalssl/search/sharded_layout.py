"""What a sharded index consists of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..crystals.shards import write_json
from ..errors import IndexFolderError

if TYPE_CHECKING:
    from ..crystals.disorder import Disorder
    from ..models.embedding import Space

MANIFEST, SPACING, MODEL = "index.json", "spacing.npy", "model"
FORMAT = 1
VECTORS: Space = "similarity"
PATTERNS: Space = "pattern"


@dataclass(frozen=True)
class Layout:
    """What a sharded index consists of: the names of its files, and the model that made its vectors.

    ``groups`` are the folders of rows and ``shards`` the digests of their shards, in order.
    """

    crystals: int
    model: str
    weights: str
    patterns: bool
    space_groups: bool
    disorder: Disorder
    groups: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    pattern_segments: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    compounds: tuple[str, ...] = ()
    columns: str = ""

    @classmethod
    def read(cls, folder: Path) -> Layout:
        """From the manifest of an index.

        Raises
        ------
        IndexFolderError
            If there is none, or it is of another kind.
        """
        try:
            content = json.loads((folder / MANIFEST).read_text())
            if content.pop("kind", None) != "sharded":
                raise IndexFolderError(str(folder), "an index of another kind", "this is read by EmbeddingIndex.load")
            if (version := content.pop("format")) != FORMAT:
                raise IndexFolderError(str(folder), f"format {version}", f"this version reads format {FORMAT}")
            lists: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
            }
            return cls(**lists)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, IndexFolderError):
                raise
            raise IndexFolderError(
                str(folder), f"its file {MANIFEST} is missing or cannot be read ({error})"
            ) from error

    def write(self, folder: Path) -> None:
        """Write the manifest, the last thing that is written."""
        write_json(folder / MANIFEST, {"kind": "sharded", "format": FORMAT, **asdict(self)})

    def model_in(self, folder: Path) -> str:
        """Name of the model, or the folder of its copy within the index."""
        return str(folder / MODEL) if (folder / MODEL).is_dir() else self.model
