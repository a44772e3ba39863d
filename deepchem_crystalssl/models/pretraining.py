"""DeepChem models: thin shells over :mod:`deepchem_crystalssl.nn` and :mod:`deepchem_crystalssl.pretext`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from deepchem.data import Dataset
from torch import Tensor, nn

from .batches import BatchMaker, PretrainingBatch
from .checkpoints import read_config
from ..crystals.disorder import Disorder
from ..errors import OnError, Report
from ..crystals.records import CrystalGraph
from ..diffraction.conditions import TRAINING, MeasurementConditions
from ..crystals.neighbors import IsolatedAtoms, enumerate_graphs
from ..diffraction.grid import XRDGrid
from ..data.datasets import records_of
from .embedding import Level, Space, embed_expected_patterns, embed_graphs, embed_patterns, evaluation_mode
from ..crystals.duplicates import duplicate_groups
from .log import validation_metrics
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.links import Engine
from ..nn.xrd_encoder import XRDEncoder
from .optimizers import FusedAdamW
from .options import refuse_fine_tuning
from ..pretext.batch import Modality, PretextBatch
from ..pretext.objectives import Objective, needed_modalities
from ..pretext.presets import resolve_objectives
from .resumable import ResumableModel

_VALIDATION_SEED = 5


def _note_positions(found: Iterator[tuple[int, CrystalGraph]], positions: list[int]) -> Iterator[CrystalGraph]:
    """The graphs alone; the positions of their items are appended as the graphs are read."""
    for position, graph in found:
        positions.append(position)
        yield graph


class PretrainingNetwork(nn.ModuleDict):
    """Encoders and objectives' heads as one module; its output is the crystal vectors."""

    def forward(self, inputs: PretrainingBatch) -> Tensor:
        """(B, embedding_size)."""
        return self["crystal_encoder"](inputs.graphs)


