"""What a CIF file says of the species on a site: symbols, labels, mixtures and occupancies."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import gemmi

from ..elements import atomic_number_of, symbols
from ..doubts import warn_of
from ...errors import OccupancyError, UnknownElementError, counted
from .tags import is_unknown, number
from ..validation import OCCUPANCY_ROUNDING, OCCUPANCY_TOLERANCE

# Labels of groups of atoms in old files are read as their heavy atom; the hydrogen atoms have no position there.
_GROUP_LABELS = {"WAT": "O", "OH": "O", "O-H": "O", "OW": "O", "HW": "H", "NO3": "N", "NH4": "N"}
_WITH_HYDROGEN = ("WAT", "OH", "O-H", "NH4")
_PLACEHOLDERS = ("VAC", "DUM", "XX")
_DUMMIES = ("Va", "Du", "Bq", "Cg", "Cent")  # vacancies, ghosts and centroids, of which the first letter is an element
_AMINE = re.compile(r"NH[1-4]?")
_LAST_IN_CRYSTALS = 98  # californium: heavier elements are in no crystal whose structure was determined

_SHARE = r"\d*\.\d+"
_CHARGE = re.compile(r"(?<=[A-Za-z])\s?(?:[+-]\d(?![\d.+-])|\d?[+-])")
_SEPARATOR = re.compile(r"[,;/&|+\s]")
_CAPITALS = re.compile(r"[A-Z]{2}\d+")
_SITE_NAME = re.compile(r"[A-Z][a-z]?\(\d+[A-Z]?['\"*]*\)|O\(\d*W\d*\)")  # H(1B), O(W)
_DECORATION = re.compile(r"(?:[\d+\-.,;/&|^*?'\"\s]|\([^()]*\)?)*(?:_\w*)?")


@dataclass(frozen=True)
class Species:
    """What a file says of the species on its sites.

    Attributes
    ----------
    parts : list of dict
        For each site the share of each atomic number; the shares sum to 1 unless the symbol itself states a vacancy.
    occupancies : list of float
        The occupancy of each site by all its species; 1 where the file says nothing.
    open_labels : tuple of str
        Labels such as ``CO1`` that may begin with a symbol of one or of two letters, of elements in the formula sum.
    notes : tuple of str
        What was read in one of several ways, in words.
    """

    parts: list[dict[int, float]]
    occupancies: list[float]
    open_labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_species(
    block: gemmi.cif.Block, n_sites: int, item: str, formula: Collection[int] = (), prefer_short: bool = False
) -> Species:
    """The species and the occupancy of every listed site.

    Parameters
    ----------
    block : gemmi.cif.Block
    n_sites : int
    item : str
        For errors.
    formula : collection of int
        The atomic numbers in the formula sum of the file, with which labels are compared; empty if there is none.
    prefer_short : bool
        Read labels that are open as symbols of one letter.

    Returns
    -------
    Species

    Raises
    ------
    UnknownElementError
        If a symbol is no element, a label begins with no element of the formula sum, or a mixture has no shares.
    OccupancyError
        If an occupancy is negative or larger than 1.
    """
    texts = list(block.find_values("_atom_site_type_symbol"))
    labels = list(block.find_values("_atom_site_label")) if not texts or "?" in texts or "." in texts else texts
    if not texts:
        texts = ["?"] * len(labels)
    if len(texts) != n_sites or len(labels) != n_sites:
        raise UnknownElementError(
            item,
            f"{counted(len(texts), 'label or type symbol', 'labels or type symbols')} for {counted(n_sites, 'site')}",
        )
    column = list(block.find_values("_atom_site_occupancy")) or ["?"] * n_sites
    if len(column) != n_sites:
        raise OccupancyError(item, f"{counted(len(column), 'occupancy', 'occupancies')} for {counted(n_sites, 'site')}")
    elements = frozenset(formula) or (_listed_types(block) if labels is not texts else frozenset())
    listed = list(zip(texts, labels, column, strict=True))
    # Without a formula sum, HO1 is hydrogen beside H1 or OH1, and holmium elsewhere.
    beside_hydrogen = labels is not texts and not elements and any(map(_is_of_hydrogen, labels))
    meant: dict[tuple[str, str, str], tuple[dict[int, float], float]] = {}
    for site in dict.fromkeys(listed):
        text, label, said = site
        is_symbol = text not in ("?", ".")
        place = f"site {listed.index(site)}"
        if is_symbol and elements and _is_doubtful(text, elements):
            raise UnknownElementError(item, f"type symbol {text} on {place}, and no such element in the formula sum")
        is_short = prefer_short or beside_hydrogen and label.lstrip("'\"").upper().startswith("H")
        known = None if is_symbol else elements
        meant[site] = _meaning(text if is_symbol else label, said, known, is_short, place, item)
    parts, occupancies = map(list, zip(*(meant[site] for site in listed), strict=True))
    unusual = {site[:2] for site in meant if _is_unusual(site[0])}
    if not unusual:
        return Species(parts, occupancies)
    lists_hydrogen = any(1 in parts for parts, _ in meant.values())
    return Species(parts, occupancies, *_what_is_open(unusual, elements, beside_hydrogen, lists_hydrogen))


def _listed_types(block: gemmi.cif.Block) -> frozenset[int]:
    """The elements in the loop of atom types, which tell what labels mean where there is no formula sum."""
    return frozenset(element_of_symbol(text) for text in block.find_values("_atom_type_symbol")) - {0}


@lru_cache(maxsize=4096)
def _is_of_hydrogen(label: str) -> bool:
    return element_of_label(label) == 1 or _group(gemmi.cif.as_string(label).upper()) == "OH"


@lru_cache(maxsize=4096)
def _is_doubtful(symbol: str, formula: frozenset[int]) -> bool:
    """Whether a type symbol that may mean something else, as T or CO3, is none of the elements of the formula sum."""
    letters = _letters(gemmi.cif.as_string(symbol))
    may_differ = letters == "T" or len(letters) == 2 and letters.isupper() and letters[0] in atomic_number_of()
    return may_differ and element_of_symbol(symbol) not in (0, *formula)


@lru_cache(maxsize=4096)
def _is_unusual(symbol: str) -> bool:
    """Whether a type symbol is missing, or something else than an element."""
    text = gemmi.cif.as_string(symbol)
    is_group = bool(_group(text.upper())) or bool(_AMINE.fullmatch(text))
    return symbol in ("?", ".") or text == "T" or is_group or bool(_CAPITALS.fullmatch(text))


def _what_is_open(
    texts: set[tuple[str, str]], formula: frozenset[int], beside_hydrogen: bool, lists_hydrogen: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels that the formula sum leaves open, and notes on what was chosen without one."""
    labels = sorted(gemmi.cif.as_string(label) for text, label in texts if text in ("?", "."))
    types = sorted(gemmi.cif.as_string(text) for text, _ in texts if text not in ("?", "."))
    open_labels = tuple(label for label in labels if _is_open(label, formula))
    if formula:
        return open_labels, ()
    read = [
        (label, element_of_label(label, prefer_short=beside_hydrogen and label[0] in "Hh")) for label in open_labels
    ]
    read += [(text, element_of_symbol(text)) for text in types if _CAPITALS.fullmatch(text) and _is_open(text, formula)]
    notes = []
    if read:
        told = ", ".join(f"{text} is read as {symbols()[z]}" for text, z in read[:5])
        notes.append(f"without a formula sum that would tell, {told}")
    if "T" in types:
        notes.append("T is read as tritium, and counts as hydrogen")
    groups = [text for text in (*labels, *types) if _group(text.upper()) in _WITH_HYDROGEN]
    groups += [text for text in types if _AMINE.fullmatch(text) and text not in groups]
    if groups:
        lacks = "" if lists_hydrogen else ", whose hydrogen has no position"
        notes.append(f"{', '.join(groups[:5])} is read as the heavy atom of a group{lacks}")
    if nitrates := [text for text in types if _group(text.upper()) == "NO3"]:
        notes.append(
            f"{nitrates[0]} is read as nitrogen; the oxygen of the group has a position only where it is listed"
        )
    return (), tuple(notes)


