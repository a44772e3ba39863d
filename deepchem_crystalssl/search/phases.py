r"""Which crystals a measured powder pattern may be of: retrieved by vectors, ranked by physics.

1. The measurement is brought onto the model's grid, as if taken at wavelengths up to 2 % off (cells of calculations
   are off by as much), and every version is looked up among the vectors of simulated patterns.
2. The pattern of every candidate is simulated and slid along :math:`\ln \sin\theta`, where a change of all cell lengths
   is a shift; the best cosine says how well peaks and heights meet.
3. The best of these are fitted: strains that the crystal's symmetry allows, zero shift, width and shape of peaks, with
   the second line of a laboratory anode if that fits better.
4. They are ranked by the mean of both cosines, the encoder's and the fit's, for their errors differ: the encoder has
   seen texture and poor statistics, the fit sees every line. Changed cell lengths cost: calculated ones are seldom off
   by more than 2 %.

Patterns meet as square roots of counts above background: there counting noise is the same everywhere (Bartlett 1936),
and the cosine is what is left of a weighted profile fit once the scale is optimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares
from scipy.signal import find_peaks, peak_widths

from ..crystals.diffraction import Conditions, compute_patterns, scattering_table
from ..crystals.errors import Report
from ..crystals.graph import Crystal
from ..crystals.measured import check_pattern, prepare_measured_pattern, read_pattern_file
from ..crystals.symmetry import rotations, space_group
from ..crystals.threads import map_in_threads
from ..crystals.xrd_grid import WAVELENGTHS, XRDGrid, resolve_wavelength
from ..models import CrystalSSLModel
from .answers import Answer, Answers
from .catalogue import Crystals
from .pictures import Figure, as_image, draw_match

SCALES = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""Relative changes of cell lengths under which a measurement is looked up."""
REACH = 0.03
"""Largest relative change of cell lengths by which a candidate may differ."""
FITTED = 16
BLUR = 3.0
SCALE_COST = 0.01
"""What cell lengths that differ by 2 % cost a candidate's score; it goes with the square."""
NOTHING_FITS = 0.73
"""Below this sum of score and lead no candidate is called a match."""
_STEP = 2e-4  # of ln sin theta
_FINEST, _WIDEST = 0.02, 0.05  # degrees; bins of the fit
_ITERATIONS = 10
_DIFFERENCES = {"strain": 2e-4, "zero shift": 5e-3, "ln fwhm": 0.05, "mixing": 0.05}


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
    """What a pattern may be of, best first, and what the best leaves unexplained.

    Attributes
    ----------
    two_theta, measured : numpy.ndarray
        (n,): angles in degrees, counts above background.
    peaks : numpy.ndarray
        (n,): of these counts, what stands out of the noise.
    unexplained : float
        Share of the peaks where the first answer has none.
    verdict : str
        In words.
    """

    def __init__(self, answers: Sequence[PhaseMatch], two_theta: np.ndarray, measured: np.ndarray, peaks: np.ndarray):
        super().__init__(answers)
        self.two_theta, self.measured, self.peaks = two_theta, measured, peaks

    def _repr_html_(self) -> str:
        """Verdict, picture and table, for a notebook."""
        return f"<p>{escape(self.verdict)}</p>{as_image(self.plot())}{super()._repr_html_()}"

    def plot(self, rank: int = 1) -> Figure:
        """Measurement, fit and difference of one answer: :func:`~deepchem_crystalssl.search.pictures.draw_match`."""
        return draw_match(self, rank)

    @property
    def unexplained(self) -> float:
        """Share of the peaks where the first answer has none."""
        missed = self[0].calculated < 0.1 * self.measured
        return float((self.peaks * missed).sum() / self.peaks.sum())

    @property
    def verdict(self) -> str:
        """In words."""
        best = self[0]
        if best.confidence == "none":
            return f"Nothing fits: the nearest, {best.formula} ({best.material_id}), has a score of {best.score:.2f}."
        group = "" if best.space_group is None else f", space group {best.space_group}"
        text = f"{best.formula} ({best.material_id}{group}), {best.confidence} confidence."
        if self.unexplained > _LEFT:
            text += f" {self.unexplained:.0%} of the measured peaks are left: there may be another phase."
        return text


_LEFT = 0.08  # of single phases with wrong intensities and noise, less than 0.05 is left


