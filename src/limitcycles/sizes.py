"""How many training images a dataset can have, before it is there."""

from collections.abc import Mapping
from typing import Any

# source -> training images, classes
KNOWN = {
    "digits": (1437, 10),
    "mnist": (60_000, 10),
    "fashion-mnist": (60_000, 10),
    "cifar10": (50_000, 10),
    "cifar100": (50_000, 100),
}


def most_images(dataset: Mapping[str, Any]) -> float:
    """Training images of an entry of `datasets` at most; infinite for a source of one's own."""
    images, classes = KNOWN.get(dataset["source"], (float("inf"), float("inf")))
    kept = min(len(dataset["classes"] or ()) or classes, classes)
    of_each = dataset["train_images_per_class"] or float("inf")
    return min(images, kept * of_each, dataset["train_images"] or float("inf"))
