"""Optimizers and learning-rate schedules, as DeepChem objects."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from deepchem.models.optimizers import AdamW, LearningRateSchedule


class FusedAdamW(AdamW):
    """DeepChem's AdamW with PyTorch's fused kernel, which updates all weights in one pass over memory."""

    def _create_pytorch_optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = super()._create_pytorch_optimizer(params)
        return torch.optim.AdamW([{**group, "fused": True} for group in optimizer.param_groups], fused=True)


class WarmUpCosine(LearningRateSchedule):
    """A learning rate that rises linearly to its maximum and then falls by half a cosine to 1 % of the maximum.

    Parameters
    ----------
    learning_rate : float
        Maximum of the learning rate.
    total_steps : int
        Number of steps of the whole training. After it the learning rate stays at 1 % of the maximum.
    warm_up : float
        Fraction of the steps in which the learning rate rises.
    """

    def __init__(self, learning_rate: float, total_steps: int, warm_up: float = 0.05):
        self.initial_rate = learning_rate
        self.total_steps = total_steps
        self.warm_up = warm_up

    def factor(self, step: int) -> float:
        """Return the learning rate at a step as a fraction of its maximum."""
        top = max(1.0, self.warm_up * self.total_steps)
        if step < top:
            return (step + 1) / (top + 1)
        done = min(1.0, (step - top) / max(1.0, self.total_steps - top))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))

    def _create_pytorch_schedule(self, optimizer: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)


class UntilTheEnd(WarmUpCosine):
    """A schedule that ends with the epochs asked for."""
