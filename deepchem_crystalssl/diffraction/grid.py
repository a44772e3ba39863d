"""The angular grid of a powder pattern, and patterns that know theirs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, SupportsIndex, cast

import numpy as np

from ..errors import CountsError, GridError, an_object, counted
from .radiation import WAVELENGTHS, resolve_wavelength  # noqa: F401  the table was published here

_SAME_WAVELENGTH = 1e-4  # relative; shifts a peak at 110 degrees by 0.016 degrees, less than a bin of the default grid

Profile = Literal["gaussian", "lorentzian", "pseudo-voigt"]
_PROFILES: tuple[Profile, ...] = ("gaussian", "lorentzian", "pseudo-voigt")


@dataclass(frozen=True)
class XRDGrid:
    """Where and how a powder pattern is drawn.

    Bin ``i`` covers ``two_theta_min + i * step`` to ``+ (i + 1) * step``; :attr:`two_theta` holds the centres.

    Parameters
    ----------
    two_theta_min, two_theta_max : float
        Range, degrees. Default 10-110, as in Suzuki et al. 2022.
    n_bins : int
        Number of bins. Default 5,000.
    wavelength : str or float
        Radiation by name (``"CuKa"``, ``"MoKa1"``, ...) or in Å.
    profile : {"gaussian", "lorentzian", "pseudo-voigt"}
        Shape of a peak; it does not matter while ``fwhm`` is 0.
    fwhm : float
        Full width at half maximum, degrees. 0 (default) draws sticks: a bin holds the intensities falling into it.
    mixing : float
        Lorentzian fraction of the pseudo-Voigt profile, 0-1.

    Examples
    --------
    >>> grid = XRDGrid()
    >>> grid.two_theta.shape, round(grid.step, 4), round(float(grid.two_theta[0]), 4)
    ((5000,), 0.02, 10.01)
    """

    two_theta_min: float = 10.0
    two_theta_max: float = 110.0
    n_bins: int = 5000
    wavelength: str | float = "CuKa"
    profile: Profile = "gaussian"
    fwhm: float = 0.0
    mixing: float = 0.5

    def check(self) -> XRDGrid:
        """The grid itself, or a GridError that names the parameter."""
        resolve_wavelength(self.wavelength, "XRDGrid.wavelength")
        rules = {
            "two_theta_min": 0.0 < self.two_theta_min < self.two_theta_max,
            "two_theta_max": self.two_theta_max <= 180.0,
            "n_bins": self.n_bins >= 1 and self.n_bins == int(self.n_bins),
            "profile": self.profile in _PROFILES,
            "fwhm": 0.0 <= self.fwhm < np.inf,
            "mixing": 0.0 <= self.mixing <= 1.0,
        }
        for name, kept in rules.items():
            if not kept:
                raise GridError(f"XRDGrid.{name}", getattr(self, name))
        return self

    @property
    def step(self) -> float:
        """Width of a bin, degrees."""
        return (self.two_theta_max - self.two_theta_min) / self.n_bins

    @cached_property
    def two_theta(self) -> np.ndarray:
        """Centres of the bins, degrees, (n_bins,)."""
        return self.two_theta_min + (np.arange(self.n_bins) + 0.5) * self.step

    @cached_property
    def edges(self) -> np.ndarray:
        """Edges of the bins, degrees, (n_bins + 1,)."""
        return np.linspace(self.two_theta_min, self.two_theta_max, self.n_bins + 1)

    @property
    def wavelength_angstrom(self) -> float:
        """Wavelength in Å."""
        return resolve_wavelength(self.wavelength)

    @property
    def largest_g(self) -> float:
        """Length of the reciprocal lattice vectors that scatter to the end of the grid, 1/Å."""
        return float(2.0 * np.sin(np.radians(self.two_theta_max) / 2) / self.wavelength_angstrom)

    def difference(self, other: XRDGrid) -> str | None:
        """What distinguishes the bins of another grid from those of this one, in words; None if nothing does.

        Range, number of bins and wavelength are compared, the peak profile is not. ``"CuKa"``, 1.54184 and 1.5418
        are the same wavelength.

        Examples
        --------
        >>> XRDGrid().difference(XRDGrid(wavelength=1.5418, fwhm=0.1)) is None
        True
        >>> XRDGrid().difference(XRDGrid(two_theta_max=90.0))
        'the range is 10-90° in place of 10-110°'
        """
        ends = np.array([[g.two_theta_min, g.two_theta_max] for g in (self, other)])
        if np.abs(ends[0] - ends[1]).max() > 0.01 * self.step:
            mine, theirs = (f"{g.two_theta_min:g}-{g.two_theta_max:g}°" for g in (self, other))
            return f"the range is {theirs} in place of {mine}"
        if self.n_bins != other.n_bins:
            return f"there are {other.n_bins} bins in place of {self.n_bins}"
        mine_angstrom, their_angstrom = self.wavelength_angstrom, other.wavelength_angstrom
        if abs(their_angstrom / mine_angstrom - 1.0) > _SAME_WAVELENGTH:
            return f"the wavelength is {their_angstrom:g} Å in place of {mine_angstrom:g} Å"
        return None


class PowderPatterns(np.ndarray):
    """An array of powder patterns that knows the grid they lie on.

    It is a NumPy array in every other respect. Copies, rows, arithmetic, pickles and ``np.stack`` of patterns of one
    grid keep the grid. An array whose last axis is no longer that of the bins (a part of the angles, a sum over
    them), or that combines patterns of different grids, has the grid None.

    Parameters
    ----------
    patterns : array-like (..., n_bins)
        Intensities.
    grid : XRDGrid
        The grid of the last axis.

    Raises
    ------
    GridError
        If the number of bins is not that of the grid, or the patterns already state a different grid.

    Examples
    --------
    >>> patterns = PowderPatterns(np.zeros((3, 5000)), XRDGrid())
    >>> patterns[0].grid == XRDGrid(), patterns[:, 100:200].grid
    (True, None)
    """

    _grid: XRDGrid | None

    def __new__(cls, patterns: Any, grid: XRDGrid) -> PowderPatterns:
        """The patterns, not copied where they are an array already."""
        array = np.asarray(_checked(patterns, grid.check(), "patterns")).view(cls)
        array._grid = grid
        return array

    @property
    def grid(self) -> XRDGrid | None:
        """Grid of the last axis; None if the last axis is not that of the bins."""
        fits = self._grid is not None and self.ndim > 0 and self.shape[-1] == self._grid.n_bins
        return self._grid if fits else None

    def __array_finalize__(self, source: Any) -> None:
        """Views and copies have the grid of their source."""
        self._grid = getattr(source, "grid", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Results of arithmetic keep the grid if all operands share it; single numbers are plain."""
        if array.ndim == 0:
            return array[()]
        wrapped = np.asarray(array).view(PowderPatterns)
        wrapped._grid = _common_grid(context[1] if context else [self])
        return wrapped

    def __array_function__(self, func: Callable, types: Any, args: Any, kwargs: Any) -> Any:
        """Concatenated and otherwise combined patterns keep the grid if all share it."""
        result = super().__array_function__(func, types, args, kwargs)
        grid = _common_grid(args[0], plain_too=True) if func is np.concatenate else None
        if grid is not None:
            with_grid = np.asarray(result).view(PowderPatterns)
            with_grid._grid = grid
            return with_grid
        if isinstance(result, PowderPatterns) and _common_grid([*args, result]) is None:  # of np.insert, for example
            result._grid = None
        return result

    def __reduce__(self) -> Any:
        """For pickles."""
        rebuild, arguments, state = cast(tuple[Any, Any, Any], super().__reduce__())
        return rebuild, arguments, (state, self.grid)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """For pickles; NumPy's own takes a shortcut that would lose the grid."""
        return self.__reduce__()

    def __setstate__(self, state: Any) -> None:
        """From a pickle."""
        array, self._grid = state
        super().__setstate__(array)


