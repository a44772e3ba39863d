"""The last answers to measured patterns, which the page asks for files of until newer ones take their place."""

from __future__ import annotations

import io
import secrets
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..search.pattern_answers import PatternAnswer

MOST_ANSWERS = 12
"""Number of answers that are kept."""
FILES = {
    "phases.cif": "chemical/x-cif",
    "reflections.csv": "text/csv; charset=utf-8",
    "report.html": "text/html; charset=utf-8",
    "export.zip": "application/zip",
}
"""Files of an answer, with their media types."""


class AnswerGone(Exception):
    """An answer is not kept any more, or never was."""

    def __init__(self) -> None:
        super().__init__("This answer is not kept any more. The pattern must be asked again.")


@dataclass(frozen=True)
class KeptAnswer:
    """An answer, and the name that is shown for its pattern."""

    found: PatternAnswer
    name: str


class KeptAnswers:
    """The last answers, by keys that cannot be guessed.

    Parameters
    ----------
    most : int
        Number of answers that are kept. The one that was asked for longest ago is forgotten first.
    """

    def __init__(self, most: int = MOST_ANSWERS):
        self.most = most
        self._answers: OrderedDict[str, KeptAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def keep(self, answer: KeptAnswer) -> str:
        """Keep an answer and return its key."""
        key = secrets.token_urlsafe(18)
        self._answers[key] = answer
        while len(self._answers) > self.most:
            self._answers.popitem(last=False)
        return key

    def get(self, key: str) -> KeptAnswer:
        """The answer of a key.

        Raises
        ------
        AnswerGone
            If it is not kept.
        """
        if key not in self._answers:
            raise AnswerGone
        self._answers.move_to_end(key)
        return self._answers[key]


def file_of(found: PatternAnswer, name: str) -> bytes:
    """The content of one of the :data:`FILES` of an answer.

    Raises
    ------
    KeyError
        If there is no file of this name.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        if name == "phases.cif":
            found.write_cif(path)
        elif name == "report.html":
            found.report(path)
        elif name == "reflections.csv":
            return found.reflections().to_csv(index=False, float_format="%.6g").encode()
        elif name == "export.zip":
            return _zipped({one.name: one.read_bytes() for one in found.export(folder)})
        else:
            raise KeyError(name)
        return path.read_bytes()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
