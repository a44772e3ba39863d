"""Pretext objectives: the losses that a model without labels is trained on.

An objective is a loss of what the encoders make of a batch, with a head of its own where it needs one. Patterns,
elements, distances and densities follow from the structure itself: no objective needs a calculation or a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from ..nn.crystal_encoder import CrystalEncoder
from .._names import renamed_names, warn_of_new_name
from .answers import Labels, ModelPhysics
from .batch import Modality, PretextBatch
from .contrastive import BarlowTwins, CrystalXRDTriplet, InfoNCE, TwoViews
from .denoising import DenoisedCell, DenoisedSites
from .descriptors import BondValences, Descriptors, SiteDescriptors
from .reconstruction import DenoisedDistances, MaskedSites


class Objective(Protocol):
    """A named loss with, where it needs one, a head."""

    @property
    def name(self) -> str:
        """Name of the loss in logs, and of its head in checkpoints."""

    @property
    def modalities(self) -> Collection[Modality]:
        """What the loss needs of a batch: the whole crystals, their patterns, their ideal patterns.

        It is empty for a loss that masks or moves part of the crystals: such a loss makes its own views of them.
        """

    def build_head(self, crystal_encoder: CrystalEncoder) -> nn.Module:
        """The head; an empty module if there is none."""

    def __call__(self, batch: PretextBatch, head: Any) -> Tensor:
        """The loss, a scalar."""


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    cls.__name__: cls
    for cls in (
        CrystalXRDTriplet,
        InfoNCE,
        MaskedSites,
        TwoViews,
        BarlowTwins,
        DenoisedDistances,
        DenoisedSites,
        DenoisedCell,
        ModelPhysics,
        Labels,
        Descriptors,
        SiteDescriptors,
        BondValences,
    )
}
"""Objectives by the name of their class, as configurations give it."""


def needed_modalities(objectives: Iterable[Objective]) -> frozenset[Modality]:
    """All modalities that some objectives need of a batch; ideal patterns are drawn beside measured ones."""
    needed: set[Modality] = set()
    for objective in objectives:
        if not hasattr(objective, "modalities") and hasattr(objective, "looks_at"):  # written for the version before
            warn_of_new_name(f"{type(objective).__name__}.looks_at", "modalities")
            needed.update(objective.looks_at)
        else:
            needed.update(objective.modalities)
    return frozenset(needed | {"patterns"} if "ideal patterns" in needed else needed)


def needed_of_encoder(objectives: Iterable[Objective]) -> dict[str, Any]:
    """Arguments of the crystal encoder that some objectives need."""
    needed: dict[str, Any] = {}
    for objective in objectives:
        for name, value in getattr(objective, "encoder_needs", {}).items():
            needed[name] = {**needed.get(name, {}), **value} if isinstance(value, dict) else value
    return needed


# Configurations

_OLD_CLASSES = {"Valences": "BondValences"}
_OLD_FIELDS = {
    "InfoNCE": {"views": "modalities"},
    "MaskedSites": {"share": "mask_rate"},
    "TwoViews": {"share": "mask_rate"},
    "BarlowTwins": {"share": "mask_rate"},
}
_REMOVED_FIELDS: dict[str, dict[str, Any]] = {
    "CrystalXRDTriplet": {"policy": "non-easy"},
    "MaskedSites": {"elements": True},
}
"""Options of an earlier version that are no longer there, and the only value that they may have had."""


def current_configuration(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of an objective under the names of this version.

    Parameters
    ----------
    fields : dict
        ``"class"`` and the arguments of the class, under the names of this version or an earlier one.

    Examples
    --------
    >>> current_configuration({"class": "TwoViews", "share": 0.2})
    {'class': 'TwoViews', 'mask_rate': 0.2}
    """
    name = _OLD_CLASSES.get(fields["class"], fields["class"])
    new_names, removed = _OLD_FIELDS.get(name, {}), _REMOVED_FIELDS.get(name, {})
    known = {key: value for key, value in fields.items() if key not in removed or value != removed[key]}
    return {"class": name} | {new_names.get(key, key): value for key, value in known.items() if key != "class"}


def objective_from_configuration(fields: Mapping[str, Any]) -> Objective:
    """The objective that a configuration describes, under the names of this version or an earlier one.

    Parameters
    ----------
    fields : dict
        ``"class"`` and the arguments of the class.

    Raises
    ------
    KeyError, TypeError
        If the class or an argument is not known.
    """
    arguments = current_configuration(fields)
    return OBJECTIVES[arguments.pop("class")](**arguments)


def _valences(weight: float = 1.0, name: str = "valences") -> BondValences:
    return BondValences(weight, name)


_valences.__name__ = "BondValences"
__getattr__ = renamed_names(__name__, {"Valences": _valences})
