"""DeepChem models: thin shells over :mod:`deepchem_crystalssl.nn` and :mod:`deepchem_crystalssl.pretext`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.optimizers import LearningRateSchedule
from torch import Tensor, nn

from .checkpoints import read_config
from ..crystals.disorder import Disorder
from ..errors import OnError, Report
from ..crystals.records import CrystalGraph
from ..diffraction.conditions import TRAINING, MeasurementConditions, try_patterns
from ..crystals.neighbors import IsolatedAtoms, enumerate_graphs
from ..diffraction.grid import XRDGrid
from ..data.datasets import records_of
from .embedding import Level, Space, embed_expected_patterns, embed_graphs, embed_patterns
from ..evaluation.metrics import duplicate_groups
from .log import validation_metrics
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.message_passing import Engine, GraphBatch
from ..nn.normalization import slow_statistics
from ..nn.property_head import Components, Task, property_head, property_loss
from ..nn.xrd_encoder import XRDEncoder
from .optimizers import FusedAdamW
from ..pretext.batch import Modality, PretextBatch
from ..pretext.objectives import Objective, needed_modalities
from ..pretext.presets import resolve_objectives
from ..pretext.views import same_crystals
from .resumable import ResumableModel

_VALIDATION_SEED = 5


def _note_positions(found: Iterator[tuple[int, CrystalGraph]], positions: list[int]) -> Iterator[CrystalGraph]:
    """The graphs alone; the positions of their items are appended as the graphs are read."""
    for position, graph in found:
        positions.append(position)
        yield graph


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
    task : {"pretraining", "regression", "classification"}
        Anything but pretraining puts a head for labels on the crystal encoder, as DeepChem's own pretrainers do: give
        it the encoder's weights by ``load_from_pretrained(pretrained, components=["crystal_encoder"])``.
    n_tasks, n_classes : int
        Columns of the labels; classes of each, for classification.
    layer_decay : float
        With a task: the encoder's last layer learns at so many times the rate of the head, the layer before at its
        square, and so on (Howard and Ruder 2018).
    unfreeze_every : int, optional
        With a task: only the head learns at first; after so many epochs the last layer too, after so many more the one
        before (ibid.).
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

    def __init__(
        self,
        objectives: str | Sequence[Objective] = "joint",
        *,
        encoder: dict[str, Any] | None = None,
        xrd_encoder: dict[str, Any] | None = None,
        grid: XRDGrid = XRDGrid(),
        instrument: MeasurementConditions | None = None,
        task: Task = "pretraining",
        n_tasks: int = 1,
        n_classes: int = 2,
        layer_decay: float = 1.0,
        unfreeze_every: int | None = None,
        mixed_precision: bool = False,
        engine: Engine = "auto",
        max_gradient: float = 5.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        if task not in ("pretraining", "regression", "classification"):
            raise ValueError(f"task: {task!r}; must be 'pretraining', 'regression' or 'classification'")
        preset = resolve_objectives(objectives)
        self.objectives = preset.objectives
        self.encoder_arguments = {**preset.encoder, **(encoder or {})}
        self.xrd_encoder_arguments = {**preset.xrd_encoder, **(xrd_encoder or {})}
        self.xrd_grid = grid.check()
        instrument = instrument or (TRAINING if preset.measured else None)
        self.instrument = instrument and instrument.check()
        if task == "pretraining" and (layer_decay != 1.0 or unfreeze_every is not None):
            raise ValueError("layer_decay, unfreeze_every: they tune a pretrained encoder; choose a task with labels")
        self.task, self.n_tasks, self.n_classes = task, n_tasks, n_classes
        self.layer_decay, self.unfreeze_every = layer_decay, unfreeze_every
        if task == "pretraining" and not self.needs_patterns and (self.xrd_encoder_arguments or instrument):
            names = ", ".join(objective.name for objective in self.objectives)
            warnings.warn(
                f"xrd_encoder and instrument play no part: no objective ({names}) looks at patterns", stacklevel=2
            )
        if "ideal patterns" in self.modalities and instrument is None:
            raise ValueError("instrument: None; to tell measured from ideal patterns, give MeasurementConditions")
        self.mixed_precision = mixed_precision
        self.engine: Engine = engine
        self.needs_labels = task != "pretraining"
        self.min_batch = 1 if self.needs_labels else 2  # alone, a crystal has no negative
        self.left_out = Report()
        self.card: dict[str, Any] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            components = self.build_components()
        self.components = components
        if "optimizer" not in kwargs:
            kwargs["optimizer"] = FusedAdamW(kwargs.pop("learning_rate", 0.001), weight_decay=0.01)
        kwargs.setdefault("output_types", ["prediction", "loss"] if task == "classification" else ["prediction"])
        super().__init__(self.build_model(), components, seed=seed, max_gradient=max_gradient, **kwargs)

    def untrained(self, seed: int = 0) -> CrystalSSLModel:
        """A model of the same configuration with random weights: the control of every measure."""
        return CrystalSSLModel(
            self.objectives,
            encoder=self.encoder_arguments,
            xrd_encoder=self.xrd_encoder_arguments,
            grid=self.xrd_grid,
            instrument=self.instrument,
            task=self.task,
            n_tasks=self.n_tasks,
            n_classes=self.n_classes,
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
        return needed_modalities(self.objectives if self.task == "pretraining" else ())

    def build_components(self) -> dict[str, nn.Module]:
        """Encoders and heads, by the names under which they can be transferred and frozen."""
        encoder = CrystalEncoder(**self.encoder_arguments)
        components: dict[str, nn.Module] = {"crystal_encoder": encoder}
        if self.task != "pretraining":
            components["property_head"] = property_head(encoder, self.task, self.n_tasks, self.n_classes)
            for component in components.values():
                slow_statistics(component)
            return components
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
        return Components(self.components, self.task, self.n_tasks)

    # Training

    def parameter_groups(self) -> list[dict[str, Any]] | None:
        """The deeper a layer, the more slowly it learns."""
        if self.layer_decay == 1.0:
            return None
        rate = self.optimizer.learning_rate
        top = rate.initial_rate if isinstance(rate, LearningRateSchedule) else rate
        groups = [{"params": list(self.components["property_head"].parameters())}]
        layers = self.crystal_encoder.parameters_by_depth()
        return groups + [{"params": p, "lr": top * self.layer_decay**k} for k, p in enumerate(layers, start=1)]

    def before_epoch(self, epoch: int) -> None:
        """One more layer learns every ``unfreeze_every`` epochs."""
        if self.unfreeze_every is None:
            return
        for depth, layer in enumerate(self.crystal_encoder.parameters_by_depth(), start=1):
            for parameter in layer:
                parameter.requires_grad_(epoch >= depth * self.unfreeze_every)

    def validate(self, dataset: Dataset) -> dict[str, float]:
        """Mean loss on crystals not trained on, and in pretraining what their vectors tell.

        Every call sees the same patterns and hides the same atoms.
        """
        total, count = 0.0, 0
        self.model.eval()
        with torch.no_grad():
            for batch in self._without_padding(dataset.iterbatches(self.batch_size, deterministic=True)):
                loss = self._loss(*self._prepare(batch, _VALIDATION_SEED), _VALIDATION_SEED)
                total, count = total + float(loss) * len(batch[0][0]), count + len(batch[0][0])
        numbers = {"loss": total / max(count, 1)}
        if self.task != "pretraining":
            return numbers
        graphs, patterns = list(dataset.X), None
        if self.needs_patterns:
            drawn, errors = try_patterns(graphs, self.xrd_grid, self.instrument, _VALIDATION_SEED)
            kept = [k for k, error in enumerate(errors) if error is None]
            graphs, patterns = [graphs[k] for k in kept], self.embed_xrd(drawn[kept], progress=False)
        vectors = embed_graphs(self.crystal_encoder, graphs, engine=self.engine, device=self.device)
        return numbers | validation_metrics(vectors, patterns, duplicate_groups(graphs))

    def _prepare_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, list, list]:
        return self._prepare(batch, self.step_seed)

    def _prepare(self, batch: tuple[Any, Any, Any], seed: int) -> tuple[Any, list, list]:
        X, y, w = batch
        graphs, patterns, ideal = list(X[0]), None, None
        labels, weights = (
            [torch.as_tensor(np.asarray(v), dtype=torch.float32, device=self.device) for v in values or []]
            for values in (y, w)
        )
        if self.needs_patterns:
            drawn, errors = try_patterns(graphs, self.xrd_grid, self.instrument, seed)
            if any(errors):
                drawn, graphs = self._leave_out(drawn, graphs, errors)
            patterns = torch.from_numpy(drawn).to(self.device)
            if "ideal patterns" in self.modalities:
                ideal = torch.from_numpy(try_patterns(graphs, self.xrd_grid)[0]).to(self.device)
        return (GraphBatch.from_graphs(graphs, self.engine).to(self.device), patterns, ideal), labels, weights

    def _leave_out(self, patterns: np.ndarray, graphs: list, errors: list) -> tuple[np.ndarray, list]:
        """A crystal without pattern costs itself alone, and is reported once."""
        known = {error.item for error in self.left_out}
        for error in errors:
            if error is not None and error.item not in known:
                self.left_out.handle(error, "warn")
        kept = [k for k, error in enumerate(errors) if error is None]
        if not kept:
            raise next(error for error in errors if error is not None)
        return patterns[kept], [graphs[k] for k in kept]

    def loss_func(self, inputs: Any, labels: Any, weights: Any) -> Tensor:
        """Sum of the objectives' losses, in which labels and weights play no part; or the loss of the labels."""
        return self._loss(inputs, labels, weights, self.step_seed)

    def _loss(self, inputs: Any, labels: Any, weights: Any, seed: int) -> Tensor:
        graphs, patterns, ideal_patterns = inputs
        if self.task != "pretraining":
            losses = {str(self.task): property_loss(self.model(inputs), labels[0], weights[0], self.task)}
        else:
            batch = PretextBatch(
                graphs=graphs,
                patterns=patterns,
                same=same_crystals(graphs),
                crystal_encoder=self.crystal_encoder,
                xrd_encoder=self.xrd_encoder,
                generator=torch.Generator().manual_seed(seed),
                ideal_patterns=ideal_patterns,
                mixed_precision=self.mixed_precision,
                views_alone="crystals" not in self.modalities,
            )
            losses = {o.name: o(batch, self.components[f"{o.name}_head"]) for o in self.objectives}
        self._losses = {name: loss.detach() for name, loss in losses.items()}
        return torch.stack(list(losses.values())).sum()

    @property
    def config(self) -> dict[str, Any]:
        """What a checkpoint must agree with: objectives, encoders, grid, task."""
        return {
            "class": type(self).__name__,
            "objectives": [{"class": type(o).__name__, **vars(o)} for o in self.objectives],
            "encoder": self.encoder_arguments,
            "xrd_encoder": self.xrd_encoder_arguments,
            "grid": asdict(self.xrd_grid),
            "instrument": self.instrument and asdict(self.instrument),
            "task": self.task,
            "n_tasks": self.n_tasks,
            "n_classes": self.n_classes,
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
