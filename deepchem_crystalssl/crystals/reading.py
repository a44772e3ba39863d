"""Reading crystals: files, folders, tables and objects of other libraries in, :class:`Crystal` records out."""

from __future__ import annotations

import glob
import gzip
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from .cif import read_cif
from .convert import from_dict, from_pymatgen, is_one, to_crystal
from .disorder import Disorder, check_policy, resolve_disorder
from ..errors import (
    CrystalInputError,
    EmptyFileError,
    NoCrystalsError,
    OnError,
    Report,
    UnknownElementError,
    UnsupportedFileError,
    UnsupportedObjectError,
)
from .records import Crystal
from .tables import ID_COLUMNS, as_ids, iterate_table, table_ids
from .validation import lattice_from_parameters, make_crystal

Item = Crystal | CrystalInputError
_STRUCTURE_COLUMNS = ("structure", "crystal", "cif", "cif_text", "poscar", "structures")
_RECORD_COLUMNS = ("atomic_numbers", "frac_coords", "lattice", "cell")


def read_structures(
    source: Any,
    on_error: OnError = "raise",
    *,
    disorder: Disorder = "average",
    structure_column: str | None = None,
    id_column: str | None = None,
    report: Report | None = None,
    progress: bool | None = None,
) -> StructureReader:
    """Read crystals from nearly anything, lazily.

    Parameters
    ----------
    source
        * a file: CIF or magnetic CIF (``.cif``, ``.mcif``, also ``.gz``), POSCAR (``POSCAR*``, ``CONTCAR*``,
          ``.vasp``, ``.poscar``), pymatgen JSON (``.json``: a structure, a list of them, or one per line), or a table
          (``.csv``, ``.parquet``),
        * a folder (searched through) or a glob pattern of such files, or the text of a CIF or POSCAR,
        * a pymatgen ``Structure`` or its dict, an ASE ``Atoms``, a :class:`Crystal`, a pandas ``DataFrame``,
        * an iterable of any of these.

        A table needs a column of structures (dict, JSON, CIF or POSCAR text), or the three columns
        ``atomic_numbers``, ``frac_coords`` and ``lattice`` (3x3, Å) or ``cell`` (a, b, c, alpha, beta, gamma).
    on_error : {"raise", "warn", "skip"}
        What a bad item costs: everything, or itself alone; it is named in ``reader.report`` either way.
    disorder : {"average", "dominant", "refuse"}
        Keep partial and mixed occupancies (default), keep the majority species of each site, or refuse.
    structure_column, id_column : str, optional
        Columns of a table; by default the first of structure, crystal, cif, cif_text, poscar and of
        material_id, id, name.
    report : Report, optional
        Filled with the typed error of every item left out.
    progress : bool, optional
        Progress bar; by default on a terminal only, after a second.

    Returns
    -------
    StructureReader
        An iterable of :class:`Crystal`; nothing is read before it is iterated.

    Raises
    ------
    NoCrystalsError
        When iterated, if the source does not exist or is a folder without crystal files, whatever ``on_error`` says.
    CrystalInputError
        A typed error for a bad item, if ``on_error`` is "raise".

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> tungsten = Structure(Lattice.cubic(3.165), ["W", "W"], [[0, 0, 0], [.5, .5, .5]])
    >>> reader = read_structures([tungsten, {"not": "a structure"}], on_error="skip")
    >>> list(reader)
    [Crystal(structure 0, W2, 2 sites)]
    >>> reader.report[0].item, reader.report[0].value
    ('structure 1', 'a dict without lattice and sites')
    """
    return StructureReader(source, on_error, disorder, structure_column, id_column, report, progress)


