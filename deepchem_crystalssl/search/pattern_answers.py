"""What a measured powder pattern may belong to: ranked crystals, the phases of the sample, and how well they fit."""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import cached_property
from html import escape
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..diffraction.measurement import Measurement
from ..diffraction.measured import Scan
from ..diffraction.patterns import NEUTRONS
from ..diffraction.radiation import Radiation, radiation_name
from ..errors import QueryError, counted
from . import handover
from .agreement import Agreement
from .answers import Answers
from .confidence import deciding_elements, in_words
from .formulas import formula_type
from .matches import Hypothesis, Phase, PhaseMatch
from .reflection_lists import list_reflections
from .typesetting import formula_label, percent, plain_label, space_group_label

if TYPE_CHECKING:
    from .pictures import Picture, Ticks

_NAMED = 4  # rivals in the verdict
_OF_A_PHASE = ("material_id", "formula", "space_group", "weight_fraction", "probability", "cell_scale")
_LEFT = 0.08  # single phases with wrong intensities and noise leave less than 0.05 unexplained


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
    scan : Scan
        The measured points as they were recorded.
    candidates : tuple of PhaseMatch
        All crystals that were fitted, best first; the answers are the first k of them.
    """

    _shown = (
        "rank", "material_id", "formula", "space_group", "probability", "confidence", "score", "r_wp", "cell_scale",
    )  # fmt: skip

    def __init__(
        self,
        candidates: Sequence[PhaseMatch],
        measurement: Measurement,
        scan: Scan,
        phases: Sequence[Phase] = (),
        hypotheses: Sequence[Hypothesis] = (),
        k: int | None = None,
        needed: Set[str] = frozenset(),
    ):
        super().__init__(candidates[:k])
        self.candidates, self._needed = tuple(candidates), needed
        self.measurement, self.scan = measurement, scan
        self.phases, self.hypotheses = tuple(phases), tuple(hypotheses)

    @property
    def radiation(self) -> Radiation:
        """The wavelength that was used, and whether it was given, read from the file or assumed."""
        return self.scan.radiation

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

    @cached_property
    def agreement(self) -> Agreement:
        """How well all phases together describe the measured points; its numbers are also attributes of the answer."""
        return Agreement.of(self.scan, self.measurement, [(phase.crystal, phase.refined) for phase in self.phases])

    @property
    def r_wp(self) -> float:
        r"""Weighted profile R factor of all phases together, :math:`\sqrt{\sum w (y - y_c)^2 / \sum w y^2}`.

        The weights are :math:`w = 1 / y`, and measured and calculated intensities include the background (Toby, Powder
        Diffr. 21, 67, 2006). It is a fraction of 1. See :mod:`~deepchem_crystalssl.search.agreement`.
        """
        return self.agreement.r_wp

    @property
    def r_wp_above_background(self) -> float:
        r"""The same with the background b taken off the denominator, as Rietveld programs also print it.

        It is :math:`\sqrt{\sum w (y - y_c)^2 / \sum w (y - b)^2}`. A high background makes ``r_wp`` small even for a
        wrong structure; it does not do so here.
        """
        return self.agreement.r_wp_above_background

    @property
    def r_exp(self) -> float | None:
        r"""What ``r_wp`` would be if counting noise were the only misfit, :math:`\sqrt{(N - P) / \sum w y^2}`.

        N points were measured, and P parameters were fitted: for each phase the strains that its symmetry allows,
        scale, zero shift, width and mixing, and six terms of the background (Toby 2006). None if the intensities are no
        counts, as :func:`~deepchem_crystalssl.search.agreement.are_counts` judges.
        """
        return self.agreement.r_exp

    @property
    def goodness_of_fit(self) -> float | None:
        """``r_wp / r_exp``, the root of the reduced chi squared (Toby 2006). None if the intensities are no counts."""
        return self.agreement.goodness_of_fit

    @property
    def net(self) -> np.ndarray:
        """Measured counts above the background that was fitted together with the phases, (n,). They may be negative."""
        return self.measured - self.agreement.background(self.two_theta)

    def to_frame(self) -> pd.DataFrame:
        """One row per answer.

        A probability is that the whole sample is this crystal. Beside the phases of a mixture, which have their own, it
        says nothing, so the columns ``probability`` and ``confidence`` are left out then.
        """
        return super().to_frame().drop(columns=["probability", "confidence"] if self.is_mixture else [])

    def reflections(self) -> pd.DataFrame:
        """List the reflections of all phases within the measured range.

        Returns
        -------
        pandas.DataFrame
            One row for each phase and set of equivalent reflections:

            * ``phase``, from 1, ``material_id`` and ``formula``;
            * Miller indices ``h``, ``k``, ``l`` in the standard cell, which is also that of the CIF files, and the
              ``multiplicity``;
            * the spacing ``d`` in Å and ``two_theta`` in degrees, of the refined cell, for the wavelength of the
              measurement (K-alpha 1 where both lines were fitted), with the zero shift;
            * ``f_squared``, squared structure factor of the standard cell in electrons squared;
            * ``intensity_calculated`` and ``intensity_observed``, areas in counts times degrees. Measured counts are
              divided among overlapping reflections in proportion to their calculated profiles (Rietveld 1969).

            Reflections weaker than 1e-5 of the strongest one of their phase are left out.
        """
        tables = []
        for number, phase in enumerate(self.phases, start=1):
            table = list_reflections(self.measurement, self.net, self.calculated, phase.setting, phase.refined)
            table.insert(0, "phase", number)
            table.insert(1, "material_id", phase.material_id)
            table.insert(2, "formula", phase.formula)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def write_cif(self, path: str | Path, phase: int | str | None = None) -> None:
        """Write the phases with their refined cells as a CIF file.

        The crystals are in the standard setting of their space groups. Positions and occupancies are those of the
        database; only the cell was refined.

        Parameters
        ----------
        path : str or Path
        phase : int or str, optional
            Number of a phase, from 1, or its material_id. By default all phases, one data block for each.

        Raises
        ------
        QueryError
            If there is no such phase, or the file cannot be written.
        """
        handover.write_cif(self, path, phase)

    def report(self, path: str | Path) -> None:
        """Write a page of HTML about the answer, which needs no other file.

        It holds the verdict, the figure, the phases with their refined cells, the R factors, the other candidates, the
        strongest reflections, and what was assumed.

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        QueryError
            If the file cannot be written.
        """
        handover.write_report(self, path)

    def export(self, folder: str | Path) -> list[Path]:
        """Write what a refinement program, a spreadsheet and a colleague need into a folder.

        The files are the measured points (``measured.xye``), a CIF file for each phase, ``reflections.csv``,
        ``candidates.csv``, ``figure.pdf``, ``report.html``, and a ``README.txt`` that says what each of them is. The
        files of an earlier answer are replaced, and those of others are not.

        Parameters
        ----------
        folder : str or Path
            It is made if it is not there.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        QueryError
            If the folder cannot be written, or holds a file of one of these names that is not from an earlier answer.
        """
        return handover.export(self, folder)

    def _repr_html_(self) -> str:
        """Return the verdict, the picture, the phases of a mixture and the answers as HTML, for a notebook."""
        from .displays import table_html
        from .pictures import as_image

        phases = ""
        if self.is_mixture:
            rows = [{name: getattr(phase, name) for name in _OF_A_PHASE} for phase in self.phases]
            table = pd.DataFrame(rows).assign(
                weight_fraction=[percent(phase.weight_fraction, phase.weight_fraction_error) for phase in self.phases]
            )
            phases = f"<p>Phases</p>{table_html(table)}<p>Answers to the strongest phase</p>"
        return f"<p>{escape(self.verdict)}</p>{as_image(self.plot())}{phases}{super()._repr_html_()}"

    def plot(self, rank: int | None = None) -> Picture:
        """Draw the measured and the fitted pattern above the background, the reflections, and the difference.

        Parameters
        ----------
        rank : int, optional
            Of the answer whose pattern is drawn. By default the pattern of all phases together.

        Returns
        -------
        Picture
            A figure of matplotlib; ``savefig`` writes it as PNG, PDF or SVG.

        Raises
        ------
        QueryError
            If there is no answer of this rank.
        """
        if rank is None:
            shares = [f", {percent(p.weight_fraction, p.weight_fraction_error)}" for p in self.phases]
            named = zip(self.phases, shares if len(self.phases) > 1 else [""], strict=True)
            quality = rf"$R_{{wp}}$ = {100 * self.r_wp:.1f} %"
            if self.goodness_of_fit is not None:
                quality += f", goodness of fit {self.goodness_of_fit:.2f}"
            return self._draw(self.net, self.calculated, [self._ticks(p, share) for p, share in named], quality)
        if not isinstance(rank, Integral) or isinstance(rank, bool) or not 1 <= rank <= len(self):
            are = "is" if len(self) == 1 else "are"
            raise QueryError("rank", repr(rank), f"there {are} {counted(len(self), 'answer')}, ranked from 1",
                             "Pass the rank of an answer, or search with a larger k.")  # fmt: skip
        match = self[rank - 1]
        title = f"Answer {rank}: {plain_label(match.material_id)}, score {match.score:.3f}"
        return self._draw(self.measured, match.calculated, [self._ticks(match, "")], title)

    def _draw(self, measured: np.ndarray, calculated: np.ndarray, phases: list[Ticks], title: str) -> Picture:
        from .pictures import draw_fit

        unit = "counts" if self.agreement.r_exp is not None else ""
        return draw_fit(self.two_theta, measured, calculated, phases, self.radiation_label, title, unit)

    def _ticks(self, match: PhaseMatch | Phase, share: str) -> Ticks:
        from .pictures import Ticks

        label = f"{formula_label(match.formula)} {space_group_label(match.setting.symbol)}{share}"
        table = list_reflections(self.measurement, self.net, self.calculated, match.setting, match.refined)
        return Ticks(label, table["two_theta"].to_numpy())

    @property
    def radiation_label(self) -> str:
        """The radiation in a few words, such as "Cu Kα, λ = 1.5418 Å"."""
        length, doublet = self.measurement.grid.wavelength_angstrom, self.measurement.second_line != 1.0
        name = radiation_name(length)
        name = name and (f"{name} and Kα₂" if doublet else name)
        return f"{name + ', ' if name else ''}λ{'₁' if doublet else ''} = {length:.5g} Å"

    def with_standard(self, phase: int | str, weight_fraction: float) -> pd.Series:
        """Weight fractions of the sample if one phase is an internal standard of which the amount was weighed.

        Parameters
        ----------
        phase : int or str
            The standard: its number in ``phases``, from 1, or its material_id.
        weight_fraction : float
            Weight of the standard divided by that of sample and standard together.

        Returns
        -------
        pandas.Series
            Fraction of each other phase by material_id, and of what gives no lines as "amorphous"; they add up to 1.

        Raises
        ------
        QueryError
            If there is no such phase, or the fraction is not between 0 and 1.
        """
        from .mixtures import absolute_fractions

        [standard] = handover.find_phase(self.phases, phase)
        if not 0.0 < weight_fraction < 1.0:
            raise QueryError("weight_fraction", repr(weight_fraction), "the share of a standard lies between 0 and 1",
                             "Divide the weight of the standard by that of sample and standard together.")  # fmt: skip
        at = [one.material_id for one in self.phases].index(standard.material_id)
        fractions = np.array([one.weight_fraction for one in self.phases])
        amounts, amorphous = absolute_fractions(fractions, at, weight_fraction)
        found = {
            one.material_id: amount for one, amount in zip(self.phases, amounts, strict=True) if one is not standard
        }
        return pd.Series({**found, "amorphous": amorphous}, name="weight_fraction")

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
    def nothing_fits(self) -> bool:
        """Whether no phase has a probability of at least .1."""
        sure = [in_words(phase.probability) for phase in self.phases] if self.is_mixture else [self[0].confidence]
        return set(sure) == {"none"}

    @property
    def is_mixture(self) -> bool:
        """Whether there are several phases."""
        return len(self.phases) > 1

    @property
    def verdict(self) -> str:
        """The result in a sentence, after another one if the file says that it holds intensities of neutrons."""
        neutrons = f"The file says that {NEUTRONS}, with which the search compares: the phases may be wrong. "
        return f"{neutrons if self.scan.of_neutrons else ''}{self._result}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done when the file was read, besides reading the numbers."""
        return tuple(note for note in self.scan.notes if note != NEUTRONS)  # the verdict says that one

    @property
    def _result(self) -> str:
        best = self[0]
        left = f" {self.unexplained:.0%} of the measured peaks are left: there may be another phase."
        left = left if self.unexplained > _LEFT else ""
        if self.missing_elements:
            left += f" No phase contains {' or '.join(self.missing_elements)}, which the sample was said to contain."
        doubtful = self.radiation.source == "assumed" or self.radiation.contradicted is not None
        assumed = f" The wavelength is {self.radiation}." if doubtful else ""
        if self.is_mixture and self.nothing_fits:
            nearest = ", ".join(f"{p.formula} ({p.material_id}, probability {p.probability:.2f})" for p in self.phases)
            return f"Nothing fits: the nearest mixture has the phases {nearest}.{assumed}"
        if self.is_mixture:
            shares = [
                f"{100 * p.weight_fraction:.0f} ± {max(1.0, 100 * p.weight_fraction_error):.0f} % {p.formula} "
                f"({p.material_id}{_group(p)}, probability {p.probability:.2f})"
                for p in self.phases
            ]
            return f"It may be a mixture of {', '.join(shares)}, by weight.{left}{assumed}"
        if self.nothing_fits:
            return (
                f"Nothing fits: the nearest, {best.formula} ({best.material_id}), has a probability of "
                f"{best.probability:.2f}.{assumed}"
            )
        sure = f"{best.confidence} confidence (probability {best.probability:.2f})"
        return f"{best.formula} ({best.material_id}{_group(best)}), {sure}.{self._rivals}{left}{assumed}"

    @property
    def group(self) -> list[PhaseMatch]:
        """The first answer, and those that intensities cannot tell from it because they fit nearly as well."""
        return [match for match in self.candidates if match.material_id in self.phases[0].group]

    @property
    def missing_elements(self) -> tuple[str, ...]:
        """Elements that the sample was said to contain, and that no phase contains."""
        found = {element for phase in self.phases for element in phase.crystal.chemical_system.split("-")}
        return tuple(sorted(self._needed - found))

    @property
    def _rivals(self) -> str:
        """What is said of the other members of the first group, and of the elements that would decide."""
        best, others = self[0], self.group[1:]
        if not others:
            return ""
        type_ = formula_type(best.formula)
        alike = all(formula_type(o.formula) == type_ and o.space_group == best.space_group for o in others)
        certain = " The structure type is certain, the elements are not." if alike else ""
        named = ", ".join(f"{other.formula} ({other.material_id})" for other in others[:_NAMED])
        named += f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        elements = self.deciding_elements
        decided = (
            f" If the sample is known to contain {' and '.join(elements)}, confidence is high." if elements else ""
        )
        fit = "fits" if len(others) == 1 else "fit"
        return f"{certain} {counted(len(others), 'other')} {fit} nearly as well: {named}.{decided}"

    @property
    def deciding_elements(self) -> tuple[str, ...]:
        """The fewest elements of the first answer that make it sure if the sample is known to contain them.

        Empty if it is sure already, or if no elements of it would do.
        """
        return deciding_elements(
            [match.score for match in self.candidates], [match.formula for match in self.candidates],
            [match.crystal.chemical_system for match in self.candidates],
        )  # fmt: skip


def _group(match: PhaseMatch | Phase) -> str:
    return "" if match.space_group is None else f", space group {match.space_group}"
