"""What a dataset has, before it is there."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Size:
    """Training images, classes (labels 0 to classes - 1), channels, and pixels a side."""

    images: int
    classes: int
    channels: int
    side: int


KNOWN = {
    "digits": Size(1437, 10, 1, 8),
    "mnist": Size(60_000, 10, 1, 28),
    "fashion-mnist": Size(60_000, 10, 1, 28),
    "cifar10": Size(50_000, 10, 3, 32),
    "cifar100": Size(50_000, 100, 3, 32),
}
TEST_IMAGES = 10_000  # at most


def most_images(dataset: Mapping[str, Any]) -> float:
    """Training images of an entry of `datasets` at most; infinite for a source of one's own."""
    known = KNOWN.get(dataset["source"])
    images, classes = (known.images, known.classes) if known else (float("inf"), float("inf"))
    kept = min(len(dataset["classes"] or ()) or classes, classes)
    of_each = dataset["train_images_per_class"] or float("inf")
    return min(images, kept * of_each, dataset["train_images"] or float("inf"))


def shape(dataset: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(channels, height, width) of the images of an entry; None for a source of one's own."""
    known = KNOWN.get(dataset["source"])
    if known is None:
        return None
    side = known.side if dataset["resize"] is None else dataset["resize"]["size"]
    return known.channels, side, side


def labels(dataset: Mapping[str, Any]) -> int | None:
    """Outputs that the labels of an entry need, one more than the largest; None for one's own."""
    known = KNOWN.get(dataset["source"])
    if known is None:
        return None
    return 1 + max(dataset["classes"] or [known.classes - 1])


def image_mib(dataset: Mapping[str, Any]) -> float:
    """MiB of all its images in float32, at most; infinite for a source of one's own."""
    pixels = shape(dataset)
    images = most_images(dataset) + TEST_IMAGES
    return math.inf if pixels is None else images * math.prod(pixels) * 4 / 2**20
