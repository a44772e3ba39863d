"""Embeddings of pretrained models as matminer featurizers and scikit-learn transformers."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure

from ..crystals.disorder import Disorder, kept_sites, resolve_disorder
from ..crystals.neighbors import IsolatedAtoms
from ..crystals.records import Crystal
from ..data.featurizers import read_one
from ..diffraction.grid import PowderPatterns, XRDGrid, check_intensities, on_grid
from ..errors import CrystalInputError, GridError, OnError, Report
from ..models.embedding import Space
from ..models.model_physics import PHYSICS_BLOCKS, descriptor_blocks, weighed_physics, without
from ..models.pretrained import DEFAULT, load_encoder
from ..models.pretraining import CrystalSSLModel
from ..physics.columns import column_names
from .batches import BatchFeaturizer
from .columns import chosen_layers, crystal_labels, pattern_labels, site_labels
from .sites import pair_of, surroundings_labels, vector_of_site, with_surroundings

# matminer forks worker processes. A child of a process in which torch has used its threads would wait for them forever.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@lru_cache(maxsize=4)
def _opened(name_or_path: str | Path, place: Path, changed: int) -> CrystalSSLModel:
    """Return a model, opened once per process as long as its folder does not change."""
    return load_encoder(name_or_path)


def _open(name_or_path: str | Path) -> CrystalSSLModel:
    place = Path(os.path.realpath(name_or_path))
    files = place.iterdir() if place.is_dir() else ()
    return _opened(name_or_path, place, max((file.stat().st_mtime_ns for file in files), default=0))


class PretrainedFeaturizer(BatchFeaturizer):
    """A featurizer whose vectors come from a pretrained model, which is opened when it is first needed."""

    pretrained: str | Path | CrystalSSLModel | None

    @property
    def model(self) -> CrystalSSLModel:
        """The model. One given by name or folder is opened once per process and not pickled with the featurizer."""
        named = DEFAULT if self.pretrained is None else self.pretrained
        return _open(named) if isinstance(named, str | Path) else load_encoder(named)

    @property
    def model_name(self) -> str:
        """The name of the model in the labels of the columns."""
        if isinstance(self.pretrained, CrystalSSLModel):
            return "model"
        return DEFAULT if self.pretrained is None else Path(self.pretrained).name


class CrystalEmbedding(PretrainedFeaturizer):
    """Vectors of crystals from a pretrained model: a matminer structure featurizer and scikit-learn transformer.

    Parameters
    ----------
    pretrained : str, Path or CrystalSSLModel, optional
        Name of a shipped model, folder of a trained one, or the model itself; by default ``"general"``.
    layers : sequence of int, optional
        Use the mean and standard deviation over the sites of these layers; 0 is the embedding of the element. By
        default the vector is the one named by ``space``.
    n_jobs : int
        Number of threads for the neighbour search.
    space : {"descriptor", "shared", "pattern", "similarity"}
        Which vector of a crystal is used; see
        :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>`. The default, the descriptor, is
        already scaled for kernels of Manhattan distances and for forests.
    disorder : {"refuse", "dominant", "average"}
        What to do with sites that are partially occupied or shared by several species: raise a
        :class:`~deepchem_crystalssl.errors.DisorderError`, keep the majority species, or average over the species.
    isolated_atoms : {"keep", "raise"}
        Whether an atom without a neighbour within the cutoff is kept without edges or raises an error.
    physics : bool
        Whether the numbers of springs and tight binding follow, standardised and three times as heavy as an attribute.
        They help most where labels are few, and take some 10 ms a crystal. Give :attr:`blocks` to
        :class:`~deepchem_crystalssl.LaplacianRidgeCV`, which chooses how much each block weighs.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> embedding = CrystalEmbedding("small")
    >>> len(embedding.featurize(salt)), embedding.feature_labels()[0]
    (454, 'small mean electronegativity')
    """

    def __init__(
        self,
        pretrained: str | Path | CrystalSSLModel | None = None,
        layers: Sequence[int] | None = None,
        n_jobs: int = 1,
        space: Space = "descriptor",
        disorder: Disorder = "refuse",
        isolated_atoms: IsolatedAtoms = "keep",
        physics: bool = False,
    ):
        self.pretrained = pretrained
        self.layers = layers
        self.n_jobs = n_jobs
        self.space = space
        self.disorder = disorder
        self.isolated_atoms = isolated_atoms
        self.physics = physics

    @property
    def blocks(self) -> list[str]:
        """The block that each column belongs to: attributes, learned, what is predicted, and those of physics."""
        encoder = self.model.descriptor_encoder
        if self.space == "descriptor" and self.layers is None:
            return descriptor_blocks(encoder, self.physics)
        labels = crystal_labels(self.model, self.model_name, chosen_layers(encoder, self.layers), self.space)
        n_attributes = 0 if encoder.attributes is None or "#" in labels[0] else encoder.attributes.size
        own = ["attributes"] * n_attributes + ["learned"] * (len(labels) - n_attributes)
        return own + list(PHYSICS_BLOCKS) * self.physics

    def precheck(self, x: Any) -> bool:
        """Return whether a structure can be embedded."""
        report = Report()
        self.compute([x], "skip", report)
        return not report

    def feature_labels(self) -> list[str]:
        """Return one name per column: the model, the attribute or layer, and the number of the column within it."""
        encoder = self.model.descriptor_encoder
        labels = crystal_labels(self.model, self.model_name, chosen_layers(encoder, self.layers), self.space)
        return labels + column_names() * self.physics

    def compute(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        """Return the vectors of structures, float32 (n_good, n_features)."""
        crystals = read_entries(entries)
        numbers = weighed_physics(crystals, "crystal", self.disorder, self.n_jobs) if self.physics else []
        vectors = self.model.embed(
            crystals,
            layers=chosen_layers(self.model.descriptor_encoder, self.layers),
            space="shared" if self.layers is not None and self.space == "descriptor" else self.space,
            disorder=self.disorder,
            isolated_atoms=self.isolated_atoms,
            on_error=on_error,
            report=report,
            n_threads=self.n_jobs,
            progress=False,
        )
        return np.hstack([vectors, *without(report.indices, numbers)])


class SiteEmbedding(PretrainedFeaturizer):
    """Vectors of sites from a pretrained model, as a matminer site featurizer.

    ``SiteStatsFingerprint`` and matminer's other users of site featurizers accept it. All sites of a structure are
    embedded together when the first of them is asked for.

    Parameters
    ----------
    pretrained : str, Path or CrystalSSLModel, optional
        Name of a shipped model, folder of a trained one, or the model itself; by default ``"general"``.
    layers : sequence of int, optional
        Layers whose vectors are joined; 0 is the embedding of the element. By default the descriptor of the site: its
        attributes followed by all layers.
    n_jobs : int
        Number of threads for the neighbour search.
    disorder : {"refuse", "dominant", "average"}
        What to do with sites that are partially occupied or shared by several species, as in
        :class:`CrystalEmbedding`. With ``"dominant"`` a site that is less than half full is left out of the crystal
        and has no vector.
    isolated_atoms : {"keep", "raise"}
        Whether an atom without a neighbour within the cutoff is kept without edges or raises an error.
    physics : bool
        Whether the numbers of springs and tight binding of each site follow, as in :class:`CrystalEmbedding`.
    surroundings : bool
        Whether the mean of each column over all sites of the crystal and the fraction of each element follow. They help
        forests with labels that also depend on what the crystal is made of, such as magnetic moments.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> embedding = SiteEmbedding("small", layers=[0, 1])
    >>> len(embedding.featurize(salt, 0)), embedding.feature_labels()[-1]
    (96, 'small layer 1 #47')
    """

    _last: tuple[tuple, np.ndarray] | None = None  # the sites of one structure; matminer asks for them one by one

    def __init__(
        self,
        pretrained: str | Path | CrystalSSLModel | None = None,
        layers: Sequence[int] | None = None,
        n_jobs: int = 1,
        disorder: Disorder = "refuse",
        isolated_atoms: IsolatedAtoms = "keep",
        physics: bool = False,
        surroundings: bool = False,
    ):
        self.pretrained = pretrained
        self.layers = layers
        self.n_jobs = n_jobs
        self.disorder = disorder
        self.isolated_atoms = isolated_atoms
        self.physics = physics
        self.surroundings = surroundings

    def featurize(self, struct: Any, idx: int) -> list[float]:
        """Return the vector of the site with index ``idx``.

        Parameters
        ----------
        struct : pymatgen Structure or its dict, ASE Atoms, Crystal or path
        idx : int
            As in Python, a negative one counts from the end.

        Raises
        ------
        CrystalInputError
            If there is no such structure or no such site, or it cannot be embedded.
        """
        key = (*_contents(struct), *map(str, self.get_params().items()))
        if self._last is None or self._last[0] != key:
            self._last = (key, self._embed_sites([struct], "raise", Report())[0])
        return vector_of_site(self._last[1], idx).tolist()

    def feature_labels(self) -> list[str]:
        """Return one name per column: the model, the attribute or layer, and the number of the column within it."""
        encoder = self.model.descriptor_encoder
        labels = site_labels(self.model, self.model_name, chosen_layers(encoder, self.layers))
        labels += column_names(level="site") * self.physics
        return labels + surroundings_labels(labels) if self.surroundings else labels

    def compute(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        """Return the vectors of (structure, site index) pairs, float32 (n_good, n_features)."""
        pairs = [pair_of(entry, k) for k, entry in enumerate(entries)]
        structures = {id(pair[0]): pair[0] for pair in pairs if isinstance(pair, tuple)}
        found = Report()
        vectors = iter(self._embed_sites(list(structures.values()), "skip", found))
        bad = {error.index: error for error in found}
        of_structure = {key: bad[k] if k in bad else next(vectors) for k, key in enumerate(structures)}
        bad_structures = {key for k, key in enumerate(structures) if k in bad}
        rows, own = [], Report()  # the model logs what is wrong with structures, but not what is wrong with pairs
        for k, pair in enumerate(pairs):
            try:
                if isinstance(pair, CrystalInputError):
                    raise pair
                sites = of_structure[id(pair[0])]
                if isinstance(sites, CrystalInputError):  # one structure may belong to many entries: copy its error
                    raise type(sites)(f"entry {k}", sites.value, sites.rule, sites.remedy)
                rows.append(vector_of_site(sites, pair[1]))
            except CrystalInputError as error:
                report.handle(error, on_error, k)
                if not isinstance(pair, tuple) or id(pair[0]) not in bad_structures:
                    own.append(error)
        own.log()
        return np.array(rows, np.float32).reshape(-1, len(self.feature_labels()))

    def _embed_sites(self, structures: list, on_error: OnError, report: Report) -> list[np.ndarray]:
        """Return (N, F) for each structure that could be embedded; the rows of sites that were left out are NaN."""
        crystals = [_resolved(crystal, self.disorder) for crystal in read_entries(structures)]
        ordered = [crystal[0] if isinstance(crystal, tuple) else crystal for crystal in crystals]
        numbers = weighed_physics(ordered, "site", self.disorder, self.n_jobs) if self.physics else []
        vectors = self.model.embed(
            ordered,
            "site",
            chosen_layers(self.model.descriptor_encoder, self.layers),
            space="descriptor" if self.layers is None else "shared",
            disorder=self.disorder,
            isolated_atoms=self.isolated_atoms,
            on_error=on_error,
            report=report,
            n_threads=self.n_jobs,
            progress=False,
        )
        vectors = np.hstack([vectors, *without(report.indices, numbers)])
        left_out, result, first = set(report.indices), [], 0
        for k, crystal in enumerate(crystals):
            if k not in left_out and isinstance(crystal, tuple):
                kept = crystal[1]
                own = vectors[first : first + kept.sum()]
                own = with_surroundings(own, crystal[0]) if self.surroundings else own
                sites = np.full((len(kept), own.shape[1]), np.nan, np.float32)
                sites[kept] = own
                first += kept.sum()
                result.append(sites)
        return result

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_last": None}


class XRDEmbedding(PretrainedFeaturizer):
    """Vectors of powder patterns: of measured patterns, or of those expected of structures, in one space.

    Parameters
    ----------
    pretrained : str, Path or CrystalSSLModel, optional
        Name of a shipped model, folder of a trained one, or the model itself; by default ``"general"``.
    n_jobs : int
        Number of threads for the simulation of patterns.
    disorder : {"refuse", "dominant", "average"}
        What to do with sites that are partially occupied or shared by several species, as in
        :class:`CrystalEmbedding`.
    grid : XRDGrid, optional
        The grid of patterns that are plain arrays. Patterns that :func:`~deepchem_crystalssl.simulate_xrd` or
        :func:`~deepchem_crystalssl.prepare_measured_pattern` returned state their grid themselves. The grid must be
        that of the model, ``embedding.model.xrd_grid``; without it, plain arrays are taken with a warning.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from deepchem_crystalssl import simulate_xrd
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> embedding = XRDEmbedding("small")
    >>> expected, measured = np.array(embedding.featurize_many([salt, simulate_xrd(salt)]))
    >>> bool(expected @ measured > 0.9)
    True
    """

    def __init__(
        self,
        pretrained: str | Path | CrystalSSLModel | None = None,
        n_jobs: int = 1,
        disorder: Disorder = "refuse",
        grid: XRDGrid | None = None,
    ):
        self.pretrained = pretrained
        self.n_jobs = n_jobs
        self.disorder = disorder
        self.grid = grid

    def feature_labels(self) -> list[str]:
        """Return one name per column: the model and the number of the column."""
        return pattern_labels(self.model, self.model_name)

    def compute(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        """Return the vectors of structures and of patterns (n_bins,), float32 (n_good, n_features)."""
        vectors: dict[int, np.ndarray] = {}
        errors: dict[int, CrystalInputError] = {}
        patterns = {}
        for k, entry in enumerate(entries):
            if isinstance(entry, np.ndarray):
                try:
                    patterns[k] = self._checked(entry, k)
                except CrystalInputError as error:
                    errors[k] = error
        if on_error != "raise":
            Report(errors.values()).log()  # the model logs what is wrong with the structures
        if patterns:
            checked = PowderPatterns(np.array(list(patterns.values())), self.model.xrd_grid)
            vectors = dict(zip(patterns, self.model.embed_xrd(checked, progress=False), strict=True))
        others = [k for k, entry in enumerate(entries) if not isinstance(entry, np.ndarray)]
        found = Report()
        expected = self.model.embed(
            [read_one(entries[k], f"entry {k}") for k in others],
            space="pattern",
            disorder=self.disorder,
            on_error="skip",
            report=found,
            n_threads=self.n_jobs,
            progress=False,
        )
        errors.update({others[error.index]: error for error in found if error.index is not None})
        vectors.update(zip((k for k in others if k not in errors), expected, strict=True))
        for k in sorted(errors):
            report.handle(errors[k], on_error, k)
        return np.array([vectors[k] for k in sorted(vectors)], np.float32).reshape(-1, expected.shape[1])

    def _checked(self, pattern: np.ndarray, k: int) -> np.ndarray:
        """Return one pattern (n_bins,) after a check that it lies on the model's grid and holds intensities."""
        try:
            if self.grid is not None and getattr(pattern, "grid", None) is None:
                pattern = PowderPatterns(pattern, self.grid)
            intensities = on_grid(np.ravel(pattern), self.model.xrd_grid)
        except GridError as error:
            raise GridError(f"entry {k}", error.value, error.rule, error.remedy) from error
        check_intensities(intensities, f"entry {k}")
        return intensities


def read_entries(entries: Iterable[Any]) -> list[Crystal | CrystalInputError]:
    """Return the crystal of each entry, or the error that says why there is none."""
    return [read_one(entry, f"entry {k}") for k, entry in enumerate(entries)]


def _contents(structure: Any) -> tuple:
    """Return what tells one structure from another."""
    if isinstance(structure, Structure):
        return structure.lattice.matrix.tobytes(), structure.frac_coords.tobytes(), tuple(structure.species_and_occu)
    crystal = read_one(structure, "structure")
    if isinstance(crystal, CrystalInputError):
        raise crystal
    return (pickle.dumps(crystal),)


def _resolved(
    crystal: Crystal | CrystalInputError, disorder: Disorder
) -> tuple[Crystal, np.ndarray] | CrystalInputError:
    """Return the crystal after the policy for disorder, and which of its sites were kept, bool (N,)."""
    if isinstance(crystal, CrystalInputError):
        return crystal
    try:
        return resolve_disorder(crystal, disorder), kept_sites(crystal, disorder)
    except CrystalInputError as error:
        return error
