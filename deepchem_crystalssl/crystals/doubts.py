"""Warnings of crystals that are read although something about them is doubtful."""

from __future__ import annotations

import warnings

from ..errors import CrystalWarning, DoubtfulCrystalError


def warn_of(item: str, text: str) -> None:
    """Warn of something in an item that is read nevertheless.

    Raises
    ------
    DoubtfulCrystalError
        If a filter of the caller makes an error of the warning.
    """
    try:
        warnings.warn(f"{item}: {text}", CrystalWarning, stacklevel=3)
    except CrystalWarning as warning:
        raise DoubtfulCrystalError(item, text) from warning
