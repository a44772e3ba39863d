"""Chemical formulas compared as compositions: ``Ca(OH)2`` and ``CaH2O2`` are one compound.

pymatgen's ``Composition`` would do, but importing it takes longer than searching a hundred thousand crystals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.elements import symbols
from ..errors import QueryError

_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TOKEN = re.compile(r"\s*([A-Za-z]+|\d+\.?\d*|\.\d+|[()\[\]{}])\s*")
_JOINING_DOT = re.compile(r"[·•⋅∙*]")
_MOST_READINGS = 64
_SAME = 1e-5
"""Largest difference between the atomic fractions of two formulas of one compound."""


@lru_cache(maxsize=4096)
def parse_formula(text: str) -> dict[str, float] | None:
    """Atoms of each element in a formula, None if the text is not a formula.

    Parentheses, subscripts (``TiO₂``), spaces, decimal numbers and the dot of a hydrate are understood.

    Examples
    --------
    >>> parse_formula("Ca(OH)2"), parse_formula("quartz")
    ({'Ca': 1.0, 'O': 2.0, 'H': 2.0}, None)
    """
    tokens = _tokens(text)
    words = [word for part in tokens for word in part if word.isalpha()]
    segmented = [re.findall("[A-Z][a-z]?", word) for word in words]
    written = all("".join(found) == word for found, word in zip(segmented, words, strict=True))
    return _count(tokens, segmented) if words and written and set().union(*segmented) <= _elements() else None


def read_formula(text: str) -> list[dict[str, float]]:
    """What a text may mean as a formula: as it is written or, if it is no formula then, ignoring upper and lower case.

    Examples
    --------
    >>> read_formula("CO"), read_formula("tio2"), len(read_formula("co"))
    ([{'C': 1.0, 'O': 1.0}], [{'Ti': 1.0, 'O': 2.0}], 2)
    """
    written = parse_formula(text)
    if written is not None:
        return [written]
    tokens = _tokens(text)
    words = [word for part in tokens for word in part if word.isalpha()]
    if not words or sum(map(len, words)) > 24:
        return []
    ways = [_segmentations(word.lower()) for word in words]
    if math.prod(map(len, ways)) > _MOST_READINGS:
        return []
    counted = (_count(tokens, list(segmented)) for segmented in product(*ways))
    return [amounts for amounts in counted if amounts is not None]


def same_compound(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two compositions have the same elements in the same proportions.

    Examples
    --------
    >>> same_compound(parse_formula("Ti2O4"), parse_formula("O2Ti"))
    True
    """
    if set(one) != set(other):
        return False
    total, other_total = sum(one.values()), sum(other.values())
    return all(abs(amount / total - other[symbol] / other_total) < _SAME for symbol, amount in one.items())


def without_hydrogen(formula: str) -> str:
    """The formula without hydrogen, whose positions X-rays hardly see, with its elements sorted; that of H2 as it is.

    Examples
    --------
    >>> without_hydrogen("LiAlPHO5"), without_hydrogen("Mg(OH)2"), without_hydrogen("H2")
    ('Al Li O5 P', 'Mg O2', 'H2')
    """
    amounts = {name: n for name, n in (parse_formula(formula) or {}).items() if name != "H"}
    if not amounts:
        return formula
    smallest = math.gcd(*map(int, amounts.values())) if all(n == int(n) for n in amounts.values()) else 1
    return " ".join(name if n == smallest else f"{name}{n / smallest:.6g}" for name, n in sorted(amounts.items()))


def formula_type(formula: Any) -> str:
    """The formula with letters in place of the elements, as AB2; empty if it is no formula.

    Examples
    --------
    >>> formula_type("TiO2"), formula_type("Mg2Al4O8"), formula_type(None)
    ('AB2', 'AB2C4', '')
    """
    amounts = parse_formula(formula) if isinstance(formula, str) else None
    if amounts is None:
        return ""
    numbers = sorted(amounts.values())
    if all(number == int(number) for number in numbers):
        divisor = math.gcd(*map(int, numbers))
        numbers = [number / divisor for number in numbers]
    shown = ("" if n == 1 else str(int(n)) if abs(n % 1) < 1e-8 else str(n) for n in numbers)
    return "".join(f"{letter}{number}" for letter, number in zip(ascii_uppercase, shown))


