"""The binary version of CIFAR-10 and CIFAR-100: its files, and the four arrays in them.

A file is a row of records. A record is one label (CIFAR-10), or a coarse and a fine label
(CIFAR-100), then the 32x32 pixels of red, of green and of blue, all bytes:
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limitcycles.datasets.errors import ContentError

CHANNELS, SIDE = 3, 32
PIXELS = CHANNELS * SIDE * SIDE


@dataclass(frozen=True)
class RecordFile:
    """One file of the binary version.

    images: records in it. labels: labels of a record; the last one is used. sha256: of the file.
    python, md5: name of the file of the python version with the same records, and its MD5.
    """

    name: str
    images: int
    labels: int
    sha256: str
    python: str
    md5: str

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.images * (self.labels + PIXELS)

    def decode(self, content: bytes) -> np.ndarray:
        """The records (images, labels + 3072) uint8 in the bytes of this file.

        Raises
        ------
        ContentError
            The bytes are not exactly this file.
        """
        if len(content) != self.size:
            raise ContentError(f"it has {len(content)} bytes, not {self.size}")
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ContentError(f"SHA-256 is {found}, expected {self.sha256}")
        return np.frombuffer(content, np.uint8).reshape(self.images, -1)

    def encode(self, labels: Sequence[Sequence[int]], pixels: np.ndarray) -> bytes:
        """This file from its lists of labels, in the order of a record, and pixels (images, 3072).

        Raises
        ------
        ContentError
            The labels or pixels are not bytes of this file's shape.
        """
        columns = []
        for column in labels:
            if len(column) != self.images or not all(
                type(label) is int and 0 <= label < 256 for label in column
            ):
                raise ContentError(f"its labels are not {self.images} whole numbers from 0 to 255")
            columns.append(np.array(column, np.uint8))
        if pixels.dtype != np.uint8 or pixels.shape != (self.images, PIXELS):
            raise ContentError(
                f"its pixels are {pixels.dtype} of shape {pixels.shape}, not uint8 of shape "
                f"({self.images}, {PIXELS})"
            )
        return np.column_stack([*columns, pixels]).tobytes()


@dataclass(frozen=True)
class Split:
    """The four arrays in the records of all files, of which the last one is the test set."""

    classes: int

    def __call__(
        self, records: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Train images, train labels, test images, test labels, all uint8.

        Images are (n, 3, 32, 32), the channels red, green and blue; labels 0 to classes - 1.

        Raises
        ------
        ContentError
            A split that has not the same number of images of each class.
        """
        train, test = np.concatenate(records[:-1]), records[-1]
        for name, part in (("training", train), ("test", test)):
            counts = np.bincount(part[:, -PIXELS - 1], minlength=self.classes)
            if len(counts) != self.classes or len(set(counts.tolist())) != 1:
                raise ContentError(
                    f"the {name} images are not as many of each of {self.classes} classes: "
                    f"{counts.tolist()}"
                )
        return *_images_and_labels(train), *_images_and_labels(test)


def _images_and_labels(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images = np.ascontiguousarray(records[:, -PIXELS:]).reshape(-1, CHANNELS, SIDE, SIDE)
    return images, np.ascontiguousarray(records[:, -PIXELS - 1])
