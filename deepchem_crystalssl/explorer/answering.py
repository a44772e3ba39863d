"""The answer to an upload: similar crystals or matching patterns, a place on the map, and data to be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..crystals.records import Crystal
from ..search import EmbeddingIndex
from ..search.pattern_answers import PatternAnswer
from .document import structure_of
from .payload import strongest_lines
from .uploads import Limits, Pattern, read_upload, shown_name

NEIGHBORS, MATCHES = 12, 10
CURVE_POINTS = 3_000


def answer(
    index: EmbeddingIndex,
    body: bytes,
    name: str,
    limits: Limits,
    wavelength: str | float | None = None,
    elements: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The answer to one upload, as numbers and texts that JSON can hold.

    Parameters
    ----------
    index : EmbeddingIndex
    body, name, limits
        As in :func:`~deepchem_crystalssl.explorer.uploads.read_upload`.
    wavelength : str or float, optional
        Of a pattern, by name or in Å; by default the file's, else CuKa.
    elements : sequence of str, optional
        The measured sample contains no other elements than these.

    Raises
    ------
    CrystalInputError
        If the upload cannot be read or compared.
    """
    found = read_upload(body, name, limits, wavelength)
    if isinstance(found, Crystal):
        return {"kind": "crystal", "name": shown_name(name), **_answer_crystal(index, found)}
    return {"kind": "pattern", "name": shown_name(name), **_answer_pattern(index, found, wavelength, elements)}


def _answer_crystal(index: EmbeddingIndex, crystal: Crystal) -> dict[str, Any]:
    neighbors = index.query(crystal, NEIGHBORS)
    rows = [index.gallery.row_of[one.material_id] for one in neighbors]
    place = index.map.place(np.array(rows), np.array([one.distance for one in neighbors]))
    two_theta, intensity = strongest_lines(crystal)
    return {
        "formula": crystal.reduced_formula,
        "position": _finite(place),
        "structure": structure_of(crystal),
        "mixed": crystal.occupancies is not None,
        "lines": {"two_theta": _finite(two_theta), "intensity": _finite(intensity)},
        "neighbors": [
            {
                "row": row,
                "material_id": one.material_id,
                "formula": one.formula,
                "distance": _number(one.distance),
                "percentile": _number(one.percentile),
                "shares": one.shares,
            }
            for row, one in zip(rows, neighbors, strict=True)
        ],
    }


def _answer_pattern(
    index: EmbeddingIndex, pattern: Pattern, wavelength: str | float | None, elements: Sequence[str] | None
) -> dict[str, Any]:
    length = pattern.wavelength if wavelength is None else wavelength
    found = index.query_pattern(pattern.two_theta, pattern.counts, length, MATCHES, elements)
    rows = [index.gallery.row_of[one.material_id] for one in found]
    return {
        "verdict": found.verdict,
        "position": None if found[0].confidence == "none" else _finite(index.map.positions[rows[0]]),
        "matches": [
            {
                "row": row,
                "material_id": one.material_id,
                "formula": one.formula,
                "space_group": one.space_group,
                "score": _number(one.score),
                "confidence": one.confidence,
                "r_wp": _number(one.r_wp),
                "cell_scale": _number(one.cell_scale),
            }
            for row, one in zip(rows, found, strict=True)
        ],
        "curve": _curve(found),
    }


def _curve(found: PatternAnswer) -> dict[str, list[float | None]]:
    """Measured and calculated heights, of so many neighbouring points the one with most counts."""
    together = math.ceil(len(found.two_theta) / CURVE_POINTS)
    starts = range(0, len(found.two_theta), together)
    kept = [start + int(found.measured[start : start + together].argmax()) for start in starts]
    top = found.measured.max()
    return {
        "two_theta": _finite(found.two_theta[kept]),
        "measured": _finite(found.measured[kept] / top),
        "calculated": _finite(found.calculated[kept] / top),
    }


def _finite(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in np.asarray(values).tolist()]


def _number(value: float) -> float | None:
    """The number, or None if it is not finite, which JSON cannot write."""
    return float(value) if math.isfinite(value) else None
