"""Tables of crystals and labels: how they are read, and how their rows are named.

An identifier is text everywhere in this package. A number in a column of identifiers is written without a decimal
point (7 and 7.0 are both ``"7"``), and text stays as it is (``"007"`` stays ``"007"``), so that tables from different
files can be matched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pandas as pd

from .contents import Content
from ...errors import CrystalInputError, EmptyFileError, UnsupportedFileError, typed_error
from ..limits import check_text, exceeded
from ..work_folders import writing
from .parquet_rows import iterate_rows

ID_COLUMNS = ("material_id", "id", "name", "immutable_id", "jid", "entry_id", "mbid")
"""Columns taken for identifiers, in this order, if the caller names none; the last four are those of LeMaterial,
JARVIS, pymatgen and matbench."""

Rows = tuple[int, int]
"""From the first row up to before the second."""
_BATCH = 2048
_FIRST_ROWS, _CELLS, _CHARACTERS = 64, 2_000_000, 2**24  # of a CSV file; the cells and characters read at a time
_ROWS_OF_COLUMNS = 2
"""Rows that tell pandas how many columns a CSV file has: the header and the first one, which may have an index."""
HEAD_OF_TABLE = 2**20
"""Bytes of a CSV file in which the names of its columns are counted before it is read."""
_WHOLE = re.compile(r"(0|-?[1-9]\d*)\.0")
_RULE = "a table is a .csv, .parquet or .json file, also .csv and .json compressed as .gz, .bz2 or .xz"


def as_ids(values: Any) -> list[str]:
    """Identifiers as text.

    Parameters
    ----------
    values : iterable
        Numbers, texts or bytes. One of these alone is one identifier: a text is not a list of its letters.

    Returns
    -------
    list of str
        A whole number without its decimal point, other values as they print, and ``""`` for a missing value.

    Examples
    --------
    >>> as_ids([7, 7.0, "007", None])
    ['7', '7', '007', '']
    >>> as_ids("mp-149")
    ['mp-149']
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        values = [values]
    return [_as_id(value) for value in values]


def _as_id(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, float) or (hasattr(value, "is_integer") and not isinstance(value, bool)):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def id_column(frame: pd.DataFrame, name: str | None = None) -> str | None:
    """Which column of a table holds the identifiers.

    Parameters
    ----------
    frame : pandas.DataFrame
    name : str, optional
        The caller's choice; by default the first of :data:`ID_COLUMNS` that the table has.

    Returns
    -------
    str or None
        The name of the column, None if no column is one of these.

    Raises
    ------
    UnsupportedFileError
        If the table does not have the column that the caller names.

    Examples
    --------
    >>> id_column(pd.DataFrame({"gap": [1.1], "id": ["mp-1"]}))
    'id'
    """
    if name is None:
        return next((column for column in ID_COLUMNS if column in frame), None)
    if name not in frame:
        raise UnsupportedFileError(
            "table",
            f"no column {name!r}",
            "the column of identifiers must be one of the table",
            f"Name one of {', '.join(map(str, frame.columns))}.",
        )
    return name


def table_ids(frame: pd.DataFrame, name: str | None = None) -> list[str] | None:
    """The identifiers of a table's rows as text.

    Parameters
    ----------
    frame : pandas.DataFrame
        With a column of identifiers (see :func:`id_column`), with an index that bears the name of one, or, if it has
        neither, with an index of texts.
    name : str, optional
        The column or the index, if it is not one of :data:`ID_COLUMNS`.

    Returns
    -------
    list of str or None
        One for each row, None if the table has no identifiers.

    Examples
    --------
    >>> table_ids(pd.DataFrame({"gap": [1.1, 0.6]}, index=pd.Index([7, 8], name="material_id")))
    ['7', '8']
    >>> table_ids(pd.DataFrame({"gap": [1.1, 0.6]}, index=["mp-149", "mp-32"]))
    ['mp-149', 'mp-32']
    """
    if frame.index.name is not None and (frame.index.name == name or (name is None and frame.index.name in ID_COLUMNS)):
        return as_ids(frame.index.tolist())
    column = id_column(frame, name)
    if column is not None:
        return as_ids(frame[column].tolist())
    return as_ids(frame.index.tolist()) if _is_of_texts(frame.index) else None


def _is_of_texts(values: pd.Index | pd.Series) -> bool:
    return len(values) > 0 and pd.api.types.infer_dtype(values, skipna=True) == "string"


