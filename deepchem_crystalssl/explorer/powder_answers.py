"""The answer to a measured pattern as data for the page, and what its phases leave of the pattern."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..crystals.cif.writing import cell_angles
from ..crystals.symmetry import StandardSetting
from ..errors import QueryError
from ..search.confidence import in_words
from ..search.matches import Phase, PhaseMatch
from ..search.pattern_answers import PatternAnswer
from ..search.reflection_lists import list_reflections

CURVE_POINTS = 3_000
"""Largest number of points of a curve that is sent to the page."""
REFLECTIONS, REFLECTIONS_OF_CANDIDATES = 1_000, 200
"""Largest numbers of reflections of a phase and of a candidate that are sent to the page; the strongest are."""
_SHOULDER = 0.01
"""Where the phases scatter less than this share of their highest line, what they leave without lines is noise."""


def describe(found: PatternAnswer, row_of: Mapping[str, int]) -> dict[str, Any]:
    """The whole answer.

    Parameters
    ----------
    found : PatternAnswer
    row_of : mapping of str to int
        Rows of the index by material_id.

    Returns
    -------
    dict
        What the page shows: the verdict, the phases and the candidates with their reflections, and other hypotheses.
        The curves are heights at the same angles, divided by the highest measured one, ``top``: those of the
        measurement, of all phases together, of each of several phases (``parts``), and of each candidate.
    """
    agreement = found.agreement
    envelope = np.max([one.calculated for one in found], axis=0)
    kept, top = thinned([found.net, found.calculated, envelope], CURVE_POINTS), float(found.net.max())

    def heights(counts: np.ndarray) -> list[float | None]:
        return _rounded(counts[kept] / top, 4)

    return {
        "verdict": found.verdict,
        "probability": found.phases[0].probability if len(found.phases) > 1 else found[0].probability,
        "nothing_fits": found.nothing_fits,
        "unexplained": finite(found.unexplained),
        "radiation": {
            "label": found.radiation_label,
            "wavelength": found.radiation.wavelength,
            "source": found.radiation.source,
            "stated": found.radiation.contradicted,
        },
        "agreement": {
            "r_wp": finite(agreement.r_wp),
            "r_wp_above_background": finite(agreement.r_wp_above_background),
            "r_exp": agreement.r_exp,
            "goodness_of_fit": agreement.goodness_of_fit,
        },
        "counted": agreement.r_exp is not None,
        "group": [_named(one, row_of) for one in found.group],
        "deciding": list(found.deciding_elements),
        "missing": list(found.missing_elements),
        "phases": [_phase(found, one, row_of) for one in found.phases],
        "hypotheses": [
            {
                "material_ids": list(one.material_ids),
                "formulas": list(one.formulas),
                "weight_fractions": [finite(fraction) for fraction in one.weight_fractions],
                "r_wp": finite(one.r_wp),
            }
            for one in found.hypotheses
        ],
        "matches": [
            {
                **_match(one, row_of),
                "calculated": heights(one.calculated),
                "reflections": _reflections(found, one, REFLECTIONS_OF_CANDIDATES),
            }
            for one in found
        ],
        "curve": {
            "top": finite(top),
            "two_theta": _rounded(found.two_theta[kept], 4),
            "measured": heights(found.net),
            "calculated": heights(found.calculated),
            "parts": [heights(one.calculated) for one in found.phases] if len(found.phases) > 1 else [],
        },
    }


def rest_of(found: PatternAnswer) -> tuple[np.ndarray, np.ndarray]:
    """What the phases leave of a measured pattern: angles in degrees and counts above the background, (n,) each.

    Of the height of a line that was subtracted, a part may be left because its shape was not quite matched. There, the
    counts are lowered to the level of the noise.

    Raises
    ------
    QueryError
        If no line is left that rises above the noise.
    """
    calculated = found.calculated
    left = found.measurement.without(calculated)
    if left is None:
        raise QueryError("what is left", "no line rises above the noise", "a search needs lines that no phase explains",
                         "The phases explain all of this pattern.")  # fmt: skip
    lines = left.roots**2
    highest = int(lines.argmax())
    lines *= left.counts[highest] / lines[highest]
    quiet = left.counts[(lines == 0.0) & (calculated < _SHOULDER * calculated.max())]
    return found.two_theta, lines + np.minimum(left.counts, quiet.max(initial=0.0))


def thinned(curves: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Places at which curves are drawn: of neighbouring points the highest and the lowest of each curve.

    Parameters
    ----------
    curves : sequence of numpy.ndarray
        (n,) each.
    most : int
        Largest number of places.

    Returns
    -------
    numpy.ndarray
        Increasing, at most ``most``. All n if they are no more.

    Examples
    --------
    >>> peak = np.zeros(100)
    >>> peak[37] = 5.0
    >>> kept = thinned([peak], 20)
    >>> len(kept) <= 20, 37 in kept
    (True, True)
    """
    n = len(curves[0])
    if n <= most:
        return np.arange(n)
    together = max(2, n // most)
    places = set(range(n))
    while len(places) > most:
        starts = np.arange(0, n, together)
        places = {0, n - 1}
        for curve in curves:
            padded = np.full(len(starts) * together, np.nan)
            padded[:n] = curve
            blocks = padded.reshape(-1, together)
            places.update((starts + np.nanargmax(blocks, axis=1)).tolist())
            places.update((starts + np.nanargmin(blocks, axis=1)).tolist())
        together += max(1, together // 4)
    return np.array(sorted(places))


def finite(value: float) -> float | None:
    """The number, or None if it is not finite, which JSON cannot write."""
    return float(value) if math.isfinite(value) else None


def _named(one: PhaseMatch | Phase, row_of: Mapping[str, int]) -> dict[str, Any]:
    """What names a crystal."""
    return {
        "row": row_of[one.material_id],
        "material_id": one.material_id,
        "formula": one.formula,
        "space_group": one.space_group,
        "symbol": one.setting.symbol,
    }


def _match(match: PhaseMatch, row_of: Mapping[str, int]) -> dict[str, Any]:
    return {
        **_named(match, row_of),
        "rank": match.rank,
        "score": finite(match.score),
        "fit": finite(match.fit),
        "similarity": finite(match.similarity),
        "probability": finite(match.probability),
        "confidence": match.confidence,
        "r_wp": finite(match.r_wp),
        "cell_scale": finite(match.cell_scale),
        "also": list(match.also),
    }


def _phase(found: PatternAnswer, phase: Phase, row_of: Mapping[str, int]) -> dict[str, Any]:
    return {
        **_named(phase, row_of),
        "weight_fraction": finite(phase.weight_fraction),
        "weight_fraction_error": finite(phase.weight_fraction_error),
        "probability": finite(phase.probability),
        "confidence": in_words(phase.probability),
        "group": [one for one in phase.group if one != phase.material_id],
        "cell": _cell(phase),
        "reflections": _reflections(found, phase, REFLECTIONS),
    }


def _cell(one: PhaseMatch | Phase) -> dict[str, Any]:
    """The refined cell in its standard setting, and the change of its lengths against the database as a fraction."""
    lattice, known = one.setting.crystal.lattice, StandardSetting.of(one.crystal).crystal.lattice
    lengths, before = np.linalg.norm(lattice, axis=1), np.linalg.norm(known, axis=1)
    return {
        "lengths": _rounded(lengths, 5),
        "angles": _rounded(cell_angles(lattice), 3),
        "volume": finite(abs(float(np.linalg.det(lattice)))),
        "changes": _rounded(lengths / before - 1.0, 5),
    }


def _reflections(found: PatternAnswer, one: PhaseMatch | Phase, most: int) -> dict[str, list[Any]]:
    """The strongest reflections by increasing angle: angles, spacings (Å), indices, areas relative to the largest."""
    table = list_reflections(found.measurement, found.net, found.calculated, one.setting, one.refined)
    table = table.nlargest(most, "intensity_calculated").sort_values("two_theta", kind="stable")
    areas = table["intensity_calculated"].to_numpy()
    return {
        "two_theta": _rounded(table["two_theta"].to_numpy(), 4),
        "d": _rounded(table["d"].to_numpy(), 5),
        "hkl": table[["h", "k", "l"]].to_numpy().tolist(),
        "intensity": _rounded(areas / max(float(areas.max(initial=0.0)), 1e-300), 4),
    }


def _rounded(values: np.ndarray, digits: int) -> list[float | None]:
    return [finite(value) for value in np.round(np.asarray(values, float), digits).tolist()]