class StructureReader:
    """Iterable of crystals from a source; ``report`` lists what had to be left out so far."""

    def __init__(
        self,
        source: Any,
        on_error: OnError,
        disorder: Disorder,
        structure_column: str | None,
        id_column: str | None,
        report: Report | None,
        progress: bool | None,
    ):
        self.source = source
        self.on_error = on_error
        self.disorder = disorder
        self.structure_column = structure_column
        self.id_column = id_column
        self.report = Report() if report is None else report
        self.progress = progress

    def __iter__(self) -> Iterator[Crystal]:
        return (crystal for _, crystal in self.enumerate())

    def enumerate(self) -> Iterator[tuple[int, Crystal]]:
        """(position in the source, crystal) of the good ones."""
        check_policy(self.disorder)
        total = len(self.source) if hasattr(self.source, "__len__") and not is_one(self.source) else None
        disable = None if self.progress is None else not self.progress
        items = tqdm(self._items(), "crystals", total, disable=disable, delay=1.0, unit="")
        for index, item in enumerate(items):
            try:
                if isinstance(item, CrystalInputError):
                    raise item
                crystal = resolve_disorder(item, self.disorder)
            except CrystalInputError as error:
                self.report.handle(error, self.on_error, index)
            else:
                yield index, crystal

    def _items(self) -> Iterator[Item]:
        source = self.source
        if isinstance(source, pd.DataFrame):
            yield from self._from_frame(source, "row", 0)
        elif isinstance(source, str | Path) and not _is_text(source):
            for path in _find_files(source):
                yield from self._from_file(path)
        elif is_one(source):
            yield from self._from_object(source, "structure 0")
        elif isinstance(source, Iterable):
            for position, entry in enumerate(source):
                if isinstance(entry, Crystal | CrystalInputError):
                    yield entry  # an error is an item that an earlier step could not read
                elif isinstance(entry, str | Path) and not _is_text(entry):
                    try:
                        paths = _find_files(entry)
                    except NoCrystalsError as error:
                        yield error
                    else:
                        for path in paths:
                            yield from self._from_file(path)
                else:
                    yield from self._from_object(entry, f"structure {position}")
        else:
            raise UnsupportedObjectError("source", f"a {type(source).__name__}")

    def _from_object(self, entry: Any, name: str) -> Iterator[Item]:
        try:
            if isinstance(entry, str):
                yield from read_structure_text(entry, name)
            elif isinstance(entry, bytes):
                raise UnsupportedObjectError(name, "bytes")
            else:
                yield to_crystal(entry, name)
        except CrystalInputError as error:
            yield error

    def _from_file(self, path: Path) -> Iterator[Item]:
        kind = crystal_kind(path.name)
        try:
            if kind == "table":
                yield from self._from_table(path)
                return
            text = _read_text(path)
            name = path.name.removesuffix(".gz").rsplit(".", 1)[0] if kind != "poscar" else path.name
            if not text.strip():
                raise EmptyFileError(str(path), "0 characters")
            if kind is None:
                raise UnsupportedFileError(str(path), f"suffix {path.suffix!r}")
            yield from read_structure_text(text, name, kind)
        except CrystalInputError as error:
            yield error

    def _from_table(self, path: Path) -> Iterator[Item]:
        named = [column for column in (self.structure_column, self.id_column) if column is not None]
        wanted = {*_STRUCTURE_COLUMNS, *_RECORD_COLUMNS, *ID_COLUMNS, *named}
        row = 0
        for frame in iterate_table(path, id_column=self.id_column, columns=wanted):
            if not self._structures_in(frame):
                frame = next(iterate_table(path))  # all columns, for the error that names them
            yield from self._from_frame(frame, path.stem, row)
            row += len(frame)

    def _structures_in(self, frame: pd.DataFrame) -> str | None:
        """The column of structures, "atomic_numbers" if they are given by several columns, None without structures."""
        column = self.structure_column or next((c for c in _STRUCTURE_COLUMNS if c in frame), None)
        if column in frame:
            return column
        is_record = {"atomic_numbers", "frac_coords"} <= set(frame) and {"lattice", "cell"} & set(frame)
        return "atomic_numbers" if is_record else None

    def _from_frame(self, frame: pd.DataFrame, name: str, first_row: int) -> Iterator[Item]:
        ids = table_ids(frame, self.id_column) or [""] * len(frame)
        ids = [material_id or f"{name} {first_row + k}" for k, material_id in enumerate(ids)]
        column = self._structures_in(frame)
        if column is None:
            raise NoCrystalsError(
                name,
                f"columns {', '.join(map(str, frame.columns))}",
                remedy="Name the column that holds the structures with structure_column.",
            )
        if column == "atomic_numbers":
            yield from _from_record_columns(frame, ids)
            return
        for material_id, entry in zip(ids, frame[column], strict=True):
            yield from self._from_object(entry, material_id)