def _meaning(
    text: str, said: str, formula: frozenset[int] | None, prefer_short: bool, site: str, item: str
) -> tuple[dict[int, float], float]:
    """The shares of the elements and the occupancy of a site; the formula is None for a type symbol."""
    parts, occupancy = parse_species(text, formula, prefer_short), number(said)
    if parts is None:
        raise UnknownElementError(
            item,
            f"species {text!r} on {site}",
            "a mixture must state the share of each element",
            "List one row with an occupancy for each element.",
        )
    if 0 in parts:
        if formula and parse_species(text, frozenset()) != {0: 1.0}:
            elements = ", ".join(symbols()[z] for z in sorted(formula))
            raise UnknownElementError(
                item,
                f"label {text!r} on {site}",
                f"a label without a type symbol must begin with an element of the formula sum ({elements})",
                "Add _atom_site_type_symbol, or correct _chemical_formula_sum.",
            )
        raise UnknownElementError(item, f"species {text!r} on {site}")
    if math.isnan(occupancy) and is_unknown(said):
        return parts, 1.0
    if 1.0 + OCCUPANCY_TOLERANCE < occupancy <= 1.0 + OCCUPANCY_ROUNDING:
        warn_of(item, f"occupancy {said} of {site} ({text}), which is taken as 1")
        occupancy = 1.0
    if not 0.0 <= occupancy <= 1.0 + OCCUPANCY_TOLERANCE:
        raise OccupancyError(item, f"occupancy {said} of {site} ({text})")
    # "Fe0.5" with a column of occupancies says it twice
    return (dict.fromkeys(parts, 1.0) if len(parts) == 1 else parts), occupancy


