"""Typed errors for bad input, and the report that lists the bad items of a large job.

Every error states four things: the *item* it is about, the *value* that was found, the *rule* that this value breaks,
and the *remedy*. All of them are subclasses of :class:`CrystalInputError`.
"""

from __future__ import annotations

import logging
import warnings
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

from .wording import an_object, closest, counted  # noqa: F401 (others import them from here)

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

OnError = Literal["raise", "warn", "skip"]
_LONGEST_VALUE = 2_000  # characters of a value in a message
_WARNINGS = 5  # items of one job that get a warning of their own


class CrystalInputError(ValueError):
    """Input that cannot be used.

    Parameters
    ----------
    item : str
        What the error is about: a material id, a file, a row.
    value : object
        The offending value, as found. It is None if ``item`` holds the whole text, because matminer makes its errors
        again from their text alone.
    rule, remedy : str, optional
        The rule that is broken, and what to do about it; each subclass has its own defaults.

    Examples
    --------
    >>> print(OverlappingAtomsError("mp-1", "sites 0 and 3, 0.02 Å apart"))
    mp-1: sites 0 and 3, 0.02 Å apart; distinct atoms must be at least 0.1 Å apart. Remove the duplicate site, or
    give sites that share a position partial occupancies.
    """

    rule = "the input must describe a crystal"
    remedy = "Check the input."

    def __init__(self, item: str, value: object = None, rule: str | None = None, remedy: str | None = None):
        super().__init__(item, value, rule, remedy)
        self.item = str(item)
        self.value = value
        self.rule = rule or type(self).rule
        self.remedy = remedy or type(self).remedy
        self.index: int | None = None

    def __str__(self) -> str:
        if self.value is None:
            return self.item
        value = str(self.value)
        shown = value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}..."
        return f"{self.item}: {shown}; {self.rule}. {self.remedy}"


def typed_error(error: Exception, item: str, kind: type[CrystalInputError] | None = None) -> CrystalInputError:
    """Make a typed error of whatever a library raised while it read one item.

    Parameters
    ----------
    error : Exception
        A typed error is returned as it is.
    item : str
        What was read.
    kind : subclass of CrystalInputError, optional
        By default :class:`UnsupportedFileError`.

    Examples
    --------
    >>> print(typed_error(KeyError("sites"), "mp-1"))
    mp-1: cannot be read (KeyError: 'sites'); a file must be whole and hold what its name says. Check the file, or
    export it again.
    """
    if isinstance(error, CrystalInputError):
        return error
    text = getattr(error, "strerror", None) or str(error).split("\n")[0][:200]
    value = f"cannot be read ({type(error).__name__}{': ' if text else ''}{text})"
    if isinstance(error, MemoryError):
        value = f"more memory than there is ({text or 'no more is told'})"
        remedy = "Check whether the file is damaged; split it, or read it where there is more memory."
        made: CrystalInputError = LimitError(item, value, "an item must fit into memory", remedy)
    elif isinstance(error, Warning):  # of a library, where a filter makes errors of warnings
        made = DoubtfulCrystalError(item, f"{type(error).__name__}: {text}")
    elif kind is None:
        rule, remedy = "a file must be whole and hold what its name says", "Check the file, or export it again."
        made = UnsupportedFileError(item, value, rule, remedy)
    else:
        made = kind(item, value)
    made.__cause__ = error  # a traceback shows both
    return made


class CrystalWarning(UserWarning):
    """A crystal that was read although its file leaves something open, or says what is not in the crystal."""


class DoubtfulCrystalError(CrystalInputError):
    """A crystal that is warned of, where a filter makes errors of warnings."""

    rule = "no item may be warned of where a filter makes errors of warnings"
    remedy = "Check what is said; with warnings.simplefilter('default') the item is read nevertheless."


class CIFSyntaxError(CrystalInputError):
    """The text does not follow the CIF grammar."""

    rule = "a CIF file must follow the CIF grammar"
    remedy = "Open the file at the line named and repair it, or export it again."


