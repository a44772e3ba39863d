"""What a CIF file says of the species on a site: symbols, labels, mixtures and occupancies."""

from __future__ import annotations

import math
import re
from functools import lru_cache

import gemmi
import numpy as np

from .elements import atomic_number_of, symbols
from ..errors import OccupancyError, UnknownElementError, counted
from .proximity import coinciding_sites
from .validation import OCCUPANCY_TOLERANCE

SAME_SITE = 0.1
"""Atoms closer than this share one site; symmetry images of one atom closer than this are one site, Å."""

# Labels of groups of atoms in old files are read as their heavy atom; the hydrogen atoms have no position there.
_GROUP_LABELS = {"WAT": "O", "OH": "O", "OW": "O", "HW": "H", "NO3": "N", "NH4": "N"}
_PLACEHOLDERS = ("VAC", "DUM", "XX")


_SHARE = r"\d*\.\d+"
_CHARGE = re.compile(r"(?<=[A-Za-z])\s?(?:\d?[+-]|[+-]\d(?![\d.]))")
_SEPARATOR = re.compile(r"[,;/&|+\s]")


def read_species(block: gemmi.cif.Block, n_sites: int, item: str) -> tuple[list[dict[int, float]], list[float]]:
    """The species and the occupancy of every listed site.

    Parameters
    ----------
    block : gemmi.cif.Block
    n_sites : int
    item : str
        For errors.

    Returns
    -------
    species : list of dict
        For each site the share of each atomic number; the shares sum to 1 unless the symbol itself states a vacancy.
    occupancy : list of float
        The occupancy of each site by all its species; 1 where the file says nothing.

    Raises
    ------
    UnknownElementError
        If a symbol is no element, or a mixture without shares.
    OccupancyError
        If an occupancy is negative or larger than 1.
    """
    symbol_texts = list(block.find_values("_atom_site_type_symbol"))
    texts = symbol_texts or list(block.find_values("_atom_site_label"))
    if len(texts) != n_sites:
        raise UnknownElementError(
            item,
            f"{counted(len(texts), 'label or type symbol', 'labels or type symbols')} for {counted(n_sites, 'site')}",
        )
    column = list(block.find_values("_atom_site_occupancy")) or ["?"] * n_sites
    if len(column) != n_sites:
        raise OccupancyError(item, f"{counted(len(column), 'occupancy', 'occupancies')} for {counted(n_sites, 'site')}")
    listed = list(zip(texts, column, strict=True))
    meant: dict[tuple[str, str], tuple[dict[int, float], float]] = {}
    for k, (text, said) in enumerate(listed):
        if (text, said) not in meant:
            meant[text, said] = _meaning(text, said, bool(symbol_texts), f"site {k}", item)
    return [meant[site][0] for site in listed], [meant[site][1] for site in listed]


def _meaning(text: str, said: str, is_symbol: bool, site: str, item: str) -> tuple[dict[int, float], float]:
    """The shares of the elements and the occupancy of a site."""
    parts, occupancy = parse_species(text, is_symbol=is_symbol), number(said)
    if parts is None:
        raise UnknownElementError(
            item,
            f"species {text!r} on {site}",
            "a mixture must state the share of each element",
            "List one row with an occupancy for each element.",
        )
    if 0 in parts:
        raise UnknownElementError(item, f"species {text!r} on {site}")
    if math.isnan(occupancy):
        return parts, 1.0
    if not 0.0 <= occupancy <= 1.0 + OCCUPANCY_TOLERANCE:
        raise OccupancyError(item, f"occupancy {said} of {site} ({text})")
    # "Fe0.5" with a column of occupancies says it twice
    return (dict.fromkeys(parts, 1.0) if len(parts) == 1 else parts), occupancy


def number(text: str | None) -> float:
    """A number with or without its uncertainty, as 0.25(1); NaN if there is none."""
    return gemmi.cif.as_number(text, np.nan) if text else np.nan


@lru_cache(maxsize=4096)
def parse_species(text: str, is_symbol: bool = True) -> dict[int, float] | None:
    """The share of each element that a type symbol or a label states.

    Parameters
    ----------
    text : str
        Such as ``Fe``, ``Fe3+``, ``0.8Nb + 0.2Zr``, ``Fe0.5Co0.5``.
    is_symbol : bool
        Whether it is a type symbol. A label is made of letters and numbers more freely (``O2B``), so that only
        separators, decimal numbers or two full symbols (``FeCo1``) make a mixture of it.

    Returns
    -------
    dict or None
        From atomic number to share, with 0 for what is no element; None for a mixture without shares.

    Examples
    --------
    >>> parse_species("Fe3+"), parse_species("0.8Nb + 0.2Zr"), parse_species("Fe,Co")
    ({26: 1.0}, {41: 0.8, 40: 0.2}, None)
    """
    mixture = _parse_mixture(text, is_symbol)
    return {parse_element(text): 1.0} if mixture is None else mixture or None


