"""Objectives that ask the encoder for numbers: those of model physics, or labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crystals.options import check_number
from ..errors import OptionError
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.negnn import LabelScale
from ..nn.ranks import Share
from .batch import Modality, PretextBatch

PHYSICS, LABELS = "model physics", "labels"
"""Subjects of the encoder's answers."""
N_CRYSTAL, N_SITE = 89, 11
"""Numbers of :mod:`deepchem_crystalssl.physics` for a crystal and for a site, which this room does not import."""


@dataclass(frozen=True)
class ModelPhysics:
    """Predict the numbers of springs and tight binding, of crystals and of their sites.

    The numbers (:func:`~deepchem_crystalssl.physics.columns.model_physics`) follow from the structure alone. They are
    computed when a crystal is first seen, in some 10 ms, and kept. The encoder's answers are columns of its descriptor
    at the cost of a small network.

    Parameters
    ----------
    weight : float
        Factor of the loss.
    """

    weight: float = 1.0
    name: str = "model_physics"
    modalities: ClassVar[frozenset[Modality]] = frozenset({"crystals", "model physics"})

    def __post_init__(self) -> None:
        check_number("weight", self.weight, least=0)

    @property
    def encoder_needs(self) -> dict[str, Any]:
        """Arguments of the encoder that this objective needs."""
        return {"answers": {PHYSICS: N_CRYSTAL}, "site_answers": {PHYSICS: N_SITE}}

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """No head is needed: the encoder has one."""
        return nn.Identity()

    def __call__(self, batch: PretextBatch, head: nn.Module) -> Tensor:
        """Smooth absolute error over crystals, plus that over sites, of the numbers that are known."""
        assert batch.physics is not None and batch.site_physics is not None
        encoder = batch.crystal_encoder
        of_crystals = encoder.answer(batch.pooled, PHYSICS)
        of_sites = encoder.answer_sites(batch.graphs, batch.site_layers, PHYSICS)
        share = batch.graphs.share
        errors = _known_error(of_crystals, batch.physics, share) + _known_error(of_sites, batch.site_physics, share)
        return self.weight * errors


@dataclass(frozen=True)
class Labels:
    """Predict labels of the crystals: the one objective that is not self-supervised.

    It tunes an encoder on whatever labels a data set has. A label that is NaN or infinite, or whose weight is 0, is
    unknown. The answers are columns of the encoder's descriptor. A model that was trained with it must be called
    supervised.

    Parameters
    ----------
    columns : sequence of str
        Tasks of the data set (``dataset.tasks``).
    weight : float
        Factor of the loss.

    Raises
    ------
    OptionError
        If no column is named, or one twice.

    Examples
    --------
    >>> Labels(["gap"]).columns
    ('gap',)
    """

    columns: Sequence[str] = ()
    weight: float = 1.0
    name: str = "labels"
    modalities: ClassVar[frozenset[Modality]] = frozenset({"crystals", "labels"})

    def __post_init__(self) -> None:
        columns = (self.columns,) if isinstance(self.columns, str) else tuple(map(str, self.columns))
        object.__setattr__(self, "columns", columns)
        if not columns or not all(columns) or len(set(columns)) < len(columns):
            raise OptionError("columns", columns, "labels are named, each once", "Name tasks of the data set.")
        check_number("weight", self.weight, least=0)

    @property
    def encoder_needs(self) -> dict[str, Any]:
        """Arguments of the encoder that this objective needs."""
        return {"answers": {LABELS: len(self.columns)}}

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """Median and standard deviation of the labels; the encoder has the rest."""
        return LabelScale(len(self.columns))

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """Mean absolute error in standard deviations, each column with the same weight."""
        assert batch.labels is not None and batch.label_weights is not None
        guess = batch.crystal_encoder.answer(batch.pooled, LABELS)
        labels = (batch.labels - head.center) / head.width
        errors = (guess - labels).abs() * batch.label_weights
        means = errors.sum(0) / batch.graphs.share.total(batch.label_weights.sum(0)).clamp(min=1e-12)
        return self.weight * means.mean()


def _known_error(guess: Tensor, target: Tensor, share: Share) -> Tensor:
    known = torch.isfinite(target)
    errors = F.smooth_l1_loss(guess, torch.where(known, target, 0.0), beta=0.5, reduction="none")
    return (errors * known).sum() / share.total(known.sum()).clamp(min=1)
