"""Space groups in all their settings, as files name them: by symbol, by number, by code of the coordinate system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

import gemmi
import numpy as np

from ..symmetry import full_symbols

MAX_STRAIN = 0.05
"""Operations that change the scalar products of cell vectors by more than this share are an error."""
_SAME_TRANSLATION = 2e-3
_MAX_CENTRINGS = 200
_RHOMBOHEDRAL_OR_HEXAGONAL = re.compile(
    r"[\s,({\[]*(hex|rhomb)[a-z]*(?:\s*(?:axes|setting|cell))?\s*[)}\]]?$", re.IGNORECASE
)
_ORIGIN = re.compile(r"[\s,({\[]*or(?:igin)?\s*(?:choice|no\.?)?\s*:?\s*([12])\s*[)}\]]?$|\s*O([12])$", re.IGNORECASE)
_COLON = re.compile(r"\s*:\s*([-\w]+)$")
_ICSD_SUFFIX = re.compile(r"(?<=[\w/]{2})\s*([HRSZ])$|(?<=\s\w)\s+([HRSZ])$", re.IGNORECASE)
_NUMBER = re.compile(r"[\s,(]*(?:no\.?|#)\s*\d+\s*\)?$|\s\(\d{2,3}\)$", re.IGNORECASE)
_MARKUP = re.compile(r"~|_|</?su[bp]>", re.IGNORECASE)  # as in P 2~1~/c, where the digit is a subscript
_ORIGINS = {"s": "1", "z": "2"}  # ICSD: the standard origin of the first editions, the origin at a centre


@dataclass(frozen=True, eq=False)
class Operations:
    """The symmetry operations of a space group in one setting, on fractional coordinates.

    Attributes
    ----------
    name : str
        For messages.
    rotations, translations : numpy.ndarray
        float64 (M, 3, 3) and (M, 3).
    """

    name: str
    rotations: np.ndarray
    translations: np.ndarray

    @cached_property
    def point_group(self) -> np.ndarray:
        """The different rotations, (P, 3, 3)."""
        return np.unique(self.rotations, axis=0)

    @property
    def is_identity(self) -> bool:
        """Whether there is no operation but the identity."""
        return len(self.rotations) == 1

    def strain(self, lattice: np.ndarray) -> float:
        """The largest change that a rotation makes to a scalar product of cell vectors, relative to their lengths.

        Zero if the operations map the lattice onto itself. With edges that differ by 1 % where they should be equal it
        is 0.02, with an angle of 91 instead of 90 degrees 0.035.
        """
        metric = lattice @ lattice.T
        lengths = np.sqrt(np.diag(metric))
        change = self.point_group.transpose(0, 2, 1) @ metric @ self.point_group - metric
        return float(np.abs(change / np.outer(lengths, lengths)).max())

    def fit(self, lattice: np.ndarray) -> bool:
        """Whether they map the lattice onto itself, but for a strain of :data:`MAX_STRAIN`."""
        return self.strain(lattice) <= MAX_STRAIN

    def include(self, others: Operations) -> bool:
        """Whether all operations of another list are among these, but for lattice translations."""
        for rotation, translation in zip(others.rotations, others.translations, strict=True):
            same = np.flatnonzero((np.abs(self.rotations - rotation) < 1e-6).all(axis=(1, 2)))
            if not _among(translation[None], self.translations[same]).any():
                return False
        return True

    @cached_property
    def why_no_group(self) -> str:
        """Why the operations are no group, in words; empty if they are one.

        The products of two operations must be among them, but for lattice translations. Each rotation occurs with the
        same number of translations, which differ by the centring translations.
        """
        kinds, kind = np.unique(self.rotations.reshape(-1, 9).round(6), axis=0, return_inverse=True)
        if len(kinds) > 48:
            return f"{len(kinds)} different rotations, where a lattice has at most 48"
        shifts = [_distinct(self.translations[kind.reshape(-1) == k]) for k in range(len(kinds))]
        kinds = kinds.reshape(-1, 3, 3)
        identity = np.flatnonzero((kinds == np.eye(3)).all(axis=(1, 2)))
        if not len(identity):
            return "the identity is not among them"
        centrings = shifts[identity[0]] - shifts[identity[0]][0]
        if len(centrings) > _MAX_CENTRINGS:
            return f"{len(centrings)} centring translations, of which {_MAX_CENTRINGS} are understood"
        if not _among((centrings[:, None] + centrings[None]).reshape(-1, 3), centrings).all():
            return "the sum of two centring translations is not among them"
        if any(len(shift) != len(centrings) for shift in shifts):
            return "operations are missing, or listed with a wrong translation"
        first = np.array([shift[0] for shift in shifts])
        for shift, start in zip(shifts, first, strict=True):
            if not _among(shift - start, centrings).all():
                return "operations are missing, or listed with a wrong translation"
        number_of = {rotation.round().tobytes(): k for k, rotation in enumerate(kinds + 0.0)}
        for rotation, translation in zip(kinds, first, strict=True):
            products = [number_of.get((rotation @ other + 0.0).round().tobytes()) for other in kinds]
            if None in products:
                return "the product of two operations is not among them"
            apart = first @ rotation.T + translation - first[products]  # type: ignore[index]
            if not _among(apart, centrings).all():
                return "the product of two operations is not among them"
        return ""


def _among(wanted: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Which translations are equal to one of a list, but for lattice translations, bool (N,)."""
    if not len(listed):
        return np.zeros(len(wanted), bool)
    apart = wanted[:, None] - listed[None]
    return (np.abs(apart - np.round(apart)) < _SAME_TRANSLATION).all(axis=2).any(axis=1)


