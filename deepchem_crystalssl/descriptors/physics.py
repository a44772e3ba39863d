"""Numbers of model physics as matminer featurizers and scikit-learn transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..crystals.disorder import Disorder
from ..errors import OnError, Report
from ..physics.columns import Model, column_names, model_physics
from ..physics.electron_columns import ELECTRON_COLUMNS
from ..physics.spring_columns import ELASTICITY_COLUMNS, HIGHEST_MODE_COLUMNS, LOCAL_COLUMNS, VIBRATION_COLUMNS
from .batches import BatchFeaturizer
from .embeddings import read_entries

_SPRINGS = (
    "@book{brown2002, title={The Chemical Bond in Inorganic Chemistry}, author={Brown, I. David}, "
    "publisher={Oxford University Press}, year={2002}}"
)
_ELASTICITY = (
    "@book{born1954, title={Dynamical Theory of Crystal Lattices}, author={Born, Max and Huang, Kun}, "
    "publisher={Clarendon Press}, year={1954}}"
)
_HARRISON = (
    "@book{harrison1999, title={Elementary Electronic Structure}, author={Harrison, Walter A.}, "
    "publisher={World Scientific}, year={1999}}"
)
_SLATER_KOSTER = (
    "@article{slater1954, title={Simplified LCAO Method for the Periodic Potential Problem}, author={Slater, J. C. and "
    "Koster, G. F.}, journal={Physical Review}, volume={94}, pages={1498}, year={1954}, doi={10.1103/PhysRev.94.1498}}"
)


class _PhysicsFeaturizer(BatchFeaturizer):
    """A featurizer that shows some columns of :func:`~deepchem_crystalssl.physics.columns.model_physics`."""

    model: ClassVar[Model]
    columns: ClassVar[Sequence[str]]
    sources: ClassVar[Sequence[str]]

    def __init__(self, n_jobs: int = 1, disorder: Disorder = "refuse"):
        self.n_jobs = n_jobs
        self.disorder = disorder

    def feature_labels(self) -> list[str]:
        """Return the names of the columns, each with its unit."""
        return list(self.columns)

    def compute(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        """Return the numbers of structures, float32 (n_good, n_features)."""
        table = model_physics(
            read_entries(entries),
            [self.model],
            disorder=self.disorder,
            on_error=on_error,
            report=report,
            n_threads=self.n_jobs,
            progress=False,
        )
        names = column_names([self.model])
        return table[:, [names.index(name) for name in self.columns]]

    def citations(self) -> list[str]:
        """Return BibTeX entries of the model."""
        return list(self.sources)

    def precheck(self, x: Any) -> bool:
        """Return whether a structure has these numbers."""
        report = Report()
        self.compute([x], "skip", report)
        return not report


class SpringVibrations(_PhysicsFeaturizer):
    """Vibrations of a crystal whose bonds are springs, with force constants from bond valences (Brown 2002).

    Columns: the highest frequency, mean, standard deviation and quantiles of the spectrum on a grid of wave vectors,
    the frequencies of single sites and bonds, in 1/cm, and which sites and bonds carry the highest modes, as means of
    their attributes. Nothing is trained.

    Parameters
    ----------
    n_jobs : int
        Number of threads.
    disorder : {"refuse", "dominant", "average"}
        What to do with partial or mixed occupancy; with ``"average"`` a mixed site has the mean parameters of its
        species.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> vibrations = SpringVibrations()
    >>> vibrations.feature_labels()[0], round(vibrations.featurize(salt)[0])
    ('highest frequency (1/cm)', 255)
    """

    model = "springs"
    columns = (*VIBRATION_COLUMNS, *LOCAL_COLUMNS, *HIGHEST_MODE_COLUMNS)
    sources = (_SPRINGS,)


class SpringElasticity(_PhysicsFeaturizer):
    """Elastic moduli of a crystal whose bonds are springs, without and with internal relaxation (Born and Huang 1954).

    The columns are decadic logarithms, because moduli span orders of magnitude: bulk and shear modulus after Voigt and
    after Reuss, and the smallest eigenvalue of the elastic tensor, in log10 GPa.

    Parameters
    ----------
    n_jobs, disorder
        As in :class:`SpringVibrations`.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> elasticity = SpringElasticity()
    >>> elasticity.feature_labels()[5], round(10 ** elasticity.featurize(salt)[5])
    ('log10 bulk modulus Voigt relaxed (log10 GPa)', 32)
    """

    model = "springs"
    columns = ELASTICITY_COLUMNS
    sources = (_SPRINGS, _ELASTICITY)


class TightBinding(_PhysicsFeaturizer):
    """Electrons of a crystal in tight binding with universal parameters (Harrison 1999).

    Columns: band gap, band edges, their s, p and d shares and the sites that carry them, charges, band and bond energy
    per atom, density of states at the Fermi level. Without self-consistency; f electrons belong to the core.

    Parameters
    ----------
    n_jobs, disorder
        As in :class:`SpringVibrations`.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> electrons = TightBinding()
    >>> electrons.feature_labels()[0], round(electrons.featurize(salt)[0], 1)
    ('band gap (eV)', 5.2)
    """

    model = "electrons"
    columns = ELECTRON_COLUMNS
    sources = (_HARRISON, _SLATER_KOSTER)
