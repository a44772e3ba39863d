"""DeepChem models: thin shells over :mod:`deepchem_crystalssl.nn` and :mod:`deepchem_crystalssl.pretext`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.torch_models.modular import ModularTorchModel
from torch import Tensor, nn
from tqdm import tqdm

from .crystals.disorder import Disorder
from .crystals.errors import GridError, OnError, Report
from .crystals.graph import CrystalGraph
from .crystals.neighbors import iterate_graphs
from .crystals.xrd import simulate_xrd
from .crystals.xrd_grid import XRDGrid
from .nn.crystal_encoder import CrystalEncoder
from .nn.message_passing import Engine, GraphBatch
from .nn.xrd_encoder import XRDEncoder
from .pretext.objectives import PRESETS, Objective

_SITES_PER_BATCH = 20_000  # when embedding: bounds memory, whatever the cells are
_SAME_PATTERN = 1.0 - 1e-6  # cosine from which two clean patterns are one crystal's


class CrystalSSLModel(ModularTorchModel):
    """Self-supervised pretraining on crystals and their powder patterns, as a DeepChem model.

    Two encoders look at each crystal: one at its graph, one at its powder pattern, simulated per batch from the
    record. The pretext objectives train them without labels; labels and weights of a dataset are ignored.

    Parameters
    ----------
    objectives : str or sequence of Objective
        A preset (``"suzuki2022"``), or the objectives themselves; their losses are added.
    width, n_layers : int
        Size of a site vector, and number of convolutions.
    embedding_size : int
        Size of the crystal's and the pattern's vector.
    xrd_channels : int
        Width of the pattern encoder.
    grid : XRDGrid
        How patterns are drawn.
    engine : {"auto", "dgl", "torch", "fused"}
        Who does the message passing.
    seed : int
        Of the initial weights and of all draws of the objectives.
    **kwargs
        DeepChem's: ``batch_size``, ``learning_rate``, ``model_dir``, ``device``, ``log_frequency``, ...

    Examples
    --------
    >>> import deepchem as dc
    >>> from deepchem_crystalssl import CrystalGraphFeaturizer
    >>> from pymatgen.core import Lattice, Structure
    >>> crystals = [
    ...     Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [metal, "O"], [[0, 0, 0], [.5, .5, .5]])
    ...     for metal, a in [("Mg", 4.21), ("Ca", 4.81), ("Mn", 4.44), ("Ni", 4.18)]
    ... ]
    >>> dataset = dc.data.NumpyDataset(CrystalGraphFeaturizer().featurize(crystals))
    >>> model = CrystalSSLModel(width=16, xrd_channels=8, batch_size=4)
    >>> loss = model.fit(dataset, nb_epoch=2)
    >>> model.embed(crystals).shape
    (4, 128)
    """

    def __init__(
        self,
        objectives: str | Sequence[Objective] = "suzuki2022",
        *,
        width: int = 64,
        n_layers: int = 3,
        embedding_size: int = 128,
        xrd_channels: int = 80,
        grid: XRDGrid = XRDGrid(),
        engine: Engine = "auto",
        seed: int = 0,
        **kwargs: Any,
    ):
        self.objectives = resolve_objectives(objectives)
        self.xrd_grid = grid.check()
        self.engine: Engine = engine
        self._sizes = dict(width=width, n_layers=n_layers, embedding_size=embedding_size, xrd_channels=xrd_channels)
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            components = self.build_components()
        self.components = components
        super().__init__(self.build_model(), components, **kwargs)

    def build_components(self) -> dict[str, nn.Module]:
        """The two encoders, by the names under which they can be transferred and frozen."""
        size = self._sizes
        return {
            "crystal_encoder": CrystalEncoder(size["width"], size["n_layers"], embedding_size=size["embedding_size"]),
            "xrd_encoder": XRDEncoder(
                self.xrd_grid.n_bins, size["xrd_channels"], embedding_size=size["embedding_size"]
            ),
        }

    def build_model(self) -> nn.Module:
        """The components as one module."""
        return nn.ModuleDict(self.components)

    def default_generator(
        self,
        dataset: Dataset,
        epochs: int = 1,
        mode: str = "fit",
        deterministic: bool = True,
        pad_batches: bool = False,
    ) -> Iterator[tuple[list, list, list]]:
        """Batches without padding: a repeated crystal would be its own negative. A last batch of one is left out."""
        for _ in range(epochs):
            for X, _, _, _ in dataset.iterbatches(self.batch_size, deterministic=deterministic, pad_batches=False):
                if mode != "fit" or len(X) > 1:
                    yield [X], [], []

    def _prepare_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, list, list]:
        graphs = list(batch[0][0])
        patterns = torch.from_numpy(simulate_xrd(graphs, self.xrd_grid, disorder="average", progress=False))
        return (GraphBatch.from_graphs(graphs, self.engine).to(self.device), patterns.to(self.device)), [], []

    def loss_func(self, inputs: Any, labels: Any, weights: Any) -> Tensor:
        """Sum of the objectives' losses; labels and weights play no part."""
        graphs, patterns = inputs
        directions = nn.functional.normalize(patterns, dim=1)
        views = {
            "crystal": self.components["crystal_encoder"](graphs),
            "xrd": self.components["xrd_encoder"](patterns),
            "same": directions @ directions.T > _SAME_PATTERN,
        }
        views["same"].fill_diagonal_(True)
        return torch.stack([objective(views, self._generator) for objective in self.objectives]).sum()

    def fit_generator(self, *args: Any, **kwargs: Any) -> float:
        """DeepChem's training loop."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True")  # DeepChem logs that way
            return super().fit_generator(*args, **kwargs)

    def embed(
        self,
        structures: Any,
        *,
        disorder: Disorder = "refuse",
        on_error: OnError = "raise",
        report: Report | None = None,
        progress: bool | None = None,
    ) -> np.ndarray:
        """Crystal vectors.

        Parameters
        ----------
        structures
            A DeepChem dataset of crystal graphs, or anything :func:`~deepchem_crystalssl.read_structures` reads.
        disorder, on_error, report, progress
            As in :func:`~deepchem_crystalssl.structures_to_graphs`.

        Returns
        -------
        numpy.ndarray
            float32 (n, embedding_size), in order, bad items left out.
        """
        source = structures.X if isinstance(structures, Dataset) else structures
        report = Report() if report is None else report
        graphs = iterate_graphs(source, disorder=disorder, on_error=on_error, report=report, progress=progress)
        encoder = self.components["crystal_encoder"]
        self.model.eval()
        vectors = []
        with torch.no_grad():
            for batch in _batches_of_sites(graphs, _SITES_PER_BATCH):
                vectors.append(encoder(GraphBatch.from_graphs(batch, self.engine).to(self.device)).cpu().numpy())
        report.log()
        return np.concatenate(vectors) if vectors else np.empty((0, self._sizes["embedding_size"]), np.float32)

    def embed_xrd(self, patterns: Any, progress: bool | None = None) -> np.ndarray:
        """Pattern vectors.

        Parameters
        ----------
        patterns : array-like (n, n_bins) or (n_bins,)
            On the model's ``xrd_grid``, normalised to their maximum, as :func:`~deepchem_crystalssl.simulate_xrd`
            and :func:`~deepchem_crystalssl.prepare_measured_pattern` give them.

        Returns
        -------
        numpy.ndarray
            float32 (n, embedding_size).
        """
        rows = np.atleast_2d(np.asarray(patterns, np.float32))
        if rows.shape[1] != self.xrd_grid.n_bins:
            raise GridError(
                "patterns",
                f"{rows.shape[1]} bins",
                f"the model's grid has {self.xrd_grid.n_bins} bins",
                "Draw or prepare the patterns on model.xrd_grid.",
            )
        encoder = self.components["xrd_encoder"]
        self.model.eval()
        vectors = []
        disable = None if progress is None else not progress
        with torch.no_grad():
            for start in tqdm(range(0, len(rows), 256), "patterns", disable=disable, delay=1.0):
                batch = torch.from_numpy(rows[start : start + 256]).to(self.device)
                vectors.append(encoder(batch).cpu().numpy())
        return np.concatenate(vectors) if vectors else np.empty((0, self._sizes["embedding_size"]), np.float32)


def resolve_objectives(objectives: str | Sequence[Objective]) -> tuple[Objective, ...]:
    """Objectives from a preset's name, or as given."""
    if not isinstance(objectives, str):
        return tuple(objectives)
    if objectives not in PRESETS:
        raise ValueError(f"objectives: unknown preset {objectives!r}; known are {', '.join(PRESETS)}")
    return PRESETS[objectives]


def _batches_of_sites(graphs: Iterator[CrystalGraph], limit: int) -> Iterator[list[CrystalGraph]]:
    batch: list[CrystalGraph] = []
    n_sites = 0
    for graph in graphs:
        if batch and n_sites + graph.num_nodes > limit:
            yield batch
            batch, n_sites = [], 0
        batch.append(graph)
        n_sites += graph.num_nodes
    if batch:
        yield batch
