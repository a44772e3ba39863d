"""The kinds of files of crystals, and the function that reads each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath

from .ase_databases import read_lmdb, read_sqlite
from .ase_files import read_trajectory, read_xsf, read_xyz
from .contents import Content
from ...errors import UnsupportedFileError
from .json_documents import CHUNK, iterate_documents
from .kinds import crystal_kind, is_code
from .texts import Item, read_json, read_structure_text
from .vasprun import read_vasprun

Reader = Callable[[Content, str, str | None, str | None], Iterator[Item]]
"""From a content, the name of its crystals, and the columns of structures and of ids, to these crystals."""


def read_content(
    content: Content, name: str, structure_column: str | None = None, id_column: str | None = None
) -> Iterator[Item]:
    """The crystals of a file that is neither a table nor an archive.

    Yields
    ------
    Crystal or CrystalInputError

    Raises
    ------
    UnsupportedFileError
        If files of this name are not read, also because they may contain code.
    """
    kind = crystal_kind(content.name)
    if kind not in READERS:
        raise _unsupported(content)
    yield from READERS[kind](content, name, structure_column, id_column)


def _unsupported(content: Content) -> UnsupportedFileError:
    if is_code(content.name):
        return UnsupportedFileError(
            content.label,
            "a pickle, or a file that may contain one",
            "a pickle runs whatever code it holds, and is not read",
            "Where you trust it, load it and write the structures with monty.serialization.dumpfn (pymatgen), "
            "ase.io.write or DataFrame.to_parquet.",
        )
    return UnsupportedFileError(content.label, f"suffix {PurePath(content.name).suffix!r}")


def _cif(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    return read_structure_text(content.text(), name, "cif", limits=content.limits)


def _poscar(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    return read_structure_text(content.text(), name, "poscar", limits=content.limits)


def _json(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    path = content.path or content.packed_path
    if path is not None and path.stat().st_size <= (CHUNK if content.path else CHUNK // 8):
        yield from read_structure_text(content.text(), name, "json", structure_column, id_column, content.limits)
        return
    with content.open_text() as stream:
        yield from read_json(
            iterate_documents(stream, name, content.limits), name, structure_column, id_column, content.limits
        )


def _vasprun(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    with content.open_text() as stream:
        yield read_vasprun(stream, content.label, name, content.limits)


def _xyz(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    with content.open_text() as stream:
        yield from read_xyz(stream, content.label, name, id_column, content.limits)


def _xsf(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    with content.open_text() as stream:
        yield from read_xsf(stream, content.label, name, content.limits)


def _trajectory(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    with content.on_disk() as path, path.open("rb") as stream:
        yield from read_trajectory(stream, content.label, name, id_column, content.limits)


def _sqlite(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    with content.on_disk() as path:
        yield from read_sqlite(path, content.label, name, id_column, content.limits)


def _lmdb(content: Content, name: str, structure_column: str | None, id_column: str | None) -> Iterator[Item]:
    with content.on_disk() as path:
        yield from read_lmdb(path, content.label, name, id_column, content.limits)


READERS: dict[str | None, Reader] = {
    "cif": _cif,
    "poscar": _poscar,
    "json": _json,
    "vasprun": _vasprun,
    "xyz": _xyz,
    "xsf": _xsf,
    "trajectory": _trajectory,
    "sqlite": _sqlite,
    "lmdb": _lmdb,
}
