"""The characters of a text file, however it is encoded and whatever its lines end with."""

from __future__ import annotations

import codecs
import io
import re
from typing import IO

from ...errors import EmptyFileError, UnsupportedFileError

HEAD = 4096
"""Bytes at the beginning by which an encoding is recognized."""
END_OF_FILE = "\x1a"
"""Ctrl-Z, with which DOS and CP/M ended a text."""

_END = END_OF_FILE + "\0"  # DOS filled the last block with either
_LENIENT = "deepchem_crystalssl.lenient"
_MARKS = (  # a mark of UTF-32 begins like one of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_JOINED = re.compile(r"(?<!\S)[-+.\d]*\d_\d\S*")
_FIRST_OF_MARK = {mark[:1] for mark, _ in _MARKS}


def _decode_leniently(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no UTF-8 are Latin-1; a single Ctrl-Z below UTF-16 is from a program that knew of bytes alone."""
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    if error.encoding.startswith("utf-8"):
        return wrong.decode("latin-1"), error.end
    if wrong == END_OF_FILE.encode() and error.end == len(error.object):
        return "", error.end
    raise error


codecs.register_error(_LENIENT, _decode_leniently)


def encoding_of(head: bytes) -> str:
    """The encoding of a text, by its byte-order mark or by the zeros between its letters; otherwise UTF-8.

    Parameters
    ----------
    head : bytes
        The first bytes, at most :data:`HEAD` of them.

    Examples
    --------
    >>> encoding_of("quartz".encode("utf-16-be")), encoding_of(b"quartz")
    ('utf-16-be', 'utf-8')
    """
    if head[:1] in _FIRST_OF_MARK:
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
    if len(head) > 3 and b"\0" in head:
        zeros = [head[k::4].count(0) > 0.2 * len(head) for k in range(4)]  # more than four fifths of these bytes
        for pattern, name in (
            ([False, True, True, True], "utf-32-le"),
            ([True, True, True, False], "utf-32-be"),
            ([False, True, False, True], "utf-16-le"),
            ([True, False, True, False], "utf-16-be"),
        ):
            if zeros == pattern:
                return name
    return "utf-8"


def decode_text(data: bytes, label: str) -> str:
    """The text of a file, with line feeds as line ends.

    UTF-8, UTF-16 and UTF-32 (with or without byte-order mark) and Latin-1 are told apart. A Ctrl-Z at the end is left
    out.

    Parameters
    ----------
    data : bytes
    label : str
        The file, as errors name it.

    Raises
    ------
    EmptyFileError
        If there is nothing but white space.
    UnsupportedFileError
        If it is no text.

    Examples
    --------
    >>> decode_text("data_é\\r_cell_length_a 5\\r\\x1a".encode("utf-16"), "a.cif")
    'data_é\\n_cell_length_a 5\\n'
    """
    encoding = encoding_of(data[:HEAD])
    try:
        text = data.decode(encoding, "strict" if encoding.startswith("utf-8") else _LENIENT)
    except UnicodeDecodeError as error:
        if not encoding.startswith("utf-8"):
            told = f"{encoding.upper()} that breaks off or is damaged at byte {error.start:,}"
            raise UnsupportedFileError(
                label, told, "a text is UTF-8, UTF-16 or Latin-1", "Save it again as UTF-8."
            ) from error
        text = data.removeprefix(codecs.BOM_UTF8).decode("latin-1")
    return plain_text(text, label)


def joined_digits(text: str) -> str:
    """The first number of a text whose digits are joined by an underscore, which Python ignores; empty if none.

    Examples
    --------
    >>> joined_digits("Si 0.25 0_25 0"), joined_digits("Si_sv 0.25 0.25 0")
    ('0_25', '')
    """
    found = _JOINED.search(text) if "_" in text else None
    return found[0] if found else ""


def plain_text(text: str, label: str) -> str:
    """A text without byte-order mark and Ctrl-Z at its end, and with line feeds as line ends.

    Raises
    ------
    EmptyFileError
        If there is nothing but white space.
    UnsupportedFileError
        If it holds zeros, as no text does.
    """
    if text.startswith("\ufeff"):
        text = text[1:]
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if END_OF_FILE in text or "\0" in text:
        text = text.rstrip(" \t\n" + _END) + "\n"
        if "\0" in text:
            raise UnsupportedFileError(
                label,
                "a binary or compressed file",
                "a file of this name holds text",
                "Unpack it, or save it as UTF-8.",
            )
    if not text or text.isspace():
        raise EmptyFileError(label, "0 characters")
    return text


class TextStream(io.TextIOWrapper):
    """The characters of a stream of bytes; encodings and line ends as in :func:`decode_text`."""

    def __init__(self, stream: IO[bytes]):
        if not hasattr(stream, "peek"):
            stream = io.BufferedReader(stream, HEAD)  # type: ignore[type-var]
        encoding = encoding_of(stream.peek(HEAD)[:HEAD])
        super().__init__(stream, encoding=encoding, errors=_LENIENT, newline=None)

    def read(self, size: int | None = -1) -> str:
        """Read characters; the Ctrl-Z at the end is left out."""
        return super().read(size).rstrip(_END)

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        """Read a line; the Ctrl-Z at the end is left out."""
        return super().readline(size).rstrip(_END)
