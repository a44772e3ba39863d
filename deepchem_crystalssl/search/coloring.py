"""What a map can be coloured by: columns of a catalogue, and what formulas tell."""

from __future__ import annotations

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
"""Chemical classes by the anion a crystal holds; the first that applies."""
_MOST_CATEGORIES = 40
_NAMES = ("material_id", "formula", "chemical_system")


@dataclass(frozen=True)
class Coloring:
    """One colour, or one kind, per crystal.

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
        """From one word per crystal; categories in the given order, or the frequent first."""
        found = [kind for kind, _ in Counter(kind for kind in kinds if kind is not None).most_common()]
        categories = tuple(found if order is None else [kind for kind in order if kind in found])
        places = {kind: place for place, kind in enumerate(categories)}
        return cls(name, np.array([-1 if kind is None else places.get(kind, -1) for kind in kinds], int), categories)


def anion_class(chemical_system: str) -> str:
    """The first of :data:`ANION_CLASSES` whose elements a crystal holds.

    Examples
    --------
    >>> anion_class("Li-Co-O"), anion_class("Al-Ni")
    ('oxide', 'intermetallic or element')
    """
    elements = set(chemical_system.split("-"))
    return next((name for name, anions in ANION_CLASSES.items() if elements & anions), "intermetallic or element")


def colorings(table: pd.DataFrame) -> dict[str, Coloring]:
    """All that the crystals of a catalogue can be coloured by: class of the anion, crystal system, number of
    elements, and every column of numbers, of yes and no, or of at most 40 different words.

    Examples
    --------
    >>> table = pd.DataFrame({"chemical_system": ["Fe-O", "Na-Cl"], "space_group": [167, 225], "gap": [2.0, np.nan]})
    >>> found = colorings(table)
    >>> list(found), found["crystal_system"].categories
    (['anion_class', 'n_elements', 'crystal_system', 'space_group', 'gap'], ('trigonal', 'cubic'))
    """
    found = {}
    if "chemical_system" in table:
        systems = table["chemical_system"].tolist()
        found["anion_class"] = Coloring.of_kinds("anion_class", [anion_class(s) for s in systems], [*ANION_CLASSES])
        found["n_elements"] = Coloring("n_elements", np.array([s.count("-") + 1.0 for s in systems]))
    if "space_group" in table:
        kinds = [None if not 1 <= group <= 230 else system_of_group(int(group)) for group in table["space_group"]]
        found["crystal_system"] = Coloring.of_kinds("crystal_system", kinds, CRYSTAL_SYSTEMS)
    for name in map(str, table.columns):
        one = None if name in _NAMES or name in found else _of_column(table[name])
        if one is not None:
            found[name] = one
    return found


def coloring(table: pd.DataFrame, by: str) -> Coloring:
    """One of :func:`colorings` by its name, or crystals that hold an element by its symbol.

    Raises
    ------
    QueryError
        If there is nothing of that name.
    """
    if by in symbols()[1:] and by not in table:
        kinds = [f"with {by}" if by in system.split("-") else None for system in table["chemical_system"]]
        return Coloring.of_kinds(by, kinds)
    found = colorings(table)
    if by not in found:
        raise QueryError("color", repr(by), "a map is coloured by an element or a column of the index",
                         f"It has {', '.join(found)}.")  # fmt: skip
    return found[by]


def _of_column(column: pd.Series) -> Coloring | None:
    name = str(column.name)
    if pd.api.types.is_bool_dtype(column):
        return Coloring.of_kinds(name, ["yes" if value else "no" for value in column], ("yes", "no"))
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(float)
        return Coloring(name, np.where(np.isfinite(values), values, np.nan))
    kinds = [value if isinstance(value, str) else None for value in column]
    if not 1 <= len({kind for kind in kinds if kind is not None}) <= _MOST_CATEGORIES:
        return None
    return Coloring.of_kinds(name, kinds)
