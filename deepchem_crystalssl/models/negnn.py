"""NEGNN as a DeepChem model: properties of crystals or of their sites, from few labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from deepchem.data import Dataset
from torch import Tensor, nn

from ..errors import CheckpointError, OptionError
from ..data.datasets import records_of
from .checkpoints import PLAIN, check_backbone, negnn_arguments
from .embedding import evaluation_mode
from .folders import DEFAULT, open_folder
from .frozen import SiteVectors, columns_of_sites, learn_kernel
from .model_physics import CRYSTAL_PHYSICS
from .inputs import check_dataset, warn_of_other_graphs
from .labels import LabelReader
from .pretraining import CrystalSSLModel
from ..nn.backbones import Backbone
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.graph_batch import GraphBatch
from ..nn.links import Engine
from ..nn.negnn import KernelRegression, LabelScale, Mode, PredictionLevel, PropertyPredictor, build_networks
from ..nn.normalization import slow_statistics
from .optimizers import FusedAdamW, UntilTheEnd
from .options import check_layers, check_negnn
from ..pretext.objectives import Descriptors
from .resumable import SEED_STRIDE, ResumableModel
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
        crystals with a frozen encoder; otherwise the network predicts alone. ``fit`` writes its cross-validated error
        to the log. Without it (``kernel_share=0``) the errors of six sets of properties were 2 to 4 % larger on
        average, from 100 labels to several thousand.
    width : int, optional
        Size of the site vectors in a backbone given by name; by default 64.
    hidden, dropout : int, float
        Size of the layer before the outputs, and the part of it that is left out in training.
    uncertainty : bool
        Whether the error of each prediction is learned too, for :meth:`predict_uncertainty`.
    n_networks : int
        Number of networks, whose predictions (of a classification: probabilities) are averaged; how far they differ is
        part of :meth:`predict_uncertainty`. They are trained independently in one fit: network k is initialised, draws
        its dropout and has its gradients clipped as that of a model with ``seed=seed + k``. They share the encoder, the
        kernel and the order of the batches. It takes a frozen encoder, and a backbone given by name.
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
        n_networks: int = 1,
        **kwargs: Any,
    ):
        kernel_share = (0.5 if physics else 0.25) if kernel_share is None else kernel_share
        check_negnn(
            mode=mode, n_tasks=n_tasks, n_classes=n_classes, level=level, backbone=backbone, width=width,
            uncertainty=uncertainty, fine_tune=fine_tune, pretrained=pretrained, physics=physics,
            kernel_share=kernel_share, hidden=hidden, dropout=dropout, learning_rate=learning_rate, engine=engine,
            n_networks=n_networks,
        )  # fmt: skip
        self.mode, self.n_tasks, self.n_classes, self.level = mode, n_tasks, n_classes, level
        self.labels = LabelReader(mode, n_tasks, n_classes, level)
        self.kernel_share, self.physics, self.n_networks = kernel_share, physics, int(n_networks)
        self.layers, self.fine_tune, self.uncertainty, self.engine = layers, fine_tune, uncertainty, engine
        source = _opened(pretrained)
        self._encoder_arguments = None if source is None else source.descriptor_arguments
        encoder = None if source is None else deepcopy(source.descriptor_encoder)
        if encoder is not None:
            check_layers(layers, len(encoder.convolutions))
        self._width, self._backbone, self._hidden, self._dropout = width, backbone, hidden, dropout
        n_outputs = n_tasks * (n_classes if mode == "classification" else 1 + uncertainty)
        n_columns = columns_of_sites(encoder, layers, physics)
        networks = build_networks(self.n_networks, seed, backbone, width, n_outputs, n_columns, level, hidden, dropout)
        self.components = {**networks, "labels": LabelScale(n_tasks)}
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
            kwargs["optimizer"] = FusedAdamW(UntilTheEnd(learning_rate, 1), weight_decay=0.01)
        varies = ["variance"] if uncertainty or self.n_networks > 1 else []
        kwargs.setdefault("output_types", ["prediction", *(["loss"] if mode == "classification" else []), *varies])
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
        arguments = {**negnn_arguments(config, source), **kwargs}
        check_backbone(arguments["backbone"], source)
        if "pretrained" not in kwargs and arguments["pretrained"] is not None:
            arguments["pretrained"] = CrystalSSLModel([Descriptors()], encoder=arguments["pretrained"])
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
            **{name: getattr(self, name) for name in PLAIN},
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

    def clipped_groups(self) -> list[list[nn.Parameter]]:
        """Gradients of several networks are clipped one network at a time, as if each were trained alone."""
        networks = self._predictor.networks
        return [list(part.parameters()) for part in networks] if len(networks) > 1 else super().clipped_groups()

    @property
    def _predictor(self) -> PropertyPredictor:
        return cast(PropertyPredictor, self.model)

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
                assert kernel is not None and self._site_vectors is not None
                graphs = records_of(dataset)
                learn_kernel(kernel, self._site_vectors, graphs, values, weights, self.kernel_share, self.seed)
        schedule = self.optimizer.learning_rate
        if isinstance(schedule, UntilTheEnd):
            schedule.total_steps = first_step + max(1, nb_epoch * self.count_batches(dataset))

    def _all_labels(self, dataset: Dataset) -> tuple[Tensor, Tensor]:
        """Labels and weights of a whole data set; sites are counted only where they are labelled."""
        sites = [graph.num_nodes for graph in records_of(dataset)] if self.level == "site" else None
        return self.labels.read_known(dataset.y, dataset.w, sites)

    def validate(self, dataset: Dataset) -> dict[str, float]:
        """Mean loss of the predictions on crystals not trained on: those of all networks and the kernel together.

        Returns
        -------
        dict from str to float
            ``loss``, over all known labels, each with its weight: that of the training (mean absolute error in standard
            deviations of the labels, Laplace likelihood or cross-entropy), of what :meth:`predict` gives.

        Raises
        ------
        LabelError
            If the labels do not fit, or none is known.
        """
        self.check_data(dataset, "dataset", 1)
        total, weight = 0.0, 0.0
        with evaluation_mode(self.model), torch.no_grad():
            for batch in self._in_order(dataset):
                inputs, (labels,), (weights,) = self._prepare_batch(batch)
                raw = self._predictor.outputs_of_prediction(self._predictor(inputs))
                loss = self._predictor.loss(raw, labels, weights)
                total, weight = total + float(loss) * float(weights.sum()), weight + float(weights.sum())
        return {"loss": total / weight}

    def loss_func(self, inputs: Inputs, labels: Any, weights: Any) -> Tensor:
        """Mean loss of the networks; the gradient of each is that of its own loss."""
        losses = []
        with torch.random.fork_rng(devices=[]):  # dropout is a function of seed and step
            torch.manual_seed(self.step_seed)
            seen = self._predictor.inputs_of_network(inputs)
            for k, network in enumerate(self._predictor.networks):
                torch.manual_seed(self.step_seed + k * SEED_STRIDE)
                losses.append(self._predictor.loss(network(*seen), labels[0], weights[0]))
        total = torch.stack(losses).sum()
        mean = total.detach() / len(losses)
        self._losses = {self.mode: mean}
        return total - (total.detach() - mean)

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
        """What the networks compute before their output layers, side by side.

        float32 (n, n_networks * hidden), or (sum of N, n_networks * hidden) for sites.
        """
        check_dataset(dataset)
        vectors = [np.empty((0, self.n_networks * self._hidden), np.float32)]
        with evaluation_mode(self.model), torch.no_grad():
            for inputs, _, _ in self.default_generator(dataset, mode="predict"):
                seen = self._predictor.inputs_of_network(self._prepare_batch((inputs, None, None))[0])
                read = [network.read_out(*seen) for network in self._predictor.networks]
                vectors.append(torch.cat(read, dim=1).float().cpu().numpy())
        return np.concatenate(vectors)

    def predict_uncertainty(self, dataset: Dataset, masks: int = 50) -> Any:
        r"""Predictions and their standard deviations.

        The variance of a prediction to which a kernel contributes the share s is

        .. math:: \sigma^2 = (1 - s)^2 \, \sigma_n^2 + \big((1 - s) \, \sigma_l + s \, \sigma_k\big)^2

        * :math:`\sigma_n` is the standard deviation between the networks (Lakshminarayanan et al. 2017). A single
          network is sampled with many masks of its dropout instead (Kendall and Gal 2017).
        * :math:`\sigma_l` is the error that the networks have learned with ``uncertainty=True``, otherwise 0.
        * :math:`\sigma_k` is the root mean square error of the kernel ridge in its cross-validation by chemical
          system, the same for all crystals. For a kernel saved by version 0.1 it is not known, and
          :math:`\sigma_l` is used in its place.

        What is drawn at random in the networks is independent of the kernel, and the squares are added. The learned
        error and that of the kernel refer to the same labels with the same noise; they are added as if they were fully
        correlated, which is an upper bound. Without ``uncertainty=True``, noise of the labels and
        errors that all networks have in common are counted in the kernel's part alone.

        Parameters
        ----------
        dataset : dc.data.Dataset
        masks : int
            Samples of the dropout of a single network; several networks are not sampled.

        Returns
        -------
        (numpy.ndarray, numpy.ndarray)
            Predictions and standard deviations; of a classification the probabilities of the classes, and their
            standard deviations between the networks.

        Raises
        ------
        OptionError
            If there is a single network that has learned no error.
        """
        if not self.uncertainty and self.n_networks == 1:
            rule = "a deviation is learned, or it is that between several networks"
            raise OptionError("uncertainty", False, rule, "Construct the model with uncertainty=True or n_networks=5.")
        if self.n_networks > 1:
            return super().predict_uncertainty(dataset, 1)
        network = self._predictor.networks[0]
        network.sampling = True
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                return super().predict_uncertainty(dataset, masks)
        finally:
            network.sampling = False


def _opened(pretrained: str | Path | CrystalSSLModel | None) -> CrystalSSLModel | None:
    """The model whose encoder is used; of a model that was given, nothing is changed."""
    if pretrained is None or isinstance(pretrained, CrystalSSLModel):
        return pretrained
    return CrystalSSLModel.from_folder(DEFAULT if pretrained == "default" else pretrained)