class UnsupportedFileError(CrystalInputError):
    """A file of a type that cannot be read, or whose content is not what its name says."""

    rule = "crystals are read from CIF, mCIF, POSCAR, vasprun.xml, JSON, tables, extended XYZ, XSF and ASE's files"
    remedy = "Convert the file, for example with ASE or pymatgen."


class UnsupportedObjectError(CrystalInputError):
    """An object that is not a crystal of pymatgen, ASE or this package."""

    rule = "a crystal is a pymatgen Structure or its dict, an ASE Atoms, a Crystal or the path of a file"
    remedy = "Convert the object to one of these."


class LimitError(CrystalInputError):
    """A file, an archive or an answer of a server that exceeds one of the limits on size and number."""

    rule = "what is read must keep within the limits on size and number"
    remedy = "If the source can be trusted, unpack or split it, and read the parts."


class ServerError(CrystalInputError):
    """A server that does not answer, or answers something else than structures."""

    rule = "a server must answer with structures in the form of OPTIMADE"
    remedy = "Check the address and the filter, or try again later."


class EmptyFileError(CrystalInputError):
    """A file without content."""

    rule = "a file must not be empty"
    remedy = "Fetch or export the file again."


class NoCrystalsError(CrystalInputError):
    """A source that does not hold any crystal."""

    rule = "a source must hold at least one crystal"
    remedy = "Check the path, the pattern or the column name."


class EmptyStructureError(CrystalInputError):
    """A structure without atoms."""

    rule = "a crystal must have at least one atom"
    remedy = "Check that the file lists atom sites with fractional coordinates."


class UnknownElementError(CrystalInputError):
    """A species that is not an element with 1 <= Z <= 118."""

    rule = "every species must be an element with atomic number 1-118"
    remedy = "Replace dummy or placeholder species by elements, or remove the site."


class CoordinateError(CrystalInputError):
    """Coordinates that are missing, NaN or infinite."""

    rule = "coordinates must be finite numbers"
    remedy = "Complete the site's coordinates or remove the site."


class LatticeError(CrystalInputError):
    """A lattice with missing or infinite parameters, or without volume."""

    rule = "a lattice must have three finite, independent vectors at least 0.1 Å thick"
    remedy = "Check the cell lengths (Å) and angles (degrees)."


class SymmetryError(CrystalInputError):
    """Symmetry operations that cannot be understood, or an unknown space group."""

    rule = "symmetry must be given as operations or a known space group"
    remedy = "Write the symmetry operations, or expand the cell to P 1."


class OverlappingAtomsError(CrystalInputError):
    """Two atoms at nearly the same position."""

    rule = "distinct atoms must be at least 0.1 Å apart"
    remedy = "Remove the duplicate site, or give sites that share a position partial occupancies."


class StatementError(CrystalInputError):
    """A crystal that is not what its file states of it: the formula, Z, the density or the volume."""

    rule = "the formula, Z, density and volume that a file states must be those of its atoms and its cell"
    remedy = "Compare the list of atoms, the symmetry operations and the cell with the publication or the database."


class OccupancyError(CrystalInputError):
    """An occupancy outside [0, 1], or occupancies of one site that sum to more than 1."""

    rule = "the occupancies of a site must be non-negative and sum to at most 1"
    remedy = "Correct the occupancies."


class DisorderError(CrystalInputError):
    """A partially occupied or mixed site where only ordered crystals are accepted."""

    rule = "with disorder='refuse' every site must be fully occupied by one species"
    remedy = "Take disorder='average' (or --disorder average) to weight by occupancy, or dominant for the main species."


class IsolatedAtomError(CrystalInputError):
    """An atom without a neighbour within the cutoff."""

    rule = "every atom must have a neighbour within the cutoff"
    remedy = "Raise the cutoff, or pass isolated_atoms='keep' to keep the atom without edges."


