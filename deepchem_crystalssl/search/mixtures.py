r"""Take a measured pattern apart into the patterns of several phases, and find their weight fractions.

Phases are added one by one. Candidates are proposed for what the phases found before leave of the pattern, each is
fitted to that rest, and the one is kept with which all profiles together, with non-negative scales, describe the
measurement best. It must explain enough that the others do not. Then every phase is fitted again to what the others
leave.

The weight of a phase is proportional to :math:`S M V / P`: the counts :math:`S` of its fitted profile, the mass
:math:`M` and volume :math:`V` of its cell, and the intensity :math:`P` that the same cell would scatter (Hill and
Howard, J. Appl. Cryst. 20, 467, 1987). Absorption is taken to be the same for all phases (no microabsorption), and all
of the sample to be crystalline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from pymatgen.core import Element
from scipy.optimize import nnls

from ..crystals.records import Crystal
from ..crystals.symmetry import space_group
from ..diffraction.fitting import Fit, allowed_strains, find_texture, fit
from ..diffraction.measurement import Measurement
from .lines import absent, unexplained

MOST_PHASES = 4
SCALE_COST = 0.01
"""Reduction of a candidate's score if its cell lengths change by 2 %; it grows with the square of the change."""
GAIN, NEW_LINES, LIKE_REST = 0.2, 0.075, 0.35
"""What a further phase must do: lower the weighted sum of squares by this share, explain this share of the measured
lines which the others do not explain, and be as similar to what was left (cosine of the square roots of counts)."""
CLEAR_GAIN, CLEAR_LINES, CLEARLY_LIKE = 0.1, 0.15, 0.6
"""The same; a smaller gain is enough for a phase that does more of the rest."""
ABSENT = 0.35
"""Largest share of the lines of a further phase that may be missing."""
_COST_OF_FREEDOM = 0.08
_RIVALS = 3
"""Nearest rivals of each phase that are tried in its place."""
_HYPOTHESES = 4
"""Number of other ways to describe a measurement that are kept."""
_SMALLEST = 0.01
"""Share of all counts above background below which a phase is dropped."""


@dataclass(frozen=True)
class Proposal:
    """A crystal that may be a phase of the sample.

    Attributes
    ----------
    row : int
        Of the index.
    crystal : Crystal
    similarity : float
        Cosine between the vectors of the pattern and of the crystal's simulated pattern.
    strain : float
        Relative change of the cell lengths from which a fit starts.
    """

    row: int
    crystal: Crystal
    similarity: float
    strain: float


@dataclass(frozen=True)
class Part:
    """A crystal and how it was fitted: a candidate for a phase, or a phase beside the others.

    Attributes
    ----------
    proposal : Proposal
    fit : Fit
    rivals : tuple of Part
        Of a phase: the candidates among which it was chosen, fitted to the same counts.
    """

    proposal: Proposal
    fit: Fit
    rivals: tuple[Part, ...] = ()

    @property
    def score(self) -> float:
        """Mean of the cosines of encoder and fit, less if the cell lengths change much; 1 is best."""
        cost = SCALE_COST * ((self.fit.cell_scale - 1.0) / 0.02) ** 2
        return (self.proposal.similarity + self.fit.cosine) / 2 - cost

    def lacks(self, needed: Set[str]) -> bool:
        """Whether the crystal does not contain all of these elements."""
        return not needed <= set(self.proposal.crystal.chemical_system.split("-"))

    @cached_property
    def kind(self) -> tuple[str, int | None]:
        """Formula and space group: of polymorphs both may be in a sample."""
        return self.proposal.crystal.reduced_formula, space_group(self.proposal.crystal)


Propose = Callable[[Measurement], Sequence[Proposal]]


