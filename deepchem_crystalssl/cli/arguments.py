"""Types of the arguments of the command: each checks a text, before any work begins, and converts it."""

from __future__ import annotations

import argparse
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Renamed(argparse.Action):
    """The old name of an option, which stores its value under the new name and warns."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        message = f"{option} is now --{self.dest}; the old name will stop working in version 0.3."
        warnings.warn(message, FutureWarning, stacklevel=2)
        setattr(namespace, self.dest, values)


def folder_to_write(text: str) -> Path:
    """A folder that can be written to, or made."""
    path = Path(text)
    with _refused(text):
        there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        if not there.is_dir():
            raise argparse.ArgumentTypeError(f"{text}: no folder can be written there, because {there} is a file")
        _check_right_to_write(there, text)
    return path


def file_to_write(*suffixes: str) -> Callable[[str], Path]:
    """The type of a file that can be written, with one of some suffixes."""

    def check(text: str) -> Path:
        path = Path(text)
        if path.suffix not in suffixes:
            raise argparse.ArgumentTypeError(f"{_short(text)}: the name must end in {' or '.join(suffixes)}")
        with _refused(text):
            if path.is_dir():
                raise argparse.ArgumentTypeError(f"{text}: no file can be written there, because it is a folder")
            if not path.parent.is_dir():
                raise argparse.ArgumentTypeError(f"{text}: there is no folder {path.parent}")
            for one in (path.parent, path):
                if one.exists():
                    _check_right_to_write(one, text)
        return path

    return check


@contextmanager
def _refused(text: str) -> Iterator[None]:
    """Within the block, what the operating system refuses is an error of the argument."""
    try:
        yield
    except (OSError, ValueError) as error:  # a name that is too long, or has a null
        reason = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{_short(text)}: {reason}. Give another name.") from None


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:40]}...{text[-20:]}"


def _check_right_to_write(place: Path, text: str) -> None:
    if not os.access(place, os.W_OK):
        is_read_only = hasattr(os, "statvfs") and os.statvfs(place).f_flag & os.ST_RDONLY
        reason = "the disk can only be read" if is_read_only else f"you have no right to write to {place}"
        raise argparse.ArgumentTypeError(f"{text}: nothing can be written there, because {reason}")


def count(text: str) -> int:
    """A number of at least 1."""
    if not text.isdecimal() or not 1 <= int(text[:9]):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number of at least 1")
    return int(text[:9])


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a whole number within bounds."""
    words = f"at least {least}" if most is None else f"from {least} to {most}"

    def check(text: str) -> int:
        number = int(text) if text.isdecimal() and len(text) < 20 else -1
        if not least <= number <= (number if most is None else most):
            raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, {words}")
        return number

    return check


seed = whole_number(0, 2**32 - 1)


def number(
    above: float | None = None, least: float | None = None, below: float | None = None
) -> Callable[[str], float]:
    """The type of a finite number within bounds."""
    bounds = {"above": above, "at least": least, "below": below}
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)

    def check(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        is_within = (
            math.isfinite(value)
            and (above is None or value > above)
            and (least is None or value >= least)
            and (below is None or value < below)
        )
        if not is_within:
            raise argparse.ArgumentTypeError(f"{text!r}: must be a number {words}")
        return value

    return check


positive = number(above=0)


def symbols(text: str) -> tuple[str, ...]:
    """Symbols of elements, separated by commas."""
    return tuple(symbol.strip() for symbol in text.split(",") if symbol.strip())


def wavelength(text: str) -> str | float:
    """A wavelength in Å, or the name of a radiation."""
    try:
        return float(text)
    except ValueError:
        return text


def concept(text: str) -> tuple[str, list[str]]:
    """The name of a class and the ids of its examples."""
    name, _, examples = text.partition("=")
    if not name or not examples:
        raise argparse.ArgumentTypeError(f"{text!r}: a concept is written NAME=ID,ID,...")
    return name, [example.strip() for example in examples.split(",")]


def table_or_folder(text: str) -> Path:
    """A table to write, or a folder for shards: a name without suffix, or one that ends in a slash."""
    is_folder = text.endswith("/") or not Path(text).suffix or Path(text).is_dir()
    return folder_to_write(text) if is_folder else file_to_write(".csv", ".parquet")(text)


def share(text: str) -> tuple[int, int]:
    """One of n equal shares of the work, written i/n."""
    number, slash, total = text.partition("/")
    if not slash or not number.isdecimal() or not total.isdecimal() or not 1 <= int(number) <= int(total):
        raise argparse.ArgumentTypeError(f"{text!r}: a share is written i/n, with i from 1 to n")
    return int(number), int(total)
