"""What a person sees of a training, and how it is stopped without loss."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ..errors import counted

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 60.0
FIRST_CHECKPOINT_MINUTES = 2.0
"""The first checkpoint of a training comes after this time at the latest."""


class Progress:
    """A progress bar with the losses on a terminal, or a line in the log now and then where there is none.

    Parameters
    ----------
    total, done : int
        Steps of the whole training, and those that were done before.
    show : bool, optional
        True for the bar, False for neither; by default the bar on a terminal, and lines elsewhere.
    speaks : bool
        Whether :meth:`say` says anything; of processes that train together, one does.
    """

    def __init__(self, total: int, done: int = 0, show: bool | None = None, speaks: bool = True):
        self._speaks = speaks
        disable = None if show is None else not show
        self.bar = tqdm(desc="training", total=total, initial=done, disable=disable, delay=1.0)
        self._logs = show is None and self.bar.disable
        self._step, self._total = done, total
        self._next_line = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.close()

    def step(self, losses: Mapping[str, Any]) -> None:
        """Count one step and show its losses."""
        self._step += 1
        if not self.bar.disable:
            self.bar.set_postfix_str(_text(losses), refresh=False)
            self.bar.update()
        elif self._logs and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            logger.info("training: step %d of %d, %s", self._step, self._total, _text(losses))

    def say(self, text: str) -> None:
        """One line: above the bar, or in the log."""
        if not self._speaks:
            return
        if self.bar.disable:
            logger.info(text)
        else:
            self.bar.write(text, file=sys.stderr)


def _text(losses: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {float(loss):.3f}" for name, loss in losses.items())


def how_it_starts(is_restored: bool, done: int, total: int, epochs: int) -> str:
    """How a training starts that was to go on where another one stopped, in words."""
    if not is_restored:
        return "no checkpoint yet, starting at step 0"
    if done < total:
        return f"resumed at step {done} of {total}"
    end = f"{counted(epochs, 'epoch')} would end at step {total}"
    return f"the run has {done} steps already, and {end}; nothing is left to train"


class SaveTimes:
    """When a checkpoint is due because of the time that has passed: the first one soon, the others at an interval.

    Parameters
    ----------
    minutes : float
        The interval.
    wanted : bool
        Whether there are any checkpoints.
    keep : int
        How many of them are kept.
    """

    def __init__(self, minutes: float, wanted: bool = True, keep: int = 5):
        self.wanted, self.keep = wanted, keep
        self._interval, self._seconds = 60 * minutes, 60 * min(minutes, FIRST_CHECKPOINT_MINUTES)
        self._last = time.monotonic()

    @classmethod
    def of(cls, options: Mapping[str, Any], minutes: float) -> SaveTimes:
        """Those of the options of DeepChem's ``fit``."""
        return cls(minutes, options.get("checkpoint_interval", 1000) > 0, options.get("max_checkpoints_to_keep", 5))

    def is_due(self) -> bool:
        """Whether the time has passed."""
        return self.wanted and time.monotonic() - self._last >= self._seconds

    def restart(self) -> None:
        """A checkpoint has been written."""
        self._last, self._seconds = time.monotonic(), self._interval


class Stop:
    """Whether somebody asked for the training to stop: Ctrl-C, or SIGTERM, which schedulers send before they kill."""

    def __init__(self, together: bool = False) -> None:
        self.asked = False
        self.agreed = False
        self.at_once = False
        self._together = together

    def _ask(self, signum: int, frame: Any) -> None:
        if self.asked and not self._together:  # the second time, within a step
            self.at_once = True
            raise KeyboardInterrupt
        self.asked = True

    def raise_if_asked(self) -> None:
        """Raise KeyboardInterrupt after the first request; between two steps, when the model is whole.

        Processes that train together raise it when they have agreed on it, all after the same step.
        """
        if self.agreed if self._together else self.asked:
            raise KeyboardInterrupt


@contextmanager
def stopping_after_a_step(together: bool = False) -> Iterator[Stop]:
    """Within the block Ctrl-C and SIGTERM are noted, so that the step under way can end.

    A second one interrupts the step, unless processes train ``together``: a scheduler and their launcher may both pass
    one request on, and a process that left within a step would let the others wait.

    A process that handles these signals in its own way keeps doing so, and so do other threads than the main one.
    """
    stop, before = Stop(together), {}
    if threading.current_thread() is threading.main_thread():
        for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) == default:
                before[number] = signal.signal(number, stop._ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