def _farthest(wavelength: float) -> float:
    """Where 110 degrees of copper radiation lie: lines beyond are many, weak and costly."""
    return float(2 * np.degrees(np.arcsin(min(0.99, 0.8192 * wavelength / WAVELENGTHS["CuKa"]))))


@dataclass(frozen=True)
class Measurement:
    """A pattern to be fitted: counts above background in even bins, and their square roots of length 1.

    Attributes
    ----------
    grid : XRDGrid
        Bins within the measured range, the measurement's wavelength.
    counts, roots : numpy.ndarray
        (n,) each.
    fwhm : float
        Typical width of peaks, degrees.
    second_line : float
        Wavelength of the anode's K-alpha 2, at half the intensity, over that of K-alpha 1; 1 if there is none.
    """

    grid: XRDGrid
    counts: np.ndarray
    roots: np.ndarray
    fwhm: float
    second_line: float = 1.0

    @classmethod
    def of(cls, angles: np.ndarray, counts: np.ndarray, wavelength: float) -> Measurement:
        """From angles and counts as measured."""
        low, high = max(float(angles[0]), 3.0), min(float(angles[-1]), _farthest(wavelength))
        step = float(np.clip(np.median(np.diff(angles)), _FINEST, _WIDEST))
        grid = XRDGrid(low, high, max(16, int((high - low) / step)), wavelength)
        net = prepare_measured_pattern(angles, counts, grid, wavelength=wavelength, normalize=False)
        roots = np.sqrt(net)
        noise = np.median(roots)
        roots = np.clip(roots - 2.0 * noise, 0.0, None) if noise < 0.2 * roots.max() else roots
        peaks, _ = find_peaks(net, prominence=0.1 * net.max())
        widths = peak_widths(net, peaks)[0] * grid.step if len(peaks) else np.array([0.15])
        return cls(grid, net, roots / np.linalg.norm(roots), float(np.clip(np.median(widths), 0.06, 0.8)))

    def blurred(self) -> Measurement:
        """With peaks ``BLUR`` times as wide."""
        added = self.fwhm * np.sqrt(BLUR**2 - 1) / np.sqrt(8 * np.log(2)) / self.grid.step
        roots = np.sqrt(gaussian_filter1d(self.roots**2, added))
        return replace(self, roots=roots / np.linalg.norm(roots), fwhm=BLUR * self.fwhm)


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
    """Retrieve, slide, fit, rank.

    Parameters
    ----------
    two_theta, intensity, wavelength
        As measured.
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
        two_theta, intensity, of_file = read_pattern_file(two_theta)
        wavelength = of_file if wavelength is None else wavelength
    angles, counts = check_pattern(two_theta, intensity, item)
    length = resolve_wavelength("CuKa" if wavelength is None else wavelength, item)
    versions = [
        prepare_measured_pattern(angles, counts, model.xrd_grid, wavelength=length * (1.0 + scale)) for scale in SCALES
    ]
    rows, similarities = retrieve(model.embed_xrd(np.stack(versions), progress=False))
    measurement = Measurement.of(angles, counts, length)
    crystals = [structures[int(row)] for row in rows]
    cosines, strains = slide(measurement, crystals)
    best = np.argsort(-cosines - similarities, kind="stable")[:FITTED]
    doubled = replace(measurement, second_line=second_line(length))
    first = [fit(one, crystals[best[0]], float(strains[best[0]])).cosine for one in (measurement, doubled)]
    measurement = doubled if first[1] > first[0] else measurement  # a monochromator may have taken K-alpha 2 away
    fits = map_in_threads(lambda at: fit(measurement, crystals[at], float(strains[at])), iter(best.tolist()))
    found = [_Candidate(names[int(rows[at])], crystals[at], float(similarities[at]), one) for at, one in fits]
    return _answer(measurement, sorted(found, key=lambda candidate: -candidate.score), k)


def second_line(wavelength: float) -> float:
    """K-alpha 2 over K-alpha 1 of the anode a wavelength (Å) belongs to; 1 if it is no laboratory anode's.

    Examples
    --------
    >>> round(second_line(1.5406), 4), second_line(1.0)
    (1.0025, 1.0)
    """
    for anode in ("Cu", "Mo", "Cr", "Fe", "Co", "Ag"):
        first, second = WAVELENGTHS[f"{anode}Ka1"], WAVELENGTHS[f"{anode}Ka2"]
        if first * 0.9995 < wavelength < second:
            return second / first
    return 1.0


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


def slide(measurement: Measurement, crystals: Sequence[Crystal]) -> tuple[np.ndarray, np.ndarray]:
    """For every crystal the best cosine over changes of all cell lengths, and that change; (S,) each."""
    grid = measurement.grid
    sines = np.sin(np.radians([grid.two_theta_min, grid.two_theta_max]) / 2)
    low, high = sines * [1 - REACH, 1 + REACH]
    ends = 2 * np.degrees(np.arcsin(np.clip([low, high], 0.01, 0.999)))
    wide = XRDGrid(float(ends[0]), float(ends[1]), int((ends[1] - ends[0]) / grid.step), grid.wavelength_angstrom)
    wide_roots = np.sqrt(_simulate(crystals, wide, fwhm=measurement.fwhm))
    axis = np.arange(np.log(sines[0]), np.log(min(sines[1], 0.999)), _STEP)
    lags = int(REACH / _STEP)
    long_axis = axis[0] + _STEP * np.arange(-lags, len(axis) + lags)
    angles = 2 * np.degrees(np.arcsin(np.clip(np.exp(long_axis), 0.0, 1.0)))
    density = np.sqrt(np.tan(np.radians(np.clip(angles, 1.0, 179.0)) / 2))  # of degrees on the axis
    inside = slice(lags, lags + len(axis))
    ours = np.interp(angles[inside], grid.two_theta, measurement.roots) * density[inside]
    theirs = np.stack([np.interp(angles, wide.two_theta, row, 0.0, 0.0) for row in wide_roots]) * density
    n = next_fast_len(len(long_axis) + len(axis), real=True)

    def correlate(long: np.ndarray, short: np.ndarray) -> np.ndarray:
        return irfft(rfft(long, n, axis=1) * rfft(short, n).conj(), n, axis=1)[:, : 2 * lags + 1]

    lengths = np.sqrt(np.maximum(correlate(theirs**2, np.ones(len(axis))), 1e-12)) * np.linalg.norm(ours)
    cosines = correlate(theirs, ours) / lengths
    at = cosines.argmax(1)
    return cosines.max(1), np.exp((at - lags) * _STEP) - 1.0


def _simulate(
    crystals: Sequence[Crystal],
    grid: XRDGrid,
    fwhm: float | np.ndarray,
    mixing: float | np.ndarray = 0.5,
    zero_shift: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Pseudo-Voigt patterns, (S, n); zeros where a crystal has none."""
    ideal = Conditions.of_grid(grid, len(crystals))
    peaks = ideal.peaks.copy()
    peaks[:, 0], peaks[:, 1], peaks[:, 2] = fwhm, mixing, zero_shift
    patterns = compute_patterns(crystals, grid, scattering_table(grid, 0.0), replace(ideal, peaks=peaks), fast=True)
    return np.nan_to_num(patterns)


