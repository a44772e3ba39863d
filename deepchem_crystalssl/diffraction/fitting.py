r"""A crystal's pattern fitted to a measured one.

Patterns are compared as square roots of counts above background, because the counting noise of a square root does not
depend on the count (Bartlett 1936). The cosine between two of them measures the weighted profile fit at the optimal
scale factor. First the pattern of a crystal is shifted along :math:`\ln \sin\theta`, where a relative change of all
cell lengths is a shift. Then the strains that its symmetry allows, the zero shift, and width and shape of the peaks are
refined by least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import least_squares

from .kernels import DrawnConditions, compute_patterns
from ..crystals.records import Crystal
from .measurement import Measurement
from ..crystals.symmetry import rotations
from ..crystals.threads import map_in_threads
from .grid import XRDGrid
from .peaks import broadened, draw_lines
from .structure_factors import reflections

REACH = 0.03
"""Largest relative difference between the cell lengths of a crystal and of the measured one."""
_STEP = 2e-4  # of ln sin theta
LOW_INDEX = ((0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))
"""Axes along which a preferred orientation is looked for."""
_MARCH = (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.15, 1.3, 1.5, 1.8, 2.2)
_TEXTURE_GAIN = 0.15
_ITERATIONS = 10
_ENOUGH = 3e-3  # relative gain of a step below which a fit ends
_CRYSTALS_AT_ONCE = 32
_NARROWEST = 3.0  # bins; smallest width of peaks in a fit
_SPARE = 0.06  # of sin theta: reflections outside the range that a fit may move into it
_FAINTEST = 1e-5  # relative intensity below which reflections are left out
_SHARES = np.array([2.0, 1.0]) / 3  # of K-alpha 1 and 2
_DIFFERENCES = {"strain": 2e-4, "zero shift": 5e-3, "ln fwhm": 0.05, "mixing": 0.05}


def slide(measurement: Measurement, crystals: Sequence[Crystal]) -> tuple[np.ndarray, np.ndarray]:
    """Find the change of all cell lengths that makes the pattern of each crystal most like the measured one.

    Returns
    -------
    cosines, strains : numpy.ndarray
        (S,) each: the best cosine, and the relative change of the cell lengths at which it is reached.
    """
    grid = measurement.grid
    sines = np.sin(np.radians([grid.two_theta_min, grid.two_theta_max]) / 2)
    low, high = sines * [1 - REACH, 1 + REACH]
    ends = 2 * np.degrees(np.arcsin(np.clip([low, high], 0.01, 0.999)))
    wide = XRDGrid(float(ends[0]), float(ends[1]), int((ends[1] - ends[0]) / grid.step), grid.wavelength_angstrom)
    axis = np.arange(np.log(sines[0]), np.log(min(sines[1], 0.999)), _STEP)
    lags = int(REACH / _STEP)
    long_axis = axis[0] + _STEP * np.arange(-lags, len(axis) + lags)
    angles = 2 * np.degrees(np.arcsin(np.clip(np.exp(long_axis), 0.0, 1.0)))
    density = np.sqrt(np.tan(np.radians(np.clip(angles, 1.0, 179.0)) / 2))  # degrees per step of the axis
    inside = slice(lags, lags + len(axis))
    ours = np.interp(angles[inside], grid.two_theta, measurement.roots) * density[inside]

    def on_axis(part: Sequence[Crystal]) -> np.ndarray:
        roots = np.sqrt(_simulate(part, wide, fwhm=measurement.fwhm))
        return np.stack([np.interp(angles, wide.two_theta, row, 0.0, 0.0) for row in roots]) * density

    parts = (crystals[k : k + _CRYSTALS_AT_ONCE] for k in range(0, len(crystals), _CRYSTALS_AT_ONCE))
    theirs = np.concatenate([rows for _, rows in map_in_threads(on_axis, parts)]).astype(np.float32)
    n = next_fast_len(len(long_axis) + len(axis), real=True)

    def correlate(long: np.ndarray, short: np.ndarray) -> np.ndarray:
        spectra = rfft(long, n, axis=1, workers=-1) * rfft(short.astype(np.float32), n).conj()
        return irfft(spectra, n, axis=1, workers=-1)[:, : 2 * lags + 1]

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
    texture: Texture | None = None,
) -> np.ndarray:
    """Patterns (S, n) with pseudo-Voigt peaks; zeros for a crystal without pattern."""
    n = len(crystals)
    fwhms, mixings, zero_shifts = (np.full(n, value, float) for value in (fwhm, mixing, zero_shift))
    drawn = DrawnConditions.of_grid(grid, n)._replace(fwhm=fwhms, mixing=mixings, zero_shift=zero_shifts)
    if texture is not None:
        drawn = drawn._replace(march=np.full(n, texture.march), axis=np.tile(np.asarray(texture.axis, float), (n, 1)))
    patterns = compute_patterns(crystals, grid, drawn, fast=True)
    return np.nan_to_num(patterns)


@dataclass(frozen=True)
class Texture:
    """Preferred orientation of the grains (Dollase, J. Appl. Cryst. 19, 267, 1986).

    Attributes
    ----------
    axis : tuple of int
        Miller indices of the planes that lie preferably in the surface, or perpendicular to it.
    march : float
        March coefficient: below 1 the planes lie in the surface (plates), above 1 perpendicular to it (needles).
    """

    axis: tuple[int, int, int]
    march: float

    def factors(self, hkl: np.ndarray, metric: np.ndarray) -> np.ndarray:
        """Factors of the intensities (R,) of reflections (R, 3); the metric is that of the reciprocal cell."""
        axis = np.asarray(self.axis, float)
        lengths = np.einsum("ri,ij,rj->r", hkl, metric, hkl) * (axis @ metric @ axis)
        tilt = (hkl @ metric @ axis) ** 2 / lengths
        return (self.march**2 * tilt + (1.0 - tilt) / self.march) ** -1.5


@dataclass(frozen=True)
class Fit:
    """The pattern of a crystal that fits best.

    Attributes
    ----------
    cosine : float
        Between the square roots of the measured and of the calculated counts above background.
    r_wp : float
        Weighted profile R factor of the counts above background.
    cell_scale : float
        Refined cell lengths over those of the crystal, geometric mean.
    zero_shift, fwhm : float
        Degrees.
    mixing : float
        Lorentzian fraction of the peaks.
    strain : numpy.ndarray
        (3, 3), symmetric; the refined cell is the crystal's lattice, multiplied by one plus the strain.
    texture : Texture or None
        Preferred orientation that the pattern was calculated with.
    calculated : numpy.ndarray
        (n,), on the scale of the counts.
    power : float
        What one unit cell would scatter into the range: the sum of :math:`|F|^2` (electrons squared) times the
        Lorentz-polarisation factor. With it, counts become numbers of cells, and so weights.
    """

    cosine: float
    r_wp: float
    cell_scale: float
    zero_shift: float
    fwhm: float
    mixing: float
    strain: np.ndarray
    texture: Texture | None
    calculated: np.ndarray
    power: float


def fit(measurement: Measurement, crystal: Crystal, strain: float, texture: Texture | None = None) -> Fit:
    """Refine strains, zero shift, width and mixing by least squares on square roots of counts.

    If the symmetry allows more than one strain, the first fit has blurred peaks, so that the peaks of a cell of other
    axial ratios still overlap with the measured ones.

    Parameters
    ----------
    measurement : Measurement
    crystal : Crystal
    strain : float
        Relative change of the cell lengths from which to start, as :func:`slide` finds it.
    texture : Texture, optional
        Preferred orientation, which is not refined; see :func:`find_texture`.
    """
    basis = allowed_strains(crystal)
    n = len(basis)
    isotropic = np.einsum("kij,ij->k", basis, np.eye(3))  # the isotropic strain in this basis
    parameters = np.concatenate([strain * isotropic, [0.0, 0.0, 0.5]])
    lines = _Lines.of(measurement.grid, crystal, strain).oriented(texture)
    for one in [measurement.blurred().with_mean_line(), measurement] if n > 1 else [measurement]:
        parameters[n + 1] = np.log(one.fwhm)
        parameters = _refined(one, lines, basis, parameters)
    pattern = _pattern(measurement, crystal, basis, parameters, texture)
    cosine = float(np.sqrt(pattern) @ measurement.roots / max(np.sqrt(pattern.sum()), 1e-12))
    weight = measurement.weight
    scale = (weight * pattern * measurement.counts).sum() / max((weight * pattern**2).sum(), 1e-300)
    left = measurement.counts - scale * pattern
    r_wp = float(np.sqrt((weight * left**2).sum() / (weight * measurement.counts**2).sum()))
    deformation = np.tensordot(parameters[:n], basis, 1)
    stretch = np.linalg.det(np.eye(3) + deformation) ** (1 / 3)
    zero_shift, fwhm, mixing = parameters[n], np.exp(parameters[n + 1]), np.clip(parameters[n + 2], 0.0, 1.0)
    power = float(lines.draw(measurement, basis, parameters[None]).sum())
    return Fit(
        cosine,
        r_wp,
        float(stretch),
        float(zero_shift),
        float(fwhm),
        float(mixing),
        deformation,
        texture,
        scale * pattern,
        power,
    )


def find_texture(measurement: Measurement, crystal: Crystal, found: Fit) -> Texture | None:
    """The preferred orientation, along an axis of low index, with which a fitted pattern agrees better, if any.

    It must lower the weighted sum of squares by 15 %.
    """
    basis = found.strain[None]
    parameters = np.array([[1.0, found.zero_shift, np.log(found.fwhm), found.mixing]])
    lines = _Lines.of(measurement.grid, crystal, found.cell_scale - 1.0)

    weight = measurement.weight

    def misfit(texture: Texture | None) -> float:
        pattern = lines.oriented(texture).draw(measurement, basis, parameters)[0]
        explained = float((weight * measurement.counts) @ pattern) ** 2 / max(float(weight @ pattern**2), 1e-300)
        return 1.0 - explained / float(weight @ measurement.counts**2)

    tried = [Texture(axis, march) for axis in LOW_INDEX for march in _MARCH[1::3]]
    best = min(tried, key=misfit)
    best = min([Texture(best.axis, march) for march in _MARCH], key=misfit)
    return best if misfit(best) < (1.0 - _TEXTURE_GAIN) * misfit(None) else None


def choose_lines(measurement: Measurement, crystal: Crystal, strain: float) -> Measurement:
    """The measurement with the K-alpha doublet of its anode if that lets a crystal fit better, else as it is.

    A monochromator may have removed K-alpha 2, and the wavelength may be that of no laboratory anode.
    """
    both = measurement, measurement.with_doublet()
    if both[1] is measurement:
        return measurement
    cosines = [fit(one, crystal, strain).cosine for one in both]
    return both[int(np.argmax(cosines))]


def _refined(measurement: Measurement, lines: _Lines, basis: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Strains, zero shift, ln fwhm and mixing that fit best, (n + 3,)."""
    n = len(basis)
    reach = np.array([0.02 * np.sqrt(3)] * n + [0.3, 3.0, 1.0])
    low, high = start - reach, start + reach
    low[-1], high[-1] = 0.0, 1.0
    low[-2] = max(low[-2], np.log(_NARROWEST * measurement.grid.step))
    steps = np.array([_DIFFERENCES["strain"]] * n + [_DIFFERENCES[k] for k in ("zero shift", "ln fwhm", "mixing")])

    def misfit(parameters: np.ndarray) -> np.ndarray:
        roots = np.sqrt(lines.draw(measurement, basis, parameters))
        roots /= np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-12)
        return measurement.roots - (roots @ measurement.roots)[:, None] * roots

    def residuals(p: np.ndarray) -> np.ndarray:
        last["at"], last["values"] = p.copy(), misfit(p[None])[0]
        return last["values"]

    def jacobian(p: np.ndarray) -> np.ndarray:
        moves = np.where(p + steps < high, steps, -steps)
        here = last["values"] if np.array_equal(p, last["at"]) else residuals(p)
        return ((misfit(p + np.diag(moves)) - here) / moves[:, None]).T

    last: dict[str, np.ndarray] = {}  # the optimizer asks for a Jacobian where it has just asked for residuals
    start = np.clip(start, low + 1e-9, high - 1e-9)
    return least_squares(
        residuals,
        start,
        jacobian,
        (low, high),
        x_scale=5 * steps,
        ftol=_ENOUGH,
        max_nfev=_ITERATIONS,
    ).x


