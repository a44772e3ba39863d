"""Node-embedding graph neural networks, whose sites carry the vectors of a pretrained encoder (NEGNN)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crystals.elements import element_features
from ..errors import LabelError
from .backbones import BACKBONES, Backbone
from .crystal_encoder import CrystalEncoder, mean_and_std
from .layers import mlp
from .graph_batch import GraphBatch
from .message_passing import mean_over_sites, sum_species
from .normalization import BatchRenorm, slow_statistics

PHYSICS_WEIGHT = 3.0
"""Weight of a number of physics in a kernel, in standard deviations; an attribute has about 1."""

_LOG_WIDTHS = (-7.0, 7.0)

Mode = Literal["regression", "classification"]
PredictionLevel = Literal["crystal", "site"]


class NEGNN(nn.Module):
    r"""A graph network whose site inputs are element attributes joined with pretrained vectors (Kong et al. 2024).

    .. math::
        x_i &= W_z \, a(z_i) + W_h \, h_i + b \\
        y_i &= [x_i, \mathrm{backbone}(x)_i] \\
        \hat y &= \phi([\langle y_i \rangle_i, \sigma(y_i)_i]) \quad\text{of a crystal, or}\quad
        \hat y_i = \phi(y_i) \quad\text{of its sites}

    Here a are the 92 tabulated attributes of an element and h the standardised vectors of a pretrained encoder. The
    readout of a crystal is mean and standard deviation over its sites.

    Parameters
    ----------
    backbone : module with a ``width``
        Maps site vectors to site vectors.
    n_outputs : int
        Number of outputs.
    n_pretrained : int
        Number of columns of the pretrained vectors; 0 for a network without them, the control.
    level : {"crystal", "site"}
        Whether crystals or sites have a prediction.
    hidden : int
        Width of the layer before the outputs.
    dropout : float
        Dropout rate of the layer before the outputs. There is no dropout before a norm, because it would change the
        statistics of the inputs.

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> from deepchem_crystalssl.nn.backbones import CGCNN
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> batch = GraphBatch.from_graphs(structures_to_graphs([salt, salt]))
    >>> NEGNN(CGCNN(width=16), n_outputs=3)(batch).shape
    torch.Size([2, 3])
    """

    element_features: Tensor

    def __init__(
        self,
        backbone: Backbone,
        n_outputs: int = 1,
        n_pretrained: int = 0,
        level: PredictionLevel = "crystal",
        hidden: int = 128,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.level = level
        self.dropout = dropout
        self.sampling = False
        self.register_buffer("element_features", torch.tensor(element_features()), persistent=False)
        self.embed_elements = nn.Linear(self.element_features.shape[1], backbone.width)
        self.embed_pretrained = None
        if n_pretrained:
            self.embed_pretrained = nn.Linear(n_pretrained, backbone.width, bias=False)
        self.backbone = backbone
        per_site = 2 * backbone.width
        self.hidden = mlp([2 * per_site if level == "crystal" else per_site, hidden])
        self.norm = BatchRenorm(hidden)
        self.output = nn.Linear(hidden, n_outputs)
        slow_statistics(self)

    def forward(self, batch: GraphBatch, pretrained: Tensor | None = None) -> Tensor:
        """Outputs of crystals (B, n_outputs), or of sites (A, n_outputs); ``pretrained`` is (A, n_pretrained)."""
        return self.output(self._dropped(self.read_out(batch, pretrained)))

    def read_out(self, batch: GraphBatch, pretrained: Tensor | None = None) -> Tensor:
        """The layer before the outputs, (B, hidden), or (A, hidden) for sites."""
        sites = sum_species(batch, self.embed_elements(self.element_features))
        if self.embed_pretrained is not None:
            assert pretrained is not None
            sites = sites + self.embed_pretrained(pretrained)
        sites = torch.cat([sites, self.backbone(batch, sites)], dim=1)
        seen = mean_and_std(batch, sites) if self.level == "crystal" else sites
        return F.silu(self.norm(self.hidden(seen)))

    def _dropped(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, training=self.training or self.sampling)


def build_networks(
    n_networks: int, seed: int, backbone: str | Backbone, width: int | None, *arguments: Any
) -> dict[str, nn.Module]:
    """Networks as components of a model, "network", "network_2", ..., each initialised with the next seed.

    Parameters
    ----------
    n_networks, seed : int
    backbone : str or module
        A name, from which each network gets a backbone of its own, or the module of a single network.
    width : int, optional
        Width of a backbone that is named.
    *arguments
        Further ones of :class:`NEGNN`.
    """
    networks: dict[str, nn.Module] = {}
    for k in range(n_networks):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + k)
            options = {} if width is None else {"width": width}
            between = BACKBONES[backbone](**options) if isinstance(backbone, str) else backbone
            networks[f"network_{k + 1}" if k else "network"] = NEGNN(between, *arguments)
    return networks


class LabelScale(nn.Module):
    """Median and standard deviation of the labels, (n_tasks,) each.

    Parameters
    ----------
    n_tasks : int
    """

    center: Tensor
    width: Tensor
    known: Tensor

    def __init__(self, n_tasks: int):
        super().__init__()
        self.register_buffer("center", torch.zeros(n_tasks))
        self.register_buffer("width", torch.ones(n_tasks))
        self.register_buffer("known", torch.tensor(False))

    def learn(self, labels: Tensor, weights: Tensor) -> None:
        """Take median and standard deviation of the labels whose weight is not 0.

        Parameters
        ----------
        labels, weights : Tensor
            (n, n_tasks).

        Raises
        ------
        LabelError
            If all weights are 0.
        """
        if not bool((weights > 0).any()):
            raise LabelError("w", "every weight is 0", "a model with labels needs labels", "Give the dataset y.")
        for task, (values, seen) in enumerate(zip(labels.T, weights.T > 0, strict=True)):
            if seen.any():
                self.center[task] = values[seen].median()
                self.width[task] = values[seen].std(correction=0).clamp(min=1e-6) if seen.sum() > 1 else 1.0
        self.known.fill_(True)


_UNKNOWN = -1.0  # not NaN: a state with NaN does not equal itself


class KernelRegression(nn.Module):
    r"""Laplacian kernel regressions that were fitted elsewhere, and their weight in a prediction.

    .. math:: f_t(x) = c_t + \sum_r w_{rt} \, e^{-\gamma_t |a_t (x - x_r)|_1}

    with weights :math:`a_t` of the columns. Their weight, the buffer ``share``, is 0 before they are fitted. The buffer
    ``error`` is the root mean square error of each regression in its cross-validation, in the units of the labels; it
    is negative where it was not kept.

    Parameters
    ----------
    n_tasks : int
    """

    rows: Tensor
    weights: Tensor
    gamma: Tensor
    center: Tensor
    share: Tensor
    columns: Tensor
    error: Tensor

    def __init__(self, n_tasks: int):
        super().__init__()
        self.take(torch.zeros(0, 0), torch.zeros(0, n_tasks), torch.ones(n_tasks), torch.zeros(n_tasks), 0.0)

    def take(
        self,
        rows: Tensor,
        weights: Tensor,
        gamma: Tensor,
        center: Tensor,
        share: float,
        columns: Tensor | None = None,
        error: Tensor | None = None,
    ) -> None:
        """Take over fitted regressions.

        Parameters
        ----------
        rows, weights : Tensor
            (n, F) and (n, n_tasks).
        gamma, center : Tensor
            (n_tasks,).
        share : float
        columns : Tensor, optional
            (n_tasks, F), the weight of each column; by default all have the weight 1.
        error : Tensor, optional
            (n_tasks,), root mean square errors in cross-validation; by default unknown.
        """
        if columns is None:
            columns = rows.new_ones(len(center), rows.shape[1])
        if error is None:
            error = torch.full_like(center, _UNKNOWN)
        values = {"rows": rows, "weights": weights, "gamma": gamma, "center": center, "columns": columns}
        for name, value in {**values, "error": error, "share": torch.tensor(share)}.items():
            self.register_buffer(name, value.float())

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) to (B, n_tasks)."""
        tasks = [
            torch.exp(-gamma * torch.cdist(x * columns, self.rows * columns, p=1)) @ w
            for gamma, columns, w in zip(self.gamma, self.columns, self.weights.T, strict=True)
        ]
        return torch.stack(tasks, dim=1) + self.center

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Make room for as many rows as were saved.

        Before version 0.2 all columns had the weight 1, and the error in cross-validation was not kept.
        """
        if prefix + "rows" in state_dict:
            rows, n_tasks = state_dict[prefix + "rows"], state_dict[prefix + "weights"].shape[1]
            state_dict.setdefault(prefix + "columns", rows.new_ones(n_tasks, rows.shape[1]))
            state_dict.setdefault(prefix + "error", rows.new_full((n_tasks,), _UNKNOWN))
        for name in ("rows", "weights", "columns"):
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_zeros(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


class PropertyPredictor(nn.ModuleDict):
    r"""Encoder, networks, kernel and scale of the labels as one module, whose output is the prediction.

    The prediction of a regression is made by the mean over the networks, :math:`\bar f`, and by the kernel k, with its
    share s. Its variance is made of the variance between the networks, of the mean :math:`\sigma_l^2` of the variances
    that they have learned, and of the error :math:`\sigma_k` of the kernel in its cross-validation:

    .. math::
        \hat y &= (1 - s) \, \bar f + s \, k \\
        \sigma^2 &= (1 - s)^2 \, \mathrm{Var}_m f_m + \big((1 - s) \, \sigma_l + s \, \sigma_k\big)^2

    The networks differ by what was drawn at random, of which the errors of the kernel are independent: the squares are
    added. The learned error and that of the kernel are errors on the same labels, with the same noise. They are
    added as if they were fully correlated, which is an upper bound. A part that is not there is 0. Where the error of a
    kernel was not kept, :math:`\sigma_l` stands for it.

    Parameters
    ----------
    components : dict from str to Module
        "network", "labels" and, if there are any, "network_2", "network_3", ..., "encoder" and "kernel".
    mode : {"regression", "classification"}
    n_tasks, n_classes : int
    layers : sequence of int, optional
        Layers of the encoder whose vectors are used; by default its descriptor of sites.
    n_physics : int
        The last columns of the vectors of sites are this many numbers of the crystal, which the kernel uses too.
    """

    def __init__(
        self,
        components: dict[str, nn.Module],
        mode: Mode,
        n_tasks: int,
        n_classes: int,
        layers: Sequence[int] | None,
        n_physics: int = 0,
    ):
        super().__init__(components)
        self.mode, self.n_tasks, self.n_classes, self.layers = mode, n_tasks, n_classes, layers
        self.n_physics = n_physics

    @property
    def networks(self) -> list[NEGNN]:
        """The networks, whose predictions are averaged."""
        return [cast(NEGNN, part) for name, part in self.items() if name.startswith("network")]

    def inputs_of_network(self, inputs: tuple[GraphBatch, Tensor | None]) -> tuple[GraphBatch, Tensor | None]:
        """Batch and pretrained vectors; vectors that are None are computed."""
        batch, vectors = inputs
        if vectors is None and "encoder" in self:
            vectors = cast(CrystalEncoder, self["encoder"]).standardized_sites(batch, self.layers)
        return batch, vectors

    def forward(self, inputs: tuple[GraphBatch, Tensor | None]) -> Tensor | tuple[Tensor, ...]:
        """Values (B or A, n_tasks), or probabilities and logits of classes.

        Variances follow if these are learned, or if there are several networks.
        """
        seen = self.inputs_of_network(inputs)
        raw = torch.stack([network(*seen) for network in self.networks])
        return self._classes(raw) if self.mode == "classification" else self._values(raw, inputs)

    def _classes(self, raw: Tensor) -> tuple[Tensor, ...]:
        """Means over the networks (K, B or A, outputs); the logarithms of probabilities are logits, too."""
        logits = raw.view(*raw.shape[:2], self.n_tasks, self.n_classes) if self.n_tasks > 1 else raw
        if len(raw) == 1:
            return logits[0].softmax(-1), logits[0]
        probabilities = logits.softmax(-1)
        joint = logits.log_softmax(-1).logsumexp(0) - math.log(len(raw))
        return probabilities.mean(0), joint, probabilities.var(0)

    def _values(self, raw: Tensor, inputs: tuple[GraphBatch, Tensor | None]) -> Tensor | tuple[Tensor, ...]:
        """Values, and variances if there are any, from the outputs of the networks, (K, B or A, outputs)."""
        scale = cast(LabelScale, self["labels"])
        of_networks = raw[..., : self.n_tasks] * scale.width + scale.center
        values, learned = of_networks.mean(0), torch.zeros_like(of_networks[0])
        between = of_networks.var(0) if len(raw) > 1 else learned
        if raw.shape[-1] > self.n_tasks:
            widths = raw[..., self.n_tasks :].clamp(*_LOG_WIDTHS).exp() * scale.width
            learned = (2.0 * widths**2).mean(0)  # of Laplace distributions
        kernel = cast("KernelRegression | None", self["kernel"] if "kernel" in self else None)
        if kernel is not None and bool(kernel.share):
            values = torch.lerp(values, kernel(self._described(inputs)), kernel.share)
            of_kernel = torch.where(kernel.error < 0, learned.sqrt(), kernel.error)
            between = (1.0 - kernel.share) ** 2 * between
            learned = torch.lerp(learned.sqrt(), of_kernel, kernel.share) ** 2
        return (values, between + learned) if len(raw) > 1 or raw.shape[-1] > self.n_tasks else values

    def _described(self, inputs: tuple[GraphBatch, Tensor | None]) -> Tensor:
        """What the kernel knows of crystals, (B, F)."""
        batch, vectors = inputs
        described = cast(CrystalEncoder, self["encoder"]).describe(batch)
        if self.n_physics and vectors is not None:
            numbers = PHYSICS_WEIGHT * mean_over_sites(batch, vectors[:, -self.n_physics :])
            described = torch.cat([described, numbers], dim=1)
        return described

    def outputs_of_prediction(self, prediction: Tensor | tuple[Tensor, ...]) -> Tensor:
        """The outputs that one network alone would need to make a prediction of :meth:`forward`, for its loss."""
        if self.mode == "classification":
            return prediction[1].flatten(1)
        scale = cast(LabelScale, self["labels"])
        values, *variance = prediction if isinstance(prediction, tuple) else (prediction,)
        raw = (values - scale.center) / scale.width
        if self.networks[0].output.out_features == self.n_tasks:
            return raw
        return torch.cat([raw, ((variance[0] / 2.0).sqrt() / scale.width).log()], dim=1)

    def loss(self, raw: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Mean absolute error in standard deviations of the labels, a Laplace likelihood, or cross-entropy.

        Parameters
        ----------
        raw : Tensor
            Outputs of a network, (B or A, outputs).
        labels, weights : Tensor
            (B or A, n_tasks).
        """
        if self.mode == "classification":
            logits = raw.reshape(-1, self.n_classes)
            errors = F.cross_entropy(logits, labels.long().reshape(-1), reduction="none").view_as(labels)
        else:
            scale = cast(LabelScale, self["labels"])
            errors = (raw[:, : self.n_tasks] - (labels - scale.center) / scale.width).abs()
            if raw.shape[1] > self.n_tasks:
                log_width = raw[:, self.n_tasks :].clamp(*_LOG_WIDTHS)
                errors = errors * torch.exp(-log_width) + log_width
        return (errors * weights).sum() / weights.sum().clamp(min=1e-12)