@dataclass(frozen=True)
class Fit:
    """A crystal's pattern as it fits best."""

    cosine: float
    r_wp: float
    cell_scale: float
    zero_shift: float
    fwhm: float
    calculated: np.ndarray


def fit(measurement: Measurement, crystal: Crystal, strain: float) -> Fit:
    """Strains that the symmetry allows, zero shift, width and mixing, by least squares on square roots.

    First with peaks blurred, so that those of a cell that differs along its axes still overlap with the measured ones.
    """
    basis = allowed_strains(crystal)
    n = len(basis)
    isotropic = np.einsum("kij,ij->k", basis, np.eye(3))  # the strain of all lengths alike, in this basis
    parameters = np.concatenate([strain * isotropic, [0.0, 0.0, 0.5]])
    for one in [replace(measurement.blurred(), second_line=1.0), measurement] if n > 1 else [measurement]:
        parameters[n + 1] = np.log(one.fwhm)
        parameters, cost = _refined(one, crystal, basis, parameters)
    pattern = _patterns(measurement, crystal, basis, parameters[None])[0]
    weight = 1.0 / (measurement.counts + 0.01 * measurement.counts.max())
    scale = (weight * pattern * measurement.counts).sum() / max((weight * pattern**2).sum(), 1e-300)
    left = measurement.counts - scale * pattern
    r_wp = float(np.sqrt((weight * left**2).sum() / (weight * measurement.counts**2).sum()))
    stretch = np.linalg.det(np.eye(3) + np.tensordot(parameters[:n], basis, 1)) ** (1 / 3)
    cosine = float(np.sqrt(max(0.0, 1.0 - 2.0 * cost)))
    return Fit(cosine, r_wp, float(stretch), float(parameters[n]), float(np.exp(parameters[n + 1])), scale * pattern)