def take_apart(
    measurement: Measurement,
    first: Sequence[Part],
    propose: Propose,
    fit_all: Callable[[Measurement, Sequence[Proposal]], Sequence[Fit]],
    n_phases: int | None = None,
) -> list[Part]:
    """The phases of a mixture, those with most counts first.

    Parameters
    ----------
    measurement : Measurement
    first : sequence of Part
        Candidates fitted to the whole measurement.
    propose : callable
        Candidates for what is left of it.
    fit_all : callable
        Fits several of them.
    n_phases : int, optional
        By default as many as explain enough that the others do not, at most ``MOST_PHASES``.
    """
    options: Sequence[Part] = first
    found: list[Part] = []
    for _ in range(n_phases or MOST_PHASES):
        option = _most_useful(measurement, found, options, forced=n_phases is not None)
        if option is None:
            break
        found = refitted(measurement, [*found, replace(option, rivals=tuple(options))])
        scales, _ = joint_scales(measurement, found)
        found = [scaled(part, scale) for part, scale in zip(found, scales, strict=True)]
        rest = measurement.without(_sum(found))
        if rest is None:
            break
        proposals = propose(rest)
        options = [Part(p, one) for p, one in zip(proposals, fit_all(rest, proposals), strict=True)]
    total = _sum(found).sum()
    kept = [part for part in found if part.fit.calculated.sum() > _SMALLEST * total]
    return sorted(kept, key=lambda part: -part.fit.calculated.sum())


def _most_useful(measurement: Measurement, found: list[Part], options: Sequence[Part], forced: bool) -> Part | None:
    """The phase that a mixture needs most, if any.

    What it gains is the share of squares by which it lowers the misfit, less for a crystal with many parameters and
    many atoms, which can imitate others. Unless a number of phases was asked for, it must explain lines that the others
    do not, and its own lines must be there.
    """
    kinds = {part.kind for part in found}
    before = joint_scales(measurement, found)[1] if found else 1.0
    missing = unexplained(measurement, _sum(found)) if found else 1.0
    best, most = None, 0.0
    for option in options:
        crystal = option.proposal.crystal
        if option.kind in kinds:
            continue
        scales, after = joint_scales(measurement, [*found, option])
        gain = before - after
        freedom = len(allowed_strains(crystal)) + np.log(len(crystal.atomic_numbers))
        useful = gain * np.exp(-_COST_OF_FREEDOM * freedom)
        if useful <= most:
            continue
        if found and not forced:
            parts = [scaled(part, scale) for part, scale in zip([*found, option], scales, strict=True)]
            others, own = _sum(parts[:-1]), parts[-1].fit.calculated
            newly = missing - unexplained(measurement, others + own)
            like = option.fit.cosine
            usual = gain >= GAIN * before and newly >= NEW_LINES and like >= LIKE_REST
            clear = gain >= CLEAR_GAIN * before and newly >= CLEAR_LINES and like >= CLEARLY_LIKE
            if not (usual or clear):
                continue
            if absent(measurement, own, others) > ABSENT:
                continue
        best, most = option, useful
    return best


def _sum(parts: Sequence[Part]) -> np.ndarray:
    return np.sum([part.fit.calculated for part in parts], axis=0)


def refitted(measurement: Measurement, parts: Sequence[Part]) -> list[Part]:
    """Each phase fitted again to what the others leave of the measurement, with a preferred orientation if it helps."""
    parts = list(parts)
    scales, _ = joint_scales(measurement, parts)
    parts = [scaled(part, scale) for part, scale in zip(parts, scales, strict=True)]
    for at, part in enumerate(parts):
        others = [other for k, other in enumerate(parts) if k != at]
        rest = measurement.without(_sum(others)) if others else measurement
        if rest is not None:
            crystal, strain = part.proposal.crystal, part.fit.cell_scale - 1.0
            again = fit(rest, crystal, strain, find_texture(rest, crystal, part.fit))
            tried = [*parts[:at], replace(part, fit=again), *parts[at + 1 :]]
            if joint_scales(measurement, tried)[1] < joint_scales(measurement, parts)[1]:
                parts = tried
    return parts


