"""The record of a measured powder pattern, and how the scans of one file become one pattern."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import AngleError, CountsError, PatternError, UnsupportedFileError, counted
from .limits import how_to_raise, limits_in_force

MOST_COUNTS = 1e30
"""Sums of squares of larger counts overflow."""
LONGEST_NUMBER = 60
"""Characters of one number in a text."""
SHORTEST_WAVELENGTH, LONGEST_WAVELENGTH = 0.01, 20.0
"""Å; a file that states another wavelength is refused."""


@dataclass(frozen=True)
class MeasuredPattern:
    """A measured powder pattern, as its file holds it.

    Attributes
    ----------
    two_theta : numpy.ndarray
        Angles in degrees, (n,), strictly increasing, between 0 and 180. The array is read-only.
    counts : numpy.ndarray
        (n,), finite and not negative. The array is read-only.
    wavelength : float or None
        Å; the one that was given, else that of the file. Of a K-alpha doublet the mean, weighted by intensity.
    counting_time : float or None
        Seconds per point to which the counts belong, if the file states it.
    item : str
        The file, or the name under which it was read; errors name it.
    format : str
        The format that was recognized, in words.
    columns : (str, str)
        Names or places of the angles and of the counts in the file.
    notes : tuple of str
        What was done besides reading the numbers: scans joined, attenuation undone, an axis converted.
    stated_wavelength : float or None
        Å; the one of the file, whatever was given.
    """

    two_theta: np.ndarray
    counts: np.ndarray
    wavelength: float | None = None
    counting_time: float | None = None
    item: str = "pattern"
    format: str = "arrays"
    columns: tuple[str, str] = ("two-theta", "counts")
    notes: tuple[str, ...] = ()
    stated_wavelength: float | None = None

    def __len__(self) -> int:
        """Number of points."""
        return len(self.two_theta)

    def __str__(self) -> str:
        """The pattern in one line."""
        wavelength = "no wavelength" if self.wavelength is None else f"{self.wavelength:g} Å"
        span = f"{self.two_theta[0]:g}-{self.two_theta[-1]:g}°"
        return f"{self.item}: {self.format}, {counted(len(self), 'point')}, {span}, {wavelength}"


@dataclass(frozen=True)
class PartOfPattern:
    """One scan of a file.

    Attributes
    ----------
    angles, counts : numpy.ndarray
        (n,) each.
    times : float, numpy.ndarray or None
        Counting time in seconds, of all points or of each.
    place : callable, optional
        Where a point is found in the file, by its number in the scan, such as "line 7".
    """

    angles: np.ndarray
    counts: np.ndarray
    times: float | np.ndarray | None = None
    place: Callable[[int], str] | None = None

    def checked(self, item: str) -> tuple[PartOfPattern, bool]:
        """The scan with increasing angles, and whether it had to be turned round.

        Raises
        ------
        PatternError, AngleError, CountsError
        """
        angles, counts = np.asarray(self.angles, float), np.asarray(self.counts, float)
        place = self.place or (lambda point: f"point {point}")
        if len(angles) != len(counts):
            raise PatternError(item, f"{len(angles):,} angles and {len(counts):,} counts")
        for name, values, kind, most in (("angle", angles, AngleError, 180.0), ("count", counts, CountsError, None)):
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                raise kind(item, f"{place(int(bad[0]))}: {name} {values[bad[0]]}")
            bad = np.flatnonzero(values < 0.0)
            if len(bad):
                raise kind(
                    item,
                    f"{place(int(bad[0]))}: {name} {values[bad[0]]:g}",
                    "two-theta lies between 0 and 180 degrees" if most else None,
                )
            bad = np.flatnonzero(values > (most or MOST_COUNTS))
            if len(bad):
                rule = "two-theta lies between 0 and 180 degrees" if most else "counts must be below 1e30"
                remedy = (
                    "Check that the column holds two-theta in degrees." if most else "Check the column of the counts."
                )
                raise kind(item, f"{place(int(bad[0]))}: {name} {values[bad[0]]:g}", rule, remedy)
        steps = np.diff(angles)
        turned = len(steps) > 1 and bool((steps < 0).all())
        if not turned and (steps <= 0).any():
            point = int(np.argmax(steps <= 0)) + 1
            kind_of = "duplicate" if steps[point - 1] == 0 else "unsorted"
            raise AngleError(item, f"{place(point)}: {kind_of} angle {angles[point]:g}")
        times = self.times
        if times is not None:
            times = np.broadcast_to(np.asarray(times, float), angles.shape)
            if not (np.isfinite(times).all() and (times > 0).all() and (times < 1e9).all()):
                raise PatternError(
                    item, "a counting time that is not positive", "counting times are positive seconds",
                    "Export the scan again.",
                )  # fmt: skip
        if turned:
            angles, counts = angles[::-1], counts[::-1]
            times = times[::-1] if times is not None else None
        return PartOfPattern(angles, counts, times, self.place), turned


def assemble(
    parts: Sequence[PartOfPattern],
    item: str,
    format: str,
    columns: tuple[str, str] = ("two-theta", "counts"),
    wavelength: float | None = None,
    notes: Sequence[str] = (),
) -> MeasuredPattern:
    """The pattern of one or more scans.

    Scans over the same angles are summed. All are brought to one counting time, the median of all points, and joined
    in the order of their angles; points of two scans at the same angle become their mean, weighted by time.

    Raises
    ------
    PatternError, AngleError, CountsError
    """
    notes = list(notes)
    if sum(len(part.angles) for part in parts) > limits_in_force().points:
        raise too_many_points(item, sum(len(part.angles) for part in parts))
    checked = [part.checked(item) for part in parts if len(part.angles)]
    if sum(len(part.angles) for part, _ in checked) < 3:
        points = counted(sum(len(part.angles) for part, _ in checked), "point")
        raise PatternError(item, points, "a pattern has at least 3 points", "Give at least 3 points.")
    if any(turned for _, turned in checked):
        notes.append("the angles decrease in the file; the points were turned round")
    angles, counts, time = _join([part for part, _ in checked], item, notes)
    if counts.max() == 0.0:
        raise CountsError(item, "all counts are 0")
    if not counts.max() <= MOST_COUNTS:
        raise CountsError(item, f"a count of {counts.max():g} at the common counting time", "counts must be below 1e30")
    wavelength = None if wavelength is None else check_wavelength(wavelength, item)
    for array in (angles, counts):
        array.setflags(write=False)
    return MeasuredPattern(angles, counts, wavelength, time, item, format, columns, tuple(notes), wavelength)


def _join(parts: list[PartOfPattern], item: str, notes: list[str]) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Angles, counts and the common counting time; what was done is added to the notes."""
    timed = all(part.times is not None for part in parts)
    if len(parts) > 1 and not timed:
        notes.append("counting times are not stated for every scan and were taken as equal")
    summed: list[list[np.ndarray]] = []  # angles, counts, times
    for part in parts:
        times = np.array(part.times, float) if timed else np.ones(len(part.angles))
        for angles, counts, total in summed:
            if len(angles) == len(part.angles) and np.allclose(angles, part.angles, rtol=0, atol=_closeness(angles)):
                counts += part.counts
                total += times
                break
        else:
            summed.append([part.angles.copy(), part.counts.copy(), times])
    if len(summed) < len(parts):
        notes.append(f"{len(parts)} scans over {counted(len(summed), 'range')}: those of the same range were summed")
    if len(summed) > 1:
        summed.sort(key=lambda scan: (scan[0][0], scan[0][-1]))
        spans = ", ".join(f"{angles[0]:g}-{angles[-1]:g}°" for angles, _, _ in summed[:6])
        notes.append(f"{len(summed)} ranges were joined: {spans}{', ...' if len(summed) > 6 else ''}")
        reach = summed[0][0][-1]
        for angles, _, _ in summed[1:]:
            if angles[0] - reach > 1.0:
                notes.append(f"there are no counts between {reach:g} and {angles[0]:g}°")
            reach = max(reach, angles[-1])
    angles, counts, times = (np.concatenate(arrays) for arrays in zip(*summed, strict=True))
    common = float(np.median(times))
    if len(summed) > 1:
        close = min((_closeness(scan[0]) for scan in summed if len(scan[0]) > 1), default=1e-6)
        order = np.argsort(angles, kind="stable")
        angles, counts, times = angles[order], counts[order], times[order]
        starts = np.flatnonzero(np.concatenate([[True], np.diff(angles) > close]))
        if len(starts) < len(angles):
            notes.append("points of two scans at the same angle were averaged")
        angles = angles[starts]
        counts, times = (np.add.reduceat(values, starts) for values in (counts, times))
        weights = np.diff(np.append(starts, len(order)))  # scans at each angle
        unequal = not np.allclose(times / weights, common, rtol=1e-6)
        counts = counts * (common / times)
    else:
        unequal = not np.allclose(times, common, rtol=1e-6)
        if unequal:
            counts = counts * (common / times)
    if unequal and timed:
        notes.append(f"counts were brought to the same counting time, {common:g} s per point")
    if (np.diff(angles) <= 0).any():
        raise AngleError(item, "scans whose angles lie closer than they can be told apart")
    return angles, counts, common if timed else None


