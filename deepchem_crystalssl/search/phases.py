r"""Which crystals a measured powder pattern may belong to: retrieved by vectors, ranked by fits.

1. The measurement is brought onto the model's grid, as if taken at wavelengths up to 2 % off (cells of calculations
   are off by as much), and every version is looked up among the vectors of simulated patterns.
2. The pattern of every candidate is simulated and slid along :math:`\ln \sin\theta`, where a change of all cell lengths
   is a shift; the best cosine says how well peaks and heights meet.
3. The best of these are fitted: strains that the crystal's symmetry allows, zero shift, width and shape of peaks, with
   the second line of a laboratory anode if that fits better.
4. They are ranked by the mean of both cosines, the encoder's and the fit's, for their errors differ: the encoder has
   seen texture and poor statistics, the fit sees every line. Changed cell lengths cost: calculated ones are seldom off
   by more than 2 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..errors import QueryError, Report
from ..crystals.records import Crystal
from ..diffraction.measured import check_pattern, prepare_measured_pattern
from ..diffraction.pattern_files import read_pattern_file
from ..diffraction.fitting import Fit, Measurement, choose_lines, fit, slide
from ..crystals.symmetry import space_group
from ..crystals.threads import map_in_threads
from ..diffraction.radiation import Radiation
from ..models.pretraining import CrystalSSLModel
from .answers import Answer, Answers
from .catalogue import Crystals
from .pictures import Picture, as_image, draw_match
from .queries import checked_k
from .vectors import nearest_to_any

SCALES = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""Relative changes of cell lengths under which a measurement is looked up."""
FITTED = 16
"""Candidates that are fitted."""
SCALE_COST = 0.01
"""What cell lengths that differ by 2 % cost a candidate's score; it goes with the square."""
NOTHING_FITS = 0.73
"""Below this sum of score and lead no candidate is called a match."""
_LEFT = 0.08  # of single phases with wrong intensities and noise, less than 0.05 is left


@dataclass(frozen=True)
class PhaseMatch(Answer):
    """A crystal whose pattern was fitted to the measurement.

    Attributes
    ----------
    score : float
        Mean of ``fit`` and ``similarity``, less what changed cell lengths cost; 1 at best.
    fit : float
        Cosine between square roots of measured and fitted counts above background.
    similarity : float
        Cosine between the vectors of the measurement and of the simulated pattern.
    confidence : str
        "high", "fair", "low" or "none"; see :class:`PatternAnswer`.
    formula : str
    space_group : int or None
    r_wp : float
        Weighted profile R factor of counts above background, 0 at best.
    cell_scale : float
        Cell lengths of the measurement over those of the crystal, geometric mean.
    zero_shift, fwhm : float
        Degrees.
    also : tuple of str
        Further crystals of the same formula and space group, less good.
    calculated : numpy.ndarray
        The fitted pattern, (n,), on the counts' scale.
    crystal : Crystal
    """

    score: float
    fit: float
    similarity: float
    confidence: str
    formula: str
    space_group: int | None
    r_wp: float
    cell_scale: float
    zero_shift: float
    fwhm: float
    also: tuple[str, ...] = ()
    calculated: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0))
    crystal: Crystal | None = field(repr=False, default=None)


class PatternAnswer(Answers[PhaseMatch]):
    """The crystals that a pattern may belong to, best first, and the part of it that the best one leaves unexplained.

    Attributes
    ----------
    two_theta, measured : numpy.ndarray
        (n,): angles in degrees, counts above background.
    peaks : numpy.ndarray
        (n,): of these counts, what stands out of the noise.
    radiation : Radiation
        The wavelength that was used, and whether it was given, read from the file or assumed.
    """

    def __init__(
        self,
        answers: Sequence[PhaseMatch],
        two_theta: np.ndarray,
        measured: np.ndarray,
        peaks: np.ndarray,
        radiation: Radiation,
    ):
        super().__init__(answers)
        self.two_theta, self.measured, self.peaks, self.radiation = two_theta, measured, peaks, radiation

    def _repr_html_(self) -> str:
        """Verdict, picture and table, for a notebook."""
        return f"<p>{escape(self.verdict)}</p>{as_image(self.plot())}{super()._repr_html_()}"

    def plot(self, rank: int = 1) -> Picture:
        """Measurement, fit and difference of one answer: :func:`~deepchem_crystalssl.search.pictures.draw_match`."""
        if checked_k(rank) > len(self):
            raise QueryError("rank", rank, f"there are {len(self)} answers, ranked from 1", "Search with a larger k.")
        match = self[rank - 1]
        title = (
            f"{match.formula} ({match.material_id}{_group(match)})   score {match.score:.3f}   "
            f"$R_{{wp}}$ {match.r_wp:.2f}   cell × {match.cell_scale:.4f}"
        )
        return draw_match(self.two_theta, self.measured, match.calculated, title)

    @property
    def unexplained(self) -> float:
        """Fraction of the measured peaks where the first answer has none."""
        missed = self[0].calculated < 0.1 * self.measured
        return float((self.peaks * missed).sum() / self.peaks.sum())

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        best = self[0]
        assumed = f" The wavelength is {self.radiation}." if self.radiation.source == "assumed" else ""
        if best.confidence == "none":
            return (
                f"Nothing fits: the nearest, {best.formula} ({best.material_id}), has a score of {best.score:.2f}."
                + assumed
            )
        text = f"{best.formula} ({best.material_id}{_group(best)}), {best.confidence} confidence."
        if self.unexplained > _LEFT:
            text += f" {self.unexplained:.0%} of the measured peaks are left: there may be another phase."
        return text + assumed


