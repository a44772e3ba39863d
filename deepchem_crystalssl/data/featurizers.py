"""DeepChem featurizers of crystals: graphs of neighbours and simulated powder patterns."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from deepchem.feat import MaterialStructureFeaturizer

from ..crystals.disorder import Disorder
from ..crystals.formats.convert import is_one, to_crystal
from ..crystals.formats.files import in_short
from ..crystals.neighbors import CUTOFF, MAX_NEIGHBORS, IsolatedAtoms, iterate_graphs
from ..crystals.reading import read_structures
from ..crystals.records import Crystal, CrystalGraph
from ..diffraction.grid import PowderPatterns, Profile, XRDGrid
from ..diffraction.simulation import iterate_patterns
from ..errors import CrystalInputError, OnError, Report, UnsupportedObjectError, counted
from ..physics.columns import MODELS, Model, column_names, iterate_physics


class BulkFeaturizer(MaterialStructureFeaturizer):
    """A DeepChem featurizer that computes all datapoints together and returns one result for each.

    DeepChem's own base class would iterate over the sites of a single structure, lose the good datapoints of a batch
    with a bad one, and hide the reason. Here the result of a bad datapoint is ``np.array([])``, which DeepChem's
    loaders drop together with its label, and ``report`` holds its error. A subclass defines :meth:`compute`.

    Attributes
    ----------
    report : Report
        The errors of the datapoints that could not be featurized in the last call, with their positions.
    """

    on_error: OnError
    report: Report

    @abstractmethod
    def compute(
        self, items: list[Crystal | CrystalInputError], on_error: OnError, report: Report, progress: bool | None = None
    ) -> Iterable[Any]:
        """Compute the features of crystals.

        Parameters
        ----------
        items : list of Crystal or CrystalInputError
            An item that could not be read is given as its error.
        on_error : {"raise", "warn", "skip"}
            What a bad item does.
        report : Report
            Receives the error of every item that was left out, with its position in ``items`` as ``index``.
        progress : bool, optional
            Show a progress bar; by default on a terminal only.

        Returns
        -------
        iterable
            The features of the good items, in order.
        """

    def featurize(self, datapoints: Any = None, log_every_n: int = 1000) -> np.ndarray:
        """Featurize crystals.

        Parameters
        ----------
        datapoints
            pymatgen ``Structure`` objects or their dicts, ASE ``Atoms``, :class:`~deepchem_crystalssl.Crystal`
            records, or paths of files: one of them or an iterable of them.
        log_every_n : int
            Accepted because DeepChem passes it; progress is shown by a bar instead.

        Returns
        -------
        numpy.ndarray
            One entry per datapoint, in order; ``np.array([])`` for a datapoint that could not be featurized.

        Raises
        ------
        CrystalInputError
            The error of the first bad datapoint, if ``on_error`` is "raise".
        """
        if isinstance(datapoints, pd.DataFrame):  # iterating over it would give the names of its columns
            raise UnsupportedObjectError(
                "datapoints",
                "a DataFrame",
                "datapoints must be structures",
                "Pass the column of structures, or load the table with CrystalLoader.",
            )
        points = list(datapoints) if isinstance(datapoints, Iterable) and not is_one(datapoints) else [datapoints]
        self.report = Report()
        items = [read_one(point, f"datapoint {index}") for index, point in enumerate(points)]
        results = list(self.compute(items, self.on_error, self.report))
        self.report.log()
        return self.assemble(len(points), results, self.report)

    def _featurize(self, datapoint: Any) -> Any:
        return self.featurize([datapoint])[0]

    def assemble(self, n: int, results: list, report: Report) -> np.ndarray:
        """Return an object array of n entries: the results in order, and empty arrays where the report has errors."""
        features = np.empty(n, object)  # np.asarray would look inside the records, or fail on rows of unequal length
        left_out, good = set(report.indices), iter(results)
        for index in range(n):
            features[index] = np.array([]) if index in left_out else next(good)
        return features


def read_one(point: Any, name: str) -> Crystal | CrystalInputError:
    """Read the one crystal of a datapoint.

    Parameters
    ----------
    point
        A pymatgen ``Structure`` or its dict, ASE ``Atoms``, a :class:`~deepchem_crystalssl.Crystal`, the path of a file
        or the text of one; or one of these in a tuple of length one, as some loaders pass it; or an error of an
        earlier step.
    name : str
        Name of the datapoint in its error, and of the crystal if it has none of its own.

    Returns
    -------
    Crystal or CrystalInputError
        The error is returned, not raised, so that it can take the place of the crystal in bulk work. A file with
        several crystals is an error, because it would not be clear which of them is meant.
    """
    if isinstance(point, tuple) and len(point) == 1:
        point = point[0]
    if isinstance(point, CrystalInputError):
        return point
    try:
        if not isinstance(point, str | os.PathLike):
            return to_crystal(point, name)
        crystals = list(read_structures(point, progress=False))
        if len(crystals) != 1:
            raise UnsupportedObjectError(
                name,
                f"{counted(len(crystals), 'crystal')} in {in_short(point)}",
                "a datapoint must be one crystal",
                "Read the file with read_structures and pass the crystals one by one.",
            )
        return crystals[0]
    except CrystalInputError as error:
        return error


class CrystalGraphFeaturizer(BulkFeaturizer):
    """Crystal graphs of nearest neighbours for DeepChem datasets and models.

    A graph keeps whole shells of equally distant neighbours around each atom, nearest first. It therefore does not
    depend on the cell, the origin, the orientation or the order of atoms in which the crystal is written.
    ``dc.models.CGCNNModel`` (92 node and 41 edge features) and all models of this package take these graphs.

    Parameters
    ----------
    cutoff : float
        Largest distance of a neighbour, Å.
    max_neighbors : int
        Shells are added until they hold at least this many neighbours.
    disorder : {"refuse", "dominant", "average"}
        What to do with sites that are partially occupied or shared by several species: report an error, keep the
        majority species, or average over the species.
    isolated_atoms : {"keep", "raise"}
        Whether an atom without a neighbour within the cutoff is kept without edges or is an error.
    on_error : {"warn", "skip", "raise"}
        What a bad structure does. With "warn" and "skip" its entry is an empty array, which DeepChem's loaders drop.

    Examples
    --------
    >>> import deepchem as dc
    >>> from pymatgen.core import Lattice, Structure
    >>> silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    >>> graphs = CrystalGraphFeaturizer().featurize([silicon])
    >>> graphs[0]
    CrystalGraph(datapoint 0, Si8, 8 sites, 128 edges)
    >>> dataset = dc.data.NumpyDataset(X=graphs, y=[[0.6]])
    """

    def __init__(
        self,
        cutoff: float = CUTOFF,
        max_neighbors: int = MAX_NEIGHBORS,
        disorder: Disorder = "refuse",
        isolated_atoms: IsolatedAtoms = "keep",
        on_error: OnError = "warn",
    ):
        self.cutoff = cutoff
        self.max_neighbors = max_neighbors
        self.disorder = disorder
        self.isolated_atoms = isolated_atoms
        self.on_error = on_error

    def compute(
        self, items: list[Crystal | CrystalInputError], on_error: OnError, report: Report, progress: bool | None = None
    ) -> Iterable[CrystalGraph]:
        """Compute the graphs of crystals; see :class:`BulkFeaturizer`."""
        return iterate_graphs(
            items,
            self.cutoff,
            self.max_neighbors,
            disorder=self.disorder,
            isolated_atoms=self.isolated_atoms,
            on_error=on_error,
            report=report,
            progress=progress,
        )


class XRDFeaturizer(BulkFeaturizer):
    """Simulated powder patterns for DeepChem datasets and models.

    If all structures are good, the result is one :class:`~deepchem_crystalssl.diffraction.grid.PowderPatterns` array of
    float32 (n, n_bins), which knows its grid. If some failed, it is an object array of rows with ``np.array([])`` for
    those. DeepChem's ``JsonLoader`` drops these entries, but ``InMemoryLoader`` does not: use ``on_error="raise"`` with
    it.

    An array on disk cannot keep the grid. Patterns that a ``DiskDataset`` has stored are plain arrays; state their grid
    when you use them: ``model.embed_xrd(dataset.X, grid=featurizer.grid)``, or ``XRDEmbedding(grid=featurizer.grid)``.

    Parameters
    ----------
    two_theta_min, two_theta_max, n_bins, wavelength, profile, fwhm, mixing
        As in :class:`~deepchem_crystalssl.XRDGrid`.
    disorder : {"refuse", "dominant", "average"}
        What to do with sites that are partially occupied or shared by several species, as in
        :class:`CrystalGraphFeaturizer`.
    on_error : {"warn", "skip", "raise"}
        What a bad structure does, as in :class:`CrystalGraphFeaturizer`.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    >>> XRDFeaturizer(fwhm=0.1).featurize([silicon, silicon]).shape
    (2, 5000)
    """

    def __init__(
        self,
        two_theta_min: float = 10.0,
        two_theta_max: float = 110.0,
        n_bins: int = 5000,
        wavelength: str | float = "CuKa",
        profile: Profile = "gaussian",
        fwhm: float = 0.0,
        mixing: float = 0.5,
        disorder: Disorder = "refuse",
        on_error: OnError = "warn",
    ):
        self.two_theta_min = two_theta_min
        self.two_theta_max = two_theta_max
        self.n_bins = n_bins
        self.wavelength = wavelength
        self.profile = profile
        self.fwhm = fwhm
        self.mixing = mixing
        self.disorder = disorder
        self.on_error = on_error

    @property
    def grid(self) -> XRDGrid:
        """The grid of the patterns."""
        return XRDGrid(
            self.two_theta_min, self.two_theta_max, self.n_bins, self.wavelength, self.profile, self.fwhm, self.mixing
        )

    def compute(
        self, items: list[Crystal | CrystalInputError], on_error: OnError, report: Report, progress: bool | None = None
    ) -> Iterable[np.ndarray]:
        """Compute the patterns of crystals; see :class:`BulkFeaturizer`."""
        patterns = iterate_patterns(
            items, self.grid, disorder=self.disorder, on_error=on_error, report=report, progress=progress
        )
        return (pattern for _, pattern in patterns)

    def assemble(self, n: int, results: list, report: Report) -> np.ndarray:
        """Return one array of all patterns, or an object array of rows if some structures failed or there are none."""
        if n and len(results) == n:
            return PowderPatterns(np.stack(results), self.grid)
        rows = [PowderPatterns(pattern, self.grid) for pattern in results]
        return super().assemble(n, rows, report)


class ModelPhysicsFeaturizer(BulkFeaturizer):
    """Numbers of springs and tight binding for DeepChem datasets and models.

    If all structures are good, the result is one array of float32 (n, F); otherwise an object array of rows, with
    ``np.array([])`` for the others. The numbers are those of a model and no substitute for a measurement; see
    :func:`~deepchem_crystalssl.model_physics`.

    Parameters
    ----------
    models : sequence of {"springs", "electrons"}
        Which of the two models.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy; with ``"average"`` a mixed site has the mean parameters of its
        species.
    on_error : {"warn", "skip", "raise"}
        What a bad structure does, as in :class:`CrystalGraphFeaturizer`.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    >>> featurizer = ModelPhysicsFeaturizer(["springs"])
    >>> featurizer.featurize([silicon, silicon]).shape, featurizer.columns[0]
    ((2, 49), 'highest frequency (1/cm)')
    """

    def __init__(self, models: Sequence[Model] = MODELS, disorder: Disorder = "refuse", on_error: OnError = "warn"):
        self.models = models
        self.disorder = disorder
        self.on_error = on_error

    @property
    def columns(self) -> list[str]:
        """Names of the columns, each with its unit."""
        return column_names(self.models)

    def compute(
        self, items: list[Crystal | CrystalInputError], on_error: OnError, report: Report, progress: bool | None = None
    ) -> Iterable[np.ndarray]:
        """Compute the numbers of crystals; see :class:`BulkFeaturizer`."""
        found = iterate_physics(
            items, self.models, disorder=self.disorder, on_error=on_error, report=report, progress=progress
        )
        return (numbers.astype(np.float32) for _, _, numbers, _ in found)

    def assemble(self, n: int, results: list, report: Report) -> np.ndarray:
        """Return one array of all numbers, or an object array of rows if some structures failed or there are none."""
        return np.stack(results) if n and len(results) == n else super().assemble(n, results, report)