def read_table(
    path: str | Path, *, id_column: str | None = None, columns: Collection[str] | None = None
) -> pd.DataFrame:
    """Read a table from a file.

    Parameters
    ----------
    path : str or Path
        ``.csv``, ``.parquet``, or ``.json`` with a list of records or in pandas' "split" form
        (``{"columns": [...], "data": [...]}``); CSV and JSON may be compressed (``.gz``, ``.bz2``, ``.xz``).
    id_column : str, optional
        A column of identifiers besides :data:`ID_COLUMNS`. These columns of a CSV file are read as text, so that
        ``007`` stays ``007``, except that ``7.0`` is ``7``.
    columns : collection of str, optional
        Read only those of these columns that the file has; by default all.

    Returns
    -------
    pandas.DataFrame
        The rows in the order of the file; an index that was stored under a name has become a column, and one of texts
        without a name the column ``id``, if the table has no other identifiers.

    Raises
    ------
    UnsupportedFileError
        If there is no such file, or it cannot be read as what its name says.
    EmptyFileError
        If the file is empty.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "gaps.csv")
    >>> _ = path.write_text("material_id,gap\\n007,1.1\\n")
    >>> read_table(path).values.tolist()
    [['007', 1.1]]
    """
    return pd.concat(iterate_table(path, id_column=id_column, columns=columns), ignore_index=True)


def iterate_table(
    path: str | Path | Content,
    *,
    id_column: str | None = None,
    columns: Collection[str] | None = None,
    rows: int = _BATCH,
    within: Rows | None = None,
) -> Iterator[pd.DataFrame]:
    """Read a table piece by piece, so that memory stays flat however long a CSV or Parquet file is.

    Takes the arguments of :func:`read_table`, the number of rows of a piece, and which rows of a Parquet file are read:
    from the first up to before the second.

    Yields
    ------
    pandas.DataFrame
        At least one, without rows if the table has none.
    """
    content = path if isinstance(path, Content) else Content.of(Path(path))
    kind = Path(content.name).suffix.lower()
    readers: dict[str, Callable[..., Iterator[pd.DataFrame]]] = {
        ".csv": _iterate_csv,
        ".parquet": _iterate_parquet,
        ".json": _iterate_json,
    }
    if kind not in readers or (kind == ".parquet" and not isinstance(path, Content) and content.path is None):
        raise UnsupportedFileError(content.label, f"suffix {Path(content.label).suffix!r}", _RULE, "Convert the table.")
    texts = {*ID_COLUMNS, *([id_column] if id_column else [])}
    try:
        if content.path is not None and content.path.stat().st_size == 0:
            raise EmptyFileError(content.label, "0 bytes")
        given = (
            readers[kind](content, texts, columns, rows) if within is None else _iterate_rows(content, columns, within)
        )
        for frame in given:
            if not texts & {*frame, frame.index.name}:
                if _is_of_texts(frame.index):
                    frame = frame.rename_axis("id")
                elif "Unnamed: 0" in frame and _is_of_texts(frame["Unnamed: 0"]):  # an index that pandas wrote to CSV
                    frame = frame.rename(columns={"Unnamed: 0": "id"})
            if frame.index.name is not None and frame.index.name not in frame:
                frame = frame.reset_index()
            yield frame if columns is None else frame[[column for column in frame if column in columns]]
    except CrystalInputError:
        raise
    except MemoryError as error:
        raise typed_error(error, content.label) from error
    except Exception as error:  # pandas, pyarrow, gzip, zlib and json each have exceptions of their own
        reason = str(error).split("\n")[0] or type(error).__name__
        remedy = "Check the path, and whether the file is whole."
        raise UnsupportedFileError(content.label, f"cannot be read as {kind} ({reason})", _RULE, remedy) from error


def write_csv(frame: pd.DataFrame, path: str | Path, index: bool = False) -> None:
    """Write a table as CSV, whole or not at all; a link that someone has put in its place is not followed.

    Raises
    ------
    OptionError
        If no file can be written there.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "gaps.csv")
    >>> write_csv(pd.DataFrame({"material_id": ["007"], "gap": [1.1]}), path)
    >>> path.read_text()
    'material_id,gap\\n007,1.1\\n'
    """
    packed: Any = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip", ".zst": "zstd"}.get(Path(path).suffix)
    with writing(path) as part:
        frame.to_csv(part, index=index, compression=packed)


def _id_of_cell(text: str) -> str:
    """The text of a cell; a whole number without the decimal point that it gets beside missing values."""
    return text[:-2] if _WHOLE.fullmatch(text) else text


