"""The process that answers uploads. If it hangs, grows or dies, another one replaces it."""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import (
    CheckpointError,
    CrystalInputError,
    IndexFolderError,
    StoreError,
    UnsupportedFileError,
    UploadError,
)
from ..search import EmbeddingIndex
from .answering import answer
from .uploads import Limits

logger = logging.getLogger(__name__)

START_SECONDS = 300.0
"""Within which a worker must have opened the index."""
GROWTH = 512 * 2**20
"""Bytes of memory by which a worker may have grown after an answer; beyond, another takes its place."""
_LONGEST_SENTENCE = 600
_NO_MEMORY = "The upload needs more memory than is allowed here. Try a smaller cell or fewer points."
_OF_THE_DISK = (CheckpointError, IndexFolderError, StoreError)  # their texts name folders


class WorkerLost(Exception):
    """The worker ended before it had answered; ``late`` if because its time was over."""

    def __init__(self, late: bool):
        super().__init__("too late" if late else "died")
        self.late = late


class Worker:
    """A process with the index open, which answers one upload after the other.

    Its methods block and are for one thread at a time.

    Parameters
    ----------
    index_folder : str or Path
    limits : Limits
    """

    def __init__(self, index_folder: str | Path, limits: Limits):
        self.index_folder, self.limits = str(index_folder), limits
        self._process: multiprocessing.process.BaseProcess | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Begin a process, in place of the one there is; it opens the index while this returns."""
        self.stop()
        context = multiprocessing.get_context("spawn")  # a fork would inherit the threads' locks of torch
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self.index_folder, self.limits), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends when the process does
        self._ready = False

    def stop(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def ask(self, question: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        """The status and the answer, JSON.

        Parameters
        ----------
        question : dict
            "name", "wavelength" and "elements".
        body : bytes
            The upload.
        """
        if self._process is None or not self._process.is_alive():
            self.start()
        try:
            if not self._ready:
                with self._killed_after(START_SECONDS):
                    self._pipe.recv_bytes()
                self._ready = True
            with self._killed_after(self.limits.seconds):
                self._pipe.send_bytes(json.dumps(question).encode())
                self._pipe.send_bytes(body)
                status, goes_on = json.loads(self._pipe.recv_bytes())
                content = self._pipe.recv_bytes()
        except WorkerLost as lost:
            opened = self._ready
            self.start()
            if not opened:
                return 500, _sentence("The index cannot be opened; the server's log says why.")
            if lost.late:
                return 504, _sentence(f"The upload took longer than {self.limits.seconds:g} s. Try a smaller one.")
            return 422, _sentence(
                "The process that read the upload ended, perhaps because it ran out of memory. Try a smaller one."
            )
        if not goes_on:
            self.start()
        return status, content

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[None]:
        process, late = self._process, threading.Event()
        assert process is not None

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, kill)  # it ends a blocked send as well as a blocked receive
        timer.daemon = True
        timer.start()
        try:
            yield
        except (EOFError, OSError) as error:
            raise WorkerLost(late.is_set()) from error
        finally:
            timer.cancel()
            timer.join()


def _work(pipe: Connection, index_folder: str, limits: Limits) -> None:
    """The life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    tqdm.set_lock(threading.RLock())  # tqdm's own, a semaphore, would outlive a killed process
    index = EmbeddingIndex.load(index_folder)
    _ = index.map, index.has_model and index.model  # opened now, not at the first question
    _limit_memory(limits.memory_bytes)
    at_start = _resident_bytes()
    pipe.send_bytes(b"ready")
    while True:
        try:
            question, body = json.loads(pipe.recv_bytes()), pipe.recv_bytes()
        except EOFError:  # the server is gone
            return
        status, content, goes_on = _respond(index, question, body, limits)
        pipe.send_bytes(json.dumps([status, goes_on and _resident_bytes() - at_start < GROWTH]).encode())
        pipe.send_bytes(content)


def _respond(index: EmbeddingIndex, question: dict[str, Any], body: bytes, limits: Limits) -> tuple[int, bytes, bool]:
    """Status, JSON, and whether the process is still good for more."""
    try:
        found = answer(index, body, question["name"], limits, question["wavelength"], question["elements"])
        return 200, json.dumps(found, allow_nan=False).encode(), True
    except MemoryError:
        return 422, _sentence(_NO_MEMORY), False
    except CrystalInputError as error:
        if not isinstance(error, _OF_THE_DISK):
            return status_of(error), _sentence(str(error)), True
        logger.exception("the index cannot be read")
    except Exception as error:
        if "memory" in str(error):  # torch says so in a RuntimeError
            return 422, _sentence(_NO_MEMORY), False
        logger.exception("an upload could not be answered")
    return 500, _sentence("The upload could not be answered; the server's log says why."), True


def status_of(error: CrystalInputError) -> int:
    """The HTTP status that says what an error says."""
    if isinstance(error, UploadError):
        return 413
    return 415 if isinstance(error, UnsupportedFileError) else 422


def _sentence(text: str) -> bytes:
    cut = text if len(text) <= _LONGEST_SENTENCE else text[:_LONGEST_SENTENCE] + " …"
    return json.dumps({"error": cut}).encode()


def _limit_memory(more: int) -> None:
    """Data the process may hold beside what it holds; mapped files do not count: an index may be of any size."""
    if sys.platform == "linux":
        import resource

        held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        limit = int(held.split()[1]) * 1024 + more
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _resident_bytes() -> int:
    """Memory without mapped files; 0 where it cannot be told."""
    if sys.platform != "linux":
        return 0
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) * 1024
