"""Progress with the time left, for anything that takes longer than ten seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tqdm import tqdm


def track(
    iterable: Iterable | None = None,
    *,
    total: int | None = None,
    unit: str,
    what: str,
    delay: float = 0.0,
    done: int | None = None,
):
    """A tqdm bar on standard error; in a log file, one line every ten seconds instead.

    Nothing is shown in the first `delay` seconds. `done` is how much of `total` an earlier process
    has done, None where there was none: the bar and a line before it say what is continued at.
    """
    interactive = sys.stderr.isatty()
    if done is not None and done != total:
        what += f", continued at {unit} {done + 1}"
        print(what, file=sys.stderr)
    return tqdm(
        iterable,
        total=total,
        initial=done or 0,
        unit=unit,
        delay=delay,
        desc=what,
        mininterval=0.2 if interactive else 10.0,
        maxinterval=10.0,
        ascii=not interactive,
        dynamic_ncols=interactive,
        file=sys.stderr if interactive else _Lines(sys.stderr),
    )


class _Lines:
    """A line each time that tqdm goes back to the start of its bar, and no empty ones."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> None:
        if text.strip():
            self.stream.write(text.strip() + "\n")

    def flush(self) -> None:
        self.stream.flush()
