"""How a published file is kept elsewhere, and how its very bytes are got from there.

A layout is given `read(name, limit)`, which returns the bytes of a member of a folder or an
archive, and raises SourceError where there is none or it has more than `limit` bytes.
"""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
from PIL import Image

from limitcycles.datasets import cifar, unpickling
from limitcycles.datasets.errors import ContentError

Read = Callable[[str, int], bytes]

_PICKLE_LIMIT = 256 * 2**20  # bytes; the largest has 155 MB
_JSON_LIMIT = 2**20


class Layout(Protocol):
    """One way to keep the files. `member` is a member that is there if `file` is."""

    def member(self, file: Any) -> str: ...

    def deliver(self, file: Any, read: Read) -> bytes: ...


@dataclass(frozen=True)
class Plain:
    """The files as they were published."""

    def member(self, file: Any) -> str:
        return file.name

    def deliver(self, file: Any, read: Read) -> bytes:
        return read(file.name, file.size)


@dataclass(frozen=True)
class PythonVersion:
    """The python version of CIFAR: pickles of a dict of `data` (n, 3072) and lists of labels.

    keys: of the labels, in their order in a record of the binary version. The MD5 of a pickle must
    be the published one before it is read at all.
    """

    keys: tuple[bytes, ...]

    def member(self, file: cifar.RecordFile) -> str:
        return file.python

    def deliver(self, file: cifar.RecordFile, read: Read) -> bytes:
        content = read(file.python, _PICKLE_LIMIT)
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != file.md5:
            raise ContentError(f"MD5 is {found}, expected {file.md5}")
        batch = unpickling.load(content)
        wanted = (b"data", *self.keys)
        if not isinstance(batch, dict) or not all(key in batch for key in wanted):
            raise ContentError(
                f"its pickle has not the keys {', '.join(map(bytes.decode, wanted))}"
            )
        pixels, labels = batch[b"data"], [batch[key] for key in self.keys]
        if not isinstance(pixels, np.ndarray) or not all(type(one) is list for one in labels):
            raise ContentError("its pickle has not an array of pixels and lists of labels")
        return file.encode(labels, pixels)


@dataclass(frozen=True)
class PngRows:
    """CIFAR-10 as PNG pictures of one image a row, its 1,024 pixels in reading order, and JSON.

    The labels are in one list for the five training batches and one for the test batch.
    """

    def member(self, file: cifar.RecordFile) -> str:
        return f"{PurePosixPath(file.name).stem}.png"

    def deliver(self, file: cifar.RecordFile, read: Read) -> bytes:
        batch = PurePosixPath(file.name).stem
        test = batch == "test_batch"
        # The package spells it so.
        listed = _json(read("test_lables.json" if test else "train_lables.json", _JSON_LIMIT))
        start = 0 if test else (int(batch.removeprefix("data_batch_")) - 1) * file.images
        pixels = _png(read(self.member(file), 2 * file.size), (cifar.SIDE**2, file.images))
        planes = pixels.transpose(0, 2, 1).reshape(file.images, cifar.PIXELS)
        return file.encode([listed[start : start + file.images]], planes)


def _json(content: bytes) -> list:
    try:
        listed = json.loads(content)
    except ValueError as error:
        raise ContentError(f"its labels are not JSON ({error})") from error
    if type(listed) is not list:
        raise ContentError("its labels are not a list")
    return listed


def _png(content: bytes, size: tuple[int, int]) -> np.ndarray:
    """RGB bytes (height, width, 3) of a PNG of exactly `size` (width, height)."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.size != size or picture.mode != "RGB":  # known before any pixel is unpacked
                raise ContentError(f"it is {picture.mode} of {picture.size}, not RGB of {size}")
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ContentError(f"it is not a sound PNG ({error})") from error
