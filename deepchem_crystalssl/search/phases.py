r"""Find the crystals that a measured powder pattern may belong to: retrieve candidates by vectors, then fit them.

1. The measured pattern is interpolated onto the model's grid five times, with the wavelength changed by up to 2 %,
   because calculated cell lengths are off by as much. Each version is looked up among the vectors of simulated
   patterns.
2. The pattern of every candidate is simulated and shifted along :math:`\ln \sin\theta`. On this axis a common change
   of all cell lengths is a shift. The best cosine says how well the positions and heights of the peaks agree.
3. The best candidates are fitted. The fit varies the strains that the crystal's symmetry allows, the zero shift, and
   the width and shape of the peaks. The second line of a laboratory anode is included if the fit is then better.
4. The candidates are ranked by the mean of two cosines, that of the encoder and that of the fit, because the two make
   different errors: the encoder was trained on patterns with texture and poor statistics, and the fit uses every line.
   A change of the cell lengths lowers the score, because calculated lengths are seldom off by more than 2 %.
5. What the first phase leaves is looked up and fitted in the same way, until no further phase explains lines of its
   own: see :mod:`~deepchem_crystalssl.search.mixtures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..errors import PatternError, QueryError, Report
from ..crystals.records import Crystal
from ..diffraction.measured import Background, Scan, place_on_grid
from ..diffraction.fitting import Fit, Measurement, choose_lines, fit, slide
from ..crystals.symmetry import space_group
from ..crystals.threads import map_in_threads
from ..models.pretraining import CrystalSSLModel
from .catalogue import Crystals
from .mixtures import Part, Proposal, take_apart, weight_fractions
from .pattern_answers import PatternAnswer, Phase, PhaseMatch
from .queries import checked_number
from .vectors import nearest_to_any

SCALES = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""Relative changes of the cell lengths for which a measured pattern is looked up."""
FITTED = 16
"""Number of candidates that are fitted."""
FITTED_TO_REST, SHIFTED_TO_REST = 8, 100
"""Number of candidates that are fitted, and shifted, to what the phases found leave."""
SCALE_COST = 0.01
"""Reduction of a candidate's score if its cell lengths change by 2 %; it grows with the square of the change."""
NOTHING_FITS = 0.73
"""If the sum of score and lead is below this value, no candidate is called a match."""


def identify(
    two_theta: Any,
    intensity: Any,
    wavelength: str | float | None,
    k: int,
    model: CrystalSSLModel,
    retrieve: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    structures: Crystals,
    names: Sequence[str],
    phases: int | None = None,
) -> PatternAnswer:
    """Retrieve candidates, shift their patterns, fit the best ones and rank them.

    Parameters
    ----------
    two_theta, intensity
        Angles in degrees and counts as measured; or the path of a file as ``two_theta``.
    wavelength : str, float or None
        By default the wavelength that the file states, else Cu K-alpha (:meth:`.Radiation.of_measurement`).
    k : int
        Number of answers.
    model : CrystalSSLModel
        A model with an encoder of patterns.
    retrieve : callable
        A function of the vectors of q patterns, (q, P). It returns the rows of the candidates, best first, and their
        cosines.
    structures, names
        Crystals and ids by row.
    phases : int, optional
        Number of phases in the sample. By default as many as explain lines of their own.
    """
    scan = Scan.of(two_theta, intensity, wavelength)
    length = scan.radiation.wavelength

    def propose(scan: Scan, measurement: Measurement, background: Background, most: int | None) -> list[Proposal]:
        versions = [place_on_grid(scan, model.xrd_grid, length * (1.0 + s), background) for s in SCALES]
        rows, similarities = retrieve(model.embed_xrd(np.stack(versions), progress=False))
        rows, similarities = rows[:most], similarities[:most]
        crystals = [structures[int(row)] for row in rows]
        cosines, strains = slide(measurement, crystals)
        best = np.argsort(-cosines - similarities, kind="stable")
        return [Proposal(int(rows[k]), crystals[k], float(similarities[k]), float(strains[k])) for k in best]

    def propose_for_rest(rest: Measurement) -> list[Proposal]:
        left = Scan(rest.grid.two_theta, rest.counts, scan.radiation, scan.item)
        try:
            return propose(left, rest, "none", SHIFTED_TO_REST)[:FITTED_TO_REST]
        except PatternError:  # nothing is left within the range of the model
            return []

    measurement = Measurement.of(scan.angles, scan.counts, length)
    proposals = propose(scan, measurement, "snip", None)[:FITTED]
    measurement = choose_lines(measurement, proposals[0].crystal, proposals[0].strain)
    parts = [Part(one, found) for one, found in zip(proposals, _fit_all(measurement, proposals), strict=True)]
    candidates = [_Candidate(names[p.proposal.row], p.proposal.crystal, p.proposal.similarity, p.fit) for p in parts]
    candidates.sort(key=lambda candidate: -candidate.score)
    together = [] if phases == 1 else take_apart(measurement, parts, propose_for_rest, _fit_all, phases)
    if len(together) < 2:  # a single phase is the best of the ranking
        best = candidates[0]
        together = [part for part in parts if part.proposal.crystal is best.crystal]
    return _answer(measurement, scan, candidates, k, _phases(measurement, together, names))


