"""Writing whole files or none, and reading them with errors that a person can act on."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from limitcycles.runtime.errors import LimitcyclesError


class StorageError(LimitcyclesError):
    """A file that cannot be written or read."""


def user_path(text: str, key: str) -> Path:
    """A path that a user wrote, with a leading ~ or ~user and $VARIABLES put in, as a shell would.

    `key` is where it was written, for the error. Raises StorageError: a variable is not set, or
    there is no such user.
    """
    expanded = os.path.expanduser(os.path.expandvars(text))
    unknown = re.search(r"\$(\w+|\{[^}]*\})", expanded)
    if unknown and not os.path.lexists(expanded):
        raise StorageError(
            f"{key}: {text} names the environment variable {unknown[1].strip('{}')}, which is not "
            "set; set it, or write the path out."
        )
    if expanded.startswith("~") and not os.path.lexists(expanded):
        raise StorageError(
            f"{key}: {text} names a user who is not known here; write the path out, or ./ before "
            "the ~ if it belongs to the name."
        )
    return Path(expanded)


def check_folder(path: Path | str) -> None:
    """Raise StorageError unless `path` is, or can become, a folder that this user may write to."""
    path = Path(path)
    here = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if not here.is_dir():
        kind = "a link to what is not there" if here.is_symlink() else "no folder"
        raise StorageError(
            f"{here} is {kind}, and results are to be written below it: move it away"
        )
    if not os.access(here, os.W_OK | os.X_OK):
        raise StorageError(
            f"{here}: you may not write there, and results are to be: change its permissions, or "
            "start in a folder of your own"
        )


@contextlib.contextmanager
def replacing(path: Path | str, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary name near `path`; on success it takes the place of `path`, at once.

    On any error the temporary file or folder is removed and what stood at `path` still stands.
    What a killed process left of an earlier try at `path` is removed first. A folder that stands
    at `path` is moved aside just before the new one comes. `durable` False is for large results
    that are soon deleted and whose reader finds damage: a power cut may spoil them, but what is
    deleted in time never reaches the disk.

    Raises StorageError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _workspace(path) as folder:
            temporary = folder / path.name
            yield temporary
            if durable:
                _sync(temporary)
            if path.is_dir() and not path.is_symlink():
                os.replace(path, folder / f"{path.name}.old")
            os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. Free space or choose another "
            "folder, then start again: what was finished before is kept."
        ) from error


@contextlib.contextmanager
def _workspace(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`, locked while in use and removed at the end.

    The lock ends with its process, however that ends. So the folder of a killed process can be
    told from that of one at work, and only the former is removed here.
    """
    # Nobody else looks for leftovers between the making of the folder and its locking.
    with _locked(path.parent, fcntl.LOCK_EX):
        for left in path.parent.glob(f".{glob.escape(path.name)}.????????.partial"):
            with _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB) as free:
                if free:
                    shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
        lock = contextlib.ExitStack()
        lock.enter_context(_locked(folder, fcntl.LOCK_EX))
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Lock `folder` for the block, and tell whether that worked.

    It does not if another holds it, if it is gone, or if its file system knows no locks; then
    leftovers stay, which does no harm.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, how)
            locked = True
        except OSError:
            locked = False
        yield locked
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value) -> None:
    """Write indented JSON, whole or not at all; NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path | str):
    """Read JSON. Raises StorageError naming file, line and remedy."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path | str, error: Exception) -> StorageError:
    """The error for a file of the workflow that is missing, or damaged as `error` says."""
    if not Path(path).exists():
        return StorageError(f"there is no file {path}: start snakemake, which makes it.")
    return StorageError(
        f"cannot read {path}: {str(error) or type(error).__name__}. "
        "Delete it and start snakemake again: it will be made anew."
    )


def check_zip(path: Path | str) -> None:
    """Compare every entry of a zip file with its checksum, and its two names with each other.

    Neither zarr (for which a lost chunk is one of fill values) nor torch (which reads no
    checksums) does so. Raises zipfile.BadZipFile: damaged; OSError: cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # a damaged file makes zipfile raise many types
        raise zipfile.BadZipFile(str(error) or type(error).__name__) from error
    if bad is not None:
        raise zipfile.BadZipFile(f"{bad} is damaged")