@lru_cache(maxsize=4096)
def parse_element(text: str) -> int:
    """The atomic number that 'Fe', 'Fe3+', 'O2-', 'FE1', 'D' or 'Wat' stands for; 0 if it is no element."""
    text = gemmi.cif.as_string(text).lstrip("0123456789'\"")
    upper = text.upper()
    if upper.startswith(_PLACEHOLDERS):
        return 0
    for group, element in _GROUP_LABELS.items():
        if upper.startswith(group) and not (upper[len(group) :][:1].isalpha()):
            return atomic_number_of()[element]
    letters = re.match(r"[A-Za-z]*", text).group()  # type: ignore[union-attr]
    number_of = atomic_number_of()
    return number_of.get(letters[:2].title()) or number_of.get(letters[:1].upper()) or 0


def _parse_mixture(text: str, is_symbol: bool) -> dict[int, float] | None:
    """Shares by atomic number, {} for a mixture that does not state them all, None if the text is no mixture."""
    text = re.sub(r"(?<=\d)\(\d+\)", "", gemmi.cif.as_string(text))  # uncertainties, as in 0.8(1)
    text = _CHARGE.sub(" ", text.replace("(", " ").replace(")", " ")).strip()
    share_first = re.match(_SHARE, text)
    pattern = rf"(?P<share>{_SHARE})?\s*" if share_first else ""
    pattern += r"(?P<symbol>[A-Z][a-z]?)(?![a-z])"
    pattern += "" if share_first else rf"\s*(?P<share>{_SHARE})?"
    found = [(part["symbol"], part["share"]) for part in re.finditer(pattern, text)]
    number_of = atomic_number_of()
    shares_stated = any(share for _, share in found)
    parts = [
        (number_of.get(symbol, 0), share)
        for symbol, share in found
        if is_symbol or shares_stated or symbol in number_of
    ]
    elements = {z for z, _ in parts}
    if 1 in elements and elements <= {1, 6, 7, 8}:  # a group such as OH, H2O or NH4
        return None
    if len(parts) == 1:
        is_share = is_symbol and shares_stated and re.fullmatch(pattern, text)
        return {parts[0][0]: float(parts[0][1])} if is_share else None
    if not (_looks_mixed(text) or (is_symbol and _looks_compound(text, elements))):
        return None
    if not shares_stated and len(elements) == 1:  # Fe2+,Fe3+
        return None
    shares: dict[int, float] = {}
    for z, share in parts:
        if not share:
            return {}
        shares[z] = shares.get(z, 0.0) + float(share)
    return shares


def _looks_mixed(text: str) -> bool:
    """Whether separators, two decimal numbers or two symbols of two letters each make a mixture of a label."""
    two_symbols = re.match(r"([A-Z][a-z])([A-Z][a-z])(?![a-z])", text)
    return (
        bool(_SEPARATOR.search(text))
        or len(re.findall(_SHARE, text)) > 1
        or (two_symbols is not None and all(symbol in atomic_number_of() for symbol in two_symbols.groups()))
    )


def _looks_compound(text: str, elements: set[int]) -> bool:
    """Whether a type symbol holds several symbols, as FeO, Fe-Co or Fe50Co50; FE and CO are old spellings of one."""
    return not re.fullmatch(r"[A-Z]{2}\d*", text) and len(elements) > 1


def merge_shared_sites(
    site_species: list[dict[int, float]], occupancies: list[float], frac: np.ndarray, lattice: np.ndarray, item: str
) -> tuple[list[dict[int, float]], np.ndarray]:
    """Make one site of those listed once for each of their species.

    Parameters
    ----------
    site_species, occupancies
        As :func:`read_species` returns them.
    frac : numpy.ndarray
        (N, 3), fractional coordinates.
    lattice : numpy.ndarray
        (3, 3), rows, Å.
    item : str
        For errors.

    Returns
    -------
    species : list of dict
        From atomic number to occupancy, for each site that remains.
    frac : numpy.ndarray
        Their fractional coordinates.

    Raises
    ------
    OccupancyError
        If the occupancies of one site sum to more than 1.
    """
    species = [
        {z: share * occupancy for z, share in parts.items()}
        for parts, occupancy in zip(site_species, occupancies, strict=True)
    ]
    merged: dict[int, dict[int, float]] = {}
    same = coinciding_sites(np.ascontiguousarray(frac), lattice, SAME_SITE)
    for site, (first, parts) in enumerate(zip(same.tolist(), species, strict=True)):
        if first == site:
            merged[site] = dict(parts)
            continue
        target = merged[first]
        for z, occupancy in parts.items():
            target[z] = target.get(z, 0.0) + occupancy
        total = sum(target.values())
        if total > 1.0 + OCCUPANCY_TOLERANCE:
            names = " + ".join(f"{x:g} {symbols()[z]}" for z, x in target.items())
            raise OccupancyError(item, f"occupancies {names} = {total:g} on one site")
    return list(merged.values()), frac[list(merged)]
