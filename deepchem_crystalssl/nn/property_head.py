"""From crystals to labels: the head that fine-tuning puts on a pretrained encoder."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .crystal_encoder import CrystalEncoder
from .layers import mlp
from .message_passing import GraphBatch

Task = Literal["pretraining", "regression", "classification"]


def property_head(encoder: CrystalEncoder, task: Task, n_tasks: int = 1, n_classes: int = 2) -> nn.Module:
    """A small network from the encoder's readout to n_tasks values, or n_tasks n_classes logits."""
    return mlp([encoder.pooled_size, 128, n_tasks * (n_classes if task == "classification" else 1)])


class Components(nn.ModuleDict):
    """Encoders and heads as one module, whose output is what the task predicts.

    Parameters
    ----------
    modules : dict from str to Module
        "crystal_encoder", and for a task with labels "property_head".
    task : {"pretraining", "regression", "classification"}
    n_tasks : int
    """

    def __init__(self, modules: dict[str, nn.Module], task: Task, n_tasks: int):
        super().__init__(modules)
        self.task = task
        self.n_tasks = n_tasks

    def forward(self, inputs: tuple[GraphBatch, Any, Any]) -> Tensor | tuple[Tensor, Tensor]:
        """(batch, patterns, ideal patterns) to crystal vectors, to values (B, n_tasks), or to probabilities and logits.

        Of classes, (B, n_tasks, n_classes), or (B, n_classes) for one task, as DeepChem's classifiers.
        """
        batch = inputs[0]
        encoder = cast(CrystalEncoder, self["crystal_encoder"])
        if self.task == "pretraining":
            return encoder(batch)
        values = self["property_head"](encoder.pool(batch, encoder.encode_sites(batch)))
        if self.task == "regression":
            return values
        logits = values.view(len(batch), self.n_tasks, -1) if self.n_tasks > 1 else values
        return logits.softmax(-1), logits


def property_loss(output: Tensor | tuple[Tensor, Tensor], labels: Tensor, weights: Tensor, task: Task) -> Tensor:
    """Weighted mean squared error, or cross-entropy; labels of weight 0 play no part.

    Raises
    ------
    ValueError
        If no label of the batch has a weight: the loss would be zero, and nothing learned.
    """
    weights = weights.reshape(len(weights), -1)
    total = weights.sum()
    if not bool(total > 0):
        raise ValueError("w: every weight of the batch is 0 (unlabelled data?); a task with labels needs labels")
    labels = labels.reshape(len(labels), -1)
    if task == "regression":
        errors = (cast(Tensor, output) - labels) ** 2
    else:
        logits = output[1]
        flat = logits.reshape(-1, logits.shape[-1])
        errors = F.cross_entropy(flat, labels.long().reshape(-1), reduction="none").view_as(labels)
    return torch.sum(errors * weights) / total
