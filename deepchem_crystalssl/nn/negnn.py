"""Node-embedding graph neural networks, whose sites carry the vectors of a pretrained encoder (NEGNN)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crystals.elements import element_features
from ..errors import LabelError
from .backbones import Backbone
from .crystal_encoder import CrystalEncoder, mean_and_std
from .layers import mlp
from .graph_batch import GraphBatch
from .message_passing import mean_over_sites, sum_species
from .normalization import BatchRenorm, slow_statistics

PHYSICS_WEIGHT = 3.0
"""Weight of a number of physics in a kernel, in standard deviations; an attribute has about 1."""

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


class KernelRegression(nn.Module):
    r"""Laplacian kernel regressions that were fitted elsewhere, and their weight in a prediction.

    .. math:: f_t(x) = c_t + \sum_r w_{rt} \, e^{-\gamma_t |a_t (x - x_r)|_1}

    with weights :math:`a_t` of the columns. Their weight, the buffer ``share``, is 0 before they are fitted.

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

    def __init__(self, n_tasks: int):
        super().__init__()
        self.take(torch.zeros(0, 0), torch.zeros(0, n_tasks), torch.ones(n_tasks), torch.zeros(n_tasks), 0.0)

    def take(
        self, rows: Tensor, weights: Tensor, gamma: Tensor, center: Tensor, share: float, columns: Tensor | None = None
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
        """
        if columns is None:
            columns = rows.new_ones(len(center), rows.shape[1])
        values = {"rows": rows, "weights": weights, "gamma": gamma, "center": center, "columns": columns}
        for name, value in {**values, "share": torch.tensor(share)}.items():
            self.register_buffer(name, value.float())

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) to (B, n_tasks)."""
        tasks = [
            torch.exp(-gamma * torch.cdist(x * columns, self.rows * columns, p=1)) @ w
            for gamma, columns, w in zip(self.gamma, self.columns, self.weights.T, strict=True)
        ]
        return torch.stack(tasks, dim=1) + self.center

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Make room for as many rows as were saved; before version 0.2 all columns had the weight 1."""
        if prefix + "rows" in state_dict and prefix + "columns" not in state_dict:
            rows, weights = state_dict[prefix + "rows"], state_dict[prefix + "weights"]
            state_dict[prefix + "columns"] = rows.new_ones(weights.shape[1], rows.shape[1])
        for name in ("rows", "weights", "columns"):
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_zeros(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


class PropertyPredictor(nn.ModuleDict):
    """Encoder, network, kernel and scale of the labels as one module, whose output is the prediction.

    Parameters
    ----------
    components : dict from str to Module
        "network", "labels" and, if there are any, "encoder" and "kernel".
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

    def inputs_of_network(self, inputs: tuple[GraphBatch, Tensor | None]) -> tuple[GraphBatch, Tensor | None]:
        """Batch and pretrained vectors; vectors that are None are computed."""
        batch, vectors = inputs
        if vectors is None and "encoder" in self:
            vectors = cast(CrystalEncoder, self["encoder"]).standardized_sites(batch, self.layers)
        return batch, vectors

    def raw(self, inputs: tuple[GraphBatch, Tensor | None]) -> Tensor:
        """The outputs of the network, (B or A, outputs), in standard deviations of the labels."""
        return self["network"](*self.inputs_of_network(inputs))

    def forward(self, inputs: tuple[GraphBatch, Tensor | None]) -> Tensor | tuple[Tensor, Tensor]:
        """Values (B or A, n_tasks), with variances if these are learned; or probabilities and logits of classes."""
        raw = self.raw(inputs)
        if self.mode == "classification":
            logits = raw.view(len(raw), self.n_tasks, self.n_classes) if self.n_tasks > 1 else raw
            return logits.softmax(-1), logits
        scale = cast(LabelScale, self["labels"])
        values = raw[:, : self.n_tasks] * scale.width + scale.center
        kernel = cast("KernelRegression | None", self["kernel"] if "kernel" in self else None)
        if kernel is not None and bool(kernel.share):
            batch, vectors = inputs
            described = cast(CrystalEncoder, self["encoder"]).describe(batch)
            if self.n_physics and vectors is not None:
                numbers = PHYSICS_WEIGHT * mean_over_sites(batch, vectors[:, -self.n_physics :])
                described = torch.cat([described, numbers], dim=1)
            values = torch.lerp(values, kernel(described), kernel.share)
        if raw.shape[1] == self.n_tasks:
            return values
        spread = raw[:, self.n_tasks :].clamp(-7.0, 7.0).exp() * scale.width
        return values, 2.0 * spread**2  # of a Laplace distribution