def _common_grid(operands: Sequence[Any], plain_too: bool = False) -> XRDGrid | None:
    """Grid that all patterns among the operands share; with ``plain_too`` arrays without one count as different."""
    grids = [x.grid if isinstance(x, PowderPatterns) else None for x in operands]
    stated = [grid for grid in grids if grid is not None]
    if not stated or plain_too and len(stated) < len(grids):
        return None
    return stated[0] if all(stated[0].difference(grid) is None for grid in stated) else None


def _checked(patterns: Any, grid: XRDGrid, item: str) -> np.ndarray:
    """The patterns as an array, or a GridError if their number of bins or a grid that they state is another."""
    array = patterns if isinstance(patterns, np.ndarray) else None
    parts = [patterns] if array is not None or not isinstance(patterns, Sequence) else patterns
    for number, part in enumerate(parts):
        stated = part.grid if isinstance(part, PowderPatterns) else None
        difference = None if stated is None else grid.difference(stated)
        if difference:
            name = item if len(parts) == 1 else f"{item}[{number}]"
            raise GridError(name, difference, *_RULE_OF_ONE_GRID)
    try:
        array = np.asarray(patterns) if array is None else array
    except ValueError as error:  # rows of different lengths
        raise GridError(item, str(error), *_RULE_OF_ONE_GRID) from error
    if array.ndim == 0 or array.shape[-1] != grid.n_bins:
        if array.dtype == object and array.ndim == 0:
            remedy = "Pass its X." if hasattr(patterns, "X") else "Simulate them with simulate_xrd."
            raise GridError(item, an_object(patterns), "patterns are arrays of numbers", remedy)
        bins = "a single number" if array.ndim == 0 else counted(array.shape[-1], "bin")
        raise GridError(item, f"{bins} in place of {grid.n_bins}", *_RULE_OF_ONE_GRID)
    return array


