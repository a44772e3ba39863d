"""Presets: the published methods and our own, each with its objectives and its encoders."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import OptionError, closest
from .objectives import (
    CrystalXRDTriplet,
    DenoisedCell,
    DenoisedSites,
    Descriptors,
    InfoNCE,
    MaskedSites,
    ModelPhysics,
    Objective,
    TwoViews,
)


@dataclass(frozen=True)
class Preset:
    """Objectives, with the encoders and the patterns that they are used with.

    Attributes
    ----------
    objectives : tuple of Objective
        Their losses are added.
    encoder, xrd_encoder : dict
        Arguments of :class:`~deepchem_crystalssl.nn.crystal_encoder.CrystalEncoder` and
        :class:`~deepchem_crystalssl.nn.xrd_encoder.XRDEncoder`.
    measured : bool
        Whether patterns are simulated as they would be measured, with effects of instrument and sample.
    """

    objectives: tuple[Objective, ...]
    encoder: Mapping[str, Any] = field(default_factory=dict)
    xrd_encoder: Mapping[str, Any] = field(default_factory=dict)
    measured: bool = False


_MASKED = MaskedSites(whole_species=True, edges=False, crystals=1 / 3)
_ALL_THREE = (
    InfoNCE(),
    InfoNCE(("crystals", "ideal patterns")),
    InfoNCE(("patterns", "ideal patterns")),
    _MASKED,
    Descriptors(),
)
_KNOWING = {"readout": "means", "attributes": True, "bond_relative": True, "angles": True, "long_range": True}
_DESCRIBED = (
    DenoisedSites(),
    DenoisedCell(),
    MaskedSites(whole_species=True, edges=False, crystals=1 / 3, weight=0.3),
    ModelPhysics(weight=4.0),
)
_DESCRIBING = {"readout": "means", "attributes": True, "bond_relative": True, "angles": True}
_FINE = {"axis": "log_q", "pooling": False}

PRESETS: dict[str, Preset] = {
    "suzuki2022": Preset(
        (CrystalXRDTriplet(),),
        {"hidden": (1024, 1024, 1024), "embedding_size": 1024, "unit_length": False},
        {"hidden": (1024, 1024), "power": 1.0, "unit_length": False},
    ),
    "kong2024": Preset((MaskedSites(),), {"n_layers": 5}),
    "kong2024-contrastive": Preset((TwoViews(),), {"n_layers": 5}),
    "joint": Preset(
        (InfoNCE(), _MASKED, Descriptors()),
        {"readout": "mean_std", "angles": True, "long_range": True},
        {"channels": 24},
    ),
    "joint-measured": Preset(
        _ALL_THREE,
        {**_KNOWING, "width": 96, "hidden": 512, "embedding_size": 256},
        {**_FINE, "channels": 48, "hidden": 512},
        measured=True,
    ),
    "joint-measured-small": Preset(
        _ALL_THREE,
        {**_KNOWING, "width": 48, "hidden": 160, "embedding_size": 128},
        {**_FINE, "channels": 24, "hidden": 160},
        measured=True,
    ),
    "denoising-physics": Preset(_DESCRIBED, {**_DESCRIBING, "width": 96, "hidden": 160}),
    "denoising-physics-small": Preset(_DESCRIBED, {**_DESCRIBING, "width": 48, "hidden": 160}),
}
"""The presets by name."""
_OLD_NAMES = {"general": "joint-measured", "small": "joint-measured-small"}


def resolve_objectives(objectives: str | Sequence[Objective]) -> Preset:
    """The preset of this name, or one made of the given objectives.

    Raises
    ------
    OptionError
        If the name is not known, or the objectives are none or do not have different names.
    """
    if not isinstance(objectives, str):
        names = [objective.name for objective in objectives]
        if not names or len(set(names)) < len(names):
            raise OptionError("objectives", names, "there must be at least one, and each must have its own name",
                              "Give such a list, or the name of a preset.")  # fmt: skip
        return Preset(tuple(objectives))
    if objectives in _OLD_NAMES:
        new = _OLD_NAMES[objectives]
        warnings.warn(
            f"the preset {objectives!r} is now called {new!r}, and gives an untrained model; the trained weights are "
            f"load_pretrained({objectives!r}). The old name will be removed in the next version",
            FutureWarning,
            stacklevel=3,
        )
        objectives = new
    if objectives not in PRESETS:
        rule = f"a preset is one of {', '.join(PRESETS)}"
        near = closest(objectives, PRESETS)
        raise OptionError("objectives", repr(objectives), rule,
                          f"Did you mean {near!r}?" if near else "Name one of these.")  # fmt: skip
    return PRESETS[objectives]
