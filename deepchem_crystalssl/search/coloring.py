"""Colours of a map: by the columns of an index, by chemical class, by crystal system or by an element."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..crystals.elements import symbols
from ..errors import QueryError
from ..crystals.symmetry import CRYSTAL_SYSTEMS, system_of_group

ANION_CLASSES = {
    "oxide": {"O"},
    "halide": {"F", "Cl", "Br", "I"},
    "chalcogenide": {"S", "Se", "Te"},
    "pnictide": {"N", "P", "As"},
    "hydride, boride, carbide, silicide": {"H", "B", "C", "Si"},
    "intermetallic or element": set(symbols()),
}
"""Chemical classes by the anion that a crystal contains; the first that applies counts."""
_IN_BRACKETS = re.compile(r"\(([^()]+)\)\s*$")
_AT_THE_END = {"_eV": "eV", "_GPa": "GPa", "_K": "K", "_per_cm": "1/cm"}
_MOST_CATEGORIES = 40
_NAMES = ("material_id", "formula", "chemical_system")


@dataclass(frozen=True)
class Coloring:
    """A number or a category for each crystal.

    Attributes
    ----------
    name : str
    values : numpy.ndarray
        (n,): numbers, NaN where unknown; or int places in ``categories``, -1 where unknown.
    categories : tuple of str, optional
        None for numbers.
    """

    name: str
    values: np.ndarray
    categories: tuple[str, ...] | None = None

    @classmethod
    def of_kinds(cls, name: str, kinds: Sequence[str | None], order: Sequence[str] | None = None) -> Coloring:
        """From one word per crystal; categories in the given order, or else the most frequent first."""
        found = [kind for kind, _ in Counter(kind for kind in kinds if kind is not None).most_common()]
        categories = tuple(found if order is None else [kind for kind in order if kind in found])
        places = {kind: place for place, kind in enumerate(categories)}
        return cls(name, np.array([-1 if kind is None else places.get(kind, -1) for kind in kinds], int), categories)


def anion_class(chemical_system: str) -> str:
    """The first of :data:`ANION_CLASSES` with an element that the crystal contains.

    Examples
    --------
    >>> anion_class("Li-Co-O"), anion_class("Al-Ni")
    ('oxide', 'intermetallic or element')
    """
    elements = set(chemical_system.split("-"))
    return next((name for name, anions in ANION_CLASSES.items() if elements & anions), "intermetallic or element")


def colorings(table: pd.DataFrame) -> dict[str, Coloring]:
    """Everything by which the crystals of an index can be coloured: class of the anion, crystal system, number of
    elements, and every column of numbers, of true and false, or of at most 40 different words.

    Examples
    --------
    >>> table = pd.DataFrame({"chemical_system": ["Fe-O", "Na-Cl"], "space_group": [167, 225], "gap": [2.0, np.nan]})
    >>> found = colorings(table)
    >>> list(found), found["crystal_system"].categories
    (['anion_class', 'n_elements', 'crystal_system', 'space_group', 'gap'], ('trigonal', 'cubic'))
    """
    found = {}
    if "chemical_system" in table:
        systems = _words(table["chemical_system"])
        classes = [None if system is None else anion_class(system) for system in systems]
        found["anion_class"] = Coloring.of_kinds("anion_class", classes, [*ANION_CLASSES])
        numbers = [np.nan if system is None else system.count("-") + 1.0 for system in systems]
        found["n_elements"] = Coloring("n_elements", np.array(numbers))
    if "space_group" in table:
        groups = _numbers(pd.to_numeric(table["space_group"], errors="coerce"))
        kinds = [system_of_group(int(group)) if 1 <= group <= 230 else None for group in groups]
        found["crystal_system"] = Coloring.of_kinds("crystal_system", kinds, CRYSTAL_SYSTEMS)
    for name in map(str, table.columns):
        one = None if name in _NAMES or name in found else _of_column(table[name])
        if one is not None:
            found[name] = one
    return found


def coloring(table: pd.DataFrame, by: str) -> Coloring:
    """One of :func:`colorings` by its name, or by the symbol of an element the crystals that contain it.

    Raises
    ------
    QueryError
        If there is nothing of that name.
    """
    if by in symbols()[1:] and by not in table:
        if "chemical_system" not in table:
            raise QueryError("color", repr(by), "elements are coloured where the index knows the chemical systems",
                             "Build it with structures=, or with metadata of formulas.")  # fmt: skip
        systems = _words(table["chemical_system"])
        kinds = [f"with {by}" if system is not None and by in system.split("-") else None for system in systems]
        return Coloring.of_kinds(by, kinds)
    found = colorings(table)
    if by not in found:
        raise QueryError("color", repr(by), "a map is coloured by an element or by a column of the index",
                         f"It has {', '.join(found)}.")  # fmt: skip
    return found[by]


def _of_column(column: pd.Series) -> Coloring | None:
    name = str(column.name)
    if pd.api.types.is_bool_dtype(column):
        kinds = [None if pd.isna(value) else "yes" if value else "no" for value in column]
        return Coloring.of_kinds(name, kinds, ("yes", "no"))
    if pd.api.types.is_numeric_dtype(column):
        values = _numbers(column)
        return Coloring(name, np.where(np.isfinite(values), values, np.nan))
    kinds = _words(column)
    if not 1 <= len({kind for kind in kinds if kind is not None}) <= _MOST_CATEGORIES:
        return None
    return Coloring.of_kinds(name, kinds)


def _words(column: pd.Series) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in column]


def _numbers(column: pd.Series) -> np.ndarray:
    return column.to_numpy(float, na_value=np.nan)


def unit_in(name: str) -> str | None:
    """The unit that the name of a column ends with.

    Examples
    --------
    >>> unit_in("formation energy (eV/atom)"), unit_in("model_bulk_modulus_GPa"), unit_in("gap")
    ('eV/atom', 'GPa', None)
    """
    bracketed = _IN_BRACKETS.search(name)
    return bracketed[1] if bracketed else next((unit for end, unit in _AT_THE_END.items() if name.endswith(end)), None)
