"""What a measured powder pattern may belong to: ranked crystals, the phases of the sample, their picture and verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from numbers import Integral

import numpy as np

from ..crystals.records import Crystal
from ..diffraction.fitting import Fit, Measurement
from ..diffraction.radiation import Radiation
from ..errors import QueryError, counted
from .answers import Answer, Answers
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
    confidence : str
        "high", "fair", "low" or "none", from the score and its lead over the best other compound.
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
    cell_scale: float
    crystal: Crystal = field(repr=False)
    refined: Fit = field(repr=False)

    def __str__(self) -> str:
        group = "" if self.space_group is None else f", space group {self.space_group}"
        return f"{self.formula} ({self.material_id}{group})"


class PatternAnswer(Answers[PhaseMatch]):
    """The crystals that a measured pattern, or the strongest phase in it, may belong to, best first.

    Attributes
    ----------
    phases : tuple of Phase
        The phases that together describe the pattern, heaviest first. One phase is that of the first answer.
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
    ):
        super().__init__(answers)
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
        assumed = f" The wavelength is {self.radiation}." if self.radiation.source == "assumed" else ""
        if len(self.phases) > 1:
            shares = [
                f"{100 * phase.weight_fraction:.0f} ± {max(1.0, 100 * phase.weight_fraction_error):.0f} % {phase}"
                for phase in self.phases
            ]
            return f"It may be a mixture of {', '.join(shares)}, by weight.{left}{assumed}"
        if best.confidence == "none":
            return (
                f"Nothing fits: the nearest, {best.formula} ({best.material_id}), has a score of {best.score:.2f}."
                + assumed
            )
        return f"{best.formula} ({best.material_id}{_group(best)}), {best.confidence} confidence.{left}{assumed}"


def _group(match: PhaseMatch) -> str:
    return "" if match.space_group is None else f", space group {match.space_group}"
