"""What reports and files ask of the answer of a measured pattern, so that they need not know its class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from ..crystals.records import Crystal
from ..crystals.symmetry import StandardSetting
from ..diffraction.fitting import Fit
from ..diffraction.measurement import Measurement
from ..diffraction.measured import Scan
from ..diffraction.radiation import Radiation
from .agreement import Agreement

if TYPE_CHECKING:
    from .pictures import Picture


class FittedCrystal(Protocol):
    """A crystal that was fitted."""

    @property
    def material_id(self) -> str:
        """Its id."""

    @property
    def formula(self) -> str:
        """Reduced formula."""

    @property
    def crystal(self) -> Crystal:
        """As the database has it."""

    @property
    def setting(self) -> StandardSetting:
        """With its refined cell, in the standard setting."""


class FittedPhase(FittedCrystal, Protocol):
    """A phase of the sample."""

    @property
    def weight_fraction(self) -> float:
        """Share of the weight of all phases."""

    @property
    def weight_fraction_error(self) -> float:
        """Its standard error."""

    @property
    def probability(self) -> float:
        """That this is the phase."""

    @property
    def refined(self) -> Fit:
        """How it was fitted."""


class Candidate(FittedCrystal, Protocol):
    """An answer."""

    @property
    def rank(self) -> int:
        """From 1."""

    @property
    def score(self) -> float:
        """The best is 1."""

    @property
    def confidence(self) -> str:
        """In a word."""

    @property
    def cell_scale(self) -> float:
        """Refined over known cell lengths."""


class FittedAnswer(Protocol):
    """A :class:`~deepchem_crystalssl.search.PatternAnswer`."""

    measurement: Measurement
    scan: Scan

    @property
    def phases(self) -> Sequence[FittedPhase]:
        """Of the sample, heaviest first."""

    @property
    def agreement(self) -> Agreement:
        """R factors."""

    @property
    def radiation(self) -> Radiation:
        """Wavelength and where it is known from."""

    @property
    def radiation_label(self) -> str:
        """The same in a few words."""

    @property
    def verdict(self) -> str:
        """The result in a sentence."""

    @property
    def unexplained(self) -> float:
        """Fraction of the measured peaks that no phase explains."""

    def __iter__(self) -> Iterator[Candidate]:
        """The candidates, best first."""

    def reflections(self) -> pd.DataFrame:
        """The reflections of all phases."""

    def plot(self) -> Picture:
        """All phases together."""

    def to_frame(self) -> pd.DataFrame:
        """The candidates."""