def _iterate_csv(
    content: Content, texts: set[str], columns: Collection[str] | None, rows: int
) -> Iterator[pd.DataFrame]:
    header = content.head(HEAD_OF_TABLE).replace(b"\r", b"\n").lstrip().split(b"\n", 1)[0]
    width = 1 + header.count(b",")
    content.limits.check("columns", width, content.label, "columns of one table")
    with _Pieces(content) as source:
        try:
            # A converter keeps the text of a cell as it is; a dtype would still turn "NA" and "" into missing values.
            converters: dict[Any, Callable[[str], str]] = dict.fromkeys(texts, _id_of_cell)
            with pd.read_csv(cast(IO[str], source), chunksize=rows, converters=converters) as chunks:
                size = min(rows, _FIRST_ROWS)
                while True:
                    source.taken = 0
                    yield chunks.get_chunk(size)
                    most = min(_CELLS // width, int(size * _CHARACTERS / max(source.taken, 1)))
                    size = max(1, min(rows, 4 * size, most))
        except StopIteration:
            return
        except pd.errors.EmptyDataError as error:
            raise EmptyFileError(content.label, "no columns") from error


class _Pieces:
    """The text of a table, whose characters and fields are counted, so that no row without end is taken into memory."""

    def __init__(self, content: Content):
        self.content, self.stream, self.taken = content, content.open_text(), 0
        self._is_quoted, self._commas, self._rows = False, 0, 0  # in the part of the text that was looked at

    def read(self, size: int = -1) -> str:
        """Read characters."""
        text = self.stream.read(size)
        self.taken += len(text)
        if self.taken > 2 * self.content.limits.text_bytes:
            raise exceeded(self.content.limits, "text_bytes", "longer rows", self.content.label, "bytes of one text")
        if self._rows < _ROWS_OF_COLUMNS:
            self._count_fields(text)
        return text

    def _count_fields(self, text: str) -> None:
        """Refuse a row that has more fields than a table may have columns; commas and line ends in quotes are none."""
        letters = np.frombuffer(text.encode("latin-1", "replace"), np.uint8)
        is_quoted = np.bitwise_xor.accumulate(np.append(np.uint8(self._is_quoted), letters == ord('"')))[1:] > 0
        commas = np.flatnonzero((letters == ord(",")) & ~is_quoted)
        ends = np.flatnonzero((letters == ord("\n")) & ~is_quoted)
        of_rows = np.diff(np.searchsorted(commas, ends), prepend=0, append=len(commas))
        of_rows[0] += self._commas
        if of_rows.max() >= self.content.limits.columns:
            raise exceeded(self.content.limits, "columns", f"a row of {of_rows.max() + 1:,} fields",
                           self.content.label, "columns of one table")  # fmt: skip
        if len(letters):
            self._is_quoted, self._commas = bool(is_quoted[-1]), int(of_rows[-1])
        self._rows += int(np.count_nonzero(np.diff(ends, prepend=-1) > 1))

    def __iter__(self) -> Iterator[str]:
        return iter(self.stream)

    def __enter__(self) -> _Pieces:
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()


def _iterate_parquet(
    content: Content, texts: set[str], columns: Collection[str] | None, rows: int
) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet

    with content.on_disk() as path, pyarrow.parquet.ParquetFile(path) as table:
        names = table.schema_arrow.names
        index = [name for name in names if name.startswith("__index_level_")]  # what pandas calls one without a name
        chosen = None if columns is None else [name for name in names if name in columns] + index
        content.limits.check("rows", table.metadata.num_rows, content.label, "rows of one table")
        content.limits.check("columns", len(names), content.label, "columns of one table")
        if table.metadata.num_rows == 0:
            yield table.read(columns=chosen).to_pandas()
        for batch in iterate_rows(path, content.label, content.limits, rows, columns=chosen):
            yield batch.to_pandas()


def row_groups(path: Path) -> list[Rows]:
    """The rows of each group of a Parquet file: what can be read without reading the rows before them."""
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(path)
    ends = list(accumulate(metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)))
    return list(zip([0, *ends], ends))


def _iterate_rows(content: Content, columns: Collection[str] | None, within: Rows) -> Iterator[pd.DataFrame]:
    """Some rows of a Parquet file; of the groups of rows only those that hold one of them are read."""
    import pyarrow.parquet

    first, stop = within
    with content.on_disk() as path, pyarrow.parquet.ParquetFile(path) as table:
        groups = [(k, rows) for k, rows in enumerate(row_groups(path)) if rows[0] < stop and rows[1] > first]
        chosen = None if columns is None else [name for name in table.schema_arrow.names if name in columns]
        row = groups[0][1][0] if groups else 0
        numbers = [k for k, _ in groups]
        for batch in iterate_rows(path, content.label, content.limits, _BATCH, numbers, chosen):
            part = batch.slice(max(0, first - row), max(0, min(stop - row, len(batch)) - max(0, first - row)))
            row += len(batch)
            if len(part):
                yield part.to_pandas()


def _iterate_json(
    content: Content, texts: set[str], columns: Collection[str] | None, rows: int
) -> Iterator[pd.DataFrame]:
    text = content.text()
    check_text(text, content.label, content.limits)
    table = json.loads(text)
    if isinstance(table, dict) and {"columns", "data"} <= set(table):
        yield pd.DataFrame(table["data"], columns=table["columns"])
    elif isinstance(table, list) and all(isinstance(entry, dict) for entry in table):
        yield pd.DataFrame(table)
    else:
        raise ValueError("neither a list of records nor pandas' split form")
