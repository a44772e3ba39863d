"""JSON that is read piece by piece, so that a list of a million entries is never held as a whole.

The standard library's parser reads each piece. ijson would refuse the ``NaN`` that Python writes into JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

from .database_entries import is_entry
from ...errors import LimitError, UnsupportedFileError
from ..limits import LIMITS, ReadingLimits, check_text

CHUNK = 2**20
"""Characters read at a time. A document of at most this length is parsed at once."""

LISTS = ("entries", "data", "structures", "docs")
"""Fields of an object whose lists are read entry by entry."""

_GROWTH = 7  # a window in which a value does not end becomes eight times as long
_AFTER = {*",:]} \t\n\r"}
_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode

Piece = tuple[Literal["value", "item", "member", "entry"], Any, Any]


@dataclass(frozen=True)
class Document:
    """One of the values in a text of JSON; JSON lines have one in each line.

    Attributes
    ----------
    number : int
        Its position in the text.
    is_alone : bool
        Whether no other value follows or precedes it, as far as is known without reading it.
    pieces : iterator of (kind, key, value)
        What it consists of: ("item", position, value) for each item of a list; for an object, ("member", key, value)
        for each field, but ("entry", position, value) for each item of a list in one of :data:`LISTS`; or
        ("value", None, value). They must be taken before the next document is asked for.
    """

    number: int
    is_alone: bool
    pieces: Iterator[Piece]


def iterate_documents(stream: IO[str], label: str, limits: ReadingLimits = LIMITS) -> Iterator[Document]:
    """The JSON values in a stream.

    A fault in one of several lines is that of the line, whose only piece is ("item", None, error).

    Raises
    ------
    UnsupportedFileError
        If the text is not JSON; what comes before the fault is read.
    LimitError
        If a single value within a list exceeds the limits, or its lists lie too deep within each other.
    """
    text = _Text(stream, label, limits)
    number = faults = 0
    while text.next_character():
        try:
            value = text.whole()
        except UnsupportedFileError as error:
            if not number:
                raise
            text.skip_line()
            faults += 1
            limits.check("faults", faults, label, "lines in a row that are no JSON")
            broken: Piece = ("item", None, error)
            yield Document(number, False, iter([broken]))
        else:
            faults = 0
            if value is _INCOMPLETE:
                yield Document(number, not number, text.pieces())
            else:
                yield Document(number, not number and not text.next_character(), pieces_of(value))
        number += 1


def too_deep(label: str) -> LimitError:
    """The error of JSON whose lists and objects lie too deep within each other for Python's parser."""
    return LimitError(label, "JSON of many levels", "lists and objects lie within each other on a few levels",
                      "Check the file, or export it again.")  # fmt: skip


def pieces_of(value: Any) -> Iterator[Piece]:
    """The pieces of a value that is in memory."""
    if isinstance(value, dict):
        lists = () if is_entry(value) else LISTS
        for key, part in value.items():
            if key in lists and isinstance(part, list):
                yield from (("entry", at, item) for at, item in enumerate(part))
            else:
                yield "member", key, part
    elif isinstance(value, list):
        yield from (("item", at, item) for at, item in enumerate(value))
    else:
        yield "value", None, value


_INCOMPLETE = object()


class _Text:
    """A window on a text that is longer than memory."""

    def __init__(self, stream: IO[str], label: str, limits: ReadingLimits):
        self.stream, self.label, self.limits = stream, label, limits
        self.window, self.at, self.is_read = "", 0, False

    def next_character(self) -> str:
        """The next character that is no space, "" at the end; it is not consumed."""
        while True:
            self.at = _SPACE.match(self.window, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.window) or not self._read_on(CHUNK):
                return self.window[self.at : self.at + 1]

    def _read_on(self, size: int) -> bool:
        """Drop what was consumed, and read more; whether there was more."""
        more = "" if self.is_read else self.stream.read(size)
        self.is_read = not more
        self.window, self.at = self.window[self.at :] + more, 0
        return bool(more)

    def skip_line(self) -> None:
        """Pass over the rest of the line."""
        while (end := self.window.find("\n", self.at)) < 0:
            self.at = len(self.window)
            if not self._read_on(CHUNK):
                return
        self.at = end + 1

    def whole(self) -> Any:
        """The value here if it is a container that ends within the window, or anything else than a container."""
        if self.next_character() not in "{[":
            return self.value()
        while len(self.window) - self.at < CHUNK and self._read_on(CHUNK):
            pass
        if self.at > CHUNK // 16:  # where a fault lies is counted from the beginning of the window
            self.window, self.at = self.window[self.at :], 0
        try:
            value, self.at = self._decoded()
            return value
        except json.JSONDecodeError as error:
            if self.is_read or not self._may_go_on(error):
                raise self._broken(error) from error
            return _INCOMPLETE

    def value(self) -> Any:
        """The value here, for which the window grows as needed."""
        self.next_character()
        while True:
            try:
                value, end = self._decoded()
                # A number may go on, with digits beyond the window or a point within it.
                if self.is_read or self.window[end : end + 1] in _AFTER:
                    self.at = end
                    return value
            except json.JSONDecodeError as error:
                if self.is_read or not self._may_go_on(error):
                    raise self._broken(error) from error
            size = len(self.window) - self.at
            self.limits.check("text_bytes", size, self.label, "characters of one value")
            self._read_on(min(_GROWTH * max(size, CHUNK), self.limits.text_bytes))  # or it would be parsed many times

    def _decoded(self) -> tuple[Any, int]:
        if len(self.window) - self.at > self.limits.words:
            check_text(self.window[self.at :], self.label, self.limits)
        try:
            return _decode(self.window, self.at)
        except RecursionError as error:
            raise too_deep(self.label) from error

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether the fault may be that the window ends here."""
        return error.msg.startswith("Unterminated string") or error.pos > len(self.window) - 16

    def _broken(self, error: json.JSONDecodeError | str) -> UnsupportedFileError:
        return UnsupportedFileError(self.label, f"broken JSON: {error}")

    def pieces(self) -> Iterator[Piece]:
        """The pieces of the container here, which is longer than the window."""
        if self.next_character() == "[":
            yield from (("item", at, item) for at, item in enumerate(self._items()))
            return
        for key in self._until("}"):
            if not isinstance(key, str) or self.next_character() != ":":
                raise self._broken("a field without a name")
            self.at += 1
            if key in LISTS and self.next_character() == "[":
                yield from (("entry", at, item) for at, item in enumerate(self._items()))
            else:
                yield "member", key, self.value()

    def _items(self) -> Iterator[Any]:
        return self._until("]")

    def _until(self, closing: str) -> Iterator[Any]:
        """The values between commas, up to a closing bracket."""
        self.at += 1
        if self.next_character() == closing:
            self.at += 1
            return
        while True:
            yield self.value()
            mark = self.next_character()
            self.at += 1
            if mark == closing:
                return
            if mark != ",":
                raise self._broken(f"{mark!r} where , or {closing} must stand" if mark else "the text ends early")
