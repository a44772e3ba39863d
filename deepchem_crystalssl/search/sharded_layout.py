"""What a sharded index consists of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..crystals.checksums import is_file, path_within, read_sealed, write_sealed
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

    ``groups`` are the folders of rows and ``shards`` the digests of their shards, in order; ``files`` has sizes and
    checksums of the other files, none in an index of an earlier version.
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
    files: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Layout:
        """From the manifest of an index.

        Raises
        ------
        IndexFolderError
            If there is none, or it is of another kind.
        """
        path = folder / MANIFEST
        if not is_file(path, IndexFolderError):
            raise IndexFolderError(str(folder), f"its file {MANIFEST} is missing or cannot be read")
        content = read_sealed(path, IndexFolderError)
        if content.pop("kind", None) != "sharded":
            raise IndexFolderError(str(folder), "an index of another kind", "this is read by EmbeddingIndex.load")
        if (version := content.pop("format", None)) != FORMAT:
            raise IndexFolderError(str(folder), f"format {version}", f"this version reads format {FORMAT}")
        parts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                 for name, value in content.items()}  # fmt: skip
        try:
            found = cls(**parts)
        except TypeError as error:
            raise IndexFolderError(str(path), f"cannot be read ({error})") from error
        for one in fields(cls):
            kind = _KINDS.get(str(one.type).partition("[")[0], str)
            if not isinstance(getattr(found, one.name), kind):
                raise IndexFolderError(str(path), f"{one.name} = {getattr(found, one.name)!r}")
        for name in found.names:
            path_within(folder, name, IndexFolderError)
        return found

    @property
    def names(self) -> list[str]:
        """Names of all files and folders that the manifest speaks of."""
        listed = [*self.groups, *self.segments, *self.pattern_segments, *self.ids, *self.compounds, *self.files]
        return [*listed, *([self.columns] if self.columns else [])]

    def write(self, folder: Path) -> None:
        """Write the manifest, the last thing that is written."""
        write_sealed(folder / MANIFEST, {"kind": "sharded", "format": FORMAT, **asdict(self)})

    def model_in(self, folder: Path) -> str:
        """Name of the model, or the folder of its copy within the index.

        Raises
        ------
        IndexFolderError
            If the copy is missing.
        """
        if (folder / MODEL).is_dir():
            return str(folder / MODEL)
        if Path(self.model).name != self.model or self.model == MODEL:
            raise IndexFolderError(str(folder / MODEL), "missing", "an index keeps a copy of a model of your own",
                                   "Copy the folder of the model there.")  # fmt: skip
        return self.model


_KINDS = {"int": int, "bool": bool, "tuple": tuple, "dict": dict}
