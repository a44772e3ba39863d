"""Checking the files of a folder: which of them are read, and which contradict what they state of their crystals."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from .cif.statements import Statements, read_statements
from .consistency import composition_of, density_of, find_contradictions, formula_text
from .contacts import find_close_pair
from ..errors import CrystalInputError, LimitError, NoCrystalsError, Report, UnsupportedFileError, counted, typed_error
from .formats.archives import iterate_members
from .formats.contents import Content
from .formats.files import find_files, name_files
from .formats.kinds import crystal_kind
from .formats.readers import read_content
from .formats.texts import read_structure_text
from .isolation import AnswerLost, IsolatedProcess, answer_questions
from .options import check_number
from .reading import read_structures
from .records import Crystal

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["read", "read with remarks", "refused"]
COLUMNS = [*("file", "crystal", "outcome", "formula", "sites", "volume", "density", "error", "value", "rule", "remedy")]
"""Of the table that :func:`to_table` makes; volume in Å^3, density in g/cm^3."""


@dataclass(frozen=True)
class CheckedCrystal:
    """What came of one crystal of a file, or of a file without any.

    Attributes
    ----------
    file : str
        Path of the file, and of the member in it if it is an archive.
    crystal : str
        Name of the crystal, as :func:`~deepchem_crystalssl.read_structures` gives it.
    outcome : {"read", "read with remarks", "refused"}
    formula : str
        Contents of the cell; empty if the crystal was refused.
    sites : int
    volume, density : float
        Å^3 and g/cm^3.
    findings : list of CrystalInputError
        Why it was refused, or what it contradicts.
    warnings : list of str
        What the readers said while they read it.
    """

    file: str
    crystal: str
    outcome: Outcome
    formula: str = ""
    sites: int = 0
    volume: float = float("nan")
    density: float = float("nan")
    findings: list[CrystalInputError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def said(self) -> list[str]:
        """The findings and warnings as texts."""
        return [f"{error.value}; {error.rule}. {error.remedy}" for error in self.findings] + self.warnings


def check_files(
    source: str | Path, *, seconds: float = 60.0, memory_bytes: int = 2 * 2**30, progress: bool | None = None
) -> Iterator[CheckedCrystal]:
    """Read every file of crystals in a folder, and compare each crystal with what its file states.

    A crystal is read as :func:`~deepchem_crystalssl.read_structures` reads it. That of a CIF is compared with the
    formula sum, Z, the density and the volume that the file states, and for every crystal the atoms must be as far
    apart as atoms are. The files are read in a process of their own: one that takes too long, needs too much memory or
    ends the process is told as refused, and costs itself only.

    Parameters
    ----------
    source : str or Path
        A folder (with its subfolders), a glob pattern or a file.
    seconds : float
        Time limit for each crystal.
    memory_bytes : int
        Memory limit for each file, on Linux.
    progress : bool, optional
        Show a progress bar; by default on a terminal only, after a second.

    Yields
    ------
    CheckedCrystal
        In the order of the files.

    Raises
    ------
    NoCrystalsError
        If there are no files of crystals.
    OptionError
        If a limit is not a positive number.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> cell = "_space_group_IT_number 1\\n" + "".join(f"_cell_length_{x} 5.64\\n" for x in "abc")
    >>> cell += "".join(f"_cell_angle_{x} 90\\n" for x in ("alpha", "beta", "gamma"))
    >>> atoms = "loop_ _atom_site_label " + " ".join(f"_atom_site_fract_{x}" for x in "xyz") + " Na 0 0 0 Cl .5 .5 .5"
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "good.cif").write_text("data_good\\n" + cell + atoms)
    ...     _ = Path(folder, "more.cif").write_text("data_more\\n_cell_volume 1000\\n" + cell + atoms)
    ...     _ = Path(folder, "none.cif").write_text("data_none")
    ...     [(checked.crystal, checked.outcome) for checked in check_files(folder)]
    [('good', 'read'), ('more', 'read with remarks'), ('none', 'refused')]
    """
    check_number("seconds", seconds, above=0.0)
    check_number("memory_bytes", memory_bytes, above=0.0)
    paths = find_files(source)
    names = name_files(paths, set())
    command = [sys.executable, "-m", __name__]
    disable = None if progress is None else not progress
    with IsolatedProcess(command, seconds, memory_bytes) as process:
        files = zip(paths, names, strict=True)
        for path, name in tqdm(files, "files", len(paths), disable=disable, delay=1.0, unit=""):
            try:
                for line in process.ask([str(path), name]):
                    yield _from_json(line)
            except AnswerLost as lost:
                yield CheckedCrystal(str(path), name, "refused", findings=[_too_much(path, str(lost))])


def _too_much(path: Path, what: str) -> CrystalInputError:
    rule, remedy = "a file must be read within the limits on time and memory", "Raise the limits, or split the file."
    return LimitError(str(path), what, rule, remedy)


def check_file(path: Path, name: str) -> Iterator[CheckedCrystal]:
    """Check the crystals of one file; see :func:`check_files`, which does this in a process of its own.

    Yields
    ------
    CheckedCrystal
    """
    stated: dict[str, Statements] = {}
    with _heard() as said:
        for label, item in _items(path, name, stated):
            if isinstance(item, CrystalInputError):
                yield CheckedCrystal(label, name, "refused", findings=[item], warnings=list(map(str, _taken(said))))
                continue
            findings = find_contradictions(item, stated.get(item.material_id, Statements())) + find_close_pair(item)
            kinds = {type(finding) for finding in findings}
            remarks = [str(one) for one in _taken(said) if getattr(one, "said_by", None) not in kinds]
            yield CheckedCrystal(
                label,
                item.material_id,
                "read with remarks" if findings or remarks else "read",
                formula_text(composition_of(item)),
                item.num_nodes,
                item.volume,
                density_of(item),
                findings,
                remarks,
            )


def _items(path: Path, name: str, stated: dict[str, Statements]) -> Iterator[tuple[str, Crystal | CrystalInputError]]:
    """The crystals of a file, each with the file or member it comes from; ``stated`` takes what CIFs say of them."""
    if crystal_kind(path.name) != "archive":
        if crystal_kind(path.name) == "cif":
            stated |= _statements(Content.of(path), name)
        reader = read_structures([path], on_error="skip", progress=False)
        with reader.report.job():  # which keeps the summary out of the log, whose lines are remarks here
            for crystal in reader:
                yield from ((str(path), error) for error in _taken(reader.report))
                yield str(path), crystal
        yield from ((str(path), error) for error in reader.report)
        return
    taken: set[str] = set()
    is_empty = True
    try:
        for inside, member in iterate_members(path):
            is_empty = False
            (called,) = name_files([PurePosixPath(name) / inside], taken, more_follow=True)
            for item in _of_member(member, called, stated):
                yield f"{path}/{inside}", item
        if is_empty:
            yield str(path), NoCrystalsError(str(path), "an archive without files of crystals")
    except Exception as error:
        yield str(path), typed_error(error, str(path))


def _of_member(
    member: Content | CrystalInputError, name: str, stated: dict[str, Statements]
) -> Iterator[Crystal | CrystalInputError]:
    if isinstance(member, CrystalInputError):
        yield member
        return
    kind = crystal_kind(member.name)
    try:
        if kind == "table":
            rule = "tables are checked where they lie in a folder"
            raise UnsupportedFileError(member.label, "a table in an archive", rule, "Unpack the archive.")
        if kind == "cif":
            member = _kept(member)
            stated |= _statements(member, name)
        yield from read_content(member, name)
    except Exception as error:
        yield typed_error(error, member.label)


def _kept(member: Content) -> Content:
    """A member whose bytes can be read twice."""
    import io

    with member.open() as stream:
        data = stream.read()
    return Content(member.label, member.name, lambda: io.BytesIO(data))


def _statements(content: Content, name: str) -> dict[str, Statements]:
    try:
        return read_statements(content.text(), name)
    except (CrystalInputError, OSError, EOFError):  # reading the crystals will say what is wrong
        return {}


def _taken(items: list[Any]) -> list[Any]:
    """All items of a list, which is emptied."""
    taken = list(items)
    items.clear()
    return taken


@contextmanager
def _heard() -> Iterator[list[Warning | str]]:
    """Warnings and lines of the log, as they come."""
    said: list[Warning | str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener, logger = Listener(logging.WARNING), logging.getLogger(__name__.partition(".")[0])
    logger.addHandler(listener)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_, **__: said.append(message)
            yield said
    finally:
        logger.removeHandler(listener)


def to_table(checked: Iterable[CheckedCrystal]) -> pd.DataFrame:
    """A table with one row for each crystal and the :data:`COLUMNS`; findings of one crystal are joined by a bar."""
    import pandas as pd

    rows = [
        (
            *(one.file, one.crystal, one.outcome, one.formula, one.sites, one.volume, one.density),
            " | ".join(type(error).__name__ for error in one.findings),
            " | ".join([str(error.value) for error in one.findings] + one.warnings),
            " | ".join(dict.fromkeys(error.rule for error in one.findings)),
            " | ".join(dict.fromkeys(error.remedy for error in one.findings)),
        )
        for one in checked
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def summary_of(checked: Iterable[CheckedCrystal]) -> str:
    """How many crystals were read and read with remarks, how many files or crystals were refused, and why.

    Examples
    --------
    >>> print(summary_of([CheckedCrystal("a.cif", "a", "read"), CheckedCrystal("b.cif", "b", "read")]))
    2 files: 2 crystals read, 0 read with remarks, 0 refused
    """
    checked = list(checked)
    outcomes = Counter(one.outcome for one in checked)
    kinds = Counter(type(error).__name__ for one in checked for error in one.findings)
    files, read = counted(len({one.file for one in checked}), "file"), counted(outcomes["read"], "crystal")
    numbers = f"{read} read, {outcomes['read with remarks']} read with remarks, {outcomes['refused']} refused"
    reasons = ", ".join(f"{name}: {n}" for name, n in kinds.most_common())
    return f"{files}: {numbers}" + (f" ({reasons})" if reasons else "")


def _to_json(one: CheckedCrystal) -> dict[str, Any]:
    return {**vars(one), "findings": Report(one.findings).to_frame().to_dict("list")}


def _from_json(line: dict[str, Any]) -> CheckedCrystal:
    import pandas as pd

    return CheckedCrystal(**{**line, "findings": list(Report.from_frame(pd.DataFrame(line["findings"])))})


def _answer(question: list[str]) -> Iterator[dict[str, Any]]:
    path, name = question
    return (_to_json(one) for one in check_file(Path(path), name))


def _warm_up() -> None:
    """Load libraries and compile kernels before the first file, whose time is limited."""
    cell = "".join(f"_cell_length_{x} 9\n" for x in "abc")
    cell += "".join(f"_cell_angle_{x} 90\n" for x in ("alpha", "beta", "gamma"))
    loop = "loop_ _atom_site_label " + " ".join(f"_atom_site_fract_{x}" for x in "xyz") + " C1 0 0 0 C2 .5 .5 .5"
    for item in read_structure_text("data_a\n" + cell + loop, "warm-up", "cif"):
        if isinstance(item, Crystal):
            find_close_pair(item)


if __name__ == "__main__":
    _warm_up()
    answer_questions(_answer)
