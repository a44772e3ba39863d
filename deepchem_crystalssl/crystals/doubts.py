"""Warnings of crystals that are read although something about them is doubtful."""

from __future__ import annotations

import warnings

from ..errors import CrystalInputError, CrystalWarning, DoubtfulCrystalError


def warn_of(item: str, text: str, said_by: type[CrystalInputError] | None = None) -> None:
    """Warn of something in an item that is read nevertheless.

    Parameters
    ----------
    item, text : str
    said_by : subclass of CrystalInputError, optional
        The kind of error by which :func:`~deepchem_crystalssl.crystals.check_files` says the same of a crystal.

    Raises
    ------
    DoubtfulCrystalError
        If a filter of the caller makes an error of the warning.
    """
    warning = CrystalWarning(f"{item}: {text}")
    warning.said_by = said_by  # type: ignore[attr-defined]
    try:
        warnings.warn(warning, stacklevel=3)
    except CrystalWarning as raised:
        raise DoubtfulCrystalError(item, text) from raised
