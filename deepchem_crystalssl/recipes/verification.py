"""Verify a folder that this package wrote: all files against the checksums in its manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..bulk import output as shards
from ..crystals import shards as stores
from ..crystals.checksums import SEAL, WHOLE, RecordedFile, is_file, path_within, read_archive, read_sealed
from ..crystals.folder_kinds import UNFINISHED, kind_of
from ..crystals.store_source import LISTING, read_listing
from ..errors import CheckpointError, CrystalInputError, IndexFolderError, StoreError, UnsupportedFileError
from ..models.checkpoints import CONFIG, log_line_of, read_checkpoint, read_config
from ..models.folders import CARD, WEIGHTS, card_of, read_card, sha256
from ..models.log import LOG, TrainingLog
from ..models.targets import KEPT
from ..models.training_folders import MADE_OF, RECIPE_FILE, is_training
from ..search import sharded_layout, storage
from ..search.opening import is_sharded
from ..search.saving import part_of

Result = Literal["verified", "no checksum", "damaged"]


@dataclass(frozen=True)
class VerifiedFile:
    """What was found of a file.

    Attributes
    ----------
    path : Path
    result : {"verified", "no checksum", "damaged"}
        A file without a checksum, of an earlier version, was read as far as its format tells damage.
    reason : str
        Of damage: the text of the error.
    """

    path: Path
    result: Result
    reason: str = ""


def verify_folder(folder: str | Path) -> list[VerifiedFile]:
    """Read all files of an index, a store, a model, a training or an output of shards, and compare their checksums.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of VerifiedFile
        In the order in which they were read, each once; a folder within it, such as the structures of an index, is
        verified too.

    Raises
    ------
    UnsupportedFileError
        If the folder has no manifest of this package.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> from deepchem_crystalssl.crystals.store import write_records
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_records(bundled_prototypes()[:5], folder)
    5
    >>> with open(folder / "shard-00000.arrow", "r+b") as file:
    ...     file.truncate(100)
    100
    >>> [(file.path.name, file.result) for file in verify_folder(folder) if file.result == "damaged"]
    [('shard-00000.arrow', 'damaged')]
    """
    folder = Path(folder)
    kinds = [verify for name, verify in _KINDS.items() if is_file(_manifest_in(folder, name), UnsupportedFileError)]
    if not kinds and (kind_of(folder) == UNFINISHED or is_training(folder)):
        raise UnsupportedFileError(
            str(folder), UNFINISHED if kind_of(folder) else "a training that has no checkpoint yet",
            "what is verified must be finished",
            "Run the command that began it again: it goes on where it stopped, and makes anew what is damaged.",
        )  # fmt: skip
    if not kinds:
        raise UnsupportedFileError(
            str(folder), f"none of {', '.join(_KINDS)}" if folder.is_dir() else "no such folder",
            "a folder that this package wrote has a manifest",
            "Name the folder of an index, a store, a model, a training or an output of shards; copy the manifest "
            "again, if it is missing.",
        )  # fmt: skip
    found: dict[Path, VerifiedFile] = {}
    for file in (file for verify in kinds for file in verify(folder)):
        if file.path not in found or file.result == "damaged" != found[file.path].result:
            found[file.path] = file
    return list(found.values())


def _manifest_in(folder: Path, name: str) -> Path:
    """The file of a manifest, wherever a saving that was interrupted has left it."""
    return card_of(folder) if name == CARD else part_of(folder, name)


def _checked(path: Path, check: Callable[[], bool]) -> VerifiedFile:
    """What a check finds, which tells whether there was a checksum."""
    try:
        return VerifiedFile(path, "verified" if check() else "no checksum")
    except CrystalInputError as error:
        return VerifiedFile(path, "damaged", str(error))


def _sealed(path: Path, kind: type[CrystalInputError]) -> VerifiedFile:
    """A manifest."""
    return _checked(path, lambda: read_sealed(path, kind) is not None and SEAL.encode() in path.read_bytes())


def _within(folders: Iterable[Path], found: list[VerifiedFile]) -> None:
    """Add what is found in folders within another one; a missing manifest may be told already."""
    for folder in folders:
        try:
            found += verify_folder(folder)
        except UnsupportedFileError as error:
            if not any(file.result == "damaged" and folder in file.path.parents for file in found):
                found.append(VerifiedFile(folder, "damaged", str(error)))


def _opened(folder: Path, found: list[VerifiedFile], check: Callable[[], bool]) -> None:
    """Add whether a folder can be opened, unless a damaged file says already why it cannot."""
    if all(file.result != "damaged" for file in found):
        found.append(_checked(folder, check))


def _recorded(
    folder: Path, name: Any, record: Any, kind: type[CrystalInputError], plain: Callable[[RecordedFile], Any]
) -> VerifiedFile:
    """A file by the checksums in a manifest; without them, ``plain`` reads it."""

    def check() -> bool:
        file = RecordedFile(path_within(folder, name, kind), record, kind)
        file.verify()
        if record is None:
            plain(file)
        return file.is_recorded

    return _checked(folder / str(name), check)


def _index(folder: Path) -> Iterator[VerifiedFile]:
    if is_sharded(folder):
        yield from _sharded_index(folder)
        return
    manifest = _sealed(part_of(folder, storage.MANIFEST), IndexFolderError)
    found = [manifest]
    if manifest.result != "damaged":
        for name, record in read_sealed(manifest.path, IndexFolderError).get("files", {}).items():
            part = part_of(folder, name)
            found.append(_recorded(part.parent, part.name, record, IndexFolderError, lambda file: None))
        parts = (part_of(folder, name) for name in (storage.STRUCTURES, storage.MODEL))
        _within((part for part in parts if part.is_dir()), found)
        _opened(folder, found, lambda: storage.load(folder) is not None and manifest.result == "verified")
    yield from found


def _sharded_index(folder: Path) -> Iterator[VerifiedFile]:
    from ..search.sharded import ShardedIndex

    manifest = _sealed(folder / sharded_layout.MANIFEST, IndexFolderError)
    found = [manifest]
    if manifest.result != "damaged":
        files = read_sealed(manifest.path, IndexFolderError).get("files", {})
        found += [
            _recorded(folder, name, record, IndexFolderError, lambda file: None) for name, record in files.items()
        ]
        parts = (*sorted(folder.glob("rows-*")), folder / sharded_layout.MODEL, folder / "sample")
        _within((part for part in parts if part.is_dir()), found)
        _opened(folder, found, lambda: ShardedIndex.load(folder) is not None and bool(files))
    yield from found


def _output(folder: Path) -> Iterator[VerifiedFile]:
    manifest = _sealed(folder / shards.MANIFEST, StoreError)
    yield manifest
    if manifest.result == "damaged":
        return
    for line in read_sealed(manifest.path, StoreError).get("lines", []):

        def by_digest(file: RecordedFile, line: Mapping[str, Any] = line) -> None:
            with open(file.path, "rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != line.get("sha256"):
                    raise StoreError(str(file.path), "damaged: another digest than when it was written", WHOLE)

        file = _recorded(folder, line.get("file"), _record_of(line), StoreError, by_digest)
        yield VerifiedFile(file.path, "verified") if file.result == "no checksum" and "sha256" in line else file


def _store(folder: Path) -> Iterator[VerifiedFile]:
    manifest = _sealed(folder / stores.MANIFEST, StoreError)
    yield manifest
    if manifest.result == "damaged":
        return
    content = read_sealed(manifest.path, StoreError)
    for shard in content.get("shards", []):
        yield _recorded(folder, shard.get("file"), _record_of(shard), StoreError, RecordedFile.map_table)
    for name, record in content.get("files", {}).items():
        yield _recorded(folder, name, record, StoreError, lambda file: None)
    if (content.get("source") or {}).get("kind") == "folder":
        is_sealed = "files" in content
        yield _checked(folder / LISTING, lambda: read_listing(folder, is_sealed) is not None and is_sealed)


def _model(folder: Path) -> Iterator[VerifiedFile]:
    card = _sealed(card_of(folder), CheckpointError)
    yield card
    if card.result == "damaged":
        return

    def check() -> bool:
        if sha256(folder / WEIGHTS) != read_card(folder)["sha256"]:
            raise CheckpointError(str(folder / WEIGHTS), "damaged: another digest than the card says", WHOLE)
        return True

    yield _checked(folder / WEIGHTS, check)


def _training(folder: Path) -> Iterator[VerifiedFile]:
    found = [_sealed(folder / CONFIG, CheckpointError)]
    _opened(folder, found, lambda: read_config(folder) is not None)
    yield from found
    for path in sorted(folder.glob("checkpoint*.pt")):
        yield _checked(path, lambda path=path: bool(read_checkpoint(path)))  # type: ignore[misc]
    for name in (MADE_OF, RECIPE_FILE):
        if (folder / name).is_file():
            yield _sealed(folder / name, CheckpointError)
    if (folder / LOG).exists() or log_line_of(folder):
        yield _checked(folder / LOG, lambda: TrainingLog(folder / LOG).to_frame() is not None)
    if (folder / KEPT).is_file():
        yield _checked(folder / KEPT, lambda: bool(read_archive(folder / KEPT, CheckpointError)))
    if (folder / "best").is_dir():
        yield from verify_folder(folder / "best")


def _record_of(entry: Mapping[str, Any]) -> Any:
    """Size and checksums in the entry of a manifest, None in one of an earlier version."""
    return {"bytes": entry.get("bytes"), "crc32": entry["crc32"]} if "crc32" in entry else None


_KINDS: dict[str, Callable[[Path], Iterator[VerifiedFile]]] = {
    storage.MANIFEST: _index,
    shards.MANIFEST: _output,
    stores.MANIFEST: _store,
    CARD: _model,
    CONFIG: _training,
}
