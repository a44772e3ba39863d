"""The last structure of a VASP run, from ``vasprun.xml``: only the atoms and the structures in it are looked at."""

from __future__ import annotations

from typing import IO
from xml.parsers import expat

from ..elements import atomic_number_of
from ...errors import CoordinateError, LimitError, UnsupportedFileError, counted
from ..limits import LIMITS, ReadingLimits, exceeded
from ..records import Crystal
from ..validation import make_crystal

MAX_CELL = 10_000
"""Pieces of text in one cell of a table."""

_PIECE = 2**16  # characters parsed at a time
_LONGEST_TAG = 2**20
_OF_THE_RUN = ("", "initialpos", "finalpos")  # others are primitive cells that VASP found
_SHORTENED = {"X": "Xe", "r": "Zr"}  # as some versions of VASP write these symbols


class _LastStructure:
    """Collects the species, and the cell and the positions of the structure that came last.

    pymatgen's ``Vasprun`` also keeps eigenvalues, forces and every step; here the file is read once, in little memory.
    """

    def __init__(self, label: str, limits: ReadingLimits):
        self.label = label
        self.limits = limits
        self.open: list[tuple[str, str]] = []
        self.text: list[str] | None = None
        self.species: list[str] = []
        self.row: list[str] = []
        self.is_in_atoms = False
        self.vectors: dict[str, list[list[float]]] | None = None
        self.lattice: list[list[float]] = []
        self.positions: list[list[float]] = []

    def read(self, stream: IO[str]) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.characters
        parser.StartDoctypeDeclHandler = self.refuse  # so that no entity can be declared
        try:
            parsed = 0
            for piece in iter(lambda: stream.read(_PIECE), ""):
                parser.Parse(piece)
                parsed += len(piece)
                if parsed - parser.CurrentByteIndex > _LONGEST_TAG:  # which is looked at again with each piece
                    raise LimitError(
                        self.label, "a longer tag", f"a tag of the XML has at most {_LONGEST_TAG:,} characters"
                    )
            parser.Parse("", True)
        except expat.ExpatError as error:
            raise UnsupportedFileError(
                self.label, f"broken XML ({error})", "vasprun.xml is well-formed", "Check that the run has finished."
            ) from error

    def refuse(self, *names: object) -> None:
        raise UnsupportedFileError(
            self.label, "XML with a document type", "vasprun.xml has no document type", "Export the file again."
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = attributes.get("name", "")
        self.open.append((tag, name))
        if len(self.open) > self.limits.depth:
            raise exceeded(self.limits, "depth", "deeper XML", self.label, "elements within each other")
        if tag == "structure" and name in _OF_THE_RUN:
            self.vectors = {}
        elif tag == "array" and name == "atoms":
            self.is_in_atoms = True
        elif tag == "rc":
            self.row = []
        elif (tag == "v" and self.open[-2][1] in self.vectors_of()) or (tag == "c" and self.is_in_atoms):
            self.text = []

    def vectors_of(self) -> tuple[str, ...]:
        """The tables that are read here: those of a structure, or none."""
        return () if self.vectors is None else ("basis", "positions")

    def characters(self, text: str) -> None:
        if self.text is not None:
            self.text.append(text)
            if len(self.text) > MAX_CELL:
                raise LimitError(self.label, "a longer text", f"a cell of a table may have {MAX_CELL:,} pieces of text")

    def end(self, tag: str) -> None:
        _, name = self.open.pop()
        text, self.text = self.text, None
        if text is not None and tag == "c":
            self.row.append("".join(text).strip())
        elif text is not None and tag == "v" and self.vectors is not None:
            vectors = self.vectors.setdefault(self.open[-1][1], [])
            vectors.append(self.numbers("".join(text)))
            self.limits.check("sites", len(vectors), self.label, "sites of one crystal")
        elif tag == "rc" and self.is_in_atoms and self.row:
            self.species.append(self.row[0])
            self.limits.check("sites", len(self.species), self.label, "sites of one crystal")
        elif tag == "array" and name == "atoms":
            self.is_in_atoms = False
        elif tag == "structure" and self.vectors is not None:
            self.lattice = self.vectors.get("basis", [])
            self.positions = self.vectors.get("positions", [])
            self.vectors = None

    def numbers(self, text: str) -> list[float]:
        try:
            values = [float(word.replace("_", "?")) for word in text.split()]  # Python would ignore it
        except ValueError as error:
            raise CoordinateError(self.label, f"a vector {text.strip()[:80]!r}") from error
        if len(values) != 3:
            raise CoordinateError(self.label, f"a vector {text.strip()[:80]!r}", "a vector has three numbers")
        return values


def read_vasprun(stream: IO[str], label: str, name: str, limits: ReadingLimits = LIMITS) -> Crystal:
    """The structure at the end of a run: that after the last step, or at the beginning if there was no step.

    Parameters
    ----------
    stream : text file
        The content of ``vasprun.xml``.
    label, name : str
        What errors name, and how the crystal is called.

    Raises
    ------
    CrystalInputError
        If the file is cut, is no vasprun.xml, or holds no crystal.
    """
    found = _LastStructure(label, limits)
    found.read(stream)
    if not found.species or not found.positions or not found.lattice:
        missing = "atoms" if not found.species else "structure"
        raise UnsupportedFileError(
            label, f"no {missing}", "vasprun.xml holds atominfo and structures", "Run VASP again."
        )
    if len(found.species) != len(found.positions):
        raise CoordinateError(label, f"{len(found.positions)} positions of {counted(len(found.species), 'atom')}")
    known = atomic_number_of()
    species = [symbol if symbol in known else _SHORTENED.get(symbol, symbol) for symbol in found.species]
    return make_crystal(species, found.positions, found.lattice, name)
