"""Tables of labelled crystals, one row for each crystal: from a file, a folder, or one of matminer's data sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matminer.datasets import get_available_datasets, load_dataset

from ..crystals.formats.kinds import crystal_kind, without_compression
from ..crystals.formats.tables import STRUCTURE_COLUMNS, as_ids, read_table, table_ids
from ..crystals.reading import is_crystal_path
from ..errors import EmptyFileError, LabelError, UnsupportedFileError, UnsupportedObjectError, an_object, counted

ID_PROP = "id_prop.csv"
PATH_COLUMNS = ("path", "file")
"""Columns whose texts are always taken for paths of files, with or without a suffix."""
_MISSING = {"", "na", "NA", "n/a", "nan", "NaN", "None", "null"}


def labelled_table(
    inputs: Any, tasks: Sequence[str], structure_column: str | None = None, id_column: str | None = None
) -> pd.DataFrame:
    """Return a table of crystals and labels, whatever holds them.

    Parameters
    ----------
    inputs : pandas.DataFrame, str or Path
        A table; its file (``.csv``, ``.parquet``, ``.json``); a folder with ``id_prop.csv``; or the name of one of
        matminer's data sets, which matminer downloads once.
    tasks : sequence of str
        Names of the labels, for an ``id_prop.csv`` without a header.
    structure_column, id_column : str, optional
        Columns of structures and of ids.

    Returns
    -------
    pandas.DataFrame
        Paths of files in the column of structures start at the folder of the table.

    Raises
    ------
    UnsupportedFileError
        If there is no such file, folder or data set, or it cannot be read.
    """
    if isinstance(inputs, pd.DataFrame):
        return _with_paths(inputs, Path(), structure_column)
    if not isinstance(inputs, str | Path):
        raise UnsupportedObjectError(
            "inputs",
            an_object(inputs),
            "inputs must be a DataFrame, the path of a table or folder, or the name of one of matminer's data sets",
            "Put structures and labels into a DataFrame.",
        )
    path = Path(inputs)
    if path.is_dir():
        return _with_paths(_read_id_prop(path, tasks), path, "path")
    if path.is_file():
        return _with_paths(read_table(path, id_column=id_column), path.parent, structure_column)
    if str(inputs) in get_available_datasets(print_format=None):
        return load_dataset(str(inputs))
    raise UnsupportedFileError(
        str(inputs),
        "no such file, folder or data set",
        "inputs must be a table, a folder with id_prop.csv, or the name of one of matminer's data sets",
        "Check the path; matminer.datasets.get_available_datasets() lists the names.",
    )


def _read_id_prop(folder: Path, tasks: Sequence[str]) -> pd.DataFrame:
    """The table ``id_prop.csv`` of a folder: names of files, then labels; with or without a header."""
    path = folder / ID_PROP
    if not path.is_file():
        raise UnsupportedFileError(
            str(folder),
            f"no {ID_PROP}",
            f"a folder of labelled crystals has a table {ID_PROP} with a name and labels in each row",
            "Add this table, or pass a table with a column of paths.",
        )
    try:
        frame = pd.read_csv(path, header=None, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError as error:
        raise EmptyFileError(str(path), "no rows") from error
    except (ValueError, OSError) as error:
        raise UnsupportedFileError(str(path), str(error).strip(), "the rows must be CSV", "Check the file.") from error
    first = frame.iloc[0, 1:]
    is_header = len(first) and not any(text in _MISSING or _is_number(text) for text in first)
    if is_header:
        frame = frame.iloc[1:].set_axis(["material_id", *first], axis=1).reset_index(drop=True)
    elif len(first) < len(tasks):
        raise LabelError(
            str(path),
            counted(len(first), "column of labels", "columns of labels"),
            "the table must have a column for each task",
            f"Name as tasks those it has, not {len(tasks)}.",
        )
    else:
        frame = frame.iloc[:, : len(tasks) + 1].set_axis(["material_id", *tasks], axis=1)
    labels = frame.columns[1:]
    frame[labels] = frame[labels].mask(frame[labels].isin(_MISSING))
    return frame.assign(path=frame["material_id"])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_paths(frame: pd.DataFrame, folder: Path, structure_column: str | None) -> pd.DataFrame:
    """The table, whose paths start at a folder; a copy if there are any."""
    column = structure_column or next((name for name in STRUCTURE_COLUMNS if name in frame), None)
    is_path = _is_path if structure_column or column in PATH_COLUMNS else is_crystal_path
    if column is None or column not in frame or not frame[column].map(is_path).any():
        return frame
    known: dict[Path, dict[str, list[Path]]] = {}
    paths = [str(_located(folder, entry, known)) if is_path(entry) else entry for entry in frame[column]]
    result = frame.assign(**{column: paths})
    if table_ids(frame) is None:  # the paths, as the table writes them, are the ids
        result = result.assign(material_id=as_ids([entry if is_path(entry) else "" for entry in frame[column]]))
    return result


def _is_path(entry: Any) -> bool:
    if isinstance(entry, Path):
        return True
    return isinstance(entry, str) and bool(entry.strip()) and "\n" not in entry and entry.lstrip()[0] not in "{["


def _located(folder: Path, entry: str | Path, known: dict[Path, dict[str, list[Path]]]) -> Path:
    """The file a table names with or without its suffix; a path that does not exist if there is none.

    ``known`` collects the files of the folders searched so far, so that each folder is listed once.
    """
    path = folder / str(entry).strip()
    if path.exists():
        return path
    if path.parent not in known:
        known[path.parent] = _files_by_name(path.parent)
    found = known[path.parent].get(path.name, [])
    if len(found) == 1:
        return found[0]
    return path if crystal_kind(path.name) else path.with_name(path.name + ".cif")


def _files_by_name(folder: Path) -> dict[str, list[Path]]:
    """The files of crystals in a folder, by their names without suffix."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if crystal_kind(path.name) not in (None, "table"):
            files[without_compression(path.name).rsplit(".", 1)[0]].append(path)
    return files
