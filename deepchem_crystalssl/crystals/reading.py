"""Reading crystals: files, folders, tables and objects of other libraries become :class:`Crystal` records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from .disorder import Disorder, check_policy, resolve_disorder
from ..errors import (
    CrystalInputError,
    NoCrystalsError,
    OnError,
    OptionError,
    Report,
    UnsupportedFileError,
    UnsupportedObjectError,
    an_object,
    typed_error,
)
from .formats.archives import iterate_members
from .formats.contents import Content
from .formats.convert import is_one
from .formats.files import NamedFile, find_files, in_short, name_files
from .formats.json_documents import Document, pieces_of
from .formats.kinds import crystal_kind, is_url
from .formats.optimade import read_pages
from .formats.readers import read_content
from .formats.tables import (
    ID_COLUMNS,
    OPTIMADE_COLUMNS,
    RECORD_COLUMNS,
    STRUCTURE_COLUMNS,
    Rows,
    column_of_structures,
    iterate_table,
    table_ids,
)
from .formats.texts import Item, read_entry, read_json
from .limits import LIMITS, ReadingLimits
from .record_columns import crystals_of_columns, from_optimade_columns
from .records import Crystal
from .shards import Shard
from .validation import check_record


def read_structures(
    source: Any,
    on_error: OnError = "raise",
    *,
    disorder: Disorder = "average",
    structure_column: str | None = None,
    id_column: str | None = None,
    report: Report | None = None,
    progress: bool | None = None,
    limits: ReadingLimits = LIMITS,
) -> StructureReader:
    """Read crystals from nearly anything, lazily.

    Parameters
    ----------
    source
        * a file: CIF or magnetic CIF, POSCAR (``POSCAR*``, ``CONTCAR*``, ``.vasp``, ``.poscar``), ``vasprun.xml`` (its
          last structure), JSON of pymatgen and of databases, a table (``.csv``, ``.parquet``), ASE's ``.db``,
          ``.json``, ``.traj``, ``.extxyz`` and ``.xyz`` (with a lattice), ``.xsf``, or fairchem's ``.aselmdb``,
        * any of these compressed (``.gz``, ``.bz2``, ``.xz``), and an archive of them (``.zip``, ``.tar``, ``.tar.gz``,
          ``.tar.bz2``, ``.tar.xz``), which is read file by file without being extracted,
        * a folder (with its subfolders) or a glob pattern of such files, or the text of a CIF, POSCAR or JSON file,
        * the address of an OPTIMADE query (``https://.../v1/structures?filter=...``), whose pages are fetched one by
          one,
        * a pymatgen ``Structure``, ``Trajectory`` or ``ComputedStructureEntry``, an ASE ``Atoms``, a :class:`Crystal`,
          a document of the Materials Project, or a dict of one of these, of JARVIS or of OPTIMADE,
        * a pandas ``DataFrame`` or ``Series``, a dict from ids to structures, an iterable of any of these.

        A table needs a column of structures (objects, dicts, JSON, CIF or POSCAR texts, or paths of files, which are
        relative to the folder of the table), the three columns ``atomic_numbers``, ``frac_coords`` and ``lattice``
        (3x3, Å) or ``cell`` (a, b, c, alpha, beta, gamma), or those of LeMaterial (``lattice_vectors``,
        ``cartesian_site_positions``, ``species_at_sites``).

        JSON may be one entry, a list, lines, ``{id: entry}``, an object with the list ``entries`` (Alexandria) or
        ``data`` (OPTIMADE), pandas' "split" form (matbench), or an ASE database. Pickles are never loaded.
    on_error : {"raise", "warn", "skip"}
        A bad item stops everything, or is left out with a warning, or is left out and only reported. With the last
        two it is listed in ``reader.report``.
    disorder : {"average", "dominant", "refuse"}
        Keep partial and mixed occupancies (default), keep the majority species of each site, or refuse.
    structure_column, id_column : str, optional
        Columns of a table, or fields of an entry; by default the first of :data:`STRUCTURE_COLUMNS`, and of
        :data:`~deepchem_crystalssl.crystals.formats.tables.ID_COLUMNS` in tables or
        :data:`~deepchem_crystalssl.crystals.formats.database_entries.ENTRY_IDS` in entries.
    report : Report, optional
        Filled with the typed error of every item left out.
    progress : bool, optional
        Show a progress bar; by default on a terminal only, after a second.
    limits : ReadingLimits
        What a source may cost: :class:`~deepchem_crystalssl.crystals.limits.ReadingLimits`.

    Returns
    -------
    StructureReader
        An iterable of :class:`Crystal`; nothing is read before it is iterated.

    Raises
    ------
    NoCrystalsError
        When iterated, if the source does not exist or is a folder without crystal files, whatever ``on_error`` says.
    OptionError
        If ``limits`` are no ReadingLimits.
    ServerError
        When iterated, if a server does not answer with structures, whatever ``on_error`` says.
    CrystalInputError
        A typed error of the first bad item, if ``on_error`` is "raise".

    Notes
    -----
    The id given beside a structure, by the key of a dict, the index of a Series or a table, or a column, is the
    crystal's ``material_id``. Otherwise it is the id that the entry has itself: ``material_id``, JARVIS's ``jid``,
    ``entry_id``, OPTIMADE's ``id``, LeMaterial's ``immutable_id``, or the ``unique_id`` of a row of ASE. An index gives
    ids if it consists of texts, or bears the name of a column of ids. Identifiers are text: ``007`` stays ``007``, and
    the numbers 7 and 7.0 are ``"7"``.

    A crystal without an id is called by the name of its file without suffix. Where several files of one source share
    that name, it is preceded by the folders that tell them apart (``relaxed/CONTCAR``, ``start/CONTCAR``), or keeps its
    suffix. The data blocks of a CIF file are ``name:block``, the entries of a JSON file ``name 0``, ``name 1``, ...

    Large files are read piece by piece. A source that exceeds one of the ``limits`` gives a
    :class:`~deepchem_crystalssl.errors.LimitError`. See the page "What is read".

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
    if not isinstance(limits, ReadingLimits):
        rule, remedy = "limits must be of the type ReadingLimits", "Pass limits=ReadingLimits(sites=...), for example."
        raise OptionError("limits", repr(limits), rule, remedy)
    return StructureReader(source, on_error, disorder, structure_column, id_column, report, progress, limits)


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
        limits: ReadingLimits = LIMITS,
    ):
        self.source = source
        self.on_error = on_error
        self.disorder = disorder
        self.structure_column = structure_column
        self.id_column = id_column
        self.report = Report() if report is None else report
        self.progress = progress
        self.limits = limits
        self.skip = 0  # this many items of an iterable are passed over unread

    def __iter__(self) -> Iterator[Crystal]:
        yield from (crystal for _, crystal in self.enumerate())
        if not self.report.under_way:  # or the caller's job writes it
            self.report.log()

    def enumerate(self) -> Iterator[tuple[int, Crystal]]:
        """Read the crystals, each with the position of its item in the source.

        The items of a table are its rows, those of a list its entries, those of a folder or a glob pattern its files,
        and those of a single file its rows, list entries or data blocks. Two crystals of one item have the same
        position. The errors in ``report`` have the position of their item as ``index``; they are not summed up in the
        log, as they are when the reader itself is iterated.

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
        elif isinstance(source, pd.Series) and table_ids(source.to_frame("structure"), self.id_column):
            yield from self._from_frame(source.to_frame("structure"), "row", 0, None, "structure")
        elif is_url(source):
            yield from read_pages(source, self.id_column)
        elif _is_path(source):
            paths = find_files(source, self.structure_column)
            names = name_files(paths, taken)
            if paths == [Path(source)]:
                yield from self._from_file(paths[0], names[0], taken)
                return
            for position, (path, name) in enumerate(zip(paths, names, strict=True)):
                yield from ((position, item) for _, item in self._from_file(path, name, taken))
        elif isinstance(source, Mapping) and not isinstance(source, Crystal):
            document = Document(0, True, pieces_of(source))
            yield from enumerate(
                read_json([document], "structure 0", self.structure_column, self.id_column, self.limits)
            )
        elif is_one(source):
            yield from enumerate(read_entry(source, "structure 0", self.id_column, self.limits))
        elif hasattr(source, "read"):
            rule, remedy = "a file is given by its path", "Pass its path, or the text that its method read() gives."
            raise UnsupportedObjectError("source", f"an open file, {an_object(source)}", rule, remedy)
        elif isinstance(source, Iterable):
            yield from self._from_iterable(source, taken)
        else:
            raise UnsupportedObjectError("source", an_object(source))

    def _from_iterable(self, source: Iterable, taken: set[str]) -> Iterator[tuple[int, Item]]:
        for position, entry, files in _with_files(source, taken):
            if position < self.skip:
                continue
            found: Iterable[Item]
            if isinstance(entry, Crystal | CrystalInputError):
                found = [_checked(entry)]  # an error is an item that an earlier step could not read
            elif isinstance(files, CrystalInputError):
                found = [files]
            elif isinstance(entry, NamedFile):
                found = (item for _, item in self._from_file(entry.path, entry.name, taken, entry.rows))
            elif files is not None:
                found = self._from_files(files, taken)
            elif is_url(entry):
                found = self._from_url(entry)
            else:
                found = read_entry(entry, f"structure {position}", self.id_column, self.limits)
            yield from ((position, item) for item in found)

    def _from_url(self, url: str) -> Iterator[Item]:
        try:
            yield from (item for _, item in read_pages(url, self.id_column))
        except CrystalInputError as error:
            yield error

    def _from_files(self, files: Iterable[tuple[Path, str]], taken: set[str]) -> Iterator[Item]:
        for path, name in files:
            yield from (item for _, item in self._from_file(path, name, taken))

    def _from_file(
        self, path: Path, name: str, taken: set[str], rows: Rows | None = None
    ) -> Iterator[tuple[int, Item]]:
        """What a file holds; whatever goes wrong in it is the typed error of an item, and names the file."""
        if crystal_kind(path.name) != "archive":
            yield from self._from_content(Content.of(path, self.limits), name, path.parent, rows)
            return
        position = -1
        try:
            for position, (inside, member) in enumerate(iterate_members(path, self.limits, self.structure_column)):
                if isinstance(member, CrystalInputError):
                    yield position, member
                    continue
                (called,) = name_files([PurePosixPath(name) / inside], taken, more_follow=True)
                yield from ((position, item) for _, item in self._from_content(member, called, None))
            if position < 0:
                yield 0, NoCrystalsError(str(path), "an archive without files of crystals")
        except Exception as error:
            yield position + 1, typed_error(error, str(path))

    def _from_content(
        self, content: Content, name: str, folder: Path | None, rows: Rows | None = None
    ) -> Iterator[tuple[int, Item]]:
        position = -1
        try:
            if crystal_kind(content.name) == "table":
                items = self._from_table(content, name, folder, rows)
            elif crystal_kind(content.name) == "shard" and content.path is not None:
                items = enumerate(Shard.open(content.path).records(rows))
            else:
                items = enumerate(read_content(content, name, self.structure_column, self.id_column))
            for position, item in items:
                yield position, _in_file(item, content.label, name) if isinstance(item, CrystalInputError) else item
        except Exception as error:
            yield position + 1, _in_file(typed_error(error, content.label), content.label, name)

    def _from_table(
        self, content: Content, name: str, folder: Path | None, rows: Rows | None
    ) -> Iterator[tuple[int, Item]]:
        named = [column for column in (self.structure_column, self.id_column) if column is not None]
        wanted = {*STRUCTURE_COLUMNS, *RECORD_COLUMNS, *OPTIMADE_COLUMNS, *ID_COLUMNS, *named}
        row = 0 if rows is None else rows[0]
        for frame in iterate_table(content, id_column=self.id_column, columns=wanted, within=rows):
            if not self._structures_in(frame) or self.id_column not in (None, *frame):
                whole = frame if content.first is not None else next(iterate_table(content))  # with all columns
                table_ids(whole, self.id_column)
                raise _no_column(whole, name)
            yield from self._from_frame(frame, name, row, folder, None, folder is None)
            row += len(frame)

    def _structures_in(self, frame: pd.DataFrame) -> str | None:
        """The column of structures, None without structures."""
        if self.structure_column is None:
            return column_of_structures(frame)
        return self.structure_column if self.structure_column in frame else None

    def _from_frame(
        self,
        frame: pd.DataFrame,
        name: str,
        first_row: int,
        folder: Path | None,
        column: str | None = None,
        is_member: bool = False,
    ) -> Iterator[tuple[int, Item]]:
        """The crystals of a table; ``is_member`` says that it comes from an archive, and may name no files."""
        own = table_ids(frame, self.id_column) or [""] * len(frame)
        ids = [material_id or f"{name} {first_row + k}" for k, material_id in enumerate(own)]
        column = column or self._structures_in(frame)
        if column is None:
            raise _no_column(frame, name)
        if column == "atomic_numbers":
            yield from enumerate(crystals_of_columns(frame, ids), first_row)
            return
        if column == "species_at_sites":
            yield from enumerate(from_optimade_columns(frame, ids), first_row)
            return
        for row, (material_id, entry) in enumerate(zip(ids, frame[column], strict=True), first_row):
            if _is_path(entry) and str(entry).strip():
                path = Path(entry) if folder is None else folder / entry
                if is_member or not is_crystal_path(entry):
                    yield row, _no_structure(entry, path, material_id, is_member)
                else:
                    yield from ((row, item) for _, item in self._from_file(path, material_id, set()))
                continue
            for item in read_entry(entry, material_id, self.id_column, self.limits):
                # The id in the table is the one that labels are matched by. A text may hold several crystals.
                is_renamed = own[row - first_row] and isinstance(item, Crystal) and not isinstance(entry, str)
                yield row, replace(item, material_id=material_id) if is_renamed else item  # type: ignore[type-var]


def _no_column(frame: pd.DataFrame, name: str) -> NoCrystalsError:
    return NoCrystalsError(
        name,
        f"columns {', '.join(map(str, frame.columns))}",
        remedy="Call the column of the structures `structure`, `cif` or `path`; in Python structure_column= names it.",
    )


def _checked(item: Item) -> Item:
    """A crystal of the caller, or what is wrong with it."""
    try:
        return check_record(item) if isinstance(item, Crystal) else item
    except CrystalInputError as error:
        return error


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


def _no_structure(entry: str | Path, path: Path, name: str, is_member: bool) -> CrystalInputError:
    """The error for an entry of a table that is a single line, and not the name of a file of crystals."""
    if is_member:
        return UnsupportedFileError(
            name,
            f"{in_short(entry)!r}, a path in a table in an archive",
            "a table in an archive holds the structures themselves",
            "Unpack the archive.",
        )
    what = "a folder" if path.is_dir() else "no file of a crystal by its suffix" if path.exists() else "no such file"
    return UnsupportedFileError(
        name,
        f"{in_short(entry)!r}, {what}",
        "a column of structures holds structures, their texts, or paths of their files",
        "Write the path with its suffix, such as .cif, or name another column with structure_column.",
    )


def _in_file(error: CrystalInputError, label: str, name: str) -> CrystalInputError:
    """The error, whose item names the file."""
    if label in error.item:
        return error
    item = label if error.item == name else f"{label} ({error.item})"
    return type(error)(item, error.value, error.rule, error.remedy)


def is_crystal_path(entry: Any) -> bool:
    """Whether an entry of a table is the path of a file of crystals: a ``Path``, or a text with the suffix of one."""
    if isinstance(entry, Path):
        return True
    return isinstance(entry, str) and not _is_text(entry) and crystal_kind(Path(entry).name) not in (None, "table")


def _is_path(source: Any) -> bool:
    return isinstance(source, str | Path) and not _is_text(source) and not is_url(source)


def _is_text(source: str | Path) -> bool:
    """Whether a string is the text of a structure and not a path."""
    is_long = isinstance(source, str) and ("\n" in source or "\r" in source)
    return is_long or isinstance(source, str) and source.lstrip("\ufeff \t").startswith(("{", "[{"))