def _from_record_columns(frame: pd.DataFrame, ids: list[str]) -> Iterator[Item]:
    cells = frame["lattice"] if "lattice" in frame else frame["cell"]
    for name, numbers, frac, cell in zip(ids, frame["atomic_numbers"], frame["frac_coords"], cells, strict=True):
        try:
            flat = np.concatenate([np.atleast_1d(row) for row in cell]).astype(float)
            lattice = lattice_from_parameters(*flat) if len(flat) == 6 else flat.reshape(3, 3)
            coordinates = np.asarray(frac)
            if coordinates.dtype == object:
                coordinates = np.stack(list(coordinates))
            yield make_crystal(numbers, coordinates.reshape(-1, 3), lattice, name)
        except CrystalInputError as error:
            yield error
        except (TypeError, ValueError) as error:
            yield CrystalInputError(
                name,
                str(error),
                "a record needs atomic_numbers, frac_coords and a cell",
                "Check the lengths of the three columns.",
            )


def read_structure_text(text: str, name: str, kind: str | None = None) -> Iterator[Item]:
    """The crystals of a text in memory, one after the other; a bad one among several comes as its error.

    The text is never taken for a path: no file is opened.

    Parameters
    ----------
    text : str
    name : str
        Of the crystals, and for errors.
    kind : {"cif", "json", "poscar"}, optional
        By default as the text looks.

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
    start = text.lstrip()[:1]
    if not start:
        raise EmptyFileError(name, "0 characters")
    if kind is None:
        is_cif = "_cell_length_a" in text or text.lstrip().startswith(("data_", "#"))
        kind = "json" if start in "{[" else "cif" if is_cif else "poscar"
    if kind == "json":
        yield from _from_json(text, name)
    elif kind == "cif":
        yield from read_cif(text, name)
    else:
        yield _from_poscar(text, name)


def _from_json(text: str, name: str) -> Iterator[Item]:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError:
        try:  # one structure per line
            entries = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise UnsupportedFileError(name, f"broken JSON: {error}") from error
    if isinstance(entries, dict) and "lattice" not in entries and isinstance(entries.get("structure"), dict):
        entries = entries["structure"]
    if isinstance(entries, dict):
        yield from_dict(entries, name)
        return
    if not isinstance(entries, list) or not entries:
        raise NoCrystalsError(name, f"JSON without structures ({type(entries).__name__})")
    for row, entry in enumerate(entries):
        item = f"{name} {row}"
        if isinstance(entry, dict) and "lattice" not in entry:
            item = as_ids([next((entry[c] for c in ID_COLUMNS if c in entry), None)])[0] or item
            entry = next((entry[c] for c in ("structure", "snl") if c in entry), entry)
        try:
            yield to_crystal(entry, item)
        except CrystalInputError as error:
            yield error


def _from_poscar(text: str, name: str) -> Crystal:
    from pymatgen.io.vasp.inputs import Poscar

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is an error below
            poscar = Poscar.from_str(text)
    except (ValueError, IndexError, KeyError, ArithmeticError) as error:
        raise UnsupportedFileError(name, f"not a POSCAR ({error})") from error
    if not poscar.true_names:  # VASP 4 style: pymatgen would invent H, He, Li, ...
        raise UnknownElementError(name, "a POSCAR without element names", remedy="Add the line of element symbols.")
    return from_pymatgen(poscar.structure, name)


_SUFFIXES = {
    ".cif": "cif",
    ".mcif": "cif",
    ".json": "json",
    ".jsonl": "json",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".csv": "table",
    ".parquet": "table",
}


def crystal_kind(name: str) -> str | None:
    """What a file of this name holds: "cif", "json", "poscar" or "table"; None if no crystals.

    Examples
    --------
    >>> crystal_kind("quartz.cif.gz"), crystal_kind("CONTCAR_relaxed"), crystal_kind("thesis.tex")
    ('cif', 'poscar', None)
    """
    name = name.removesuffix(".gz")
    if name.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    return _SUFFIXES.get(Path(name).suffix.lower())


def _find_files(source: str | Path) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if p.is_file() and crystal_kind(p.name))
        if not paths:
            raise NoCrystalsError(str(source), "a folder without crystal files")
        return paths
    if path.exists():
        return [path]
    paths = [Path(p) for p in sorted(glob.glob(str(source), recursive=True)) if Path(p).is_file()]
    if not paths:
        raise NoCrystalsError(str(source), "no such file or folder")
    return paths


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise UnsupportedFileError(str(path), f"broken gzip ({error})") from error
    return data.decode("utf-8", errors="replace")


def _is_text(source: str | Path) -> bool:
    return isinstance(source, str) and "\n" in source