class ScatteringFactorError(CrystalInputError):
    """An element whose X-ray scattering factor is not tabulated."""

    rule = "X-ray scattering factors are tabulated for Z = 1-98"
    remedy = "Leave the structure out of pattern simulation."


class NoReflectionsError(CrystalInputError):
    """A crystal without a reflection in the angular range."""

    rule = "at least one reflection must fall into the two-theta range"
    remedy = "Widen the range of the XRDGrid or use a shorter wavelength."


class GridError(CrystalInputError):
    """A diffraction grid with impossible parameters, or a pattern on another grid than the one needed."""

    rule = "an XRDGrid needs 0 < two_theta_min < two_theta_max <= 180, n_bins >= 1, fwhm >= 0 and a known radiation"
    remedy = "Correct the named parameter."


class PatternError(CrystalInputError):
    """A measured pattern that cannot be used."""

    rule = "a pattern is two equally long columns of numbers, two-theta (degrees) and counts"
    remedy = "Check the file's columns."


class AngleError(PatternError):
    """Angles that are NaN, unsorted or duplicate."""

    rule = "two-theta must be finite and strictly increasing"
    remedy = "Sort the points and merge those of equal angle."


class CountsError(PatternError):
    """Counts that are NaN or negative, or a pattern of zeros."""

    rule = "counts must be finite, non-negative and not all zero"
    remedy = "Give raw counts; background is subtracted by prepare_measured_pattern itself."


class PatternRangeError(PatternError):
    """A measured angular range that does not overlap the grid."""

    rule = "the measured range must overlap the grid"
    remedy = "Check the wavelengths, or choose an XRDGrid for this range."


class StoreError(CrystalInputError):
    """A store of crystals that cannot be read or continued."""

    rule = "a store is a folder with a manifest and all its shards"
    remedy = "Copy the store again from where it is whole, or write another one with `crystalssl featurize`."


class IndexFolderError(CrystalInputError):
    """An index on disk that cannot be read or written."""

    rule = "an index is a folder that `crystalssl index` or EmbeddingIndex.save has written"
    remedy = "Check the name of the folder, or build the index with `crystalssl index`."


class QueryError(CrystalInputError):
    """A query that an index cannot answer."""

    rule = "a query is an id, a formula, a structure, a file of one, or a vector as long as those of the index"
    remedy = "Check the query."


class UploadError(CrystalInputError):
    """An upload that is larger or takes longer than the server allows."""

    rule = "an upload must keep within the limits of the server"
    remedy = "Query the index in Python, with EmbeddingIndex.query or EmbeddingIndex.query_pattern."


class CheckpointError(CrystalInputError):
    """A checkpoint that does not belong to the model."""

    rule = "a checkpoint must come from a model of the same configuration"
    remedy = "Build the model with the arguments in the folder's config.json."


class RecipeError(CrystalInputError):
    """A recipe with an unknown setting or a value out of range."""

    rule = "a recipe is a table of known settings with values in range"
    remedy = "See the settings in deepchem_crystalssl.recipes.RECIPE."


class LabelError(CrystalInputError):
    """Labels that do not fit the crystals, or the model."""

    rule = "labels are numbers, one row for every crystal or site, one column for every task"
    remedy = "Check y, and the columns named as tasks."


class GraphMismatchError(CrystalInputError):
    """A graph made with another cutoff or another number of neighbours than those a model was trained on."""

    rule = "graphs must be made with the options that the model was trained on"
    remedy = "Make the graphs with the cutoff and max_neighbors of the model, or give it structures."


class ModelPhysicsError(CrystalInputError):
    """A crystal for which springs or tight binding give no numbers."""

    rule = "springs and tight binding need a primitive cell of at most 1,000 sites and elements of Z = 1-103"


class OptionError(CrystalInputError):
    """An option with a value that cannot be used."""

    rule = "an option must have one of the values its documentation names"
    remedy = "Correct the option."


