"""Ending when asked to: a loop that has a checkpoint saves it first.

A cluster sends SIGTERM to a job some seconds before it kills it: at the time limit, when it is
cancelled, or when another job takes its place. SIGUSR1 is what others send for the same.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from limitcycles.runtime.errors import LimitcyclesError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StoppedError(LimitcyclesError):
    """A process that was asked to end, and has saved how far it came."""


class Request:
    """Whether this process has been asked to end: `signal` is the one that asked, or None."""

    signal: signal.Signals | None = None

    def error(self, what: str) -> StoppedError:
        """To be raised when all is saved; `what` says whose state, and how far it came."""
        return StoppedError(
            f"{what} when {self.signal.name} asked this process to end. It is saved: start again, "
            "and it goes on from there."
        )


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Note SIGTERM and SIGUSR1 instead of ending at once; the block looks at what is yielded.

    Where such a signal is ignored, or a handler of the program around us is set, that stays so, and
    so does everything in a thread other than the main one, which cannot set handlers.
    """
    request = Request()

    def note(number, frame):
        request.signal = signal.Signals(number)

    ours = []
    if threading.current_thread() is threading.main_thread():
        ours = [s for s in SIGNALS if signal.getsignal(s) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
