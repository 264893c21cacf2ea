"""One step of a workflow as a process: a log that is also seen, errors as one sentence.

To import this module switches garbage collection off, until `logged`: to look for garbage while the
rest of a step is imported takes a fifth of the time. So it is the first import of a script.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.runtime.memory import keep_freed
from limitcycles.runtime.parent import end_with_parent

gc.disable()

_MEMORY = (
    "there is not enough memory for these settings; take fewer images, smaller networks or grids, "
    "or a machine with more"
)


def _lacks_memory(error: Exception) -> bool:
    """Whether numpy or torch got no memory; torch has no class for that of the CPU."""
    own = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return own or "can't allocate memory" in str(error)


class _Both:
    """Standard error and a log file, open for bytes without a buffer, at once."""

    def __init__(self, screen, file):
        self.screen = screen
        self.file = file
        self.complete = True

    def write(self, text: str) -> int:
        self.screen.write(text)
        self.screen.flush()
        try:
            self.file.write(text.encode(errors="backslashreplace"))
        except OSError as error:  # a full disk must not hide the message that says so
            if self.complete:
                print(f"the log {self.file.name} is cut off: {error.strerror}", file=self.screen)
            self.complete = False
        return len(text)

    def flush(self) -> None:
        self.screen.flush()

    def isatty(self) -> bool:
        return False


@contextlib.contextmanager
def logged(log: str | Path, name: str, threads: int = 1) -> Iterator[None]:
    """Run a step: messages and progress go to standard error and to the file `log`.

    An error that a user can mend (LimitcyclesError, too little memory) becomes one sentence, any
    other a traceback; both end the process with exit code 1. It ends with the process that started
    the workflow, too (`runtime.parent`). `threads` sets the threads of torch, which is not
    imported here: half of the jobs do without, and it takes a second.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    else:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it, should it be imported later
    keep_freed()
    gc.freeze()  # what was imported stays: no collection need look at it
    gc.enable()
    before = sys.stderr
    with _opened(Path(log), name) as file:
        sys.stderr = _Both(before, file)
        end_with_parent()
        try:
            yield
        except LimitcyclesError as error:
            print(f"{name}: {error}", file=sys.stderr)
            sys.exit(1)
        except Exception as error:
            if _lacks_memory(error):
                first = str(error).partition("\n")[0] or type(error).__name__
                print(f"{name}: {_MEMORY} ({first}).", file=sys.stderr)
            else:
                traceback.print_exc()
            sys.exit(1)
        finally:
            sys.stderr = before


def _opened(path: Path, name: str):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "wb", buffering=0)
    except OSError as error:
        print(f"{name}: cannot write the log {path}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
