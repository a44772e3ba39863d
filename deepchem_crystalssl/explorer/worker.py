"""The process that answers uploads. It is replaced if it hangs, uses too much memory or ends."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..crystals.isolation import limit_memory
from ..errors import (
    CheckpointError,
    CrystalInputError,
    IndexFolderError,
    StoreError,
    UnsupportedFileError,
    UploadError,
)
from ..search import EmbeddingIndex
from .answering import PatternQuestion, answer, answer_rest
from .kept_answers import AnswerGone, KeptAnswers, file_of
from .uploads import Limits

logger = logging.getLogger(__name__)

START_SECONDS = 300.0
"""Time limit for a new worker to open the index, in seconds."""
GROWTH = 512 * 2**20
"""A worker whose memory has grown by more than this number of bytes after an answer is replaced."""
_LONGEST_SENTENCE = 600
_OPENED, _BEGUN = b"opened", b"begun"
_ATTEMPTS = 3
_MOMENT, _BEGIN_SECONDS = 5.0, 0.4
_NO_MEMORY = "The upload needs more memory than is allowed here. Try a smaller cell or fewer points."
_OF_THE_DISK = (CheckpointError, IndexFolderError, StoreError)  # their messages name folders of the server


_FIRST = (
    b"data_salt\n_cell_length_a 5.64\n_cell_length_b 5.64\n_cell_length_c 5.64\n_cell_angle_alpha 90\n"
    b"_cell_angle_beta 90\n_cell_angle_gamma 90\n_space_group_name_H-M_alt 'F m -3 m'\nloop_\n_atom_site_type_symbol\n"
    b"_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nNa 0 0 0\nCl 0.5 0.5 0.5\n"
)


class WorkerLost(Exception):
    """The worker ended before it had answered.

    Attributes
    ----------
    late : bool
        Whether it was killed because the time limit was over.
    received : bool
        Whether it may have begun with the upload.
    """

    def __init__(self, late: bool, received: bool):
        super().__init__("too late" if late else "died")
        self.late, self.received = late, received


class Worker:
    """A process that keeps the index open and answers one upload after the other.

    The methods block until they are done. Only one thread at a time may call :meth:`start` and :meth:`ask`; any may
    call :meth:`close`. The process ends when the server ends, in whatever way that happens.

    Parameters
    ----------
    index_folder : str or Path
        Folder of the index.
    limits : Limits
        Limits on each upload.
    """

    def __init__(self, index_folder: str | Path, limits: Limits):
        self.index_folder, self.limits = str(index_folder), limits
        self._process: multiprocessing.process.BaseProcess | None = None
        self._starting = threading.Lock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id, or None if there is no process."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start a new process and end the old one. This method returns before the new process has opened the index.

        After :meth:`close` it does nothing.
        """
        with self._starting:
            self._end()
            if self._closed:
                return
            context = multiprocessing.get_context("spawn")  # a forked process would inherit locks of torch's threads
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_work, args=(theirs, self.index_folder, self.limits), daemon=True)
            self._process.start()
            theirs.close()  # so that reading the pipe fails when the process has ended
            self._ready = False

    def close(self) -> None:
        """End the process at once, even in the middle of an answer, and start no other one."""
        self._closed = True  # a thread that waits for an answer finds that the process has ended
        with self._starting:
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def ask(self, question: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        """Answer one upload, or a question about an answer that is kept.

        Parameters
        ----------
        question : dict
            Of an upload: its "name". Of an answer: its "key", and the "file" of it that is wanted, or none for what its
            phases leave. Both, except for a file, may have the fields of :class:`.PatternQuestion`.
        body : bytes
            The content of the uploaded file; empty if there is none.

        Returns
        -------
        status : int
            HTTP status: 503 if the process was killed, which costs this upload alone.
        content : bytes
            The answer as JSON, or the file.
        """
        ended = ""
        for _ in range(_ATTEMPTS):  # a process that was killed before it had the upload is replaced without a word
            if self._process is None or not self._process.is_alive():
                self.start()
            if self._closed:
                break
            try:
                if not self._ready and not self._wait_until_open():
                    self.start()
                    return 500, sentence("The index cannot be opened; the server's log says why.")
                status, goes_on, content = self._exchange(question, body)
            except WorkerLost as lost:
                opened, ended = self._ready, self._how_it_ended()
                self.start()
                if lost.late and not opened:
                    return 503, sentence(f"The index could not be opened within {START_SECONDS:g} s. Try again later.")
                if lost.late:
                    return 504, sentence(f"The upload took longer than {self.limits.seconds:g} s. Try a smaller one.")
                if lost.received:
                    break
            else:
                if not goes_on:
                    self.start()
                return status, content
        if self._closed:
            return 503, sentence("The server is being stopped. Start it again to go on.")
        logger.warning("the process that answers uploads %s; another one takes its place", ended)
        return 503, sentence(
            f"The process that reads uploads {ended} before it had answered, perhaps because memory ran out. Another "
            "one takes its place: try again, and if it ends again, try a smaller upload."
        )

    def _wait_until_open(self) -> bool:
        """Wait until the process has opened the index, and return whether it could."""
        with self._killed_after(START_SECONDS):
            self._ready = self._pipe.recv_bytes() == _OPENED
        return self._ready

    def _exchange(self, question: dict[str, Any], body: bytes) -> tuple[int, bool, bytes]:
        """Send an upload, and return the status, whether the process can go on, and the answer."""
        with self._killed_after(self.limits.seconds) as state:
            self._pipe.send_bytes(json.dumps(question).encode())
            self._pipe.send_bytes(body)
            sent = time.monotonic()
            try:
                self._pipe.recv_bytes()
                state.received = True
            finally:  # one that does not even begin is at fault, unless it was ending already when the upload was sent
                state.received = state.received or time.monotonic() - sent > _BEGIN_SECONDS
            status, goes_on = json.loads(self._pipe.recv_bytes())
            content = self._pipe.recv_bytes()
        return status, goes_on and not state.late, content

    def _how_it_ended(self) -> str:
        process = self._process
        assert process is not None
        process.join(_MOMENT)  # its pipe may end before itself
        if process.exitcode is not None and process.exitcode < 0:
            return f"was ended by the signal {signal.Signals(-process.exitcode).name}"
        return "ended"

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[_Exchange]:
        process, state = self._process, _Exchange()
        assert process is not None

        def kill() -> None:
            state.late = True
            process.kill()

        timer = threading.Timer(seconds, kill)  # killing the process ends a blocked send as well as a blocked receive
        timer.daemon = True
        timer.start()
        try:
            yield state
        except (EOFError, OSError) as error:
            raise WorkerLost(state.late, state.received) from error
        finally:
            timer.cancel()
            timer.join()


@dataclass
class _Exchange:
    """How far an exchange with the process has come."""

    late: bool = False
    received: bool = False


def _work(pipe: Connection, index_folder: str, limits: Limits) -> None:
    """Open the index and answer uploads until the server ends; this is what the process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the server, which then ends this process
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # tqdm's default lock is a semaphore, which would outlive a killed process
    with _ended_after(START_SECONDS):
        try:
            index = EmbeddingIndex.load(index_folder)
            _open_all(index)
        except Exception:
            logger.exception("the index cannot be opened")
            pipe.send_bytes(b"")
            return
    limit_memory(limits.memory_bytes)  # of mapped files nothing counts, so that an index may be of any size
    at_start = _resident_bytes()
    kept = KeptAnswers()
    pipe.send_bytes(_OPENED)
    while True:
        try:
            question, body = json.loads(pipe.recv_bytes()), pipe.recv_bytes()
            pipe.send_bytes(_BEGUN)
            with _ended_after(limits.seconds):
                status, content, goes_on = _respond(index, kept, question, body, limits)
            pipe.send_bytes(json.dumps([status, goes_on and _resident_bytes() - at_start < GROWTH]).encode())
            pipe.send_bytes(content)
        except (EOFError, OSError):  # the server has ended
            return


def _end_with_the_server() -> None:
    """End this process when the server has ended, even in the middle of an answer."""
    server = multiprocessing.parent_process()
    if server is not None:
        server.join()
        os._exit(1)


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Let the system end this process some time after the server would have done it, whatever it does meanwhile.

    A call into a library may keep the interpreter from running the thread that notices the end of the server.
    """
    timed = hasattr(signal, "setitimer")
    if timed:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds + _MOMENT)
    try:
        yield
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _respond(
    index: EmbeddingIndex, kept: KeptAnswers, question: dict[str, Any], body: bytes, limits: Limits
) -> tuple[int, bytes, bool]:
    """Return the HTTP status, the answer, and whether the process can answer further questions."""
    try:
        return 200, _found(index, kept, question, body, limits), True
    except AnswerGone as error:
        return 410, sentence(str(error)), True
    except MemoryError:
        return 422, sentence(_NO_MEMORY), False
    except CrystalInputError as error:
        if not isinstance(error, _OF_THE_DISK):
            return status_of(error), sentence(str(error)), True
        logger.exception("the index cannot be read")
    except Exception as error:
        if "memory" in str(error):  # torch reports missing memory by a RuntimeError
            return 422, sentence(_NO_MEMORY), False
        logger.exception("an upload could not be answered")
    return 500, sentence("The upload could not be answered; the server's log says why."), True


