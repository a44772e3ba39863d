"""Measurement conditions that a recipe or a command names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..diffraction.conditions import CLEAN, HARD, REALISTIC, TRAINING, MeasurementConditions
from ..errors import RecipeError

CONDITIONS = {"none": None, "clean": CLEAN, "realistic": REALISTIC, "hard": HARD, "training": TRAINING}
"""Measurement conditions by name. With "none", training uses those of the preset, and evaluation ideal patterns."""


def conditions_of(value: Any) -> MeasurementConditions | None:
    """Measurement conditions from their name, from a table of their parameters, or as they are."""
    if isinstance(value, str):
        if value not in CONDITIONS:
            raise RecipeError("recipe", f"conditions = {value!r}", remedy=f"Choose one of {', '.join(CONDITIONS)}.")
        return CONDITIONS[value]
    return MeasurementConditions.from_dict(value) if isinstance(value, Mapping) else value