def system_of(amounts: dict[str, float]) -> str:
    """The chemical system of a composition: its elements, sorted and joined by hyphens."""
    return "-".join(sorted(amounts))


def read_system(value: Any) -> str | None:
    """A chemical system as it is kept, with its elements sorted; None if the value is no list of elements.

    Examples
    --------
    >>> read_system("O-Fe"), read_system(["O", "Ca"]), read_system("oxides")
    ('Fe-O', 'Ca-O', None)
    """
    if not isinstance(value, Iterable):
        return None
    found = set(re.findall(r"[A-Za-z]+", value) if isinstance(value, str) else value)
    return "-".join(sorted(found)) if found and found <= _elements() else None


def rows_of_formula(table: pd.DataFrame, text: str) -> list[int]:
    """Rows of a catalogue whose crystals are of the compound a formula names.

    Raises
    ------
    QueryError
        If the text can be read as several compounds of the catalogue.
    """
    if "formula" not in table:
        return []
    formulas = table["formula"].to_numpy(object)
    found: dict[str, list[int]] = {}
    for amounts in read_formula(text):
        if "chemical_system" in table:
            system = system_of(amounts)
            near = np.flatnonzero((table["chemical_system"] == system).to_numpy(bool, na_value=False))
        else:
            near = np.arange(len(table))
        rows = [int(row) for row in near if _is_compound(formulas[row], amounts)]
        if rows:
            found[str(formulas[rows[0]])] = rows
    if len(found) > 1:
        raise QueryError(text, f"may mean {' or '.join(found)}", "a formula names one compound",
                         "Write the symbols of the elements with their capital letters.")  # fmt: skip
    return next(iter(found.values()), [])


def _is_compound(formula: Any, amounts: dict[str, float]) -> bool:
    parsed = parse_formula(formula) if isinstance(formula, str) else None
    return parsed is not None and same_compound(parsed, amounts)


@lru_cache(maxsize=1)
def _elements() -> frozenset[str]:
    return frozenset(symbols()[1:])


def _tokens(text: str) -> list[list[str]]:
    """Words, numbers and brackets of each part of a formula (a hydrate has two); nothing if there is anything else."""
    parts = []
    for part in _JOINING_DOT.split(text.translate(_SUBSCRIPTS)):
        matches = list(_TOKEN.finditer(part))
        if not part or "".join(match[0] for match in matches) != part:
            return []
        parts.append([match[1] for match in matches])
    return parts


def _segmentations(word: str) -> list[list[str]]:
    """All ways to cut a word of small letters into symbols of elements."""
    if not word:
        return [[]]
    ways = []
    for length in (1, 2):
        symbol = word[:length].capitalize()
        if len(word) >= length and symbol in _elements():
            ways += [[symbol, *rest] for rest in _segmentations(word[length:])]
    return ways


def _count(parts: list[list[str]], segmented: list[list[str]]) -> dict[str, float] | None:
    """Atoms of each element; ``segmented`` holds the elements of every word, in order."""
    words, total = iter(segmented), dict[str, float]()
    for tokens in parts:
        times, rest = (float(tokens[0]), tokens[1:]) if tokens[0][0] in ".0123456789" else (1.0, tokens)
        groups, last = [dict[str, float]()], dict[str, float]()
        for token in rest:
            if token.isalpha():
                for symbol in next(words):
                    last = {symbol: 1.0}
                    _add(groups[-1], last, 1.0)
            elif token in "([{":
                groups.append({})
                last = {}
            elif token in ")]}":
                if len(groups) < 2:
                    return None
                last = groups.pop()
                _add(groups[-1], last, 1.0)
            else:
                if not last:
                    return None
                _add(groups[-1], last, float(token) - 1.0)
                last = {}
        if len(groups) > 1:
            return None
        _add(total, groups[0], times)
    return total if total and min(total.values()) > 0 else None


def _add(amounts: dict[str, float], more: dict[str, float], times: float) -> None:
    for symbol, amount in more.items():
        amounts[symbol] = amounts.get(symbol, 0.0) + times * amount