def _group(match: PhaseMatch) -> str:
    return "" if match.space_group is None else f", space group {match.space_group}"


def identify(
    two_theta: Any,
    intensity: Any,
    wavelength: str | float | None,
    k: int,
    model: CrystalSSLModel,
    retrieve: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    structures: Crystals,
    names: Sequence[str],
) -> PatternAnswer:
    """Retrieve candidates, shift their patterns, fit the best ones and rank them.

    Parameters
    ----------
    two_theta, intensity
        As measured, or a file.
    wavelength : str, float or None
        By default that of the file, else Cu K-alpha: :meth:`.Radiation.of_measurement`.
    k : int
        Answers.
    model : CrystalSSLModel
        With an encoder of patterns.
    retrieve : callable
        From vectors of patterns (q, P) to rows of candidates, best first, and their cosines.
    structures, names
        Crystals and ids by row.
    """
    item = str(two_theta) if isinstance(two_theta, str | Path) else "pattern"
    if isinstance(two_theta, str | Path):
        two_theta, intensity, in_file = read_pattern_file(two_theta)
    else:
        in_file = None
    angles, counts = check_pattern(two_theta, intensity, item)
    radiation = Radiation.of_measurement(wavelength, in_file, item)
    length = radiation.wavelength
    versions = [
        prepare_measured_pattern(angles, counts, model.xrd_grid, wavelength=length * (1.0 + scale)) for scale in SCALES
    ]
    rows, similarities = retrieve(model.embed_xrd(np.stack(versions), progress=False))
    measurement = Measurement.of(angles, counts, length)
    crystals = [structures[int(row)] for row in rows]
    cosines, strains = slide(measurement, crystals)
    best = np.argsort(-cosines - similarities, kind="stable")[:FITTED]
    measurement = choose_lines(measurement, crystals[best[0]], float(strains[best[0]]))
    with threadpool_limits(1):  # the fits are in threads already; those of BLAS would wait for each other
        fits = map_in_threads(lambda at: fit(measurement, crystals[at], float(strains[at])), iter(best.tolist()))
        found = [_Candidate(names[int(rows[at])], crystals[at], float(similarities[at]), one) for at, one in fits]
    return _answer(measurement, radiation, sorted(found, key=lambda candidate: -candidate.score), k)


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
) -> PatternAnswer:
    """Which of some crystals a pattern may belong to: :meth:`EmbeddingIndex.query_pattern`.

    Parameters
    ----------
    vectors : numpy.ndarray
        (n, P), of simulated patterns; rows of zeros have none.
    allowed : numpy.ndarray
        bool (n,), crystals that may be answers.
    structures, names
        Crystals and ids by row.
    model, two_theta, intensity, wavelength, k
        As in :func:`identify`.
    candidates : int
        Number of crystals that are retrieved.

    Raises
    ------
    QueryError
        If no crystal may be an answer, or a number is not a whole one.
    """
    allowed = allowed & np.asarray(vectors).any(axis=1)
    if not allowed.any():
        raise QueryError("filter", "no crystal is left", "at least one crystal must fulfil the conditions",
                         "Loosen them.")  # fmt: skip
    retrieve = partial(nearest_to_any, vectors, k=checked_k(candidates), allowed=allowed)
    return identify(two_theta, intensity, wavelength, checked_k(k), model, retrieve, structures, names)


def pattern_vectors(
    model: CrystalSSLModel, crystals: Iterable[Crystal], n: int, progress: bool | None = None
) -> np.ndarray:
    """Vectors of the simulated patterns of n crystals, (n, P); zeros where a crystal has none."""
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


def _answer(measurement: Measurement, radiation: Radiation, candidates: list[_Candidate], k: int) -> PatternAnswer:
    """One answer for each formula and space group."""
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
                tuple(other.name for other in group[1:]), best.fit.calculated, best.crystal,
            )
        )  # fmt: skip
    return PatternAnswer(answers, measurement.grid.two_theta, measurement.counts, measurement.roots**2, radiation)


def _confidence(score: float, next_best: float) -> str:
    """From the score and its lead over another compound's: patterns of random lines reach 0.72 in their sum."""
    lead = float(np.clip(score - next_best, 0.0, 0.15))
    if score + lead < NOTHING_FITS:
        return "none"
    if score > 0.85 and lead > 0.02 or score > 0.65 and lead > 0.1:
        return "high"
    return "fair" if score > 0.8 else "low"