def _refined(
    measurement: Measurement, crystal: Crystal, basis: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float]:
    """Strains, zero shift, ln fwhm and mixing that fit best, and half the squared sine that is left."""
    n = len(basis)
    reach = np.array([0.02 * np.sqrt(3)] * n + [0.3, 3.0, 1.0])
    low, high = start - reach, start + reach
    low[-1], high[-1] = 0.0, 1.0
    steps = np.array([_DIFFERENCES["strain"]] * n + [_DIFFERENCES[k] for k in ("zero shift", "ln fwhm", "mixing")])

    def misfit(parameters: np.ndarray) -> np.ndarray:
        roots = np.sqrt(_patterns(measurement, crystal, basis, parameters))
        roots /= np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-12)
        return measurement.roots - (roots @ measurement.roots)[:, None] * roots

    def jacobian(p: np.ndarray) -> np.ndarray:
        moved = np.concatenate([p[None], p + np.diag(np.where(p + steps < high, steps, -steps))])
        values = misfit(moved)
        return ((values[1:] - values[0]) / np.diag(moved[1:] - p)[:, None]).T

    start = np.clip(start, low + 1e-9, high - 1e-9)
    found = least_squares(
        lambda p: misfit(p[None])[0], start, jacobian, (low, high), x_scale=5 * steps, max_nfev=_ITERATIONS
    )
    return found.x, float(found.cost)


def _patterns(measurement: Measurement, crystal: Crystal, basis: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Of the crystal under several sets of parameters."""
    n = len(basis)
    deformed = [_deformed(crystal, np.tensordot(p[:n], basis, 1)) for p in parameters]
    zero, width, mixing = parameters[:, n:].T
    profile = np.exp(width), np.clip(mixing, 0.0, 1.0), zero
    patterns = _simulate(deformed, measurement.grid, *profile)
    if measurement.second_line != 1.0:
        shifted = replace(measurement.grid, wavelength=measurement.grid.wavelength_angstrom * measurement.second_line)
        patterns = (2 * patterns + _simulate(deformed, shifted, *profile)) / 3
    return patterns


def allowed_strains(crystal: Crystal) -> np.ndarray:
    """An orthonormal basis of the strains that keep a crystal's symmetry, (m, 3, 3): 1 if cubic, 6 if triclinic."""
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    tensors = np.zeros((6, 3, 3))
    for k, (i, j) in enumerate(pairs):
        tensors[k, i, j] = tensors[k, j, i] = 1.0 if i == j else np.sqrt(0.5)
    turned = rotations(crystal)
    averaged = np.einsum("rai,kij,rbj->kab", turned, tensors, turned) / len(turned)
    projector = np.einsum("kij,lij->kl", averaged, tensors)
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)
    return np.einsum("km,kij->mij", vectors[:, values > 0.5], tensors)


def _deformed(crystal: Crystal, strain: np.ndarray) -> Crystal:
    lattice = crystal.lattice @ (np.eye(3) + strain)
    return Crystal(crystal.atomic_numbers, crystal.frac_coords, lattice, crystal.material_id, crystal.occupancies)


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


def _answer(measurement: Measurement, candidates: list[_Candidate], k: int) -> PatternAnswer:
    """One answer for every formula and space group."""
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
    return PatternAnswer(answers, measurement.grid.two_theta, measurement.counts, measurement.roots**2)


def _confidence(score: float, next_best: float) -> str:
    """From the score and its lead over another compound's: patterns of random lines reach 0.72 in their sum."""
    lead = float(np.clip(score - next_best, 0.0, 0.15))
    if score + lead < NOTHING_FITS:
        return "none"
    if score > 0.85 and lead > 0.02 or score > 0.65 and lead > 0.1:
        return "high"
    return "fair" if score > 0.8 else "low"