def _fit_all(measurement: Measurement, proposals: Sequence[Proposal]) -> list[Fit]:
    """Fits of several crystals, in threads."""
    with threadpool_limits(1):  # further threads of BLAS would wait for each other
        found = map_in_threads(lambda one: fit(measurement, one.crystal, one.strain), iter(proposals))
        return [one for _, one in found]


def _phases(measurement: Measurement, parts: Sequence[Part], names: Sequence[str]) -> list[Phase]:
    fractions, errors = weight_fractions(measurement, parts)
    found = []
    for part, fraction, error in zip(parts, fractions, errors, strict=True):
        crystal = part.proposal.crystal
        found.append(
            Phase(
                names[part.proposal.row], crystal.reduced_formula, space_group(crystal), round(float(fraction), 4),
                round(float(error), 4), round(part.fit.cell_scale, 5), crystal, part.fit,
            )
        )  # fmt: skip
    return sorted(found, key=lambda phase: -phase.weight_fraction)


def identify_among(
    vectors: np.ndarray,
    allowed: np.ndarray,
    structures: Crystals,
    names: Sequence[str],
    model: CrystalSSLModel,
    two_theta: Any,
    intensity: Any = None,
    wavelength: str | float | None = None,
    k: int = 10,
    candidates: int = 300,
    phases: int | None = None,
) -> PatternAnswer:
    """Find the crystals that a pattern may belong to, as :meth:`.EmbeddingIndex.query_pattern` does.

    Parameters
    ----------
    vectors : numpy.ndarray
        Vectors of simulated patterns, (n, P). The row of a crystal without a pattern is zero.
    allowed : numpy.ndarray
        Which crystals may be answers, bool (n,).
    structures, names
        Crystals and ids by row.
    model, two_theta, intensity, wavelength, k
        As in :func:`identify`.
    candidates : int
        Number of crystals that are retrieved.
    phases : int, optional
        Number of phases, as in :func:`identify`.

    Raises
    ------
    QueryError
        If no crystal may be an answer, or if ``k``, ``candidates`` or ``phases`` is not a positive whole number.
    """
    allowed = allowed & np.asarray(vectors).any(axis=1)
    if not allowed.any():
        raise QueryError("filter", "no crystal is left", "at least one crystal must fulfil the conditions",
                         "Loosen the conditions.")  # fmt: skip
    retrieve = partial(nearest_to_any, vectors, k=checked_number(candidates), allowed=allowed)
    if phases is not None:
        phases = checked_number(phases, "phases", "phases", "Pass phases=2, say, or None to let the search decide.")
    return identify(two_theta, intensity, wavelength, checked_number(k), model, retrieve, structures, names, phases)


def pattern_vectors(
    model: CrystalSSLModel, crystals: Iterable[Crystal], n: int, progress: bool | None = None
) -> np.ndarray:
    """Return the vectors of the simulated patterns of n crystals, (n, P); zeros if a crystal has no pattern."""
    report = Report()
    options: dict[str, Any] = {"disorder": "average", "on_error": "skip", "progress": progress}
    found = model.embed(crystals, space="pattern", report=report, **options)
    vectors = np.zeros((n, found.shape[1]), np.float32)
    vectors[np.setdiff1d(np.arange(n), report.indices)] = found
    return vectors


@dataclass(frozen=True)
class _Candidate:
    name: str
    crystal: Crystal
    similarity: float
    fit: Fit

    @property
    def score(self) -> float:
        cost = SCALE_COST * ((self.fit.cell_scale - 1.0) / 0.02) ** 2
        return (self.similarity + self.fit.cosine) / 2 - cost


def _answer(
    measurement: Measurement, scan: Scan, candidates: list[_Candidate], k: int, phases: Sequence[Phase]
) -> PatternAnswer:
    """Make one answer for each formula and space group."""
    kinds: dict[tuple[str, int | None], list[_Candidate]] = {}
    for candidate in candidates:
        kinds.setdefault((candidate.crystal.reduced_formula, space_group(candidate.crystal)), []).append(candidate)
    answers = []
    for rank, ((formula, number), group) in enumerate(list(kinds.items())[:k], start=1):
        best = group[0]
        others = [other[0].score for (name, _), other in kinds.items() if name != formula]
        answers.append(
            PhaseMatch(
                best.name, rank, round(best.score, 4), round(best.fit.cosine, 4), round(best.similarity, 4),
                _confidence(best.score, max(others, default=0.0)), formula, number, round(best.fit.r_wp, 4),
                round(best.fit.cell_scale, 5), round(best.fit.zero_shift, 4), round(best.fit.fwhm, 4),
                tuple(other.name for other in group[1:]), best.crystal, best.fit,
            )
        )  # fmt: skip
    return PatternAnswer(answers, measurement, scan, phases)


def _confidence(score: float, next_best: float) -> str:
    """Judge a score and its lead over the best other compound. For patterns of random lines, their sum reaches 0.72."""
    lead = float(np.clip(score - next_best, 0.0, 0.15))
    if score + lead < NOTHING_FITS:
        return "none"
    if score > 0.85 and lead > 0.02 or score > 0.65 and lead > 0.1:
        return "high"
    return "fair" if score > 0.8 else "low"