@dataclass(frozen=True)
class _Lines:
    """The reflections of a crystal; their structure factors hardly change while the cell is refined."""

    lattice: np.ndarray
    hkl: np.ndarray
    intensity: np.ndarray

    @classmethod
    def of(cls, grid: XRDGrid, crystal: Crystal, strain: float) -> _Lines:
        """The reflections within a grid, and those that a fit may move into it."""
        ends = np.sin(np.radians([grid.two_theta_min, grid.two_theta_max]) / 2) * [1 - _SPARE, 1 + _SPARE]
        low, high = 2 * np.degrees(np.arcsin(np.clip(ends, 0.01, 0.999)))
        around = XRDGrid(float(low), float(high), 1, grid.wavelength_angstrom)
        g2, intensity, hkl = reflections(_deformed(crystal, strain * np.eye(3)), around)
        seen = intensity / g2  # 1/g^2 stands for the Lorentz factor
        kept = seen > _FAINTEST * seen.max(initial=0.0)  # none if an element has no scattering factor
        return cls(crystal.lattice, hkl[kept], intensity[kept])

    def oriented(self, texture: Texture | None) -> _Lines:
        """The same with intensities as a preferred orientation changes them."""
        if texture is None:
            return self
        metric = np.linalg.inv(self.lattice @ self.lattice.T)
        return replace(self, intensity=self.intensity * texture.factors(self.hkl.astype(float), metric))

    def draw(self, measurement: Measurement, basis: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """Patterns (S, n) for several sets of parameters (S, m + 3)."""
        n, grid = len(basis), measurement.grid
        zero, width, mixing = parameters[:, n:].T
        lattices = self.lattice @ (np.eye(3) + np.tensordot(parameters[:, :n], basis, 1))
        ratios = np.array([1.0, measurement.second_line]) if measurement.second_line != 1.0 else np.ones(1)
        fwhm = np.exp(width) / grid.step
        margin = int(6 * fwhm.max()) + 3
        splines = np.zeros((len(parameters), grid.n_bins + 2 * margin))
        draw_lines(
            self.hkl,
            self.intensity,
            np.linalg.inv(lattices @ lattices.transpose(0, 2, 1)),
            grid.wavelength_angstrom * ratios,
            _SHARES[: len(ratios)],
            zero,
            grid.two_theta_min - margin * grid.step,
            grid.step,
            splines,
        )
        return broadened(splines.astype(np.float32), fwhm, mixing)[:, margin : margin + grid.n_bins].astype(float)


def _pattern(
    measurement: Measurement, crystal: Crystal, basis: np.ndarray, parameters: np.ndarray, texture: Texture | None
) -> np.ndarray:
    """The pattern (n,) for one set of parameters, with structure factors computed anew."""
    n = len(basis)
    deformed = [_deformed(crystal, np.tensordot(parameters[:n], basis, 1))]
    zero, width, mixing = parameters[n:]
    profile = np.exp(width), np.clip(mixing, 0.0, 1.0), zero, texture
    pattern = _simulate(deformed, measurement.grid, *profile)[0]
    if measurement.second_line != 1.0:
        shifted = replace(measurement.grid, wavelength=measurement.grid.wavelength_angstrom * measurement.second_line)
        pattern = (2 * pattern + _simulate(deformed, shifted, *profile)[0]) / 3
    return pattern


def allowed_strains(crystal: Crystal) -> np.ndarray:
    """An orthonormal basis (m, 3, 3) of the strains that keep the symmetry of a crystal; m is 1 if cubic."""
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
