"""Crystals that were fitted to a measured pattern: answers to it, and phases of the sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..crystals.records import Crystal
from ..crystals.symmetry import StandardSetting
from ..diffraction.fitting import Fit
from .answers import Answer


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

    @cached_property
    def setting(self) -> StandardSetting:
        """The crystal with its refined cell, in the standard setting of its space group."""
        return StandardSetting.of(self.crystal).with_lattice(self.lattice)


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
        That the whole sample is this crystal: see :mod:`~deepchem_crystalssl.search.confidence`. It says nothing beside
        the phases of a mixture, which have their own.
    confidence : str
        The same in a word: "high" (at least .92), "fair" (at least .5), "low" (at least .1) or "none".
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
        in all phases, and the sample to be crystalline.
    probability : float
        That this is the phase, and no other candidate or a crystal that the index does not have.
    group : tuple of str
        Ids of this phase and of the candidates whose score is nearly as good: intensities cannot tell them apart. One
        id stands for each formula and space group.
    score : float
        As that of an answer, for what the other phases leave.
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
    score: float
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