class CrystalSSLModel(ResumableModel):
    """Self-supervised pretraining on crystals and their powder patterns, as a DeepChem model.

    One encoder looks at a crystal's graph, another, where the objectives ask for it, at its powder pattern, simulated
    per batch from the record. The pretext objectives train them without labels; labels and weights of a dataset are
    ignored.

    Parameters
    ----------
    objectives : str or sequence of Objective
        A preset, or the objectives themselves, whose losses are added:

        * ``"suzuki2022"``: crystal and pattern meet, bidirectional triplet loss,
        * ``"kong2024"``: hidden atoms and distances are guessed,
        * ``"kong2024-contrastive"``: two partly hidden views meet, NT-Xent,
        * ``"joint"``: ours, InfoNCE between crystal and pattern, hidden species, computable descriptors;
        * ``"joint-measured"`` and ``"joint-measured-small"``: as the shipped models ``"general"`` and ``"small"`` were
          trained, on patterns as they would be measured.
    encoder : dict, optional
        Arguments of :class:`~deepchem_crystalssl.nn.crystal_encoder.CrystalEncoder` (``width``, ``n_layers``,
        ``hidden``, ``embedding_size``, ``readout``), over those of the preset.
    xrd_encoder : dict, optional
        Arguments of :class:`~deepchem_crystalssl.nn.xrd_encoder.XRDEncoder` (``channels``, ``hidden``), likewise.
    grid : XRDGrid
        How patterns are drawn.
    instrument : MeasurementConditions, optional
        Patterns as measured: every batch sees other instruments and samples, drawn from these ranges. By default that
        of the preset, or else the clean pattern of the grid.
    mixed_precision : bool
        Pattern encoder and heads compute in bfloat16, where the device is fast at it; sums over neighbours, losses and
        weights stay in float32.
    engine : {"auto", "dgl", "torch", "fused"}
        Who does the message passing.
    max_gradient : float
        Gradients are clipped to this norm.
    seed : int
        Of the initial weights, the shuffling and every draw: each is a function of the seed and the step, so
        that a run resumed at any step goes on as if it had not stopped.
    **kwargs
        DeepChem's: ``batch_size``, ``learning_rate``, ``model_dir``, ``device``, ``log_frequency``, ...

    Attributes
    ----------
    left_out : Report
        Crystals that training left out, and why.
    card : dict
        Of a model that came with a card: data, licence, training, metrics, limits.

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
    >>> model = CrystalSSLModel("joint", encoder=dict(width=16), xrd_encoder=dict(channels=8), batch_size=4)
    >>> loss = model.fit(dataset, nb_epoch=2)
    >>> model.embed(crystals).shape
    (4, 128)
    """

    min_batch = 2  # a single crystal has no negative
    needs_labels = False

    def __init__(
        self,
        objectives: str | Sequence[Objective] = "joint",
        *,
        encoder: dict[str, Any] | None = None,
        xrd_encoder: dict[str, Any] | None = None,
        grid: XRDGrid = XRDGrid(),
        instrument: MeasurementConditions | None = None,
        mixed_precision: bool = False,
        engine: Engine = "auto",
        max_gradient: float = 5.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        refuse_fine_tuning(kwargs)
        preset = resolve_objectives(objectives)
        self.objectives = preset.objectives
        self.encoder_arguments = {**preset.encoder, **(encoder or {})}
        self.xrd_encoder_arguments = {**preset.xrd_encoder, **(xrd_encoder or {})}
        self.xrd_grid = grid.check()
        instrument = instrument or (TRAINING if preset.measured else None)
        self.instrument = instrument and instrument.check()
        if not self.needs_patterns and (self.xrd_encoder_arguments or instrument):
            names = ", ".join(objective.name for objective in self.objectives)
            warnings.warn(
                f"xrd_encoder and instrument play no part: no objective ({names}) looks at patterns", stacklevel=2
            )
        if "ideal patterns" in self.modalities and instrument is None:
            raise ValueError("instrument: None; to tell measured from ideal patterns, give MeasurementConditions")
        self.mixed_precision = mixed_precision
        self.engine: Engine = engine
        self.batches = BatchMaker(self.xrd_grid, self.instrument, self.modalities, engine)
        self.card: dict[str, Any] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            components = self.build_components()
        self.components = components
        if "optimizer" not in kwargs:
            kwargs["optimizer"] = FusedAdamW(kwargs.pop("learning_rate", 0.001), weight_decay=0.01)
        kwargs.setdefault("output_types", ["prediction"])
        super().__init__(self.build_model(), components, seed=seed, max_gradient=max_gradient, **kwargs)

    def untrained(self, seed: int = 0) -> CrystalSSLModel:
        """A model of the same configuration with random weights: the control of every measure."""
        return CrystalSSLModel(
            self.objectives,
            encoder=self.encoder_arguments,
            xrd_encoder=self.xrd_encoder_arguments,
            grid=self.xrd_grid,
            instrument=self.instrument,
            engine=self.engine,
            seed=seed,
            device=self.device,
        )

    def __sklearn_clone__(self) -> CrystalSSLModel:
        """Itself: to a descriptor that uses it, a trained model is a value; a copy would share its folder."""
        return self

    @classmethod
    def from_folder(cls, folder: str | Path, **kwargs: Any) -> CrystalSSLModel:
        """The model trained or saved in a folder, from its configuration and newest checkpoint.

        Parameters
        ----------
        folder : str or Path
        **kwargs
            Constructor arguments that the checkpoint does not bind: ``engine``, ``device``, ``batch_size``, ...

        Raises
        ------
        CheckpointError
            If the folder holds no model.
        """
        model = cls(**{**read_config(folder), "model_dir": str(folder), **kwargs})
        model.restore(model_dir=str(folder))
        return model

    @property
    def crystal_encoder(self) -> CrystalEncoder:
        """The encoder of crystal graphs."""
        return cast(CrystalEncoder, self.components["crystal_encoder"])

    @property
    def xrd_encoder(self) -> XRDEncoder | None:
        """The encoder of patterns, if an objective trains one."""
        return cast("XRDEncoder | None", self.components.get("xrd_encoder"))

    @property
    def needs_patterns(self) -> bool:
        """Whether any objective looks at patterns."""
        return "patterns" in self.modalities

    @property
    def modalities(self) -> frozenset[Modality]:
        """What the objectives need of a batch."""
        return needed_modalities(self.objectives)

    def build_components(self) -> dict[str, nn.Module]:
        """Encoders and heads, by the names under which they can be transferred and frozen."""
        encoder = CrystalEncoder(**self.encoder_arguments)
        components: dict[str, nn.Module] = {"crystal_encoder": encoder}
        if self.needs_patterns:
            components["xrd_encoder"] = XRDEncoder(
                self.xrd_grid.n_bins,
                embedding_size=encoder.embedding_size,
                two_theta=(self.xrd_grid.two_theta_min, self.xrd_grid.two_theta_max),
                **self.xrd_encoder_arguments,
            )
        for objective in self.objectives:
            components[f"{objective.name}_head"] = objective.build_head(encoder)
        return components

    def build_model(self) -> nn.Module:
        """The components as one module."""
        return PretrainingNetwork(self.components)

    # Training

    @property
    def left_out(self) -> Report:
        """Crystals that training left out, and why."""
        return self.batches.left_out

    def validate(self, dataset: Dataset) -> dict[str, float]:
        """Mean loss on crystals not trained on, and the quality of their vectors.

        Every call draws the same measurement conditions and masks the same sites.

        Returns
        -------
        dict from str to float
            ``loss`` and the numbers of :func:`~deepchem_crystalssl.models.log.validation_metrics`.
        """
        total, count = 0.0, 0
        with evaluation_mode(self.model), torch.no_grad():
            for (X,), _, _ in self._without_padding(dataset.iterbatches(self.batch_size, deterministic=True), dataset):
                losses = self._losses_of(self.batches(X, _VALIDATION_SEED, self.device), _VALIDATION_SEED)
                total, count = total + float(_sum(losses)) * len(X), count + len(X)
        graphs, patterns = list(dataset.X), None
        if self.needs_patterns:
            graphs, drawn = self.batches.simulate(graphs, _VALIDATION_SEED)
            patterns = self.embed_xrd(drawn, progress=False)
        vectors = embed_graphs(self.crystal_encoder, graphs, engine=self.engine, device=self.device)
        return {"loss": total / max(count, 1)} | validation_metrics(vectors, patterns, duplicate_groups(graphs))

    def _prepare_batch(self, batch: tuple[Any, Any, Any]) -> tuple[PretrainingBatch, list, list]:
        (X,), _, _ = batch
        return self.batches(X, self.step_seed, self.device), [], []

    def loss_func(self, inputs: PretrainingBatch, labels: Any, weights: Any) -> Tensor:
        """Sum of the losses of the objectives; labels and weights are ignored."""
        losses = self._losses_of(inputs, self.step_seed)
        self._losses = {name: loss.detach() for name, loss in losses.items()}
        return _sum(losses)

    def _losses_of(self, inputs: PretrainingBatch, seed: int) -> dict[str, Tensor]:
        batch = PretextBatch(
            graphs=inputs.graphs,
            patterns=inputs.patterns,
            same=inputs.same,
            crystal_encoder=self.crystal_encoder,
            xrd_encoder=self.xrd_encoder,
            generator=torch.Generator().manual_seed(seed),
            ideal_patterns=inputs.ideal_patterns,
            mixed_precision=self.mixed_precision,
            views_alone="crystals" not in self.modalities,
        )
        return {o.name: o(batch, self.components[f"{o.name}_head"]) for o in self.objectives}

    @property
    def config(self) -> dict[str, Any]:
        """What a checkpoint must agree with: objectives, encoders, grid, measurement conditions."""
        return {
            "class": type(self).__name__,
            "objectives": [{"class": type(o).__name__, **vars(o)} for o in self.objectives],
            "encoder": self.encoder_arguments,
            "xrd_encoder": self.xrd_encoder_arguments,
            "grid": asdict(self.xrd_grid),
            "instrument": self.instrument and asdict(self.instrument),
        }

    # Use

    def embed(
        self,
        structures: Any,
        level: Level = "crystal",
        layers: Sequence[int] | None = None,
        *,
        space: Space = "shared",
        disorder: Disorder = "refuse",
        isolated_atoms: IsolatedAtoms = "keep",
        on_error: OnError = "raise",
        report: Report | None = None,
        n_threads: int | None = None,
        progress: bool | None = None,
    ) -> np.ndarray:
        """Vectors of crystals, or of their sites.

        Parameters
        ----------
        structures
            A DeepChem dataset of crystal graphs, or anything :func:`~deepchem_crystalssl.read_structures` reads.
        level : {"crystal", "site"}
            One vector per crystal, or one per site.
        layers : sequence of int, optional
            Layers whose vectors are joined; 0 knows only the element, k what lies within k hops. By default the
            crystal's vector in the space it shares with patterns, and the last layer for sites. For a crystal, layers
            are pooled by mean and standard deviation over sites.
        space : {"shared", "pattern", "descriptor", "similarity"}
            What a crystal's vector is for: to meet patterns; to be found by them more surely, for it is made of the
            crystal's own simulated patterns; to predict properties from, by regressors that look at Manhattan
            distances or single columns, already scaled; to find what is alike, by cosine or Euclidean distance. The
            descriptor is there for sites too: attributes and all layers.
        disorder, isolated_atoms, on_error, report, n_threads, progress
            As in :func:`~deepchem_crystalssl.structures_to_graphs`.

        Returns
        -------
        numpy.ndarray
            float32, in order, bad items left out: (n, F), or for sites (sum of N, F), crystal after crystal.
        """
        source = records_of(structures) if isinstance(structures, Dataset) else structures
        report = Report() if report is None else report
        options: dict[str, Any] = {"disorder": disorder, "n_threads": n_threads, "progress": progress}
        found = enumerate_graphs(source, isolated_atoms=isolated_atoms, on_error=on_error, report=report, **options)
        positions: list[int] = []
        graphs = _note_positions(found, positions)
        if space == "pattern" and level == "crystal" and layers is None:
            vectors, errors = embed_expected_patterns(self._pattern_encoder(), graphs, self.xrd_grid, self.device)
            for position, error in zip(positions, errors, strict=True):
                if error is not None:
                    report.handle(error, on_error, position)
            report.log()
            return vectors
        vectors = embed_graphs(self.crystal_encoder, graphs, level, layers, self.engine, self.device, space)
        report.log()
        return vectors

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
        return embed_patterns(self._pattern_encoder(), patterns, self.xrd_grid, self.device, progress)

    def _pattern_encoder(self) -> XRDEncoder:
        if self.xrd_encoder is None:
            raise ValueError("objectives: none of them trains a pattern encoder; use 'joint' or 'suzuki2022'")
        return self.xrd_encoder


def _sum(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()
