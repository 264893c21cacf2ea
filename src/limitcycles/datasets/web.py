"""Downloads: into memory, checked there, tried again where a fault may pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import requests
import tenacity
import urllib3

from limitcycles.datasets.errors import ContentError, SourceError
from limitcycles.runtime.progress import track

T = TypeVar("T")


class _Passing(Exception):
    """A fault that may be gone at the next try."""


@dataclass(frozen=True)
class Web:
    """An address to download from.

    A fault that may pass (a server error, a time-out, a cut or corrupt download) is tried again
    `attempts` times in all, after `pause_s`, then twice that, and so on. A host that cannot be
    reached at all, or says no, is given up at once, so that the next source gets its turn.
    """

    url: str
    attempts: int = 4
    pause_s: float = 1.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0

    def fetch(
        self,
        session: requests.Session,
        address: str,
        limit: int,
        check: Callable[[bytes], T],
        log: Callable[[str], object],
    ) -> T:
        """What `check` makes of the bytes at `address`, at most `limit` of them.

        Raises SourceError: the host does not deliver, or `check` raises ContentError to the last.
        """
        name = address.rsplit("/", 1)[-1]

        def tell(state: tenacity.RetryCallState) -> None:
            log(f"{name}: {state.outcome.exception()}; trying again")

        retry = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=tenacity.wait_exponential(multiplier=self.pause_s),
            retry=tenacity.retry_if_exception_type(_Passing),
            before_sleep=tell,
            reraise=True,
        )
        try:
            return retry(self._once, session, address, limit, check)
        except _Passing as error:
            raise SourceError(f"{name}: {error} (tried {self.attempts} times)") from error

    def _once(
        self, session: requests.Session, address: str, limit: int, check: Callable[[bytes], T]
    ) -> T:
        try:
            content = self._download(session, address, limit)
        except requests.RequestException as error:
            if _is_hopeless(error):
                raise SourceError(f"the host cannot be reached ({_cause(error)})") from error
            raise _Passing(f"the connection broke ({_cause(error)})") from error
        except urllib3.exceptions.HTTPError as error:  # while the body is read
            raise _Passing(f"the download broke off ({error})") from error
        try:
            return check(content)
        except ContentError as error:
            raise _Passing(f"the download is corrupt: {error}") from error

    def _download(self, session: requests.Session, address: str, limit: int) -> bytes:
        # Nothing touches the disk before it is verified; a file is 171 MB at most. A body shorter
        # than its Content-Length is an error of urllib3.
        name = address.rsplit("/", 1)[-1]
        with session.get(
            address,
            stream=True,
            timeout=(self.connect_timeout_s, self.read_timeout_s),
            # The gzip file itself is what has the known SHA-256, so no unpacking on the way.
            headers={"Accept-Encoding": "identity"},
        ) as response:
            if response.status_code in (408, 429) or response.status_code >= 500:
                raise _Passing(f"the server answers {response.status_code} {response.reason}")
            if response.status_code != 200:
                raise SourceError(
                    f"{name}: the server answers {response.status_code} {response.reason}"
                )
            length = response.headers.get("Content-Length", "")
            declared = int(length) if length.isdecimal() else 0
            packed = bytearray()
            with track(total=declared or None, unit="B", what=name) as bar:
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
