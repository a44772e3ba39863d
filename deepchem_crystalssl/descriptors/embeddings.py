"""matminer descriptors: embeddings as columns of the pipelines people already run."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matminer.featurizers.base import BaseFeaturizer
from pymatgen.core import Structure

from ..crystals.convert import to_crystal
from ..errors import CrystalInputError, OnError, Report, UnsupportedObjectError
from ..crystals.neighbors import iterate_graphs
from ..models.embedding import Space, embed_graphs
from ..models.pretraining import CrystalSSLModel
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.site_attributes import CELL_ATTRIBUTES, SITE_ATTRIBUTES
from ..models.pretrained import DEFAULT, load_pretrained

# matminer forks; a child of a process in which torch has used its threads would wait for them for ever.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

CITATIONS = (
    "@article{suzuki2022, title={Self-supervised learning of materials concepts from crystal structures via deep "
    "neural networks}, author={Suzuki, Yuta and Taniai, Tatsunori and Saito, Kotaro and Ushiku, Yoshitaka and Ono, "
    "Kanta}, "
    "journal={Machine Learning: Science and Technology}, volume={3}, pages={045034}, year={2022}, "
    "doi={10.1088/2632-2153/aca23d}}",
    "@article{kong2024, title={Self-supervised representations and node embedding graph neural networks for accurate "
    "and multi-scale analysis of materials}, author={Kong, Jian-Gang and others}, "
    "journal={Machine Learning: Science and Technology}, volume={5}, pages={035018}, year={2024}, "
    "doi={10.1088/2632-2153/ad612b}}",
    "@article{jain2013, title={Commentary: The Materials Project}, author={Jain, Anubhav and others}, "
    "journal={APL Materials}, volume={1}, pages={011002}, year={2013}, doi={10.1063/1.4812323}}",
)


@lru_cache(maxsize=4)
def _opened(name_or_path: str | Path) -> CrystalSSLModel:
    return load_pretrained(name_or_path)


class _Embedding(BaseFeaturizer):
    """What the descriptors share: a model opened at first use, all entries in a few batches, in this process.

    matminer's own way, one entry at a time in forked workers, would be a hundred times slower, and hang once torch
    has run in the parent.
    """

    pretrained: str | Path | CrystalSSLModel | None
    n_jobs: int = 1  # an attribute over matminer's property: a constructor argument, which sklearn.clone keeps

    @property
    def model(self) -> CrystalSSLModel:
        """The trained model; it is opened once per process and never pickled with the descriptor."""
        if isinstance(self.pretrained, CrystalSSLModel):
            return self.pretrained
        return _opened(DEFAULT if self.pretrained is None else self.pretrained)

    @property
    def model_name(self) -> str:
        """What the labels call the model."""
        if isinstance(self.pretrained, CrystalSSLModel):
            return "model"
        return DEFAULT if self.pretrained is None else Path(self.pretrained).name

    def set_n_jobs(self, n_jobs: int) -> None:
        """Set the number of threads, as matminer's featurizers let one."""
        self.n_jobs = n_jobs

    @abstractmethod
    def _embed(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        """Vectors of the good entries, in order; what is wrong with the others goes to the report."""

    def featurize(self, *x: Any) -> list[float]:
        """The vector of one entry."""
        return self._embed([x if len(x) > 1 else x[0]], "raise", Report())[0].tolist()

    def featurize_many(
        self, entries: Any, ignore_errors: bool = False, return_errors: bool = False, pbar: bool | dict = True
    ) -> list[list]:
        """The vectors of many entries, in batches.

        Parameters
        ----------
        entries : list, tuple, numpy.ndarray, pandas.Series or pandas.DataFrame
            Structures, or tuples of the arguments of :meth:`featurize`.
        ignore_errors : bool
            A bad entry costs itself alone: its row is NaN. Otherwise it raises its typed error.
        return_errors : bool
            A further column says what was wrong, NaN if nothing was.
        pbar : bool
            Part of matminer's signature; a thousand crystals take a second.

        Returns
        -------
        list of list
        """
        if return_errors and not ignore_errors:
            raise ValueError("return_errors: True; errors are returned where they are ignored: set ignore_errors=True")
        rows = _entries(entries)
        vectors, report = self._vectors(rows, "skip" if ignore_errors else "raise")
        features: list[list] = vectors.tolist()
        if return_errors:
            said = {error.index: str(error) for error in report}
            for index, row in enumerate(features):
                row.append(said.get(index, float("nan")))
        return features

    def transform(self, X: Any) -> np.ndarray:
        """Vectors, float32 (n, F), for scikit-learn; the row of a bad entry is NaN, and the log says why."""
        return self._vectors(_entries(X), "skip")[0]

    def _vectors(self, entries: list, on_error: OnError) -> tuple[np.ndarray, Report]:
        report = Report()
        found: Any = self._embed(entries, on_error, report) if entries else []
        vectors = np.full((len(entries), len(self.feature_labels())), np.nan, np.float32)
        left_out = {error.index for error in report}
        if len(found):
            vectors[[k for k in range(len(entries)) if k not in left_out]] = found
        return vectors, report

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The labels, for ``set_output(transform="pandas")``."""
        return np.array(self.feature_labels(), object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        tags.no_validation = True
        return tags

    def citations(self) -> list[str]:
        """Both methods, and the structures the models were trained on."""
        return list(CITATIONS)

    def implementors(self) -> list[str]:
        """Who wrote it."""
        return ["the deepchem_crystalssl developers"]


class CrystalEmbedding(_Embedding):
    """Vectors of crystals from a pretrained model, as a matminer structure featurizer and scikit-learn transformer.

    Parameters
    ----------
    pretrained : str, Path or CrystalSSLModel, optional
        Shipped name, folder, or model; by default ``"general"``.
    layers : sequence of int, optional
        Layers whose mean and standard deviation over the sites are joined instead; 0 is the element.
    n_jobs : int
        Threads of the search for neighbours.
    space : {"descriptor", "shared", "pattern", "similarity"}
        What the vectors are for; see :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>`. The
        descriptor is already scaled, for kernels of Manhattan distances and for forests.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> embedding = CrystalEmbedding("small")
    >>> len(embedding.featurize(salt)), embedding.feature_labels()[0]
    (365, 'small mean electronegativity')
    """

    def __init__(
        self,
        pretrained: str | Path | CrystalSSLModel | None = None,
        layers: Sequence[int] | None = None,
        n_jobs: int = 1,
        space: Space = "descriptor",
    ):
        self.pretrained = pretrained
        self.layers = layers
        self.n_jobs = n_jobs
        self.space = space

    def precheck(self, x: Any) -> bool:
        """Whether a structure can be embedded."""
        report = Report()
        return bool(list(iterate_graphs([_read(x, 0)], on_error="skip", report=report, progress=False)))

    def feature_labels(self) -> list[str]:
        """Model, layer or attribute, and number of every column."""
        encoder, name = self.model.crystal_encoder, self.model_name
        if self.layers is not None:
            statistics = [f"layer {k} {how}" for k in self.layers for how in ("mean", "deviation")]
            return _numbered(name, statistics, encoder.width)
        shared = _numbered(name, [self.space if self.space == "pattern" else "shared"], encoder.embedding_size)
        if self.space in ("shared", "pattern"):
            return shared
        readout = _readout_labels(encoder, name)
        return readout if self.space == "descriptor" else readout + shared

    def _embed(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        records = [_read(entry, k) for k, entry in enumerate(entries)]
        options: dict[str, Any] = {"on_error": on_error, "report": report, "n_threads": self.n_jobs, "progress": False}
        space: Space = "shared" if self.layers is not None else self.space
        return self.model.embed(records, layers=self.layers, space=space, **options)


class SiteEmbedding(_Embedding):
    """Vectors of sites from a pretrained model, as a matminer site featurizer.

    ``SiteStatsFingerprint`` and its kin accept it. All sites of a structure are embedded at once, when the first is
    asked for.

    Parameters
    ----------
    pretrained : str, Path or CrystalSSLModel, optional
        Shipped name, folder, or model; by default ``"general"``.
    layers : sequence of int, optional
        Layers that are joined, 0 is the element; by default the descriptor: attributes, then all layers.
    n_jobs : int
        Threads of the search for neighbours.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> embedding = SiteEmbedding("small", layers=[0, 1])
    >>> len(embedding.featurize(salt, 0)), embedding.feature_labels()[-1]
    (96, 'small layer 1 #47')
    """

    _last: tuple[tuple, np.ndarray] | None = None

    def __init__(
        self,
        pretrained: str | Path | CrystalSSLModel | None = None,
        layers: Sequence[int] | None = None,
        n_jobs: int = 1,
    ):
        self.pretrained = pretrained
        self.layers = layers
        self.n_jobs = n_jobs

    def featurize(self, struct: Structure, idx: int) -> list[float]:
        """The vector of one site."""
        contents = (struct.lattice.matrix.tobytes(), struct.frac_coords.tobytes(), tuple(struct.species_and_occu))
        if self._last is None or self._last[0] != contents:
            self._last = (contents, self._sites([struct], "raise", Report())[0])
        return self._last[1][idx].tolist()

    def feature_labels(self) -> list[str]:
        """Model, layer or attribute, and number of every column."""
        encoder, name = self.model.crystal_encoder, self.model_name
        if self.layers is not None:
            return _numbered(name, [f"layer {k}" for k in self.layers], encoder.width)
        known = encoder.site_size - encoder.width * (len(encoder.convolutions) + 1)
        layers = [f"layer {k}" for k in range(len(encoder.convolutions) + 1)]
        return [f"{name} {attribute}" for attribute in SITE_ATTRIBUTES[:known]] + _numbered(name, layers, encoder.width)

    def _embed(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        """Entries are (structure, index); a structure many of them name is embedded once."""
        structures = {id(structure): structure for structure, _ in entries}
        bad = Report()
        vectors = iter(self._sites(list(structures.values()), on_error, bad))
        wrong = {error.index: error for error in bad}
        sites = {key: None if k in wrong else next(vectors) for k, key in enumerate(structures)}
        places = {key: k for k, key in enumerate(structures)}
        rows = []
        for k, (structure, index) in enumerate(entries):
            own = sites[id(structure)]
            if own is None:
                error = wrong[places[id(structure)]]
                report.handle(type(error)(error.item, error.value, error.rule, error.remedy), on_error, k)
            elif not -len(own) <= index < len(own):
                report.handle(_no_such_site(index, len(own)), on_error, k)
            else:
                rows.append(own[index])
        return np.array(rows, np.float32)

    def _sites(self, structures: list, on_error: OnError, report: Report) -> list[np.ndarray]:
        """(N, F) of each good structure."""
        model, records = self.model, [_read(entry, k) for k, entry in enumerate(structures)]
        graphs = list(iterate_graphs(records, on_error=on_error, report=report, n_threads=self.n_jobs, progress=False))
        space: Space = "shared" if self.layers is not None else "descriptor"
        vectors = embed_graphs(model.crystal_encoder, graphs, "site", self.layers, model.engine, model.device, space)
        return np.split(vectors, np.cumsum([graph.num_nodes for graph in graphs])[:-1]) if graphs else []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_last": None}


class XRDEmbedding(_Embedding):
    """Vectors of powder patterns: measured ones, or those expected of structures; both meet in one space.

    Parameters
    ----------
    pretrained : str, Path or CrystalSSLModel, optional
        Shipped name, folder, or model; by default ``"general"``.
    n_jobs : int
        Threads of the search for neighbours.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from deepchem_crystalssl import simulate_xrd
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> embedding = XRDEmbedding("small")
    >>> expected, seen = np.array(embedding.featurize_many([salt, simulate_xrd(salt)]))
    >>> bool(expected @ seen > 0.9)
    True
    """

    def __init__(self, pretrained: str | Path | CrystalSSLModel | None = None, n_jobs: int = 1):
        self.pretrained = pretrained
        self.n_jobs = n_jobs

    def feature_labels(self) -> list[str]:
        """Model, and number of every column."""
        return _numbered(self.model_name, ["pattern"], self.model.crystal_encoder.embedding_size)

    def _embed(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        """Entries are structures, or patterns (n_bins,) on the model's grid."""
        model = self.model
        measured = {k: np.ravel(e) for k, e in enumerate(entries) if isinstance(e, np.ndarray)}
        vectors = (
            dict(zip(measured, model.embed_xrd(np.array(list(measured.values()))), strict=True)) if measured else {}
        )
        others = [k for k in range(len(entries)) if k not in vectors]
        found = Report()
        records = [_read(entries[k], k) for k in others]
        options: dict[str, Any] = {"on_error": on_error, "report": found, "n_threads": self.n_jobs, "progress": False}
        expected = iter(model.embed(records, space="pattern", **options))
        wrong = {error.index: error for error in found}
        for position, k in enumerate(others):
            if position in wrong:
                report.handle(wrong[position], on_error, k)
            else:
                vectors[k] = next(expected)
        return np.array([vectors[k] for k in sorted(vectors)], np.float32)


def _entries(entries: Any) -> list:
    """One entry per row, whatever they came in: tuples of one argument, as matminer makes them, are taken apart."""
    if isinstance(entries, pd.DataFrame):
        entries = entries.to_numpy()
    if not isinstance(entries, (list, tuple, np.ndarray, pd.Series)):
        raise UnsupportedObjectError(
            "entries", type(entries).__name__, "entries are a list, an array, a Series or a DataFrame", "Make a list."
        )
    return [_alone(entry) for entry in entries]


def _alone(entry: Any) -> Any:
    bundled = isinstance(entry, (tuple, list)) or (isinstance(entry, np.ndarray) and entry.dtype == object)
    return entry[0] if bundled and len(entry) == 1 else entry


def _read(entry: Any, index: int) -> Any:
    """The crystal of an entry, or what is wrong with it."""
    try:
        return to_crystal(entry, f"entry {index}")
    except CrystalInputError as error:
        return error


def _no_such_site(index: int, n_sites: int) -> CrystalInputError:
    return UnsupportedObjectError(
        f"site {index}", f"{n_sites} sites", "an index counts the structure's sites from 0", "Give one of them."
    )


def _numbered(name: str, blocks: Sequence[str], width: int) -> list[str]:
    return [f"{name} {block} #{k}" for block in blocks for k in range(width)]


def _readout_labels(encoder: CrystalEncoder, name: str) -> list[str]:
    """Of the readout over sites."""
    known = []
    if encoder.attributes is not None:
        how = ("mean", "deviation", "least", "greatest")
        known = [f"{name} {statistic} {attribute}" for statistic in how for attribute in SITE_ATTRIBUTES]
        known += [f"{name} {attribute}" for attribute in CELL_ATTRIBUTES]
    n_learned = encoder.pooled_size - len(known)
    if encoder.readout == "means":
        return known + _numbered(name, [f"layer {k} mean" for k in range(n_learned // encoder.width)], encoder.width)
    return known + _numbered(name, ["readout"], n_learned)