def alternatives(measurement: Measurement, parts: Sequence[Part]) -> list[tuple[list[Part], float]]:
    """Other ways to describe the measurement, with the share of squares that each leaves: best first.

    In each way one phase is replaced by one of its nearest rivals, or left out. The phases themselves come first. The
    share of a way with more phases counts as larger, as in the search for further phases.
    """
    ways = [list(parts)]
    for at, part in enumerate(parts):
        rest = [*parts[:at], *parts[at + 1 :]]
        kinds = {part.kind, *(other.kind for other in rest)}
        rivals: dict[tuple[str, int | None], Part] = {}
        for rival in sorted(part.rivals, key=lambda rival: -rival.score):
            if rival.kind not in kinds:
                rivals.setdefault(rival.kind, rival)
        ways += [[*parts[:at], rival, *parts[at + 1 :]] for rival in list(rivals.values())[:_RIVALS]]
        ways += [rest] if rest else []
    described = []
    for way in ways:
        scales, left = joint_scales(measurement, way)
        described.append(([scaled(part, scale) for part, scale in zip(way, scales, strict=True) if scale > 0.0], left))
    chosen, others = described[0], [way for way in described[1:] if way[0]]
    others.sort(key=lambda way: way[1] * (1.0 - GAIN) ** -len(way[0]))
    return [chosen, *others[:_HYPOTHESES]]


def joint_scales(measurement: Measurement, parts: Sequence[Part]) -> tuple[np.ndarray, float]:
    """Non-negative factors of the fitted profiles that describe the counts best, and the share of squares left."""
    counts = measurement.counts
    root_weight = np.sqrt(measurement.weight)
    profiles = np.stack([part.fit.calculated for part in parts], axis=1)
    scales, left = nnls(root_weight[:, None] * profiles, root_weight * counts)
    return scales, float(left**2 / ((root_weight * counts) ** 2).sum())


def scaled(part: Part, scale: float) -> Part:
    """The same phase with another scale."""
    return replace(part, fit=replace(part.fit, calculated=scale * part.fit.calculated))


def weight_fractions(measurement: Measurement, parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Weight fractions of phases, which add up to 1, and their standard errors, (P,) each.

    The errors are those of the scales in the least-squares fit, whose residuals are taken as the errors of the counts
    and to be correlated over the width of a line; they do not know of absorption and texture.
    """
    if len(parts) == 1:
        return np.ones(1), np.zeros(1)
    counts = measurement.counts
    weight = measurement.weight
    profiles = np.stack([part.fit.calculated for part in parts], axis=1)
    normal = profiles.T @ (weight[:, None] * profiles)
    left = counts - profiles.sum(axis=1)
    correlated = max(1.0, measurement.fwhm / measurement.grid.step)
    variance = correlated * (weight * left**2).sum() / max(1, len(counts) - len(parts))
    covariance = variance * np.linalg.pinv(normal)
    per_count = np.array([_mass(p.proposal.crystal) * _volume(p) / p.fit.power for p in parts])
    masses = profiles.sum(axis=0) * per_count
    fractions = masses / masses.sum()
    slopes = np.diag(fractions) - np.outer(fractions, fractions)  # of fractions by ln scale
    return fractions, np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slopes, covariance, slopes), 0.0))


def absolute_fractions(fractions: np.ndarray, standard: int, weighed: float) -> tuple[np.ndarray, float]:
    """Weight fractions in a sample before a known share of a standard was mixed into it, and what is not crystalline.

    The fractions of a fit add up to 1 whatever part of the sample gives no lines. The ratio of a phase to the standard
    is right nevertheless, so that the weighed standard gives absolute amounts; what is missing is amorphous.

    Parameters
    ----------
    fractions : numpy.ndarray
        Of the fit, with the standard, (P,).
    standard : int
        Which phase it is.
    weighed : float
        Its weight divided by that of sample and standard together.

    Returns
    -------
    fractions : numpy.ndarray
        Of the phases in the sample without the standard, (P,); that of the standard is 0.
    amorphous : float
        The rest. It is negative if the standard is seen too weakly, as when it absorbs more than the sample.

    Examples
    --------
    >>> absolute_fractions(np.array([0.6, 0.4]), 1, 0.2)
    (array([0.375, 0.   ]), 0.625)
    """
    amounts = np.asarray(fractions, float) * weighed / fractions[standard] / (1.0 - weighed)
    amounts[standard] = 0.0
    return amounts, float(1.0 - amounts.sum())


def _mass(crystal: Crystal) -> float:
    species = crystal.species
    masses = [float(Element.from_Z(int(z)).atomic_mass) for z in species.atomic_numbers]
    return float(np.dot(masses, species.occupancy))


def _volume(part: Part) -> float:
    return float(abs(np.linalg.det(part.proposal.crystal.lattice))) * part.fit.cell_scale**3
