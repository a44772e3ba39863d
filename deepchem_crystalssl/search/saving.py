"""A folder of an index is replaced as a whole: a process that is killed leaves the old index or the new one.

The new files are written into ``.saving`` within the folder, which is renamed ``.saved`` when all are there. From then
on they are the index, wherever they lie: each is moved into its place, the manifest last. Whoever opens the index takes
a file from ``.saved`` as long as it is there, and whoever saves next ends what was interrupted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

_SAVING, _SAVED = ".saving", ".saved"


def is_free(folder: Path) -> bool:
    """Whether a folder is not there, or holds nothing but the remains of a first saving that was interrupted."""
    if not os.path.lexists(folder):
        return True
    own = (_SAVING, ".lock")
    return folder.is_dir() and all(entry.name.startswith(own) for entry in folder.iterdir())


def part_of(folder: str | Path, name: str) -> Path:
    """The file, or folder, of this name of the index in a folder."""
    saved = Path(folder, _SAVED, name)
    return saved if os.path.exists(saved) else Path(folder, name)


def replace_parts(folder: Path, write: Callable[[Path], None], manifest: str) -> None:
    """Write all parts of an index into an empty folder, and put them into the place of those that are there.

    Parameters
    ----------
    folder : Path
        Of the index, made if needed; a link to a folder stays one.
    write : callable
        Writes the parts into a folder.
    manifest : str
        Name of the part that is moved last.
    """
    finish(folder, manifest)
    saving = folder / _SAVING
    if saving.exists():
        shutil.rmtree(saving)
    saving.mkdir(parents=True)
    try:
        write(saving)
        os.rename(saving, folder / _SAVED)
    except BaseException:
        shutil.rmtree(saving, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    finish(folder, manifest)


def finish(folder: Path, manifest: str) -> None:
    """Move the parts of a saved index into their places, if that was interrupted."""
    saved = folder / _SAVED
    if not saved.is_dir():
        return
    if (saved / manifest).exists():
        for name in sorted({entry.name for entry in saved.iterdir()} - {manifest}):
            remove(folder / name)
            os.rename(saved / name, folder / name)
        os.replace(saved / manifest, folder / manifest)
    saved.rmdir()


def link_parts(folder: Path, into: Path) -> None:
    """Make links, in an empty folder, to all parts of the index in a folder that cannot be written to."""
    entries = [entry for place in (folder, folder / _SAVED) if place.is_dir() for entry in place.iterdir()]
    for name in {entry.name for entry in entries if not entry.name.startswith(".")}:
        (into / name).symlink_to(part_of(folder, name).absolute())


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