@lru_cache(maxsize=4096)
def parse_species(
    text: str, formula: frozenset[int] | None = None, prefer_short: bool = False
) -> dict[int, float] | None:
    """The share of each element that a type symbol or a label states.

    Parameters
    ----------
    text : str
        Such as ``Fe``, ``Fe3+``, ``0.8Nb + 0.2Zr``, ``Fe0.5Co0.5``.
    formula : frozenset of int, optional
        None for a type symbol; for a label, the atomic numbers in the formula sum, empty without one. A label is made
        of letters and numbers more freely (``O2B``), so that only separators, decimal numbers or two full symbols
        (``FeCo1``) make a mixture of it.
    prefer_short : bool
        As in :func:`read_species`.

    Returns
    -------
    dict or None
        From atomic number to share, with 0 for what is no element; None for a mixture without shares.

    Examples
    --------
    >>> parse_species("Fe3+"), parse_species("0.8Nb + 0.2Zr"), parse_species("Fe,Co")
    ({26: 1.0}, {41: 0.8, 40: 0.2}, None)
    """
    is_site_name = formula is not None and _SITE_NAME.fullmatch(gemmi.cif.as_string(text))
    mixture = None if is_site_name else _parse_mixture(text, formula is None)
    if mixture is not None:
        return mixture or None
    return {element_of_symbol(text) if formula is None else element_of_label(text, formula, prefer_short): 1.0}


