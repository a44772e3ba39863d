"""What a CIF file says of symmetry: operations that are listed, or those of the space group that is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import gemmi
import numpy as np

from ..doubts import warn_of
from ...errors import CrystalInputError, SymmetryError
from .groups import (
    MAX_STRAIN,
    Operations,
    Setting,
    operations_of_hall,
    settings_of_number,
    settings_of_symbol,
    with_code,
)
from ..limits import LIMITS, ReadingLimits
from .tags import first_value, number, values

_NOTABLE_STRAIN = 0.01

_LONGEST_OPERATION = 100  # characters; the parsers take long for longer ones
_CODE_TAGS = ("_space_group_IT_coordinate_system_code", "_symmetry_space_group_IT_coordinate_system_code")
_OPERATION_TAGS = (
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv.pos_as_xyz",
)
_MAGNETIC_OPERATION_TAGS = (
    "_space_group_symop_magn_operation.xyz",
    "_space_group_symop.magn_operation_xyz",
    "_space_group_symop_magn_operation_xyz",
    "_space_group_symop.magn_operation_xyz",
)
_MAGNETIC_CENTERING_TAGS = (
    "_space_group_symop_magn_centering.xyz",
    "_space_group_symop.magn_centering_xyz",
    "_space_group_symop_magn_centering_xyz",
)
_HALL_TAGS = (
    "_space_group_name_Hall",
    "_symmetry_space_group_name_Hall",
    "_space_group.name_Hall",
    "_symmetry.space_group_name_Hall",
)
_NAME_TAGS = (
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_symmetry_space_group_name_H_M",
    "_space_group.name_H-M_alt",
    "_symmetry.space_group_name_H-M",
    "_space_group_name_H-M_full",
    "_space_group_name_H-M",
    "_space_group.name_H-M_full",
)
_NUMBER_TAGS = (
    "_space_group_IT_number",
    "_symmetry_Int_Tables_number",
    "_space_group.IT_number",
    "_symmetry.Int_Tables_number",
)
_MAGNETIC_NAME_TAGS = ("_space_group_magn.name_BNS", "_space_group.magn_name_BNS", "_space_group_magn_name_BNS")


_CELL_RULE = "the operations of a space group must leave the lengths and angles of the cell unchanged"
_CELL_REMEDY = "Check the cell, and the axes and the setting of the space group."


@dataclass(frozen=True)
class Symmetry:
    """The operations that a file means, and those that it may mean instead.

    Attributes
    ----------
    first : Operations
        Taken unless the atoms contradict the file.
    others : callable
        Makes the operations that are tried if they do.
    doubt : str
        What the file leaves open, in words; empty if it leaves nothing open.
    is_open : bool
        Whether the file must decide by its formula and density, because no setting comes first.
    is_short : bool
        Whether the doubt is that the file lists fewer operations than the group has that it names.
    is_listed : bool
        Whether the file lists all operations of the group that it names.
    is_guess : bool
        Whether the doubt is which setting of a group the file means, which distances and multiplicities may tell.
    """

    first: Operations
    others: Callable[[], list[Operations]] = list
    doubt: str = ""
    is_open: bool = False
    is_short: bool = False
    is_listed: bool = False
    is_guess: bool = False


_NONE = Symmetry(Operations("the list", np.eye(3)[None], np.zeros((1, 3))), is_listed=True)


def read_symmetry(
    block: gemmi.cif.Block,
    lattice: np.ndarray,
    item: str,
    is_counted: bool = False,
    limits: ReadingLimits = LIMITS,
) -> Symmetry:
    """The symmetry of a data block: the operations that are listed, otherwise those of the space group that is named.

    Without either there is the identity alone: all atoms are listed.

    Parameters
    ----------
    block : gemmi.cif.Block
    lattice : numpy.ndarray
        (3, 3), rows, Å.
    item : str
        For errors.
    is_counted : bool
        Whether the file states how many atoms the cell has, which will confirm operations under an unusual name.

    Returns
    -------
    Symmetry

    Raises
    ------
    SymmetryError
        If an operation cannot be understood, the space group is unknown, the operations are no group, or they do not
        leave the cell unchanged.
    """
    if magnetic := values(block, _MAGNETIC_OPERATION_TAGS):
        centring = values(block, _MAGNETIC_CENTERING_TAGS) or ["x,y,z,+1"]
        limits.check("operations", len(magnetic) * len(centring), item, "symmetry operations")
        return Symmetry(_checked(_combine(_listed(magnetic, item), _listed(centring, item)), lattice, item))
    if name := values(block, _MAGNETIC_NAME_TAGS):
        return Symmetry(_checked(_magnetic_group_operations(name[0], item), lattice, item))
    if texts := values(block, _OPERATION_TAGS):
        limits.check("operations", len(texts), item, "symmetry operations")
        return _symmetry_of_list(texts, block, lattice, item, is_counted)
    return _symmetry_of_name(block, lattice, item)


def _symmetry_of_list(
    texts: list[str], block: gemmi.cif.Block, lattice: np.ndarray, item: str, is_counted: bool
) -> Symmetry:
    listed = _listed(texts, item)

    def settings() -> Iterator[Setting]:
        return (setting for setting in _named_settings(block)[0] if setting.operations.fit(lattice))

    if listed.why_no_group:
        including = [setting for setting in settings() if setting.operations.include(listed)]
        if not including:
            raise SymmetryError(
                item,
                f"{len(listed.rotations)} operations that are no group: {listed.why_no_group}",
                "the product of two symmetry operations must be one of the list",
                "Check the list of operations, or leave the name of the space group alone.",
            )
        warn_of(item, f"the listed operations are no group; those of {including[0].symbol}, which has them, are taken")
        return Symmetry(including[0].operations, lambda: [setting.operations for setting in including[1:]])
    symbol, n = first_value(block, *_NAME_TAGS), len(listed.rotations)
    least, most = _orders_of(symbol, first_value(block, *_NUMBER_TAGS)) if symbol != "P 1" else (1, 1)
    if n == most == 1:
        return _NONE
    _checked(listed, lattice, item)
    if n < most and n >= least:  # hexagonal axes have three times the operations of rhombohedral ones
        least = min((len(setting.operations.rotations) for setting in settings()), default=0)
    if n >= least:
        is_named = is_counted or n != most or not symbol or _is_setting_of(symbol, tuple(texts))
        return Symmetry(
            listed,
            lambda: [setting.operations for setting in settings() if not setting.operations.include(listed)],
            "" if is_named else f"the listed operations are not those of {symbol}, and are taken",
            is_listed=True,
        )
    return Symmetry(
        listed,
        lambda: [setting.operations for setting in settings() if setting.operations.include(listed)],
        f"the {n} listed operations are fewer than those of the space group that is named, and are taken",
        is_short=True,
    )


@lru_cache(maxsize=1024)
def _is_setting_of(symbol: str, texts: tuple[str, ...]) -> bool:
    """Whether the operations are those of a space group in one of the settings that its symbol may mean."""
    listed = _parse_operations(texts)
    settings, _ = settings_of_symbol(symbol)
    return isinstance(listed, str) or not settings or any(s.operations.include(listed) for s in settings)


@lru_cache(maxsize=1024)
def _orders_of(symbol: str, listed_number: str) -> tuple[int, int]:
    """The least and the greatest number of operations of the space group that a file names; 0 if it names none."""
    settings, _ = settings_of_symbol(symbol) if symbol else ([], "")
    if not settings and 1 <= (n := number(listed_number)) <= 230:
        settings = settings_of_number(int(n))
    orders = [len(setting.operations.rotations) for setting in settings] or [0]
    return min(orders), max(orders)


def _symmetry_of_name(block: gemmi.cif.Block, lattice: np.ndarray, item: str) -> Symmetry:
    hall = first_value(block, *_HALL_TAGS)
    symbols = first_value(block, *_NAME_TAGS), first_value(block, *_NAME_TAGS[1:])
    conflict = _conflict(symbols, hall, first_value(block, *_NUMBER_TAGS))
    if conflict:
        warn_of(item, conflict)
    if hall:
        try:
            return Symmetry(
                _checked(operations_of_hall(hall, hall), lattice, item),
                lambda: [s.operations for s in _named_settings(block)[0] if conflict and s.operations.fit(lattice)],
            )
        except (ValueError, RuntimeError) as error:
            if isinstance(error, CrystalInputError):
                raise
    settings, code = _named_settings(block)
    if not settings:
        named = values(block, _NAME_TAGS + _HALL_TAGS + _NUMBER_TAGS)
        if named and code:
            raise SymmetryError(item, f"space group {named[0]!r} without a setting {code!r}")
        if named:
            raise SymmetryError(item, f"unknown space group {named[0]!r} and no symmetry operations")
        warn_of(
            item, "no space group and no symmetry operations are given; the atoms are read as all those of the cell"
        )
        return _NONE
    fitting = [setting for setting in settings if setting.operations.fit(lattice)]
    if not fitting and not code:  # P 21/c for another unique axis
        fitting = [s for s in settings_of_number(settings[0].number) if s.operations.fit(lattice)]
    if not fitting:
        raise _unlike_cell(settings[0].operations, lattice, item)
    first, others = fitting[0], fitting[1:]
    doubt = ""
    by_symbol = any(settings_of_symbol(symbol)[0] for symbol in values(block, _NAME_TAGS)[:1])
    if not code and others and (first.has_choice_of_origin or by_symbol and first.number > 15):  # C m m e is C m m a
        doubt = f"the file does not say which origin it means; that of {first.symbol} is taken"
    elif first.number > 1 and not code and others and not by_symbol and not {"h", "r"} & first.codes:
        doubt = f"the file does not say which setting it means; {first.symbol} is taken"
    is_standard = first in (settings[0], *settings_of_number(first.number)[:1]) or not others
    if not is_standard and {"h", "r"} & first.codes:
        is_standard = True  # the cell decides between hexagonal and rhombohedral axes
    if not is_standard:
        doubt = f"{settings[0].symbol} does not fit the cell, and {', '.join(s.symbol for s in fitting)} do"
    _checked(first.operations, lattice, item)
    if conflict and (n := number(first_value(block, *_NUMBER_TAGS))) != first.number and n in range(1, 231):
        others = others + [setting for setting in settings_of_number(int(n)) if setting.operations.fit(lattice)]
    return Symmetry(
        first.operations, lambda: [setting.operations for setting in others], doubt, is_open=not is_standard,
        is_guess=bool(doubt) and is_standard,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _conflict(symbols: tuple[str, ...], hall: str, listed: str) -> str:
    """How the names of a space group contradict each other, in words; empty if one group has them all."""
    named = {symbol: {setting.number for setting in settings_of_symbol(symbol)[0]} for symbol in symbols if symbol}
    named[f"number {listed}"] = {int(n)} if (n := number(listed)) == n and 1 <= n <= 230 else set()
    try:
        group = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(hall)) if hall else None
    except (ValueError, RuntimeError):
        group = None
    named = {f"Hall symbol {hall}": {group.number} if group else set(), **named}
    known = {name: numbers for name, numbers in named.items() if numbers}
    if not known or set.intersection(*known.values()):
        return ""
    return f"{' and '.join(known)} contradict each other; the former is taken, unless the atoms contradict it"


def _named_settings(block: gemmi.cif.Block) -> tuple[list[Setting], str]:
    """The settings of the space group that a file names, likeliest first, and the code that chooses among them."""
    code = first_value(block, *_CODE_TAGS).lower()
    listed = number(first_value(block, *_NUMBER_TAGS))
    for tag in _NAME_TAGS:
        if symbol := first_value(block, tag):
            settings, suffix = settings_of_symbol(symbol)
            if settings:
                return (with_code(settings, code), code) if code and not suffix else (settings, suffix)
    if 1 <= listed <= 230 and listed == int(listed):
        settings = settings_of_number(int(listed))
        return (with_code(settings, code), code) if code else (settings, "")
    return [], ""


def _checked(operations: Operations, lattice: np.ndarray, item: str) -> Operations:
    """The operations, if they are a group and fit the cell."""
    if operations.is_identity:
        return operations
    if operations.why_no_group:
        raise SymmetryError(item, f"operations that are no group: {operations.why_no_group}")
    strain = operations.strain(lattice)
    if strain > MAX_STRAIN:
        raise _unlike_cell(operations, lattice, item)
    if strain > _NOTABLE_STRAIN:
        warn_of(item, f"the cell does not quite obey the operations of {operations.name}; both are taken as they are")
    return operations


def _unlike_cell(operations: Operations, lattice: np.ndarray, item: str) -> SymmetryError:
    lengths = np.linalg.norm(lattice, axis=1)
    unit = lattice / lengths[:, None]
    angles = np.degrees(np.arccos(np.clip([unit[1] @ unit[2], unit[2] @ unit[0], unit[0] @ unit[1]], -1.0, 1.0)))
    cell = " ".join(f"{value:.5g}" for value in (*lengths, *angles))
    return SymmetryError(item, f"space group {operations.name} and a cell {cell}", _CELL_RULE, _CELL_REMEDY)


def _listed(texts: list[str], item: str) -> Operations:
    parsed = _parse_operations(tuple(texts))
    if isinstance(parsed, str):
        raise SymmetryError(item, parsed)
    return parsed


@lru_cache(maxsize=256)
def _parse_operations(texts: tuple[str, ...]) -> Operations | str:
    """The operations, or what is wrong with them."""
    operations = []
    for text in texts:
        operation = _parse_operation(text)
        if operation is None:
            return f"operation {text[:_LONGEST_OPERATION]!r}"
        if abs(abs(np.linalg.det(operation[0])) - 1.0) > 1e-6:
            return f"operation {text!r}, which changes volumes"
        operations.append(operation)
    rotations, translations = (np.array(part) for part in zip(*operations, strict=True))
    if not (np.abs(rotations - np.eye(3)).max(axis=(1, 2)) < 1e-6).any():  # some programs do not list it
        rotations = np.concatenate([np.eye(3)[None], rotations])
        translations = np.concatenate([np.zeros((1, 3)), translations])
    return Operations("the list", rotations, translations)


@lru_cache(maxsize=4096)
def _parse_operation(text: str) -> tuple[np.ndarray, np.ndarray] | None:
    if len(text) > _LONGEST_OPERATION:
        return None
    triplet = ",".join(text.split(",")[:3])  # a magnetic operation has a fourth part, time reversal
    try:
        operation = gemmi.Op(triplet)
    except (ValueError, RuntimeError):
        return _parse_unusual_operation(triplet)
    return np.array(operation.rot) / gemmi.Op.DEN, np.array(operation.tran) / gemmi.Op.DEN


def _parse_unusual_operation(triplet: str) -> tuple[np.ndarray, np.ndarray] | None:
    """An operation with a translation such as 5/17, which gemmi's twenty-fourths cannot hold."""
    from pymatgen.core.operations import SymmOp

    if not re.fullmatch(r"[-+xyzXYZ\d/.\s]+(,[-+xyzXYZ\d/.\s]+){2}", triplet):
        return None
    try:
        operation = SymmOp.from_xyz_str(triplet)
    except (ValueError, ZeroDivisionError, IndexError):
        return None
    return operation.rotation_matrix, operation.translation_vector


def _combine(operations: Operations, centring: Operations) -> Operations:
    rotations = np.repeat(operations.rotations, len(centring.rotations), axis=0)
    translations = (operations.translations[:, None] + centring.translations[None]).reshape(-1, 3)
    return Operations("the list", rotations, translations)


def _magnetic_group_operations(name: str, item: str) -> Operations:
    from pymatgen.symmetry.maggroups import MagneticSpaceGroup

    try:
        operations = MagneticSpaceGroup(name).symmetry_ops
    except Exception as error:  # the table raises whatever its SQL lookup raises
        raise SymmetryError(item, f"unknown magnetic space group {name!r}") from error
    rotations = np.array([op.rotation_matrix for op in operations], float)
    return Operations(name, rotations, np.array([op.translation_vector for op in operations], float))
