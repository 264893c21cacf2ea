"""A process that ends with another one, however that ends: SIGKILL leaves children running."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

NAME = "LIMITCYCLES_PARENT"  # the variable of the environment with the number of that process
POLL = 0.5  # seconds between looks


def end_with_parent() -> None:
    """Get SIGTERM once the process is gone that NAME says; nothing where it is not set.

    It is looked for by its number, and not as the parent of this one: a shell may stand between
    them, and a parent that has died before it is looked at cannot be told from a first process.
    What saves its state on SIGTERM (`runtime.stopping`) does so; anything else ends at once.
    """
    number = os.environ.get(NAME, "")
    if number.isdecimal():
        threading.Thread(target=_watch, args=(int(number),), daemon=True).start()


def _watch(number: int) -> None:
    import psutil  # not for those that nobody watches

    try:
        parent = psutil.Process(number)
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL)
    except psutil.NoSuchProcess:
        pass
    print(f"process {number}, which started this one, is gone: it ends, too", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)
