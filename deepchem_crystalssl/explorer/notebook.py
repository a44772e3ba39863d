"""What the notebook that is run holds already, so that its next outputs need not hold it again."""

from __future__ import annotations

import sys
from typing import Any


class Holder:
    """The cell of a notebook whose output holds something that the outputs of other cells use."""

    def __init__(self) -> None:
        self._cell: str | None = None
        self._is_there = False

    def is_needed(self) -> bool:
        """Whether the next output must hold it; that output is taken to do so.

        It must outside of a notebook, in Colab, where the output of a cell cannot see those of others, in the first
        output, and when the cell of that output is run again, because its old output is gone then.
        """
        shell = _shell()
        if shell is None or "google.colab" in sys.modules:
            return True
        cell = _running_cell(shell)
        if self._is_there and (cell is None or cell != self._cell):
            return False
        self._cell, self._is_there = cell, True
        return True


def _shell() -> Any:
    """The shell of IPython that runs a notebook, None elsewhere."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if hasattr(shell, "kernel") else None


def _running_cell(shell: Any) -> str | None:
    """The id of the cell that is run, None where the notebook does not tell it."""
    return shell.get_parent().get("metadata", {}).get("cellId")
