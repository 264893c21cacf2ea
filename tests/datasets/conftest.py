"""A tiny published dataset, and a real web server on this machine that can misbehave."""

import gzip
import hashlib
import http.server
import threading
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import pytest

from limitcycles.datasets import idx
from limitcycles.datasets.catalogue import Catalogue, File, NpmPackage


@dataclass
class Tiny:
    """A catalogue entry of 6 + 3 images of 4x4, with what its files hold."""

    catalogue: Catalogue
    arrays: tuple[np.ndarray, ...]
    raw: dict[str, bytes]
    gz: dict[str, bytes]

    @property
    def files(self) -> tuple[File, ...]:
        return self.catalogue.files


def make_tiny() -> Tiny:
    rng = np.random.default_rng(0)
    arrays = (
        rng.integers(0, 256, (6, 4, 4), dtype=np.uint8),
        np.array([0, 1, 2, 0, 1, 2], np.uint8),
        rng.integers(0, 256, (3, 4, 4), dtype=np.uint8),
        np.array([0, 1, 2], np.uint8),
    )
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
             "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")  # fmt: skip
    raw = {name: idx.encode(array) for name, array in zip(names, arrays, strict=True)}
    gz = {name: gzip.compress(content, mtime=0) for name, content in raw.items()}
    files = tuple(
        File(name, array.shape, _sha256(raw[name]), _sha256(gz[name]))
        for name, array in zip(names, arrays, strict=True)
    )
    catalogue = Catalogue(
        name="tiny",
        files=files,
        sha256=idx.digest(arrays),
        mirrors=(),
        folders=("tiny", "."),
        licence="none",
        citation="made for the tests",
        npm=NpmPackage("tiny-data", "1.0.0", PurePosixPath("package/data")),
    )
    return Tiny(catalogue, arrays, raw, gz)


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    return make_tiny()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Reply:
    """One answer: `declared` is the Content-Length sent, the true one unless given."""

    body: bytes = b""
    status: int = 200
    declared: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class WebServer:
    """`replies[path]` are given in turn, the last one for ever; `asked` is the log of paths."""

    url: str
    replies: dict[str, list[Reply]]
    asked: list[str] = field(default_factory=list)

    def serve(self, contents: dict[str, bytes]) -> None:
        self.replies.update({f"/{name}.gz": [Reply(body)] for name, body in contents.items()})


@pytest.fixture
def web():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            replies = server.replies.get(self.path, [Reply(status=404)])
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            self.send_response(reply.status)
            declared = len(reply.body) if reply.declared is None else reply.declared
            self.send_header("Content-Length", str(declared))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *args):
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = WebServer(f"http://127.0.0.1:{listener.server_port}/", {})
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.fixture
def make_reply():
    return Reply


@pytest.fixture
def lines() -> list[str]:
    """What was logged: give `lines.append` as the log."""
    return []
