"""Folders that work is written to: one process at a time writes, and a disk that refuses is named with its remedy."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .checksums import replacing
from ..errors import CrystalInputError, OptionError

logger = logging.getLogger(__name__)

LOCK = ".lock"
"""Begin of the names of the files that are locked while a process writes to a folder."""
_PATIENCE = 0.5  # seconds: another process may only be looking whether the lock is free
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_REFUSALS = {
    (errno.ENOSPC, errno.EDQUOT): (
        "there must be room on the disk for what is written",
        "Make room or name a folder on another disk, and run the same again; what is whole stays.",
    ),
    (errno.EFBIG,): (
        "a file may be as large as the system allows",
        "Raise the limit on the size of files (ulimit -f), and run the same again; what is whole stays.",
    ),
    (errno.EROFS, errno.EACCES, errno.EPERM): (
        "the folder must be one that can be written to",
        "Name another folder, or ask for the right to write to this one.",
    ),
    (errno.ENAMETOOLONG,): ("a name has at most 255 bytes, a path 4,096", "Name a folder with a shorter path."),
}


@contextmanager
def written_to(path: str | Path, error: type[CrystalInputError]) -> Iterator[None]:
    """Within the block, what the operating system refuses becomes an error of this type, which names the remedy.

    Parameters
    ----------
    path : str or Path
        What is written.
    error : type
        Of the error.

    Raises
    ------
    CrystalInputError
        Of the type given; also if the path cannot be the name of a file.

    Examples
    --------
    >>> from deepchem_crystalssl.errors import StoreError
    >>> with written_to("store", StoreError):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
        ...
    deepchem_crystalssl.errors.StoreError: store: cannot be written (No space left on device); there must be room on ...
    """
    check_name(path, error)
    try:
        yield
    except BrokenPipeError:  # of the terminal, not of the disk
        raise
    except OSError as refused:
        raise refusal(path, refused, error) from refused


@contextmanager
def writing(path: str | Path, error: type[CrystalInputError] = OptionError) -> Iterator[Path]:
    """A new file beside one that the caller named, which it replaces when the block ends without an error.

    As :func:`~deepchem_crystalssl.crystals.checksums.replacing`, with errors of this type: a link that someone has put
    there is replaced and not followed, and what was there stays until the new file is whole.

    Raises
    ------
    CrystalInputError
        Of the type given, if no file can be written there.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "numbers.csv")
    >>> with writing(path) as part:
    ...     part.write_text("1,2,3")
    5
    >>> path.read_text()
    '1,2,3'
    """
    check_output(path, error)
    with written_to(path, error), replacing(path) as part:
        yield part


def check_output(path: str | Path, error: type[CrystalInputError] = OptionError) -> None:
    """Raise an error of this type before the work if a file cannot be written there, because a folder is, or none."""
    check_name(path, error)
    path = Path(path)
    if path.is_dir():
        raise error(str(path), "a folder", "results are written into a file, which may be there or not",
                    "Name a file, or remove the folder.")  # fmt: skip
    if not path.parent.is_dir():
        raise error(str(path), f"no folder {path.parent}", "results are written into a folder that exists",
                    "Make the folder, or name another one.")  # fmt: skip


def check_name(path: str | Path, error: type[CrystalInputError]) -> None:
    """Raise an error of this type if a path cannot be the name of a file."""
    try:
        is_name = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise error(ascii(str(path)), "no name of a file", "a path has no null and only characters of the file system",
                    "Name another folder.")  # fmt: skip


def refusal(path: str | Path, refused: OSError, error: type[CrystalInputError]) -> CrystalInputError:
    """What the operating system refused, as an error of this type."""
    if refused.errno is None and "requested and" in str(refused):  # NumPy does not say more
        refused = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    known = [texts for numbers, texts in _REFUSALS.items() if refused.errno in numbers]
    rule, remedy = known[0] if known else (
        "the file system must do what is asked of it", "Check the disk, and run the same again; what is whole stays."
    )  # fmt: skip
    said = os.strerror(refused.errno) if known and refused.errno else refused.strerror or refused
    where = "" if refused.filename in (None, str(path)) else f": {refused.filename}"
    return error(str(path), f"cannot be written ({said}{where})", rule, remedy)


@contextmanager
def alone_in(
    folder: str | Path,
    error: type[CrystalInputError],
    share: tuple[int, int] | None = None,
) -> Iterator[None]:
    """While the block runs, no other process works in a folder; the system gives it free when this process ends.

    Parameters
    ----------
    folder : str or Path
        Is made if needed; one that was made is removed at the end if it is still empty.
    error : type
        Of the error.
    share : (int, int), optional
        The i-th of n shares of the work: those who do other shares may work there at the same time.

    Raises
    ------
    CrystalInputError
        Of the type given, if another process is at work there.
    """
    folder = Path(folder)
    with ExitStack() as at_end:
        with written_to(folder, error):
            if not folder.exists():
                at_end.callback(_remove_if_empty, folder)
            folder.mkdir(parents=True, exist_ok=True)
            name = LOCK if share is None else f"{LOCK}-{share[0]}-of-{share[1]}"
            at_end.enter_context(_locked(folder / name, error))
            others = folder.glob(f"{LOCK}-*") if share is None else [folder / LOCK]
            for other in others:  # by whom all of the work is done, or shares of it
                with _locked(other, error, briefly=True):
                    pass
        yield


@contextmanager
def _locked(path: Path, error: type[CrystalInputError], briefly: bool = False) -> Iterator[None]:
    if path.is_symlink():  # it would be emptied, whatever it leads to
        raise error(str(path), "a link", "a lock is a file of its own", "Remove the link.")
    lock = FileLock(os.path.realpath(path), timeout=_PATIENCE, is_singleton=True)
    if lock.is_locked or (briefly and not path.exists()):  # by this thread, as a part of larger work
        yield
        return
    try:
        lock.acquire()
    except Timeout as refused:
        raise error(str(path.parent), f"{_holder(path)} is at work there", "one process at a time writes to a folder",
                    "Wait until it has ended, or name another folder.") from refused  # fmt: skip
    except OSError as refused:
        if refused.errno not in _NO_LOCKS:
            raise
        logger.warning("%s: this file system has no locks; see that no other process writes there", path.parent)
        yield
        return
    try:
        if not briefly:
            with suppress(OSError):  # on a full disk the holder has no name
                path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with suppress(OSError):  # by the holder alone, so that nobody waits for a file that is gone
            path.unlink()
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def is_lock(path: Path) -> bool:
    """Whether a file in a folder is one that is locked, which is no part of the work."""
    return path.name.startswith(LOCK)
