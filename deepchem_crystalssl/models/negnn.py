"""NEGNN as a DeepChem model: properties of crystals or of their sites, from few labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from hashlib import blake2b
from itertools import compress
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from deepchem.data import Dataset
from torch import Tensor, nn
from torch.nn import functional as F

from .checkpoints import read_json
from ..errors import CheckpointError, OptionError
from ..crystals.records import CrystalGraph
from ..data.datasets import records_of
from .embedding import SITES_PER_BATCH, batches_of_sites, embed_graphs, evaluation_mode
from ..evaluation.kernel_ridge import LaplacianRidgeCV
from .labels import LabelReader
from .pretraining import CrystalSSLModel
from ..nn.backbones import BACKBONES, Backbone
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.graph_batch import GraphBatch
from ..nn.links import Engine
from ..nn.negnn import NEGNN, KernelRegression, LabelScale, Mode, PredictionLevel, PropertyPredictor
from ..nn.normalization import slow_statistics
from .optimizers import FusedAdamW, WarmUpCosine
from .options import check_choice, check_count
from ..pretext.objectives import Descriptors
from .pretrained import load_pretrained
from .resumable import ResumableModel

Inputs = tuple[GraphBatch, Tensor | None]


class NEGNNModel(ResumableModel):
    """Graph networks that see sites through a pretrained encoder, as a DeepChem model (Kong et al. 2024).

    What a site's element is, and what the encoder knows of its surroundings, enter a graph network that is trained
    on the labels. Labels need no scaling: their mean and deviation are taken from the first data set that is fitted.

    Parameters
    ----------
    mode : {"regression", "classification"}
    n_tasks : int
        Columns of the labels. Unknown labels have weight 0; for sites they may also be NaN.
    backbone : {"cgcnn", "megnet", "alignn"} or module
        The network in between: a name, or a module of one's own with a ``width``, which maps
        (:class:`~deepchem_crystalssl.nn.graph_batch.GraphBatch`, sites (A, width)) to (A, width).
    pretrained : str, Path, CrystalSSLModel or None
        ``"default"``, a shipped name, a folder, or a model; None for the same network from scratch, the control.
    layers : sequence of int, optional
        The encoder's layers that are joined, 0 is the element, with its own bonds where the encoder knows them; None
        for its whole descriptor of sites, attributes and all layers. More columns ask for more labels.
    level : {"crystal", "site"}
        One value per crystal, or one per site: then y holds an array of N values (or (N, n_tasks)) for each crystal,
        as :func:`site_labels` makes them, and predictions come site after site.
    n_classes : int
        For classification.
    fine_tune : float, optional
        The encoder is trained too, at this learning rate. By default it is frozen, and its vectors are computed once
        per crystal, however many epochs there are.
    kernel_share : float
        How much of the prediction is a kernel ridge on the encoder's descriptor
        (:class:`~deepchem_crystalssl.LaplacianRidgeCV`, grouped by chemical system), fitted to the first
        data set that is fitted; gaps and moduli gain by it. Of more crystals than the kernel can hold (5,000), it takes
        so many and counts for so much less. For values of crystals from a frozen encoder; all else is left to the
        network.
    hidden, dropout : int, float
        Of the layer before the outputs; see :class:`~deepchem_crystalssl.nn.negnn.NEGNN`.
    uncertainty : bool
        Whether the error of every prediction is learned too, for ``predict_uncertainty``.
    learning_rate : float
        At the top of the schedule: 5 % warm-up, then half a cosine until the end of ``fit``. Another schedule, or
        another optimizer, goes in as ``optimizer=``.
    engine : {"auto", "dgl", "torch", "fused"}
        Who does the message passing.
    max_gradient, seed
        As in :class:`~deepchem_crystalssl.CrystalSSLModel`.
    **kwargs
        DeepChem's: ``batch_size``, ``model_dir``, ``device``, ``log_frequency``, ...

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
        fine_tune: float | None = None,
        kernel_share: float = 0.25,
        hidden: int = 128,
        dropout: float = 0.1,
        uncertainty: bool = False,
        learning_rate: float = 0.002,
        engine: Engine = "auto",
        max_gradient: float = 5.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        check_choice("mode", mode, get_args(Mode))
        check_choice("level", level, get_args(PredictionLevel))
        check_count("n_tasks", n_tasks, 1)
        check_count("n_classes", n_classes, 2)
        if isinstance(backbone, str):
            check_choice("backbone", backbone, BACKBONES)
        if uncertainty and mode != "regression":
            raise OptionError("uncertainty", True, "only a regression learns its error", "Use the probabilities.")
        if fine_tune is not None and pretrained is None:
            raise OptionError("fine_tune", fine_tune, "there must be an encoder to tune", "Name one with pretrained=.")
        if not 0 <= kernel_share <= 1:
            raise OptionError("kernel_share", kernel_share, "a share is between 0 and 1")
        self.mode, self.n_tasks, self.n_classes, self.level = mode, n_tasks, n_classes, level
        self.labels = LabelReader(mode, n_tasks, n_classes, level)
        self.kernel_share = kernel_share
        self.layers, self.fine_tune, self.uncertainty, self.engine = layers, fine_tune, uncertainty, engine
        self._encoder_arguments, encoder = _encoder_of(pretrained)
        self._backbone, self._hidden, self._dropout = backbone, hidden, dropout
        n_outputs = n_tasks * (n_classes if mode == "classification" else 1 + uncertainty)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            between = BACKBONES[backbone]() if isinstance(backbone, str) else backbone
            network = NEGNN(between, n_outputs, _columns(encoder, layers), level, hidden, dropout)
        self.components = {"network": network, "labels": LabelScale(n_tasks)}
        if encoder is not None:
            self.components["encoder"] = encoder
        if encoder is not None and fine_tune is not None:
            slow_statistics(encoder)
        if encoder is not None and fine_tune is None and mode == "regression" and level == "crystal":
            self.components["kernel"] = KernelRegression(n_tasks)
        self._vectors: dict[bytes, Tensor] = {}
        if "optimizer" not in kwargs:
            kwargs["optimizer"] = FusedAdamW(_UntilTheEnd(learning_rate, 1), weight_decay=0.01)
        outputs = ["prediction", "loss"] if mode == "classification" else ["prediction", "variance"]
        kwargs.setdefault("output_types", outputs if mode == "classification" or uncertainty else outputs[:1])
        kwargs.setdefault("batch_size", 64)
        super().__init__(self.build_model(), self.components, seed=seed, max_gradient=max_gradient, **kwargs)
        if encoder is not None and fine_tune is None:
            self.freeze_components(["encoder"])

    @classmethod
    def from_folder(cls, folder: str | Path, **kwargs: Any) -> NEGNNModel:
        """The model trained or saved in a folder, encoder included, from its configuration and newest checkpoint.

        Parameters
        ----------
        folder : str or Path
        **kwargs
            Arguments the checkpoint does not bind: ``engine``, ``batch_size``, ... and ``backbone``, if it was a
            module of one's own.

        Raises
        ------
        CheckpointError
            If the folder holds no such model.
        """
        config = read_json(folder)
        try:
            arguments = {name: config[name] for name in _BOUND}
            encoder = config["encoder"]
        except KeyError as error:
            raise CheckpointError(str(folder), f"no NEGNN ({error} is missing)", remedy="Name its folder.") from error
        if encoder is not None:
            encoder = CrystalSSLModel([Descriptors()], encoder=encoder)
        model = cls(**{**arguments, "pretrained": encoder, "model_dir": str(folder), **kwargs})
        model.restore(model_dir=str(folder))
        return model

    @property
    def config(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        backbone = self._backbone if isinstance(self._backbone, str) else type(self._backbone).__name__
        return {
            "class": type(self).__name__,
            "backbone": backbone,
            "hidden": self._hidden,
            "dropout": self._dropout,
            "layers": None if self.layers is None else list(self.layers),
            "encoder": self._encoder_arguments,
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @property
    def encoder(self) -> CrystalEncoder | None:
        """The pretrained encoder."""
        return cast("CrystalEncoder | None", self.components.get("encoder"))

    def build_model(self) -> nn.Module:
        """The components as one module."""
        return PropertyPredictor(self.components, self.mode, self.n_tasks, self.n_classes, self.layers)

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
        """Fit a kernel ridge for every task, on crystals whose label is known."""
        known = (weights > 0).numpy()
        labelled = np.flatnonzero(known.any(1))
        chosen = np.sort(np.random.RandomState(self.seed).permutation(labelled)[: LaplacianRidgeCV().max_rows])
        if known[chosen].sum(0).min() < _FEWEST_FOR_KERNEL:
            return
        is_chosen = np.isin(np.arange(len(known)), chosen)
        graphs = list(compress(records_of(dataset), is_chosen))
        assert self.encoder is not None
        x = embed_graphs(self.encoder, graphs, "crystal", None, self.engine, self.device, "descriptor")
        systems = np.array([graph.chemical_system for graph in graphs])
        y, w = labels.numpy()[chosen], known[chosen]
        duals, fits = np.zeros(y.shape), []
        for task in range(self.n_tasks):
            rows = w[:, task]
            fits.append(LaplacianRidgeCV().fit(x[rows], y[rows, task], systems[rows]))
            duals[rows, task] = fits[-1].dual_coef_
        gamma, center = (torch.tensor([getattr(fit, name) for fit in fits]) for name in ("gamma_", "intercept_"))
        kernel.take(
            torch.as_tensor(x), torch.as_tensor(duals), gamma, center, self.kernel_share * len(chosen) / len(labelled)
        )
        kernel.to(self.device)

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
        """Labels of weight 0 play no part."""
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
        inputs = GraphBatch.from_graphs(graphs, self.engine).to(self.device), self._pretrained(graphs)
        if not y:
            return inputs, [], []
        n_sites = [graph.num_nodes for graph in graphs] if self.level == "site" else None
        labels, weights = self.labels.read(y[0], w[0], n_sites)
        return inputs, [labels.to(self.device)], [weights.to(self.device)]

    def _pretrained(self, graphs: list[CrystalGraph]) -> Tensor | None:
        """The frozen encoder's vectors (A, F), from memory if training has seen the crystal."""
        if self.encoder is None or self.fine_tune is not None:
            return None
        keys = [_digest(graph) for graph in graphs]
        missing = {key: graph for key, graph in zip(keys, graphs, strict=True) if key not in self._vectors}
        found = dict(zip(missing, self._embed(list(missing.values())), strict=True)) if missing else {}
        if self.model.training:
            self._vectors |= found
        return torch.cat([found[key] if key in found else self._vectors[key] for key in keys]).float().to(self.device)

    def _embed(self, graphs: list[CrystalGraph]) -> Iterator[Tensor]:
        """Half precision, (N, F) of each."""
        assert self.encoder is not None
        for records in batches_of_sites(graphs, SITES_PER_BATCH):
            with evaluation_mode(self.encoder), torch.no_grad():
                batch = GraphBatch.from_graphs(records, self.engine).to(self.device)
                vectors = self.encoder.standardized_sites(batch, self.layers)
            yield from vectors.cpu().half().split(batch.num_sites.tolist())

    def take_over(self, states: Any, names: Iterable[str], source: str) -> None:
        """Load the weights of these components; vectors of another encoder are forgotten."""
        self._vectors.clear()
        super().take_over(states, names, source)

    # Use

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
_FEWEST_FOR_KERNEL = 10


class _UntilTheEnd(WarmUpCosine):
    """A schedule that ends with the epochs asked for."""


def _encoder_of(
    pretrained: str | Path | CrystalSSLModel | None,
) -> tuple[dict[str, Any] | None, CrystalEncoder | None]:
    """Arguments of the encoder, and the encoder, the model's own."""
    if pretrained is None:
        return None, None
    if isinstance(pretrained, CrystalSSLModel):
        return pretrained.encoder_arguments, deepcopy(pretrained.crystal_encoder)
    model = load_pretrained(None if pretrained == "default" else pretrained)
    return model.encoder_arguments, model.crystal_encoder


def _columns(encoder: CrystalEncoder | None, layers: Sequence[int] | None) -> int:
    if encoder is None:
        return 0
    return encoder.site_size if layers is None else encoder.width * len(layers)


def _digest(graph: CrystalGraph) -> bytes:
    """The same for the same record, whoever built it."""
    key = blake2b(digest_size=16)
    species = graph.species
    for values in (species.site, species.atomic_numbers, species.occupancy, graph.frac_coords, graph.lattice):
        key.update(np.asarray(values).tobytes())
    key.update(graph.distance.tobytes())
    return key.digest()
