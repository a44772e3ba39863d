"""The answer to an upload: similar crystals or matching patterns, a place on the map, and data to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..crystals.records import Crystal
from ..diffraction.radiation import Radiation
from ..search import EmbeddingIndex
from .document import structure_of
from .kept_answers import KeptAnswer, KeptAnswers
from .payload import strongest_lines
from .powder_answers import describe, finite, rest_of
from .uploads import Limits, Pattern, read_upload, shown_name

NEIGHBORS, MATCHES = 12, 10


@dataclass(frozen=True)
class PatternQuestion:
    """What is known of the sample and the measurement of a pattern.

    Attributes
    ----------
    wavelength : str, float or None
        By name or in Å; by default the file's, else CuKa.
    elements, allowed : sequence of str or None
        Elements that the sample contains, and that it may contain besides. It contains no others, if either is given.
    excluded : sequence of str
        Elements that it does not contain.
    phases : int or None
        Number of phases; by default the search decides.
    """

    wavelength: str | float | None = None
    elements: Sequence[str] | None = None
    allowed: Sequence[str] | None = None
    excluded: Sequence[str] = ()
    phases: int | None = None

    @classmethod
    def of(cls, question: Mapping[str, Any]) -> PatternQuestion:
        """From what a request says."""
        return cls(
            question.get("wavelength"), question.get("elements") or None, question.get("allowed") or None,
            question.get("excluded") or (), question.get("phases"),
        )  # fmt: skip


def answer(
    index: EmbeddingIndex,
    kept: KeptAnswers,
    body: bytes,
    name: str,
    limits: Limits,
    asked: PatternQuestion = PatternQuestion(),
) -> dict[str, Any]:
    """The answer to one upload, as numbers and texts that JSON can hold.

    Parameters
    ----------
    index : EmbeddingIndex
    kept : KeptAnswers
        Where the answer to a pattern is kept.
    body, name, limits
        As in :func:`~deepchem_crystalssl.explorer.uploads.read_upload`.
    asked : PatternQuestion
        What is known of a pattern.

    Raises
    ------
    CrystalInputError
        If the upload cannot be read or compared.
    """
    found = read_upload(body, name, limits, asked.wavelength)
    if isinstance(found, Crystal):
        return {"kind": "crystal", "name": shown_name(name), **_answer_crystal(index, found)}
    length = found.wavelength if asked.wavelength is None else asked.wavelength
    radiation = Radiation.of_measurement(asked.wavelength, found.wavelength, shown_name(name))
    return _answer_pattern(index, kept, found, shown_name(name), length, radiation, asked)


def answer_rest(index: EmbeddingIndex, kept: KeptAnswers, key: str, asked: PatternQuestion) -> dict[str, Any]:
    """The answer to what the phases of a kept answer leave of its pattern.

    A phase of the rest need not contain the elements of the sample, for others have them already.

    Raises
    ------
    AnswerGone, CrystalInputError
        If the answer is not kept, or nothing is left.
    """
    before = kept.get(key)
    angles, counts = rest_of(before.found)
    length = before.found.measurement.grid.wavelength_angstrom
    allowed = [*(asked.elements or ()), *(asked.allowed or ())] or None
    rest = Pattern(angles, counts, None, before.found.scan.notes)
    asked = replace(asked, elements=None, allowed=allowed)
    name = f"What is left of {before.name}"
    return _answer_pattern(index, kept, rest, name, length, before.found.radiation, asked)


def _answer_crystal(index: EmbeddingIndex, crystal: Crystal) -> dict[str, Any]:
    neighbors = index.query(crystal, NEIGHBORS)
    rows = [index.gallery.row_of[one.material_id] for one in neighbors]
    place = index.map.place(np.array(rows), np.array([one.distance for one in neighbors]))
    two_theta, intensity = strongest_lines(crystal)
    nearest = index.map.distances[:, 0]
    return {
        "nearness": float(np.mean(nearest > neighbors[0].distance)),
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
                "distance": finite(one.distance),
                "percentile": finite(one.percentile),
                "shares": one.shares,
            }
            for row, one in zip(rows, neighbors, strict=True)
        ],
    }


def _answer_pattern(
    index: EmbeddingIndex,
    kept: KeptAnswers,
    pattern: Pattern,
    name: str,
    wavelength: str | float | None,
    radiation: Radiation,
    asked: PatternQuestion,
) -> dict[str, Any]:
    found = index.query_pattern(
        pattern.two_theta, pattern.counts, wavelength, MATCHES, asked.elements,
        allowed=asked.allowed, excluded=asked.excluded, phases=asked.phases,
    )  # fmt: skip
    # The search was given numbers alone; what the file says of itself is known here.
    found.scan = replace(found.scan, radiation=radiation, item=name, notes=pattern.notes)
    row = index.gallery.row_of[found[0].material_id]
    return {
        "kind": "pattern",
        "name": name,
        "key": kept.keep(KeptAnswer(found, name)),
        "position": None if found[0].confidence == "none" else _finite(index.map.positions[row]),
        **describe(found, index.gallery.row_of),
    }


def _finite(values: np.ndarray) -> list[float | None]:
    return [finite(value) for value in np.asarray(values).tolist()]
