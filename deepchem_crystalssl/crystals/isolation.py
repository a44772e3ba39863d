"""Work in a process of its own, with limits on time and memory: what hangs, swells or crashes costs itself only.

The process is a command that reads questions as lines of JSON and answers each with any number of such lines. Nothing
is unpickled, and a script that uses this needs no guard.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

START_SECONDS = 300.0
"""Time limit for a process to load its libraries, in seconds."""
_SPARE_SECONDS = 10  # a process without its parent ends itself this much later


class AnswerLost(Exception):
    """A question whose answer did not come; the text says why, and the next question gets a new process."""


class IsolatedProcess:
    """A process that answers questions, and is replaced when it has lost an answer.

    Parameters
    ----------
    command : sequence of str
        It must call :func:`answer_questions`.
    seconds : float
        Time limit between two lines of an answer.
    memory_bytes : int
        Memory that an answer may need above what the process holds when it has started; only Linux holds it to that.

    Examples
    --------
    >>> code = "from deepchem_crystalssl.crystals.isolation import answer_questions as f; f(lambda n: range(n))"
    >>> with IsolatedProcess([sys.executable, "-c", code]) as process:
    ...     list(process.ask(3))
    [0, 1, 2]
    """

    def __init__(self, command: Sequence[str], seconds: float = 60.0, memory_bytes: int = 2 * 2**30):
        self.command, self.seconds, self.memory_bytes = list(command), seconds, memory_bytes
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> IsolatedProcess:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def ask(self, question: Any) -> Iterator[Any]:
        """The lines of the answer, as they come.

        Raises
        ------
        AnswerLost
            If the limit on time or memory is exceeded, or the process ends or fails.
        """
        is_answered = False
        try:
            process = self._process or self._start()
            with self._killed_after(process, self.seconds):
                self._send(process, question)
            while True:
                with self._killed_after(process, self.seconds):
                    line = self._receive(process)
                if "end" in line or "lost" in line:
                    is_answered = "end" in line
                    break
                yield line["answer"]
            if not is_answered:
                raise AnswerLost(line["lost"])
        finally:
            if not is_answered:  # also when the caller asks for no more lines
                self.stop()

    def stop(self) -> None:
        """End the process at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with suppress_broken_pipe():
                    stream.close()

    def _start(self) -> subprocess.Popen[str]:
        self._process = process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        )
        with self._killed_after(process, START_SECONDS):
            self._receive(process)
            self._send(process, {"seconds": self.seconds, "memory_bytes": self.memory_bytes})
        return process

    @staticmethod
    def _send(process: subprocess.Popen[str], line: Any) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()

    @staticmethod
    def _receive(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        if not (text := process.stdout.readline()).endswith("\n"):
            raise EOFError
        line: dict[str, Any] = json.loads(text)
        return line

    @contextmanager
    def _killed_after(self, process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, kill)  # a process that is killed ends a blocked pipe
        timer.daemon = True
        timer.start()
        try:
            yield
        except (EOFError, OSError) as error:
            raise AnswerLost(f"more than {seconds:g} s" if late.is_set() else _how_ended(process)) from error
        finally:
            timer.cancel()


@contextmanager
def suppress_broken_pipe() -> Iterator[None]:
    """Close a pipe whose other end is gone, although what was not sent yet is lost."""
    try:
        yield
    except OSError:
        pass


def _how_ended(process: subprocess.Popen[str]) -> str:
    try:
        status = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "the process closed its output"
    if status >= 0:
        return f"the process ended with status {status}"
    return f"the process was ended by {signal.Signals(-status).name}"


def answer_questions(answer: Callable[[Any], Iterable[Any]]) -> None:
    """What the command of an :class:`IsolatedProcess` runs: answer every question until there are no more.

    Parameters
    ----------
    answer : callable
        From a question to the lines of its answer, all of them values of JSON.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent, which then ends this process
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer

    def send(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    send({"ready": True})
    limits = json.loads(sys.stdin.readline() or "{}")
    if not limits:
        return
    limit_memory(limits["memory_bytes"])
    for question in _lines(sys.stdin):
        _end_after(limits["seconds"])
        try:
            for line in answer(question):
                send({"answer": line})
                _end_after(limits["seconds"])
        except MemoryError:
            send({"lost": f"more than {limits['memory_bytes'] / 2**30:g} GiB of memory"})
        except BrokenPipeError:  # the parent is gone
            return
        except Exception as error:
            send({"lost": f"{type(error).__name__}: {str(error)[:200]}"})
        else:
            _end_after(None)
            send({"end": True})


def _lines(stream: IO[str]) -> Iterator[Any]:
    for text in stream:
        yield json.loads(text)


def _end_after(seconds: float | None) -> None:
    """End this process some time after the limit, in case that its parent was killed and cannot; None: do not."""
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(0 if seconds is None else int(seconds) + _SPARE_SECONDS)


def limit_memory(more: int) -> None:
    """Limit the memory of this process to ``more`` bytes above what it holds now; mapped files do not count.

    Only Linux has such a limit.
    """
    if sys.platform == "linux":
        import resource

        held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        limit = int(held.split()[1]) * 1024 + more
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