def _closeness(angles: np.ndarray) -> float:
    """Distance below which two angles are the same: a tenth of the step."""
    return 0.1 * float(np.median(np.diff(angles))) if len(angles) > 1 else 1e-6


def steps_from(start: float, step: float, number: int, item: str) -> np.ndarray:
    """Angles of a scan with constant steps.

    Raises
    ------
    PatternError, AngleError
    """
    check_number_of_points(number, item)
    if not (np.isfinite([start, step]).all() and abs(start) <= 360.0 and 0.0 < abs(step) <= 90.0):
        raise AngleError(item, f"start {start:g}° and step {step:g}°", "a scan has a start and a step in degrees",
                         "Export the scan again.")  # fmt: skip
    return start + step * np.arange(number)


def check_number_of_points(number: float, item: str) -> None:
    """Refuse a number of points that no scan has, before memory is asked for.

    Raises
    ------
    PatternError
    """
    if not 0 <= number <= limits_in_force().points:
        raise too_many_points(item, number)


def too_many_points(item: str, number: float) -> PatternError:
    """The error of a file that holds or announces too many points."""
    return PatternError(
        item,
        f"{number:,.0f} points",
        f"a file of a pattern holds at most {limits_in_force().points:,} points",
        f"Cut its range or merge neighbouring points. {how_to_raise('points')}",
    )