def _found(index: EmbeddingIndex, kept: KeptAnswers, question: dict[str, Any], body: bytes, limits: Limits) -> bytes:
    """The answer as JSON, or a file of one that is kept."""
    key, file = question.get("key"), question.get("file")
    if key is None:
        found = answer(index, kept, body, question["name"], limits, PatternQuestion.of(question))
    elif file is None:
        found = answer_rest(index, kept, key, PatternQuestion.of(question))
    else:
        return file_of(kept.get(key).found, file)
    return json.dumps(found, allow_nan=False).encode()


def status_of(error: CrystalInputError) -> int:
    """Return the HTTP status that fits an error."""
    if isinstance(error, UploadError):
        return 413
    return 415 if isinstance(error, UnsupportedFileError) else 422


def sentence(text: str) -> bytes:
    """The answer that says what is wrong, as JSON."""
    cut = text if len(text) <= _LONGEST_SENTENCE else text[:_LONGEST_SENTENCE] + " …"
    return json.dumps({"error": cut}).encode()


def _open_all(index: EmbeddingIndex) -> None:
    """Load the files and modules that answers need, so that the first upload neither waits for them nor pays for them.

    The memory of an upload is limited to what comes on top.
    """
    _ = index.map
    if index.has_model and index.structures is not None:
        index.query(index.structures[0], k=1)
        with suppress(CrystalInputError):  # loops that are compiled in the time of an upload may exceed its limit
            answer(index, KeptAnswers(), _FIRST, "first.cif", Limits())


def _resident_bytes() -> int:
    """Return the memory of this process without mapped files, in bytes; 0 on systems other than Linux."""
    if sys.platform != "linux":
        return 0
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) * 1024