def _distinct(translations: np.ndarray) -> np.ndarray:
    """Translations that differ by more than lattice translations."""
    wrapped = translations % 1.0
    _, first = np.unique((wrapped * 1000.0).round() % 1000.0, axis=0, return_index=True)
    return wrapped[np.sort(first)]


@dataclass(frozen=True)
class Setting:
    """One setting of a space group: axes, cell choice and origin."""

    number: int
    symbol: str
    hall: str
    codes: frozenset[str]

    @property
    def operations(self) -> Operations:
        """Its operations."""
        return operations_of_hall(self.hall, self.symbol)

    @property
    def has_choice_of_origin(self) -> bool:
        """Whether the group is described with two origins."""
        return bool(self.codes & {"1", "2"})


@lru_cache(maxsize=1024)
def operations_of_hall(hall: str, name: str) -> Operations:
    """The operations that a Hall symbol means.

    Raises
    ------
    ValueError, RuntimeError
        If gemmi does not understand it.
    """
    found = list(gemmi.symops_from_hall(hall))
    rotations = np.array([op.rot for op in found]) / gemmi.Op.DEN
    return Operations(name, rotations, np.array([op.tran for op in found]) / gemmi.Op.DEN)


@lru_cache(maxsize=1)
def _settings() -> tuple[Setting, ...]:
    return tuple(_setting(group) for group in gemmi.spacegroup_table())


def _setting(group: gemmi.SpaceGroup) -> Setting:
    extension = "" if group.ext == "\0" else group.ext.lower()
    axes = group.qualifier or "abc"
    return Setting(
        group.number, group.xhm(), group.hall, frozenset({extension, axes, extension + axes, f"{axes}1"} - {""})
    )


def settings_of_number(number: int) -> list[Setting]:
    """All settings of a space group, that of the International Tables first."""
    standard = _setting(gemmi.find_spacegroup_by_number(number))
    return [standard, *(setting for setting in _settings() if setting.number == number and setting != standard)]


def settings_of_symbol(symbol: str) -> tuple[list[Setting], str]:
    """The settings that a Hermann-Mauguin symbol may mean, short, full, extended or old, and the code behind it.

    Parameters
    ----------
    symbol : str
        Such as ``P 21/c``, ``P 1 21/c 1``, ``F 4/m -3 2/m``, ``R -3 m :H``, ``F d -3 m Z``, ``P 4/n m m (origin choice
        2)``.

    Returns
    -------
    settings : list of Setting
        Empty if the symbol is unknown.
    code : str
        Of the coordinate system, such as ``1``, ``2``, ``h``, ``r``, ``b1``; empty if the symbol does not state it.

    Examples
    --------
    >>> [setting.symbol for setting in settings_of_symbol("F d -3 m Z")[0]]
    ['F d -3 m:2']
    """
    plain = re.sub(r"(\d)\((\d)\)", r"\1\2", _MARKUP.sub("", symbol).strip().strip("'\""))
    plain = _NUMBER.sub("", plain)
    code = ""
    for pattern in (_RHOMBOHEDRAL_OR_HEXAGONAL, _ORIGIN, _COLON, _ICSD_SUFFIX):
        found = pattern.search(plain)
        if found and not code and len(plain[: found.start()].strip()) > 1:
            code = next(group for group in found.groups() if group).lower()
            code = {"hex": "h", "rhomb": "r"}.get(code, _ORIGINS.get(code, code))
            plain = plain[: found.start()].strip()
    settings = list(_by_symbol().get(_key(plain), ()))
    if not settings and (group := gemmi.find_spacegroup_by_name(plain)):
        settings = [_setting(group)]
        settings += [
            other for other in settings_of_number(group.number)
            if other != settings[0] and other.symbol.split(":")[0] == settings[0].symbol.split(":")[0]
        ]  # fmt: skip
    return (with_code(settings, code) if code else settings), code


def with_code(settings: list[Setting], code: str) -> list[Setting]:
    """The settings with a code of the coordinate system, as ``_space_group_IT_coordinate_system_code`` has it.

    Some programs write 1 beside every group; where a group has one setting, this is that one.
    """
    code = code.lower().strip()
    if code == "1" and len(settings) == 1 and not settings[0].has_choice_of_origin:
        return settings
    return [setting for setting in settings if code in setting.codes]


def _key(symbol: str) -> str:
    letters = "".join(symbol.split())
    return letters[:1].upper() + letters[1:].lower()


@lru_cache(maxsize=1)
def _by_symbol() -> dict[str, tuple[Setting, ...]]:
    """The settings of every spelling of a symbol."""
    full = full_symbols()
    found: dict[str, dict[Setting, None]] = {}
    for group in gemmi.spacegroup_table():
        parts = group.hm.split()
        spellings = {group.hm, group.xhm(), group.short_name() if group.ext not in "HR" else group.hm}
        if 3 <= group.number <= 15:
            spellings.add(" ".join([parts[0], *(part for part in parts[1:] if part != "1")]))
        spellings.update(full.get(group.hall, ()))
        if 123 <= group.number <= 142:  # P 4/n 21/m m, which is P 4/n 21/m 2/m in the International Tables
            spellings.update([re.sub(r" ([a-d mn])$", r" 2/\1", spelling) for spelling in spellings])
        spellings.update([s.replace("e", glide) for s in spellings if "e" in s for glide in "abc" if glide in group.hm])
        if group.number >= 195:
            spellings.update([spelling.replace("-3", "3") for spelling in spellings if "-3" in spelling])
        for spelling in spellings:
            found.setdefault(_key(spelling), {})[_setting(group)] = None
    return {spelling: tuple(settings) for spelling, settings in found.items()}
