"""Peaks drawn into powder patterns: exact profiles one by one, or splines that are broadened all at once."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from ..crystals.compilation import njit

LORENTZIAN_REACH = 25.0
"""Half width to which Lorentzian peaks are drawn, in FWHM."""


def broadened(splines: np.ndarray, fwhm: np.ndarray, lorentzian: np.ndarray) -> np.ndarray:
    """Broaden patterns whose peaks are quintic B-splines (:func:`draw_spline`) to pseudo-Voigt peaks.

    Profile and spline are known in closed form in Fourier space, where the first is multiplied and the second divided
    out.

    Parameters
    ----------
    splines : (S, n_bins) float32
    fwhm : (S,)
        Full width at half maximum, in bins.
    lorentzian : (S,)
        Lorentzian fraction.

    Returns
    -------
    numpy.ndarray
        (S, n_bins), with the same areas, nowhere negative.
    """
    n = next_fast_len(splines.shape[1], real=True)
    omega = (2 * np.pi / n * np.arange(n // 2 + 1)).astype(np.float32)
    spline = (66 + 52 * np.cos(omega) + 2 * np.cos(2 * omega)) / 120
    width, mix = fwhm[:, None].astype(np.float32), lorentzian[:, None].astype(np.float32)
    profile = np.exp((width * omega) ** 2 * np.float32(-1 / (16 * np.log(2))))
    profile += mix * (np.exp(width * omega * np.float32(-0.5)) - profile)
    transform = rfft(splines, n, axis=1)
    transform *= profile
    transform /= spline
    return np.maximum(irfft(transform, n, axis=1)[:, : splines.shape[1]], np.float32(0.0))


@njit(nogil=True, error_model="numpy")
def draw_lines(
    hkl: np.ndarray,
    intensity: np.ndarray,
    metrics: np.ndarray,
    wavelengths: np.ndarray,
    shares: np.ndarray,
    zero_shift: np.ndarray,
    two_theta_min: float,
    step: float,
    patterns: np.ndarray,
) -> None:
    """Add the peaks of known reflections for several deformed cells, as quintic B-splines of their area.

    Parameters
    ----------
    hkl, intensity : (R, 3), (R,)
        From :func:`.structure_factors`.
    metrics : (S, 3, 3)
        Scalar products of the reciprocal cell vectors of each cell, 1/Å^2.
    wavelengths, shares : (W,) each
        Wavelengths of the radiation (Å) and their fractions of the intensity.
    zero_shift : (S,)
        Degrees.
    two_theta_min, step : float
        Lower edge of the first bin, and width of a bin, degrees.
    patterns : (S, n_bins)
        Added to.
    """
    for s in range(len(metrics)):
        m = metrics[s]
        for k in range(len(hkl)):
            h, j, l = float(hkl[k, 0]), float(hkl[k, 1]), float(hkl[k, 2])
            g2 = m[0, 0] * h * h + m[1, 1] * j * j + m[2, 2] * l * l
            g2 += 2.0 * (m[0, 1] * h * j + m[0, 2] * h * l + m[1, 2] * j * l)
            for w in range(len(wavelengths)):
                sin2 = 0.25 * wavelengths[w] * wavelengths[w] * g2
                if sin2 >= 1.0:
                    continue
                area = 2.0 * shares[w] * intensity[k] * lorentz_polarization(sin2)
                two_theta = np.degrees(2.0 * np.arcsin(np.sqrt(sin2)))
                draw_spline(patterns[s], (two_theta + zero_shift[s] - two_theta_min) / step - 0.5, area)


@njit(nogil=True, error_model="numpy")
def lorentz_polarization(sin2: float) -> float:
    """Lorentz-polarisation factor of an unpolarised beam without monochromator, from sin^2 theta."""
    cos_2theta = 1.0 - 2.0 * sin2
    return (1.0 + cos_2theta * cos_2theta) / (sin2 * np.sqrt(1.0 - sin2))


@njit(nogil=True, error_model="numpy")
def draw_spline(pattern: np.ndarray, at: float, area: float) -> None:
    """Add a peak as a quintic B-spline, six bins wide, centred ``at`` bins (centres of bins are integers)."""
    i = int(np.floor(at))
    if i < 2 or i > len(pattern) - 4:
        return
    t, a = at - i, area / 120.0
    u, t2 = 1.0 - t, t * t
    u2 = u * u
    pattern[i - 2] += a * u2 * u2 * u
    pattern[i - 1] += a * (26.0 + t * (-50.0 + t * (20.0 + t * (20.0 + t * (-20.0 + t * 5.0)))))
    pattern[i] += a * (66.0 + t2 * (-60.0 + t2 * (30.0 - t * 10.0)))
    pattern[i + 1] += a * (26.0 + t * (50.0 + t * (20.0 + t * (-20.0 + t * (-20.0 + t * 10.0)))))
    pattern[i + 2] += a * (1.0 + t * (5.0 + t * (10.0 + t * (10.0 + t * (5.0 - t * 5.0)))))
    pattern[i + 3] += a * t2 * t2 * t


@njit(nogil=True, error_model="numpy")
def draw_peak(
    pattern: np.ndarray, at: float, area: float, fwhm: float, lorentzian: float, step: float, reach: float
) -> None:
    """Add a pseudo-Voigt peak, in intensity per degree.

    Parameters
    ----------
    pattern : (n_bins,)
        Added to.
    at, fwhm : float
        Centre and full width at half maximum, in bins; centres of bins are integers.
    area : float
    lorentzian : float
        Lorentzian fraction.
    step : float
        Width of a bin, degrees.
    reach : float
        Half width to which the Gaussian part is drawn, in FWHM.
    """
    if lorentzian < 1.0:
        alpha = 4.0 * np.log(2.0) / (fwhm * fwhm)
        low = max(0, int(np.ceil(at - reach * fwhm)))
        high = min(len(pattern) - 1, int(np.floor(at + reach * fwhm)))
        # exp(-alpha x^2) at x0, x0 + 1, ...: the ratio of successive values shrinks by exp(-2 alpha) each time.
        x = low - at
        height = (1.0 - lorentzian) * area * np.sqrt(alpha / np.pi) / step * np.exp(-alpha * x * x)
        ratio, shrink = np.exp(-alpha * (2.0 * x + 1.0)), np.exp(-2.0 * alpha)
        for i in range(low, high + 1):
            pattern[i] += height
            height *= ratio
            ratio *= shrink
    if lorentzian > 0.0:
        low = max(0, int(np.ceil(at - LORENTZIAN_REACH * fwhm)))
        high = min(len(pattern) - 1, int(np.floor(at + LORENTZIAN_REACH * fwhm)))
        gamma = 0.5 * fwhm
        top = lorentzian * area / (np.pi * gamma) / step
        for i in range(low, high + 1):
            x = (i - at) / gamma
            pattern[i] += top / (1.0 + x * x)
