"""The options of the command check."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from . import commands
from .arguments import file_to_write, positive


def add_check(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command."""
    check = add(
        "check",
        commands.check,
        "tell which files of a folder are read, and which crystals contradict what their file states",
        "check my_cifs/ -o checked.csv",
    )
    check.add_argument("source", help="a folder with its subfolders, a glob of files, or a file")
    check.add_argument(
        "-o",
        "--output",
        type=file_to_write(".csv"),
        metavar="FILE.csv",
        help="write a row for each crystal to this file (default: print what is refused or doubtful)",
    )
    check.add_argument("--seconds", type=positive, metavar="X", default=60.0, help="time limit for each crystal")
    check.add_argument(
        "--megabytes", type=positive, metavar="X", default=2048.0, help="memory limit for each file, on Linux"
    )
