"""The one door to numba: it compiles loops, and keeps the machine code for the next process where that can be kept.

numba keeps the machine code in the first of these folders that can be written to: the one that the environment variable
``NUMBA_CACHE_DIR`` names, ``__pycache__`` beside the module, the user's cache folder (``~/.cache/numba``). An
installation that is only read, used by an account without a home, has none of them, and numba refuses to compile at
all. The folder is then one in the temporary folder that only this user can write to. Where there is none either, every
process compiles for itself.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

logger = logging.getLogger(__name__)


class _MachineCode(FunctionCache):
    """Kept machine code of a function. What cannot be read is compiled again, what cannot be written is not kept."""

    def load_overload(self, *arguments: Any) -> Any:
        try:
            return super().load_overload(*arguments)
        except Exception as error:  # a damaged file raises whatever its bytes lead to
            _say_once("the machine code kept in %s cannot be read (%s) and is made again", self.cache_path, error)
            return None

    def save_overload(self, *arguments: Any) -> None:
        try:
            super().save_overload(*arguments)
        except OSError as error:
            _say_once("machine code cannot be kept in %s (%s): every process compiles again", self.cache_path, error)
        except Exception:  # the index of the kept code is damaged
            self.flush()
            super().save_overload(*arguments)


def njit(**options: Any) -> Callable[[Callable], Any]:
    """Decorate a function so that it is compiled when it is first called, and its machine code is kept.

    Parameters
    ----------
    **options
        Those of ``numba.njit``, except ``cache``.

    Examples
    --------
    >>> @njit(nogil=True)
    ... def double(x):
    ...     return 2 * x
    >>> double(1.5)
    3.0
    """

    def compiled(function: Callable) -> Any:
        dispatcher = numba.njit(**{**options, "cache": False})(function)
        kept = _kept(function)
        if kept is not None:
            dispatcher._cache = kept  # as numba's cache=True does, which raises where there is no folder
        return dispatcher

    return compiled


def _kept(function: Callable) -> _MachineCode | None:
    """Where the machine code of a function is kept, None if it cannot be kept."""
    try:
        return _MachineCode(function)
    except RuntimeError:  # no folder can be written to
        pass
    folder = _temporary_folder()
    if folder is None:
        _say_once("no folder can be written to: every process compiles again. Set NUMBA_CACHE_DIR to a folder.")
        return None
    numba.config.CACHE_DIR = folder
    _say_once("machine code is kept in %s, because neither the package's folder nor a home can be written to", folder)
    try:
        return _MachineCode(function)
    except RuntimeError:
        return None


def _temporary_folder() -> str | None:
    """A folder for machine code in the temporary folder that nobody else can write to: what it holds is executed."""
    try:
        folder = Path(tempfile.gettempdir(), f"deepchem_crystalssl-{os.getuid()}" if hasattr(os, "getuid") else "numba")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    if not stat.S_ISDIR(found.st_mode) or not is_own or found.st_mode & 0o022:
        logger.warning("%s belongs to somebody else, or others may write to it: it is not used", folder)
        return None
    return str(folder)


_said: set[str] = set()


def _say_once(text: str, *values: object) -> None:
    if text not in _said:
        _said.add(text)
        logger.warning(text, *values)
