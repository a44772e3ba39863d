"""Files of crystals: what their names say, where they are found, and how the crystals in them are called."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from .archives import holds_crystals
from .contents import Content
from ...errors import NoCrystalsError, typed_error
from .kinds import COMPRESSIONS, HEAD, crystal_kind, is_unlike, says_nothing, without_compression
from .tables import lacks_structures


@dataclass(frozen=True)
class NamedFile:
    """A file whose crystals are called by a name that was chosen before.

    Attributes
    ----------
    path : Path
    name : str
    rows : (int, int), optional
        Only the crystals from the first up to before the second are read, of a Parquet table or a shard of a store.
    """

    path: Path
    name: str
    rows: tuple[int, int] | None = None


_LONGEST_NAME = 255


def in_short(source: object) -> str:
    """A source as messages name it: a path whole, and of a long text or one of several lines only the beginning.

    Examples
    --------
    >>> in_short("cifs/quartz.cif"), in_short("# generated using pymatgen\\ndata_SiO2")
    ('cifs/quartz.cif', '# generated using pymatgen...')
    """
    text = str(source).strip()
    line = text.split("\n")[0]
    return text if line == text and len(text) <= _LONGEST_NAME else f"{line[:80].rstrip()}..."


def find_files(source: str | Path, structure_column: str | None = None) -> list[Path]:
    """The files of crystals that a path or a glob pattern names; those of a folder and its subfolders, sorted.

    A folder's files are chosen by their names. A file whose suffix means something else too is listed only if it
    begins as a file of crystals does: ``.xyz`` with a lattice, ``.db`` and ``.traj`` of ASE, an archive with such
    files, a table with a column of structures (any table if the caller names the column). A link to a file that is
    gone is listed too, so that reading it says what is missing.

    Raises
    ------
    CrystalInputError
        If there are none, or the folder cannot be searched.
    """
    if not str(source).strip():  # Path("") is the current folder
        raise NoCrystalsError(repr(source), "an empty text", "a source has a name", "Name a file or a folder.")
    try:
        path = Path(source)
        if path.is_file():
            return [path]
        if path.is_dir():
            paths = sorted(p for p in path.rglob("*") if _is_listed(p, structure_column))
            if not paths:
                raise NoCrystalsError(in_short(source), "a folder without crystal files")
            return paths
        if path.exists() or path.is_symlink():
            return [path]
        paths = [Path(p) for p in sorted(glob.glob(str(source), recursive=True)) if Path(p).is_file()]
        if not paths:
            raise NoCrystalsError(in_short(source), "no such file or folder")
        return paths
    except NoCrystalsError:
        raise
    except Exception as error:  # a name that is too long, a folder that may not be entered
        raise typed_error(error, in_short(source), NoCrystalsError) from error


def _is_listed(path: Path, structure_column: str | None) -> bool:
    """Whether a file in a folder is one of crystals."""
    from .ase_databases import is_ase_database  # loads compiled kernels, which opening a store does not need

    kind = crystal_kind(path.name)
    if kind == "shard":  # a store within a folder is opened by itself
        return False
    if kind is None or not path.is_file():
        return kind is not None and path.is_symlink() and not path.exists()
    if kind == "archive":
        return holds_crystals(path)
    if kind == "table":
        return structure_column is not None or not lacks_structures(Content.of(path))
    if kind in ("xyz", "trajectory", "sqlite"):
        try:
            if is_unlike(kind, Content.of(path).head(HEAD)):
                return False
            return kind != "sqlite" or path.suffix.lower() in COMPRESSIONS or is_ase_database(path)
        except Exception:  # reading it will say what is wrong
            return True
    return True


def name_files(paths: Sequence[PurePath], taken: set[str], more_follow: bool = False) -> list[str]:
    """A name for each file, by which its crystals are called.

    A file is called by its name without suffix (``quartz.cif`` is ``quartz``). Where files of several folders share
    that name, it is preceded by as many of the folders as tell them apart (``relaxed/CONTCAR``, ``start/CONTCAR``);
    files of one folder keep their suffix (``salt.cif``, ``salt.vasp``). A file that is listed twice is ``quartz`` and
    ``quartz (2)``.

    Parameters
    ----------
    paths : sequence of Path
    taken : set of str
        Names already given to other files; the new names are added.
    more_follow : bool
        Whether files not listed here will be named later. Then a file called POSCAR or CONTCAR is preceded by its
        folder in any case.

    Examples
    --------
    >>> name_files([Path("a/POSCAR"), Path("b/POSCAR"), Path("quartz.cif"), Path("salt.cif"), Path("salt.vasp")], set())
    ['a/POSCAR', 'b/POSCAR', 'quartz', 'salt.cif', 'salt.vasp']
    """
    if len(paths) == 1:  # of a list of files, each of which comes alone
        name = _tail(paths[0], 0, False)
        if name not in taken and not (more_follow and says_nothing(name)):
            taken.add(name)
            return [name]
    names: dict[int, str] = {}
    rest = list(range(len(paths)))
    siblings = Counter((path.parent, _tail(path, 0, False)) for path in paths)
    deepest = max((len(path.parts) for path in paths), default=0)
    for depth in range(deepest):
        for keep_suffix in (False, True):
            proposed = {k: _tail(paths[k], depth, keep_suffix) for k in rest}
            if keep_suffix:
                alone = {k for k in rest if siblings[paths[k].parent, _tail(paths[k], 0, False)] == 1}
                proposed = {k: name for k, name in proposed.items() if k not in alone}
            if more_follow and depth == 0 and deepest > 1:
                proposed = {k: name for k, name in proposed.items() if not says_nothing(name)}
            counts = Counter(proposed.values())
            for k, name in proposed.items():
                if counts[name] == 1 and name not in taken:
                    names[k] = name
            taken |= {names[k] for k in rest if k in names}
            rest = [k for k in rest if k not in names]
            if not rest:
                return [names[k] for k in range(len(paths))]
    for k in rest:  # the same path several times
        name = full = _tail(paths[k], 0, False)
        again = 1
        while name in taken:
            again += 1
            name = f"{full} ({again})"
        names[k] = name
        taken.add(name)
    return [names[k] for k in range(len(paths))]


def _tail(path: PurePath, depth: int, keep_suffix: bool) -> str:
    """The name of a file with some of its folders."""
    name = path.name
    if not keep_suffix:
        name = without_compression(name)
        if not says_nothing(name) or crystal_kind(name) not in ("poscar", "vasprun"):
            name = name.rsplit(".", 1)[0]
    folders = [part for part in path.parts[:-1] if part != path.anchor]
    return "/".join([*folders[max(0, len(folders) - depth) :], name])
