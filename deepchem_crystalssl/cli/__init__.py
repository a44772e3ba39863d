"""The command ``crystalssl``.

Only the standard library is imported here. A subcommand imports what it needs when it runs, so that ``--help`` and
``--version`` answer at once.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CrystalInputError
from ..processors import set_num_threads
from .options import build_parser

RESUMABLE = ("featurize", "pretrain", "index")
"""Commands that go on where they stopped when they are run again."""
OF_THE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""Refusals of the operating system that no other input or option would change."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit status: 0 if the work was done, 1 if the operating system refused something (a full disk, for
        example), 2 if the input or an option cannot be used, 3 if ``check`` found a file that is refused or a crystal
        with remarks, or ``verify`` found damage, 130 after Ctrl-C.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    if options.threads is not None:  # before PyTorch and NumPy are loaded, which read it then
        set_num_threads(options.threads)
    try:
        with _log_on_stderr(options.quiet):
            return options.run(options)
    except CrystalInputError as error:
        print(f"crystalssl: {error}", file=sys.stderr)
        return 1 if isinstance(error.__cause__, OSError) and error.__cause__.errno in OF_THE_SYSTEM else 2
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"crystalssl: {_in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "; run the same command again to go on" if options.command in RESUMABLE else ""
        if os.environ.get("RANK", "0") == "0":  # the first process of torchrun speaks for all
            print(f"crystalssl: stopped{again}", file=sys.stderr)
        return 130


def _in_words(error: OSError) -> str:
    """What the operating system refused: the file, the reason and the remedy."""
    from ..crystals.work_folders import remedy_of

    name = str(error.filename or "")
    shown = name if len(name) <= 120 else f"{name[:60]}...{name[-40:]}"
    return f"{shown}: {error.strerror or error}. {remedy_of(error)}".removeprefix(": ")


@contextmanager
def _log_on_stderr(quiet: bool) -> Iterator[None]:
    """Within the block the package's log goes to stderr as plain lines: all of it, or with ``quiet`` warnings only."""
    logger = logging.getLogger(__package__.partition(".")[0])
    level, handler = logger.level, logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