def check_wavelength(wavelength: float, item: str) -> float:
    """A wavelength that a file states, Å.

    Raises
    ------
    PatternError
    """
    if not SHORTEST_WAVELENGTH <= wavelength <= LONGEST_WAVELENGTH:
        raise PatternError(
            item,
            f"wavelength {wavelength:g} Å",
            f"a wavelength lies between {SHORTEST_WAVELENGTH:g} and {LONGEST_WAVELENGTH:g} Å",
            "Correct the wavelength in the file.",
        )
    return float(wavelength)


def mean_wavelength(alpha1: float, alpha2: float = 0.0, ratio: float = 0.5) -> float | None:
    """Mean of a K-alpha doublet by intensity, Å; of one line that line; None if no line is stated.

    Examples
    --------
    >>> round(mean_wavelength(1.5406, 1.54439), 5), mean_wavelength(1.5406), mean_wavelength(0.0)
    (1.54186, 1.5406, None)
    """
    if not alpha1 > 0.0:
        return None
    return (alpha1 + ratio * alpha2) / (1.0 + ratio) if alpha2 > 0.0 and ratio > 0.0 else alpha1


def number_in(token: str) -> float:
    """The number that a token stands for; exponents may be written with D, as Fortran does.

    Raises
    ------
    ValueError
        If the token is no number; it may be "nan" or "inf".
    """
    if len(token) > LONGEST_NUMBER or "_" in token:
        raise ValueError(f"not a number: {token[:LONGEST_NUMBER]!r}")
    try:
        return float(token)
    except ValueError:
        if "d" in token or "D" in token:
            return float(token.replace("D", "e").replace("d", "e"))
        raise


def numbers_in(text: str, item: str, what: str) -> np.ndarray:
    """Numbers separated by white space, (n,).

    Raises
    ------
    PatternError
    """
    tokens = text.split(None, limits_in_force().points + 1)
    check_number_of_points(len(tokens), item)
    try:
        return np.array([number_in(token) for token in tokens])
    except ValueError as error:
        raise PatternError(
            item, f"{what}: {str(error)[:80]}", f"{what} are numbers", "Export the scan again."
        ) from error


def broken(item: str, value: str, rule: str = "a file must be whole", limit: str = "") -> UnsupportedFileError:
    """The error of a file that ends too early or is not what it says, or exceeds the limit of this name."""
    remedy = "Copy or export the file again." + (f" {how_to_raise(limit)}" if limit else "")
    return UnsupportedFileError(item, value, rule, remedy)
