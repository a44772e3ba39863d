"""What a source of crystals may cost: the limits on size and number within which it is read."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..errors import LimitError
from .options import check_count


@dataclass(frozen=True)
class ReadingLimits:
    """Limits of :func:`~deepchem_crystalssl.read_structures`.

    Small files can be made that unpack to petabytes, or that announce a thousand million atoms. With the default limits
    no file takes more than ten seconds or 1 GB for each crystal in it, whatever it says; larger ones are for sources
    that can be trusted.

    Attributes
    ----------
    text_bytes : int
        Bytes of a text that is read as a whole: a CIF, a POSCAR, one entry of JSON, one frame of XYZ.
    words : int
        Numbers and words in a CIF, a POSCAR or an entry of JSON.
    sites : int
        Sites of one crystal.
    operations : int
        Symmetry operations of one crystal.
    depth : int
        How many elements of XML may lie within each other.
    unpacked_bytes : int
        Bytes that are unpacked from one file, all its members together.
    ratio : int
        A file may unpack to this many times its size. Coordinates compress to a fifth, JSON of structures to a tenth.
    free_bytes : int
        Bytes that are unpacked whatever the ratio.
    members : int
        Members of an archive.
    rows : int
        Rows of a table.
    columns : int
        Columns of a table.
    fields : int
        Fields of an object of JSON that are read in search of an entry.
    faults : int
        Lines of JSON that follow each other and are none.

    Raises
    ------
    OptionError
        If a limit is not a whole number of at least 0.

    Examples
    --------
    >>> ReadingLimits(sites=1_000_000).sites, ReadingLimits().sites
    (1000000, 100000)
    """

    text_bytes: int = 2**26
    words: int = 3_000_000
    sites: int = 100_000
    operations: int = 2_000
    depth: int = 100
    unpacked_bytes: int = 2**38
    ratio: int = 100
    free_bytes: int = 2**26
    members: int = 10_000_000
    rows: int = 2**31
    columns: int = 20_000
    fields: int = 100_000
    faults: int = 10_000

    def __post_init__(self) -> None:
        for field in fields(self):
            check_count(field.name, getattr(self, field.name), 0)

    def check(self, name: str, number: int, item: str, what: str) -> None:
        """Refuse a number that exceeds one of the limits.

        Parameters
        ----------
        name : str
            Of the limit.
        number : int
        item, what : str
            What is read, and what was counted, in the plural.

        Raises
        ------
        LimitError
        """
        if number > getattr(self, name):
            raise exceeded(self, name, f"{number:,} {what}", item, what)


def exceeded(limits: ReadingLimits, name: str, found: str, item: str, what: str) -> LimitError:
    """The error of something that exceeds a limit."""
    most = getattr(limits, name)
    return LimitError(
        item,
        found,
        f"there may be at most {most:,} {what}",
        f"If the source can be trusted, pass limits=ReadingLimits({name}=...) with a larger number; or split it.",
    )


LIMITS = ReadingLimits()
"""The limits by default."""


def check_text(text: str, item: str, limits: ReadingLimits) -> None:
    """Refuse a text that is too long, or holds more numbers and words than the limits allow.

    Raises
    ------
    LimitError
    """
    limits.check("text_bytes", len(text), item, "bytes of one text")
    if len(text) <= limits.words:
        return
    is_json = text[:100].lstrip()[:1] in ("{", "[")
    limits.check(
        "words",
        text.count(",") + text.count("[") + text.count("{") if is_json else count_words(text),
        item,
        "numbers and words in one text",
    )


def count_words(text: str) -> int:
    """How many words stand between the spaces and line ends of a text."""
    is_letter = np.frombuffer(text.encode(), np.uint8) > 32
    return int(np.count_nonzero(is_letter[1:] & ~is_letter[:-1])) + int(is_letter[:1].sum())
