"""Reading crystals: files, folders, tables and objects of other libraries become :class:`Crystal` records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from .convert import is_one, to_crystal
from .disorder import Disorder, check_policy, resolve_disorder
from ..errors import (
    CrystalInputError,
    NoCrystalsError,
    OnError,
    Report,
    UnsupportedFileError,
    UnsupportedObjectError,
    an_object,
    typed_error,
)
from .files import NamedFile, crystal_kind, find_files, in_short, name_files, read_text
from .records import Crystal
from .shards import Shard
from .tables import ID_COLUMNS, Rows, iterate_table, table_ids
from .texts import Item, read_structure_text
from .validation import lattice_from_parameters, make_crystal

STRUCTURE_COLUMNS = ("structure", "crystal", "cif", "cif_text", "poscar", "structures", "path", "file")
"""Names of columns that hold structures, or paths of their files; the first that a table has is read."""
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
        * a folder (with its subfolders) or a glob pattern of such files, or the text of a CIF, POSCAR or JSON file,
        * a pymatgen ``Structure`` or its dict, an ASE ``Atoms``, a :class:`Crystal`, a pandas ``DataFrame``,
        * an iterable of any of these.

        A table needs a column of structures (objects, dicts, JSON, CIF or POSCAR texts, or paths of files, which are
        relative to the folder of the table), or the three columns ``atomic_numbers``, ``frac_coords`` and
        ``lattice`` (3x3, Å) or ``cell`` (a, b, c, alpha, beta, gamma).
    on_error : {"raise", "warn", "skip"}
        A bad item stops everything, or is left out with a warning, or is left out and only reported. With the last
        two it is listed in ``reader.report``.
    disorder : {"average", "dominant", "refuse"}
        Keep partial and mixed occupancies (default), keep the majority species of each site, or refuse.
    structure_column, id_column : str, optional
        Columns of a table; by default the first of structure, crystal, cif, cif_text, poscar, structures, path and
        file, and the first of material_id, id and name.
    report : Report, optional
        Filled with the typed error of every item left out.
    progress : bool, optional
        Show a progress bar; by default on a terminal only, after a second.

    Returns
    -------
    StructureReader
        An iterable of :class:`Crystal`; nothing is read before it is iterated.

    Raises
    ------
    NoCrystalsError
        When iterated, if the source does not exist or is a folder without crystal files, whatever ``on_error`` says.
    CrystalInputError
        A typed error of the first bad item, if ``on_error`` is "raise".

    Notes
    -----
    The crystal of a file is called by the file's name without suffix. Where several files of one source share that
    name, it is preceded by the folders that tell them apart (``relaxed/CONTCAR``, ``start/CONTCAR``), or keeps its
    suffix. The data blocks of a CIF file are ``name:block``, the entries of a JSON file ``name 0``, ``name 1``, ...
    Identifiers in a table are read as text: ``007`` stays ``007``, and the numbers 7 and 7.0 are ``"7"``.

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
    """Iterable of the crystals of a source; ``report`` lists the items left out so far."""

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
        self.skip = 0  # this many items of an iterable are passed over unread

    def __iter__(self) -> Iterator[Crystal]:
        return (crystal for _, crystal in self.enumerate())

    def enumerate(self) -> Iterator[tuple[int, Crystal]]:
        """Read the crystals, each with the position of its item in the source.

        The items of a table are its rows, those of a list its entries, those of a folder or a glob pattern its files,
        and those of a single file its rows, list entries or data blocks. Two crystals of one item have the same
        position. The errors in ``report`` have the position of their item as ``index``.

        Yields
        ------
        (int, Crystal)
        """
        check_policy(self.disorder)
        total = len(self.source) if hasattr(self.source, "__len__") and not is_one(self.source) else None
        disable = None if self.progress is None else not self.progress
        items = tqdm(self._items(), "crystals", total, disable=disable, delay=1.0, unit="")
        with self.report.job(self.on_error):
            for position, item in items:
                try:
                    if isinstance(item, CrystalInputError):
                        raise item
                    crystal = resolve_disorder(item, self.disorder)
                except CrystalInputError as error:
                    self.report.handle(error, self.on_error, position)
                else:
                    yield position, crystal

    def _items(self) -> Iterator[tuple[int, Item]]:
        """The crystals and errors of the whole source, each with the position of its item."""
        source, taken = self.source, set()  # type: tuple[Any, set[str]]
        if isinstance(source, pd.DataFrame):
            yield from self._from_frame(source, "row", 0, None)
        elif _is_path(source):
            paths = find_files(source)
            names = name_files(paths, taken)
            if paths == [Path(source)]:
                yield from self._from_file(paths[0], names[0])
                return
            for position, (path, name) in enumerate(zip(paths, names, strict=True)):
                yield from ((position, item) for _, item in self._from_file(path, name))
        elif is_one(source):
            yield from enumerate(_from_object(source, "structure 0"))
        elif isinstance(source, Iterable):
            for position, entry, files in _with_files(source, taken):
                if position < self.skip:
                    continue
                if isinstance(entry, NamedFile):
                    yield from ((position, item) for _, item in self._from_file(entry.path, entry.name, entry.rows))
                elif isinstance(entry, Crystal | CrystalInputError):
                    yield position, entry  # an error is an item that an earlier step could not read
                elif isinstance(files, CrystalInputError):
                    yield position, files
                elif files is not None:
                    for path, name in files:
                        yield from ((position, item) for _, item in self._from_file(path, name))
                else:
                    yield from ((position, item) for item in _from_object(entry, f"structure {position}"))
        else:
            raise UnsupportedObjectError("source", an_object(source))

    def _from_file(self, path: Path, name: str, rows: Rows | None = None) -> Iterator[tuple[int, Item]]:
        """What a file holds; whatever goes wrong in it is the typed error of an item, and names the file."""
        position = -1
        try:
            kind = crystal_kind(path.name)
            if kind == "table":
                items = self._from_table(path, name, rows)
            elif kind == "shard":
                items = enumerate(Shard.open(path).records(rows))
            elif kind is None:
                raise UnsupportedFileError(str(path), f"suffix {path.suffix!r}")
            else:
                items = enumerate(read_structure_text(read_text(path), name, kind))
            for position, item in items:
                yield position, _in_file(item, path, name) if isinstance(item, CrystalInputError) else item
        except Exception as error:
            yield position + 1, _in_file(typed_error(error, str(path)), path, name)

    def _from_table(self, path: Path, name: str, rows: Rows | None) -> Iterator[tuple[int, Item]]:
        named = [column for column in (self.structure_column, self.id_column) if column is not None]
        wanted = {*STRUCTURE_COLUMNS, *_RECORD_COLUMNS, *ID_COLUMNS, *named}
        row = 0 if rows is None else rows[0]
        for frame in iterate_table(path, id_column=self.id_column, columns=wanted, within=rows):
            if not self._structures_in(frame):
                frame = next(iterate_table(path))  # all columns, for the error that names them
            yield from self._from_frame(frame, name, row, path.parent)
            row += len(frame)

    def _structures_in(self, frame: pd.DataFrame) -> str | None:
        """The column of structures, "atomic_numbers" if several columns describe them, None without structures."""
        column = self.structure_column or next((c for c in STRUCTURE_COLUMNS if c in frame), None)
        if column in frame:
            return column
        is_record = {"atomic_numbers", "frac_coords"} <= set(frame) and {"lattice", "cell"} & set(frame)
        return "atomic_numbers" if is_record else None

    def _from_frame(
        self, frame: pd.DataFrame, name: str, first_row: int, folder: Path | None
    ) -> Iterator[tuple[int, Item]]:
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
            yield from enumerate(_from_record_columns(frame, ids), first_row)
            return
        for row, (material_id, entry) in enumerate(zip(ids, frame[column], strict=True), first_row):
            if is_crystal_path(entry):
                path = Path(entry) if folder is None else folder / entry
                yield from ((row, item) for _, item in self._from_file(path, material_id))
            elif _is_path(entry) and entry.strip():
                yield row, _no_structure(entry, Path(entry) if folder is None else folder / entry, material_id)
            else:
                yield from ((row, item) for item in _from_object(entry, material_id))


def _with_files(
    source: Iterable, taken: set[str]
) -> Iterator[tuple[int, Any, list[tuple[Path, str]] | CrystalInputError | None]]:
    """The position and the entry of each item, and the files with their names if the entry is a path.

    All files of a list are named together; those of a source that is read only once are named as they come.
    """
    if not isinstance(source, list | tuple | pd.Series | np.ndarray):
        for position, entry in enumerate(source):
            yield position, entry, _named_files([entry], taken, more_follow=True).get(0)
        return
    files = _named_files(source, taken)
    for position, entry in enumerate(source):
        yield position, entry, files.get(position)


def _named_files(
    entries: Iterable, taken: set[str], more_follow: bool = False
) -> dict[int, list[tuple[Path, str]] | CrystalInputError]:
    found: dict[int, list[Path] | CrystalInputError] = {}
    for position, entry in enumerate(entries):
        if _is_path(entry):
            try:
                found[position] = find_files(entry)
            except CrystalInputError as error:
                found[position] = error
    paths = [path for files in found.values() if isinstance(files, list) for path in files]
    names = iter(name_files(paths, taken, more_follow))
    return {
        position: [(path, next(names)) for path in files] if isinstance(files, list) else files
        for position, files in found.items()
    }


def _from_object(entry: Any, name: str) -> Iterator[Item]:
    try:
        if isinstance(entry, str):
            yield from read_structure_text(entry, name)
        elif isinstance(entry, bytes):
            raise UnsupportedObjectError(name, "bytes")
        else:
            yield to_crystal(entry, name)
    except CrystalInputError as error:
        yield error


def _no_structure(entry: str, path: Path, name: str) -> CrystalInputError:
    """The error for an entry of a table that is a single line, and not the name of a file of crystals."""
    what = "a folder" if path.is_dir() else "no file of a crystal by its suffix" if path.exists() else "no such file"
    return UnsupportedFileError(
        name,
        f"{in_short(entry)!r}, {what}",
        "a column of structures holds structures, their texts, or paths of their files",
        "Write the path with its suffix, such as .cif, or name another column with structure_column.",
    )


def _in_file(error: CrystalInputError, path: Path, name: str) -> CrystalInputError:
    """The error, whose item names the file."""
    if str(path) in error.item:
        return error
    item = str(path) if error.item == name else f"{path} ({error.item})"
    return type(error)(item, error.value, error.rule, error.remedy)


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
        except (CrystalInputError, MemoryError) as error:
            yield typed_error(error, name)
        except Exception as error:
            yield UnsupportedObjectError(
                name,
                str(error).split("\n")[0],
                "a record needs atomic_numbers, frac_coords and a cell",
                "Check the lengths of the three columns.",
            )


def is_crystal_path(entry: Any) -> bool:
    """Whether an entry of a table is the path of a file of crystals: a ``Path``, or a text with the suffix of one."""
    if isinstance(entry, Path):
        return True
    return isinstance(entry, str) and not _is_text(entry) and crystal_kind(Path(entry).name) not in (None, "table")


def _is_path(source: Any) -> bool:
    return isinstance(source, str | Path) and not _is_text(source)


def _is_text(source: str | Path) -> bool:
    """Whether a string is the text of a structure and not a path."""
    return isinstance(source, str) and ("\n" in source or source.lstrip().startswith(("{", "[{")))
