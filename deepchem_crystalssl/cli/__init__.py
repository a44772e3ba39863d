"""The command ``crystalssl``.

Only the standard library is imported here. A subcommand imports what it needs when it runs, so that ``--help`` and
``--version`` answer at once.
"""

from __future__ import annotations

import os
import sys

from ..errors import CrystalInputError
from .options import build_parser

RESUMABLE = ("featurize", "pretrain", "index")
"""Commands that go on where they stopped when they are run again."""


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
        example), 2 if the input or an option cannot be used, 130 after Ctrl-C.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return options.run(options)
    except CrystalInputError as error:
        print(f"crystalssl: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"crystalssl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "; run the same command again to go on" if options.command in RESUMABLE else ""
        print(f"crystalssl: stopped{again}", file=sys.stderr)
        return 130
