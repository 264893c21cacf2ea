"""One writer of a folder at a time; a process that died, however, keeps nobody out.

Two guards, as machines may share a folder. The lock of the operating system: it ends with its
process, and on NFS with the lease of a machine that is lost. And a mark in the locked file, looked
at before each write: a process that has lost its lock without dying (its machine was cut off and
comes back, or the file system keeps no locks) finds that of the one that came after it, and ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.storage.files import StorageError

POLL = 0.5  # seconds between tries of one that waits


class TakenOverError(LimitcyclesError):
    """Another process has become the writer of the folder."""


class Turn:
    """The right to write into `folder`, as long as the mark in `path` is this process's own."""

    def __init__(self, folder: Path, path: Path):
        self.folder, self.path = folder, path
        # Process and machine are for a person; the last part tells two turns of one process apart.
        self.mark = f"process {os.getpid()} on {platform.node()} ({uuid.uuid4().hex})"

    def check(self) -> None:
        """Raises TakenOverError: another process writes into the folder now."""
        found = _mark(self.path)
        if found != self.mark:
            raise TakenOverError(
                f"{self.folder}: {_person(found)} writes here now, as this process lost its lock, "
                "for instance while its machine was cut off. It ends; let the other one go on."
            )


@contextlib.contextmanager
def sole_writer(folder: Path | str, what: str) -> Iterator[Turn]:
    """Wait until no other process writes into `folder`, say so, and be the only one for the block.

    The lock is on a hidden file beside the folder, which need not exist. `what` says for a person
    what is done there. Where the file system knows no locks there is the mark alone: who comes last
    writes. Raises StorageError: the folder above cannot be written.
    """
    folder = Path(folder).absolute()
    path = folder.parent / f".{folder.name}.writer"
    turn, waited = Turn(folder, path), False
    while (handle := _locked(path)) is None:
        if not waited:
            print(f"{what}: {_person(_mark(path))} writes to {folder}; waiting", file=sys.stderr)
        waited = True
        time.sleep(POLL)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, turn.mark.encode(), 0)
        yield turn
    finally:
        # Removed while it is locked, so that nobody can hold it; but never that of another writer.
        if _mark(path) == turn.mark:
            path.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path) -> int | None:
    """The open and locked file; None where another process holds it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}. Free space or choose another folder, "
                "then start again."
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:  # no locks here
            return handle
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)  # its last holder removed it while this process opened it: a new one


def _mark(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _person(mark: str) -> str:
    return mark.partition(" (")[0] or "another process"
