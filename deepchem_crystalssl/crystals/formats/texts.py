"""Texts that describe crystals: CIF, POSCAR and JSON in memory. No file is opened here."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from ..cif.expansion import check_contacts
from ..cif.reading import read_cif
from .convert import from_pymatgen, to_crystal
from .database_entries import is_entry, own_id, trajectory_frames
from ..elements import atomic_number_of, symbols
from ..doubts import warn_of
from .encodings import joined_digits, plain_text
from ...errors import (
    CrystalInputError,
    UnknownElementError,
    UnsupportedFileError,
    UnsupportedObjectError,
    counted,
    typed_error,
)
from .json_documents import Document, iterate_documents, pieces_of, too_deep
from .json_entries import named_entries
from ..limits import LIMITS, ReadingLimits, check_text
from ..records import Crystal

Item = Crystal | CrystalInputError
_POSCAR = (
    "a POSCAR has a comment, a scale, three lattice vectors, the elements, their numbers of atoms, Direct or "
    "Cartesian, and a line for each atom"
)


def read_structure_text(
    text: str,
    name: str,
    kind: str | None = None,
    structure_column: str | None = None,
    id_column: str | None = None,
    limits: ReadingLimits = LIMITS,
) -> Iterator[Item]:
    """The crystals of a text, one after the other; a bad one among several comes as its error.

    The text is never taken for a path: no file is opened.

    Parameters
    ----------
    text : str
    name : str
        The crystal is called so, and errors name it.
    kind : {"cif", "json", "poscar"}, optional
        By default it is recognized by how the text begins.
    structure_column, id_column : str, optional
        Fields of the entries in JSON that hold structure and id.
    limits : ReadingLimits

    Yields
    ------
    Crystal or CrystalInputError

    Raises
    ------
    CrystalInputError
        If nothing in the text can be read.

    Examples
    --------
    >>> text = "salt\\n5.64\\n0 .5 .5\\n.5 0 .5\\n.5 .5 0\\nNa Cl\\n1 1\\ndirect\\n0 0 0\\n.5 .5 .5"
    >>> list(read_structure_text(text, "salt"))
    [Crystal(salt, Na1Cl1, 2 sites)]
    """
    text = plain_text(text, name)
    check_text(text, name, limits)
    start = text.lstrip()[:1]
    if kind is None:
        is_cif = "_cell_length_a" in text or text.lstrip().startswith(("data_", "#"))
        kind = "json" if start in "{[" else "cif" if is_cif else "poscar"
    try:
        if kind == "json":
            yield from _from_json(text, name, structure_column, id_column, limits)
        elif kind == "cif":
            yield from read_cif(text, name, limits)
        else:
            yield _from_poscar(text, name, limits)
    except CrystalInputError:
        raise
    except Exception as error:  # whatever else a library stumbles over is a fault of the text
        raise typed_error(error, name) from error


def _from_json(
    text: str, name: str, structure_column: str | None, id_column: str | None, limits: ReadingLimits
) -> Iterator[Item]:
    """The crystals of JSON in memory; that of a single structure, which is the most frequent, on the shortest way."""
    documents: Iterable[Document]
    try:
        value = json.loads(text)
    except ValueError:
        documents = iterate_documents(io.StringIO(text), name, limits)  # JSON lines, or broken
    except RecursionError as error:
        raise too_deep(name) from error
    else:
        if isinstance(value, dict) and "lattice" in value and "sites" in value:
            yield to_crystal(value, name, id_column)
            return
        documents = [Document(0, True, pieces_of(value))]
    yield from read_json(documents, name, structure_column, id_column, limits)


def read_json(
    documents: Iterable[Document],
    name: str,
    structure_column: str | None = None,
    id_column: str | None = None,
    limits: ReadingLimits = LIMITS,
) -> Iterator[Item]:
    """Crystals of JSON, in the forms of :func:`~deepchem_crystalssl.crystals.formats.json_entries.named_entries`."""
    for entry, called, is_key in named_entries(documents, name, structure_column, id_column, limits):
        for item in read_entry(entry, called, id_column, limits):
            is_renamed = is_key and isinstance(item, Crystal) and item.material_id != called
            yield replace(item, material_id=called) if is_renamed else item  # type: ignore[type-var]


def read_entry(entry: Any, name: str, id_column: str | None = None, limits: ReadingLimits = LIMITS) -> Iterator[Item]:
    """The crystals of an object, a dict or a text; an error is one of them."""
    try:
        if isinstance(entry, CrystalInputError):
            yield entry
        elif isinstance(entry, str):
            yield from read_structure_text(entry, name, id_column=id_column, limits=limits)
        elif isinstance(entry, bytes):
            raise UnsupportedObjectError(name, "bytes")
        elif isinstance(entry, Mapping) and "species" in entry and "coords" in entry:
            yield from trajectory_frames(entry, name)
        elif hasattr(entry, "get_structure") and hasattr(entry, "coords"):  # pymatgen's Trajectory
            for k in range(len(entry)):
                yield from read_entry(entry.get_structure(k), f"{name} {k}", id_column, limits)
        elif isinstance(entry, Mapping) and not is_entry(entry) and (field := _text_field(entry)):
            called = own_id(entry, id_column) or name
            yield from read_structure_text(entry[field], called, id_column=id_column, limits=limits)
        else:
            yield to_crystal(entry, name, id_column)
    except CrystalInputError as error:
        yield error
    except Exception as error:
        yield typed_error(error, name, UnsupportedObjectError)


def _text_field(entry: Mapping) -> str | None:
    """The field of an entry that holds the text of a structure."""
    return next((field for field in ("cif", "cif_text", "poscar") if isinstance(entry.get(field), str)), None)


def _from_poscar(text: str, name: str, limits: ReadingLimits) -> Crystal:
    from pymatgen.io.vasp.inputs import Poscar

    _refuse_mixed_names(text, name)
    announced = _announced_atoms(text)
    limits.check("sites", announced, name, "sites of one crystal")
    if announced > text.count("\n") + 1:  # pymatgen would take the memory first
        raise _short_poscar(text, name)
    if wrong := joined_digits(text.partition("\n")[2]):
        raise UnsupportedFileError(name, f"a number {wrong!r}", "numbers have no underscore", "Correct this number.")
    text = _with_one_scale(text, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is an error below
            poscar = Poscar.from_str(text)
    except Exception as error:  # pymatgen raises its warnings too
        if _ends_early(text):
            raise _short_poscar(text, name) from error
        reason = "too few numbers" if isinstance(error, IndexError) else str(error).split("\n")[0]
        raise UnsupportedFileError(
            name,
            f"not a POSCAR: it cannot be parsed ({reason or type(error).__name__})",
            _POSCAR,
            "Check the lattice vectors, the numbers of atoms and the coordinates.",
        ) from error
    if not poscar.true_names:  # VASP 4 style: pymatgen would invent H, He, Li, ...
        raise UnknownElementError(name, "a POSCAR without element names", remedy="Add the line of element symbols.")
    crystal = from_pymatgen(poscar.structure, name)
    _compare_with_rows(text, crystal, name)
    check_contacts(crystal, name, is_expanded=False)
    return crystal


def _compare_with_rows(text: str, crystal: Crystal, name: str) -> None:
    """Refuse numbers of atoms that are not one for each element; tell of other elements and of more rows."""
    lines = text.splitlines()
    at, first = _places(lines)
    if at is None:
        return
    named, numbers = re.split("[#!]", lines[5])[0].split(), lines[at].split()
    if at == 6 and len(named) != len(numbers):
        raise UnsupportedFileError(
            name,
            f"{counted(len(named), 'element')} and {counted(len(numbers), 'number')} of atoms",
            "a POSCAR has a number of atoms for each element",
            "Correct the sixth and the seventh line.",
        )
    last = first + crystal.num_nodes
    for z, line in zip(crystal.atomic_numbers, lines[first:last], strict=False):
        words, symbol = line.split(), symbols()[z]
        if first == at + 2 and len(words) == 4 and words[3] != symbol and words[3] in atomic_number_of():
            warn_of(name, f"an atom that is counted as {symbol} has {words[3]} in its row, and is read as {symbol}")
            break
    behind = lines[last].split() if len(lines) > last else []
    if len(behind) >= 3 and all(map(_is_number, behind[:3])):
        warn_of(name, f"line {at + 1} counts {crystal.num_nodes} atoms, and the rows after these are left out")


def _with_one_scale(text: str, name: str) -> str:
    """A POSCAR whose three scales, for the Cartesian components x, y and z, are multiplied into its numbers."""
    lines = text.splitlines()
    factors = list(map(float, takewhile(_is_number, lines[1].split()))) if len(lines) > 5 else [1.0]
    if len(factors) < 2:
        return text
    if len(factors) != 3 or min(factors) <= 0.0:
        raise UnsupportedFileError(
            name,
            f"scales {lines[1].strip()!r}",
            "a POSCAR has one scale, or three positive ones for the Cartesian components",
            "Correct the second line.",
        )
    counts, first = _places(lines)
    scaled = [2, 3, 4]
    if counts is not None and len(lines) >= first and lines[first - 1].lstrip()[:1].lower() in ("c", "k"):
        scaled += range(first, min(len(lines), first + sum(map(int, lines[counts].split()))))
    lines[1] = "1.0"
    for at in scaled:
        words = lines[at].split()
        if len(words) >= 3 and all(map(_is_number, words[:3])):
            numbers = [f"{float(word) * factor:.16g}" for word, factor in zip(words, factors, strict=False)]
            lines[at] = " ".join([*numbers, *words[3:]])
    return "\n".join(lines) + "\n"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _places(lines: list[str]) -> tuple[int | None, int]:
    """Which line of a POSCAR has the numbers of atoms, None if there is none, and which is that of the first atom."""
    at = next((at for at in (5, 6) if len(lines) > at and all(w.isdecimal() for w in lines[at].split())), None)
    if at is None:
        return None, 8
    return at, at + (3 if len(lines) > at + 1 and lines[at + 1].lstrip()[:1].lower() == "s" else 2)


def _announced_atoms(text: str) -> int:
    """How many atoms a POSCAR announces: in the sixth line, or below the names of the elements."""
    for line in text.split("\n", 12)[5:12]:
        numbers = list(takewhile(str.isdecimal, line[:100_000].split()))
        if numbers:
            return sum(int(number[:12]) for number in numbers)
    return 0


def _short_poscar(text: str, name: str) -> UnsupportedFileError:
    lines = counted(len(text.rstrip().splitlines()), "line")
    remedy = "Check that the file is whole, or fetch or export it again."
    return UnsupportedFileError(name, f"not a POSCAR: the text ends early, after {lines}", _POSCAR, remedy)


def _ends_early(text: str) -> bool:
    """Whether a POSCAR lacks lines of its header or of its atoms."""
    lines = text.rstrip().splitlines()
    counts, first = _places(lines)
    return len(lines) < first + (0 if counts is None else sum(map(int, lines[counts].split())))


def _refuse_mixed_names(text: str, name: str) -> None:
    """An error for element names such as Fe/Co: pymatgen drops what follows the slash, where VASP writes a checksum."""
    lines = text.splitlines()
    for word in lines[5].split() if len(lines) > 5 else ():
        if word.partition("/")[2].split("_")[0] in atomic_number_of():
            raise UnknownElementError(
                name,
                f"species {word!r}",
                "a POSCAR names one element for each group of sites",
                "Give the mixture as a CIF file with occupancies.",
            )
