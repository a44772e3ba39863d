"""NEGNN as a DeepChem model: properties of crystals or of their sites, from few labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict
from itertools import compress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from deepchem.data import Dataset
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CheckpointError
from ..data.datasets import records_of
from .embedding import embed_graphs, evaluation_mode
from .folders import DEFAULT, open_folder
from .frozen import SiteVectors, fit_kernel, rows_of_kernel
from .model_physics import CRYSTAL_PHYSICS, SITE_PHYSICS, crystal_physics, descriptor_blocks
from .inputs import check_dataset, warn_of_other_graphs
from .labels import LabelReader
from .pretraining import CrystalSSLModel
from ..nn.backbones import BACKBONES, Backbone
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.graph_batch import GraphBatch
from ..nn.links import Engine
from ..nn.negnn import NEGNN, KernelRegression, LabelScale, Mode, PredictionLevel, PropertyPredictor
from ..nn.normalization import slow_statistics
from .optimizers import FusedAdamW, WarmUpCosine
from .options import check_layers, check_negnn
from ..pretext.objectives import Descriptors
from .resumable import ResumableModel
from .scores import ScoredOnKnownLabels

Inputs = tuple[GraphBatch, Tensor | None]


class NEGNNModel(ScoredOnKnownLabels, ResumableModel):
    """A graph network on sites that a pretrained encoder describes, as a DeepChem model (Kong et al. 2024).

    The attributes of each site's element and the vectors that the encoder gives the site enter a graph network, which
    is trained on labels. Labels need no scaling: their median and standard deviation are taken from the first data set
    that is fitted. A label that is NaN or infinite, or has the weight 0, is unknown and has no part in the training
    or in :meth:`evaluate`.

    Parameters
    ----------
    mode : {"regression", "classification"}
        Classes are the whole numbers from 0 to ``n_classes - 1``.
    n_tasks : int
        Columns of the labels.
    backbone : {"cgcnn", "megnet", "alignn"} or module
        The graph network: a name, or a module of your own with a ``width``, which maps
        (:class:`~deepchem_crystalssl.nn.message_passing.GraphBatch`, sites (A, width)) to (A, width).
    pretrained : str, Path, CrystalSSLModel or None
        ``"default"``, the name of a shipped model, a folder that a model was saved or trained in, or a model; None for
        the same network without pretrained vectors, as a control.
    layers : sequence of int, optional
        Layers of the encoder whose vectors are joined; layer 0 depends on the element alone (and, where the encoder
        uses attributes, on the bonds of the site). None for the whole descriptor of sites: attributes and all layers.
        More columns need more labels.
    physics : bool
        Whether the numbers of springs and tight binding (:func:`~deepchem_crystalssl.physics.columns.model_physics`)
        enter the network at each site and the kernel, whose blocks are then weighed by cross-validation. They take
        some 10 ms a crystal, once.
    level : {"crystal", "site"}
        One value per crystal or per site. For sites, y holds an array of N values, or (N, n_tasks), for each crystal
        (:func:`~deepchem_crystalssl.site_labels`), and predictions come crystal after crystal.
    n_classes : int
        Number of classes of a classification.
    fine_tune : float, optional
        Learning rate at which the encoder is trained too. By default it is frozen, and its vectors are computed once
        per crystal, however many epochs there are.
    kernel_share : float, optional
        The part of a prediction that comes from a kernel ridge regression on the encoder's descriptor
        (:class:`~deepchem_crystalssl.LaplacianRidgeCV`, cross-validated by chemical system), fitted to the first data
        set that is fitted; by default .25, with physics .5. If there are more crystals than the kernel can hold
        (5,000), it is fitted to that many of them and its part is reduced accordingly. It is used for regression of
        crystals with a frozen encoder; otherwise the network predicts alone.
    width : int, optional
        Size of the site vectors in a backbone given by name; by default 64.
    hidden, dropout : int, float
        Size of the layer before the outputs, and the part of it that is left out in training.
    uncertainty : bool
        Whether the error of each prediction is learned too, for :meth:`predict_uncertainty`.
    learning_rate : float
        Highest learning rate of the schedule, which rises over 5 % of the steps and then falls by half a cosine until
        the end of ``fit``. Give ``optimizer=`` for another schedule or optimizer.
    engine : {"auto", "dgl", "torch", "fused"}
        Implementation of the message passing.
    max_gradient, seed
        As in :class:`~deepchem_crystalssl.CrystalSSLModel`.
    **kwargs
        Arguments of DeepChem's models (``batch_size``, ``model_dir``, ``device``, ``log_frequency``, ...), and
        ``cutoff`` and ``max_neighbors`` of the graphs, by default those of the encoder; others cause a warning.

    Raises
    ------
    TypeError
        If an argument does not exist.
    OptionError
        If an argument has a value that cannot be used.

    References
    ----------
    Kong et al., npj Comput. Mater. 10 (2024).

    Examples
    --------
    >>> import deepchem as dc
    >>> from deepchem_crystalssl import CrystalGraphFeaturizer
    >>> from pymatgen.core import Lattice, Structure
    >>> crystals = [
    ...     Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [metal, "O"], [[0, 0, 0], [.5, .5, .5]])
    ...     for metal, a in [("Mg", 4.21), ("Ca", 4.81), ("Mn", 4.44), ("Ni", 4.18)]
    ... ]
    >>> dataset = dc.data.NumpyDataset(CrystalGraphFeaturizer().featurize(crystals), y=[155.0, 113.0, 150.0, 197.0])
    >>> model = NEGNNModel(pretrained="small", batch_size=4)
    >>> loss = model.fit(dataset, nb_epoch=2)
    >>> model.predict(dataset).shape
    (4, 1)
    """

    def __init__(
        self,
        mode: Mode = "regression",
        n_tasks: int = 1,
        backbone: str | Backbone = "cgcnn",
        pretrained: str | Path | CrystalSSLModel | None = "default",
        layers: Sequence[int] | None = (0, 1),
        level: PredictionLevel = "crystal",
        *,
        n_classes: int = 2,
        physics: bool = False,
        fine_tune: float | None = None,
        kernel_share: float | None = None,
        width: int | None = None,
        hidden: int = 128,
        dropout: float = 0.1,
        uncertainty: bool = False,
        learning_rate: float = 0.002,
        engine: Engine = "auto",
        max_gradient: float = 5.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        kernel_share = (0.5 if physics else 0.25) if kernel_share is None else kernel_share
        check_negnn(
            mode=mode, n_tasks=n_tasks, n_classes=n_classes, level=level, backbone=backbone, width=width,
            uncertainty=uncertainty, fine_tune=fine_tune, pretrained=pretrained, physics=physics,
            kernel_share=kernel_share, hidden=hidden, dropout=dropout, learning_rate=learning_rate, engine=engine,
        )  # fmt: skip
        self.mode, self.n_tasks, self.n_classes, self.level = mode, n_tasks, n_classes, level
        self.labels = LabelReader(mode, n_tasks, n_classes, level)
        self.kernel_share, self.physics = kernel_share, physics
        self.layers, self.fine_tune, self.uncertainty, self.engine = layers, fine_tune, uncertainty, engine
        source = _opened(pretrained)
        self._encoder_arguments = None if source is None else source.descriptor_arguments
        encoder = None if source is None else deepcopy(source.descriptor_encoder)
        if encoder is not None:
            check_layers(layers, len(encoder.convolutions))
        self._width, self._backbone, self._hidden, self._dropout = width, backbone, hidden, dropout
        n_outputs = n_tasks * (n_classes if mode == "classification" else 1 + uncertainty)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            options = {} if width is None else {"width": width}
            between = BACKBONES[backbone](**options) if isinstance(backbone, str) else backbone
            network = NEGNN(between, n_outputs, _columns(encoder, layers, physics), level, hidden, dropout)
        self.components = {"network": network, "labels": LabelScale(n_tasks)}
        if encoder is not None:
            self.components["encoder"] = encoder
        if encoder is not None and fine_tune is not None:
            slow_statistics(encoder)
        if encoder is not None and fine_tune is None and mode == "regression" and level == "crystal":
            self.components["kernel"] = KernelRegression(n_tasks)
        self._site_vectors = None
        if encoder is not None and fine_tune is None:
            self._site_vectors = SiteVectors(encoder, layers, engine, physics)
        if "optimizer" not in kwargs:
            kwargs["optimizer"] = FusedAdamW(_UntilTheEnd(learning_rate, 1), weight_decay=0.01)
        outputs = ["prediction", "loss"] if mode == "classification" else ["prediction", "variance"]
        kwargs.setdefault("output_types", outputs if mode == "classification" or uncertainty else outputs[:1])
        kwargs.setdefault("batch_size", 64)
        if source is not None and source.graph_options is not None:
            trained = asdict(source.graph_options)
            warn_of_other_graphs(trained, kwargs, stacklevel=2)
            kwargs = {**trained, **{k: v for k, v in kwargs.items() if v is not None}}
        super().__init__(self.build_model(), self.components, seed=seed, max_gradient=max_gradient, **kwargs)
        if encoder is not None and fine_tune is None:
            self.freeze_components(["encoder"])

    @classmethod
    def from_config(cls, config: dict[str, Any], source: str, **kwargs: Any) -> NEGNNModel:
        """A model of a configuration, with random weights; ``source`` is what an error names.

        Raises
        ------
        CheckpointError
            If the configuration is not that of a NEGNN, or its backbone is a module that must be given.
        """
        try:
            arguments = {name: config[name] for name in _BOUND} | {name: config.get(name) for name in _LATER}
            encoder = config["encoder"]
        except KeyError as error:
            raise CheckpointError(source, f"no NEGNN ({error} is missing)", remedy="Name its folder.") from error
        if encoder is not None:
            encoder = CrystalSSLModel([Descriptors()], encoder=encoder)
        arguments |= {"pretrained": encoder, **kwargs}
        if isinstance(arguments["backbone"], str) and arguments["backbone"] not in BACKBONES:
            raise CheckpointError(
                source,
                f"backbone {arguments['backbone']}",
                "a folder holds no code",
                "Give the module as backbone= of NEGNNModel.from_folder.",
            )
        return cls(**arguments)

    @classmethod
    def from_folder(cls, folder: str | Path, **kwargs: Any) -> NEGNNModel:
        """Open a model, encoder included; like :func:`~deepchem_crystalssl.load_pretrained`, for models of this class.

        Parameters
        ----------
        folder : str or Path
            Where a model was trained or saved.
        **kwargs
            Constructor arguments that the weights do not determine: ``engine``, ``batch_size``, ..., and ``backbone``,
            if it was a module of your own.

        Raises
        ------
        CheckpointError
            If the folder holds no such model.
        """
        return open_folder(folder, {"NEGNNModel": cls}, **kwargs)

    def check_portable(self, folder: str) -> None:
        """A folder holds no code, so that a backbone of your own cannot be saved in one."""
        if not isinstance(self._backbone, str):
            raise CheckpointError(
                folder,
                f"backbone {type(self._backbone).__name__}",
                "a saved folder holds no code, and this backbone is a module of your own",
                "Keep model_dir, and open it with NEGNNModel.from_folder(model_dir, backbone=...).",
            )

    @property
    def config(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        backbone = self._backbone if isinstance(self._backbone, str) else type(self._backbone).__name__
        return {
            "class": type(self).__name__,
            "backbone": backbone,
            "width": self._width,
            "hidden": self._hidden,
            "dropout": self._dropout,
            "layers": None if self.layers is None else list(self.layers),
            "encoder": self._encoder_arguments,
            "fine_tune": self.fine_tune,
            "physics": self.physics,
            **{name: getattr(self, name) for name in _PLAIN},
            **self._graph_config(),
        }

    @property
    def encoder(self) -> CrystalEncoder | None:
        """The pretrained encoder."""
        return cast("CrystalEncoder | None", self.components.get("encoder"))

    def build_model(self) -> nn.Module:
        """The components as one module."""
        n_physics = CRYSTAL_PHYSICS if self.physics else 0
        return PropertyPredictor(self.components, self.mode, self.n_tasks, self.n_classes, self.layers, n_physics)

    def parameter_groups(self) -> list[dict[str, Any]] | None:
        """The encoder learns at a rate of its own."""
        if self.encoder is None or self.fine_tune is None:
            return None
        return [
            {"params": list(self.components["network"].parameters())},
            {"params": list(self.encoder.parameters()), "lr": self.fine_tune},
        ]

    # Training

    def check_data(self, dataset: Dataset, item: str, least: int) -> None:
        """Refuse data without labels, or with labels that do not fit."""
        super().check_data(dataset, item, least)
        self._all_labels(dataset)

    def prepare_fit(self, dataset: Dataset, first_step: int, nb_epoch: int) -> None:
        """Learn the scale of the labels and fit the kernel, unless that has been done; set the end of the schedule."""
        scale = cast(LabelScale, self.components["labels"])
        kernel = cast("KernelRegression | None", self.components.get("kernel"))
        wants_scale = self.mode == "regression" and not bool(scale.known)
        wants_kernel = kernel is not None and self.kernel_share and not float(kernel.share)
        if wants_scale or wants_kernel:
            values, weights = self._all_labels(dataset)
            if wants_scale:
                scale.learn(values, weights)
            if wants_kernel:
                self._fit_kernel(cast(KernelRegression, kernel), dataset, values, weights)
        schedule = self.optimizer.learning_rate
        if isinstance(schedule, _UntilTheEnd):
            schedule.total_steps = first_step + max(1, nb_epoch * self._count_batches(dataset))

    def _fit_kernel(self, kernel: KernelRegression, dataset: Dataset, labels: Tensor, weights: Tensor) -> None:
        chosen, share = rows_of_kernel(weights, self.seed)
        if not len(chosen):
            return
        graphs = list(compress(records_of(dataset), np.isin(np.arange(len(weights)), chosen)))
        assert self.encoder is not None
        x = embed_graphs(self.encoder, graphs, "crystal", None, self.engine, self.device, "descriptor")
        systems = np.array([graph.chemical_system for graph in graphs])
        x = np.hstack([x, crystal_physics(graphs)]) if self.physics else x
        blocks = descriptor_blocks(self.encoder, self.physics)
        fit_kernel(kernel, x, systems, labels[chosen], weights[chosen], self.kernel_share * share, blocks)

    def _all_labels(self, dataset: Dataset) -> tuple[Tensor, Tensor]:
        """Labels and weights of a whole data set; sites are counted only where they are labelled."""
        sites = [graph.num_nodes for graph in records_of(dataset)] if self.level == "site" else None
        return self.labels.read_known(dataset.y, dataset.w, sites)

    def validate(self, dataset: Dataset) -> dict[str, float]:
        """Mean loss of the network on crystals not trained on; the kernel, fitted once, has no part in it.

        Returns
        -------
        dict from str to float
            ``loss``, over all known labels, each with its weight.

        Raises
        ------
        LabelError
            If the labels do not fit, or none is known.
        """
        self.check_data(dataset, "dataset", 1)
        total, weight = 0.0, 0.0
        with evaluation_mode(self.model), torch.no_grad():
            for batch in self._without_padding(dataset.iterbatches(self.batch_size, deterministic=True), dataset):
                inputs, (labels,), (weights,) = self._prepare_batch(batch)
                loss = self._loss(cast(PropertyPredictor, self.model).raw(inputs), labels, weights)
                total, weight = total + float(loss) * float(weights.sum()), weight + float(weights.sum())
        return {"loss": total / weight}

    def loss_func(self, inputs: Inputs, labels: Any, weights: Any) -> Tensor:
        """Mean absolute error in standard deviations of the labels, a Laplace likelihood, or cross-entropy."""
        with torch.random.fork_rng(devices=[]):  # dropout is a function of seed and step
            torch.manual_seed(self.step_seed)
            loss = self._loss(cast(PropertyPredictor, self.model).raw(inputs), labels[0], weights[0])
        self._losses = {self.mode: loss.detach()}
        return loss

    def _loss(self, raw: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Mean error over the labels, each with its weight."""
        if self.mode == "classification":
            logits = raw.view(-1, self.n_classes)
            errors = F.cross_entropy(logits, labels.long().reshape(-1), reduction="none").view_as(labels)
        else:
            scale = cast(LabelScale, self.components["labels"])
            errors = (raw[:, : self.n_tasks] - (labels - scale.center) / scale.width).abs()
            if self.uncertainty:
                log_width = raw[:, self.n_tasks :].clamp(-7.0, 7.0)
                errors = errors * torch.exp(-log_width) + log_width
        return (errors * weights).sum() / weights.sum().clamp(min=1e-12)

    def _prepare_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, list, list]:
        X, y, w = batch
        graphs = list(X[0])
        self.check_graphs(graphs)
        vectors = None
        if self._site_vectors is not None:
            vectors = self._site_vectors.get(graphs, self.device, remember=self.model.training)
        inputs = GraphBatch.from_graphs(graphs, self.engine).to(self.device), vectors
        if not y:
            return inputs, [], []
        n_sites = [graph.num_nodes for graph in graphs] if self.level == "site" else None
        labels, weights = self.labels.read(y[0], w[0], n_sites)
        return inputs, [labels.to(self.device)], [weights.to(self.device)]

    def take_over(self, states: Any, names: Iterable[str], source: str) -> None:
        """Load the weights of these components; vectors of another encoder are forgotten."""
        if self._site_vectors is not None:
            self._site_vectors.forget()
        super().take_over(states, names, source)

    # Use

    def predict_embedding(self, dataset: Dataset) -> np.ndarray:
        """What the network computes before its output layer: float32 (n, hidden), or (sum of N, hidden) for sites."""
        check_dataset(dataset)
        network = cast(NEGNN, self.components["network"])
        vectors = [np.empty((0, self._hidden), np.float32)]
        with evaluation_mode(self.model), torch.no_grad():
            for inputs, _, _ in self.default_generator(dataset, mode="predict"):
                raw = self._prepare_batch((inputs, None, None))[0]
                seen = cast(PropertyPredictor, self.model).inputs_of_network(raw)
                vectors.append(network.read_out(*seen).float().cpu().numpy())
        return np.concatenate(vectors)

    def predict_uncertainty(self, dataset: Dataset, masks: int = 50) -> Any:
        """Predictions and their standard deviations, by sampled dropout and learned errors (Kendall and Gal 2017).

        Parameters
        ----------
        dataset : dc.data.Dataset
        masks : int
            Samples of the dropout.

        Returns
        -------
        (numpy.ndarray, numpy.ndarray)
        """
        if not self.uncertainty:
            raise ValueError("uncertainty: False; construct the model with uncertainty=True")
        network = cast(NEGNN, self.components["network"])
        network.sampling = True
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                return super().predict_uncertainty(dataset, masks)
        finally:
            network.sampling = False


_PLAIN = ("mode", "n_tasks", "n_classes", "level", "uncertainty", "kernel_share")
_BOUND = ("backbone", "hidden", "dropout", "layers", *_PLAIN)
_LATER = ("width", "fine_tune", "physics", "cutoff", "max_neighbors")  # unknown to configurations of version 0.1


class _UntilTheEnd(WarmUpCosine):
    """A schedule that ends with the epochs asked for."""


def _opened(pretrained: str | Path | CrystalSSLModel | None) -> CrystalSSLModel | None:
    """The model whose encoder is used; of a model that was given, nothing is changed."""
    if pretrained is None or isinstance(pretrained, CrystalSSLModel):
        return pretrained
    return CrystalSSLModel.from_folder(DEFAULT if pretrained == "default" else pretrained)


def _columns(encoder: CrystalEncoder | None, layers: Sequence[int] | None, physics: bool) -> int:
    if encoder is None:
        return 0
    n_physics = SITE_PHYSICS + CRYSTAL_PHYSICS if physics else 0
    return n_physics + encoder.n_inputs_of_network(layers)
