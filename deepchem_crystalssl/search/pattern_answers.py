"""What a measured powder pattern may belong to: ranked crystals, phases of the sample, their picture and verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import combinations
from numbers import Integral

import numpy as np

from ..crystals.records import Crystal
from ..diffraction.fitting import Fit, Measurement
from ..diffraction.radiation import Radiation
from ..errors import QueryError, counted
from .answers import Answer, Answers
from .confidence import HIGH, probabilities
from .formulas import formula_type
from .pictures import Picture, as_image, draw_match

_LEFT = 0.08  # single phases with wrong intensities and noise leave less than 0.05 unexplained


class _Fitted:
    """A crystal as it was fitted."""

    crystal: Crystal
    refined: Fit

    @property
    def calculated(self) -> np.ndarray:
        """The fitted pattern in counts, (n,)."""
        return self.refined.calculated

    @property
    def lattice(self) -> np.ndarray:
        """The refined cell vectors as rows, Å, (3, 3)."""
        return self.crystal.lattice @ (np.eye(3) + self.refined.strain)


@dataclass(frozen=True)
class PhaseMatch(_Fitted, Answer):
    """A crystal whose pattern was fitted to the measurement.

    Attributes
    ----------
    score : float
        Mean of ``fit`` and ``similarity``, reduced if the cell lengths changed. The best score is 1.
    fit : float
        Cosine between the square roots of the measured and of the fitted counts, both above the background.
    similarity : float
        Cosine between the vectors of the measured and of the simulated pattern.
    probability : float
        That the answer is right: see :mod:`~deepchem_crystalssl.search.confidence`.
    confidence : str
        The same in a word: "high" (at least .9), "fair" (at least .5), "low" (at least .1) or "none".
    formula : str
        Reduced formula.
    space_group : int or None
        Number of the space group.
    r_wp : float
        Weighted profile R factor of the counts above the background. 0 is a perfect fit.
    cell_scale : float
        Geometric mean of the cell lengths of the sample, divided by those of the crystal.
    zero_shift, fwhm : float
        Zero shift and full width at half maximum of the peaks, in degrees.
    also : tuple of str
        Ids of other candidates of the same formula and space group, which have lower scores.
    crystal : Crystal
        The crystal that was fitted.
    refined : Fit
        How it was fitted.
    """

    score: float
    fit: float
    similarity: float
    probability: float
    confidence: str
    formula: str
    space_group: int | None
    r_wp: float
    cell_scale: float
    zero_shift: float
    fwhm: float
    also: tuple[str, ...]
    crystal: Crystal = field(repr=False)
    refined: Fit = field(repr=False)


@dataclass(frozen=True)
class Phase(_Fitted):
    """A phase of the sample.

    Attributes
    ----------
    material_id, formula : str
    space_group : int or None
    weight_fraction, weight_fraction_error : float
        Share of the weight of all phases, and its standard error from the fit alone. Absorption is taken to be the same
        in all phases, their grains to have no preferred orientation, and the sample to be crystalline.
    probability : float
        That this is the phase, and no other candidate or a crystal that the index does not have.
    group : tuple of str
        Ids of this phase and of the candidates whose score is nearly as good: intensities cannot tell them apart. One
        id stands for each formula and space group.
    cell_scale : float
        Geometric mean of the cell lengths in the sample, divided by those of the crystal.
    crystal : Crystal
        The crystal that was fitted.
    refined : Fit
        How it was fitted beside the other phases.
    """

    material_id: str
    formula: str
    space_group: int | None
    weight_fraction: float
    weight_fraction_error: float
    probability: float
    group: tuple[str, ...]
    cell_scale: float
    crystal: Crystal = field(repr=False)
    refined: Fit = field(repr=False)

    def __str__(self) -> str:
        group = "" if self.space_group is None else f", space group {self.space_group}"
        return f"{self.formula} ({self.material_id}{group})"


@dataclass(frozen=True)
class Hypothesis:
    """One way to describe a measured pattern.

    Attributes
    ----------
    material_ids, formulas : tuple of str
        Of its phases, heaviest first.
    weight_fractions : tuple of float
    r_wp : float
        Weighted profile R factor of the counts above the background.
    """

    material_ids: tuple[str, ...]
    formulas: tuple[str, ...]
    weight_fractions: tuple[float, ...]
    r_wp: float


class PatternAnswer(Answers[PhaseMatch]):
    """The crystals that a measured pattern, or the strongest phase in it, may belong to, best first.

    Attributes
    ----------
    phases : tuple of Phase
        The phases that together describe the pattern, heaviest first. One phase is that of the first answer.
    hypotheses : tuple of Hypothesis
        These phases, and other ways to describe the pattern: with a rival in place of a phase, or without one.
    measurement : Measurement
        The measured pattern in equal bins, with its background and the wavelength that cells refer to.
    radiation : Radiation
        The wavelength that was used, and whether it was given, read from the file or assumed.
    """

    def __init__(
        self,
        answers: Sequence[PhaseMatch],
        measurement: Measurement,
        radiation: Radiation,
        phases: Sequence[Phase] = (),
        hypotheses: Sequence[Hypothesis] = (),
    ):
        super().__init__(answers)
        self.hypotheses = tuple(hypotheses)
        self.measurement, self.radiation, self.phases = measurement, radiation, tuple(phases)

    @property
    def two_theta(self) -> np.ndarray:
        """Angles in degrees, (n,)."""
        return self.measurement.grid.two_theta

    @property
    def measured(self) -> np.ndarray:
        """Counts above the background, (n,)."""
        return self.measurement.counts

    @property
    def peaks(self) -> np.ndarray:
        """The part of these counts that rises above the noise, relative, (n,)."""
        return self.measurement.roots**2

    def _repr_html_(self) -> str:
        """Return the verdict, the picture and the table as HTML, for a notebook."""
        return f"<p>{escape(self.verdict)}</p>{as_image(self.plot())}{super()._repr_html_()}"

    def plot(self, rank: int | None = None) -> Picture:
        """Draw the measured pattern, the fitted pattern, and their difference.

        Parameters
        ----------
        rank : int, optional
            Of the answer whose pattern is drawn. By default the pattern of all phases together.
        """
        if rank is None:
            if len(self.phases) > 1:
                shares = ", ".join(f"{100 * p.weight_fraction:.0f} % {p.formula}" for p in self.phases)
                return draw_match(self.two_theta, self.measured, self.calculated, shares)
            rank = 1
        if not isinstance(rank, Integral) or isinstance(rank, bool) or not 1 <= rank <= len(self):
            are = "is" if len(self) == 1 else "are"
            raise QueryError("rank", repr(rank), f"there {are} {counted(len(self), 'answer')}, ranked from 1",
                             "Pass the rank of an answer, or search with a larger k.")  # fmt: skip
        match = self[rank - 1]
        title = (
            f"{match.formula} ({match.material_id}{_group(match)})   score {match.score:.3f}   "
            f"$R_{{wp}}$ {match.r_wp:.2f}   cell × {match.cell_scale:.4f}"
        )
        return draw_match(self.two_theta, self.measured, match.calculated, title)

    @property
    def calculated(self) -> np.ndarray:
        """The fitted patterns of all phases together, in counts, (n,)."""
        return np.sum([phase.calculated for phase in self.phases], axis=0)

    @property
    def unexplained(self) -> float:
        """Fraction of the measured peaks at angles where no phase has a peak."""
        missed = self.calculated < 0.1 * self.measured
        return float((self.peaks * missed).sum() / self.peaks.sum())

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        best = self[0]
        left = f" {self.unexplained:.0%} of the measured peaks are left: there may be another phase."
        left = left if self.unexplained > _LEFT else ""
        doubtful = self.radiation.source == "assumed" or self.radiation.contradicted is not None
        assumed = f" The wavelength is {self.radiation}." if doubtful else ""
        if len(self.phases) > 1:
            shares = [
                f"{100 * phase.weight_fraction:.0f} ± {max(1.0, 100 * phase.weight_fraction_error):.0f} % {phase}"
                for phase in self.phases
            ]
            return f"It may be a mixture of {', '.join(shares)}, by weight.{left}{assumed}"
        if best.confidence == "none":
            return (
                f"Nothing fits: the nearest, {best.formula} ({best.material_id}), has a probability of "
                f"{best.probability:.2f}.{assumed}"
            )
        sure = f"{best.confidence} confidence (probability {best.probability:.2f})"
        return f"{best.formula} ({best.material_id}{_group(best)}), {sure}.{self._rivals}{left}{assumed}"

    @property
    def group(self) -> list[PhaseMatch]:
        """The first answer, and those that intensities cannot tell from it because they fit nearly as well."""
        return [match for match in self if match.material_id in self.phases[0].group]

    @property
    def _rivals(self) -> str:
        """What is said of the other members of the first group, and of the elements that would decide."""
        best, others = self[0], self.group[1:]
        if not others:
            return ""
        type_ = formula_type(best.formula)
        alike = all(formula_type(o.formula) == type_ and o.space_group == best.space_group for o in others)
        certain = " The structure type is certain, the elements are not." if alike else ""
        named = ", ".join(f"{other.formula} ({other.material_id})" for other in others)
        elements = self.deciding_elements
        decided = f" With {' and '.join(elements)} known to be in the sample, it would be certain." if elements else ""
        return f"{certain} {counted(len(others), 'other')} fit nearly as well: {named}.{decided}"

    @property
    def deciding_elements(self) -> tuple[str, ...]:
        """The fewest elements of the first answer that make it sure if the sample is known to contain them.

        Empty if it is sure already, or if no elements of it would do.
        """
        best = self[0]
        if best.confidence == "high":
            return ()
        systems = [set(match.crystal.chemical_system.split("-")) for match in self]
        for number in range(1, len(systems[0]) + 1):
            for chosen in combinations(sorted(systems[0]), number):
                left = [match for match, system in zip(self, systems, strict=True) if system >= set(chosen)]
                likely = probabilities([match.score for match in left], [match.formula for match in left])
                if likely[0] >= HIGH:
                    return chosen
        return ()


def _group(match: PhaseMatch) -> str:
    return "" if match.space_group is None else f", space group {match.space_group}"
