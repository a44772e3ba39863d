"""Words of messages: numbers with their nouns, kinds of objects, and the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun.

    Examples
    --------
    >>> counted(1, "crystal"), counted(2, "crystal"), counted(0, "entry", "entries")
    ('1 crystal', '2 crystals', '0 entries')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def an_object(thing: object) -> str:
    """What kind of object something is, in words.

    Examples
    --------
    >>> an_object(3), an_object(None), an_object({})
    ('an object of type int', 'None', 'an object of type dict')
    """
    return "None" if thing is None else f"an object of type {type(thing).__name__}"


def closest(value: object, known: Iterable[str]) -> str | None:
    """The known name that is most similar to a value, None if none is.

    Examples
    --------
    >>> closest("avg", ["refuse", "dominant", "average"]), closest(3, ["refuse"])
    ('average', None)
    """
    from difflib import get_close_matches

    near = get_close_matches(str(value).lower(), list(known), 1, 0.5)
    return near[0] if near else None
