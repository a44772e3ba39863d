"""What a store was made of, so that it goes on with the same source alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .checksums import SEAL, WHOLE, read_regular, read_sealed, write_sealed
from ..errors import StoreError
from .formats.files import NamedFile, find_files, name_files
from .formats.kinds import is_url

LISTING = "source_files.json"


@dataclass(frozen=True)
class SourceFile:
    """One file of a folder of crystals: its path within the folder, how its crystals are called, size and times.

    A file that is put in the place of another may be given its time of change, but not its time in the file system.
    """

    path: str
    name: str
    size: int
    changed: int
    placed: int = -1  # unknown to stores of earlier versions


@dataclass
class StoreSource:
    """The source of a store.

    Attributes
    ----------
    kind : {"folder", "file", "objects"}
        A folder or a glob pattern, one file, or anything else.
    path : str
        Absolute path of a folder, a pattern or a file, otherwise the type of the objects.
    files : list of SourceFile
        Of a folder or a pattern, in the order they are read: those that the store knows first.
    new : int
        How many of the files the store does not know.
    is_known : bool
        Whether the files the store knows are unchanged by their size and times, so that they need not be read again.
    """

    kind: str
    path: str
    files: list[SourceFile] = field(default_factory=list)
    new: int = 0
    is_known: bool = False

    @classmethod
    def of(cls, source: Any, store: Path, manifest: dict) -> StoreSource:
        """Look at a source, and at what the manifest of the store remembers of it.

        Raises
        ------
        StoreError
            If files that the store was made of are missing.
        """
        remembered = manifest.get("source") or {}
        if not isinstance(source, str | Path) or "\n" in str(source) or is_url(source):
            return cls("objects", type(source).__name__)
        path = Path(source).absolute()
        within = Path(os.path.realpath(store))  # unlike Path.resolve, it does not fail at a link to itself
        paths = [p for p in find_files(source) if within not in Path(os.path.realpath(p)).parents]
        if path.is_file():
            files = _described([path], path.parent, set())
            known = [SourceFile(**entry) for entry in remembered.get("files", [])]
            return cls("file", str(path), files, is_known=remembered.get("path") == str(path) and files == known)
        known = _read_listing(store, "files" in manifest) if remembered.get("kind") == "folder" else []
        root = path if path.is_dir() else Path("/")
        present = {_relative(p, root): p for p in paths}
        if gone := [entry.path for entry in known if entry.path not in present]:
            are = "is" if len(gone) == 1 else "are"
            raise StoreError(
                str(store),
                f"{len(gone)} of the {len(known)} files it was made of {are} not in {path}, first {gone[0]}",
                "a store goes on with the source it was begun with",
                f"It was begun with {remembered['path']}; name that, or write another folder.",
            )
        again = _described([present.pop(entry.path) for entry in known], root, set(), [entry.name for entry in known])
        new = _described(list(present.values()), root, {entry.name for entry in known})
        return cls("folder", str(path), again + new, len(new), bool(known) and again == known)

    def items(self) -> Iterator[NamedFile]:
        """The files of a folder as items to read."""
        root = Path(self.path) if Path(self.path).is_dir() else Path("/")
        return (NamedFile(root / entry.path, entry.name) for entry in self.files)

    def write(self, store: Path, manifest: dict) -> None:
        """Remember the source in the manifest, and the files of a folder beside it."""
        manifest["source"] = {"kind": self.kind, "path": self.path}
        if self.kind == "file":
            manifest["source"]["files"] = [asdict(entry) for entry in self.files]
        elif self.kind == "folder":
            write_sealed(store / LISTING, {"files": [asdict(entry) for entry in self.files]})


def _relative(path: Path, root: Path) -> str:
    return path.absolute().relative_to(root).as_posix()


def _described(paths: list[Path], root: Path, taken: set[str], names: list[str] | None = None) -> list[SourceFile]:
    names = name_files(paths, taken) if names is None else names
    found = []
    for path, name in zip(paths, names, strict=True):
        try:
            state = path.stat()
            found.append(SourceFile(_relative(path, root), name, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
        except OSError:  # reading it will say why
            found.append(SourceFile(_relative(path, root), name, -1, -1))
    return found


def _read_listing(store: Path, is_sealed: bool) -> list[SourceFile]:
    """The files that a store was made of; if their list must have a checksum, one without is none."""
    try:
        content = json.loads(read_regular(store / LISTING).decode())
        if is_sealed and SEAL not in content:
            raise StoreError(str(store / LISTING), "without its checksum", WHOLE, StoreError.remedy)
        entries = content if isinstance(content, list) else read_sealed(store / LISTING, StoreError)["files"]
        return [SourceFile(**entry) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(str(store), f"no readable {LISTING} ({error})") from error