_RULE_OF_ONE_GRID = (
    "patterns must have the angular range, the bins and the wavelength of the grid on which they are used",
    "Simulate or prepare the patterns on that grid (of a model: model.xrd_grid).",
)


def on_grid(patterns: Any, grid: XRDGrid, item: str = "patterns") -> np.ndarray:
    """Patterns as a plain array, after a check that they lie on a grid.

    Patterns that state their grid (:class:`PowderPatterns`) are compared with it: range, number of bins and
    wavelength. A plain array can only be checked for its number of bins; it is taken with a warning.

    Parameters
    ----------
    patterns : PowderPatterns, array-like (..., n_bins), or sequence of them
    grid : XRDGrid
        The grid the patterns must lie on.
    item : str
        Name of the argument, for errors and warnings.

    Returns
    -------
    numpy.ndarray
        (..., n_bins), not copied where the patterns are an array already.

    Raises
    ------
    GridError
        If range, number of bins or wavelength differ.

    Examples
    --------
    >>> grid = XRDGrid()
    >>> on_grid(PowderPatterns(np.zeros((2, 5000)), grid), grid).shape
    (2, 5000)
    """
    array = _checked(patterns, grid, item)
    parts = [patterns] if isinstance(patterns, np.ndarray) else patterns
    if array.size and any(getattr(part, "grid", None) is None for part in parts):
        warnings.warn(
            f"{item}: an array that does not state its grid is taken to lie on {grid.two_theta_min:g}-"
            f"{grid.two_theta_max:g}°, {grid.n_bins} bins, {grid.wavelength_angstrom:g} Å. State the grid of the "
            "patterns with grid=, or pass what simulate_xrd or prepare_measured_pattern returned",
            stacklevel=3,
        )
    return np.asarray(array)


def check_intensities(pattern: np.ndarray, item: str) -> None:
    """Refuse a pattern (n_bins,) that holds NaN, infinite or negative intensities, or none above 0.

    Raises
    ------
    CountsError
    """
    lowest, highest = pattern.min(), pattern.max()
    if not (lowest >= 0 and 0 < highest < np.inf):  # either is NaN if one intensity is
        wrong = "all intensities are 0" if lowest == highest == 0 else f"intensities from {lowest:g} to {highest:g}"
        raise CountsError(
            item,
            wrong,
            "intensities must be finite, non-negative and not all zero",
            "Prepare the pattern with prepare_measured_pattern, or leave it out.",
        )
