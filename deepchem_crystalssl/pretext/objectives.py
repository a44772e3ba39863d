"""Pretext objectives: what a model is trained for when nothing is labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .losses import bidirectional_triplet_loss


class Objective(Protocol):
    """A named loss of a batch's views."""

    @property
    def name(self) -> str:
        """What the loss is called in logs."""

    def __call__(self, views: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """Scalar loss of ``views``: ``crystal`` (B, F) and ``xrd`` (B, F), ``same`` (B, B)."""


@dataclass(frozen=True)
class CrystalXRDTriplet:
    """A crystal and its powder pattern meet in one space (Suzuki et al. 2022).

    Parameters
    ----------
    margin : float
        Margin of the triplet loss.
    """

    margin: float = 1.0
    name: str = "crystal_xrd_triplet"

    def __call__(self, views: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """Bidirectional triplet loss of the views ``crystal`` and ``xrd``."""
        return bidirectional_triplet_loss(views["crystal"], views["xrd"], self.margin, views["same"], generator)


PRESETS: dict[str, tuple[Objective, ...]] = {"suzuki2022": (CrystalXRDTriplet(),)}
"""Published methods by name."""
