"""DeepChem models: thin shells over :mod:`deepchem_crystalssl.nn` and :mod:`deepchem_crystalssl.pretext`."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from deepchem.data import Dataset
from torch import Tensor, nn

from .._names import renamed_arguments
from .ahead import computed_ahead
from .batches import BatchMaker, PreparedBatch, PretrainingBatch, PretrainingNetwork, sum_of
from .checkpointed import of_a_model
from .checkpoints import arguments_of
from ..data.datasets import UnreadBatch
from ..errors import OptionError, Report
from ..diffraction.conditions import TRAINING, MeasurementConditions
from ..diffraction.grid import XRDGrid
from .embedding import embed_graphs, embed_patterns, evaluation_mode
from ..crystals.duplicates import duplicate_groups
from .folders import open_folder
from .inputs import check_dataset
from .labels import LabelColumns
from .log import validation_metrics
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.links import Engine
from ..nn.negnn import LabelScale
from ..nn.normalization import normalized_together
from ..nn.ranks import Ranks
from ..nn.xrd_encoder import XRDEncoder
from .optimizers import FusedAdamW
from .options import check_encoder, check_training, refuse_fine_tuning
from ..pretext.batch import Modality, PretextBatch
from ..pretext.answers import Labels
from ..pretext.objectives import Objective, needed_modalities, needed_of_encoder
from ..pretext.presets import resolve_objectives
from .processes import threads_of_process
from .resumable import ResumableModel
from .vectors import GivesVectors

_VALIDATION_SEED = 5


@renamed_arguments(instrument="conditions")
class CrystalSSLModel(GivesVectors, ResumableModel):
    """Self-supervised pretraining on crystals and their powder patterns, as a DeepChem model.

    One encoder maps the graph of a crystal to a vector. If the objectives ask for it, a second one maps its powder
    pattern, which is simulated for each batch. The objectives train both without labels; labels and weights of a data
    set are ignored, unless :class:`~deepchem_crystalssl.pretext.answers.Labels` is among them. To learn from few
    labels, give the trained model to :class:`~deepchem_crystalssl.NEGNNModel`, as ``NEGNNModel(pretrained=model)``, and
    with ``fine_tune=1e-4`` to train its encoder further.

    Parameters
    ----------
    objectives : str or sequence of Objective
        The name of a preset, or the objectives themselves, whose losses are added:

        * ``"suzuki2022"``: the vectors of a crystal and of its pattern must agree (bidirectional triplet loss),
        * ``"kong2024"``: masked elements and distances are predicted,
        * ``"kong2024-contrastive"``: the vectors of two masked views of a crystal must agree (NT-Xent),
        * ``"joint"``: this package's own; InfoNCE between crystal and pattern, prediction of masked elements and of
          descriptors that are computed from the structure,
        * ``"joint-measured"`` and ``"joint-measured-small"``: as those encoders of the shipped models were trained that
          meet patterns as they would be measured,
        * ``"denoising-physics"`` and ``"denoising-physics-small"``: as their encoders of descriptors were trained;
          noise in sites and cells is undone, masked elements and numbers of model physics are predicted.
    encoder : dict, optional
        Arguments of :class:`~deepchem_crystalssl.nn.crystal_encoder.CrystalEncoder` (``width``, ``n_layers``,
        ``hidden``, ``embedding_size``, ``readout``); they take precedence over those of the preset.
    xrd_encoder : dict, optional
        Arguments of :class:`~deepchem_crystalssl.nn.xrd_encoder.XRDEncoder` (``channels``, ``hidden``), likewise.
    grid : XRDGrid
        Angular range, bins and wavelength of the patterns.
    conditions : MeasurementConditions, optional
        Ranges of instrument and sample effects; for every batch other values are drawn. By default those of the
        preset, or ideal patterns if it has none.
    descriptor_model : CrystalSSLModel, optional
        A trained model whose encoder describes crystals and sites in place of this one's: ``embed`` takes from it
        everything that is not compared with patterns. It is not trained further.
    mixed_precision : bool
        Whether the pattern encoder and the heads compute in bfloat16. Sums over neighbours, losses and weights stay in
        single precision.
    engine : {"auto", "dgl", "torch", "fused"}
        Implementation of the message passing.
    max_gradient : float
        Gradients are clipped to this norm.
    prepare_ahead : bool, optional
        Whether the graphs of the next step are built and its patterns simulated while the model computes, in threads
        on all processors; the result is the same. By default on a GPU; on a CPU both compete for the same cores.
    cutoff, max_neighbors : float and int, optional
        How the graphs are made (:func:`~deepchem_crystalssl.structures_to_graphs`); by default as the first graphs that
        are trained on. A model takes no graphs that were made otherwise.
    seed : int
        Seed of the initial weights, of the order of the crystals and of every draw. Each draw depends on the seed and
        the step alone, so that a resumed training gives the result of an uninterrupted one.
    **kwargs
        Arguments of DeepChem's models: ``batch_size``, ``learning_rate``, ``optimizer``, ``model_dir``, ``device``,
        ``log_frequency``, ...

    Attributes
    ----------
    left_out : Report
        Crystals that were left out of the training, and why.
    card : dict
        What is known of a model from :func:`~deepchem_crystalssl.load_pretrained`: data, licence, training, metrics,
        limits.

    Raises
    ------
    TypeError
        If an argument does not exist.
    OptionError, GridError
        If an argument has a value that cannot be used.

    References
    ----------
    Suzuki et al., Sci. Rep. 12, 22078 (2022); Kong et al., npj Comput. Mater. 10 (2024).

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
    is_shared = True

    def __init__(
        self,
        objectives: str | Sequence[Objective] = "joint",
        *,
        encoder: dict[str, Any] | None = None,
        xrd_encoder: dict[str, Any] | None = None,
        grid: XRDGrid = XRDGrid(),
        conditions: MeasurementConditions | None = None,
        descriptor_model: CrystalSSLModel | None = None,
        mixed_precision: bool = False,
        engine: Engine = "auto",
        max_gradient: float = 5.0,
        prepare_ahead: bool | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        refuse_fine_tuning(kwargs)
        preset = resolve_objectives(objectives)
        self.objectives = preset.objectives
        self.encoder_arguments = {**preset.encoder, **(encoder or {}), **needed_of_encoder(preset.objectives)}
        self.xrd_encoder_arguments = {**preset.xrd_encoder, **(xrd_encoder or {})}
        check_encoder("encoder", self.encoder_arguments, CrystalEncoder)
        check_encoder("xrd_encoder", self.xrd_encoder_arguments, XRDEncoder)
        check_training(kwargs.get("learning_rate", 0.001), engine, max_gradient)
        self.xrd_grid = grid.check()
        conditions = conditions or (TRAINING if preset.measured else None)
        self.conditions = conditions and conditions.check()
        if not self.needs_patterns and (self.xrd_encoder_arguments or conditions):
            names = ", ".join(objective.name for objective in self.objectives)
            warnings.warn(
                f"xrd_encoder and conditions have no effect: no objective ({names}) uses patterns", stacklevel=3
            )
        if "ideal patterns" in self.modalities and conditions is None:
            rule = "an objective that compares measured with ideal patterns needs measurement conditions"
            raise OptionError("conditions", "None", rule, "Give MeasurementConditions.")
        self.descriptor_model = descriptor_model
        self.mixed_precision = mixed_precision
        self.prepare_ahead = prepare_ahead
        self.engine: Engine = engine
        self._labels = next((o for o in self.objectives if isinstance(o, Labels)), None)
        self.needs_labels = self._labels is not None
        self.batches = BatchMaker(self.xrd_grid, self.conditions, self.modalities, engine)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            components = self.build_components()
        self.components = components
        if "optimizer" not in kwargs:
            kwargs["optimizer"] = FusedAdamW(kwargs.pop("learning_rate", 0.001), weight_decay=0.01)
        kwargs.setdefault("output_types", ["prediction"])
        super().__init__(self.build_model(), components, seed=seed, max_gradient=max_gradient, **kwargs)

    def untrained(self, seed: int = 0) -> CrystalSSLModel:
        """A model of the same configuration with random weights, as a control."""
        return CrystalSSLModel(
            self.objectives,
            encoder=self.encoder_arguments,
            xrd_encoder=self.xrd_encoder_arguments,
            grid=self.xrd_grid,
            conditions=self.conditions,
            descriptor_model=self.descriptor_model and self.descriptor_model.untrained(seed),
            **self._graph_config(),
            engine=self.engine,
            seed=seed,
            device=self.device,
        )

    def __sklearn_clone__(self) -> CrystalSSLModel:
        """The model itself: scikit-learn need not copy a trained model when it clones a descriptor that uses it."""
        return self

    @classmethod
    def from_config(cls, config: dict[str, Any], source: str, **kwargs: Any) -> CrystalSSLModel:
        """A model of a configuration, with random weights; ``source`` is what an error names.

        Raises
        ------
        CheckpointError
            If the configuration is not one of this version.
        """
        arguments = arguments_of(config, source)
        if arguments["descriptor_model"] is not None:
            arguments["descriptor_model"] = cls(**arguments["descriptor_model"])
        return cls(**{**arguments, **kwargs})

    @classmethod
    def from_folder(cls, folder: str | Path, **kwargs: Any) -> CrystalSSLModel:
        """Open a model; like :func:`~deepchem_crystalssl.load_pretrained`, for models of this class.

        Parameters
        ----------
        folder : str or Path
            Where a model was trained or saved, or the name of a shipped one.
        **kwargs
            Constructor arguments that the weights do not determine: ``engine``, ``device``, ``batch_size``, ...

        Raises
        ------
        CheckpointError
            If the folder holds no such model.
        """
        return open_folder(folder, {"CrystalSSLModel": cls}, **kwargs)

    @property
    def crystal_encoder(self) -> CrystalEncoder:
        """The encoder of crystal graphs."""
        return cast(CrystalEncoder, self.components["crystal_encoder"])

    @property
    def label_columns(self) -> list[str]:
        """Names of the labels that the encoder of descriptors was trained on, if it was."""
        objectives = (self.descriptor_model or self).objectives
        return [name for objective in objectives if isinstance(objective, Labels) for name in objective.columns]

    @property
    def descriptor_arguments(self) -> dict[str, Any]:
        """Arguments of :attr:`descriptor_encoder`."""
        return (self.descriptor_model or self).encoder_arguments

    @property
    def descriptor_encoder(self) -> CrystalEncoder:
        """The encoder whose readout is the descriptor of crystals, and whose sites have vectors."""
        return self.crystal_encoder if self.descriptor_model is None else self.descriptor_model.crystal_encoder

    @property
    def xrd_encoder(self) -> XRDEncoder | None:
        """The encoder of patterns; None if no objective uses patterns."""
        return cast("XRDEncoder | None", self.components.get("xrd_encoder"))

    @property
    def needs_patterns(self) -> bool:
        """Whether any objective uses patterns."""
        return "patterns" in self.modalities

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that the objectives need of a batch."""
        return needed_modalities(self.objectives)

    def build_components(self) -> dict[str, nn.Module]:
        """Encoders and heads, by the names under which DeepChem transfers and freezes them."""
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
        if self.descriptor_model is not None:
            components |= {f"descriptor_{name}": part for name, part in self.descriptor_model.components.items()}
        return components

    def build_model(self) -> nn.Module:
        """The components as one module."""
        return PretrainingNetwork(self.components)

    # Training

    @property
    def left_out(self) -> Report:
        """Crystals that were left out of the training, and why."""
        return self.batches.left_out

    def check_data(self, dataset: Dataset, item: str, least: int) -> None:
        """Refuse data that are no crystal graphs, or lack the labels that an objective learns from."""
        super().check_data(dataset, item, least)
        if self._labels is not None:
            self._columns = LabelColumns(self._labels.columns, dataset.get_task_names())
            self._columns.read_known(dataset.y, dataset.w)

    def prepare_fit(self, dataset: Dataset, first_step: int, nb_epoch: int) -> None:
        """Learn the scale of the labels, if there are any, from the first data set."""
        scale = self.components.get("labels_head")
        if isinstance(scale, LabelScale) and not bool(scale.known):
            scale.learn(*self._columns.read_known(dataset.y, dataset.w))

    def end_fit(self, ranks: Ranks) -> None:
        """Every process knows all crystals that were left out."""
        self.batches.tell_left_out(ranks)

    def save_checkpoint(self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None) -> None:
        """Save weights, optimizer, step, configuration, and the numbers of model physics computed so far."""
        super().save_checkpoint(max_checkpoints_to_keep, model_dir)
        if model_dir is None and Ranks.here().rank == 0:
            self.batches.physics.save(self.model_dir)

    @of_a_model
    def restore(
        self, components: list[str] | None = None, checkpoint: str | None = None, model_dir: str | None = None
    ) -> None:
        """Load a checkpoint, as every model of this package does, and the numbers that were computed before it."""
        super().restore(components, checkpoint, model_dir)
        self.batches.physics.load(model_dir or self.model_dir)

    def validate(self, dataset: Dataset) -> dict[str, float]:
        """Mean loss on crystals not trained on, and the quality of their vectors.

        Every call draws the same measurement conditions and masks the same sites.

        Returns
        -------
        dict from str to float
            ``loss`` and the numbers of :func:`~deepchem_crystalssl.models.log.validation_metrics`.
        """
        self.check_data(dataset, "dataset", self.min_batch)
        total, count = 0.0, 0
        with evaluation_mode(self.model), torch.no_grad():
            for (X,), y, w in self._in_order(dataset):
                self.check_graphs(X)
                batch = self.batches(X, _VALIDATION_SEED, self.device, self._labels_of(y, w))
                losses = self._losses_of(batch, _VALIDATION_SEED)
                total, count = total + float(sum_of(losses)) * len(X), count + len(X)
        graphs, patterns = list(dataset.X), None
        if self.needs_patterns:
            graphs, drawn = self.batches.simulate(graphs, _VALIDATION_SEED)
            patterns = embed_patterns(self._pattern_encoder(), drawn, self.device, progress=False)
        vectors = embed_graphs(self.crystal_encoder, graphs, engine=self.engine, device=self.device)
        return {"loss": total / max(count, 1)} | validation_metrics(vectors, patterns, duplicate_groups(graphs))

    def _steps(self, epoch: Iterator[UnreadBatch], dataset: Dataset) -> Iterator[PreparedBatch]:
        """The batches of an epoch, of which this process prepares every n-th crystal if n of them train together."""
        rows = slice(self._ranks.rank, None, self._ranks.size)

        def prepare(batch: UnreadBatch, seed: int) -> tuple[Any, PreparedBatch]:
            (X,), y, w = self._read(batch, dataset, rows)
            return X, self.batches.prepare(X, seed, self._labels_of(y, w), rows, batch.size)

        seeds = count(self.step_seed)
        calls = (partial(prepare, batch, seed) for batch, seed in zip(epoch, seeds, strict=False))
        ahead = self.prepare_ahead
        if ahead is None:
            ahead = torch.device(self.device).type == "cuda"
        self.batches.n_threads = threads_of_process() if ahead else 1
        made: Generator = computed_ahead(calls) if ahead else (call() for call in calls)
        with closing(made):
            for X, prepared in made:
                self.check_graphs(X)
                yield prepared

    def _labels_of(self, y: list, w: list) -> tuple[Tensor, Tensor] | None:
        return self._columns.read(y[0], w[0]) if self.needs_labels and y else None

    def _prepare_batch(self, batch: Any) -> tuple[PretrainingBatch, list, list]:
        if not isinstance(batch, PreparedBatch):
            (X,), y, w = batch
            self.check_graphs(X)
            batch = self.batches.prepare(X, self.step_seed, self._labels_of(y, w))
        return self.batches.finish(batch, self.device, self._ranks), [], []

    def loss_func(self, inputs: PretrainingBatch, labels: Any, weights: Any) -> Tensor:
        """Sum of the losses of the objectives, which have all they need of a batch.

        Of processes that train together each has the gradient of its part of the sum.
        """
        with normalized_together(self.model, self._ranks):
            losses = self._losses_of(inputs, self.step_seed)
        self._losses = self._whole_losses({name: loss.detach() for name, loss in losses.items()})
        own = sum_of(losses)
        return own if self._ranks.alone else own + (sum_of(self._losses) - own.detach())

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
            physics=inputs.physics,
            site_physics=inputs.site_physics,
            labels=inputs.labels,
            label_weights=inputs.label_weights,
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
            "conditions": self.conditions and asdict(self.conditions),
            "descriptor_model": self.descriptor_model and self.descriptor_model.config,
            **self._graph_config(),
        }

    def predict_embedding(self, dataset: Dataset) -> np.ndarray:
        """Vectors of the crystals of a data set, as :meth:`embed` gives them: float32 (n, embedding_size)."""
        check_dataset(dataset)
        return self.embed(dataset, progress=False)