def check_choice(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise an OptionError for a value that is not one of the known ones."""
    if value not in (names := tuple(known)):
        remedy = (near := closest(value, names)) and f"Pass {name}={near!r}, or another of these."
        raise OptionError(name, repr(value), f"{name} must be one of {', '.join(names)}", remedy)


class Report(list[CrystalInputError]):
    """The items that a large job left out, in order.

    Each entry is the typed error of one item; its ``index`` is the position of the item in the source.

    Examples
    --------
    >>> report = Report()
    >>> report.handle(EmptyStructureError("b.cif", "0 sites"), "skip", index=1)
    >>> report.summary()
    '1 item left out (EmptyStructureError: 1); first: b.cif: 0 sites; a crystal must have at least one atom'
    """

    _warned = 0  # items of this job that on_error="warn" is told of
    under_way = 0  # jobs: that of the caller, and those it consists of
    _logged = 0  # items that the summary in the log counts

    @contextmanager
    def job(self, on_error: OnError = "raise") -> Iterator[None]:
        """While a job runs, at most five items get a warning of their own; at its end one more counts the others.

        The policy is checked before the job begins, not when the first item fails.
        """
        check_choice("on_error", on_error, get_args(OnError))
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
            if not self.under_way:
                more, self._warned = self._warned - _WARNINGS, 0
                if more > 0:
                    were = counted(more, "more item was", "more items were")
                    warnings.warn(f"{were} left out; the report lists all {len(self)} of them", stacklevel=4)

    def handle(self, error: CrystalInputError, on_error: OnError, index: int | None = None) -> None:
        """Raise an error, or record it with or without a warning, as ``on_error`` says.

        After the first five warnings, the other items are only counted; see :meth:`job`.
        """
        check_choice("on_error", on_error, get_args(OnError))
        error.index = index
        if on_error == "raise":
            raise error
        insort(self, error, key=lambda e: -1 if e.index is None else e.index)
        if on_error == "warn":
            self._warned += 1
            if self._warned <= _WARNINGS:
                warnings.warn(str(error), UserWarning, stacklevel=3)
            elif self._warned == _WARNINGS + 1 and not self.under_way:
                warnings.warn("further items are left out without a warning; the report lists all", stacklevel=3)

    @property
    def indices(self) -> list[int]:
        """Positions of the bad items in the source, of those that have one."""
        return [error.index for error in self if error.index is not None]

    def summary(self) -> str:
        """How many items of each kind of error were left out, and the first error in words."""
        if not self:
            return "no item left out"
        counts = ", ".join(f"{name}: {n}" for name, n in Counter(type(e).__name__ for e in self).most_common())
        return (
            f"{counted(len(self), 'item')} left out ({counts}); first: {self[0].item}: {self[0].value}; {self[0].rule}"
        )

    def log(self) -> None:
        """Write the summary to the log if anything was left out since it was written last."""
        if self._logged < len(self):
            self._logged = len(self)
            logger.warning(self.summary())

    def to_frame(self) -> pd.DataFrame:
        """A table with one row for each bad item: index, item, error, value, rule, remedy."""
        import pandas as pd

        rows = [(e.index, e.item, type(e).__name__, str(e.value), e.rule, e.remedy) for e in self]
        return pd.DataFrame(rows, columns=["index", "item", "error", "value", "rule", "remedy"])

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Report:
        """The report that :meth:`to_frame` made a table of, also after the table was written to CSV and read again."""
        report = cls()
        for row in frame.to_dict("records"):
            kind = globals().get(row["error"])
            kind = kind if isinstance(kind, type) and issubclass(kind, CrystalInputError) else CrystalInputError
            error = kind(row["item"], row["value"], row["rule"], row["remedy"])
            index = row["index"]
            error.index = None if index in ("", None) or index != index else int(float(index))
            report.append(error)
        return report
