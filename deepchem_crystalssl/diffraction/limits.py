"""What a file of a measured pattern may cost: the limits on size and number within which it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class PatternLimits:
    """Limits of :func:`~deepchem_crystalssl.read_pattern`.

    With the default limits no file takes more than ten seconds or 1 GB, whatever it says; larger ones are for files
    that can be trusted.

    Attributes
    ----------
    file_bytes : int
        Bytes of the file.
    points : int
        Points of all scans of a file together.
    scans : int
        Scans of a file.
    elements : int
        Elements of XML.
    depth : int
        How many elements of XML may lie within each other.
    members : int
        Members of an archive.
    unpacked_bytes : int
        Bytes that are unpacked from an archive, all members together.

    Examples
    --------
    >>> PatternLimits(points=2_000_000).points, PatternLimits().points
    (2000000, 500000)
    """

    file_bytes: int = 100_000_000
    points: int = 500_000
    scans: int = 1_000
    elements: int = 600_000
    depth: int = 100
    members: int = 5_000
    unpacked_bytes: int = 100_000_000


_IN_FORCE = ContextVar("limits", default=PatternLimits())


def limits_in_force() -> PatternLimits:
    """The limits within which a file is being read here; outside :func:`reading_within`, those by default."""
    return _IN_FORCE.get()


@contextmanager
def reading_within(limits: PatternLimits) -> Iterator[None]:
    """Within the block, the readers of all formats keep to these limits; other threads keep to their own."""
    before = _IN_FORCE.set(limits)
    try:
        yield
    finally:
        _IN_FORCE.reset(before)


def how_to_raise(name: str) -> str:
    """The remedy for a file that exceeds a limit and can be trusted.

    Examples
    --------
    >>> how_to_raise("points")
    'If the file can be trusted, pass limits=PatternLimits(points=...) with a larger number.'
    """
    return f"If the file can be trusted, pass limits=PatternLimits({name}=...) with a larger number."
