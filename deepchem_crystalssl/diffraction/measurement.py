"""A measured pattern to be fitted: what rises above background and noise, in equal bins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks, peak_widths

from .grid import XRDGrid
from .measured import prepare_measured_pattern
from .radiation import WAVELENGTHS, kalpha_doublet

BLUR = 3.0
"""Factor by which peaks are wider in the first of two fits."""
_FINEST, _WIDEST = 0.02, 0.05  # degrees; limits of the bins
_SMOOTHING = 0.25  # of the width of peaks
_NOISE = 8.0  # median absolute deviations above the median
_MISFIT = 0.15  # of the height of a line that was subtracted
_WEAKEST = 0.005  # of the strongest line


def _farthest(wavelength: float) -> float:
    """The angle of that spacing which copper radiation shows at 110 degrees; lines beyond are many and weak."""
    return float(2 * np.degrees(np.arcsin(min(0.99, 0.8192 * wavelength / WAVELENGTHS["CuKa"]))))


@dataclass(frozen=True)
class Measurement:
    """A measured pattern to be fitted: counts above background in equal bins, and their square roots, normalised.

    Attributes
    ----------
    grid : XRDGrid
        Bins within the measured range, and the wavelength of the measurement.
    counts : numpy.ndarray
        (n,), above background.
    background : numpy.ndarray
        (n,), the counts that were subtracted.
    roots : numpy.ndarray
        (n,), square roots of the counts that stand out of the noise, of length 1.
    fwhm : float
        Typical width of peaks, degrees.
    second_line : float
        Wavelength of K-alpha 2, which has half the intensity, over that of K-alpha 1; 1 if only one line is modelled.
        With two lines the wavelength of the grid is that of K-alpha 1.
    """

    grid: XRDGrid
    counts: np.ndarray
    background: np.ndarray
    roots: np.ndarray
    fwhm: float
    second_line: float = 1.0

    @property
    def weight(self) -> np.ndarray:
        """Weights of the squares of counts in a sum, (n,): inverse variances with a floor of 1 % of the highest."""
        return 1.0 / (self.counts + 0.01 * self.counts.max())

    @classmethod
    def of(cls, angles: np.ndarray, counts: np.ndarray, wavelength: float) -> Measurement:
        """From angles (degrees) and counts as measured, and the wavelength, Å."""
        low, high = max(float(angles[0]), 3.0), min(float(angles[-1]), _farthest(wavelength))
        step = float(np.clip(np.median(np.diff(angles)), _FINEST, _WIDEST))
        grid = XRDGrid(low, high, max(16, int((high - low) / step)), wavelength)
        on_grid = partial(prepare_measured_pattern, angles, counts, grid, wavelength=wavelength, normalize=False)
        net = on_grid()
        background = np.clip(on_grid(background="none") - net, 0.0, None)
        peaks, _ = find_peaks(net, prominence=0.1 * net.max())
        widths = peak_widths(net, peaks)[0] * grid.step if len(peaks) else np.array([0.15])
        fwhm = float(np.clip(np.median(widths), 0.06, 0.8))
        roots = np.sqrt(above_noise(net, fwhm / grid.step))
        return cls(grid, net, background, roots / np.linalg.norm(roots), fwhm)

    def with_doublet(self) -> Measurement:
        """The same with the K-alpha doublet of its anode, and K-alpha 1 as the wavelength to which cells refer."""
        lines = kalpha_doublet(self.grid.wavelength_angstrom)
        if lines is None:
            return self
        return replace(self, grid=replace(self.grid, wavelength=lines[0]), second_line=lines[1] / lines[0])

    def with_mean_line(self) -> Measurement:
        """The same with one line in place of a doublet, at their mean wavelength."""
        mean = self.grid.wavelength_angstrom * (2.0 + self.second_line) / 3.0
        return replace(self, grid=replace(self.grid, wavelength=mean), second_line=1.0)

    def without(self, profile: np.ndarray) -> Measurement | None:
        """What is left when the fitted pattern of a phase (n,) is subtracted; None if nothing rises above the noise.

        Where lines were subtracted, a part of their height may be left because their shapes are not matched. It is not
        taken for lines of another phase.
        """
        left = np.clip(self.counts - profile, 0.0, None)
        lines = np.clip(above_noise(left, self.fwhm / self.grid.step) - _MISFIT * profile, 0.0, None)
        if lines.max() < _WEAKEST * self.counts.max():
            return None
        roots = np.sqrt(lines)
        return replace(self, counts=left, background=self.background + profile, roots=roots / np.linalg.norm(roots))

    def blurred(self) -> Measurement:
        """The same with peaks ``BLUR`` times as wide."""
        added = self.fwhm * np.sqrt(BLUR**2 - 1) / np.sqrt(8 * np.log(2)) / self.grid.step
        roots = np.sqrt(gaussian_filter1d(self.roots**2, added))
        return replace(self, roots=roots / np.linalg.norm(roots), fwhm=BLUR * self.fwhm)


def above_noise(counts: np.ndarray, width: float) -> np.ndarray:
    """Counts above background (n,), without those that are noise; lines have a given width (bins).

    What is subtracted is a constant number of counts. A constant of their square roots, which suits their noise better,
    would take more from weak lines than from strong ones, and the weakest would seem to be absent. Lines are told from
    noise after smoothing, and keep the shape that was measured.
    """
    smooth = gaussian_filter1d(counts, max(_SMOOTHING * width, 1e-3))
    level = np.median(smooth)
    noise = level + _NOISE * np.median(np.abs(smooth - level))
    if noise >= smooth.max():
        return smooth
    return np.where(smooth > noise, np.clip(counts - noise, 0.0, None), 0.0)