@lru_cache(maxsize=4096)
def element_of_symbol(text: str) -> int:
    """The atomic number of a type symbol such as 'Fe', 'Fe3+', 'O2-', 'FE1', 'D' or 'OH'; 0 if it is no element.

    Examples
    --------
    >>> element_of_symbol("Fe3+"), element_of_symbol("Va"), element_of_symbol("Cg")
    (26, 0, 0)
    """
    text = gemmi.cif.as_string(text).lstrip("0123456789'\"")
    if group := _group(text.upper()):
        return atomic_number_of()[_GROUP_LABELS[group]]
    letters = _letters(text)
    rest = text[len(letters) :].replace(letters, "")  # Fe2+,Fe3+
    z = atomic_number_of().get(letters.title(), 0) if _DECORATION.fullmatch(rest) else 0
    if z > _LAST_IN_CRYSTALS and letters.isupper():  # CN, NO2 and BH4 are groups, and no heavy elements
        return atomic_number_of()["N"] if _AMINE.fullmatch(text) else 0
    return z


@lru_cache(maxsize=4096)
def element_of_label(text: str, formula: frozenset[int] = frozenset(), prefer_short: bool = False) -> int:
    """The atomic number of the element with which a label begins; 0 if it begins with none.

    A label may go on with letters that are no part of the symbol: ``HO1`` is hydrogen where the formula sum has no
    holmium. Without a formula sum the longer symbol is meant, but for elements that are in no crystal.

    Examples
    --------
    >>> element_of_label("Fe1"), element_of_label("HO1"), element_of_label("HO1", frozenset({1, 6, 8}))
    (26, 67, 1)
    """
    text = gemmi.cif.as_string(text).lstrip("0123456789'\"")
    upper, letters, number_of = text.upper(), _letters(text), atomic_number_of()
    if upper.startswith(_PLACEHOLDERS) or letters in _DUMMIES and not formula:
        return 0
    if group := _group(upper):
        z = number_of[_GROUP_LABELS[group]]
        return z if not formula or z in formula else 0
    readings = _readings(letters, formula)
    if not readings:
        return 0
    return readings[-1] if prefer_short and len(readings) > 1 and not letters[1].islower() else readings[0]


def _readings(letters: str, formula: frozenset[int]) -> list[int]:
    """The elements that the first letters of a label may mean, that of two letters first."""
    number_of = atomic_number_of()
    spellings = dict.fromkeys([letters[:2].title(), letters[:1].upper()])
    spellings.pop("T", None)  # T1 is a tetrahedral site, and not tritium
    found = [number_of.get(spelling, 0) for spelling in spellings]
    found = [z for z in found if z and (not formula or z in formula)]
    if len(found) > 1 and not formula and found[0] > _LAST_IN_CRYSTALS:
        return found[1:]
    return found


def _is_open(label: str, formula: frozenset[int]) -> bool:
    """Whether a label in capitals may begin with a symbol of one letter or of two."""
    letters = _letters(label.lstrip("0123456789'\""))
    if re.match(r"H[23]O", label):  # water, or the second hydrogen atom on an atom O
        return not formula
    return (
        len(letters) > 1 and letters[1].isupper() and not _group(label.upper()) and len(_readings(letters, formula)) > 1
    )


def _group(upper: str) -> str:
    """The group of atoms with which a text in capitals begins; empty if it begins with none."""
    if upper.startswith("WAT"):  # also WatO, WATER1
        return "WAT"
    return next(
        (group for group in _GROUP_LABELS if upper.startswith(group) and not upper[len(group) :][:1].isalpha()), ""
    )


def _letters(text: str) -> str:
    return re.match(r"[A-Za-z]*", text).group()  # type: ignore[union-attr]


def _parse_mixture(text: str, is_symbol: bool) -> dict[int, float] | None:
    """Shares by atomic number, {} for a mixture that does not state them all, None if the text is no mixture."""
    text = re.sub(r"(?<=\d)\(\d+\)", "", gemmi.cif.as_string(text))  # uncertainties, as in 0.8(1)
    is_charged = _CHARGE.search(text) is not None
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
        if is_share and is_charged:  # Cu2+0.5 may be half an atom, Cu+0.5 half a charge; Fe+2.67 is a charge
            return {} if float(parts[0][1]) < 1.0 else None
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
