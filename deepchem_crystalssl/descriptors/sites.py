"""Rows of the sites of one structure."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from ..crystals.elements import N_ELEMENTS, symbols
from ..crystals.records import Crystal
from ..errors import CrystalInputError, UnsupportedObjectError, an_object, counted


def pair_of(entry: Any, k: int) -> tuple[Any, int] | CrystalInputError:
    """Return the structure and the index of a site that an entry holds, or the error that says what is wrong."""
    if isinstance(entry, tuple | list | np.ndarray) and len(entry) == 2:
        return entry[0], entry[1]
    return UnsupportedObjectError(
        f"entry {k}",
        an_object(entry),
        "an entry is a structure and the index of a site",
        "Pass tuples (structure, index).",
    )


def with_surroundings(sites: np.ndarray, crystal: Crystal) -> np.ndarray:
    """Return the vectors of the sites of a crystal, each followed by what the crystal is made of.

    Parameters
    ----------
    sites : numpy.ndarray
        (N, F).
    crystal : Crystal

    Returns
    -------
    numpy.ndarray
        float32 (N, 2 F + 118): the vector of the site, the mean over all sites, and the fraction of each element.
    """
    species = crystal.species
    amounts = np.bincount(species.atomic_numbers, species.occupancy, N_ELEMENTS + 1)[1:]
    around = np.concatenate([sites.mean(0, dtype=float), amounts / amounts.sum()])
    return np.hstack([sites, np.repeat(around[None], len(sites), axis=0)], dtype=np.float32)


def surroundings_labels(labels: list[str]) -> list[str]:
    """Return the names of the columns that :func:`with_surroundings` adds to those with these labels."""
    means = [f"{label}, mean of the crystal" for label in labels]
    return means + [f"fraction of {symbol}" for symbol in symbols()[1:]]


def vector_of_site(sites: np.ndarray, index: int) -> np.ndarray:
    """Return the vector of one of the sites (N, F) of a structure.

    Raises
    ------
    UnsupportedObjectError
        If there is no such site, or it was left out, and its row is NaN.
    """
    if not isinstance(index, Integral) or isinstance(index, bool):
        raise UnsupportedObjectError(
            f"site {index}", an_object(index), "the index of a site is a whole number", "Give the index of a site."
        )
    if not -len(sites) <= index < len(sites):
        raise UnsupportedObjectError(
            f"site {index}",
            f"a structure of {counted(len(sites), 'site')}",
            "the index of a site must be between 0 and the number of sites - 1",
            "Give the index of an existing site.",
        )
    if np.isnan(sites[index, 0]):
        raise UnsupportedObjectError(
            f"site {index}",
            "less than half occupied",
            "disorder='dominant' leaves out sites that are less than half occupied",
            "Pass disorder='average' to keep the site.",
        )
    return sites[index]
