"""DeepChem featurizers: thin shells over :mod:`deepchem_crystalssl.crystals`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
from deepchem.feat import MaterialStructureFeaturizer

from ..crystals.convert import is_one, to_crystal
from ..crystals.disorder import Disorder
from ..errors import CrystalInputError, OnError, Report, UnsupportedObjectError
from ..crystals.records import Crystal, CrystalGraph
from ..crystals.reading import read_structures
from ..crystals.neighbors import CUTOFF, MAX_NEIGHBORS, IsolatedAtoms, iterate_graphs
from ..diffraction.simulation import iterate_patterns
from ..diffraction.grid import Profile, XRDGrid


class _BulkFeaturizer(MaterialStructureFeaturizer):
    """What both featurizers share: one result per datapoint, whatever the datapoints are.

    A failed datapoint becomes ``np.array([])``, which DeepChem's loaders drop together with its label, and
    ``report`` names it; the base class would lose the batch, or the reason.
    """

    on_error: OnError
    report: Report

    def featurize(self, datapoints: Any = None, log_every_n: int = 1000, **kwargs: Any) -> np.ndarray:
        """Featurize crystals.

        Parameters
        ----------
        datapoints
            pymatgen ``Structure`` objects or their dicts, ASE ``Atoms``, paths of files; one of them or an
            iterable of them.
        log_every_n : int
            Part of DeepChem's signature; progress is shown by a bar instead.

        Returns
        -------
        numpy.ndarray
            One entry per datapoint, in order. The typed errors of those that failed are in ``self.report``.
        """
        points = [datapoints] if is_one(datapoints) else list(datapoints)
        self.report = Report()
        items = [read_one(point, f"datapoint {index}") for index, point in enumerate(points)]
        results = list(self._compute(items))
        self.report.log()
        failed = {error.index for error in self.report}
        kept = (index for index in range(len(points)) if index not in failed)
        return self._assemble(len(points), dict(zip(kept, results, strict=True)))

    def _featurize(self, datapoint: Any, **kwargs: Any) -> Any:
        return self.featurize([datapoint])[0]

    @abstractmethod
    def _compute(self, items: list[Crystal | CrystalInputError]) -> Iterable[Any]:
        """The features of the good items, in order; errors go to ``self.report``."""

    def _assemble(self, n: int, results: dict[int, Any]) -> np.ndarray:
        features = np.empty(n, object)  # np.asarray would look inside the records, or fail on a ragged list
        for index in range(n):
            features[index] = results.get(index, np.array([]))
        return features


def read_one(point: Any, name: str) -> Crystal | CrystalInputError:
    """One crystal of one datapoint; a loader may wrap it in a tuple."""
    if isinstance(point, tuple) and len(point) == 1:
        point = point[0]
    try:
        if not isinstance(point, str) and not hasattr(point, "__fspath__"):
            return to_crystal(point, name)
        crystals = list(read_structures(point, progress=False))
        if len(crystals) != 1:
            raise UnsupportedObjectError(
                name,
                f"{len(crystals)} crystals in {point}",
                "a datapoint is one crystal",
                "Read the file with read_structures and pass the crystals.",
            )
        return crystals[0]
    except CrystalInputError as error:
        return error


class CrystalGraphFeaturizer(_BulkFeaturizer):
    """Crystal graphs of nearest shells, for DeepChem datasets and models.

    The graph keeps the nearest shells of neighbours around each atom, whole, and so does not depend on the cell,
    origin, orientation or atom order the crystal is written in. It serves ``dc.models.CGCNNModel`` (92 node and 41
    edge features) and every model of this package.

    Parameters
    ----------
    cutoff : float
        Largest distance of a neighbour, Å.
    max_neighbors : int
        Whole shells are kept until they hold this many neighbours.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy.
    isolated_atoms : {"raise", "keep"}
        Whether an atom without neighbour within the cutoff is an error.
    on_error : {"warn", "skip", "raise"}
        What a bad structure does; with "warn" and "skip" its entry is an empty array, which DeepChem's loaders drop.

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
        isolated_atoms: IsolatedAtoms = "raise",
        on_error: OnError = "warn",
    ):
        self.cutoff = cutoff
        self.max_neighbors = max_neighbors
        self.disorder = disorder
        self.isolated_atoms = isolated_atoms
        self.on_error = on_error

    def _compute(self, items: list[Crystal | CrystalInputError]) -> Iterable[CrystalGraph]:
        return iterate_graphs(
            items,
            self.cutoff,
            self.max_neighbors,
            disorder=self.disorder,
            isolated_atoms=self.isolated_atoms,
            on_error=self.on_error,
            report=self.report,
        )


class XRDFeaturizer(_BulkFeaturizer):
    """Simulated powder patterns, (n, n_bins), for DeepChem datasets and models.

    If every structure is good the result is one float32 matrix. If some failed it is an object array of rows, with
    ``np.array([])`` for those, which ``JsonLoader`` and its kin drop; ``InMemoryLoader`` cannot, so use
    ``on_error="raise"`` with it.

    Parameters
    ----------
    two_theta_min, two_theta_max, n_bins, wavelength, profile, fwhm, mixing
        As in :class:`~deepchem_crystalssl.XRDGrid`.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy.
    on_error : {"warn", "skip", "raise"}
        What a bad structure does.

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
        """The grid the patterns are drawn on."""
        return XRDGrid(
            self.two_theta_min, self.two_theta_max, self.n_bins, self.wavelength, self.profile, self.fwhm, self.mixing
        )

    def _compute(self, items: list[Crystal | CrystalInputError]) -> Iterable[np.ndarray]:
        patterns = iterate_patterns(
            items, self.grid, disorder=self.disorder, on_error=self.on_error, report=self.report
        )
        return (pattern for _, pattern in patterns)

    def _assemble(self, n: int, results: dict[int, np.ndarray]) -> np.ndarray:
        if n and len(results) == n:
            return np.stack([results[index] for index in range(n)])
        return super()._assemble(n, results)
