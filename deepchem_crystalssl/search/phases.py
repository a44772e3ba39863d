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

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..errors import PatternError, QueryError, Report
from ..crystals.records import Crystal
from ..diffraction.measured import Background, Scan, place_on_grid
from ..diffraction.fitting import Fit, choose_lines, fit, slide
from ..diffraction.measurement import Measurement
from ..crystals.threads import map_in_threads
from ..models.pretraining import CrystalSSLModel
from .catalogue import Crystals
from .confidence import GROUP, in_words, phase_probability, probabilities
from .mixtures import Part, Proposal, alternatives, refitted, take_apart, weight_fractions
from .matches import Hypothesis, Phase, PhaseMatch
from .pattern_answers import PatternAnswer
from .queries import checked_number
from .vectors import nearest_to_any

SCALES = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""Relative changes of the cell lengths for which a measured pattern is looked up."""
OF_ONE_PROTOTYPE = 3
"""Of isostructural candidates so many are fitted; others of their kind fit as well, and would keep all others out."""
FITTED = 24
"""Number of candidates that are fitted."""
FITTED_TO_REST, SHIFTED_TO_REST = 8, 100
"""Number of candidates that are fitted, and shifted, to what the phases found leave."""
LACKING = 0.05
"""Reduction of a single phase's score in the ranking if it lacks elements that the sample contains."""


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
    needed: Set[str] = frozenset(),
    prototypes: Callable[[Sequence[int]], Sequence[Hashable]] = lambda rows: rows,
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
    needed : set of str
        Elements that the sample contains.
    prototypes : callable
        The kinds of structure of rows. Of each, at most ``OF_ONE_PROTOTYPE`` crystals are fitted.
    """
    scan = Scan.of(two_theta, intensity, wavelength)
    length = scan.radiation.wavelength

    def propose(scan: Scan, measurement: Measurement, background: Background, most: int | None) -> list[Proposal]:
        versions = [place_on_grid(scan, model.xrd_grid, length * (1.0 + s), background) for s in SCALES]
        rows, similarities = retrieve(model.embed_xrd(np.stack(versions), progress=False))
        rows, similarities = rows[:most], similarities[:most]
        crystals = [structures[int(row)] for row in rows]
        cosines, strains = slide(measurement, crystals)
        best = np.argsort(-cosines - similarities, kind="stable").tolist()
        kinds = prototypes(rows.tolist())
        best = at_most(OF_ONE_PROTOTYPE, best, lambda k: kinds[k])
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
    together = [] if phases == 1 else take_apart(measurement, parts, propose_for_rest, _fit_all, phases)
    if len(together) < 2:  # a single phase is the best of the ranking, and should contain all elements
        parts.sort(key=lambda part: LACKING * part.lacks(needed) - part.score)
        together = refitted(measurement, [replace(parts[0], rivals=tuple(parts))])
    else:
        rows = {part.proposal.row for part in together}
        parts.sort(key=lambda part: (part.proposal.row not in rows, -part.score))
    answers = _answers(parts, names)
    likely = [round(phase_probability(part.score), 4) for part in together]
    if len(together) == 1:
        likely = [answers[0].probability]
    shares = zip(together, *weight_fractions(measurement, together), likely, strict=True)
    found = [_phase(*one, names) for one in shares]
    found.sort(key=lambda phase: -phase.weight_fraction)
    ways = [_hypothesis(measurement, *way, names) for way in alternatives(measurement, together)]
    return PatternAnswer(answers, measurement, scan, found, ways, k, needed)


def at_most(number: int, ordered: Iterable[int], kind: Callable[[int], Hashable]) -> list[int]:
    """The first so many of each kind.

    Examples
    --------
    >>> at_most(2, [1, 3, 2, 5, 7, 4], lambda k: k % 2)
    [1, 3, 2, 4]
    """
    seen: Counter[Hashable] = Counter()
    kept = []
    for one in ordered:
        seen[kind(one)] += 1
        if seen[kind(one)] <= number:
            kept.append(one)
    return kept


def _fit_all(measurement: Measurement, proposals: Sequence[Proposal]) -> list[Fit]:
    """Fits of several crystals, in threads."""
    with threadpool_limits(1):  # further threads of BLAS would wait for each other
        found = map_in_threads(lambda one: fit(measurement, one.crystal, one.strain), iter(proposals))
        return [one for _, one in found]


def _phase(part: Part, fraction: float, error: float, likely: float, names: Sequence[str]) -> Phase:
    # Rivals were not refitted beside the other phases: the score of the phase before that is the one to compare.
    own = next(rival.score for rival in part.rivals if rival.proposal.row == part.proposal.row)
    group = {part.kind: names[part.proposal.row]}
    for rival in sorted(part.rivals, key=lambda rival: -rival.score):
        if rival.score >= own - GROUP:
            group.setdefault(rival.kind, names[rival.proposal.row])
    return Phase(
        names[part.proposal.row], *part.kind, round(float(fraction), 4), round(float(error), 4), likely,
        tuple(group.values()), round(part.score, 4), round(part.fit.cell_scale, 5),
        part.proposal.crystal, part.fit,
    )  # fmt: skip


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
    needed: Set[str] = frozenset(),
    prototypes: Callable[[Sequence[int]], Sequence[Hashable]] = lambda rows: rows,
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
    phases, needed, prototypes
        As in :func:`identify`.

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
    return identify(
        two_theta,
        intensity,
        wavelength,
        checked_number(k),
        model,
        retrieve,
        structures,
        names,
        phases,
        needed,
        prototypes,
    )


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


def _hypothesis(measurement: Measurement, parts: Sequence[Part], left: float, names: Sequence[str]) -> Hypothesis:
    fractions, _ = weight_fractions(measurement, parts)
    ordered = sorted(zip(parts, fractions.tolist(), strict=True), key=lambda pair: -pair[1])
    return Hypothesis(
        tuple(names[part.proposal.row] for part, _ in ordered), tuple(part.kind[0] for part, _ in ordered),
        tuple(round(fraction, 4) for _, fraction in ordered), round(left**0.5, 4),
    )  # fmt: skip


def _answers(candidates: Sequence[Part], names: Sequence[str]) -> list[PhaseMatch]:
    """One answer for each formula and space group, best first."""
    kinds: dict[tuple[str, int | None], list[Part]] = {}
    for candidate in candidates:
        kinds.setdefault(candidate.kind, []).append(candidate)
    firsts = [group[0] for group in kinds.values()]
    likely = probabilities([part.score for part in firsts], [part.kind[0] for part in firsts])
    return [
        PhaseMatch(
            names[best.proposal.row], rank, round(best.score, 4), round(best.fit.cosine, 4),
            round(best.proposal.similarity, 4), round(float(probability), 4), in_words(probability), *best.kind,
            round(best.fit.r_wp, 4), round(best.fit.cell_scale, 5), round(best.fit.zero_shift, 4),
            round(best.fit.fwhm, 4), tuple(names[other.proposal.row] for other in group[1:]), best.proposal.crystal,
            best.fit,
        )
        for rank, (best, group, probability) in enumerate(zip(firsts, kinds.values(), likely, strict=True), start=1)
    ]  # fmt: skip
